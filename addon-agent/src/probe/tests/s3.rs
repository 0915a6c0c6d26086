//! Tests of the probe `s3` against servers in this process. A real S3 server takes its signatures in the scenarios.
use super::*;
use crate::probe::tests::{
    CANARY, TIMEOUT, assert_failure,
    pki::Ca,
    server::{Server, reply},
};

fn ask(url: &str, ca: &str) -> S3 {
    S3 {
        url: Url::parse(url).unwrap(),
        bucket: "a bucket".to_owned(),
        region: "noobaa".to_owned(),
        access_key_id: b"key-id".to_vec().into(),
        secret_access_key: CANARY.as_bytes().to_vec().into(),
        bundle: Some(ca.as_bytes().to_vec().into()),
        loopback: Loopback::Allow,
    }
}

const LISTED: &str = "<?xml version=\"1.0\"?>\n<ListBucketResult><Name>b</Name></ListBucketResult>";

#[tokio::test]
async fn a_listing_is_asked_for_and_signed() {
    let ca = Ca::new("ca");
    let server = Server::https(ca.server().config(), |_| reply(200, LISTED)).await;
    let s3 = ask(&format!("https://{}/base/", server.address), &ca.pem());
    probe(&s3, TIMEOUT).await.unwrap();
    assert!(!format!("{s3:?}").contains(CANARY));
    let request = server.requests.lock().unwrap().remove(0);
    assert!(
        request.starts_with("GET /base/a%20bucket?list-type=2&max-keys=1 HTTP/1.1\r\n"),
        "{request}"
    );
    let header = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {request}")).to_owned()
    };
    assert_eq!(header("host: "), server.address.to_string());
    let date = header("x-amz-date: ");
    let authorization = header("authorization: ");
    let scope = format!(
        "AWS4-HMAC-SHA256 Credential=key-id/{}/noobaa/s3/aws4_request, ",
        &date[..8]
    );
    assert!(authorization.starts_with(&scope), "{authorization}");
    assert!(!request.contains(CANARY), "the secret was sent");
}

#[tokio::test]
async fn answers() {
    let ca = Ca::new("ca");
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>{CANARY}</Message></Error>");
    let cases = [
        (
            403,
            error("SignatureDoesNotMatch"),
            Reason::Unauthorized,
            "saw 403 SignatureDoesNotMatch; the secret access key",
        ),
        (
            403,
            error("InvalidAccessKeyId"),
            Reason::Unauthorized,
            "does not know the access key",
        ),
        (
            403,
            error("AccessDenied"),
            Reason::Unauthorized,
            "may not list this bucket",
        ),
        (
            403,
            error("RequestTimeTooSkewed"),
            Reason::Unhealthy,
            "compare the clock",
        ),
        (
            404,
            error("NoSuchBucket"),
            Reason::Unhealthy,
            "saw 404 NoSuchBucket; the keys are right",
        ),
        (
            403,
            error(CANARY),
            Reason::Unauthorized,
            "saw status 403 without one; renew",
        ),
        (401, String::new(), Reason::Unauthorized, "saw status 401"),
        (
            404,
            "no such path".to_owned(),
            Reason::Unhealthy,
            "saw status 404 without one; check endpoint and bucket",
        ),
        (307, String::new(), Reason::Unhealthy, "saw status 307"),
        (503, CANARY.to_owned(), Reason::Unhealthy, "saw status 503"),
        // Something else that answers everything.
        (200, "<html></html>".to_owned(), Reason::Unhealthy, "no S3 server"),
    ];
    for (status, body, reason, part) in cases {
        let server = Server::https(ca.server().config(), move |_| reply(status, &body)).await;
        let s3 = ask(&format!("https://{}", server.address), &ca.pem());
        assert_failure(probe(&s3, TIMEOUT).await, reason, &[part]);
    }
}

#[tokio::test]
async fn nothing_is_asked_where_nothing_would_be_proved() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let server = Server::https(ca.server().config(), |_| reply(200, LISTED)).await;
    let mut s3 = ask(&format!("https://{}", server.address), &other.pem());
    assert_failure(probe(&s3, TIMEOUT).await, Reason::CAMismatch, &["does not trust"]);
    s3.url = Url::parse(&format!("http://{}", server.address)).unwrap();
    assert_failure(probe(&s3, TIMEOUT).await, Reason::Invalid, &["use https"]);
    s3.url = Url::parse(&format!("https://{}", server.address)).unwrap();
    for id in ["", "key-id\n", "a/b", "a,b"] {
        s3.access_key_id = id.as_bytes().to_vec().into();
        assert_failure(
            probe(&s3, TIMEOUT).await,
            Reason::Invalid,
            &["expected the access key id"],
        );
    }
    s3.access_key_id = b"key-id".to_vec().into();
    s3.region = "eu west".to_owned();
    assert_failure(probe(&s3, TIMEOUT).await, Reason::Invalid, &["expected the region"]);
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_answers() {
    let ca = Ca::new("ca");
    let address = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let s3 = ask(&format!("https://{address}"), &ca.pem());
    assert_failure(probe(&s3, TIMEOUT).await, Reason::Unreachable, &["a TCP connection"]);
}
