//! One `PeerMember` per cluster with the addon, owned by its `ManagedClusterAddOn`: it goes when the addon goes. It tells the
//! agent by which key Peerings know its cluster.
use std::{sync::Arc, time::Duration};

use addon_framework::runtime::{Outcome, Queue, RunOptions, run, write};
use exchange::key::PublicKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource, ResourceExt};
use peering_api::{
    names,
    ocm::ManagedClusterAddOn,
    peering::{PeerMember, PeerMemberSpec, Peering, ReportRequest},
};
use tokio_util::sync::CancellationToken;

use crate::{
    mirrorpeer::{self, Storage},
    peering::Hub,
};

/// Field manager of members' specs.
const MANAGER: &str = "peering-manager";
const CONCURRENCY: usize = 8;
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the controller until the token is cancelled. Keys are names of clusters.
pub(crate) async fn control(
    hub: Arc<Hub>,
    storage: Arc<Storage>,
    (queue, addons): (Queue<String>, Queue<String>),
    token: CancellationToken,
) {
    hub.ready().await;
    storage.ready().await;
    // What is asked for must not be less for a moment.
    mirrorpeer::prepare(&hub, &storage);
    let options = RunOptions {
        name: "member",
        concurrency: CONCURRENCY,
        deadline: DEADLINE,
    };
    run(queue, options, token, move |cluster: String| {
        let (hub, storage, addons) = (hub.clone(), storage.clone(), addons.clone());
        async move {
            let Some(addon) = hub.addon(&cluster) else {
                return Ok(Outcome::Done);
            };
            let member = hub.members.get(Some(&cluster), &cluster);
            let known = known(&cluster, member.as_deref(), &hub.all_peerings());
            let reports = mirrorpeer::reports(&hub, &storage, &cluster);
            if let Some(member) = wanted(&cluster, &addon, (known, reports), member.as_deref()) {
                let api = Api::<PeerMember>::namespaced(hub.client.clone(), &cluster);
                write::apply(&api, &cluster, MANAGER, &member).await?;
            }
            // The agent's rights follow what the watch tells of its member.
            addons.add(cluster);
            Ok::<_, kube::Error>(Outcome::Done)
        }
    })
    .await;
}

/// The key by which Peerings know a cluster: that of its agent once all agree on it, else the first other one.
fn known(cluster: &str, member: Option<&PeerMember>, peerings: &[Arc<Peering>]) -> Option<String> {
    let member = member?;
    let published = member.status.as_ref().and_then(|status| status.public_key.as_deref());
    let Some(current) = published.and_then(|key| PublicKey::from_base64(key).ok()) else {
        return member.spec.known_fingerprint.clone();
    };
    let current = current.fingerprint();
    let statuses = peerings.iter().filter_map(|peering| peering.status.as_ref());
    let mut known = statuses.flat_map(|status| &status.members);
    let other = known.find(|known| known.cluster == cluster && known.fingerprint != current);
    Some(other.map_or(current, |other| other.fingerprint.clone()))
}

/// The member to apply, unless it is there as it should be or the addon is leaving.
fn wanted(
    cluster: &str,
    addon: &ManagedClusterAddOn,
    (known_fingerprint, reports): (Option<String>, Vec<ReportRequest>),
    present: Option<&PeerMember>,
) -> Option<PeerMember> {
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
        known_fingerprint,
        reports,
    };
    let is_ours = |present: &PeerMember| present.owner_references().iter().any(|known| known.uid == owner.uid);
    if present.is_some_and(|present| present.spec == spec && is_ours(present)) {
        return None;
    }
    let mut member = PeerMember::new(cluster, spec);
    member.metadata.owner_references = Some(vec![owner]);
    Some(member)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use peering_api::peering::{KnownMember, PeerMemberStatus, PeeringSpec, PeeringStatus};

    use super::*;

    fn addon(uid: &str) -> ManagedClusterAddOn {
        let mut addon = ManagedClusterAddOn::default();
        addon.metadata.uid = Some(uid.to_owned());
        addon
    }

    #[test]
    fn a_member_follows_its_addon_and_the_key_that_is_known() {
        let made = wanted("c1", &addon("u1"), (None, vec![]), None).unwrap();
        assert_eq!(
            (made.name_any().as_str(), made.owner_references()[0].uid.as_str()),
            ("c1", "u1")
        );
        assert!(
            wanted("c1", &addon("u1"), (None, vec![]), Some(&made)).is_none(),
            "nothing to write"
        );
        assert!(
            wanted("c1", &addon("u2"), (None, vec![]), Some(&made)).is_some(),
            "a new addon takes the member over"
        );
        let known = wanted("c1", &addon("u1"), (Some("k".to_owned()), vec![]), Some(&made)).unwrap();
        assert_eq!(known.spec.known_fingerprint.as_deref(), Some("k"));
        let mut leaving = addon("u3");
        leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert!(wanted("c1", &leaving, (None, vec![]), None).is_none());
    }

    fn key(seed: u8) -> PublicKey {
        let pair = exchange::key::KeyPair::from_private(vec![seed; 32].into()).unwrap();
        pair.public().clone()
    }

    fn member(key: Option<PublicKey>, known: Option<&str>) -> PeerMember {
        let spec = PeerMemberSpec {
            cluster: "c1".to_owned(),
            known_fingerprint: known.map(str::to_owned),
            ..PeerMemberSpec::default()
        };
        let mut member = PeerMember::new("c1", spec);
        member.status = Some(PeerMemberStatus {
            public_key: key.map(|key| key.to_base64()),
            ..PeerMemberStatus::default()
        });
        member
    }

    fn peering(members: &[(&str, &str)]) -> Arc<Peering> {
        let known = members.iter().map(|(cluster, fingerprint)| KnownMember {
            cluster: (*cluster).to_owned(),
            fingerprint: (*fingerprint).to_owned(),
        });
        let mut peering = Peering::new("p", PeeringSpec::default());
        peering.status = Some(PeeringStatus {
            members: known.collect(),
            ..PeeringStatus::default()
        });
        Arc::new(peering)
    }

    #[test]
    fn a_key_is_known_when_every_peering_knows_it() {
        let (old, new) = (key(1).fingerprint(), key(2).fingerprint());
        let (knows_old, knows_new) = (peering(&[("c1", &old)]), peering(&[("c0", &old), ("c1", &new)]));
        let stranger = peering(&[("c0", &old)]);
        let with_key = |known| member(Some(key(2)), known);
        for (case, member, peerings, expected) in [
            ("there is no member yet", None, vec![], None),
            ("the agent has no key yet", Some(member(None, None)), vec![], None),
            ("nothing is forgotten", Some(member(None, Some("k"))), vec![], Some("k")),
            (
                "no Peering needs it",
                Some(with_key(None)),
                vec![stranger.clone()],
                Some(new.as_str()),
            ),
            (
                "all know it",
                Some(with_key(Some(&old))),
                vec![knows_new.clone(), stranger],
                Some(new.as_str()),
            ),
            (
                "one knows another",
                Some(with_key(None)),
                vec![knows_new, knows_old],
                Some(old.as_str()),
            ),
        ] {
            assert_eq!(known("c1", member.as_ref(), &peerings).as_deref(), expected, "{case}");
        }
    }
}
