//! Pairs of storage clients: their providers get a ticket of each other and are told which client belongs to which.
//!
//! Two providers exchange tickets once, however many of their clients are paired: the Peering is theirs, and goes with the last
//! `MirrorPeer` that needs it.
use std::collections::BTreeMap;

use peering_api::{
    kube::ResourceExt,
    odf::{PeerRef, Phase},
    peering::{Member, PeeringSpec},
};

use super::{
    buckets::{StoreKey, store},
    mode::{self, Mode},
    profiles::{CLASSES_PROFILE, CLIENT_PROFILE, parameters},
    provider::{self, Ends, Provider, provider_clusters, resolve},
    seen::{Observed, is_leaving, older},
    wanted::{Plan, Tokens},
};
use crate::names;

/// Another live `MirrorPeer` that needs the same exchange of tickets.
#[must_use]
pub(super) fn shares(seen: &Observed, peering: &str) -> bool {
    let live = seen.others.iter().filter(|other| !is_leaving(other.as_ref()));
    live.into_iter()
        .any(|other| provider::peering(&other.spec, &seen.clients).as_deref() == Some(peering))
}

/// What a pair of clients asks for.
pub(super) fn plan(seen: &Observed, first: &PeerRef, second: &PeerRef) -> Plan {
    let mut plan = Plan {
        mode: Mode::Client,
        tokens: None,
        stores: Vec::new(),
        classes: None,
        agents: provider_clusters(&seen.peer.spec, &seen.clients).into_iter().collect(),
        trouble: None,
        mapped: BTreeMap::new(),
    };
    let ends = match resolve(&seen.peer.spec, &seen.clients) {
        Ok(ends) => ends,
        Err(trouble) => {
            plan.trouble = Some(trouble);
            return plan;
        }
    };
    if let Some(trouble) = taken(seen, &ends) {
        plan.trouble = Some(trouble);
        return plan;
    }
    let [one, other] = &ends.providers;
    let [own, others] = &ends.clients;
    plan.mapped = [
        (one.cluster.clone(), (own.clone(), others.clone())),
        (other.cluster.clone(), (others.clone(), own.clone())),
    ]
    .into();
    match tickets(seen, [(first, one), (second, other)]) {
        Ok(tokens) => plan.tokens = Some(tokens),
        Err(trouble) => plan.trouble = Some(trouble),
    }
    plan.classes = classes(seen, &ends);
    if seen.peer.spec.manage_s3 {
        let keys = [first, second].map(|item| StoreKey::of(&seen.peer.spec, item, &seen.clients));
        plan.stores = keys.into_iter().flatten().map(|key| store(seen, key)).collect();
    }
    plan
}

/// A storage operator knows one peer of each storage cluster, and of each client: the oldest `MirrorPeer` says which.
fn taken(seen: &Observed, ends: &Ends) -> Option<String> {
    let earlier = seen
        .others
        .iter()
        .filter(|other| !is_leaving(other.as_ref()) && older(other, &seen.peer));
    for other in earlier {
        let Some(known) = provider::ends(&other.spec, &seen.clients) else {
            continue;
        };
        if let Some(client) = ends.clients.iter().find(|client| known.clients.contains(client)) {
            return Some(format!(
                "storage client {client} is paired already, by MirrorPeer {}: a client has one partner",
                other.name_any()
            ));
        }
        for (index, provider) in ends.providers.iter().enumerate() {
            let peer = &ends.providers[1 - index];
            let at = known.providers.iter().position(|known| known == provider);
            if let Some(theirs) = at.map(|at| &known.providers[1 - at]).filter(|theirs| *theirs != peer) {
                return Some(format!(
                    "{provider} is mirrored with {theirs} already, by MirrorPeer {}: the storage operator knows one peer only",
                    other.name_any()
                ));
            }
        }
    }
    None
}

/// The names of the replication classes that both clients get, for the `StorageConsumer`s that stand for them. `None` while
/// there are none, or while it is not known who stands for whom.
fn classes(seen: &Observed, ends: &Ends) -> Option<Tokens> {
    let peering = names::class_peering(&seen.peer.name_any());
    let known = seen.peerings.get(&peering);
    // Before it is known which policies there are, what is there stays.
    let Some(policies) = seen.dr_policies.known() else {
        let stays = known.filter(|_| !seen.dr_policies.is_missing())?;
        return Some(Tokens {
            peering,
            spec: stays.spec.clone(),
        });
    };
    let status = seen.peer.status.as_ref();
    let ready = status.and_then(|status| status.phase.as_deref()) == Some(Phase::Ready.as_str());
    if !ready && known.is_none() {
        return None;
    }
    let mut members = Vec::new();
    for provider in &ends.providers {
        let wanted = crate::classes::of_clients(&seen.peer, provider, policies, &seen.clients);
        if wanted.is_empty() {
            return None;
        }
        let stated = known.and_then(|known| {
            let mut members = known.spec.members.iter();
            members
                .find(|member| member.cluster == provider.cluster)?
                .parameters
                .get("consumer")
        });
        let consumer = seen.consumers.get(&provider.cluster).or(stated)?;
        let of_kind = |group: bool| {
            let names = wanted
                .keys()
                .filter(|(kind, _)| kind.contains("Group") == group)
                .map(|(_, name)| name);
            // A list of strings always serialises.
            serde_json::to_string(&names.collect::<Vec<_>>()).unwrap_or_default()
        };
        members.push(Member {
            cluster: provider.cluster.clone(),
            parameters: parameters(&[
                ("namespace", &provider.namespace),
                ("consumer", consumer),
                ("volumeClasses", &of_kind(false)),
                ("groupClasses", &of_kind(true)),
            ]),
            ..Member::default()
        });
    }
    members.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    Some(Tokens {
        peering,
        spec: PeeringSpec {
            profile: CLASSES_PROFILE.to_owned(),
            members,
            ..PeeringSpec::default()
        },
    })
}

fn tickets(seen: &Observed, ends: [(&PeerRef, &Provider); 2]) -> Result<Tokens, String> {
    let [one, other] = ends.map(|(_, provider)| provider.key());
    let peering = names::ticket_peering(one, other);
    let known = seen.peerings.get(&peering);
    let mut members = Vec::new();
    for (item, provider) in ends {
        let info = seen.clients.get(&mode::key(item)).map(|info| &info.provider_info);
        let told = info.and_then(|info| {
            let endpoints = [&info.storage_provider_public_endpoint, &info.storage_provider_endpoint];
            endpoints.into_iter().find(|endpoint| !endpoint.is_empty()).cloned()
        });
        let stands = known.and_then(|known| {
            let mut members = known.spec.members.iter();
            members
                .find(|member| member.cluster == provider.cluster)?
                .parameters
                .get("endpoint")
                .cloned()
        });
        let Some(endpoint) = told.or(stands) else {
            return Err(format!(
                "{provider} tells no endpoint of its provider server: see its odf-info"
            ));
        };
        let operator = seen
            .clusters
            .get(&provider.cluster)
            .and_then(|cluster| cluster.odf_info.as_deref());
        members.push(Member {
            cluster: provider.cluster.clone(),
            parameters: parameters(&[
                ("namespace", &provider.namespace),
                ("operatorNamespace", operator.unwrap_or(&provider.namespace)),
                ("endpoint", &endpoint),
            ]),
            ..Member::default()
        });
    }
    // All that share it say the same, in whatever order their items are.
    members.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    Ok(Tokens {
        peering,
        spec: PeeringSpec {
            profile: CLIENT_PROFILE.to_owned(),
            members,
            ..PeeringSpec::default()
        },
    })
}
