//! The agent's credentials for the hub, from a mounted Secret: wait for them, load them, see that they were renewed.
//!
//! OCM's registration agent writes the Secret `<addon>-hub-kubeconfig` with the keys `kubeconfig`, `tls.crt` and `tls.key`
//! (or `token`), and replaces them long before the certificate expires; `kubeconfig` names the other files relatively.
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use peering_api::kube::{
    self,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::runtime::error_chain;

/// How often the files are read: local disk only, and far below the time that the kubelet takes to update them.
const POLL: Duration = Duration::from_secs(2);

/// The files of the Secret which are credentials.
const FILES: [&str; 4] = ["kubeconfig", "tls.crt", "tls.key", "token"];

/// The file which names the cluster as the hub knows it.
const CLUSTER_NAME: &str = "cluster-name";

/// Why the credentials cannot be used (yet).
#[derive(Debug, Error)]
pub enum HubError {
    /// A file is not there, or cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    /// The files changed while they were read.
    #[error("the files are being replaced")]
    Changing,
}

/// Credentials for the hub, as they were at some time.
#[derive(Clone, Debug)]
pub struct Config {
    /// For making clients.
    pub kube: kube::Config,
    /// The cluster's name on the hub, if the Secret tells it.
    pub cluster_name: Option<String>,
    dir: PathBuf,
    content: Content,
}

/// SHA-256 over all files, and whether they are there.
type Content = [u8; 32];

impl Config {
    /// Waits until the credentials are in `dir` and complete; `None` if `token` is cancelled before.
    pub async fn wait(dir: impl Into<PathBuf>, token: &CancellationToken) -> Option<Self> {
        let dir = dir.into();
        token.run_until_cancelled(Self::poll(dir)).await
    }

    async fn poll(dir: PathBuf) -> Self {
        let mut told = String::new();
        loop {
            match Self::load(&dir).await {
                Ok(config) => return config,
                Err(error) => {
                    let reason = error_chain(&error);
                    if reason == told {
                        debug!(reason, "still waiting for the hub credentials");
                    } else {
                        info!(reason, "waiting for the hub credentials");
                        told = reason;
                    }
                }
            }
            sleep(POLL).await;
        }
    }

    /// Loads the credentials as they are now.
    pub async fn load(dir: &Path) -> Result<Self, HubError> {
        let before = content(dir);
        let path = dir.join("kubeconfig");
        let exists = |path: PathBuf| match fs::metadata(&path) {
            Ok(_) => Ok(()),
            Err(source) => Err(HubError::File { path, source }),
        };
        exists(path.clone())?;
        let kubeconfig = Kubeconfig::read_from(&path).map_err(HubError::Kubeconfig)?;
        for file in kubeconfig
            .auth_infos
            .iter()
            .filter_map(|named| named.auth_info.as_ref())
        {
            for file in [&file.client_certificate, &file.client_key, &file.token_file]
                .into_iter()
                .flatten()
            {
                exists(PathBuf::from(file))?;
            }
        }
        let kube = kube::Config::from_custom_kubeconfig(inlined(kubeconfig)?, &KubeConfigOptions::default())
            .await
            .map_err(HubError::Kubeconfig)?;
        // A certificate and a key of different issues would be of no use.
        if content(dir) != before {
            return Err(HubError::Changing);
        }
        let cluster_name = fs::read_to_string(dir.join(CLUSTER_NAME))
            .ok()
            .map(|name| name.trim().to_owned());
        Ok(Self {
            kube,
            cluster_name,
            dir: dir.to_owned(),
            content: before,
        })
    }

    /// Resolves when the files say something else than what was loaded, and can be loaded again: time for new clients.
    pub async fn changed(&self) -> Self {
        loop {
            sleep(POLL).await;
            if content(&self.dir) != self.content
                && let Ok(config) = Self::load(&self.dir).await
            {
                info!("the hub credentials have changed");
                return config;
            }
        }
    }
}

/// Resolves when the credentials in `dir` are others than at the time of the call. [`Config::changed`] misses no change
/// between loading and calling.
pub async fn changed(dir: &Path) {
    let before = content(dir);
    while content(dir) == before {
        sleep(POLL).await;
    }
}

/// Replaces the certificate and key files by their content: a client keeps what it was made with, so both must be of one issue.
/// A token file stays a file: kube reads it again by itself.
fn inlined(mut kubeconfig: Kubeconfig) -> Result<Kubeconfig, HubError> {
    let read = |path: &String| {
        fs::read(path).map_err(|source| HubError::File {
            path: PathBuf::from(path),
            source,
        })
    };
    for auth in kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|named| named.auth_info.as_mut())
    {
        if let Some(path) = auth.client_certificate.take() {
            auth.client_certificate_data = Some(BASE64.encode(read(&path)?));
        }
        if let Some(path) = auth.client_key.take() {
            auth.client_key_data = Some(BASE64.encode(read(&path)?).into());
        }
    }
    Ok(kubeconfig)
}

fn content(dir: &Path) -> Content {
    let mut hash = Sha256::new();
    for name in FILES {
        let bytes = fs::read(dir.join(name)).ok();
        hash.update([u8::from(bytes.is_some())]);
        let bytes = bytes.unwrap_or_default();
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(&bytes);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = r"
apiVersion: v1
kind: Config
clusters:
- name: default-cluster
  cluster: {server: 'https://hub.example:6443'}
contexts:
- name: default-context
  context: {cluster: default-cluster, user: default-auth, namespace: configuration}
current-context: default-context
users:
- name: default-auth
  user: {client-certificate: tls.crt, client-key: tls.key}
";

    fn write(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join(name), text).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn waits_until_every_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let missing = Config::load(dir.path()).await.unwrap_err();
        assert!(missing.to_string().contains("kubeconfig"), "{missing}");
        write(dir.path(), "kubeconfig", KUBECONFIG);
        let missing = Config::load(dir.path()).await.unwrap_err();
        assert!(missing.to_string().contains("tls.crt"), "{missing}");
        let token = CancellationToken::new();
        let wait = tokio::spawn({
            let (dir, token) = (dir.path().to_owned(), token.clone());
            async move { Config::wait(dir, &token).await }
        });
        write(dir.path(), "tls.crt", "certificate");
        sleep(2 * POLL).await;
        assert!(!wait.is_finished());
        write(dir.path(), "tls.key", "key");
        write(dir.path(), CLUSTER_NAME, "c1\n");
        let config = wait.await.unwrap().unwrap();
        assert_eq!(config.kube.cluster_url.to_string(), "https://hub.example:6443/");
        assert_eq!(config.cluster_name.as_deref(), Some("c1"));
        assert_eq!(
            config.kube.auth_info.client_certificate_data.as_deref(),
            Some("Y2VydGlmaWNhdGU=")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn tells_a_renewal() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("kubeconfig", KUBECONFIG), ("tls.crt", "old"), ("tls.key", "key")] {
            write(dir.path(), name, text);
        }
        let config = Config::load(dir.path()).await.unwrap();
        write(dir.path(), "tls.crt", "old");
        assert!(tokio::time::timeout(10 * POLL, config.changed()).await.is_err());
        write(dir.path(), "tls.crt", "new");
        let renewed = config.changed().await;
        assert_eq!(renewed.kube.auth_info.client_certificate_data.as_deref(), Some("bmV3"));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_can_be_cancelled() {
        let token = CancellationToken::new();
        token.cancel();
        assert!(Config::wait("/nonexistent", &token).await.is_none());
    }
}
