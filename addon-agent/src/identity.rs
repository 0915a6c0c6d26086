//! The agent's key pair: read from a Secret in its own namespace, made if there is none, never overwritten.
use std::{sync::Arc, time::Duration};

use addon_framework::runtime::backoff::Backoff;
use exchange::key::{KeyError, KeyPair, KeyRing};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
};
use peering_api::{Sensitive, names};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    context::Context,
    spoke::write::{MANAGER, on_the_way},
};

/// Key of the Secret under which the private key stands.
const PRIVATE: &str = "private";

/// Waits between tries while the Secret cannot be read or is malformed: someone has to act first.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(500),
    cap: Duration::from_secs(30),
};

/// Why there is no key pair. Nothing of the Secret is in the error.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The Secret holds something else.
    #[error(
        "Secret {namespace}/{} is malformed under key {PRIVATE:?}: {source}; it is not overwritten: restore it, or delete it to get a new key pair",
        names::AGENT_KEY_SECRET
    )]
    Malformed {
        /// The agent's namespace.
        namespace: String,
        /// What is wrong.
        source: KeyError,
    },
    /// The API server refused.
    #[error(
        "the API server refused to {verb} Secret {} ({code} {reason})",
        names::AGENT_KEY_SECRET
    )]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// HTTP status.
        code: u16,
        /// Machine-readable reason.
        reason: String,
    },
    /// There was no usable answer.
    #[error(
        "no usable answer to the request to {verb} Secret {}: {why}",
        names::AGENT_KEY_SECRET
    )]
    NoAnswer {
        /// What was tried.
        verb: &'static str,
        /// What went wrong on the way.
        why: String,
    },
}

impl IdentityError {
    fn new(verb: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |error| match error {
            kube::Error::Api(status) => Self::Refused {
                verb,
                code: status.code,
                reason: status.reason.clone(),
            },
            other => Self::NoAnswer {
                verb,
                why: on_the_way(&other),
            },
        }
    }
}

/// Provides the context with the key pair; tries until that is done.
pub async fn provide(context: Arc<Context>, token: CancellationToken) {
    let secrets = Api::<Secret>::namespaced(context.spoke.request.clone(), &context.namespace);
    let mut failures = 0;
    let tries = async {
        loop {
            match read_or_make(&secrets, &context.namespace).await {
                Ok(keys) => return keys,
                Err(error) => {
                    failures += 1;
                    warn!(failures, %error, "no key pair yet, trying again");
                    if matches!(error, IdentityError::Malformed { .. }) {
                        context.set_broken(error.to_string());
                    }
                    sleep(RETRY.random_delay(failures)).await;
                }
            }
        }
    };
    if let Some(keys) = token.run_until_cancelled(tries).await {
        info!(fingerprint = keys.public().fingerprint(), "the agent's key pair");
        context.set_keys(KeyRing::new(keys));
    }
}

async fn read_or_make(secrets: &Api<Secret>, namespace: &str) -> Result<KeyPair, IdentityError> {
    let seen = secrets
        .get_opt(names::AGENT_KEY_SECRET)
        .await
        .map_err(IdentityError::new("read"))?;
    if let Some(seen) = seen {
        return restore(&seen, namespace);
    }
    let keys = KeyPair::generate(&mut rand::rng());
    // Without force and with what the API server answers: a key pair that another process made meanwhile wins.
    let made = secrets
        .patch(
            names::AGENT_KEY_SECRET,
            &PatchParams::apply(MANAGER),
            &Patch::Apply(secret(&keys)),
        )
        .await
        .map_err(IdentityError::new("create"))?;
    restore(&made, namespace)
}

fn restore(secret: &Secret, namespace: &str) -> Result<KeyPair, IdentityError> {
    let private = secret.data.as_ref().and_then(|data| data.get(PRIVATE));
    let private = private.map(|bytes| bytes.0.clone()).unwrap_or_default();
    KeyPair::from_private(Sensitive::from(private)).map_err(|source| IdentityError::Malformed {
        namespace: namespace.to_owned(),
        source,
    })
}

fn secret(keys: &KeyPair) -> Secret {
    let labels = [("app.kubernetes.io/name".to_owned(), names::AGENT.to_owned())];
    Secret {
        metadata: ObjectMeta {
            name: Some(names::AGENT_KEY_SECRET.to_owned()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        data: Some([(PRIVATE.to_owned(), ByteString(keys.private().expose().to_vec()))].into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::pair;

    #[test]
    fn a_stored_key_pair_is_restored_and_anything_else_is_refused_without_being_shown() {
        let stored = secret(&pair(7));
        assert_eq!(restore(&stored, "ns").unwrap().public(), pair(7).public());
        for data in [
            None,
            Some([(PRIVATE.to_owned(), ByteString(b"hunter2".to_vec()))].into()),
        ] {
            let error = restore(
                &Secret {
                    data,
                    ..Secret::default()
                },
                "ns",
            )
            .unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                text.contains("ns/token-exchange-agent-key") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
