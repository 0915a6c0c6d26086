//! One `PeerMember` per cluster with the addon, owned by its `ManagedClusterAddOn`: it goes when the addon goes.
use std::{sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, Queue, RunOptions, run, write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource, ResourceExt};
use peering_api::{
    names,
    ocm::ManagedClusterAddOn,
    peering::{PeerMember, PeerMemberSpec},
};
use tokio_util::sync::CancellationToken;

use crate::peering::Hub;

/// Field manager of members' specs.
const MANAGER: &str = "peering-manager";
const CONCURRENCY: usize = 8;
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the controller until the token is cancelled. Keys are names of clusters.
pub(crate) async fn control(hub: Arc<Hub>, queue: Queue<String>, token: CancellationToken) {
    hub.ready().await;
    let options = RunOptions {
        name: "member",
        concurrency: CONCURRENCY,
        deadline: DEADLINE,
    };
    run(queue, options, token, move |cluster: String| {
        let hub = hub.clone();
        async move {
            let Some(addon) = hub.addon(&cluster) else {
                return Ok(Outcome::Done);
            };
            if let Some(member) = wanted(&cluster, &addon, hub.members.get(Some(&cluster), &cluster).as_deref()) {
                let api = Api::<PeerMember>::namespaced(hub.client.clone(), &cluster);
                write::apply(&api, &cluster, MANAGER, &member).await?;
            }
            Ok::<_, kube::Error>(Outcome::Done)
        }
    })
    .await;
}

/// The member to apply, unless it is there as it should be or the addon is leaving.
fn wanted(cluster: &str, addon: &ManagedClusterAddOn, known: Option<&PeerMember>) -> Option<PeerMember> {
    if addon.meta().deletion_timestamp.is_some() {
        return None;
    }
    let owner = OwnerReference {
        api_version: ManagedClusterAddOn::api_version(&()).into_owned(),
        kind: ManagedClusterAddOn::kind(&()).into_owned(),
        name: names::ADDON.to_owned(),
        uid: addon.uid()?,
        controller: Some(true),
        block_owner_deletion: None,
    };
    let spec = PeerMemberSpec {
        cluster: cluster.to_owned(),
    };
    if known
        .is_some_and(|known| known.spec == spec && known.owner_references().iter().any(|known| known.uid == owner.uid))
    {
        return None;
    }
    let mut member = PeerMember::new(cluster, spec);
    member.metadata.owner_references = Some(vec![owner]);
    Some(member)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn addon(uid: &str) -> ManagedClusterAddOn {
        let mut addon = ManagedClusterAddOn::default();
        addon.metadata.uid = Some(uid.to_owned());
        addon
    }

    #[test]
    fn a_member_follows_its_addon() {
        let made = wanted("c1", &addon("u1"), None).unwrap();
        assert_eq!(
            (made.name_any().as_str(), made.owner_references()[0].uid.as_str()),
            ("c1", "u1")
        );
        assert!(wanted("c1", &addon("u1"), Some(&made)).is_none(), "nothing to write");
        assert!(
            wanted("c1", &addon("u2"), Some(&made)).is_some(),
            "a new addon takes the member over"
        );
        let mut leaving = addon("u3");
        leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(wanted("c1", &leaving, None).is_none());
    }
}
