//! The addon in Rust: two manifests, a kubeClient registration, one configuration. The same in Go stands in `hack/bench-framework`.
//! It runs as a process of its own, so that its CPU time and memory are its own.
use std::{path::Path, sync::Arc};

use addon_framework::{
    Addon, ConfigKind, Health, Manager, Options, Registration, Simple, Templates,
    process::{self, LogFormat},
    runtime::clients,
};
use anyhow::Result;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::{
    Config, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio_util::sync::CancellationToken;

const CONFIG_MAP: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: bench-agent, namespace: {{ AddonInstallNamespace }}}
data: {greeting: "{{ Greeting }}, {{ ClusterName }}"}
"#;
const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench-agent, namespace: {{ AddonInstallNamespace }}}
spec:
  replicas: 1
  selector: {matchLabels: {app: bench-agent}}
  template:
    metadata: {labels: {app: bench-agent}}
    spec:
      containers:
      - name: agent
        image: registry.example/bench-agent:1
        args: ["--cluster={{ ClusterName }}"]
        volumeMounts: [{name: hub, mountPath: /hub}]
      volumes: [{name: hub, secret: {secretName: {{ HubKubeConfigSecret }}}}]
"#;

fn addon(name: &str) -> Result<impl Addon + use<>> {
    let read = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".to_owned()]),
        verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    let agent = name.to_owned();
    Ok(Simple::new(name)
        .templates(Templates::new([
            ("configmap.yaml", CONFIG_MAP),
            ("deployment.yaml", DEPLOYMENT),
        ])?)
        .inject_settings()
        .registration(move |cluster, _| {
            Some(Registration::kube_client(&cluster.name_any(), &agent).allow([read.clone()]))
        })
        .options(Options {
            configs: vec![ConfigKind::deployment_config()],
            health: Health::None,
            ..Options::default()
        }))
}

/// The manager of the addon, until it is told to end.
pub async fn run(name: &str, kubeconfig: &Path) -> Result<()> {
    process::log(LogFormat::Text);
    // Only fails when a provider is already installed, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let manager = Manager::builder(clients(config)?)
        .addon(Arc::new(addon(name)?))
        .build()?;
    manager.run(CancellationToken::new()).await;
    Ok(())
}
