//! The deploy work: built from an addon's manifests, compared with what is there, and its answer read. Pure.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition,
    kube::{
        ResourceExt,
        core::{DynamicObject, ObjectMeta},
    },
    ocm::{
        ManagedClusterAddOn, ManifestWork,
        addon::ConfigReference,
        names::{ADDON_NAME_LABEL, CONFIG_SPEC_HASH_ANNOTATION, condition, reason},
        work::{MAX_MANIFESTS_SIZE, ManifestStatus, ManifestWorkSpec, Workload},
    },
};
use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    compare, rbac,
    runtime::conditions::{Wanted, find},
};

/// How many failing manifests a condition names.
const NAMED_FAILURES: usize = 5;

/// Why no work can be made of the manifests. The texts tell the addon's author what to change.
#[derive(Debug, Error)]
pub enum WorkError {
    /// OCM's webhook refuses such a manifest.
    #[error("manifest number {index} has no {missing}; give it one")]
    Incomplete {
        /// Position among the manifests, from 0.
        index: usize,
        /// What it lacks.
        missing: &'static str,
    },
    /// OCM's webhook refuses two manifests of one object.
    #[error("{0} is among the manifests twice; render it once")]
    Duplicate(String),
    /// OCM's webhook refuses larger works.
    #[error(
        "the manifests have {size} bytes, a ManifestWork takes at most {MAX_MANIFESTS_SIZE}; render fewer or smaller ones"
    )]
    TooLarge {
        /// All manifests as JSON, in bytes.
        size: usize,
    },
    /// Not JSON.
    #[error("a manifest cannot be serialized")]
    Serialize(#[from] serde_json::Error),
}

/// Name of an addon's deploy work with this index.
pub fn name(addon: &str, index: usize) -> String {
    format!("addon-{addon}-deploy-{index}")
}

/// The work which deploys these manifests.
pub fn build(addon: &ManagedClusterAddOn, manifests: &[DynamicObject]) -> Result<ManifestWork, WorkError> {
    check(manifests)?;
    let manifests = manifests
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<Value>, _>>()?;
    let size = manifests.iter().map(|manifest| manifest.to_string().len()).sum();
    if size > MAX_MANIFESTS_SIZE {
        return Err(WorkError::TooLarge { size });
    }
    let name_of_addon = addon.name_any();
    let references = addon
        .status
        .as_ref()
        .map(|status| status.config_references.as_slice())
        .unwrap_or_default();
    let annotations = config_spec_hash(references).map(|hash| [(CONFIG_SPEC_HASH_ANNOTATION.to_owned(), hash)].into());
    let metadata = ObjectMeta {
        name: Some(name(&name_of_addon, 0)),
        namespace: addon.namespace(),
        labels: Some([(ADDON_NAME_LABEL.to_owned(), name_of_addon)].into()),
        annotations,
        owner_references: Some(vec![rbac::owner(addon, true)]),
        ..ObjectMeta::default()
    };
    let spec = ManifestWorkSpec {
        workload: Workload { manifests },
        ..ManifestWorkSpec::default()
    };
    Ok(ManifestWork {
        metadata,
        spec,
        status: None,
    })
}

fn check(manifests: &[DynamicObject]) -> Result<(), WorkError> {
    let mut seen = BTreeSet::new();
    for (index, manifest) in manifests.iter().enumerate() {
        let types = manifest
            .types
            .as_ref()
            .filter(|types| !types.api_version.is_empty() && !types.kind.is_empty());
        let types = types.ok_or(WorkError::Incomplete {
            index,
            missing: "apiVersion and kind",
        })?;
        let name = manifest.metadata.name.as_deref().filter(|name| !name.is_empty());
        let name = name.ok_or(WorkError::Incomplete { index, missing: "name" })?;
        let namespace = manifest.metadata.namespace.as_deref().unwrap_or_default();
        if !seen.insert((&types.api_version, &types.kind, namespace, name)) {
            return Err(WorkError::Duplicate(described(&types.kind, namespace, name)));
        }
    }
    Ok(())
}

/// The annotation by which OCM's addon-manager sees that a configuration was rolled out: a JSON object with sorted keys
/// `<resource>.<group>/<namespace>/<name>`, of all references whose hash is known. `None` if the addon has no configuration.
pub fn config_spec_hash(references: &[ConfigReference]) -> Option<String> {
    if references.is_empty() {
        return None;
    }
    let known = references.iter().filter_map(|reference| {
        let config = reference
            .desired_config
            .as_ref()
            .filter(|config| !config.spec_hash.is_empty())?;
        let dot = if reference.group.is_empty() { "" } else { "." };
        let resource = format!("{}{dot}{}", reference.resource, reference.group);
        Some((
            format!("{resource}/{}/{}", config.namespace, config.name),
            config.spec_hash.clone(),
        ))
    });
    Some(json!(known.collect::<BTreeMap<_, _>>()).to_string())
}

/// Whether the work is as wanted: nothing is to be written. Labels, annotations, owners and options of others are no
/// difference, nor are defaults of the API server (such as `feedbackScrapeType`).
pub fn unchanged(observed: &ManifestWork, wanted: &ManifestWork) -> bool {
    let hash = |work: &ManifestWork| work.annotations().get(CONFIG_SPEC_HASH_ANNOTATION).cloned();
    let (seen, wish) = (&observed.spec, &wanted.spec);
    let option = wish.delete_option.is_none() || compare::same(&json!(seen.delete_option), &json!(wish.delete_option));
    let configs = wish.manifest_configs.is_empty()
        || compare::covers(&json!(seen.manifest_configs), &json!(wish.manifest_configs));
    compare::covers_metadata(&observed.metadata, &wanted.metadata)
        && hash(observed) == hash(wanted)
        && seen.workload.manifests.len() == wish.workload.manifests.len()
        && seen
            .workload
            .manifests
            .iter()
            .zip(&wish.workload.manifests)
            .all(|(seen, wish)| compare::same(seen, wish))
        && option
        && configs
}

/// The condition `ManifestApplied` of an addon with this work; `None` while the cluster has not answered to the work's
/// present generation: then what the condition said before stays.
pub fn manifest_applied(work: &ManifestWork) -> Option<Wanted> {
    let status = work.status.as_ref()?;
    let applied = find(&status.conditions, condition::APPLIED)?;
    if applied
        .observed_generation
        .is_some_and(|seen| Some(seen) != work.metadata.generation)
    {
        return None;
    }
    let (namespace, name) = (work.namespace().unwrap_or_default(), work.name_any());
    Some(if applied.status == "True" {
        let count = work.spec.workload.manifests.len();
        let message =
            format!("manifests of addon are applied successfully: all {count} of ManifestWork {namespace}/{name}");
        Wanted::new(condition::MANIFEST_APPLIED, true, reason::MANIFEST_APPLIED, message)
    } else {
        let failures = failures(&status.resource_status.manifests, applied);
        let message = format!(
            "ManifestWork {namespace}/{name} is not applied on the cluster: {failures}; the work agent tries again by itself once the cause is gone"
        );
        Wanted::new(
            condition::MANIFEST_APPLIED,
            false,
            reason::MANIFEST_APPLIED_FAILED,
            message,
        )
    })
}

/// `ManifestApplied` of an addon which deploys nothing.
pub fn nothing_to_apply() -> Wanted {
    Wanted::new(
        condition::MANIFEST_APPLIED,
        true,
        reason::MANIFEST_APPLIED,
        "no manifest need to apply",
    )
}

/// `ManifestApplied` when there is no work as wanted, because of `cause`.
pub fn not_written(cluster: &str, addon: &str, cause: &str) -> Wanted {
    let message = format!(
        "cannot write ManifestWork {cluster}/{} on the hub: {cause}",
        name(addon, 0)
    );
    Wanted::new(condition::MANIFEST_APPLIED, false, reason::WORK_APPLY_FAILED, message)
}

fn failures(manifests: &[ManifestStatus], applied: &Condition) -> String {
    let failing: Vec<_> = manifests.iter().filter_map(failure).collect();
    if failing.is_empty() {
        return format!("{}: {}", applied.reason, applied.message);
    }
    let named = failing
        .iter()
        .take(NAMED_FAILURES)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    match failing.len().saturating_sub(NAMED_FAILURES) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

fn failure(manifest: &ManifestStatus) -> Option<String> {
    let applied = find(&manifest.conditions, condition::APPLIED).filter(|applied| applied.status != "True")?;
    let meta = &manifest.resource_meta;
    // A kind which the cluster does not know has no metadata but its position.
    let what = if meta.kind.is_empty() {
        format!("manifest number {}", meta.ordinal)
    } else {
        described(&meta.kind, &meta.namespace, &meta.name)
    };
    Some(format!("{what}: {}", applied.message))
}

fn described(kind: &str, namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    }
}

#[cfg(test)]
mod tests;
