//! Proof that what was delivered works: against servers of the test, the API server of the other cluster, the state of a
//! consumer, and the clock.
use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, ServiceAccount},
};
use kube::api::{PostParams, ResourceExt};
use peering_api::peering::condition;
use rcgen::{CertificateParams, KeyPair};
use scenarios::{
    Fleet, Pools, Scenario, Side,
    fleet::ARTEFACT,
    objects::{config_map, secret},
    scenario::{SOURCE, bundle_text, fingerprints, put},
    tls::{Ca, TlsClient, TlsServer},
    world::metric,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use crate::deliver::profile;

const PAIR: [&str; 2] = ["cluster1", "cluster2"];

/// A scenario that hands one Secret from cluster1 to cluster2 and probes what it holds.
struct Probed(Fleet);

impl Probed {
    async fn new(name: &str, source: &[(&str, &[u8])], probes: &Value) -> Result<Self> {
        let fleet = Fleet::new(Scenario::shared(name).await?, &PAIR).await?;
        let this = Self(fleet);
        this.source(source).await?;
        let deliver = json!({"kind": "Secret", "namespace": name, "name": "t"});
        profile(&this.0, &deliver, &json!({"probes": probes})).await?;
        let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]);
        this.0.peer(&json!({"members": members})).await?;
        Ok(this)
    }

    async fn source(&self, data: &[(&str, &[u8])]) -> Result<()> {
        put(&self.0.secrets("cluster1")?, secret(SOURCE, data)).await
    }

    fn scenario(&self) -> &Scenario {
        &self.0.scenario
    }

    async fn until(&self, type_: &str, status: &str, reason: &str) -> Result<String> {
        self.scenario()
            .await_link(ARTEFACT, Side::West, type_, status, reason)
            .await
    }

    async fn ready(&self) -> Result<()> {
        self.scenario()
            .await_peering("Ready", "True", "AllLinksReady")
            .await
            .map(drop)
    }

    async fn withdraw(&self) -> Result<()> {
        self.0.withdraw(&self.scenario().name).await
    }
}

#[tokio::test]
async fn the_state_of_a_consumer_decides() -> Result<()> {
    let name = "probe-object";
    let pools = Pools::of(&Scenario::shared(name).await?);
    let probes = json!([{"object": {"object": pools.reference("pool"), "healthy": "self.status.health == 'OK'"}}]);
    let p = Probed::new(name, &[("token", b"x")], &probes).await?;
    let s = p.scenario();
    s.await_link_saying(
        ARTEFACT,
        Side::West,
        "Connected",
        ("False", "NotSynced"),
        "Pool probe-object/pool",
    )
    .await?;
    pools.install(s, Side::West).await?;
    pools.apply(s.client(Side::West), "pool", &json!({})).await?;
    for (health, status, reason) in [
        ("WARNING", "False", "NotSynced"),
        ("OK", "True", "Connected"),
        ("ERROR", "False", "NotSynced"),
    ] {
        pools
            .set_status(s.client(Side::West), "pool", &json!({"health": health}))
            .await?;
        p.until("Connected", status, reason).await?;
    }
    // The manager may still tell of the first reason, when there was no Pool.
    let health = "self.status.health == 'OK'";
    let message = s
        .await_link_saying(ARTEFACT, Side::West, "Ready", ("False", "NotSynced"), health)
        .await?;
    ensure!(message.contains(" since "), "{message}");
    pools
        .set_status(s.client(Side::West), "pool", &json!({"health": "OK"}))
        .await?;
    p.ready().await?;
    p.withdraw().await
}

#[tokio::test]
async fn an_endpoint_has_to_serve_what_was_delivered() -> Result<()> {
    let (ours, other) = (Ca::new("probe-tls")?, Ca::new("probe-tls, other")?);
    let server = TlsServer::start(&ours).await?;
    let probes = json!([{
        "tls": {"address": "${payload.address}", "ca": "${payload['ca.crt']}"},
        "interval": "1s", "failureThreshold": 2,
    }]);
    let (address, pem) = (server.address().to_string(), ours.pem());
    let source = [("address", address.as_bytes()), ("ca.crt", pem.as_bytes())];
    let p = Probed::new("probe-tls", &source, &probes).await?;
    let s = p.scenario();
    let message = p.until("Trusted", "True", "Trusted").await?;
    ensure!(message.contains(&address), "{message}");
    p.ready().await?;
    server.switch_to(&other)?;
    let message = p.until("Trusted", "False", "CAMismatch").await?;
    for part in ["cluster2 -> cluster1: tls of 127.0.0.1:", "expected", "seen", " since "] {
        ensure!(message.contains(part), "no {part:?} in {message}");
    }
    // Runs that say the same write nothing; the manager's own answer to the first one comes before.
    s.await_link(ARTEFACT, Side::West, "Ready", "False", "CAMismatch")
        .await?;
    let agent = s.world.agent("cluster2").await?;
    let runs = || metric(&agent, "probe_runs_total", "CAMismatch");
    // Each look takes two runs: were each of them written down, no two looks would see the same.
    let look = async || {
        let first = runs().await?;
        s.until("two more runs", || async {
            Ok((runs().await? >= first + 2.0).then_some(()))
        })
        .await?;
        anyhow::Ok(s.link(ARTEFACT, Side::West).await?.resource_version())
    };
    let seen = RefCell::new(look().await?);
    s.until("nothing to be written without news", || async {
        let now = look().await?;
        let before = seen.replace(now.clone());
        Ok((before == now).then_some(()))
    })
    .await?;
    server.switch_to(&ours)?;
    p.until("Trusted", "True", "Trusted").await?;
    ensure!(
        metric(&agent, "probe_last_success_timestamp_seconds", "probe-tls").await? > 0.0,
        "no success is told"
    );
    drop(server);
    p.until("Trusted", "False", "Unreachable").await?;
    p.withdraw().await?;
    s.until("the metric to go with the link", || async {
        let left = metric(&agent, "probe_last_success_timestamp_seconds", "probe-tls").await?;
        Ok((left == 0.0).then_some(()))
    })
    .await
}

/// Answers every HTTP request with one status.
struct HttpServer {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl HttpServer {
    async fn start(status: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, status) = (listener.local_addr()?, Arc::new(AtomicU16::new(status)));
        let current = status.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let status = current.load(Ordering::SeqCst);
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self { address, status, task })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn an_endpoint_has_to_answer() -> Result<()> {
    let server = HttpServer::start(503).await?;
    let probes = json!([{"http": {"url": "${payload.url}"}, "interval": "1s", "failureThreshold": 1}]);
    let url = format!("http://{}/health?key=s3cr3t", server.address);
    let p = Probed::new("probe-http", &[("url", url.as_bytes())], &probes).await?;
    let message = p
        .scenario()
        .await_link_saying(ARTEFACT, Side::West, "Connected", ("False", "ProbeFailed"), "saw 503")
        .await?;
    ensure!(!message.contains("s3cr3t"), "{message}");
    server.status.store(204, Ordering::SeqCst);
    p.until("Connected", "True", "Connected").await?;
    p.ready().await?;
    p.withdraw().await
}

#[tokio::test]
async fn an_api_server_has_to_take_the_delivered_token() -> Result<()> {
    let name = "probe-api";
    let s = Scenario::shared(name).await?;
    let accounts = s.on::<ServiceAccount>(Side::East);
    let mut account = ServiceAccount::default();
    account.metadata.name = Some("visitor".to_owned());
    accounts.create(&PostParams::default(), &account).await?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(3600),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let token = accounts
        .create_token_request("visitor", &PostParams::default(), &request)
        .await?;
    let token = token.status.context("no token")?.token;
    let east = s.world.env.spoke("cluster1")?;
    let (server, ca) = (east.url(), std::fs::read(east.pki().path("ca.crt"))?);
    drop(s);
    let kubeconfig = "\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: '${payload.server}', certificate-authority-data: '${base64.encode(payload[\"ca.crt\"])}'}}]
users: [{name: u, user: {token: '${payload.token}'}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
";
    let probes = json!([
        {"apiAuth": {"server": "${payload.server}", "ca": "${payload['ca.crt']}", "token": "${payload.token}"},
         "interval": "1s", "failureThreshold": 1},
        {"apiAuth": {"kubeconfig": kubeconfig}, "interval": "1s", "failureThreshold": 1},
    ]);
    let (server, ca) = (("server", server.as_bytes()), ("ca.crt", ca.as_slice()));
    let good: [(&str, &[u8]); 3] = [server, ca, ("token", token.as_bytes())];
    let bad: [(&str, &[u8]); 3] = [server, ca, ("token", b"not-a-token")];
    let p = Probed::new(name, &good, &probes).await?;
    p.until("Connected", "True", "Connected").await?;
    p.ready().await?;
    let link = p
        .scenario()
        .link(ARTEFACT, Side::West)
        .await?
        .status
        .context("no status")?;
    let fresh = condition(&link.conditions, "Fresh").context("the token expires, and nobody says so")?;
    ensure!(fresh.status == "True" && link.expires_at.is_some(), "{fresh:?}");
    p.source(&bad).await?;
    // One of the two fails first.
    let (refused, both) = (("False", "Unauthorized"), "one more probe fails");
    let message = p
        .scenario()
        .await_link_saying(ARTEFACT, Side::West, "Connected", refused, both)
        .await?;
    ensure!(!message.contains("not-a-token"), "{message}");
    p.source(&good).await?;
    p.until("Connected", "True", "Connected").await?;
    p.withdraw().await
}

/// A certificate that ends in some seconds.
fn certificate(seconds: i64) -> Result<String> {
    let mut params = CertificateParams::new(vec!["probe".to_owned()])?;
    let now = jiff::Timestamp::now().as_second();
    let at = |second: i64| rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(second.unsigned_abs());
    (params.not_before, params.not_after) = (at(now - 60), at(now + seconds));
    Ok(params.self_signed(&KeyPair::generate()?)?.pem())
}

#[tokio::test]
async fn what_expires_is_told_before_and_when_it_does() -> Result<()> {
    let probes = json!([{"expiry": {"warnBefore": "24h"}}]);
    let fresh = certificate(48 * 3600)?;
    let p = Probed::new("probe-expiry", &[("tls.crt", fresh.as_bytes())], &probes).await?;
    p.until("Fresh", "True", "Fresh").await?;
    p.ready().await?;
    p.source(&[("tls.crt", certificate(3600)?.as_bytes())]).await?;
    let message = p.until("Fresh", "False", "RenewalFailing").await?;
    ensure!(message.contains("works until"), "{message}");
    // It runs out while it lies there: nothing changes but the time.
    p.source(&[("tls.crt", certificate(5)?.as_bytes())]).await?;
    p.until("Fresh", "False", "Expired").await?;
    p.scenario()
        .await_link(ARTEFACT, Side::West, "Ready", "False", "Expired")
        .await?;
    p.source(&[("tls.crt", fresh.as_bytes())]).await?;
    p.until("Fresh", "True", "Fresh").await?;
    p.ready().await?;
    p.withdraw().await
}

#[tokio::test]
async fn a_ca_rollover_with_overlap_fails_no_connection() -> Result<()> {
    let s = Scenario::shared("probe-rollover").await?;
    let (old, new) = (Ca::new("probe-rollover")?, Ca::new("probe-rollover")?);
    let server = TlsServer::start(&old).await?;
    let bundle = json!({
        "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "ExchangeProfile", "metadata": {"name": s.name},
        "spec": {
            "parameters": [{"name": "address"}],
            "artefacts": [{
                "name": "ca", "kind": "CABundle", "confidential": false, "flow": "ToHubRole",
                "inputs": [{"as": "ca", "apiVersion": "v1", "kind": "ConfigMap", "namespace": s.name, "name": "source"}],
                "deliver": {"kind": "ConfigMap", "namespace": s.name, "name": "bundle"},
                "probes": [{"tls": {"address": "${params.address}"}, "interval": "1s", "failureThreshold": 1}],
            }],
        },
    });
    s.world.env.hub().apply_text(&bundle.to_string()).await?;
    let peer = |overlap: &str| {
        let peering = json!({
            "apiVersion": "peering.open-cluster-management.io/v1alpha1", "kind": "Peering", "metadata": {"name": s.name},
            "spec": {
                "profile": s.name, "parameters": {"address": server.address().to_string()}, "trust": {"overlap": overlap},
                "members": [{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}],
            },
        });
        let hub = s.world.env.hub();
        async move { hub.apply_text(&peering.to_string()).await }
    };
    let source = |ca: &Ca| {
        let (api, source) = (s.on(Side::East), config_map("source", &[("ca.crt", &ca.pem())]));
        async move { put(&api, source).await }
    };
    source(&old).await?;
    peer("1h").await?;
    let trusted = |reason: &'static str| s.await_link("ca", Side::West, "Trusted", "True", reason);
    trusted("Trusted").await?;
    let maps = s.on::<ConfigMap>(Side::West);
    let client = TlsClient::start(server.address(), move || {
        let maps = maps.clone();
        async move { Ok(bundle_text(&maps.get("bundle").await?)) }
    });
    client.until(|tally| tally.served_by(&old) >= 5).await?;
    // The source changes over at once, the server later.
    source(&new).await?;
    trusted("OverlapPending").await?;
    let status = s.link("ca", Side::West).await?.status.context("no status")?;
    ensure!(
        status.overlap_until.is_some() && status.ca_fingerprints.len() == 2,
        "{status:?}"
    );
    client.attempts(5).await?;
    server.switch_to(&new)?;
    client.until(|tally| tally.served_by(&new) >= 5).await?;
    // The overlap is cut short: the old one goes, and nobody needs it.
    peer("1s").await?;
    trusted("Trusted").await?;
    let (maps, expected) = (s.on::<ConfigMap>(Side::West), fingerprints(&new.pem()));
    s.until("the old CA to leave the bundle", || async {
        let bundle = maps.get("bundle").await?;
        Ok((fingerprints(&bundle_text(&bundle)) == expected).then_some(()))
    })
    .await?;
    let tally = client.attempts(5).await?;
    ensure!((tally.failed, tally.unread) == (0, 0), "{tally}");
    println!("CA rollover: {tally}");
    s.withdraw().await
}
