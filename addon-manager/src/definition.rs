//! The addon's `ClusterManagementAddOn`, without which OCM does not know it: made where it is missing, since the Operator Lifecycle
//! Manager installs no such object. One that is there belongs to whoever made it, and is left as it is.
use std::time::Duration;

use addon_framework::runtime::{Outcome, Queue, RunOptions, run};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

/// The one that `kubectl apply -k` and Helm install.
const MANIFEST: &str = include_str!("../../manifests/hub/clustermanagementaddon.yaml");

/// How long one try may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why it could not be made. It is tried again.
#[derive(Debug, Error)]
enum DefinitionError {
    /// It cannot be read.
    #[error("the ClusterManagementAddOn in this program cannot be read")]
    Unreadable(#[from] serde_saphyr::Error),
    /// It has no kind.
    #[error("the ClusterManagementAddOn in this program has no kind")]
    NoKind,
    /// The hub refused it, or did not answer.
    #[error("the ClusterManagementAddOn could not be made")]
    Write(#[from] kube::Error),
}

/// Sees to it once, until it has worked or the token is cancelled.
pub(crate) async fn control(client: Client, token: CancellationToken) {
    let queue = Queue::new();
    queue.add(());
    let options = RunOptions {
        name: "definition",
        concurrency: 1,
        deadline: DEADLINE,
    };
    run(queue, options, token, move |()| {
        let client = client.clone();
        async move { make(client).await.map(|()| Outcome::Done) }
    })
    .await;
}

async fn make(client: Client) -> Result<(), DefinitionError> {
    let (kind, object) = manifest()?;
    let api = Api::<DynamicObject>::all_with(client, &kind);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if api.get_metadata_opt(name).await?.is_some() {
        return Ok(());
    }
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => tracing::info!(name, "made the ClusterManagementAddOn, which was missing"),
        // Somebody else was quicker.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn manifest() -> Result<(ApiResource, DynamicObject), DefinitionError> {
    let object: DynamicObject = serde_saphyr::from_str(MANIFEST)?;
    let types = object.types.as_ref().ok_or(DefinitionError::NoKind)?;
    let kind = GroupVersionKind::try_from(types).map_err(|_| DefinitionError::NoKind)?;
    Ok((ApiResource::from_gvk(&kind), object))
}

#[cfg(test)]
mod tests {
    use peering_api::names;

    use super::*;

    #[test]
    fn the_manifest_is_that_of_the_addon() {
        let (kind, object) = manifest().unwrap();
        assert_eq!(kind.plural, "clustermanagementaddons");
        assert_eq!(object.metadata.name.as_deref(), Some(names::ADDON));
    }
}
