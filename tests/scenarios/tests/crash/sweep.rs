//! Looks for anything of ours that is left, in every kind that an API server lists.
use anyhow::Result;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    core::discovery::verbs,
    discovery::{ApiGroup, Discovery},
};
use peering_api::names;
use testenv::Env;

/// What carries our labels, or the name of a life, on the hub and the managed clusters. Namespaces are the lives' own.
pub async fn leftovers(env: &Env) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for cluster in std::iter::once(env.hub().clone()).chain(env.spokes()) {
        for object in everything(&cluster.client().await?).await? {
            let kind = object
                .types
                .as_ref()
                .map(|types| types.kind.clone())
                .unwrap_or_default();
            let labelled = [names::PEERING_LABEL, names::LINK_LABEL]
                .iter()
                .any(|label| object.labels().contains_key(*label));
            let named = object.name_any().contains("crash-") && !["Namespace", "Event"].contains(&kind.as_str());
            if labelled || named {
                let namespace = object.namespace().unwrap_or_default();
                left.push(format!(
                    "{} on {}: {namespace}/{}",
                    kind,
                    cluster.name(),
                    object.name_any()
                ));
            }
        }
    }
    Ok(left)
}

async fn everything(client: &Client) -> Result<Vec<DynamicObject>> {
    let mut all = Vec::new();
    let discovery = Discovery::new(client.clone()).run().await?;
    for (resource, capabilities) in discovery.groups().flat_map(ApiGroup::recommended_resources) {
        if !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        for item in api.list_metadata(&ListParams::default()).await? {
            let mut object = DynamicObject::new("", &resource);
            object.metadata = item.metadata;
            all.push(object);
        }
    }
    Ok(all)
}
