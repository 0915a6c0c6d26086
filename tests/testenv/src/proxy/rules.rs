//! Which request or watch event is hit by which fault: pure counting, so that it can be read and tested here.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use http::Method;

/// What happens to a request or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// The write is done, and the component is killed before it hears of it.
    KillAfter,
    /// The write is done, and the connection breaks before the answer.
    DropResponse,
    /// The write is not done: the answer is an error of this HTTP status.
    Answer(u16),
    /// The event does not come. The watch breaks with 410 Gone a moment later: an API server that has lost events says
    /// so, and the client has to list again.
    SkipEvent,
    /// The event comes twice.
    RepeatEvent,
    /// The connection of the watch breaks in the middle of the event.
    CutStream,
}

impl Effect {
    /// Whether it happens to watch events, and not to writes.
    #[must_use]
    pub fn is_on_events(self) -> bool {
        matches!(self, Self::SkipEvent | Self::RepeatEvent | Self::CutStream)
    }
}

/// One thing that goes wrong, once.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Only what holds this text counts: writes by their path, watch events by their whole content. A name that nothing
    /// else has makes it possible to fault many things at once and to tell which was which.
    pub scope: String,
    /// Which one is hit, from 1, counted from arming.
    pub at: usize,
    /// What happens to it.
    pub effect: Effect,
}

#[derive(Debug)]
struct Entry {
    fault: Fault,
    seen: AtomicUsize,
    hit: Mutex<Option<String>>,
}

/// A fault that waits for its moment. Dropping it disarms it.
#[derive(Debug)]
pub struct Armed(Arc<Entry>);

impl Armed {
    /// The fault.
    #[must_use]
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// How many writes, or events, were in its scope so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.0.seen.load(Ordering::SeqCst)
    }

    /// What was hit, if it has happened: method and path of the write, or path of the watch.
    #[must_use]
    pub fn hit(&self) -> Option<String> {
        lock(&self.0.hit).clone()
    }
}

/// The faults that wait, and the writes that came.
#[derive(Debug, Default)]
pub(super) struct Rules {
    faults: Mutex<Vec<Weak<Entry>>>,
    writes: Mutex<Vec<String>>,
}

impl Rules {
    pub(super) fn arm(&self, fault: Fault) -> Armed {
        let entry = Arc::new(Entry {
            fault,
            seen: AtomicUsize::default(),
            hit: Mutex::default(),
        });
        lock(&self.faults).push(Arc::downgrade(&entry));
        Armed(entry)
    }

    /// Method and path of every write so far.
    pub(super) fn writes(&self) -> Vec<String> {
        lock(&self.writes).clone()
    }

    /// What is to happen to a request.
    pub(super) fn on_request(&self, method: &Method, path: &str) -> Option<Effect> {
        if !is_write(method, path) {
            return None;
        }
        let what = format!("{method} {path}");
        lock(&self.writes).push(what.clone());
        self.next(false, |scope| path.contains(scope), &what)
    }

    /// What is to happen to an event of the watch at `path`.
    pub(super) fn on_event(&self, path: &str, event: &[u8]) -> Option<Effect> {
        let holds =
            |scope: &str| scope.is_empty() || event.windows(scope.len()).any(|window| window == scope.as_bytes());
        self.next(true, holds, path)
    }

    /// Counts for every fault that waits; the first whose turn it is happens. Another whose turn it is too waits for the
    /// next one, so that none is lost.
    fn next(&self, event: bool, in_scope: impl Fn(&str) -> bool, what: &str) -> Option<Effect> {
        let mut due = None;
        lock(&self.faults).retain(|weak| {
            let Some(entry) = weak.upgrade() else {
                return false;
            };
            if entry.fault.effect.is_on_events() == event && in_scope(&entry.fault.scope) {
                let seen = entry.seen.fetch_add(1, Ordering::SeqCst) + 1;
                let mut hit = lock(&entry.hit);
                if due.is_none() && hit.is_none() && seen >= entry.fault.at {
                    *hit = Some(what.to_owned());
                    due = Some(entry.fault.effect);
                }
            }
            true
        });
        due
    }
}

/// Whether a request changes something that others can see. Heartbeats come when they come, and reviews are questions.
fn is_write(method: &Method, path: &str) -> bool {
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method);
    let other = [
        "/apis/coordination.k8s.io/",
        "/apis/authentication.k8s.io/",
        "/apis/authorization.k8s.io/",
    ];
    changes && !other.iter().any(|prefix| path.starts_with(prefix))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "/apis/x/v1/namespaces/cluster1/peerlinks/one-a";

    fn fault(scope: &str, at: usize, effect: Effect) -> Fault {
        Fault {
            scope: scope.to_owned(),
            at,
            effect,
        }
    }

    #[test]
    fn the_nth_write_in_scope_is_hit_and_only_that() {
        let rules = Rules::default();
        let armed = rules.arm(fault("one", 2, Effect::DropResponse));
        let hits: Vec<_> = [
            (Method::PATCH, LINK),
            (Method::PATCH, "/apis/x/v1/namespaces/cluster1/peerlinks/two-a"),
            (Method::GET, LINK),
            (Method::DELETE, LINK),
            (Method::PATCH, LINK),
        ]
        .map(|(method, path)| rules.on_request(&method, path))
        .into();
        assert_eq!(hits, [None, None, None, Some(Effect::DropResponse), None]);
        assert_eq!((armed.seen(), armed.hit()), (3, Some(format!("DELETE {LINK}"))));
        assert_eq!(rules.writes().len(), 4);
    }

    #[test]
    fn heartbeats_and_questions_are_no_writes() {
        for (method, path, write) in [
            (Method::GET, LINK, false),
            (Method::POST, LINK, true),
            (
                Method::PATCH,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
                false,
            ),
            (Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews", false),
            (
                Method::POST,
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                false,
            ),
            (Method::PUT, "/api/v1/namespaces/a/secrets/b", true),
        ] {
            assert_eq!(is_write(&method, path), write, "{method} {path}");
        }
    }

    #[test]
    fn events_count_by_what_they_hold_and_apart_from_writes() {
        let rules = Rules::default();
        let armed = rules.arm(fault("one", 1, Effect::SkipEvent));
        assert_eq!(rules.on_request(&Method::PATCH, LINK), None);
        assert_eq!(rules.on_event("/watch", b"{\"name\":\"two\"}"), None);
        assert_eq!(rules.on_event("/watch", b"{\"name\":\"one\"}"), Some(Effect::SkipEvent));
        assert_eq!(rules.on_event("/watch", b"{\"name\":\"one\"}"), None);
        assert_eq!((armed.seen(), armed.hit()), (2, Some("/watch".to_owned())));
    }

    #[test]
    fn two_faults_for_one_write_happen_one_after_the_other() {
        let rules = Rules::default();
        let _first = rules.arm(fault("one", 1, Effect::Answer(409)));
        let _second = rules.arm(fault("", 1, Effect::Answer(500)));
        let hits: Vec<_> = (0..3).map(|_| rules.on_request(&Method::PATCH, LINK)).collect();
        assert_eq!(hits, [Some(Effect::Answer(409)), Some(Effect::Answer(500)), None]);
    }

    #[test]
    fn a_dropped_fault_does_not_happen() {
        let rules = Rules::default();
        drop(rules.arm(fault("", 1, Effect::KillAfter)));
        assert_eq!(rules.on_request(&Method::PATCH, LINK), None);
    }
}
