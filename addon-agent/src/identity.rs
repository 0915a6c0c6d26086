//! The agent's key pairs: read from a Secret in its own namespace, made if there are none, replaced when a person asks for
//! it. What cannot be read is never overwritten.
use std::{sync::Arc, time::Duration};

use addon_framework::runtime::backoff::Backoff;
use exchange::key::{KeyError, KeyPair, KeyRing};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use peering_api::{Sensitive, names};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    context::{Context, Stored},
    spoke::write::{MANAGER, on_the_way},
};

/// Key of the Secret under which the private key stands.
const PRIVATE: &str = "private";
/// Key of the Secret under which the private key before it stands, while a rotation is under way.
const PREVIOUS: &str = "previous";

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
        "Secret {namespace}/{} is malformed under key {key:?}: {source}; it is not overwritten: restore it, or delete it to get a new key pair",
        names::AGENT_KEY_SECRET
    )]
    Malformed {
        /// The agent's namespace.
        namespace: String,
        /// Key of the Secret.
        key: &'static str,
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

/// Provides the context with the key pairs; tries until that is done.
pub async fn provide(context: Arc<Context>, token: CancellationToken) {
    let mut failures = 0;
    let tries = async {
        loop {
            match read_or_make(&context).await {
                Ok(stored) => return stored,
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
    if let Some(stored) = token.run_until_cancelled(tries).await {
        tell(&stored);
        context.set_keys(stored);
    }
}

/// Makes a new key pair and keeps the current one beside it, because a person asked for it.
///
/// It is stored before anybody hears of it: a process that dies in between goes on with what is stored.
pub async fn rotate(context: &Context, stored: &Stored, asked: &str) -> Result<(), IdentityError> {
    let wanted = Stored {
        ring: KeyRing {
            current: Arc::new(KeyPair::generate(&mut rand::rng())),
            previous: Some(stored.ring.current.clone()),
        },
        acted: Some(asked.to_owned()),
    };
    replace(context, &wanted, "rotate").await
}

/// Drops the key pair before the current one: nobody needs it any more.
pub async fn drop_previous(context: &Context, stored: &Stored) -> Result<(), IdentityError> {
    let ring = KeyRing {
        previous: None,
        ..stored.ring.clone()
    };
    let wanted = Stored { ring, ..stored.clone() };
    replace(context, &wanted, "change").await
}

/// Remembers what was asked for before the current pair was made.
pub async fn remember(context: &Context, stored: &Stored, asked: &str) -> Result<(), IdentityError> {
    let wanted = Stored {
        acted: Some(asked.to_owned()),
        ..stored.clone()
    };
    replace(context, &wanted, "change").await
}

fn secrets(context: &Context) -> Api<Secret> {
    Api::namespaced(context.spoke.request.clone(), &context.namespace)
}

async fn replace(context: &Context, wanted: &Stored, verb: &'static str) -> Result<(), IdentityError> {
    // By force: whoever has restored the Secret by hand owns its data since then.
    let params = PatchParams::apply(MANAGER).force();
    let written = secrets(context)
        .patch(names::AGENT_KEY_SECRET, &params, &Patch::Apply(secret(wanted)))
        .await
        .map_err(IdentityError::new(verb))?;
    let stored = restore(&written, &context.namespace)?;
    tell(&stored);
    context.set_keys(stored);
    Ok(())
}

/// The fingerprints stand in the log for people who compare them with what the hub shows.
fn tell(stored: &Stored) {
    let previous = stored.ring.previous.as_ref();
    info!(
        fingerprint = stored.ring.current.public().fingerprint(),
        previous = previous.map(|keys| keys.public().fingerprint()),
        "the agent's key pair"
    );
}

async fn read_or_make(context: &Context) -> Result<Stored, IdentityError> {
    let (secrets, namespace) = (secrets(context), &context.namespace);
    let seen = secrets
        .get_opt(names::AGENT_KEY_SECRET)
        .await
        .map_err(IdentityError::new("read"))?;
    if let Some(seen) = seen {
        return restore(&seen, namespace);
    }
    let new = Stored {
        ring: KeyRing::new(KeyPair::generate(&mut rand::rng())),
        acted: None,
    };
    // Without force and with what the API server answers: a key pair that another process made meanwhile wins.
    let made = secrets
        .patch(
            names::AGENT_KEY_SECRET,
            &PatchParams::apply(MANAGER),
            &Patch::Apply(secret(&new)),
        )
        .await
        .map_err(IdentityError::new("create"))?;
    restore(&made, namespace)
}

fn restore(secret: &Secret, namespace: &str) -> Result<Stored, IdentityError> {
    let data = secret.data.as_ref();
    let read = |key: &'static str, bytes: Vec<u8>| {
        let pair = KeyPair::from_private(Sensitive::from(bytes));
        pair.map(Arc::new).map_err(|source| IdentityError::Malformed {
            namespace: namespace.to_owned(),
            key,
            source,
        })
    };
    let bytes = |key| data.and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
    Ok(Stored {
        ring: KeyRing {
            current: read(PRIVATE, bytes(PRIVATE).unwrap_or_default())?,
            previous: bytes(PREVIOUS).map(|bytes| read(PREVIOUS, bytes)).transpose()?,
        },
        acted: secret.annotations().get(names::ROTATE_KEY_ANNOTATION).cloned(),
    })
}

fn secret(stored: &Stored) -> Secret {
    let labels = [("app.kubernetes.io/name".to_owned(), names::AGENT.to_owned())];
    let acted = stored.acted.clone();
    let annotations = acted.map(|acted| [(names::ROTATE_KEY_ANNOTATION.to_owned(), acted)].into());
    let bytes = |keys: &KeyPair| ByteString(keys.private().expose().to_vec());
    let current = (PRIVATE.to_owned(), bytes(&stored.ring.current));
    let previous = stored.ring.previous.as_ref();
    let previous = previous.map(|keys| (PREVIOUS.to_owned(), bytes(keys)));
    Secret {
        metadata: ObjectMeta {
            name: Some(names::AGENT_KEY_SECRET.to_owned()),
            labels: Some(labels.into()),
            annotations,
            ..ObjectMeta::default()
        },
        data: Some(std::iter::once(current).chain(previous).collect()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::pair;

    #[test]
    fn what_is_stored_is_restored() {
        for (previous, acted) in [(None, None), (Some(6), None), (None, Some("a")), (Some(6), Some("a"))] {
            let stored = Stored {
                ring: KeyRing {
                    current: Arc::new(pair(7)),
                    previous: previous.map(|seed| Arc::new(pair(seed))),
                },
                acted: acted.map(str::to_owned),
            };
            let seen = restore(&secret(&stored), "ns").unwrap();
            assert_eq!(seen.ring.current.public(), pair(7).public());
            let before = seen.ring.previous.map(|keys| keys.public().clone());
            assert_eq!(before, previous.map(|seed| pair(seed).public().clone()));
            assert_eq!(seen.acted.as_deref(), acted);
        }
    }

    #[test]
    fn anything_else_is_refused_without_being_shown() {
        let good = secret(&Stored {
            ring: KeyRing::new(pair(7)),
            acted: None,
        });
        let bad = || ByteString(b"hunter2".to_vec());
        for (key, data) in [
            (PRIVATE, None),
            (PRIVATE, Some([(PRIVATE.to_owned(), bad())].into())),
            (
                PREVIOUS,
                good.data
                    .map(|data| data.into_iter().chain([(PREVIOUS.to_owned(), bad())]).collect()),
            ),
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
                text.contains("ns/token-exchange-agent-key") && text.contains(key) && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
