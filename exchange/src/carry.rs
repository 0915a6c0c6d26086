//! What the hub sends to a member: the `ManifestWork`s of one peering and cluster, with the envelopes for its agent and
//! the rights that the agent needs.
//!
//! One work is the rule. Only where the envelopes would not fit into one they are spread over several, and a link stays in
//! the work where it is, so that a change of one envelope never rewrites the others' works.
use std::collections::BTreeMap;

use peering_api::{
    names,
    peering::{PeerExportSpec, PeerLinkSpec},
};
use serde_json::{Value, json};

use crate::rights::Rights;

/// How many bytes of envelopes (base64) one work holds at most. OCM refuses works above 500 KiB (`ManifestLimit` in its
/// webhook); the rest is for rights and wrapping.
pub const WORK_LIMIT: usize = 400 * 1024;

/// Largest content of one artefact, in bytes before it is sealed: its envelope (base64 in base64, with a header) must fit
/// into one work.
pub const CONTENT_LIMIT: usize = 220 * 1024;

/// A link that ends on the cluster, with the newest envelope of its source (base64), if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The link.
    pub link: &'a PeerLinkSpec,
    /// Its envelope; `None` as well while the link is withdrawn.
    pub envelope: Option<&'a str>,
}

/// Chooses the carrier of each link that ends on one cluster: where it is now, as long as that has room for its envelope.
/// `sizes` are the links by id, with the length of their envelopes and the carriers that they have.
#[must_use]
pub fn carriers(peering: &str, sizes: &BTreeMap<String, (usize, Option<String>)>) -> BTreeMap<String, String> {
    let index = |carrier: &str| (0..sizes.len()).find(|index| names::carrier_name(peering, *index) == carrier);
    let mut used = vec![0_usize; sizes.len()];
    let mut chosen = BTreeMap::new();
    let mut homeless = Vec::new();
    for (link, (size, carrier)) in sizes {
        match carrier.as_deref().and_then(index) {
            Some(at) if used[at] + size <= WORK_LIMIT => {
                used[at] += size;
                chosen.insert(link.clone(), at);
            }
            _ => homeless.push((link, *size)),
        }
    }
    for (link, size) in homeless {
        // There are as many places as links, so the last resort is an empty one.
        let at = used
            .iter()
            .position(|used| *used == 0 || used + size <= WORK_LIMIT)
            .unwrap_or_default();
        used[at] += size;
        chosen.insert(link.clone(), at);
    }
    let named = chosen.into_iter();
    named
        .map(|(link, at)| (link, names::carrier_name(peering, at)))
        .collect()
}

/// The works for one peering and one cluster, by name. The first holds the rights.
#[must_use]
pub fn works(
    peering: &str,
    agent_namespace: &str,
    exports: &[&PeerExportSpec],
    incoming: &[Incoming<'_>],
) -> BTreeMap<String, Vec<Value>> {
    let links: Vec<_> = incoming.iter().map(|incoming| incoming.link).collect();
    let mut works = BTreeMap::new();
    let rights = Rights::of(agent_namespace, exports, &links).manifests(peering, agent_namespace);
    if !rights.is_empty() {
        works.insert(names::work_name(peering, 0), rights);
    }
    let mut sealed: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut public = sealed.clone();
    for Incoming { link, envelope } in incoming {
        if let Some(envelope) = envelope {
            let of_kind = if link.confidential { &mut sealed } else { &mut public };
            of_kind.entry(&link.carrier).or_default().insert(&link.id, envelope);
        }
    }
    let meta =
        |name: &str| json!({"name": name, "namespace": agent_namespace, "labels": {names::PEERING_LABEL: peering}});
    // A carrier has the name of its work (`names::work_name`).
    for (name, envelopes) in sealed {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": names::SEALED_SECRET_TYPE, "metadata": meta(name), "data": envelopes,
        });
        works.entry(name.to_owned()).or_default().push(secret);
    }
    for (name, envelopes) in public {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(name), "binaryData": envelopes});
        works.entry(name.to_owned()).or_default().push(map);
    }
    works
}

#[cfg(test)]
mod tests {
    use peering_api::peering::{ArtefactKind, ObjectRef, Target};
    use proptest::prelude::*;

    use super::*;

    fn link(artefact: &str, confidential: bool, kind: &str) -> PeerLinkSpec {
        PeerLinkSpec {
            id: names::link_id("p", artefact, "a", "b"),
            artefact: artefact.to_owned(),
            kind: if confidential {
                ArtefactKind::Data
            } else {
                ArtefactKind::CaBundle
            },
            confidential,
            carrier: names::carrier_name("p", 0),
            target: Target {
                object: ObjectRef::core(kind, "data", &format!("t-{artefact}")),
                ..Target::default()
            },
            ..PeerLinkSpec::default()
        }
    }

    fn find<'a>(manifests: &'a [Value], kind: &str, namespace: &str) -> &'a Value {
        manifests
            .iter()
            .find(|m| m["kind"] == kind && m["metadata"]["namespace"] == namespace)
            .unwrap()
    }

    #[test]
    fn sealed_in_a_secret_public_in_a_config_map() {
        let (token, ca) = (link("token", true, "Secret"), link("ca", false, "ConfigMap"));
        let incoming = [
            Incoming {
                link: &token,
                envelope: Some("c2VhbGVk"),
            },
            Incoming {
                link: &ca,
                envelope: Some("cGxhaW4="),
            },
        ];
        let works = works("p", "agent-ns", &[], &incoming);
        assert_eq!(works.len(), 1);
        let manifests = &works["peering-p"];
        let secret = find(manifests, "Secret", "agent-ns");
        assert_eq!(secret["type"], names::SEALED_SECRET_TYPE);
        assert_eq!(secret["data"], json!({&token.id: "c2VhbGVk"}));
        assert_eq!(
            find(manifests, "ConfigMap", "agent-ns")["binaryData"],
            json!({&ca.id: "cGxhaW4="})
        );
    }

    #[test]
    fn a_withdrawn_link_keeps_its_rights_but_not_its_envelope() {
        let token = link("token", true, "Secret");
        let incoming = [Incoming {
            link: &token,
            envelope: None,
        }];
        let works = works("p", "agent-ns", &[], &incoming);
        let manifests = &works["peering-p"];
        assert!(manifests.iter().all(|manifest| manifest["kind"] != "Secret"));
        assert_eq!(
            find(manifests, "Role", "data")["rules"][0]["resourceNames"],
            json!(["t-token"])
        );
    }

    #[test]
    fn nothing_to_do_needs_nothing() {
        assert!(works("p", "agent-ns", &[], &[]).is_empty());
    }

    #[test]
    fn what_does_not_fit_goes_into_a_second_work() {
        let (mut one, mut two) = (link("one", true, "Secret"), link("two", true, "Secret"));
        let sizes = BTreeMap::from([(one.id.clone(), (WORK_LIMIT - 1, None)), (two.id.clone(), (2, None))]);
        let chosen = carriers("p", &sizes);
        (one.carrier, two.carrier) = (chosen[&one.id].clone(), chosen[&two.id].clone());
        assert_ne!(one.carrier, two.carrier);
        let incoming = [&one, &two].map(|link| Incoming {
            link,
            envelope: Some("eA=="),
        });
        let works = works("p", "agent-ns", &[], &incoming);
        assert_eq!(works.keys().collect::<Vec<_>>(), ["peering-p", "peering1-p"]);
        assert_eq!(
            works["peering1-p"].len(),
            1,
            "only the carrier: the rights stand in the first work"
        );
    }

    proptest! {
        #[test]
        fn no_work_is_overfull_and_what_fits_stays(sizes in prop::collection::vec(1..WORK_LIMIT, 1..12), grown in 1..WORK_LIMIT) {
            let first: BTreeMap<_, _> = sizes.iter().enumerate().map(|(at, size)| (format!("l{at}"), (*size, None))).collect();
            let chosen = carriers("p", &first);
            let fits = |sizes: &BTreeMap<String, (usize, Option<String>)>, chosen: &BTreeMap<String, String>| {
                let mut used: BTreeMap<&String, usize> = BTreeMap::new();
                for (link, carrier) in chosen {
                    *used.entry(carrier).or_default() += sizes[link].0;
                }
                used.values().all(|used| *used <= WORK_LIMIT)
            };
            prop_assert!(fits(&first, &chosen));
            let mut second: BTreeMap<_, _> = first.iter().map(|(link, (size, _))| (link.clone(), (*size, chosen.get(link).cloned()))).collect();
            prop_assert_eq!(&carriers("p", &second), &chosen, "nothing moves without need");
            second.get_mut("l0").unwrap().0 = grown;
            prop_assert!(fits(&second, &carriers("p", &second)));
        }
    }
}
