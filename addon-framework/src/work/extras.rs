//! What a deploy work says besides its manifests: what is reported about them, and which of them stay behind. Pure.
use std::collections::BTreeSet;

use peering_api::{
    kube::{ResourceExt, core::DynamicObject},
    ocm::{
        names::DELETION_ORPHAN_ANNOTATION,
        work::{DeleteOption, ManifestConfig, ManifestWorkSpec, ResourceIdentifier, SelectivelyOrphan},
    },
};
use serde_json::Value;

/// Policy of a work of which some objects stay behind.
pub(super) const SELECTIVELY: &str = "SelectivelyOrphan";

/// What all deploy works of an addon say besides their manifests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// What is reported about the manifests, and how they are applied.
    pub configs: Vec<ManifestConfig>,
    /// Which of them stay behind when the addon is removed.
    pub delete_option: Option<DeleteOption>,
}

impl Extras {
    /// For these manifests, with these configurations of several sources.
    pub fn new(manifests: &[DynamicObject], configs: impl IntoIterator<Item = ManifestConfig>) -> Self {
        Self {
            configs: merge(configs),
            delete_option: delete_option(manifests),
        }
    }

    pub(super) fn apply(&self, spec: &mut ManifestWorkSpec) {
        spec.manifest_configs.clone_from(&self.configs);
        spec.delete_option.clone_from(&self.delete_option);
    }
}

/// One entry per object: the work agent takes the first that fits. Rules are joined, JSON paths only once per name, and of
/// other settings the first stays.
fn merge(configs: impl IntoIterator<Item = ManifestConfig>) -> Vec<ManifestConfig> {
    let mut merged: Vec<ManifestConfig> = vec![];
    for config in configs {
        let known = merged
            .iter_mut()
            .find(|known| known.resource_identifier == config.resource_identifier);
        let Some(known) = known else {
            merged.push(config);
            continue;
        };
        known.update_strategy = known.update_strategy.take().or(config.update_strategy);
        known.feedback_scrape_type = known.feedback_scrape_type.take().or(config.feedback_scrape_type);
        for (name, value) in config.extra {
            known.extra.entry(name).or_insert(value);
        }
        for rule in config.feedback_rules {
            merge_rule(&mut known.feedback_rules, rule);
        }
    }
    merged
}

fn merge_rule(rules: &mut Vec<Value>, mut rule: Value) {
    let taken: BTreeSet<String> = rules
        .iter()
        .flat_map(paths)
        .map(|path| path["name"].to_string())
        .collect();
    if let Some(paths) = rule.get_mut("jsonPaths").and_then(Value::as_array_mut) {
        paths.retain(|path| !taken.contains(&path["name"].to_string()));
        if paths.is_empty() {
            return;
        }
    }
    if !rules.contains(&rule) {
        rules.push(rule);
    }
}

fn paths(rule: &Value) -> impl Iterator<Item = &Value> {
    rule["jsonPaths"].as_array().into_iter().flatten()
}

fn delete_option(manifests: &[DynamicObject]) -> Option<DeleteOption> {
    let stays = |manifest: &&DynamicObject| manifest.annotations().contains_key(DELETION_ORPHAN_ANNOTATION);
    let orphaning_rules: Vec<_> = manifests
        .iter()
        .filter(stays)
        .map(|manifest| identifier(manifest, manifests))
        .collect();
    (!orphaning_rules.is_empty()).then(|| DeleteOption {
        propagation_policy: Some(SELECTIVELY.to_owned()),
        selectively_orphans: Some(SelectivelyOrphan { orphaning_rules }),
        ..DeleteOption::default()
    })
}

/// How OCM names a manifest. `all` may hold the definition of its kind.
pub(crate) fn identifier(manifest: &DynamicObject, all: &[DynamicObject]) -> ResourceIdentifier {
    let types = manifest.types.clone().unwrap_or_default();
    let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
    ResourceIdentifier {
        group: group.to_owned(),
        resource: plural(group, &types.kind, all),
        namespace: manifest.namespace().unwrap_or_default(),
        name: manifest.name_any(),
    }
}

/// The plural of a kind: as a CRD among the manifests says, else as Kubernetes makes plurals of its own kinds.
fn plural(group: &str, kind: &str, all: &[DynamicObject]) -> String {
    let mut defined = all.iter().filter(|manifest| {
        let is_crd = manifest
            .types
            .as_ref()
            .is_some_and(|types| types.kind == "CustomResourceDefinition");
        is_crd && manifest.data["spec"]["group"] == group && manifest.data["spec"]["names"]["kind"] == kind
    });
    if let Some(plural) = defined.find_map(|crd| crd.data["spec"]["names"]["plural"].as_str()) {
        return plural.to_owned();
    }
    let kind = kind.to_lowercase();
    if kind == "endpoints" {
        return kind;
    }
    if kind.ends_with(['s', 'x']) || kind.ends_with("ch") || kind.ends_with("sh") {
        return format!("{kind}es");
    }
    match kind
        .strip_suffix('y')
        .filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u']))
    {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(wire: Value) -> DynamicObject {
        serde_json::from_value(wire).unwrap()
    }

    fn of(api_version: &str, kind: &str) -> DynamicObject {
        object(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "n", "namespace": "ns"}}))
    }

    #[test]
    fn objects_that_stay_are_named_one_by_one() {
        let mut stays = of("v1", "ConfigMap");
        stays
            .annotations_mut()
            .insert(DELETION_ORPHAN_ANNOTATION.into(), String::new());
        let all = [of("apps/v1", "Deployment"), stays];
        let option = Extras::new(&all, []).delete_option.unwrap();
        let expected = json!({"propagationPolicy": "SelectivelyOrphan",
            "selectivelyOrphans": {"orphaningRules": [{"resource": "configmaps", "namespace": "ns", "name": "n"}]}});
        assert_eq!(json!(option), expected);
        assert_eq!(Extras::new(&all[..1], []), Extras::default());
    }

    #[test]
    fn plurals() {
        let crd = object(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "c"},
            "spec": {"group": "example.com", "names": {"kind": "Cactus", "plural": "cacti"}}}),
        );
        let all = [crd];
        for (api_version, kind, expected) in [
            ("example.com/v1", "Cactus", "cacti"),
            ("other.com/v1", "Cactus", "cactuses"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io/v1", "Ingress", "ingresses"),
            ("networking.k8s.io/v1", "IngressClass", "ingressclasses"),
            ("v1", "Endpoints", "endpoints"),
            ("gateway.networking.k8s.io/v1", "Gateway", "gateways"),
            ("v1", "ServiceAccount", "serviceaccounts"),
        ] {
            assert_eq!(identifier(&of(api_version, kind), &all).resource, expected, "{kind}");
        }
    }

    #[test]
    fn several_configurations_of_one_object_become_one() {
        let config = |wire: Value| serde_json::from_value::<ManifestConfig>(wire).unwrap();
        let id = json!({"group": "apps", "resource": "deployments", "namespace": "ns", "name": "n"});
        let path = |name: &str, path: &str| json!({"name": name, "path": path});
        let merged = merge([
            config(
                json!({"resourceIdentifier": id, "updateStrategy": {"type": "ServerSideApply"},
                "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [path("a", ".x")]}]}),
            ),
            config(
                json!({"resourceIdentifier": id, "updateStrategy": {"type": "CreateOnly"}, "feedbackRules": [
                {"type": "WellKnownStatus"}, {"type": "JSONPaths", "jsonPaths": [path("a", ".y"), path("b", ".z")]}]}),
            ),
            config(json!({"resourceIdentifier": id, "feedbackRules": [{"type": "WellKnownStatus"}]})),
            config(json!({"resourceIdentifier": {"resource": "configmaps", "name": "n"}})),
        ]);
        let expected = json!([
            {"resourceIdentifier": id, "updateStrategy": {"type": "ServerSideApply"}, "feedbackRules": [
                {"type": "JSONPaths", "jsonPaths": [path("a", ".x")]}, {"type": "WellKnownStatus"},
                {"type": "JSONPaths", "jsonPaths": [path("b", ".z")]}]},
            {"resourceIdentifier": {"resource": "configmaps", "name": "n"}},
        ]);
        assert_eq!(json!(merged), expected);
    }
}
