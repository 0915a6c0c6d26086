//! Keys of agents that change: by a rotation, or because an agent has become another.
use super::*;

#[test]
fn an_envelope_for_an_old_key_is_not_carried() {
    let mut seen = served();
    let west = seen.clusters.get_mut("west").unwrap();
    west.public_key = Some(key(9).public().to_base64());
    west.confirmed = Some(key(9).public().fingerprint());
    settle(&mut seen);
    assert_eq!((sealed(&seen, "west"), sealed(&seen, "east")), (0, 1));
    let export = seen
        .exports
        .iter()
        .find(|export| export.namespace().as_deref() == Some("east"))
        .unwrap();
    assert_eq!(
        export.spec.recipients[0].public_key,
        Some(key(9).public().to_base64()),
        "the source is told to seal anew"
    );
}

/// Everything that was published says by which key.
fn sealed_by(seen: &mut Observed, cluster: &str, sender: &str, revision: i64) {
    for export in &mut seen.exports {
        if export.namespace().as_deref() == Some(cluster) {
            let status = Arc::make_mut(export).status.as_mut().unwrap();
            status.revision = Some(revision);
            for envelope in &mut status.envelopes {
                sender.clone_into(&mut envelope.sender_fingerprint);
            }
        }
    }
}

#[test]
fn a_key_is_rotated_without_a_moment_in_which_nothing_opens() {
    let mut seen = served();
    let text = |seed| Some(key(seed).public().to_base64());
    let print = |seed| key(seed).public().fingerprint();
    let from_east = |seen: &Observed| {
        let link = seen.links.iter().find(|link| link.spec.from.cluster == "east").unwrap();
        (
            link.spec.from.public_key.clone(),
            link.spec.from.previous_public_key.clone(),
        )
    };
    let carried = |seen: &Observed, cluster: &str| {
        let works = seen
            .works
            .iter()
            .filter(|work| work.namespace().as_deref() == Some(cluster));
        let manifests = works.flat_map(|work| work.spec.workload.manifests.clone());
        manifests
            .filter(|manifest| manifest["type"] == names::SEALED_SECRET_TYPE)
            .count()
    };
    sealed_by(&mut seen, "east", &print(1), 1);
    settle(&mut seen);
    // The export is sealed by a key that the hub does not know yet: it is not carried, as its destination would refuse it.
    sealed_by(&mut seen, "east", &print(7), 2);
    settle(&mut seen);
    assert_eq!((carried(&seen, "west"), carried(&seen, "east")), (0, 1));
    let east = seen.clusters.get_mut("east").unwrap();
    (east.public_key, east.previous_public_key) = (text(7), text(1));
    settle(&mut seen);
    assert_eq!(from_east(&seen), (text(7), text(1)));
    assert_eq!(carried(&seen, "west"), 1);
    let known = &seen.peering.as_ref().unwrap().status.as_ref().unwrap().members;
    assert_eq!(known[0].fingerprint, print(7));
    // Its owner needs the old one no more; the destination has still to open the new envelope.
    seen.clusters.get_mut("east").unwrap().previous_public_key = None;
    settle(&mut seen);
    assert_eq!(from_east(&seen), (text(7), text(1)));
    agents(&mut seen);
    sealed_by(&mut seen, "east", &print(7), 1);
    settle(&mut seen);
    assert_eq!(from_east(&seen), (text(7), None));
}

#[test]
fn what_a_changed_identity_sends_is_not_carried_and_its_links_say_why() {
    let mut seen = served();
    sealed_by(&mut seen, "east", &key(1).public().fingerprint(), 1);
    settle(&mut seen);
    seen.clusters.get_mut("east").unwrap().public_key = Some(key(7).public().to_base64());
    settle(&mut seen);
    for link in &seen.links {
        let conditions = &link.status.as_ref().unwrap().conditions;
        let ready = peering_api::peering::condition(conditions, "Ready").unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "IdentityChanged")
        );
        assert!(ready.message.contains("cluster east"), "{}", ready.message);
    }
    let manifests = seen.works.iter().flat_map(|work| &work.spec.workload.manifests);
    let mut sealed = manifests.filter(|manifest| manifest["type"] == names::SEALED_SECRET_TYPE);
    assert_eq!(sealed.next(), None, "nothing is carried");
}
