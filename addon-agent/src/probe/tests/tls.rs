//! Tests of the probe `tls` against servers in this process.
use std::net::SocketAddr;

use rustls::version::{TLS12, TLS13};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::probe::{
    failure::Reason,
    tests::{
        TIMEOUT, assert_failure,
        pki::{Ca, Served},
        server::{Reply, Server, reply},
    },
};

fn ask(address: SocketAddr, bundle: &str) -> Tls {
    Tls {
        endpoint: Endpoint::parse(&address.to_string()).unwrap(),
        server_name: None,
        bundle: bundle.as_bytes().to_vec().into(),
        loopback: Loopback::Allow,
    }
}

async fn serve(served: &Served) -> Server {
    Server::https(served.config(), |_| reply(200, "")).await
}

#[tokio::test]
async fn a_trusted_chain_is_told() {
    let root = Ca::new("root");
    let intermediate = root.intermediate("intermediate");
    let server = serve(&intermediate.server().with(&intermediate)).await;
    let trusted = probe(&ask(server.address, &root.pem()), TIMEOUT).await.unwrap();
    let subjects: Vec<_> = trusted.chain.iter().map(|it| it.subject.as_str()).collect();
    assert_eq!(subjects, ["CN=leaf", "CN=intermediate"]);
    let in_bundle = exchange::ca::parse(intermediate.pem().as_bytes())
        .certificates
        .remove(0);
    assert_eq!(trusted.chain[1].fingerprint, in_bundle.fingerprint);
    assert_eq!(trusted.not_after, Some("2090-01-01T00:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn the_first_to_expire_counts() {
    let ca = Ca::new("ca");
    let server = serve(&ca.valid_in((2020, 2080)).with(&ca)).await;
    let trusted = probe(&ask(server.address, &ca.pem()), TIMEOUT).await.unwrap();
    assert_eq!(trusted.not_after, Some("2080-01-01T00:00:00Z".parse().unwrap()));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let cases = [
        (ca.server(), other.pem(), Reason::CAMismatch),
        (ca.valid_in((2020, 2021)), ca.pem(), Reason::CAExpired),
        (ca.named(&["api.example"]), ca.pem(), Reason::NameMismatch),
    ];
    for (served, bundle, reason) in cases {
        let server = serve(&served).await;
        let endpoint = format!("the endpoint {} presents", server.address);
        assert_failure(
            probe(&ask(server.address, &bundle), TIMEOUT).await,
            reason,
            &[&endpoint],
        );
    }
}

#[tokio::test]
async fn the_server_name_may_differ_from_the_address() {
    let ca = Ca::new("ca");
    let server = serve(&ca.named(&["api.example"])).await;
    let mut tls = ask(server.address, &ca.pem());
    tls.server_name = Some("api.example".to_owned());
    probe(&tls, TIMEOUT).await.unwrap();
    tls.server_name = Some("not a name".to_owned());
    assert_failure(probe(&tls, TIMEOUT).await, Reason::Invalid, &["as the server name"]);
}

#[tokio::test]
async fn both_sides_of_a_rollover_are_trusted() {
    let (old, new) = (Ca::new("ca"), Ca::new("ca"));
    let bundle = format!("{}{}", old.pem(), new.pem());
    for ca in [&old, &new] {
        let server = serve(&ca.server()).await;
        probe(&ask(server.address, &bundle), TIMEOUT).await.unwrap();
    }
}

/// The server judges clients after it has shown what it serves.
#[tokio::test]
async fn a_server_that_wants_client_certificates_is_judged_by_what_it_serves() {
    let (ca, clients, other) = (Ca::new("ca"), Ca::new("clients"), Ca::new("other"));
    for version in [&TLS12, &TLS13] {
        let config = ca.server().config_with_clients(&clients, version);
        let server = Server::https(config, |_| Reply::Hang).await;
        probe(&ask(server.address, &ca.pem()), TIMEOUT).await.unwrap();
        let result = probe(&ask(server.address, &other.pem()), TIMEOUT).await;
        assert_failure(result, Reason::CAMismatch, &[]);
    }
}

#[tokio::test]
async fn a_port_without_tls_is_not_healthy() {
    let server = Server::http(|_| Reply::Hang).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n")
            .await
            .unwrap();
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    });
    let result = probe(&ask(address, &Ca::new("ca").pem()), TIMEOUT).await;
    assert_failure(
        result,
        Reason::Unhealthy,
        &["expected a TLS handshake", "check the port"],
    );
    task.abort();
    drop(server);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = probe(&ask(address, &Ca::new("ca").pem()), TIMEOUT).await;
    assert_failure(
        result,
        Reason::Unreachable,
        &["expected a TCP connection", "refused", "firewalls"],
    );
}

#[tokio::test]
async fn a_server_that_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let result = probe(&ask(address, &Ca::new("ca").pem()), TIMEOUT).await;
    assert_failure(result, Reason::Unreachable, &["expected a TLS handshake"]);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing() {
    // The kernel takes the connection; nobody accepts it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let result = probe(&ask(listener.local_addr().unwrap(), &Ca::new("ca").pem()), TIMEOUT).await;
    assert_failure(result, Reason::Unreachable, &["within 30s, saw nothing"]);
}

#[tokio::test(start_paused = true)]
async fn no_timeout_is_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = ask(listener.local_addr().unwrap(), &Ca::new("ca").pem());
    assert_failure(probe(&tls, Duration::MAX).await, Reason::Unreachable, &["within 600s"]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let mut tls = ask("127.0.0.1:1".parse().unwrap(), &Ca::new("ca").pem());
    tls.endpoint = Endpoint::parse("no-such-host.invalid:6443").unwrap();
    let result = probe(&tls, TIMEOUT).await;
    assert_failure(result, Reason::Unreachable, &["no-such-host.invalid:6443"]);
}

#[tokio::test]
async fn loopback_is_refused_unless_it_is_allowed() {
    let ca = Ca::new("ca");
    let server = serve(&ca.server()).await;
    let mut tls = ask(server.address, &ca.pem());
    tls.loopback = Loopback::default();
    assert_failure(
        probe(&tls, TIMEOUT).await,
        Reason::Invalid,
        &["a loopback address, which is never probed"],
    );
}

/// A listener whose queue is full: the kernel drops what else comes, as a firewall does.
async fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(TIMEOUT, TcpStream::connect(address)).await {
        queue.push(stream.unwrap());
    }
    (address, (listener, queue))
}

#[tokio::test(start_paused = true)]
async fn an_address_that_swallows_everything_leaves_time_for_the_next() {
    let (hole, _keep) = black_hole().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let endpoint = Endpoint::parse(&hole.to_string()).unwrap();
    let connected = Route::new(&endpoint, Loopback::Allow, TIMEOUT)
        .first(&[hole, good])
        .await;
    assert_eq!(connected.unwrap().peer_addr().unwrap(), good);
    let failed = Route::new(&endpoint, Loopback::Allow, TIMEOUT)
        .first(&[hole, hole])
        .await;
    assert_failure(
        failed,
        Reason::Unreachable,
        &["expected a TCP connection", "saw nothing"],
    );
}

#[test]
fn the_delivered_bundle_is_not_in_debug() {
    let shown = format!("{:?}", ask("127.0.0.1:1".parse().unwrap(), crate::probe::tests::CANARY));
    assert!(
        !shown.contains(crate::probe::tests::CANARY) && shown.contains("127.0.0.1"),
        "{shown}"
    );
}
