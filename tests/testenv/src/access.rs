//! Access to one cluster: its kubeconfig file, clients made from it, and objects applied through it.
//!
//! A client spawns tasks on the runtime it is first used on, so every test makes its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Client, Config,
    api::DynamicObject,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{apply, pki::KeyAndCert};

/// How to reach a cluster as its administrator.
#[derive(Clone, Debug)]
pub struct Access {
    name: String,
    kubeconfig: PathBuf,
}

impl Access {
    /// Access by a kubeconfig file.
    #[must_use]
    pub fn new(name: &str, kubeconfig: &Path) -> Self {
        Self {
            name: name.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    /// The cluster's name: `hub`, or the name of the managed cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig file of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A configuration of the cluster's administrator, to be changed before a client is made of it.
    pub async fn config(&self) -> Result<Config> {
        crate::runtime::handle()?;
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// A client of the cluster's administrator.
    pub async fn client(&self) -> Result<Client> {
        let client = Client::try_from(self.config().await?);
        client.with_context(|| format!("make a client of {} from {}", self.name, self.kubeconfig.display()))
    }

    /// Applies the YAML documents of a text (server-side apply, forced). CRDs are waited for until they are served.
    pub async fn apply_text(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        let applied = apply::objects(&self.client().await?, apply::parse(yaml)?).await;
        applied.with_context(|| format!("apply to {}", self.name))
    }

    /// Applies a YAML file, a directory with a `kustomization.yaml` (`resources` only), or a directory of YAML files.
    pub async fn apply_path(&self, path: &Path) -> Result<Vec<DynamicObject>> {
        let applied = apply::objects(&self.client().await?, apply::load(path)?).await;
        applied.with_context(|| format!("apply {} to {}", path.display(), self.name))
    }

    /// GETs a path of the API server as text, such as `/metrics` or `/readyz`.
    pub async fn get_raw(&self, path: &str) -> Result<String> {
        get_raw(&self.client().await?, path).await
    }
}

/// GETs a path of an API server as text.
pub async fn get_raw(client: &Client, path: &str) -> Result<String> {
    let request = http::Request::get(path).body(Vec::new())?;
    Ok(client.request_text(request).await?)
}

/// The text of a kubeconfig for a user with a client certificate. Everything is inside, so that the file can be moved.
#[must_use]
pub fn kubeconfig(cluster: &str, server: &str, ca: &str, user: &KeyAndCert) -> String {
    render(
        cluster,
        &json!({"server": server, "certificate-authority-data": STANDARD.encode(ca)}),
        &json!({
            "client-certificate-data": STANDARD.encode(&user.cert),
            "client-key-data": STANDARD.encode(&user.key),
        }),
        "default",
    )
}

/// The text of a kubeconfig for a pod: the CA and the token are files, as in a cluster.
#[must_use]
pub fn pod_kubeconfig(cluster: &str, server: &str, ca: &Path, token: &Path, namespace: &str) -> String {
    render(
        cluster,
        &json!({"server": server, "certificate-authority": ca}),
        &json!({"tokenFile": token}),
        namespace,
    )
}

/// Kubeconfigs are written as JSON, which is YAML.
fn render(name: &str, cluster: &serde_json::Value, user: &serde_json::Value, namespace: &str) -> String {
    format!(
        "{:#}\n",
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": "user", "namespace": namespace}}],
            "current-context": name,
        })
    )
}
