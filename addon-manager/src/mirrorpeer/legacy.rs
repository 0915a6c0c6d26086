//! Rights that the Go orchestrator has left on the hub: one `ClusterRole` for the agents of all clusters, which until 4.18 could
//! write every Secret of the hub, with a binding from which nobody was ever taken, and a Role for all Secrets of each cluster
//! namespace (`controllers/../addons/setup`, `PermissionConfig`). Nothing of ours needs them or has their name.
use std::fmt::Debug;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde::de::DeserializeOwned;

/// Name of all of them.
pub(super) const NAME: &str = "open-cluster-management:token-exchange:agent";

/// Takes them away, the bindings first. Asks by name, and writes nothing where there is nothing.
pub(super) async fn clear(client: &Client) -> Result<(), kube::Error> {
    clear_cluster::<ClusterRoleBinding>(client).await?;
    clear_cluster::<ClusterRole>(client).await?;
    clear_all::<RoleBinding>(client).await?;
    clear_all::<Role>(client).await
}

async fn clear_cluster<K>(client: &Client) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api = Api::<K>::all(client.clone());
    if api.get_metadata_opt(NAME).await?.is_some() {
        api.delete(NAME, &DeleteParams::default()).await?;
        tracing::info!(
            kind = %K::kind(&()),
            name = NAME,
            "deleted what the Go orchestrator had left"
        );
    }
    Ok(())
}

async fn clear_all<K>(client: &Client) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let named = ListParams::default().fields(&format!("metadata.name={NAME}"));
    for found in Api::<K>::all(client.clone()).list_metadata(&named).await? {
        let namespace = found.namespace().unwrap_or_default();
        let api = Api::<K>::namespaced(client.clone(), &namespace);
        api.delete(NAME, &DeleteParams::default()).await?;
        tracing::info!(kind = %K::kind(&()), namespace, name = NAME, "deleted what the Go orchestrator had left");
    }
    Ok(())
}
