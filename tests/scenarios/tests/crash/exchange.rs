//! The life of one Peering, from its start to its end: what the faults of the exchange happen to.
use std::{collections::BTreeMap, fmt::Debug};

use anyhow::{Result, ensure};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{ConfigMap, Secret},
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};
use peering_api::{
    names,
    ocm::ManifestWork,
    peering::{PeerExport, PeerLink},
};
use scenarios::{
    Scenario, Side, World,
    objects::{bytes, ca},
    scenario::{CA_SOURCE, SOURCE, bundle_text, fingerprints},
    world::AGENT_NAMESPACE,
};
use serde::de::DeserializeOwned;

/// What is told of a Peering in the end: conditions with status and reason, per object. Names, times and revisions differ
/// from one Peering to the next and are left out.
pub type Picture = BTreeMap<String, BTreeMap<String, (String, String)>>;

const SIDES: [Side; 2] = [Side::East, Side::West];

/// What both sides hand over at one time.
struct Content {
    tokens: [String; 2],
    cas: [String; 2],
}

impl Content {
    fn token(&self, side: Side) -> &str {
        &self.tokens[usize::from(side == Side::West)]
    }

    fn ca(&self, side: Side) -> &str {
        &self.cas[usize::from(side == Side::West)]
    }
}

/// Certificates for all Peerings: making them takes long in a debug build, and what matters is that they differ.
pub struct Cas {
    first: [String; 2],
    /// What takes the place of the first one of the east.
    next: String,
}

impl Cas {
    /// Makes them.
    pub fn new() -> Result<Self> {
        Ok(Self {
            first: [ca("crash east", 2040)?, ca("crash west", 2041)?],
            next: ca("crash east, next", 2042)?,
        })
    }
}

/// Lives a Peering: applied, ready, a Secret and a CA rotated, deleted, nothing left. At each stop everything has to be as
/// in `expected`; without it, whatever is ready is taken as it is. Returns what was seen.
pub async fn live(world: &World, name: &str, cas: &Cas, expected: Option<&Picture>) -> Result<Picture> {
    let s = Scenario::new(world.clone(), name).await?;
    let first = Content {
        tokens: SIDES.map(|side| format!("token of {name} {}", side.cluster())),
        cas: cas.first.clone(),
    };
    let next = Content {
        tokens: [format!("the next token of {name}"), first.tokens[1].clone()],
        cas: [cas.next.clone(), first.cas[1].clone()],
    };
    for side in SIDES {
        s.source(side, &[("token", first.token(side).as_bytes())]).await?;
        s.ca_source(side, first.ca(side)).await?;
    }
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    let picture = arrived(&s, &first, expected).await?;
    s.source(Side::East, &[("token", next.token(Side::East).as_bytes())])
        .await?;
    s.ca_source(Side::East, next.ca(Side::East)).await?;
    let rotated = arrived(&s, &next, Some(&picture)).await?;
    ensure!(rotated == picture, "{rotated:?}");
    s.peerings().delete(&s.name, &DeleteParams::default()).await?;
    // It goes last. Everything else is looked for only then: that is many requests.
    s.await_gone(&s.peerings(), name).await?;
    s.until(&format!("nothing to be left of {name}"), || async {
        let left = left(&s).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    })
    .await?;
    Ok(picture)
}

/// Waits until both sides hold what the other has, and everything that is told is as expected.
async fn arrived(s: &Scenario, content: &Content, expected: Option<&Picture>) -> Result<Picture> {
    for side in SIDES {
        let sent = [("token", content.token(side.other()).as_bytes())];
        s.await_target(side, &sent).await?;
        s.await_bundle(side, &[&content.cas[0], &content.cas[1]]).await?;
    }
    s.until(&format!("everything of {} to be as it should", s.name), || async {
        let picture = picture(s).await?;
        let ready = picture
            .values()
            .all(|conditions| conditions.values().all(|(status, _)| status == "True"));
        match expected {
            Some(expected) => ensure!(picture == *expected, "expected {expected:?}, seen {picture:?}"),
            None => ensure!(ready && picture.len() == 9, "not ready: {picture:?}"),
        }
        // Nothing may take it away again while the rest comes.
        for side in SIDES {
            let target = s.on::<Secret>(side).get(&s.target_name(side)).await?.data;
            ensure!(
                target == Some(bytes(&[("token", content.token(side.other()).as_bytes())])),
                "a target changed"
            );
            let bundle = s.on::<ConfigMap>(side).get(&s.bundle_name()).await?;
            ensure!(
                fingerprints(&bundle_text(&bundle)) == fingerprints(&content.cas.concat()),
                "a bundle changed"
            );
        }
        Ok(Some(picture))
    })
    .await
}

async fn picture(s: &Scenario) -> Result<Picture> {
    let ours = ListParams::default().labels(&format!("{}={}", names::PEERING_LABEL, s.name));
    let mut picture = Picture::new();
    let peering = s.peerings().get(&s.name).await?.status.unwrap_or_default();
    picture.insert("Peering".to_owned(), told(&peering.conditions));
    for link in Api::<PeerLink>::all(s.hub.clone()).list(&ours).await? {
        let place = format!(
            "PeerLink {} to {}",
            link.spec.artefact,
            link.namespace().unwrap_or_default()
        );
        picture.insert(place, told(&link.status.unwrap_or_default().conditions));
    }
    for export in Api::<PeerExport>::all(s.hub.clone()).list(&ours).await? {
        let place = format!(
            "PeerExport {} of {}",
            export.spec.artefact,
            export.namespace().unwrap_or_default()
        );
        picture.insert(place, told(&export.status.unwrap_or_default().conditions));
    }
    Ok(picture)
}

/// Status and reason of each condition.
pub fn told(conditions: &[Condition]) -> BTreeMap<String, (String, String)> {
    conditions
        .iter()
        .map(|one| (one.type_.clone(), (one.status.clone(), one.reason.clone())))
        .collect()
}

/// What is left of a Peering on the hub and on both clusters.
async fn left(s: &Scenario) -> Result<Vec<String>> {
    let mut left = Vec::new();
    left.extend(
        s.peerings()
            .get_metadata_opt(&s.name)
            .await?
            .map(|found| format!("{:?}", found.metadata)),
    );
    let ours = ListParams::default().labels(&format!("{}={}", names::PEERING_LABEL, s.name));
    for side in SIDES {
        left.extend(found(&s.hub_of::<PeerLink>(side), &ours).await?);
        left.extend(found(&s.hub_of::<PeerExport>(side), &ours).await?);
        left.extend(found(&s.hub_of::<ManifestWork>(side), &ours).await?);
        let all = ListParams::default();
        left.extend(found(&s.on::<Secret>(side), &all).await?);
        left.extend(found(&s.on::<ConfigMap>(side), &all).await?);
        left.extend(found(&s.on::<Role>(side), &all).await?);
        left.extend(found(&s.on::<RoleBinding>(side), &all).await?);
        let carriers = ListParams::default().fields(&format!("metadata.name={}", names::carrier_name(&s.name, 0)));
        left.extend(found(&Api::<Secret>::namespaced(s.client(side), AGENT_NAMESPACE), &carriers).await?);
        left.extend(
            found(
                &Api::<ConfigMap>::namespaced(s.client(side), AGENT_NAMESPACE),
                &carriers,
            )
            .await?,
        );
    }
    Ok(left)
}

async fn found<K>(api: &Api<K>, params: &ListParams) -> Result<Vec<String>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let kept = [SOURCE, CA_SOURCE, "kube-root-ca.crt"];
    let list = api.list_metadata(params).await?;
    let names = list.items.iter().map(ResourceExt::name_any);
    Ok(names
        .filter(|name| !kept.contains(&name.as_str()))
        .map(|name| format!("{} {name}", K::kind(&())))
        .collect())
}
