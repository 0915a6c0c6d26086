//! The real CRDs of storage operators and `OpenShift`, as `hack/crds/build.sh` takes them out of Go modules.
//!
//! [`Access::apply_crd`] installs one by its name. What is then applied by [`Access::apply_text`] must pass its schema, and
//! must have no field that the schema does not know.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{Access, apply, controlplane, wait};

/// How long an API server may take to finish with a kind. It removes the objects first.
const REMOVED: Duration = Duration::from_mins(3);

static DIRECTORY: OnceCell<PathBuf> = OnceCell::const_new();

/// The directory with one file per CRD. What is missing is downloaded first; the script tells on stderr what it does.
pub async fn directory() -> Result<&'static Path> {
    let script = || controlplane::run("hack/crds/build.sh", &[]);
    Ok(DIRECTORY.get_or_try_init(script).await?)
}

/// A CRD by its name, such as `cephblockpools.ceph.rook.io`.
pub async fn find(name: &str) -> Result<Value> {
    let file = directory().await?.join(format!("{name}.yaml"));
    let documents = apply::load(&file)?;
    match documents.as_slice() {
        [crd] if crd["metadata"]["name"] == name => Ok(crd.clone()),
        _ => bail!("{} is not the CRD {name}", file.display()),
    }
}

impl Access {
    /// Installs a CRD by its name, such as `cephblockpools.ceph.rook.io`, and waits until it is served.
    pub async fn apply_crd(&self, name: &str) -> Result<()> {
        let applied = apply::objects(&self.client().await?, vec![find(name).await?]).await;
        applied.with_context(|| format!("apply {name} to {}", self.name()))?;
        Ok(())
    }

    /// Removes a CRD with all objects of its kind, and waits until it is gone.
    pub async fn delete_crd(&self, name: &str) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client().await?);
        api.delete(name, &DeleteParams::default()).await?;
        wait::until(&format!("CRD {name} to be gone"), REMOVED, || async {
            Ok(api.get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }
}
