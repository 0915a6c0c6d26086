//! When probes run, and that each runs as long as its link wants it and no longer.
use std::sync::atomic::{AtomicUsize, Ordering};

use exchange::probe::{Condition, Settings};
use jiff::SignedDuration;
use tokio::sync::Notify;

use super::*;
use crate::probe::{
    Endpoint, Http, Tls, Url, Verb,
    http::EXPECTED,
    tests::{
        pki::Ca,
        server::{Server, reply},
    },
};

fn link(id: &str) -> Link {
    Link {
        id: id.to_owned(),
        peering: "p".to_owned(),
        artefact: "a".to_owned(),
        from: "east".to_owned(),
    }
}

fn runner() -> Runner {
    Runner::new(
        TaskTracker::new(),
        CancellationToken::new(),
        Metrics::default(),
        Loopback::Allow,
    )
}

/// A probe of an endpoint, as often as possible.
fn network(address: &str, ca: &Ca) -> Network {
    Network {
        index: 0,
        probe: Ok(Probe::Tls(Tls {
            endpoint: Endpoint::parse(address).unwrap(),
            server_name: None,
            bundle: ca.pem().into_bytes().into(),
            loopback: Loopback::Allow,
        })),
        settings: Settings {
            interval: SignedDuration::ZERO,
            timeout: SignedDuration::from_secs(30),
            failure_threshold: 1,
            success_threshold: 1,
        },
        kind: "tls",
        condition: Condition::Trusted,
        what: address.to_owned(),
    }
}

async fn serve(ca: &Ca) -> Server {
    Server::https(ca.server().config(), |_| reply(200, "")).await
}

/// Counts wakes, and waits for them.
#[derive(Clone, Default)]
struct Wakes(Arc<(AtomicUsize, Notify)>);

impl Wakes {
    fn wake(&self) -> impl Fn() + Clone + Send + Sync + 'static {
        let wakes = self.0.clone();
        move || {
            wakes.0.fetch_add(1, Ordering::SeqCst);
            wakes.1.notify_one();
        }
    }

    async fn next(&self) {
        self.0.1.notified().await;
    }
}

fn fails(runner: &Runner) -> bool {
    runner.history("l", 0).unwrap().first_failure().is_some()
}

#[tokio::test]
async fn a_result_that_counts_wakes_and_other_parameters_run_at_once() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let server = serve(&old).await;
    let (runner, wakes, address) = (runner(), Wakes::default(), server.address.to_string());
    runner.want(&link("l"), &[network(&address, &old)], &wakes.wake());
    wakes.next().await;
    assert!(!fails(&runner));
    // An hour would pass before the next run; other parameters do not wait for it.
    let mut seldom = network(&address, &new);
    seldom.settings.interval = SignedDuration::from_hours(1);
    runner.want(&link("l"), &[seldom.clone()], &wakes.wake());
    wakes.next().await;
    assert!(fails(&runner));
    let history = runner.history("l", 0);
    runner.want(&link("l"), &[seldom], &wakes.wake());
    assert_eq!(runner.history("l", 0), history, "the same parameters go on");
    assert_eq!(runner.known("l").len(), 1);
}

#[tokio::test]
async fn runs_that_change_nothing_wake_nobody_and_count_all_the_same() {
    let asked = Wakes::default();
    let answer = asked.wake();
    let server = Server::http(move |_| {
        answer();
        reply(200, "")
    })
    .await;
    let (runner, wakes, address) = (runner(), Wakes::default(), server.address.to_string());
    let mut probe = network(&address, &Ca::new("ca"));
    probe.probe = Ok(Probe::Http(Http {
        verb: Verb::Get,
        url: Url::parse(&format!("http://{address}/")).unwrap(),
        expected: EXPECTED,
        server_name: None,
        bundle: None,
        token: None,
        loopback: Loopback::Allow,
    }));
    runner.want(&link("l"), &[probe], &wakes.wake());
    wakes.next().await;
    let first = runner.history("l", 0).unwrap().last_success();
    // When the third request comes, the second run has ended.
    for _ in 0..3 {
        asked.next().await;
    }
    assert!(runner.history("l", 0).unwrap().last_success() > first);
    assert_eq!(wakes.0.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_is_not_wanted_any_more_stops() {
    let ca = Ca::new("ca");
    let server = serve(&ca).await;
    let (runner, wakes) = (runner(), Wakes::default());
    let probe = network(&server.address.to_string(), &ca);
    for id in ["l", "m", "n"] {
        runner.want(&link(id), std::slice::from_ref(&probe), &wakes.wake());
    }
    runner.want(&link("l"), &[], &wakes.wake());
    runner.retain(|id| id != "m");
    assert_eq!((runner.history("l", 0), runner.history("m", 0)), (None, None));
    assert!(runner.history("n", 0).is_some());
    runner.retain(|_| false);
    runner.tasks.close();
    runner.tasks.wait().await;
}

#[tokio::test]
async fn what_cannot_be_asked_does_not_run() {
    let (runner, wakes) = (runner(), Wakes::default());
    let mut broken = network("127.0.0.1:1", &Ca::new("ca"));
    broken.probe = Err(exchange::probe::Failure {
        reason: exchange::probe::Reason::ProbeFailed,
        seen: "x".to_owned(),
        next: None,
    });
    runner.want(&link("l"), &[broken], &wakes.wake());
    assert_eq!(runner.history("l", 0), None);
    assert!(runner.tasks.is_empty());
}
