//! Runs reconciles: takes keys from a [`Queue`], bounded in number and in time, and plans the next try of what failed.
use std::{collections::HashMap, error::Error, future::Future, time::Duration};

use futures::future::OptionFuture;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    error_chain,
    metrics::metrics,
    queue::{Key, Queue},
};

/// How long running reconciles may take to finish after the token was cancelled (a pod gets 30 s between SIGTERM and SIGKILL).
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// What a successful reconcile asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing until the key is added again.
    Done,
    /// Another run after this time at the latest.
    RequeueAfter(Duration),
}

/// How a controller runs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// The controller's name, in logs and in metrics.
    pub name: &'static str,
    /// How many keys may run at once (at least 1).
    pub concurrency: usize,
    /// After this time a reconcile is dropped and counts as failed.
    pub deadline: Duration,
}

enum Ended {
    Ok(Outcome),
    Failed(String),
}

/// Runs `reconcile` for the queue's keys until `token` is cancelled, then waits for the running ones, at most [`SHUTDOWN_GRACE`].
///
/// A failed key is tried again after [`super::queue::RETRY`]; the failure is logged with the chain of its sources and counted.
pub async fn run<K, E, F, Fut>(queue: Queue<K>, options: RunOptions, token: CancellationToken, reconcile: F)
where
    K: Key,
    F: Fn(K) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
    E: Error + 'static,
{
    let mut runner = Runner {
        queue,
        options,
        tasks: JoinSet::new(),
        keys: HashMap::new(),
    };
    loop {
        runner.start(&reconcile);
        let timer = runner.wake_at();
        tokio::select! {
            biased;
            () = token.cancelled() => break,
            Some(ended) = runner.tasks.join_next_with_id() => runner.finish(ended),
            () = runner.queue.changed() => {}
            Some(()) = OptionFuture::from(timer.map(sleep_until)) => {}
        }
    }
    runner.drain().await;
}

struct Runner<K> {
    queue: Queue<K>,
    options: RunOptions,
    tasks: JoinSet<Ended>,
    keys: HashMap<Id, K>,
}

impl<K: Key> Runner<K> {
    fn has_room(&self) -> bool {
        self.tasks.len() < self.options.concurrency.max(1)
    }

    /// The next timer, unless every slot is taken: then only a finished run makes room.
    fn wake_at(&self) -> Option<Instant> {
        if self.has_room() { self.queue.next_timer() } else { None }
    }

    fn start<E, F, Fut>(&mut self, reconcile: &F)
    where
        F: Fn(K) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, E>> + Send + 'static,
        E: Error + 'static,
    {
        while self.has_room()
            && let Some(key) = self.queue.take(Instant::now())
        {
            let (reconcile, deadline, argument) = (reconcile.clone(), self.options.deadline, key.clone());
            let task = self.tasks.spawn(async move {
                match timeout(deadline, reconcile(argument)).await {
                    Ok(Ok(outcome)) => Ended::Ok(outcome),
                    Ok(Err(error)) => Ended::Failed(error_chain(&error)),
                    Err(_) => Ended::Failed(format!("not done within {deadline:?}")),
                }
            });
            self.keys.insert(task.id(), key);
        }
    }

    fn finish(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            // A panic costs one try of one key, not the controller.
            Err(error) => (error.id(), Ended::Failed(error.to_string())),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        let controller = self.options.name;
        metrics().reconciled(controller);
        match ended {
            Ended::Ok(Outcome::Done) => self.queue.succeeded(key, None),
            Ended::Ok(Outcome::RequeueAfter(delay)) => self.queue.succeeded(key, Some(delay)),
            Ended::Failed(reason) => {
                metrics().reconcile_failed(controller);
                let (failures, delay) = self.queue.failed(key.clone());
                warn!(controller, ?key, failures, retry_in = ?delay, reason, "reconcile failed");
            }
        }
    }

    async fn drain(&mut self) {
        let finished = timeout(SHUTDOWN_GRACE, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        if finished.is_err() {
            warn!(
                controller = self.options.name,
                running = self.tasks.len(),
                "reconciles cut off by the shutdown"
            );
            self.tasks.shutdown().await;
        }
        debug!(controller = self.options.name, "controller stopped");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::sleep;

    use super::*;

    #[derive(Debug)]
    struct Broken;
    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }
    impl Error for Broken {}

    const OPTIONS: RunOptions = RunOptions {
        name: "test",
        concurrency: 2,
        deadline: Duration::from_secs(5),
    };

    #[tokio::test(start_paused = true)]
    async fn runs_keys_in_parallel_but_one_key_never_twice() {
        let (queue, token) = (Queue::new(), CancellationToken::new());
        let (now, most) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (runs, done) = (Arc::new(AtomicUsize::new(0)), token.clone());
        for key in [1, 2, 3] {
            queue.add(key);
        }
        let again = queue.clone();
        run(queue, OPTIONS, token, move |key: i32| {
            let (now, most, runs, again, done) = (now.clone(), most.clone(), runs.clone(), again.clone(), done.clone());
            async move {
                {
                    let mut now = now.lock().unwrap();
                    assert!(!now.contains(&key));
                    now.push(key);
                    most.fetch_max(now.len(), Ordering::SeqCst);
                }
                let run = runs.fetch_add(1, Ordering::SeqCst);
                if run < 10 {
                    again.add(key);
                }
                sleep(Duration::from_millis(100)).await;
                now.lock().unwrap().retain(|running| *running != key);
                if run == 12 {
                    assert_eq!(most.load(Ordering::SeqCst), 2);
                    done.cancel();
                }
                Ok::<_, Broken>(Outcome::Done)
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn errors_panics_and_overruns_are_tried_again() {
        let (queue, token) = (Queue::new(), CancellationToken::new());
        let (tries, done) = (Arc::new(AtomicUsize::new(0)), token.clone());
        queue.add("a");
        run(queue, OPTIONS, token, move |_| {
            let (tries, done) = (tries.clone(), done.clone());
            async move {
                match tries.fetch_add(1, Ordering::SeqCst) {
                    0 => Err(Broken),
                    1 => panic!("a bug"),
                    2 => std::future::pending().await,
                    3 => Ok(Outcome::RequeueAfter(Duration::from_hours(1))),
                    _ => {
                        done.cancel();
                        Ok(Outcome::Done)
                    }
                }
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_waits_for_running_reconciles_but_not_for_ever() {
        for (takes, finishes) in [(Duration::from_secs(3), true), (Duration::from_hours(1), false)] {
            let (queue, token) = (Queue::new(), CancellationToken::new());
            let (finished, stop) = (Arc::new(AtomicUsize::new(0)), token.clone());
            queue.add("a");
            let seen = finished.clone();
            run(
                queue,
                RunOptions {
                    deadline: Duration::MAX,
                    ..OPTIONS
                },
                token,
                move |_| {
                    let (finished, stop) = (finished.clone(), stop.clone());
                    async move {
                        stop.cancel();
                        sleep(takes).await;
                        finished.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, Broken>(Outcome::Done)
                    }
                },
            )
            .await;
            assert_eq!(seen.load(Ordering::SeqCst) == 1, finishes);
        }
    }
}
