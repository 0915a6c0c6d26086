//! Candidates against one fake API server, in paused time.
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Method, Request, Response};
use peering_api::kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;

/// What the next requests meet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// No connection.
    Refused,
    /// No answer, and nothing done.
    Lost,
    /// Done, but no answer.
    Unanswered,
    /// Done, and answered that much later.
    Slow(Duration),
}

/// The one Lease, with an API server's rules for creation and versions.
#[derive(Default)]
struct Store {
    lease: Option<Value>,
    version: u64,
    faults: VecDeque<Fault>,
    /// The fault of every request, once there are no more of the above.
    outage: Option<Fault>,
    requests: Vec<(Duration, Method)>,
}

#[derive(Clone)]
struct Server {
    store: Arc<Mutex<Store>>,
    start: Instant,
    working: Arc<AtomicUsize>,
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": reason});
    (code, status)
}

impl Store {
    fn answer(&mut self, method: &Method, body: Value) -> (u16, Value) {
        match (method, &self.lease) {
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            (&Method::GET | &Method::PUT, None) => failure(404, "NotFound"),
            (&Method::POST, Some(_)) => failure(409, "AlreadyExists"),
            (&Method::POST, None) => (201, self.keep(body)),
            (&Method::PUT, Some(lease)) => {
                if body["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"] {
                    (200, self.keep(body))
                } else {
                    failure(409, "Conflict")
                }
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn keep(&mut self, mut lease: Value) -> Value {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease.clone());
        lease
    }
}

impl Server {
    fn new() -> Self {
        Self {
            store: Arc::default(),
            start: Instant::now(),
            working: Arc::default(),
        }
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (fault, answer) = {
                    let mut store = server.store.lock().unwrap();
                    store.requests.push((server.start.elapsed(), parts.method.clone()));
                    let fault = store.faults.pop_front().or(store.outage);
                    let done = !matches!(fault, Some(Fault::Refused | Fault::Lost));
                    (fault, done.then(|| store.answer(&parts.method, body)))
                };
                let (code, body) = match (fault, answer) {
                    (Some(Fault::Lost | Fault::Unanswered), _) => std::future::pending().await,
                    (Some(Fault::Slow(time)), Some(answer)) => {
                        sleep(time).await;
                        answer
                    }
                    (None, Some(answer)) => answer,
                    (_, _) => return Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
                };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, io::Error>(Response::builder().status(code).body(body).unwrap())
            }
        });
        Client::new(service, "ns")
    }

    fn candidate(&self, identity: &str) -> Candidate {
        Candidate::new(self.client(), "ns", "lock", identity.to_owned(), Timing::default())
    }

    /// A candidate which works until its token is cancelled, and then for `winding_up` more.
    fn start(&self, identity: &str, winding_up: Duration) -> Running {
        let (token, working) = (CancellationToken::new(), self.working.clone());
        let (candidate, until) = (self.candidate(identity), token.clone());
        let task = tokio::spawn(async move {
            let work = || async {
                let _working = Working::new(working);
                until.cancelled().await;
                sleep(winding_up).await;
            };
            candidate.lead(&until, work).await
        });
        Running { token, task }
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.store.lock().unwrap().faults.extend(faults);
    }

    fn outage(&self, fault: Option<Fault>) {
        self.store.lock().unwrap().outage = fault;
    }

    fn holder(&self) -> Option<String> {
        let store = self.store.lock().unwrap();
        Some(store.lease.as_ref()?["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    fn transitions(&self) -> Value {
        self.store.lock().unwrap().lease.as_ref().unwrap()["spec"]["leaseTransitions"].clone()
    }

    fn write_holder(&self, holder: Option<&str>) {
        let mut store = self.store.lock().unwrap();
        let mut lease = store.lease.clone().unwrap();
        lease["spec"]["holderIdentity"] = json!(holder);
        store.keep(lease);
    }

    fn working(&self) -> usize {
        self.working.load(Ordering::SeqCst)
    }

    /// The requests from now on, by `run`.
    fn requests(&self) -> Vec<Method> {
        let mut store = self.store.lock().unwrap();
        std::mem::take(&mut store.requests)
            .into_iter()
            .map(|(_, method)| method)
            .collect()
    }
}

/// Counts who works at once; never more than one may.
struct Working(Arc<AtomicUsize>);

impl Working {
    fn new(count: Arc<AtomicUsize>) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two work at once");
        Self(count)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Running {
    token: CancellationToken,
    task: JoinHandle<Result<Option<()>, Lost>>,
}

impl Running {
    async fn stop(self) -> Result<Option<()>, Lost> {
        self.token.cancel();
        self.task.await.unwrap()
    }

    /// Why it ended, and after how long.
    async fn lost(self) -> (String, Duration) {
        let start = Instant::now();
        let lost = self.task.await.unwrap().unwrap_err();
        (lost.to_string(), start.elapsed())
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_at_once_and_renews_with_one_request() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    assert_eq!((server.working(), server.holder().as_deref()), (1, Some("a")));
    assert_eq!(server.requests(), [Method::GET, Method::POST]);
    sleep(secs(60)).await;
    assert_eq!(server.requests(), vec![Method::PUT; 30]);
    assert_eq!(server.transitions(), 0);
    assert_eq!(a.stop().await.unwrap(), Some(()));
    assert_eq!((server.working(), server.holder()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_soon_after_a_clean_stop() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    let b = server.start("b", Duration::ZERO);
    sleep(secs(120)).await;
    assert_eq!(server.holder().as_deref(), Some("a"));
    a.stop().await.unwrap();
    sleep(secs(5)).await;
    assert_eq!((server.working(), server.holder().as_deref()), (1, Some("b")));
    assert_eq!(server.transitions(), 1);
    b.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_until_the_work_has_ended() {
    let server = Server::new();
    let a = server.start("a", secs(100));
    sleep(secs(1)).await;
    let b = server.start("b", Duration::ZERO);
    a.token.cancel();
    sleep(secs(90)).await;
    assert_eq!((server.working(), server.holder().as_deref()), (1, Some("a")));
    sleep(secs(20)).await;
    assert_eq!(server.holder().as_deref(), Some("b"));
    assert_eq!(a.task.await.unwrap().unwrap(), Some(()));
    b.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_killed_leader_is_followed_after_its_lease() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    let b = server.start("b", Duration::ZERO);
    sleep(secs(60)).await;
    let (killed, next) = if server.holder().as_deref() == Some("a") {
        (a, b)
    } else {
        (b, a)
    };
    killed.task.abort();
    let killed_at = Instant::now();
    sleep(secs(12)).await;
    assert_eq!(server.working(), 0, "too early");
    while server.working() == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    // Its last renewal was up to 2 s before it was killed; it was seen up to 4.4 s after it was made.
    let gap = killed_at.elapsed();
    assert!(gap >= secs(13) && gap <= secs(24), "{gap:?}");
    next.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_an_api_server_ends_before_its_lease() {
    for fault in [Fault::Refused, Fault::Lost, Fault::Slow(secs(7))] {
        let server = Server::new();
        let a = server.start("a", Duration::ZERO);
        sleep(secs(1)).await;
        server.outage(Some(fault));
        let (lost, after) = a.lost().await;
        assert_eq!(lost, "could not renew the lease lock in time, so another may lead");
        // It was renewed a second ago, when it was made; slow answers are renewals all the same, but none is awaited.
        assert_eq!(after, secs(9), "{fault:?}");
        assert_eq!(server.working(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answers_do_not_prolong_the_term() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    // Renewed at 2 s, answered at 6 s; then nothing any more.
    server.fail([Fault::Slow(secs(4))]);
    server.outage(Some(Fault::Refused));
    let (_, after) = a.lost().await;
    assert_eq!(after, secs(11), "10 s after it was sent");
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_is_survived() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    for fault in [Fault::Refused, Fault::Lost, Fault::Unanswered, Fault::Slow(secs(6))] {
        server.fail([fault]);
        sleep(secs(30)).await;
        assert_eq!(
            (server.working(), server.holder().as_deref()),
            (1, Some("a")),
            "{fault:?}"
        );
    }
    assert_eq!(server.transitions(), 0);
    a.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reads_another_holder_ends_at_once() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    server.write_holder(Some("b"));
    let (lost, after) = a.lost().await;
    assert_eq!(lost, "the lease lock is held by \"b\" now");
    assert_eq!(after, secs(1));
    assert_eq!(server.holder().as_deref(), Some("b"), "nothing was written over it");
}

#[tokio::test(start_paused = true)]
async fn a_lease_emptied_or_deleted_under_the_leader_is_its_again() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    server.write_holder(None);
    sleep(secs(3)).await;
    assert_eq!(server.holder().as_deref(), Some("a"));
    server.store.lock().unwrap().lease = None;
    sleep(secs(3)).await;
    assert_eq!((server.working(), server.holder().as_deref()), (1, Some("a")));
    a.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_that_another_made_anew_is_lost() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    server.store.lock().unwrap().lease = None;
    let b = server.candidate("b");
    let taken = Term::begin(b, &CancellationToken::new()).await;
    assert!(taken.is_some());
    assert_eq!(a.lost().await.0, "the lease lock is held by \"b\" now");
}

#[tokio::test(start_paused = true)]
async fn of_many_that_start_at_once_one_leads() {
    let server = Server::new();
    let all: Vec<_> = (0..20)
        .map(|i| server.start(&format!("c{i}"), Duration::ZERO))
        .collect();
    // Every second leader is killed, the others stop cleanly; `Working` sees that no two work at once.
    let mut all: Vec<_> = all.into_iter().map(Some).collect();
    for round in 0..20 {
        sleep(secs(30)).await;
        assert_eq!(server.working(), 1, "round {round}");
        let leader: usize = server.holder().unwrap()[1..].parse().unwrap();
        let running = all[leader].take().unwrap();
        if round % 2 == 0 {
            running.task.abort();
        } else {
            running.stop().await.unwrap();
        }
    }
    assert_eq!(server.transitions(), 19);
}

#[tokio::test(start_paused = true)]
async fn two_that_read_the_same_free_lease_do_not_both_get_it() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    a.stop().await.unwrap();
    // Both have read the free Lease before either writes.
    server.fail([Fault::Slow(secs(1)), Fault::Slow(secs(1))]);
    let (b, c) = (server.start("b", Duration::ZERO), server.start("c", Duration::ZERO));
    sleep(secs(20)).await;
    assert_eq!((server.working(), server.transitions()), (1, json!(1)));
    b.stop().await.unwrap();
    c.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_is_stopped_does_not_work() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(secs(1)).await;
    let b = server.start("b", Duration::ZERO);
    sleep(secs(10)).await;
    assert_eq!(b.stop().await.unwrap(), None);
    assert_eq!(server.holder().as_deref(), Some("a"));
    a.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_candidate_stopped_while_it_takes_the_lease_gives_it_back() {
    let server = Server::new();
    server.fail([Fault::Slow(secs(1)), Fault::Slow(secs(1))]);
    let a = server.start("a", Duration::ZERO);
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.holder().as_deref(), Some("a"));
    assert_eq!(a.stop().await.unwrap(), None);
    assert_eq!(server.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn a_taken_lease_whose_answer_was_lost_is_found_to_be_ours() {
    let server = Server::new();
    server.fail([Fault::Slow(Duration::ZERO), Fault::Unanswered]);
    let a = server.start("a", Duration::ZERO);
    sleep(secs(4)).await;
    assert_eq!((server.working(), server.holder().as_deref()), (0, Some("a")));
    sleep(secs(8)).await;
    assert_eq!((server.working(), server.transitions()), (1, json!(0)));
    a.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_release_is_tried_again_over_a_late_renewal_and_then_left() {
    let server = Server::new();
    let a = server.start("a", Duration::ZERO);
    sleep(Duration::from_millis(1900)).await;
    // The GET of the release takes a second; meanwhile the renewal at 2 s would have come.
    server.fail([Fault::Slow(secs(1))]);
    a.token.cancel();
    sleep(Duration::from_millis(500)).await;
    server.write_holder(Some("a"));
    assert_eq!(a.task.await.unwrap().unwrap(), Some(()));
    assert_eq!(server.holder(), None);

    let b = server.start("b", Duration::ZERO);
    sleep(secs(1)).await;
    server.outage(Some(Fault::Lost));
    let stopped = Instant::now();
    assert_eq!(b.stop().await.unwrap(), Some(()));
    assert_eq!((stopped.elapsed(), server.holder().as_deref()), (secs(5), Some("b")));
}

#[test]
fn no_two_processes_are_called_the_same() {
    assert_ne!(identity(), identity());
}
