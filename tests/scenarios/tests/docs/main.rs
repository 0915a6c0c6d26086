//! Every YAML block and every command of the documentation, given to real API servers.
//!
//! The environment is a hub and two clusters with nothing of ours on them. README and user guide then tell a story: their blocks that are
//! marked `sh run` are run as they stand, in their order, from the installation to links that are ready. All else is tried without
//! effect (`kubectl.sh`). YAML is applied by a dry run on the server that knows every field; a fragment (`yaml into=FILE`) is put into
//! the object of a file first. Which command is which is decided by `packaging::pages`.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use kube::Api;
use packaging::pages::{self, Block, Page, What};
use peering_api::ocm::ManifestWork;
use scenarios::objects;
use serde_json::Value;
use testenv::{Env, Options, apply, controlplane::repository, crds};

/// CRDs of others that the documentation has objects of.
const FOREIGN: [&str; 6] = [
    "catalogsources.operators.coreos.com",
    "cephblockpools.ceph.rook.io",
    "cephrbdmirrors.ceph.rook.io",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "subscriptions.operators.coreos.com",
];

/// Namespaces that are there where the documentation's objects go.
const NAMESPACES: [&str; 3] = ["olm", "open-cluster-management-agent-addon", "rook-ceph"];

/// Pages that tell the story, in its order. The others follow.
const STORY: [&str; 2] = ["README.md", "docs/guide.md"];

/// What commands without effect name and is not there, by the end of what the API server then says.
const ABSENT: [(&str, &str); 5] = [
    (
        r#"managedclusteraddons.addon.open-cluster-management.io "helloworld" not found"#,
        "a scenario of the framework installs it",
    ),
    (
        r#"mirrorpeers.multicluster.odf.openshift.io "east-west" not found"#,
        "needs storage clusters; `make demo-storage` has it",
    ),
    (
        r#"peerings.peering.open-cluster-management.io "block-storage" not found"#,
        "needs Rook",
    ),
    (
        r#"peerings.peering.open-cluster-management.io "shared-files" not found"#,
        "needs Rook",
    ),
    (r#"deployments.apps "rook-ceph-operator" not found"#, "needs Rook"),
];

#[tokio::test]
async fn yaml_and_commands_of_the_documentation_work() -> Result<()> {
    let desk = Desk::new().await?;
    let mut pages = pages::pages(&repository())?;
    let place = |page: &Page| STORY.iter().position(|path| Path::new(path) == page.path);
    pages.sort_by_key(|page| place(page).unwrap_or(STORY.len()));
    ensure!(
        pages.len() > STORY.len() && place(&pages[1]) == Some(1),
        "a page of the story is missing"
    );

    let (mut problems, mut absent, mut counts) = (Vec::new(), BTreeSet::new(), Counts::default());
    for page in &pages {
        for block in page.blocks()?.iter().filter(|block| block.language() == "yaml") {
            counts.blocks += 1;
            let tried = desk.try_yaml(block);
            problems.extend(
                tried
                    .err()
                    .map(|error| format!("{}:{}: {error:#}", page.path.display(), block.line)),
            );
        }
        for command in page.commands()? {
            let tried = match command.what {
                What::Known(_) | What::Definition => continue,
                What::Make => make(&command.text),
                What::Kubectl { run } => {
                    counts.run += usize::from(run);
                    desk.kubectl(&command.text, run, &mut absent)
                }
            };
            counts.commands += 1;
            let problem = |error| {
                format!(
                    "{}:{}: {}\n  {error:#}",
                    page.path.display(),
                    command.line,
                    command.text
                )
            };
            problems.extend(tried.err().map(problem));
        }
    }
    println!("{counts:?}");
    problems.extend(
        desk.shown_agent()
            .await
            .err()
            .map(|error| format!("manifests/agent: {error:#}")),
    );
    for (end, _) in ABSENT.iter().filter(|(end, _)| !absent.contains(end)) {
        problems.push(format!("no command asks for it any more: {end}"));
    }
    let explained = if problems.is_empty() {
        String::new()
    } else {
        desk.env.explain().await
    };
    ensure!(problems.is_empty(), "{}\n{explained}", problems.join("\n"));
    ensure!(
        counts.blocks >= 8 && counts.commands > 60 && counts.run > 20,
        "too few were found: {counts:?}"
    );
    desk.env.stop().await
}

#[derive(Debug, Default)]
struct Counts {
    blocks: usize,
    commands: usize,
    run: usize,
}

/// Where a reader sits: a shell in a copy of the checkout, with the functions of the user guide.
struct Desk {
    env: Arc<Env>,
    /// Holds links to everything in the checkout, and the files that the reader would bring.
    directory: PathBuf,
    kubectl: PathBuf,
    /// The functions of the user guide.
    functions: String,
}

impl Desk {
    async fn new() -> Result<Self> {
        let mut options = Options::default();
        for name in FOREIGN {
            options
                .hub_crds
                .push(crds::directory().await?.join(format!("{name}.yaml")));
        }
        let env = Env::start(options).await?;
        for namespace in NAMESPACES {
            let object = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
            env.hub().apply_text(&object).await?;
        }
        let directory = env.directory().join("desk");
        std::fs::create_dir_all(directory.join("bin"))?;
        for entry in std::fs::read_dir(repository())? {
            let entry = entry?;
            std::os::unix::fs::symlink(entry.path(), directory.join(entry.file_name()))?;
        }
        std::os::unix::fs::symlink(
            repository().join("tests/scenarios/tests/docs/kubectl.sh"),
            directory.join("bin/kubectl"),
        )?;
        std::fs::write(directory.join("ca.crt"), objects::ca("docs", 2040)?)?;
        let guide = pages::pages(&repository())?;
        let guide = guide.iter().find(|page| page.path == Path::new("docs/guide.md"));
        let commands = guide.context("there is no user guide")?.commands()?;
        let functions = commands.into_iter().filter(|command| command.what == What::Definition);
        Ok(Self {
            kubectl: env.control_plane().binary("kubectl"),
            functions: functions.map(|command| command.text).collect::<Vec<_>>().join("\n"),
            directory,
            env,
        })
    }

    fn kubeconfig(&self, cluster: &str) -> Result<PathBuf> {
        Ok(match cluster {
            "hub" => self.env.hub().kubeconfig().to_owned(),
            name => self.env.spoke(name)?.kubeconfig().to_owned(),
        })
    }

    /// Runs a command as the reader would, or tries it without effect.
    fn kubectl(&self, text: &str, run: bool, absent: &mut BTreeSet<&'static str>) -> Result<()> {
        // What reads the output of a command that was only tried has nothing to read.
        let text = if run {
            text
        } else {
            text.split(" | ").next().unwrap_or(text)
        };
        let mut path = OsString::from(self.directory.join("bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{}\n{text}\n", self.functions)])
            .current_dir(&self.directory)
            .env("PATH", path)
            .env("KUBECTL", &self.kubectl)
            .env("KUBECONFIG", self.kubeconfig("hub")?)
            .env("HUB", self.kubeconfig("hub")?)
            .env("CLUSTER1", self.kubeconfig("cluster1")?)
            .env("CLUSTER2", self.kubeconfig("cluster2")?)
            .env("DOCS_RUN", if run { "1" } else { "0" })
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let known = ABSENT.iter().find(|(end, _)| said.trim_end().ends_with(end));
        match known {
            Some((end, _)) if !run => {
                absent.insert(end);
                Ok(())
            }
            _ => good(&output),
        }
    }

    /// Whether `kubectl kustomize manifests/agent` shows what the manager has deployed to cluster1.
    async fn shown_agent(&self) -> Result<()> {
        let output = Command::new(&self.kubectl)
            .args(["kustomize", "manifests/agent"])
            .current_dir(repository())
            .output()?;
        good(&output)?;
        let shown = apply::parse(&String::from_utf8(output.stdout)?)?;
        let works: Api<ManifestWork> = Api::namespaced(self.env.hub().client().await?, "cluster1");
        let work = works.get("addon-tokenexchange-deploy-0").await?;
        let deployed: Vec<Value> = serde_json::from_value(serde_json::to_value(&work.spec.workload.manifests)?)?;
        let by_name = |objects: Vec<Value>| -> BTreeMap<String, Value> {
            let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
            objects.into_iter().map(|object| (name(&object), object)).collect()
        };
        let (shown, deployed) = (by_name(shown), by_name(deployed));
        ensure!(shown.len() >= 6, "only {:?} are shown", shown.keys());
        ensure!(
            shown == deployed,
            "shown are\n{shown:#?}\nand deployed are\n{deployed:#?}"
        );
        Ok(())
    }

    /// A dry run on the hub that refuses what its kinds do not know.
    fn try_yaml(&self, block: &Block) -> Result<()> {
        let mut documents = apply::parse(&block.text)?;
        match block.mark() {
            None => {}
            Some(mark) => {
                let file = mark
                    .strip_prefix("into=")
                    .with_context(|| format!("unknown mark {mark:?}"))?;
                let [fragment] = documents.as_slice() else {
                    anyhow::bail!("a fragment is one document");
                };
                let whole = apply::load(&repository().join(file))?;
                let mut whole = whole.into_iter().next().context("the file holds no object")?;
                merge(&mut whole, fragment);
                documents = vec![whole];
            }
        }
        ensure!(!documents.is_empty(), "no object");
        let text = documents
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join("\n---\n");
        let mut kubectl = Command::new(&self.kubectl)
            .args([
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--validate=strict",
                "-f",
                "-",
            ])
            .env("KUBECONFIG", self.kubeconfig("hub")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // The pipe is closed with the end of this line.
        kubectl.stdin.take().context("no pipe")?.write_all(text.as_bytes())?;
        good(&kubectl.wait_with_output()?)
    }
}

/// Whether `make` knows what to do.
fn make(text: &str) -> Result<()> {
    let words = text
        .split_whitespace()
        .skip(1)
        .take_while(|word| !word.starts_with('#'));
    let mut make = Command::new("make");
    // The test's own make, if it has one, is not to be asked for a share of its jobs.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    good(&make.arg("-n").args(words).current_dir(repository()).output()?)
}

/// Whether a process ended well.
fn good(output: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim());
    Ok(())
}

/// Puts a fragment into an object: maps are merged, everything else is replaced.
fn merge(object: &mut Value, fragment: &Value) {
    match (object, fragment) {
        (Value::Object(object), Value::Object(fragment)) => {
            for (key, value) in fragment {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, fragment) => object.clone_from(fragment),
    }
}
