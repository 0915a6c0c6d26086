//! Tests of the probe `apiAuth` against a server in this process that plays an API server.
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::version::{TLS12, TLS13};

use super::*;
use crate::probe::{
    ClientCertificate, Url,
    tests::{
        CANARY, TIMEOUT, assert_failure,
        pki::{Ca, Served},
        server::{Answers, Make, Reply, Server, api_answer, play, reply, review},
    },
};

fn with_token(server: &Server, ca: &Ca) -> Access {
    Access {
        server: Url::parse(&format!("https://{}", server.address)).unwrap(),
        server_name: None,
        bundle: Some(ca.pem().into_bytes().into()),
        token: Some(CANARY.as_bytes().to_vec().into()),
        client: None,
    }
}

fn client(served: &Served) -> ClientCertificate {
    ClientCertificate {
        certificate: served.certificate.clone().into_bytes().into(),
        key: served.key.clone().into_bytes().into(),
    }
}

async fn ask(access: Access) -> Result<User, Failure> {
    ask_with(Credential::Access(access)).await
}

async fn ask_with(credential: Credential) -> Result<User, Failure> {
    let loopback = Loopback::Allow;
    probe(&ApiAuth { credential, loopback }, TIMEOUT).await
}

#[tokio::test]
async fn a_token_is_taken() {
    let ca = Ca::new("ca");
    let server = Server::api(&ca.server(), |request| {
        assert!(request.contains(&format!("authorization: Bearer {CANARY}\r\n")));
        api_answer("system:serviceaccount:a:b")
    })
    .await;
    let user = ask(with_token(&server, &ca)).await.unwrap();
    assert_eq!(user.name, "system:serviceaccount:a:b");
    assert_eq!(user.groups, ["system:authenticated"]);
    let requests = server.requests.lock().unwrap();
    let lines: Vec<_> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "GET /readyz HTTP/1.1",
            "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1"
        ]
    );
    assert!(requests[1].ends_with(REVIEW), "{}", requests[1]);
    serde_json::from_str::<SelfSubjectReview>(REVIEW).unwrap();
}

#[tokio::test]
async fn a_kubeconfig_is_taken() {
    let ca = Ca::new("ca");
    let server = Server::api(&ca.named(&["api.east.example"]), |_| api_answer("east")).await;
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: b, user: c}}}}]\n\
         clusters: [{{name: b, cluster: {{server: 'https://{}/prefix/', tls-server-name: api.east.example, certificate-authority-data: {}}}}}]\n\
         users: [{{name: c, user: {{token: {CANARY}}}}}]\n",
        server.address,
        BASE64_STANDARD.encode(ca.pem())
    );
    let credential = Credential::Kubeconfig(text.into_bytes().into());
    assert!(!format!("{credential:?}").contains(CANARY));
    assert_eq!(ask_with(credential).await.unwrap().name, "east");
    assert!(server.requests.lock().unwrap()[0].starts_with("GET /prefix/readyz HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_client_certificate_is_taken() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    for version in [&TLS12, &TLS13] {
        let config = ca.server().config_with_clients(&clients, version);
        let server = Server::https(config, |request| play(request, api_answer("east"))).await;
        let mut access = with_token(&server, &ca);
        access.token = None;
        access.client = Some(client(&clients.client()));
        assert_eq!(ask(access).await.unwrap().name, "east");
        assert!(!server.requests.lock().unwrap()[0].contains("authorization"));
    }
}

/// API servers judge client certificates in HTTP; what stands in front of them may do so in TLS.
#[tokio::test]
async fn a_client_certificate_that_tls_refuses() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    for version in [&TLS12, &TLS13] {
        let config = ca.server().config_with_clients(&clients, version);
        let server = Server::https(config, |request| play(request, api_answer("east"))).await;
        let mut access = with_token(&server, &ca);
        access.client = Some(client(&Ca::new("other").client()));
        let parts = ["saw the TLS alert", "another client certificate"];
        assert_failure(ask(access).await, Reason::Unauthorized, &parts);
        // None at all.
        assert_failure(ask(with_token(&server, &ca)).await, Reason::Unauthorized, &parts);
    }
}

#[tokio::test]
async fn answers() {
    let fine = || reply(200, "ok");
    let cases: Vec<(Make, Make, Reason, &str)> = vec![
        (
            || reply(401, CANARY),
            fine,
            Reason::Unauthorized,
            "to GET /readyz, saw 401 (with a token); renew",
        ),
        (
            || reply(403, CANARY),
            fine,
            Reason::Unauthorized,
            "to GET /readyz, saw 403 (with a token); grant",
        ),
        (|| reply(500, CANARY), fine, Reason::Unhealthy, "expected success from"),
        (|| reply(302, CANARY), fine, Reason::Unhealthy, "saw 302"),
        (
            fine,
            || reply(401, CANARY),
            Reason::Unauthorized,
            "expected success from",
        ),
        (
            fine,
            || reply(403, CANARY),
            Reason::Unauthorized,
            "selfsubjectreviews, saw 403",
        ),
        (
            fine,
            || reply(404, CANARY),
            Reason::Unhealthy,
            "Kubernetes 1.28 or newer",
        ),
        (fine, || reply(500, CANARY), Reason::Unhealthy, "saw 500"),
        (
            fine,
            || reply(201, CANARY),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        (
            fine,
            || reply(201, "{}"),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        (
            fine,
            || reply(201, &review("", "")),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        // A server that repeats the token, for it to be shown somewhere.
        (
            fine,
            || reply(201, &review(&format!("a-{CANARY}"), "")),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        (
            fine,
            || reply(201, &review("a", &format!("\"{CANARY}\""))),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        (
            fine,
            || reply(201, &"x".repeat(100_000)),
            Reason::Unhealthy,
            "expected a SelfSubjectReview",
        ),
        (
            fine,
            || reply(201, &review(ANONYMOUS, "")),
            Reason::Unauthorized,
            "sees an anonymous user",
        ),
    ];
    let ca = Ca::new("ca");
    for (readyz, review, reason, part) in cases {
        let server = Server::api(&ca.server(), move |_| Answers {
            readyz: readyz(),
            review: review(),
        })
        .await;
        assert_failure(ask(with_token(&server, &ca)).await, reason, &[part]);
    }
}

#[tokio::test]
async fn names_are_cut_and_cleaned() {
    let ca = Ca::new("ca");
    let server = Server::api(&ca.server(), |_| {
        let groups: Vec<_> = (0..100).map(|n| format!("\"group-{n}\"")).collect();
        Answers {
            readyz: reply(200, "ok"),
            review: reply(201, &review(&format!("a\\nb{}", "x".repeat(1000)), &groups.join(","))),
        }
    })
    .await;
    let user = ask(with_token(&server, &ca)).await.unwrap();
    assert!(
        user.name.starts_with("a?bxxx") && user.name.len() < 200,
        "{}",
        user.name
    );
    assert_eq!(user.groups.len(), GROUPS);
}

#[tokio::test]
async fn the_server_must_be_trusted_before_it_gets_the_credential() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let cases = [
        (ca.server(), other.pem(), Reason::CAMismatch),
        (ca.valid_in((2020, 2021)), ca.pem(), Reason::CAExpired),
        (ca.named(&["api.example"]), ca.pem(), Reason::NameMismatch),
    ];
    for (served, bundle, reason) in cases {
        let server = Server::api(&served, |_| api_answer("east")).await;
        let mut access = with_token(&server, &ca);
        access.bundle = Some(bundle.into_bytes().into());
        assert_failure(ask(access).await, reason, &[]);
        assert!(server.requests.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs() {
    let ca = Ca::new("ca");
    let cases: [fn() -> Answers; 2] = [
        || Answers {
            readyz: Reply::Hang,
            review: Reply::Hang,
        },
        || Answers {
            readyz: reply(200, "ok"),
            review: Reply::Hang,
        },
    ];
    for answers in cases {
        let server = Server::api(&ca.server(), move |_| answers()).await;
        let result = ask(with_token(&server, &ca)).await;
        assert_failure(result, Reason::Unreachable, &["within 30s, saw nothing"]);
    }
}

#[tokio::test]
async fn what_cannot_be_asked() {
    let ca = Ca::new("ca");
    let server = Server::api(&ca.server(), |_| api_answer("east")).await;
    let good = || with_token(&server, &ca);
    let mixed = ClientCertificate {
        key: ca.client().key.into_bytes().into(),
        ..client(&ca.client())
    };
    let garbage = ClientCertificate {
        certificate: CANARY.as_bytes().to_vec().into(),
        key: CANARY.as_bytes().to_vec().into(),
    };
    let http = Url::parse(&format!("http://{}", server.address)).unwrap();
    let metadata = Url::parse("https://169.254.169.254").unwrap();
    let cases = [
        (Access { server: http, ..good() }, "expected an https URL"),
        (
            Access {
                server: metadata,
                ..good()
            },
            "which is never probed",
        ),
        (
            Access { token: None, ..good() },
            "expected a token or a client certificate",
        ),
        (
            Access {
                bundle: Some(Vec::new().into()),
                ..good()
            },
            "expected CA certificates",
        ),
        (
            Access {
                client: Some(mixed),
                ..good()
            },
            "expected a client certificate and its private key",
        ),
        (
            Access {
                client: Some(garbage),
                ..good()
            },
            "expected a client certificate and its private key",
        ),
    ];
    for (access, part) in cases {
        assert_failure(ask(access).await, Reason::Invalid, &[part]);
    }
    assert!(server.requests.lock().unwrap().is_empty());
}
