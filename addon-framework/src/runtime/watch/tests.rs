//! The watch against scripted API servers, in paused time.
use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use peering_api::{
    k8s_openapi::api::core::v1::ConfigMap,
    kube::{Client, client::Body},
};
use serde_json::{Value, json};

use super::*;

/// When which path was requested.
type Requests = Arc<Mutex<Vec<(Instant, String)>>>;

/// One answer of the scripted API server.
enum Answer {
    /// A status code and a body: a list, or an error.
    Json(u16, Value),
    /// A watch which says this, then ends.
    Events(Vec<Value>),
    /// No answer at all.
    Hang,
    /// No connection.
    Broken,
}

fn map(name: &str, version: u32) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string(),
        "managedFields": [{"manager": "test"}]}})
}

fn list(maps: &[Value]) -> Answer {
    Answer::Json(
        200,
        json!({"apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "10"}, "items": maps}),
    )
}

fn refusal(code: u16) -> Answer {
    Answer::Json(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "message": "no"}),
    )
}

fn event(type_: &str, object: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("ConfigMap");
    json!({"type": type_, "object": object})
}

fn gone() -> Value {
    json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}})
}

/// A client whose requests are answered in order; when the script is over, they hang. Also the times and queries seen.
fn scripted(script: Vec<Answer>) -> (Client, Requests) {
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = script.lock().unwrap().pop_front().unwrap_or(Answer::Hang);
        log.lock().unwrap().push((Instant::now(), request.uri().to_string()));
        async move {
            let (code, body) = match answer {
                Answer::Json(code, body) => (code, body.to_string()),
                Answer::Events(events) => (
                    200,
                    events
                        .iter()
                        .flat_map(|event| [event.to_string(), "\n".to_owned()])
                        .collect(),
                ),
                Answer::Hang => std::future::pending().await,
                Answer::Broken => return Err(io::ErrorKind::ConnectionRefused.into()),
            };
            Ok::<_, io::Error>(
                Response::builder()
                    .status(code)
                    .body(Body::from(body.into_bytes()))
                    .unwrap(),
            )
        }
    });
    (Client::new(service, "ns"), seen)
}

struct Running {
    watch: Watch<ConfigMap>,
    touched: Arc<Mutex<Vec<String>>>,
    seen: Requests,
    tasks: TaskTracker,
}

fn start(script: Vec<Answer>) -> Running {
    let (client, seen) = scripted(script);
    let (tasks, touched) = (TaskTracker::new(), Arc::new(Mutex::new(vec![])));
    let names = touched.clone();
    let api = Api::<ConfigMap>::namespaced(client, "ns");
    let watch = watch(
        &tasks,
        &CancellationToken::new(),
        "test",
        api,
        watcher::Config::default(),
        move |map| {
            assert_eq!(map.metadata.managed_fields, None);
            names.lock().unwrap().push(map.name_any());
        },
    );
    Running {
        watch,
        touched,
        seen,
        tasks,
    }
}

impl Running {
    fn touched(&self) -> Vec<String> {
        let mut names = std::mem::take(&mut *self.touched.lock().unwrap());
        names.sort();
        names
    }

    /// Waits for a state, in paused time.
    async fn until(&self, wanted: impl Fn(&WatchState) -> bool) -> WatchState {
        let mut states = self.watch.states();
        let wait = states.wait_for(|state| wanted(state));
        tokio::time::timeout(Duration::from_hours(1), wait)
            .await
            .unwrap()
            .unwrap()
            .clone()
    }

    /// The waits between requests.
    fn waits(&self) -> Vec<Duration> {
        let seen = self.seen.lock().unwrap();
        seen.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waits_for_the_first_list_is_woken() {
    let running = start(vec![list(&[map("a", 1)])]);
    let watch = Arc::new(running.watch);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let watch = Arc::clone(&watch);
        waiting.spawn(async move { watch.ready().await });
    }
    let all = tokio::time::timeout(Duration::from_hours(1), waiting.join_all()).await;
    assert_eq!(all.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn lists_in_pages_and_tells_every_object() {
    let running = start(vec![list(&[map("a", 1), map("b", 2)])]);
    running.watch.ready().await;
    running.until(|state| *state == WatchState::Synced).await;
    assert_eq!(running.touched(), ["a", "b"]);
    assert!(running.seen.lock().unwrap()[0].1.contains("limit=50"));
    assert!(
        running
            .watch
            .get(Some("ns"), "a")
            .unwrap()
            .metadata
            .managed_fields
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn tells_changes_and_deletes() {
    let running = start(vec![
        list(&[map("a", 1), map("b", 2)]),
        Answer::Events(vec![
            event("MODIFIED", &map("a", 3)),
            event("DELETED", &map("b", 4)),
            event("ADDED", &map("c", 5)),
        ]),
    ]);
    running.watch.ready().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.touched(), ["a", "a", "b", "b", "c"]);
    assert_eq!(running.watch.store.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_relist_tells_what_vanished_or_changed_and_nothing_else() {
    let running = start(vec![
        list(&[map("changed", 1), map("same", 2), map("vanished", 3)]),
        Answer::Events(vec![gone()]),
        list(&[map("changed", 8), map("new", 9), map("same", 2)]),
    ]);
    running.watch.ready().await;
    running.touched();
    running.until(|state| matches!(state, WatchState::Failing(_))).await;
    running.until(|state| *state == WatchState::Synced).await;
    assert_eq!(running.touched(), ["changed", "new", "vanished"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_server_is_tried_with_growing_waits_up_to_ten_seconds() {
    let mut script: Vec<_> = (0..10).map(|_| refusal(500)).collect();
    script.push(list(&[map("a", 1)]));
    let running = start(script);
    running.watch.ready().await;
    for (failures, wait) in (1..).zip(running.waits().into_iter().take(10)) {
        // A timer of tokio may fire a millisecond late.
        let most = LOST.delay(failures, 1.0) + Duration::from_millis(1);
        assert!(
            wait >= LOST.delay(failures, 0.0) && wait <= most,
            "{failures}: {wait:?}"
        );
    }
    assert_eq!(
        running.until(|state| *state == WatchState::Synced).await,
        WatchState::Synced
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_and_recovered_from() {
    for (code, expected) in [
        (404, FailureKind::Missing),
        (403, FailureKind::Denied),
        (503, FailureKind::Lost),
    ] {
        let mut script: Vec<_> = (0..12).map(|_| refusal(code)).collect();
        script.push(list(&[map("a", 1)]));
        let running = start(script);
        let state = running
            .until(|state| matches!(state, WatchState::Failing(failure) if failure.attempts == 12))
            .await;
        assert!(matches!(state, WatchState::Failing(failure) if failure.kind == expected));
        running.watch.ready().await;
        let longest = running.waits().into_iter().max().unwrap();
        assert_eq!(
            longest > LOST.cap + Duration::from_secs(1),
            expected != FailureKind::Lost,
            "{code}: {longest:?}"
        );
        assert!(longest <= REFUSED.cap + Duration::from_millis(1));
        assert_eq!(running.touched(), ["a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_back_is_asked_again_soon_although_it_refuses_at_first() {
    let mut script: Vec<_> = (0..12).map(|_| Answer::Broken).collect();
    script.extend([refusal(403), refusal(429), list(&[map("a", 1)])]);
    let running = start(script);
    running.watch.ready().await;
    let waits = running.waits();
    assert!(waits[11] > LOST.cap / 2, "before: {waits:?}");
    assert!(
        waits[12] < Duration::from_secs(1) && waits[13] < Duration::from_secs(1),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_refused_for_good_starts_with_a_new_list() {
    let running = start(vec![list(&[map("a", 1)]), refusal(410), list(&[map("b", 20)])]);
    running.watch.ready().await;
    running.until(|state| matches!(state, WatchState::Failing(_))).await;
    running.until(|state| *state == WatchState::Synced).await;
    assert_eq!(running.touched(), ["a", "a", "b"], "a was listed, then vanished");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_quiet_watch_counts_as_healthy() {
    let running = start(vec![list(&[map("a", 1)]), refusal(503)]);
    running.watch.ready().await;
    running.until(|state| matches!(state, WatchState::Failing(_))).await;
    running.until(|state| *state == WatchState::Synced).await;
    assert_eq!(running.seen.lock().unwrap().len(), 3, "no second list");
}

#[tokio::test(start_paused = true)]
async fn a_list_which_hangs_is_given_up() {
    let running = start(vec![Answer::Hang, list(&[map("a", 1)])]);
    running.watch.ready().await;
    assert!(running.waits()[0] >= LIST_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_task_and_releases_who_waits() {
    let running = start(vec![Answer::Hang]);
    let store = running.watch.store.clone();
    running.watch.stop();
    running.tasks.close();
    running.tasks.wait().await;
    assert!(store.wait_until_ready().await.is_err());
}
