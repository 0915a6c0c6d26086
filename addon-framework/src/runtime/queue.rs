//! The keyed work queue: which key may run when. Pure bookkeeping behind one lock; [`super::run`] does the running.
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::backoff::Backoff;

/// Waits between tries of a key which keeps failing: 200 ms doubling to 60 s (a minute is what an operator still waits for).
pub const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_mins(1),
};

/// The longest wait of a failed key which was added again while it ran: something new is known, so try soon, but a
/// reconcile which wakes itself by its own writes and fails must not spin.
const RETRY_TOUCHED: Duration = Duration::from_secs(1);

/// What a key must be: small, comparable and printable (it stands in the log).
pub trait Key: Clone + Eq + Hash + Ord + fmt::Debug + Send + 'static {}
impl<K: Clone + Eq + Hash + Ord + fmt::Debug + Send + 'static> Key for K {}

/// A queue of keys to reconcile.
///
/// * A key waits at most once, however often it is added.
/// * A key never runs twice at once: added while it runs, it runs again afterwards.
/// * A key has at most one timer: the earlier wins, and [`Queue::add`] replaces it, since a level-triggered reconcile which
///   runs now asks for its next timer itself.
///
/// Clones share one queue. Only one [`super::run`] should drain it.
///
/// ```
/// use addon_framework::runtime::Queue;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let queue = Queue::new();
/// queue.add("cluster1");
/// queue.add("cluster1");
/// assert_eq!(queue.waiting(), 1);
/// # });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    /// Added while running.
    touched: HashSet<K>,
    timers: BTreeSet<(Instant, K)>,
    timer_of: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Key> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<K: Key> Queue<K> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            touched: HashSet::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            failures: HashMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Wants `key` to run as soon as possible. Never blocks, may be called from any thread.
    pub fn add(&self, key: K) {
        self.lock().add(key);
        self.shared.changed.notify_one();
    }

    /// Wants `key` to run after `delay` at the latest. Call it from within a tokio runtime.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.lock().schedule(key, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// The number of keys which wait to run now (neither running nor on a timer).
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().ready.len()
    }

    /// Takes the next key which may run at `now` and marks it as running.
    pub(super) fn take(&self, now: Instant) -> Option<K> {
        self.lock().take(now)
    }

    /// When the next timer fires.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.lock().timers.first().map(|(at, _)| *at)
    }

    /// Resolves when something was added since the last call.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Marks a key as no longer running; `after` asks for another run.
    pub(super) fn succeeded(&self, key: K, after: Option<Duration>) {
        let mut state = self.lock();
        state.running.remove(&key);
        state.failures.remove(&key);
        if state.touched.remove(&key) {
            state.add(key);
        } else if let Some(delay) = after {
            state.schedule(key, Instant::now() + delay);
        }
    }

    /// Marks a key as no longer running and plans its next try; returns the failures in a row and the delay.
    pub(super) fn failed(&self, key: K) -> (u32, Duration) {
        let mut state = self.lock();
        state.running.remove(&key);
        let failures = state.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let failures = *failures;
        let mut delay = RETRY.random_delay(failures);
        if state.touched.remove(&key) {
            delay = delay.min(RETRY_TOUCHED);
        }
        state.schedule(key, Instant::now() + delay);
        (failures, delay)
    }

    /// A poisoned lock is taken as it is: every change below leaves the state consistent.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key> State<K> {
    fn add(&mut self, key: K) {
        self.drop_timer(&key);
        if self.running.contains(&key) {
            self.touched.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn schedule(&mut self, key: K, at: Instant) {
        if self.queued.contains(&key) || self.touched.contains(&key) {
            return;
        }
        if self.timer_of.get(&key).is_some_and(|known| *known <= at) {
            return;
        }
        self.drop_timer(&key);
        self.timer_of.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    fn drop_timer(&mut self, key: &K) {
        if let Some(at) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.timers.pop_first() {
                self.add(key);
            }
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(queue: &Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.take(Instant::now())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_in_order() {
        let queue = Queue::new();
        for key in ["b", "a", "b", "c", "a"] {
            queue.add(key);
        }
        assert_eq!(drain(&queue), ["b", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_key_runs_again_afterwards_not_at_once() {
        let queue = Queue::new();
        queue.add("a");
        assert_eq!(drain(&queue), ["a"]);
        queue.add("a");
        queue.add("a");
        assert!(drain(&queue).is_empty());
        queue.succeeded("a", None);
        assert_eq!(drain(&queue), ["a"]);
        queue.succeeded("a", None);
        assert!(drain(&queue).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_timer_wins() {
        let queue = Queue::new();
        queue.add_after("a", 9 * SECOND);
        queue.add_after("a", 3 * SECOND);
        queue.add_after("a", 6 * SECOND);
        assert_eq!(queue.next_timer(), Some(Instant::now() + 3 * SECOND));
        assert!(drain(&queue).is_empty());
        tokio::time::advance(3 * SECOND).await;
        assert_eq!(drain(&queue), ["a"]);
        assert_eq!(queue.next_timer(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn adding_now_replaces_the_timer() {
        let queue = Queue::new();
        queue.add_after("a", SECOND);
        queue.add("a");
        queue.add_after("a", SECOND);
        assert_eq!(queue.next_timer(), None);
        assert_eq!(drain(&queue), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_set_while_running_outlives_the_run() {
        let queue = Queue::new();
        queue.add("a");
        drain(&queue);
        queue.add_after("a", SECOND);
        queue.succeeded("a", Some(5 * SECOND));
        assert_eq!(queue.next_timer(), Some(Instant::now() + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_success_forgets_them() {
        let queue = Queue::new();
        queue.add("a");
        for failures in 1..=12 {
            tokio::time::advance(RETRY.cap).await;
            assert_eq!(drain(&queue), ["a"]);
            let (count, delay) = queue.failed("a");
            assert_eq!(count, failures);
            assert!(
                delay >= RETRY.delay(failures, 0.0) && delay <= RETRY.delay(failures, 1.0),
                "{failures}: {delay:?}"
            );
        }
        tokio::time::advance(RETRY.cap).await;
        assert_eq!(drain(&queue), ["a"]);
        queue.succeeded("a", None);
        queue.add("a");
        drain(&queue);
        assert_eq!(queue.failed("a").0, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_key_added_meanwhile_is_tried_within_a_second() {
        let queue = Queue::new();
        queue.add("a");
        for _ in 0..10 {
            tokio::time::advance(RETRY.cap).await;
            drain(&queue);
            queue.failed("a");
        }
        tokio::time::advance(RETRY.cap).await;
        drain(&queue);
        queue.add("a");
        assert!(queue.failed("a").1 <= RETRY_TOUCHED);
        assert!(drain(&queue).is_empty(), "it must not spin");
    }
}
