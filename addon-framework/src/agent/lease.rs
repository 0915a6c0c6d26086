//! The agent's Lease: OCM's registration agent takes it for the addon's health (condition `Available`).
use std::{future::Future, time::Duration};

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::{
        api::coordination::v1::{Lease, LeaseSpec},
        apimachinery::pkg::apis::meta::v1::MicroTime,
    },
    kube::{
        self, Api, Client,
        api::{ObjectMeta, Patch, PatchParams, PostParams},
    },
};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::runtime::{backoff::Backoff, error_chain, write::is_missing};

/// `leaseDurationSeconds` of the Lease, and the time between renewals. The registration agent calls the addon unavailable
/// after five times that.
pub const DURATION: Duration = Duration::from_mins(1);

/// Renewals come after one to this many times [`DURATION`], so that the agents of many clusters spread.
const JITTER: f64 = 1.25;

/// How soon an unhealthy agent is asked again.
const UNHEALTHY: Duration = Duration::from_secs(5);

/// Waits after a failed renewal.
const RETRY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(30),
};

/// Renews the Lease `name` (the addon's name) in `namespace` (the agent's) until `token` is cancelled, while `health` says
/// that the agent works; makes it if it is missing. Needs `get`, `create` and `patch` on `leases` in that namespace.
pub async fn keep(client: Client, namespace: &str, name: &str, health: impl Fn() -> bool, token: CancellationToken) {
    let leases = [Api::<Lease>::namespaced(client, namespace)];
    keep_first(&leases, namespace, name, health, token).await;
}

/// [`keep`], with a Lease in the cluster's namespace on the hub instead if the agent's own cluster does not serve Leases at
/// all. Needs the same rights there: the addon grants them by its registration.
pub async fn keep_or_on_hub(
    client: Client,
    namespace: &str,
    (hub, cluster): (Client, &str),
    name: &str,
    health: impl Fn() -> bool,
    token: CancellationToken,
) {
    let leases = [
        Api::<Lease>::namespaced(client, namespace),
        Api::namespaced(hub, cluster),
    ];
    keep_first(&leases, namespace, name, health, token).await;
}

async fn keep_first(
    leases: &[Api<Lease>],
    namespace: &str,
    name: &str,
    health: impl Fn() -> bool,
    token: CancellationToken,
) {
    let renewals = renew_for_ever(health, || renew_first(leases, name));
    if token.run_until_cancelled(renewals).await.is_none() {
        debug!(namespace, name, "lease no longer renewed");
    }
}

async fn renew_for_ever<F: Future<Output = Result<(), kube::Error>>>(health: impl Fn() -> bool, renew: impl Fn() -> F) {
    let mut failures = 0;
    loop {
        let wait = if health() {
            match renew().await {
                Ok(()) => {
                    failures = 0;
                    DURATION.mul_f64(rand::random_range(1.0..JITTER))
                }
                Err(error) => {
                    failures += 1;
                    warn!(failures, error = error_chain(&error), "lease not renewed, trying again");
                    RETRY.random_delay(failures)
                }
            }
        } else {
            UNHEALTHY
        };
        sleep(wait).await;
    }
}

/// Renews the Lease at the first of these places where there can be one.
async fn renew_first(places: &[Api<Lease>], name: &str) -> Result<(), kube::Error> {
    let mut result = Ok(());
    for leases in places {
        result = renew(leases, name).await;
        // One that cannot be created because it is "not found": its kind is not served.
        if !matches!(&result, Err(kube::Error::Api(status)) if is_missing(status)) {
            return result;
        }
    }
    result
}

/// One request in the usual case: a patch; a Lease which is not there yet is created.
async fn renew(leases: &Api<Lease>, name: &str) -> Result<(), kube::Error> {
    let now = Timestamp::now();
    match leases
        .patch(name, &PatchParams::default(), &Patch::Merge(renewal(now)))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if is_missing(&status) => leases
            .create(&PostParams::default(), &new_lease(name, now))
            .await
            .map(drop),
        Err(error) => Err(error),
    }
}

fn renewal(now: Timestamp) -> Value {
    json!({"spec": {"leaseDurationSeconds": DURATION.as_secs(), "renewTime": MicroTime(now)}})
}

fn new_lease(name: &str, now: Timestamp) -> Lease {
    let spec = LeaseSpec {
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        sync::{Arc, Mutex},
    };

    use tokio::time::{Instant, timeout};

    use super::*;

    /// The waits between renewals within an hour; the first `errors` of them fail.
    async fn waits(health: impl Fn() -> bool, errors: usize) -> Vec<Duration> {
        let times = RefCell::new(vec![]);
        let renew = || async {
            times.borrow_mut().push(Instant::now());
            if times.borrow().len() <= errors {
                Err(kube::Error::TlsRequired)
            } else {
                Ok(())
            }
        };
        assert!(
            timeout(Duration::from_hours(1), renew_for_ever(health, renew))
                .await
                .is_err()
        );
        times.borrow().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn renews_every_sixty_to_seventy_five_seconds() {
        let waits = waits(|| true, 0).await;
        assert!(waits.len() >= 47);
        assert!(
            waits.iter().all(|wait| (60_000..=75_001).contains(&wait.as_millis())),
            "{waits:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn tries_again_soon_after_a_failure() {
        let waits = waits(|| true, 3).await;
        assert!(
            waits[..3].iter().all(|wait| *wait <= Duration::from_secs(5)),
            "{waits:?}"
        );
        assert!(waits[3] >= DURATION);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unhealthy_agent_renews_as_soon_as_it_is_healthy() {
        let asked = Cell::new(0);
        let health = || {
            asked.set(asked.get() + 1);
            asked.get() > 10
        };
        assert!(waits(health, 0).await.len() >= 46);
    }

    /// The Leases of an API server which answers patches and creations with these codes, and what it was asked.
    fn leases(patch: u16, create: u16) -> (Api<Lease>, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(vec![]));
        let seen = asked.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let is_patch = request.method() == http::Method::PATCH;
            seen.lock()
                .unwrap()
                .push(format!("{} {}", request.method(), request.uri().path()));
            let code = if is_patch { patch } else { create };
            let reason = if code == 404 { "NotFound" } else { "" };
            let body = if code < 300 {
                json!(new_lease("hello", Timestamp::UNIX_EPOCH))
            } else {
                json!({"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": "", "metadata": {}})
            };
            // As it answers for a kind that it does not serve: with no object at all.
            let unserved = (patch, create) == (404, 404);
            let text = if unserved {
                "404 page not found".to_owned()
            } else {
                body.to_string()
            };
            let body = kube::client::Body::from(text.into_bytes());
            std::future::ready(http::Response::builder().status(code).body(body))
        });
        (Api::namespaced(Client::new(service, "default"), "ns"), asked)
    }

    #[tokio::test]
    async fn the_hub_holds_the_lease_only_if_the_cluster_serves_none() {
        for (patch, create, on_hub, works) in [
            (200, 201, false, true),
            (404, 201, false, true),
            (404, 404, true, true),
            (403, 201, false, false),
            (404, 403, false, false),
            (500, 500, false, false),
        ] {
            let ((cluster, _), (hub, asked)) = (leases(patch, create), leases(200, 201));
            let renewed = renew_first(&[cluster, hub], "hello").await;
            let seen = asked.lock().unwrap().clone();
            assert_eq!(
                (!seen.is_empty(), renewed.is_ok()),
                (on_hub, works),
                "{patch} {create} {seen:?}"
            );
        }
        let (alone, _) = leases(404, 404);
        assert!(renew_first(&[alone], "hello").await.is_err());
    }

    #[test]
    fn the_patch_sets_what_a_new_lease_has() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let lease = serde_json::to_value(new_lease("a", now)).unwrap();
        assert_eq!(lease["spec"], renewal(now)["spec"]);
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 60);
    }
}
