//! What the probes' tests share: certificates ([`pki`]) and servers in this process ([`server`]).
pub mod pki;
pub mod server;

use std::time::Duration;

use peering_api::Sensitive;

use self::{pki::Ca, server::Server};
use super::*;

/// Long enough for a loaded machine: nothing waits for it unless a test has failed already.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Stands for any credential; no message and no `Debug` may hold it.
pub const CANARY: &str = "canary-5f2a81";

/// Checks a failure's reason and that its message holds each of the parts and no canary.
#[track_caller]
pub fn assert_failure<T: std::fmt::Debug>(result: Result<T, Failure>, reason: Reason, parts: &[&str]) {
    let failure = result.unwrap_err();
    assert_eq!(failure.reason, reason, "{failure}");
    for part in parts {
        assert!(
            failure.to_string().contains(part),
            "{part:?} is not in {:?}",
            failure.to_string()
        );
    }
    assert!(!format!("{failure:?}").contains(CANARY), "{failure:?}");
}

#[tokio::test]
async fn each_kind_is_run() {
    let ca = Ca::new("ca");
    let server = Server::api(&ca.server(), |_| server::api_answer("east")).await;
    let (loopback, bundle) = (Loopback::Allow, Sensitive::from(ca.pem().into_bytes()));
    let url = Url::parse(&format!("https://{}/", server.address)).unwrap();
    let tls = Tls {
        endpoint: Endpoint::parse(&server.address.to_string()).unwrap(),
        server_name: None,
        bundle: bundle.clone(),
        loopback,
    };
    let api = ApiAuth {
        credential: Credential::Access(Access {
            server: url.clone(),
            server_name: None,
            bundle: Some(bundle.clone()),
            token: Some(CANARY.as_bytes().to_vec().into()),
            client: None,
        }),
        loopback,
    };
    let http = Http {
        verb: Verb::Head,
        url: url.clone(),
        expected: http::EXPECTED,
        server_name: None,
        bundle: Some(bundle.clone()),
        token: None,
        loopback,
    };
    let s3 = S3 {
        url,
        bucket: "b".to_owned(),
        region: s3::REGION.to_owned(),
        access_key_id: b"id".to_vec().into(),
        secret_access_key: CANARY.as_bytes().to_vec().into(),
        bundle: Some(bundle),
        loopback,
    };
    assert!(matches!(
        run(&Probe::Tls(tls), TIMEOUT).await.unwrap(),
        Success::Tls(trusted) if trusted.chain.len() == 1
    ));
    assert!(matches!(
        run(&Probe::ApiAuth(api), TIMEOUT).await.unwrap(),
        Success::ApiAuth(user) if user.name == "east"
    ));
    assert!(matches!(
        run(&Probe::Http(http), TIMEOUT).await.unwrap(),
        Success::Http(answered) if answered.status == 200
    ));
    // An API server has no buckets.
    assert_failure(
        run(&Probe::S3(s3), TIMEOUT).await,
        Reason::Unhealthy,
        &["saw status 404"],
    );
}

#[test]
fn what_stands_in_a_condition_does_not_change() {
    let reasons = [
        (Reason::Unreachable, "Unreachable"),
        (Reason::Unauthorized, "Unauthorized"),
        (Reason::CAMismatch, "CAMismatch"),
        (Reason::CAExpired, "CAExpired"),
        (Reason::NameMismatch, "NameMismatch"),
        (Reason::Unhealthy, "Unhealthy"),
        (Reason::Invalid, "Invalid"),
    ];
    for (reason, text) in reasons {
        assert_eq!(reason.as_str(), text);
    }
}
