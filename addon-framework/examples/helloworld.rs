//! An addon in one file: on each cluster that has it, a `ConfigMap` with a greeting and a Deployment which prints it.
//!
//! Run it against a hub of Open Cluster Management (an administrator's kubeconfig will do):
//!
//! ```sh
//! kubectl apply -f - <<EOF
//! apiVersion: addon.open-cluster-management.io/v1beta1
//! kind: ClusterManagementAddOn
//! metadata: {name: helloworld}
//! spec: {installStrategy: {type: Manual}}
//! ---
//! apiVersion: addon.open-cluster-management.io/v1beta1
//! kind: ManagedClusterAddOn
//! metadata: {name: helloworld, namespace: cluster1}
//! spec: {}
//! EOF
//! KUBECONFIG=hub.kubeconfig cargo run -p addon-framework --example helloworld
//! kubectl get managedclusteraddon -n cluster1 helloworld -o yaml   # RegistrationApplied and ManifestApplied: True
//! ```
//!
//! The greeting follows the cluster: label it with `kubectl label managedcluster cluster1 greeting=hi --overwrite`. The
//! example's agent renews no Lease, so the addon does not become Available; `addon_framework::agent` is for that.
use std::{env, error::Error, sync::Arc};

use addon_framework::{Addon, AddonError, ConfigKind, Manager, Options, Registration, Site, object, runtime::clients};
use peering_api::{
    k8s_openapi::{
        api::{
            apps::v1::Deployment,
            core::v1::{ConfigMap, Namespace},
            rbac::v1::PolicyRule,
        },
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    },
    kube::{Config, ResourceExt, core::DynamicObject},
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const NAME: &str = "helloworld";
/// Both the agent's namespace, unless an `AddOnDeploymentConfig` names another one, and the name of its objects.
const AGENT: &str = "helloworld-agent";
/// Label on a `ManagedCluster`: what its agent says.
const GREETING_LABEL: &str = "greeting";

struct HelloWorld {
    image: String,
}

impl Addon for HelloWorld {
    fn name(&self) -> &str {
        NAME
    }

    fn options(&self) -> Options {
        Options {
            install_namespace: Some(AGENT.to_owned()),
            configs: vec![ConfigKind::deployment_config()],
            ..Options::default()
        }
    }

    fn registration(&self, cluster: &ManagedCluster, _: &ManagedClusterAddOn) -> Option<Registration> {
        let read = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
            ..PolicyRule::default()
        };
        Some(Registration::kube_client(&cluster.name_any(), NAME).allow([read]))
    }

    fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
        let greeting = site
            .cluster
            .labels()
            .get(GREETING_LABEL)
            .map_or("hello", String::as_str);
        let text = format!("{greeting}, {}", site.cluster_name());
        let namespace = &site.install_namespace;
        let mut manifests = vec![
            object(&namespace_object(namespace))?,
            object(&config_map(namespace, &text))?,
            object(&deployment(namespace, &self.image)?)?,
        ];
        // Nodes, resources, proxy and registries, as the configurations have them.
        site.settings.inject(&mut manifests);
        Ok(manifests)
    }
}

fn namespace_object(name: &str) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

fn config_map(namespace: &str, text: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(AGENT.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("greeting".to_owned(), text.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn deployment(namespace: &str, image: &str) -> Result<Deployment, AddonError> {
    let deployment = json!({
        "metadata": {"name": AGENT, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": AGENT}},
            "template": {
                "metadata": {"labels": {"app": AGENT}},
                "spec": {
                    "containers": [{
                        "name": "agent", "image": image,
                        "command": ["sh", "-c", "while true; do cat /greeting/greeting; echo; sleep 60; done"],
                        "volumeMounts": [{"name": "greeting", "mountPath": "/greeting"}],
                    }],
                    "volumes": [{"name": "greeting", "configMap": {"name": AGENT}}],
                },
            },
        },
    });
    serde_json::from_value(deployment).map_err(|error| AddonError::caused("cannot make the Deployment", error))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt::init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a rustls provider is installed already")?;
    let addon = HelloWorld {
        image: env::var("HELLOWORLD_IMAGE").unwrap_or_else(|_| "busybox".to_owned()),
    };
    let manager = Manager::builder(clients(Config::infer().await?)?)
        .addon(Arc::new(addon))
        .build()?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    manager.run(token).await;
    Ok(())
}
