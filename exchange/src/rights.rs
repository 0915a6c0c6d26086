//! The rights that a Peering needs on one cluster: Roles per namespace and a `ClusterRole` for what has none, each rule
//! limited to names where these are known beforehand.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{
        CertificateInput, EndpointInput, FormerConsumer, Input, ObjectRef, ObjectTemplate, PeerExportSpec,
        PeerLinkSpec, Wire,
    },
};
use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
/// For consumers: they are changed, never made or deleted.
const CHANGE: &[&str] = &["get", "list", "patch", "watch"];
/// The signer of client certificates (`certificates.k8s.io`).
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// One rule: API group, resource, verbs.
type Rule = (String, String, &'static [&'static str]);
/// The names that a rule is limited to; `None`: all.
type Names = Option<BTreeSet<String>>;

/// The rights of one agent for one Peering.
#[derive(Debug, Default)]
pub struct Rights {
    /// By namespace; `None` is what has no namespace.
    rules: BTreeMap<Option<String>, BTreeMap<Rule, Names>>,
}

impl Rights {
    /// What an agent needs for the given exports and links.
    #[must_use]
    pub fn of(agent_namespace: &str, exports: &[&PeerExportSpec], links: &[&PeerLinkSpec]) -> Self {
        let mut rights = Self::default();
        for export in exports {
            rights.export(export);
        }
        for link in links {
            rights.link(agent_namespace, link);
        }
        rights
    }

    fn add(
        &mut self,
        namespace: Option<&str>,
        group: &str,
        resource: &str,
        verbs: &'static [&'static str],
        name: Option<&str>,
    ) {
        let rule = (group.to_owned(), resource.to_owned(), verbs);
        let rules = self.rules.entry(namespace.map(str::to_owned)).or_default();
        let names = rules.entry(rule).or_insert_with(|| Some(BTreeSet::new()));
        match name {
            Some(name) => {
                if let Some(names) = names {
                    names.insert(name.to_owned());
                }
            }
            None => *names = None,
        }
    }

    fn object(&mut self, object: &ObjectRef, verbs: &'static [&'static str]) {
        let namespace = object.namespace.as_deref();
        self.add(namespace, object.group(), &object.plural(), verbs, Some(&object.name));
    }

    fn template(&mut self, template: &ObjectTemplate) {
        if let Some(object) = place_of(template) {
            self.object(&object, WRITE);
        }
    }

    fn export(&mut self, export: &PeerExportSpec) {
        for template in &export.provision {
            self.template(template);
        }
        for input in &export.inputs {
            self.input(export, input);
        }
    }

    fn input(&mut self, export: &PeerExportSpec, input: &Input) {
        if let (Some(api_version), Some(kind)) = (&input.api_version, &input.kind) {
            let object = ObjectRef {
                api_version: api_version.clone(),
                kind: kind.clone(),
                resource: input.resource.clone(),
                ..ObjectRef::default()
            };
            // A name that depends on other inputs is known on the source only.
            let name = input.name.as_deref().filter(|name| !name.contains("${"));
            self.add(input.namespace.as_deref(), object.group(), &object.plural(), READ, name);
        }
        if let Some(token) = &input.token_request {
            let account = Some(token.service_account.as_str());
            self.add(
                Some(&token.namespace),
                "",
                "serviceaccounts/token",
                &["create"],
                account,
            );
        }
        if let Some(token) = input.http_request.as_ref().and_then(|request| request.token.as_ref()) {
            let account = Some(token.service_account.as_str());
            self.add(
                Some(&token.namespace),
                "",
                "serviceaccounts/token",
                &["create"],
                account,
            );
        }
        if let Some(certificate) = &input.certificate {
            self.certificate(export, certificate);
        }
        if let Some(endpoint) = &input.endpoint {
            self.endpoint(endpoint);
        }
    }

    fn certificate(&mut self, _export: &PeerExportSpec, certificate: &CertificateInput) {
        const GROUP: &str = "certificates.k8s.io";
        if let Some(ca) = &certificate.signer.ca {
            self.add(Some(&ca.namespace), "", "secrets", READ, Some(&ca.name));
        }
        if certificate.signer.kubernetes.is_some() {
            // Their names hold a hash of the request, and creation cannot be limited by name.
            self.add(
                None,
                GROUP,
                "certificatesigningrequests",
                &["create", "delete", "get"],
                None,
            );
            self.add(
                None,
                GROUP,
                "certificatesigningrequests/approval",
                &["patch", "update"],
                None,
            );
            self.add(None, GROUP, "signers", &["approve"], Some(CLIENT_SIGNER));
        }
    }

    fn endpoint(&mut self, endpoint: &EndpointInput) {
        if let Some(service) = &endpoint.service {
            self.add(Some(&service.namespace), "", "services", READ, Some(&service.name));
        }
        if let Some(service) = &endpoint.nodes {
            self.add(Some(&service.namespace), "", "services", READ, Some(&service.name));
            self.add(None, "", "nodes", READ, None);
        }
        if let Some(route) = &endpoint.route {
            self.add(
                Some(&route.namespace),
                "route.openshift.io",
                "routes",
                READ,
                Some(&route.name),
            );
        }
        if let Some(ingress) = &endpoint.ingress {
            let group = "networking.k8s.io";
            self.add(Some(&ingress.namespace), group, "ingresses", READ, Some(&ingress.name));
        }
    }

    fn link(&mut self, agent_namespace: &str, link: &PeerLinkSpec) {
        for object in [&link.target.object].into_iter().chain(&link.previous) {
            self.object(object, WRITE);
        }
        let carrier = if link.confidential { "secrets" } else { "configmaps" };
        self.add(Some(agent_namespace), "", carrier, READ, Some(&link.carrier));
        if link.certificate.is_some() {
            let key = names::certificate_key_name(&link.id);
            self.add(Some(agent_namespace), "", "secrets", WRITE, Some(&key));
        }
        for wired in consumers(&link.wire).iter().chain(&link.unwire) {
            self.object(&wired.object, if wired.applied { WRITE } else { CHANGE });
        }
        for probe in &link.probes {
            if let Some(object) = probe.object.as_ref().and_then(|probe| probe.object.as_ref()) {
                self.object(object, READ);
            }
        }
    }

    /// The Roles and bindings, in a fixed order.
    #[must_use]
    pub fn manifests(&self, peering: &str, agent_namespace: &str) -> Vec<Value> {
        let manifests = self.rules.iter().flat_map(|(namespace, rules)| {
            [
                role(peering, namespace.as_deref(), rules),
                binding(peering, namespace.as_deref(), agent_namespace),
            ]
        });
        manifests.collect()
    }
}

/// The objects that a resolved `wire` changes or applies, in its order.
#[must_use]
pub fn consumers(wire: &[Wire]) -> Vec<FormerConsumer> {
    let consumer = |wire: &Wire| {
        let changed = [
            wire.add_to_list.as_ref().and_then(|change| change.object.clone()),
            wire.set_field.as_ref().and_then(|change| change.object.clone()),
            wire.annotate.as_ref().and_then(|change| change.object.clone()),
        ];
        let applied = wire.apply.as_ref().and_then(place_of);
        let changed = changed.into_iter().flatten().next();
        Some(FormerConsumer {
            applied: applied.is_some(),
            object: applied.or(changed)?,
        })
    };
    wire.iter().filter_map(consumer).collect()
}

/// Where the object of a resolved template stands.
#[must_use]
pub fn place_of(template: &ObjectTemplate) -> Option<ObjectRef> {
    let text = |pointer: &str| {
        template
            .template
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Some(ObjectRef {
        api_version: text("/apiVersion")?,
        kind: text("/kind")?,
        resource: template.resource.clone(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name")?,
    })
}

fn role(peering: &str, namespace: Option<&str>, rules: &BTreeMap<Rule, Names>) -> Value {
    let rules: Vec<_> = rules
        .iter()
        .map(|((group, resource, verbs), names)| {
            let mut rule = json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
            if let Some(names) = names {
                rule["resourceNames"] = json!(names);
            }
            rule
        })
        .collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": if namespace.is_some() { "Role" } else { "ClusterRole" },
        "metadata": meta(peering, namespace),
        "rules": rules,
    })
}

fn binding(peering: &str, namespace: Option<&str>, agent_namespace: &str) -> Value {
    let (kind, role) = if namespace.is_some() {
        ("RoleBinding", "Role")
    } else {
        ("ClusterRoleBinding", "ClusterRole")
    };
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": meta(peering, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": names::role_name(peering)},
        "subjects": [{"kind": "ServiceAccount", "name": names::AGENT, "namespace": agent_namespace}],
    })
}

fn meta(peering: &str, namespace: Option<&str>) -> Value {
    let mut meta = json!({"name": names::role_name(peering), "labels": {names::PEERING_LABEL: peering}});
    if let Some(namespace) = namespace {
        meta["namespace"] = namespace.into();
    }
    meta
}

#[cfg(test)]
mod tests {
    use peering_api::peering::{
        AddToList, Empty, HttpRequestInput, Named, ServiceAccountToken, ServicePort, Signer, Target, TokenRequestInput,
    };

    use super::*;

    fn find<'a>(manifests: &'a [Value], kind: &str, namespace: &str) -> &'a Value {
        let at = |m: &&Value| m["kind"] == kind && m["metadata"]["namespace"].as_str().unwrap_or_default() == namespace;
        manifests.iter().find(at).unwrap()
    }

    fn rule(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Value {
        json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs})
    }

    fn input(kind: &str, name: &str) -> Input {
        Input {
            api_version: Some("v1".into()),
            kind: Some(kind.into()),
            namespace: Some("src".into()),
            name: Some(name.into()),
            ..Input::default()
        }
    }

    fn export(inputs: Vec<Input>) -> PeerExportSpec {
        PeerExportSpec {
            inputs,
            ..PeerExportSpec::default()
        }
    }

    #[test]
    fn a_known_name_limits_the_right_and_an_unknown_one_cannot() {
        let export = export(vec![
            input("ConfigMap", "c"),
            input("Secret", "${inputs.pool.status.secret}"),
        ]);
        let manifests = Rights::of("agent", &[&export], &[]).manifests("p", "agent");
        let expected = json!([
            rule("", "configmaps", &["c"], READ),
            {"apiGroups": [""], "resources": ["secrets"], "verbs": READ},
        ]);
        assert_eq!(find(&manifests, "Role", "src")["rules"], expected);
        assert_eq!(
            find(&manifests, "RoleBinding", "src")["subjects"][0]["namespace"],
            "agent"
        );
    }

    #[test]
    fn issued_things_need_the_right_to_issue_and_nothing_more() {
        let token = Input {
            token_request: Some(TokenRequestInput {
                namespace: "src".into(),
                service_account: "sa".into(),
                ..TokenRequestInput::default()
            }),
            ..Input::default()
        };
        let certificate = Input {
            certificate: Some(CertificateInput {
                signer: Signer {
                    kubernetes: Some(Empty {}),
                    ca: None,
                },
                ..CertificateInput::default()
            }),
            ..Input::default()
        };
        let request = Input {
            http_request: Some(HttpRequestInput {
                token: Some(ServiceAccountToken {
                    namespace: "src".into(),
                    service_account: "other".into(),
                    audiences: vec![],
                }),
                ..HttpRequestInput::default()
            }),
            ..Input::default()
        };
        let export = export(vec![token, certificate, request]);
        let manifests = Rights::of("agent", &[&export], &[]).manifests("p", "agent");
        assert_eq!(
            find(&manifests, "Role", "src")["rules"],
            json!([rule("", "serviceaccounts/token", &["other", "sa"], &["create"])])
        );
        let cluster = find(&manifests, "ClusterRole", "")["rules"].as_array().unwrap();
        let signers = rule("certificates.k8s.io", "signers", &[CLIENT_SIGNER], &["approve"]);
        assert!(cluster.contains(&signers), "{cluster:?}");
        assert_eq!(cluster.len(), 3);
    }

    #[test]
    fn endpoints_are_read_where_they_stand() {
        let service = ServicePort {
            namespace: "src".into(),
            name: "gateway".into(),
            port: None,
        };
        let endpoint = EndpointInput {
            nodes: Some(service),
            route: Some(Named {
                namespace: "web".into(),
                name: "r".into(),
            }),
            ..EndpointInput::default()
        };
        let export = export(vec![Input {
            endpoint: Some(endpoint),
            ..Input::default()
        }]);
        let manifests = Rights::of("agent", &[&export], &[]).manifests("p", "agent");
        assert_eq!(
            find(&manifests, "Role", "web")["rules"],
            json!([rule("route.openshift.io", "routes", &["r"], READ)])
        );
        assert_eq!(
            find(&manifests, "Role", "src")["rules"],
            json!([rule("", "services", &["gateway"], READ)])
        );
        assert_eq!(
            find(&manifests, "ClusterRole", "")["rules"][0]["resources"],
            json!(["nodes"])
        );
    }

    #[test]
    fn consumers_may_be_changed_and_never_deleted() {
        let wire = Wire {
            add_to_list: Some(AddToList {
                object: Some(ObjectRef {
                    api_version: "ceph.rook.io/v1".into(),
                    kind: "CephBlockPool".into(),
                    namespace: Some("data".into()),
                    name: "pool".into(),
                    resource: None,
                }),
                ..AddToList::default()
            }),
            ..Wire::default()
        };
        let former = |kind: &str, name: &str, applied| FormerConsumer {
            object: ObjectRef::core(kind, "data", name),
            applied,
        };
        let link = PeerLinkSpec {
            carrier: "peering-p".into(),
            confidential: true,
            unwire: vec![former("Service", "s", false), former("ConfigMap", "c", true)],
            target: Target {
                object: ObjectRef::core("Secret", "data", "t"),
                ..Target::default()
            },
            wire: vec![wire],
            ..PeerLinkSpec::default()
        };
        let manifests = Rights::of("agent", &[], &[&link]).manifests("p", "agent");
        let expected = json!([
            rule("", "configmaps", &["c"], WRITE),
            rule("", "secrets", &["t"], WRITE),
            rule("", "services", &["s"], CHANGE),
            rule("ceph.rook.io", "cephblockpools", &["pool"], CHANGE),
        ]);
        assert_eq!(find(&manifests, "Role", "data")["rules"], expected);
        assert_eq!(
            find(&manifests, "Role", "agent")["rules"],
            json!([rule("", "secrets", &["peering-p"], READ)])
        );
    }
}
