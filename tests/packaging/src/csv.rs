//! The `ClusterServiceVersion`: the hub's Deployment and `ClusterRole` as OLM installs them, and what its console shows.
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    Error, PACKAGE,
    base::{self, kind, name, of_kind, only},
};

/// The oldest Kubernetes on which validation rules of CRDs are generally available.
pub const MIN_KUBE_VERSION: &str = "1.29.0";

/// Kinds that only manager and agents make.
const INTERNAL: [&str; 3] = ["PeerMember", "PeerExport", "PeerLink"];

/// What the bundle is made for.
#[derive(Clone, Debug)]
pub struct Release {
    /// Image of manager and agents.
    pub image: String,
    /// Version of the product, without `v`.
    pub version: String,
    /// Name of the `ClusterServiceVersion` that this one replaces.
    pub replaces: Option<String>,
}

impl Release {
    /// Name of the `ClusterServiceVersion`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{PACKAGE}.v{}", self.version)
    }
}

/// What stands in `bundle/source`.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the console shows about the product, in Markdown.
    pub description: String,
    /// The icon, SVG.
    pub icon: String,
    /// One example of each of our kinds.
    pub examples: Vec<Value>,
}

/// The `ClusterServiceVersion` of these objects, in which the manifests' image is `release.image` already.
pub fn csv(objects: &[Value], source: &Source, release: &Release) -> Result<Value, Error> {
    let deployment = only(objects, "Deployment")?;
    let crds: Vec<&Value> = of_kind(objects, "CustomResourceDefinition").collect();
    let mut csv = json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": release.name(),
            "namespace": "placeholder",
            "annotations": annotations(&crds, source, release)?,
            "labels": {"operatorframework.io/arch.amd64": "supported", "operatorframework.io/os.linux": "supported"},
        },
        "spec": {
            "displayName": "Multicluster Orchestrator",
            "description": source.description,
            "version": release.version,
            "maturity": "alpha",
            "minKubeVersion": MIN_KUBE_VERSION,
            "provider": {"name": "Multicluster Orchestrator maintainers"},
            "keywords": ["multicluster", "storage", "disaster recovery", "secrets", "certificates", "open cluster management"],
            "links": [{"name": "Open Cluster Management", "url": "https://open-cluster-management.io"}],
            "icon": [{"base64data": STANDARD.encode(&source.icon), "mediatype": "image/svg+xml"}],
            "installModes": [
                {"type": "OwnNamespace", "supported": true},
                {"type": "SingleNamespace", "supported": false},
                {"type": "MultiNamespace", "supported": false},
                {"type": "AllNamespaces", "supported": true},
            ],
            "install": {
                "strategy": "deployment",
                "spec": {
                    "deployments": [{
                        "name": name(deployment),
                        "label": deployment["metadata"]["labels"],
                        "spec": deployment["spec"],
                    }],
                    "clusterPermissions": cluster_permissions(objects)?,
                },
            },
            "customresourcedefinitions": {"owned": crds.iter().map(|crd| owned(crd)).collect::<Vec<_>>()},
            "relatedImages": [{"name": "multicluster-orchestrator", "image": release.image}],
        },
    });
    let permissions = permissions(objects)?;
    if !permissions.is_empty() {
        csv["spec"]["install"]["spec"]["permissions"] = permissions.into();
    }
    if let Some(replaces) = &release.replaces {
        csv["spec"]["replaces"] = replaces.as_str().into();
    }
    Ok(csv)
}

fn annotations(crds: &[&Value], source: &Source, release: &Release) -> Result<Value, Error> {
    let json = |what: &str, value: &Value| {
        serde_json::to_string_pretty(value).map_err(|error| Error::Write {
            what: what.to_owned(),
            message: error.to_string(),
        })
    };
    let internal = crds.iter().filter(|crd| INTERNAL.contains(&kind_of(crd)));
    let internal: Vec<&str> = internal.map(|crd| name(crd)).collect();
    Ok(json!({
        "alm-examples": json("alm-examples", &Value::from(source.examples.clone()))?,
        "capabilities": "Seamless Upgrades",
        "categories": "Storage, Security",
        "containerImage": release.image,
        "description": "Hands storage peering secrets, CA bundles and client credentials from cluster to cluster, sealed on the way",
        "features.operators.openshift.io/disconnected": "true",
        "features.operators.openshift.io/fips-compliant": "false",
        "features.operators.openshift.io/proxy-aware": "false",
        "features.operators.openshift.io/tls-profiles": "false",
        "features.operators.openshift.io/token-auth-aws": "false",
        "features.operators.openshift.io/token-auth-azure": "false",
        "features.operators.openshift.io/token-auth-gcp": "false",
        "olm.skipRange": format!(">={0}-0 <{0}", release.version),
        "operatorframework.io/suggested-namespace": "multicluster-orchestrator",
        "operators.operatorframework.io/internal-objects": json("internal-objects", &internal.into())?,
    }))
}

/// The rules of the `ClusterRole`s that bindings give to service accounts.
fn cluster_permissions(objects: &[Value]) -> Result<Vec<Value>, Error> {
    granted(objects, "ClusterRoleBinding", "ClusterRole")
}

/// The rules of the `Role`s that bindings give to service accounts. OLM puts them into its own namespace.
fn permissions(objects: &[Value]) -> Result<Vec<Value>, Error> {
    granted(objects, "RoleBinding", "Role")
}

fn granted(objects: &[Value], bindings: &str, roles: &str) -> Result<Vec<Value>, Error> {
    of_kind(objects, bindings)
        .map(|binding| {
            let role = of_kind(objects, roles)
                .find(|role| binding["roleRef"]["name"] == name(role) && binding["roleRef"]["kind"] == kind(role));
            let subjects = binding["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
            match (role, subjects) {
                (Some(role), [subject]) if subject["kind"] == "ServiceAccount" => {
                    Ok(json!({"serviceAccountName": subject["name"], "rules": role["rules"]}))
                }
                _ => Err(Error::Unexpected(format!(
                    "{bindings} {} does not give one {roles} of the base to one service account: OLM knows nothing else",
                    base::name(binding)
                ))),
            }
        })
        .collect()
}

fn kind_of(crd: &Value) -> &str {
    crd["spec"]["names"]["kind"].as_str().unwrap_or_default()
}

/// An owned CRD with a descriptor for each field of its spec and status.
fn owned(crd: &Value) -> Value {
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let descriptors = |half: &str| -> Vec<Value> {
        let properties = schema["properties"][half]["properties"].as_object();
        properties
            .into_iter()
            .flatten()
            .map(|(field, schema)| {
                let mut descriptor = json!({
                    "path": field,
                    "displayName": title(field),
                    "description": schema["description"].as_str().unwrap_or_default(),
                });
                if (half, field.as_str()) == ("status", "conditions") {
                    descriptor["x-descriptors"] = json!(["urn:alm:descriptor:io.kubernetes.conditions"]);
                }
                descriptor
            })
            .collect()
    };
    json!({
        "name": name(crd),
        "kind": kind_of(crd),
        "version": version["name"],
        "displayName": title(kind_of(crd)),
        "description": schema["description"].as_str().unwrap_or_default(),
        "specDescriptors": descriptors("spec"),
        "statusDescriptors": descriptors("status"),
    })
}

/// `nextExpiration` → `Next Expiration`.
fn title(field: &str) -> String {
    let mut title = String::new();
    for letter in field.chars() {
        if title.is_empty() {
            title.extend(letter.to_uppercase());
        } else {
            if letter.is_uppercase() {
                title.push(' ');
            }
            title.push(letter);
        }
    }
    title
}
