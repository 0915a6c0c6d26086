//! The life of one agent, from the addon's object to its removal: what the faults of the installation happen to.
//!
//! It is the hub's own agent, so that the managed clusters are free for the exchanges that go on at the same time.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use exchange::key::KeyPair;
use k8s_openapi::api::{
    apps::v1::Deployment,
    certificates::v1::CertificateSigningRequest,
    core::v1::Secret,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use peering_api::{
    Sensitive, names,
    ocm::{ManagedClusterAddOn, ManifestWork, names as ocm},
    peering::PeerMember,
};
use scenarios::{
    World,
    end::{Picture, told},
    quiet::quiet,
    world::{AGENT_NAMESPACE, SOON, install_addon},
};
use testenv::ocm::LOCAL_CLUSTER;

/// The conditions of the addon that the product writes. Those of OCM follow the agent's lease twice a minute.
const OURS: [&str; 2] = [ocm::condition::REGISTRATION_APPLIED, ocm::condition::MANIFEST_APPLIED];

/// Lives an agent: its addon created, its key made and published, its addon deleted, nothing left. Both ends have to be as
/// in `expected`; without it, whatever is ready is taken as it is. Returns what was seen.
pub async fn live(world: &World, expected: Option<&Picture>) -> Result<Picture> {
    let (env, client) = (world.env, world.env.hub().client().await?);
    install_addon(env, LOCAL_CLUSTER).await?;
    let picture = env
        .until("the agent of the hub to be installed", SOON * 2, || async {
            let picture = picture(&client).await?;
            if let Some(expected) = expected {
                ensure!(picture == *expected, "expected {expected:?}, seen {picture:?}");
            } else {
                let conditions = || picture.values().flat_map(BTreeMap::values);
                let ready = conditions().count() >= 3 && conditions().all(|(status, _)| status == "True");
                ensure!(ready, "{picture:?}");
            }
            Ok(Some(picture))
        })
        .await?;
    let picture = match expected {
        Some(_) => picture,
        // What all other lives are compared with.
        None => quiet(env, "the agent of the hub", SOON, || self::picture(&client)).await?,
    };
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(client.clone(), LOCAL_CLUSTER);
    addons.delete(names::ADDON, &DeleteParams::default()).await?;
    env.until("nothing to be left of the agent of the hub", SOON * 2, || async {
        let left = left(&client).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    })
    .await?;
    env.hub()
        .node()?
        .await_gone(AGENT_NAMESPACE, names::AGENT, SOON)
        .await?;
    // The key pair outlives the agent. The next life has to make another.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), AGENT_NAMESPACE);
    secrets
        .delete(names::AGENT_KEY_SECRET, &DeleteParams::default())
        .await?;
    // A registration agent that finds more than ten requests of an addon on the hub makes no more for an hour.
    let requests: Api<CertificateSigningRequest> = Api::all(client);
    let labels = format!(
        "{}={},{}={LOCAL_CLUSTER}",
        ocm::ADDON_NAME_LABEL,
        names::ADDON,
        ocm::CLUSTER_NAME_LABEL
    );
    requests
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels(&labels))
        .await?;
    Ok(picture)
}

async fn picture(client: &Client) -> Result<Picture> {
    let mut picture = Picture::new();
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(client.clone(), LOCAL_CLUSTER);
    let addon = addons.get(names::ADDON).await?;
    let mut conditions = told(&addon.status.unwrap_or_default().conditions);
    conditions.retain(|kind, _| OURS.contains(&kind.as_str()));
    picture.insert("ManagedClusterAddOn".to_owned(), conditions);
    let members: Api<PeerMember> = Api::namespaced(client.clone(), LOCAL_CLUSTER);
    let member = members.get(LOCAL_CLUSTER).await?.status.unwrap_or_default();
    picture.insert("PeerMember".to_owned(), told(&member.conditions));
    // The key that the hub knows is the one that the agent has.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), AGENT_NAMESPACE);
    let private = secrets
        .get(names::AGENT_KEY_SECRET)
        .await?
        .data
        .and_then(|mut data| data.remove("private"));
    let keys = KeyPair::from_private(Sensitive::from(private.context("no private key")?.0))?;
    ensure!(
        member.public_key == Some(keys.public().to_base64()),
        "the hub knows another key"
    );
    for name in found(client).await? {
        picture.insert(name, BTreeMap::new());
    }
    Ok(picture)
}

/// What belongs to the agent on the hub, apart from the addon and the member.
async fn found(client: &Client) -> Result<Vec<String>> {
    let addon = ListParams::default().labels(&format!("{}={}", ocm::ADDON_NAME_LABEL, names::ADDON));
    let mut found = Vec::new();
    let works = Api::<ManifestWork>::namespaced(client.clone(), LOCAL_CLUSTER);
    found.extend(
        works
            .list_metadata(&addon)
            .await?
            .items
            .iter()
            .map(|work| format!("ManifestWork {}", work.name_any())),
    );
    let roles = Api::<Role>::namespaced(client.clone(), LOCAL_CLUSTER);
    found.extend(
        roles
            .list_metadata(&addon)
            .await?
            .items
            .iter()
            .map(|role| format!("Role {}", role.name_any())),
    );
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), LOCAL_CLUSTER);
    found.extend(
        bindings
            .list_metadata(&addon)
            .await?
            .items
            .iter()
            .map(|role| format!("RoleBinding {}", role.name_any())),
    );
    let deployments = Api::<Deployment>::namespaced(client.clone(), AGENT_NAMESPACE);
    found.extend(
        deployments
            .get_metadata_opt(names::AGENT)
            .await?
            .map(|_| "Deployment".to_owned()),
    );
    let rights = Api::<Role>::namespaced(client.clone(), AGENT_NAMESPACE);
    found.extend(
        rights
            .get_metadata_opt(names::AGENT)
            .await?
            .map(|_| "Role of the agent".to_owned()),
    );
    Ok(found)
}

async fn left(client: &Client) -> Result<Vec<String>> {
    let mut left = found(client).await?;
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(client.clone(), LOCAL_CLUSTER);
    left.extend(
        addons
            .get_opt(names::ADDON)
            .await?
            .map(|addon| format!("addon {:?}", addon.metadata)),
    );
    let members: Api<PeerMember> = Api::namespaced(client.clone(), LOCAL_CLUSTER);
    left.extend(
        members
            .get_opt(LOCAL_CLUSTER)
            .await?
            .map(|member| format!("member {:?}", member.metadata)),
    );
    Ok(left)
}
