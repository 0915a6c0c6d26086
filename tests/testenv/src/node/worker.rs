//! One worker per Deployment: makes and ends its pod, and writes its status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Context, Key, PodState, plan, plan::Plan, pod};

/// The pause before a status that could not be written is written again.
const RETRY: Duration = Duration::from_millis(500);

/// A pod that was made.
struct Running {
    identity: String,
    end: CancellationToken,
    task: JoinHandle<()>,
    state: watch::Receiver<PodState>,
}

/// Follows a Deployment until the node stops.
pub(super) async fn run(
    context: Arc<Context>,
    client: Client,
    key: Key,
    mut newest: watch::Receiver<Option<Arc<Deployment>>>,
) {
    let image = context.options.image.clone();
    let mut running: Option<Running> = None;
    let mut serial = 0;
    let mut status = Status {
        api: Api::namespaced(client.clone(), &key.0),
        name: key.1.clone(),
        written: None,
    };
    loop {
        let deployment = newest.borrow_and_update().clone();
        let wanted = deployment
            .as_deref()
            .and_then(|deployment| plan::identity(deployment, &image));
        if running.as_ref().map(|pod| &pod.identity) != wanted.as_ref() {
            if let Some(pod) = running.take() {
                end(pod).await;
                set_pod(&context, &key, None);
            }
            if let (Some(identity), Some(deployment)) = (wanted.clone(), &deployment) {
                serial += 1;
                let (sender, receiver) = watch::channel(PodState::default());
                set_pod(&context, &key, Some(receiver.clone()));
                let end = CancellationToken::new();
                let task = match Plan::new(deployment, &image, &format!("node-{}", context.cluster), serial) {
                    Ok(plan) => tokio::spawn(pod::run(context.clone(), client.clone(), plan, sender, end.clone())),
                    Err(error) => {
                        let message = format!("{error:#}");
                        sender.send_modify(|state| state.message = message);
                        let end = end.clone();
                        tokio::spawn(async move {
                            end.cancelled().await;
                            drop(sender);
                        })
                    }
                };
                running = Some(Running {
                    identity,
                    end,
                    task,
                    state: receiver,
                });
            }
        }
        let state = running.as_mut().map(|pod| pod.state.borrow_and_update().clone());
        let written = match &deployment {
            Some(deployment) => status.write(deployment, state.as_ref(), &image).await,
            None => true,
        };
        tokio::select! {
            () = context.stop.cancelled() => break,
            changed = newest.changed() => if changed.is_err() { break },
            () = changed(running.as_mut()) => {}
            () = tokio::time::sleep(RETRY), if !written => {}
        }
    }
    if let Some(pod) = running {
        end(pod).await;
    }
    set_pod(&context, &key, None);
}

async fn end(pod: Running) {
    pod.end.cancel();
    let _ = pod.task.await;
}

/// Waits for a change of the pod, for ever when there is none.
async fn changed(pod: Option<&mut Running>) {
    let gone = match pod {
        Some(pod) => pod.state.changed().await.is_err(),
        None => true,
    };
    if gone {
        std::future::pending::<()>().await;
    }
}

fn set_pod(context: &Context, key: &Key, state: Option<watch::Receiver<PodState>>) {
    let mut pods = context.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match state {
        Some(state) => pods.insert(key.clone(), state),
        None => pods.remove(key),
    };
}

/// Writes a Deployment's status when it is not what it was.
struct Status {
    api: Api<Deployment>,
    name: String,
    written: Option<(String, Value)>,
}

impl Status {
    /// Whether nothing is left to write.
    async fn write(&mut self, deployment: &Deployment, pod: Option<&PodState>, image: &str) -> bool {
        let scaled_down = deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(0));
        if deployment.metadata.deletion_timestamp.is_some()
            || (plan::identity(deployment, image).is_none() && !scaled_down)
        {
            return true;
        }
        let uid = deployment.metadata.uid.clone().unwrap_or_default();
        let status = render(deployment.metadata.generation, pod);
        let wanted = (uid, status);
        if self.written.as_ref() == Some(&wanted) {
            return true;
        }
        let mut patch = json!({"metadata": {"uid": wanted.0}, "status": wanted.1});
        stamp(&mut patch["status"]["conditions"], deployment);
        match self
            .api
            .patch_status(&self.name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => {
                self.written = Some(wanted);
                true
            }
            // Gone, or another one of the same name: the watch will tell.
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => true,
            Err(error) => {
                tracing::debug!(deployment = self.name, %error, "cannot write the status");
                false
            }
        }
    }
}

/// The status without times.
fn render(generation: Option<i64>, pod: Option<&PodState>) -> Value {
    let ready = pod.is_some_and(|pod| pod.ready);
    let (replicas, available) = (u8::from(pod.is_some()), u8::from(ready));
    let (up, message) = match pod {
        None => (true, ""),
        Some(_) if ready => (true, "the process is ready"),
        Some(pod) => (false, pod.message.as_str()),
    };
    let condition = |kind: &str, good: bool, reason: &str| json!({"type": kind, "status": if good { "True" } else { "False" }, "reason": reason, "message": message});
    json!({
        "observedGeneration": generation,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": available,
        "availableReplicas": available,
        "unavailableReplicas": replicas - available,
        "conditions": [
            condition("Available", up, if up { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }),
            condition("Progressing", true, if up { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" }),
        ],
    })
}

/// Adds the times to conditions: the transition's only moves when the status does.
fn stamp(conditions: &mut Value, deployment: &Deployment) {
    let now = json!(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let known = deployment
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone())
        .unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let same = known
            .iter()
            .find(|known| condition["type"] == known.type_.as_str() && condition["status"] == known.status.as_str());
        let since = same.and_then(|known| serde_json::to_value(known.last_transition_time.as_ref()?).ok());
        condition["lastTransitionTime"] = since.unwrap_or_else(|| now.clone());
        condition["lastUpdateTime"] = now.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_what_the_pod_does() {
        let waiting = PodState {
            message: "waiting for x".to_owned(),
            ..PodState::default()
        };
        let status = render(Some(3), Some(&waiting));
        assert_eq!(
            (
                &status["observedGeneration"],
                &status["replicas"],
                &status["readyReplicas"]
            ),
            (&json!(3), &json!(1), &json!(0))
        );
        assert_eq!(status["conditions"][0]["status"], "False");
        assert_eq!(status["conditions"][0]["message"], "waiting for x");
        assert_eq!(
            render(None, Some(&PodState { ready: true, ..waiting }))["readyReplicas"],
            1
        );
        assert_eq!(render(None, None)["replicas"], 0);
    }
}
