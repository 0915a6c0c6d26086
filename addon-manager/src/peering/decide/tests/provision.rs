//! What agents provision for their exports: it holds data, and goes last.
use super::*;

fn provisioned() -> Observed {
    let mut seen = start();
    let profile = Arc::make_mut(seen.profile.as_mut().unwrap());
    let template = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "claim", "namespace": "ceph"}});
    profile.spec.artefacts[0].provision = vec![peering_api::peering::ObjectTemplate {
        template,
        ..peering_api::peering::ObjectTemplate::default()
    }];
    settle(&mut seen);
    seen
}

#[test]
fn what_was_provisioned_stays_while_the_destination_is_away() {
    let deleted = |seen: &Observed| {
        let changes = decide(seen).into_iter().map(|change| change.to_string());
        changes
            .filter(|change| change.starts_with("delete PeerExport"))
            .collect::<Vec<_>>()
    };
    let seen = provisioned();
    let mut away = seen.clone();
    away.clusters.get_mut("west").unwrap().addon = Some(Addon {
        leaving: true,
        ..Addon::default()
    });
    let only_its_own = deleted(&away);
    assert_eq!(only_its_own.len(), 1, "{only_its_own:?}");
    assert!(
        only_its_own[0].starts_with("delete PeerExport west/"),
        "{only_its_own:?}"
    );
    settle(&mut away);
    let east = away
        .exports
        .iter()
        .find(|export| export.namespace().as_deref() == Some("east"));
    assert!(
        east.unwrap().spec.recipients.is_empty(),
        "nothing is sealed for who is away"
    );

    let mut without = seen.clone();
    Arc::make_mut(without.profile.as_mut().unwrap()).spec.artefacts[0].name = "another".into();
    assert_eq!(deleted(&without).len(), 2, "its artefact is gone");
    let mut removed = seen;
    let peering = Arc::make_mut(removed.peering.as_mut().unwrap());
    peering.spec.members.retain(|member| member.cluster == "west");
    let only_its_own = deleted(&removed);
    assert!(
        only_its_own[0].starts_with("delete PeerExport east/"),
        "{only_its_own:?}"
    );
}

#[test]
fn what_was_provisioned_holds_its_export_until_it_is_gone() {
    let mut seen = provisioned();
    let export = Arc::make_mut(&mut seen.exports[0]);
    export.metadata.deletion_timestamp = Some(Time(seen.now));
    export.metadata.finalizers = Some(vec![names::WITHDRAW_FINALIZER.to_owned()]);
    assert!(settle(&mut seen).iter().all(|change| !change.starts_with("release")));
    Arc::make_mut(&mut seen.exports[0]).status = Some(PeerExportStatus {
        conditions: vec![said("Withdrawn", "True", "Withdrawn")],
        ..PeerExportStatus::default()
    });
    let changes = decide(&seen);
    assert!(
        changes
            .iter()
            .any(|change| change.to_string().starts_with("release PeerExport")),
        "{changes:?}"
    );
}
