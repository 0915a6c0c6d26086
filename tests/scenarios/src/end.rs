//! How a story ends: what is told of a Peering when all is well, and what is left when it has gone.
use std::{collections::BTreeMap, fmt::Debug};

use anyhow::Result;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{ConfigMap, Secret},
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, ListParams},
    core::discovery::verbs,
    discovery::{ApiGroup, Discovery},
};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{PeerExport, PeerLink},
};
use serde::de::DeserializeOwned;
use testenv::Env;

use crate::{
    Scenario, Side,
    scenario::{CA_SOURCE, SOURCE},
    world::AGENT_NAMESPACE,
};

/// What is told of a Peering: conditions with status and reason, per object. Names, times and revisions differ from one
/// Peering to the next and are left out.
pub type Picture = BTreeMap<String, BTreeMap<String, (String, String)>>;

/// What is told of a scenario's Peering now.
pub async fn picture(s: &Scenario) -> Result<Picture> {
    let ours = ListParams::default().labels(&format!("{}={}", names::PEERING_LABEL, s.name));
    let mut picture = Picture::new();
    let peering = s.peerings().get(&s.name).await?.status.unwrap_or_default();
    picture.insert("Peering".to_owned(), told(&peering.conditions));
    for link in Api::<PeerLink>::all(s.hub.clone()).list(&ours).await? {
        let to = link.namespace().unwrap_or_default();
        let place = format!("PeerLink {} to {to}", link.spec.artefact);
        picture.insert(place, told(&link.status.unwrap_or_default().conditions));
    }
    for export in Api::<PeerExport>::all(s.hub.clone()).list(&ours).await? {
        let from = export.namespace().unwrap_or_default();
        let place = format!("PeerExport {} of {from}", export.spec.artefact);
        picture.insert(place, told(&export.status.unwrap_or_default().conditions));
    }
    Ok(picture)
}

/// Status and reason of each condition.
#[must_use]
pub fn told(conditions: &[Condition]) -> BTreeMap<String, (String, String)> {
    conditions
        .iter()
        .map(|one| (one.type_.clone(), (one.status.clone(), one.reason.clone())))
        .collect()
}

/// What is left of a scenario's Peering on the hub and on both clusters, apart from the sources.
pub async fn left(s: &Scenario) -> Result<Vec<String>> {
    let all = |_: &ObjectMeta| true;
    let own = |metadata: &ObjectMeta| {
        let label = metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(names::PEERING_LABEL));
        let name = metadata.name.as_ref();
        label == Some(&s.name) || name.is_some_and(|name| name.contains(&s.name))
    };
    let mut left = Vec::new();
    let peering = s.peerings().get_metadata_opt(&s.name).await?;
    left.extend(peering.map(|found| format!("Peering {:?}", found.metadata)));
    for side in [Side::East, Side::West] {
        let mut here = Vec::new();
        here.extend(found(&s.hub_of::<PeerLink>(side), own).await?);
        here.extend(found(&s.hub_of::<PeerExport>(side), own).await?);
        here.extend(found(&s.hub_of::<ManifestWork>(side), own).await?);
        here.extend(found(&s.on::<Secret>(side), all).await?);
        here.extend(found(&s.on::<ConfigMap>(side), all).await?);
        here.extend(found(&s.on::<Role>(side), all).await?);
        here.extend(found(&s.on::<RoleBinding>(side), all).await?);
        let agents = || (s.client(side), AGENT_NAMESPACE);
        here.extend(found(&Api::<Secret>::namespaced(agents().0, agents().1), own).await?);
        here.extend(found(&Api::<ConfigMap>::namespaced(agents().0, agents().1), own).await?);
        left.extend(here.into_iter().map(|found| format!("{found}, {}", side.cluster())));
    }
    Ok(left)
}

async fn found<K>(api: &Api<K>, wanted: impl Fn(&ObjectMeta) -> bool) -> Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let kept = [SOURCE, CA_SOURCE, "kube-root-ca.crt"];
    let list = api.list_metadata(&ListParams::default()).await?.items;
    let found = list.iter().filter(|item| wanted(&item.metadata));
    Ok(found
        .filter(|item| !kept.contains(&item.name_any().as_str()))
        .map(|item| {
            let (name, owners) = (item.name_any(), item.owner_references());
            let owners: Vec<_> = owners
                .iter()
                .map(|owner| format!("{} {}", owner.kind, owner.name))
                .collect();
            format!("{} {name} of {owners:?}", K::kind(&()))
        })
        .collect())
}

/// What on the hub and the managed clusters has a text in its name or in its label for the Peering, in every kind that can
/// be listed. Namespaces and Events are not looked at.
pub async fn leftovers(env: &Env, part: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for cluster in std::iter::once(env.hub().clone()).chain(env.spokes()) {
        for (kind, metadata) in everything(&cluster.client().await?).await? {
            let (labels, name) = (metadata.labels.unwrap_or_default(), metadata.name.unwrap_or_default());
            let peering = labels.get(names::PEERING_LABEL);
            let labelled = peering.is_some_and(|peering| peering.contains(part));
            if labelled || name.contains(part) {
                let namespace = metadata.namespace.unwrap_or_default();
                left.push(format!("{kind} on {}: {namespace}/{name}", cluster.name()));
            }
        }
    }
    Ok(left)
}

async fn everything(client: &Client) -> Result<Vec<(String, ObjectMeta)>> {
    let mut all = Vec::new();
    let discovery = Discovery::new(client.clone()).run().await?;
    for (resource, capabilities) in discovery.groups().flat_map(ApiGroup::recommended_resources) {
        let skipped = ["Namespace", "Event"].contains(&resource.kind.as_str());
        if skipped || !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let items = api.list_metadata(&ListParams::default()).await?.items;
        all.extend(items.into_iter().map(|item| (resource.kind.clone(), item.metadata)));
    }
    Ok(all)
}
