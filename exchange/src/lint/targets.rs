//! Rules about what is written on the destination, and about artefacts that get in each other's way there.
use peering_api::{
    names,
    peering::{Artefact, ArtefactKind, Deliver, Flow},
};

use super::{
    Report,
    naming::{data_key, name, namespace, plural},
    texts::{is_issued, uses_source},
};

/// Checks what is written.
pub(super) fn check(place: &str, artefact: &Artefact, report: &mut Report) {
    let (place, deliver) = (format!("{place}.deliver"), &artefact.deliver);
    shape(&place, deliver, report);
    let kind = format!("{place}.kind");
    match artefact.kind {
        ArtefactKind::CaBundle => {
            report.require(
                deliver.kind == "ConfigMap",
                kind,
                "a CABundle holds public certificates and is delivered as a ConfigMap: set deliver.kind to ConfigMap",
            );
            report.require(
                deliver.data.is_empty() && deliver.template.is_none(),
                &place,
                "a CABundle is delivered as it is: remove deliver.data and deliver.template",
            );
            report.require(
                !artefact.inputs.iter().any(is_issued),
                &place,
                "a CABundle is made of certificates that stand in objects: remove tokenRequest, certificate and httpRequest inputs",
            );
        }
        ArtefactKind::Data => {
            report.require(
                deliver.key.is_none(),
                format!("{place}.key"),
                "deliver.key names the key of a CABundle: use deliver.data for other artefacts",
            );
            report.require(
                artefact.confidential || deliver.kind != "Secret",
                &kind,
                "what is delivered as a Secret is confidential: remove 'confidential: false', or deliver a ConfigMap",
            );
            report.require(
                !artefact.confidential || deliver.kind != "ConfigMap",
                &kind,
                "a ConfigMap is readable by many: set 'confidential: false', or deliver a Secret",
            );
            shared(&place, artefact, report);
        }
    }
    own_source(&place, artefact, report);
}

/// The fields of `deliver` fit each other.
fn shape(place: &str, deliver: &Deliver, report: &mut Report) {
    let core = matches!(deliver.kind.as_str(), "Secret" | "ConfigMap");
    report.require(
        !deliver.kind.is_empty(),
        format!("{place}.kind"),
        "the target needs a kind: set deliver.kind",
    );
    report.require(
        core == (deliver.api_version == "v1"),
        format!("{place}.apiVersion"),
        "a Secret or ConfigMap has apiVersion v1; any other target is named by its own apiVersion and kind",
    );
    report.require(
        core || deliver.template.is_some(),
        place,
        "a target of another kind than Secret and ConfigMap is made from a template: set deliver.template",
    );
    report.require(
        !core || deliver.template.is_none(),
        format!("{place}.template"),
        "a Secret or ConfigMap holds the payload: set deliver.data instead of deliver.template",
    );
    report.require(
        !core || deliver.namespace.is_some(),
        format!("{place}.namespace"),
        "a Secret or ConfigMap stands in a namespace: set deliver.namespace",
    );
    report.require(
        deliver.kind == "Secret" || deliver.type_.is_none(),
        format!("{place}.type"),
        "only a Secret has a type: remove deliver.type",
    );
    report.require(
        core || deliver.data.is_empty(),
        format!("{place}.data"),
        "only a Secret or ConfigMap has data: use deliver.template",
    );
    let ours = |label: &String| label.starts_with(&format!("{}/", names::GROUP));
    report.require(
        !deliver.labels.keys().any(ours),
        format!("{place}.labels"),
        "labels that start with peering.open-cluster-management.io/ are ours: choose others",
    );
    for key in deliver.data.keys() {
        data_key(&format!("{place}.data[{key}]"), key, report);
    }
    name(&format!("{place}.name"), Some(&deliver.name), report);
    namespace(&format!("{place}.namespace"), deliver.namespace.as_deref(), report);
    plural(place, &deliver.kind, deliver.resource.as_deref(), report);
}

/// Several sources would write one target.
fn shared(place: &str, artefact: &Artefact, report: &mut Report) {
    let deliver = &artefact.deliver;
    let told_apart = uses_source(&deliver.name) || deliver.namespace.as_deref().is_some_and(uses_source);
    if told_apart || artefact.flow == Flow::FromHubRole {
        return;
    }
    let message =
        "with more than one source, all would write the same object on a destination: use ${source.cluster} in it";
    report.warn(format!("{place}.name"), message);
}

/// A cluster would write what it reads.
fn own_source(place: &str, artefact: &Artefact, report: &mut Report) {
    let deliver = &artefact.deliver;
    let same = artefact.inputs.iter().any(|input| {
        input.api_version.as_ref() == Some(&deliver.api_version)
            && input.kind.as_ref() == Some(&deliver.kind)
            && input.namespace == deliver.namespace
            && input.name.as_ref() == Some(&deliver.name)
    });
    report.require(
        !same || artefact.flow != Flow::Both,
        format!("{place}.name"),
        "the target is the source itself on clusters that are both: choose another name",
    );
}

/// Two artefacts would write one target.
pub(super) fn collisions(artefacts: &[Artefact], report: &mut Report) {
    let target = |artefact: &Artefact| {
        let deliver = &artefact.deliver;
        [
            deliver.api_version.clone(),
            deliver.kind.clone(),
            deliver.namespace.clone().unwrap_or_default(),
            deliver.name.clone(),
        ]
    };
    for (index, artefact) in artefacts.iter().enumerate() {
        let earlier = artefacts.iter().take(index);
        let mut meets = earlier.filter(|other| may_meet(other.flow, artefact.flow));
        if let Some(other) = meets.find(|other| target(other) == target(artefact)) {
            let message = format!("artefact {:?} has the same target: choose another name", other.name);
            report.error(format!("artefacts[{index}].deliver.name"), message);
        }
    }
}

/// Whether two flows can end on one cluster: members with the hub role are never those without it.
fn may_meet(one: Flow, other: Flow) -> bool {
    !matches!(
        (one, other),
        (Flow::ToHubRole, Flow::FromHubRole) | (Flow::FromHubRole, Flow::ToHubRole)
    )
}
