//! Tests of the probe `http` against servers in this process.
use super::*;
use crate::probe::tests::{
    CANARY, TIMEOUT, assert_failure,
    pki::Ca,
    server::{Reply, Server, reply},
};

fn ask(url: &str, bundle: Option<&str>) -> Http {
    Http {
        verb: Verb::Get,
        url: Url::parse(url).unwrap(),
        expected: EXPECTED,
        server_name: None,
        bundle: bundle.map(|pem| pem.as_bytes().to_vec().into()),
        token: None,
        loopback: Loopback::Allow,
    }
}

#[tokio::test]
async fn statuses() {
    let server = Server::http(|request| {
        let path = request.split(' ').nth(1).unwrap();
        reply(path[1..].parse().unwrap(), CANARY)
    })
    .await;
    let cases = [
        (200, EXPECTED, Ok(())),
        (204, EXPECTED, Ok(())),
        (404, 404..=404, Ok(())),
        (302, 300..=399, Ok(())),
        (302, EXPECTED, Err((Reason::Unhealthy, "redirects are not followed"))),
        (
            404,
            EXPECTED,
            Err((Reason::Unhealthy, "expected a status from 200 to 299 from")),
        ),
        (500, 200..=200, Err((Reason::Unhealthy, "expected status 200 from"))),
        (
            401,
            EXPECTED,
            Err((Reason::Unauthorized, "saw 401; give the probe a token")),
        ),
        (403, EXPECTED, Err((Reason::Unauthorized, "saw 403"))),
        (403, 403..=403, Ok(())),
    ];
    for (status, expected, outcome) in cases {
        let mut http = ask(&format!("http://{}/{status}", server.address), None);
        http.expected = expected;
        match (probe(&http, TIMEOUT).await, outcome) {
            (Ok(answered), Ok(())) => assert_eq!(answered.status, status),
            (result, Err((reason, part))) => assert_failure(result, reason, &[part]),
            (result, Ok(())) => panic!("{status}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn over_tls_with_a_token() {
    let ca = Ca::new("ca");
    let server = Server::https(ca.server().config(), |_| reply(200, "")).await;
    let mut http = ask(&format!("https://{}/a?b=c", server.address), Some(&ca.pem()));
    http.token = Some(CANARY.as_bytes().to_vec().into());
    http.verb = Verb::Head;
    probe(&http, TIMEOUT).await.unwrap();
    let request = server.requests.lock().unwrap().remove(0);
    assert!(request.starts_with("HEAD /a?b=c HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("authorization: Bearer {CANARY}\r\n")),
        "{request}"
    );
    assert!(request.contains(&format!("host: {}\r\n", server.address)), "{request}");
}

#[tokio::test]
async fn a_refused_token() {
    let ca = Ca::new("ca");
    let server = Server::https(ca.server().config(), |request| {
        // What a server says about a token is not repeated.
        let token = request
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "))
            .unwrap();
        reply(403, token)
    })
    .await;
    let mut http = ask(&format!("https://{}/", server.address), Some(&ca.pem()));
    http.token = Some(CANARY.as_bytes().to_vec().into());
    assert_failure(
        probe(&http, TIMEOUT).await,
        Reason::Unauthorized,
        &["saw 403; renew the token"],
    );
    assert!(!format!("{http:?}").contains(CANARY));
}

#[tokio::test]
async fn a_token_goes_nowhere_without_trust() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let server = Server::https(ca.server().config(), |_| reply(200, "")).await;
    let mut http = ask(&format!("https://{}/", server.address), Some(&other.pem()));
    http.token = Some(CANARY.as_bytes().to_vec().into());
    assert_failure(probe(&http, TIMEOUT).await, Reason::CAMismatch, &["does not trust"]);
    // Nor to what only the image's root store could vouch for.
    http.bundle = None;
    probe(&http, TIMEOUT).await.unwrap_err();
    http.url = Url::parse(&format!("http://{}/", server.address)).unwrap();
    assert_failure(probe(&http, TIMEOUT).await, Reason::Invalid, &["use https"]);
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn tokens_that_no_header_can_hold() {
    let ca = Ca::new("ca");
    let mut http = ask("https://127.0.0.1:1/", Some(&ca.pem()));
    for token in [String::new(), format!("{CANARY}\n"), format!("{CANARY}\r\nX-Other: 1")] {
        http.token = Some(token.into_bytes().into());
        assert_failure(
            probe(&http, TIMEOUT).await,
            Reason::Invalid,
            &["expected a bearer token"],
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let ca = Ca::new("ca");
    let other = Server::https(ca.server().config(), |_| reply(200, "")).await;
    let location = format!(
        "HTTP/1.1 301 X\r\nLocation: https://{}/{CANARY}\r\nContent-Length: 0\r\n\r\n",
        other.address
    );
    let server = Server::https(ca.server().config(), move |_| {
        Reply::Bytes(location.clone().into_bytes())
    })
    .await;
    let http = ask(&format!("https://{}/", server.address), Some(&ca.pem()));
    assert_failure(
        probe(&http, TIMEOUT).await,
        Reason::Unhealthy,
        &["saw 301", "redirects are not followed"],
    );
    assert!(other.requests.lock().unwrap().is_empty());
}

/// A body without an end: what is read of it is limited, and that it is long says nothing about health.
#[tokio::test]
async fn an_endless_body_is_read_to_the_limit_only() {
    let mut endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    endless.resize(200 * 1024, b'x');
    let server = Server::http(move |_| Reply::Bytes(endless.clone())).await;
    let http = ask(&format!("http://{}/", server.address), None);
    assert_eq!(probe(&http, TIMEOUT).await, Ok(Answered { status: 200 }));
}

#[tokio::test]
async fn broken_answers() {
    let cases: [(&[u8], Reason, &str); 5] = [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Reason::Unhealthy, "not HTTP/1.1"),
        (b"", Reason::Unreachable, "the connection ended before the answer did"),
        (b"HTTP/1.1 200", Reason::Unreachable, "ended before"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            Reason::Unreachable,
            "ended before",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde",
            Reason::Unhealthy,
            "not HTTP/1.1",
        ),
    ];
    for (answer, reason, part) in cases {
        let server = Server::http(move |_| Reply::Bytes(answer.to_vec())).await;
        let http = ask(&format!("http://{}/", server.address), None);
        assert_failure(probe(&http, TIMEOUT).await, reason, &[part]);
    }
    let head = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let server = Server::http(move |_| Reply::Bytes(head.clone().into_bytes())).await;
    let http = ask(&format!("http://{}/", server.address), None);
    assert_failure(probe(&http, TIMEOUT).await, Reason::Unhealthy, &["not HTTP/1.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers() {
    let server = Server::http(|_| Reply::Hang).await;
    let http = ask(&format!("http://{}/", server.address), None);
    assert_failure(
        probe(&http, TIMEOUT).await,
        Reason::Unreachable,
        &["within 30s, saw nothing"],
    );
}

#[tokio::test]
async fn no_way_to_the_metadata_service() {
    for url in [
        "http://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/",
        "http://[fd00:ec2::254]/",
    ] {
        let http = ask(url, Some(&Ca::new("ca").pem()));
        assert_failure(probe(&http, TIMEOUT).await, Reason::Invalid, &["which is never probed"]);
    }
}

fn asked(server: &Server, pem: &str) -> Asked {
    Asked {
        method: Method::POST,
        url: Url::parse(&format!("https://{}/tickets?x=y", server.address)).unwrap(),
        bundle: pem.as_bytes().to_vec().into(),
        token: Some(b"token-of-the-account".to_vec().into()),
        loopback: Loopback::Allow,
    }
}

#[tokio::test]
async fn what_is_asked_for_comes_back_and_is_shown_nowhere() {
    let ca = Ca::new("ca");
    let server = Server::https(ca.server().config(), |_| reply(200, CANARY)).await;
    let asked = asked(&server, &ca.pem());
    let body = super::ask(&asked, TIMEOUT).await.unwrap();
    assert_eq!(body.expose(), CANARY.as_bytes());
    let request = server.requests.lock().unwrap().remove(0);
    assert!(request.starts_with("POST /tickets?x=y HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: Bearer token-of-the-account\r\n"),
        "{request}"
    );
    let shown = format!("{asked:?} {body:?}");
    assert!(!shown.contains(CANARY) && !shown.contains("token-of"), "{shown}");
}

#[tokio::test]
async fn what_is_asked_for_needs_trust_and_a_good_answer() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    for (status, reason, part) in [
        (401, Reason::Unauthorized, "grant the ServiceAccount"),
        (403, Reason::Unauthorized, "saw 403"),
        (302, Reason::Unhealthy, "saw 302"),
        (500, Reason::Unhealthy, "see the log"),
    ] {
        let server = Server::https(ca.server().config(), move |_| reply(status, CANARY)).await;
        assert_failure(super::ask(&asked(&server, &ca.pem()), TIMEOUT).await, reason, &[part]);
    }
    let empty = Server::https(ca.server().config(), |_| reply(200, "")).await;
    assert_failure(
        super::ask(&asked(&empty, &ca.pem()), TIMEOUT).await,
        Reason::Unhealthy,
        &["an empty one"],
    );
    let long = Server::https(ca.server().config(), |_| reply(200, &CANARY.repeat(8192))).await;
    assert_failure(
        super::ask(&asked(&long, &ca.pem()), TIMEOUT).await,
        Reason::Unhealthy,
        &["more than 64 KiB"],
    );
    let server = Server::https(ca.server().config(), |_| reply(200, CANARY)).await;
    assert_failure(
        super::ask(&asked(&server, &other.pem()), TIMEOUT).await,
        Reason::CAMismatch,
        &["does not trust"],
    );
    let mut plain = asked(&server, &ca.pem());
    plain.url = Url::parse(&format!("http://{}/", server.address)).unwrap();
    assert_failure(super::ask(&plain, TIMEOUT).await, Reason::Invalid, &["use https"]);
    assert!(
        server.requests.lock().unwrap().is_empty(),
        "the token goes nowhere without trust"
    );
}
