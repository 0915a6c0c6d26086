//! The content of the one `ManifestWork` per peering and cluster: the envelopes for its agent, and exactly the rights
//! that the agent needs to read its sources and write its targets.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{PeerExportSpec, PeerLinkSpec},
};
use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

/// A link that ends on the cluster, with the newest envelope of its source (base64), if there is one.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// The link.
    pub link: &'a PeerLinkSpec,
    /// Its envelope; `None` as well while the link is withdrawn.
    pub envelope: Option<&'a str>,
}

/// The manifests for one peering and one cluster, in a fixed order.
#[must_use]
pub fn manifests(
    peering: &str,
    agent_namespace: &str,
    exports: &[&PeerExportSpec],
    incoming: &[Incoming<'_>],
) -> Vec<Value> {
    let mut manifests = Vec::new();
    for (namespace, rules) in rules(peering, agent_namespace, exports, incoming) {
        manifests.push(role(peering, &namespace, &rules));
        manifests.push(role_binding(peering, &namespace, agent_namespace));
    }
    let envelopes = |confidential: bool| -> BTreeMap<&str, &str> {
        let of_kind = incoming
            .iter()
            .filter(|incoming| incoming.link.confidential == confidential);
        of_kind
            .filter_map(|incoming| Some((incoming.link.id.as_str(), incoming.envelope?)))
            .collect()
    };
    let meta = json!({"name": names::carrier_name(peering), "namespace": agent_namespace, "labels": {names::PEERING_LABEL: peering}});
    let (sealed, public) = (envelopes(true), envelopes(false));
    if !sealed.is_empty() {
        manifests.push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": names::SEALED_SECRET_TYPE, "metadata": meta.clone(), "data": sealed,
        }));
    }
    if !public.is_empty() {
        manifests.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "binaryData": public}));
    }
    manifests
}

type Rules = BTreeMap<(&'static str, &'static [&'static str]), BTreeSet<String>>;

/// Object names per namespace, resource and verbs.
fn rules(
    peering: &str,
    agent_namespace: &str,
    exports: &[&PeerExportSpec],
    incoming: &[Incoming<'_>],
) -> BTreeMap<String, Rules> {
    let mut rules: BTreeMap<String, Rules> = BTreeMap::new();
    let mut add = |namespace: &str, resource, verbs, name: String| {
        rules
            .entry(namespace.to_owned())
            .or_default()
            .entry((resource, verbs))
            .or_default()
            .insert(name);
    };
    for export in exports {
        let resource = if export.source.kind == "Secret" {
            "secrets"
        } else {
            "configmaps"
        };
        add(&export.source.namespace, resource, READ, export.source.name.clone());
    }
    for Incoming { link, .. } in incoming {
        add(
            &link.target.namespace,
            link.target.kind.resource(),
            WRITE,
            link.target.name.clone(),
        );
        let carrier = if link.confidential { "secrets" } else { "configmaps" };
        add(agent_namespace, carrier, READ, names::carrier_name(peering));
    }
    rules
}

fn role(peering: &str, namespace: &str, rules: &Rules) -> Value {
    let rules: Vec<_> = rules
        .iter()
        .map(|((resource, verbs), names)| json!({"apiGroups": [""], "resources": [resource], "resourceNames": names, "verbs": verbs}))
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": names::role_name(peering), "namespace": namespace, "labels": {names::PEERING_LABEL: peering}},
        "rules": rules,
    })
}

fn role_binding(peering: &str, namespace: &str, agent_namespace: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": names::role_name(peering), "namespace": namespace, "labels": {names::PEERING_LABEL: peering}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names::role_name(peering)},
        "subjects": [{"kind": "ServiceAccount", "name": names::AGENT, "namespace": agent_namespace}],
    })
}

#[cfg(test)]
mod tests {
    use peering_api::peering::{ArtefactKind, ObjectSource, Target, TargetKind};

    use super::*;

    fn link(artefact: &str, confidential: bool, kind: TargetKind) -> PeerLinkSpec {
        PeerLinkSpec {
            id: names::link_id("p", artefact, "a", "b"),
            artefact: artefact.to_owned(),
            kind: if confidential {
                ArtefactKind::Secret
            } else {
                ArtefactKind::CaBundle
            },
            confidential,
            target: Target {
                kind,
                namespace: "data".to_owned(),
                name: format!("t-{artefact}"),
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
    fn sealed_in_a_secret_public_in_a_config_map_and_rights_by_name() {
        let (token, ca) = (
            link("token", true, TargetKind::Secret),
            link("ca", false, TargetKind::ConfigMap),
        );
        let source = ObjectSource {
            kind: "Secret".into(),
            namespace: "src".into(),
            name: "s".into(),
            ..ObjectSource::default()
        };
        let export = PeerExportSpec {
            source,
            ..PeerExportSpec::default()
        };
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
        let manifests = manifests("p", "agent-ns", &[&export], &incoming);
        let secret = find(&manifests, "Secret", "agent-ns");
        assert_eq!(secret["type"], names::SEALED_SECRET_TYPE);
        assert_eq!(secret["data"], json!({&token.id: "c2VhbGVk"}));
        assert_eq!(
            find(&manifests, "ConfigMap", "agent-ns")["binaryData"],
            json!({&ca.id: "cGxhaW4="})
        );
        assert_eq!(
            find(&manifests, "Role", "src")["rules"],
            json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["s"], "verbs": ["get", "list", "watch"]}])
        );
        let data = find(&manifests, "Role", "data")["rules"].as_array().unwrap();
        assert!(
            data.iter()
                .all(|rule| !rule["resourceNames"].as_array().unwrap().is_empty()),
            "no right without a name"
        );
        assert_eq!(
            find(&manifests, "RoleBinding", "data")["subjects"][0]["namespace"],
            "agent-ns"
        );
    }

    #[test]
    fn a_withdrawn_link_keeps_its_rights_but_not_its_envelope() {
        let token = link("token", true, TargetKind::Secret);
        let manifests = manifests(
            "p",
            "agent-ns",
            &[],
            &[Incoming {
                link: &token,
                envelope: None,
            }],
        );
        assert!(manifests.iter().all(|manifest| manifest["kind"] != "Secret"));
        assert_eq!(
            find(&manifests, "Role", "data")["rules"][0]["resourceNames"],
            json!(["t-token"])
        );
    }

    #[test]
    fn nothing_to_do_needs_nothing() {
        assert!(manifests("p", "agent-ns", &[], &[]).is_empty());
    }
}
