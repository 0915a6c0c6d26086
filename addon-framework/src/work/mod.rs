//! The deploy works: planned from an addon's manifests, compared with what is there, and their answers read. Pure.
mod extras;
mod feedback;
mod pack;
mod part;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition,
    kube::{
        ResourceExt,
        core::{DynamicObject, ObjectMeta},
    },
    ocm::{
        ManifestWork,
        addon::ConfigReference,
        names::{CONFIG_SPEC_HASH_ANNOTATION, condition, reason},
        work::{MAX_MANIFESTS_SIZE, ManifestStatus},
    },
};
use serde_json::json;
use thiserror::Error;

pub(crate) use self::extras::identifier;
pub use self::{
    extras::Extras,
    feedback::Feedback,
    part::Part,
    plan::{Existing, plan},
};
use crate::{
    compare,
    runtime::conditions::{Status, Wanted, find},
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
        "{manifest} has {size} bytes, a ManifestWork takes at most {MAX_MANIFESTS_SIZE}; split it or make it smaller"
    )]
    TooLarge {
        /// Which.
        manifest: String,
        /// Its size in a work, in bytes.
        size: usize,
    },
    /// Not JSON.
    #[error("a manifest cannot be serialized")]
    Serialize(#[from] serde_json::Error),
}

/// One work with these manifests.
pub fn single(metadata: ObjectMeta, manifests: &[DynamicObject], extras: &Extras) -> Result<ManifestWork, WorkError> {
    check(manifests)?;
    let manifests: Result<_, _> = manifests.iter().map(serde_json::to_value).collect();
    Ok(plan::build(metadata, manifests?, extras))
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
    // What an addon no longer asks for has to go; a policy of somebody else's may stay.
    let orphans = |work: &ManifestWork| {
        let option = work.spec.delete_option.as_ref();
        option.is_some_and(|option| option.propagation_policy.as_deref() == Some(extras::SELECTIVELY))
    };
    let option = match &wish.delete_option {
        Some(wish) => compare::same(&json!(seen.delete_option), &json!(wish)),
        None => !orphans(observed),
    };
    let configs = compare::covers(&json!(seen.manifest_configs), &json!(wish.manifest_configs));
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

/// The condition `ManifestApplied` of an addon with these works: the first failure, or success once all have answered.
pub fn all_applied(works: &[ManifestWork]) -> Option<Wanted> {
    let said: Vec<_> = works.iter().map(manifest_applied).collect();
    if let Some(failed) = said.iter().flatten().find(|wanted| wanted.status != Status::True) {
        return Some(failed.clone());
    }
    let said: Vec<_> = said.into_iter().collect::<Option<_>>()?;
    let (Some(first), Some(last)) = (works.first(), works.last()) else {
        return Some(nothing_to_apply());
    };
    if works.len() == 1 {
        return said.into_iter().next();
    }
    let count: usize = works.iter().map(|work| work.spec.workload.manifests.len()).sum();
    let message = format!(
        "manifests of addon are applied successfully: all {count} of {} ManifestWorks, {}/{} to {}",
        works.len(),
        first.namespace().unwrap_or_default(),
        first.name_any(),
        last.name_any(),
    );
    Some(Wanted::new(
        condition::MANIFEST_APPLIED,
        true,
        reason::MANIFEST_APPLIED,
        message,
    ))
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

/// `ManifestApplied` when the works are not as wanted, because of `cause`.
pub fn not_written(cluster: &str, addon: &str, cause: &str) -> Wanted {
    let message = format!("cannot write the ManifestWorks of addon {addon} in namespace {cluster} on the hub: {cause}");
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
