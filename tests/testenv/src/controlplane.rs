//! The binaries of the control planes and the CRDs of Open Cluster Management, as `hack/controlplane/build.sh` makes them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};

/// Where the binaries and CRDs are.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    directory: PathBuf,
    /// The directory of an older Open Cluster Management's binaries.
    older: Option<PathBuf>,
}

impl ControlPlane {
    /// Builds what is missing (minutes on a cold cache; the script tells on stderr what it does) and finds the rest.
    pub async fn build() -> Result<Self> {
        let directory = run("hack/controlplane/build.sh", &[]).await?;
        Ok(Self { directory, older: None })
    }

    /// The same with Open Cluster Management 1.0, whose hub serves the addon kinds in v1alpha1 only. It has no placement
    /// controller: whatever is to be on a cluster is put there by hand.
    pub async fn build_older() -> Result<Self> {
        let older = run("hack/controlplane/build.sh", &["older"]).await?;
        Ok(Self {
            older: Some(older),
            ..Self::build().await?
        })
    }

    /// Whether this is the one of [`ControlPlane::build_older`].
    #[must_use]
    pub fn is_older(&self) -> bool {
        self.older.is_some()
    }

    /// The directory of the binaries.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of a binary, such as `kube-apiserver`.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        let older = self.older.iter().map(|directory| directory.join(name));
        let mut older = older.filter(|path| path.exists());
        older.next().unwrap_or_else(|| self.directory.join(name))
    }

    /// The CRD files of Open Cluster Management for a `hub` or a `spoke`.
    pub fn crds(&self, role: &str) -> Result<Vec<PathBuf>> {
        let binaries = self.older.as_ref().unwrap_or(&self.directory);
        let directory = binaries.with_file_name("crds").join(role);
        let entries = std::fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))?;
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        ensure!(!files.is_empty(), "no CRDs in {}", directory.display());
        Ok(files)
    }
}

/// The path of a tool that `hack/tools.sh` knows, such as `versitygw`. What is missing is built first; the script tells on
/// stderr what it does.
pub async fn tool(name: &str) -> Result<PathBuf> {
    Ok(run("hack/tools.sh", &[name]).await?.join(name))
}

/// Runs a script of the checkout that makes what is missing in a cache. Its last line is the directory.
pub(crate) async fn run(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    let script = repository().join(script);
    let output = tokio::process::Command::new(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("run {}", script.display()))?;
    if !output.status.success() {
        bail!("{} failed ({})", script.display(), output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().unwrap_or_default().trim();
    ensure!(
        Path::new(last).is_dir(),
        "{} did not end with a directory: {last:?}",
        script.display()
    );
    Ok(PathBuf::from(last))
}

/// The root of the checkout that this crate was built from.
#[must_use]
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
