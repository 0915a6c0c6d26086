//! The life of one pod: its volumes, then its process again and again until it is told to end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    BACK_OFF_RESET, Context, PodState, Routes, RunningProcess,
    plan::{Plan, Probe, SERVICE_ACCOUNT_MOUNT, Value},
    rewrite, volumes,
};
use crate::{
    access, files, plain_http, ports,
    process::{Process, Spec},
};

/// The time between two looks at a process that is not ready yet.
const PROBE_START: Duration = Duration::from_millis(200);

/// Runs a pod until `end` is cancelled and its process has ended. Its directory goes with it.
pub(super) async fn run(
    context: Arc<Context>,
    client: Client,
    plan: Plan,
    state: watch::Sender<PodState>,
    end: CancellationToken,
) {
    let directory = context.directory.join(&plan.namespace).join(&plan.pod);
    let pod = Pod {
        routes: context.routes(&plan.namespace, &plan.deployment),
        context,
        client,
        plan,
        directory,
        state,
        end,
    };
    if let Err(error) = pod.live().await {
        pod.tell(&format!("{error:#}"));
        pod.end.cancelled().await;
    }
    pod.state.send_replace(PodState::default());
    let _ = tokio::fs::remove_dir_all(&pod.directory).await;
}

struct Pod {
    context: Arc<Context>,
    client: Client,
    plan: Plan,
    directory: PathBuf,
    routes: Routes,
    state: watch::Sender<PodState>,
    end: CancellationToken,
}

impl Pod {
    async fn live(&self) -> Result<()> {
        let program = self.context.options.binaries.join(&self.plan.program);
        if !program.is_file() {
            // Nothing that follows can work, so every test should say this instead of something else.
            self.context.register.fault(format!(
                "the node of {} has no {} for {}/{}: build it first (cargo build)",
                self.context.cluster,
                program.display(),
                self.plan.namespace,
                self.plan.deployment
            ));
            bail!("no program {}", program.display());
        }
        // The followers end with this set.
        let mut followers = JoinSet::new();
        let prepared = tokio::select! {
            () = self.end.cancelled() => return Ok(()),
            prepared = self.prepare(program, &mut followers) => prepared?,
        };
        let (first, longest) = self.context.options.back_off;
        let mut pause = first;
        for restarts in 0.. {
            let started = Instant::now();
            let Some(ended) = self.run_process(&prepared, restarts).await? else {
                return Ok(());
            };
            if started.elapsed() >= BACK_OFF_RESET {
                pause = first;
            }
            self.state.send_modify(|state| {
                state.process = None;
                state.ready = false;
                state.message = format!("the process ended ({ended}) and is started again in {pause:?}");
            });
            tokio::select! {
                () = self.end.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }

    /// Makes everything the process finds when it starts. Waits for what is missing.
    async fn prepare(&self, program: PathBuf, followers: &mut JoinSet<()>) -> Result<Prepared> {
        let home = self.directory.join("home");
        tokio::fs::create_dir_all(&home).await?;
        self.await_volumes(followers).await;
        self.tell("waiting for what the environment is made of");
        let mut raw = BTreeMap::new();
        for (name, value) in &self.plan.env {
            let value = match value {
                Value::Literal(text) => rewrite::expand(text, &raw),
                Value::Key(secret, object, key, optional) => {
                    match self.await_key(*secret, object, key, *optional).await {
                        Some(value) => value,
                        None => continue,
                    }
                }
            };
            raw.insert(name.clone(), value);
        }
        let mut local_ports = BTreeMap::new();
        for port in &self.plan.ports {
            local_ports.insert(*port, ports::take()?);
        }
        let mounts: Vec<(&str, PathBuf)> = self
            .plan
            .mounts
            .iter()
            .map(|(mount, place)| (mount.as_str(), self.volume(place)))
            .collect();
        let localise = |text: &str| {
            let text = rewrite::mount_paths(text, mounts.iter().map(|(mount, local)| (*mount, local.as_path())));
            rewrite::ports(&text, &local_ports)
        };
        let args = self
            .plan
            .args
            .iter()
            .map(|arg| localise(&rewrite::expand(arg, &raw)))
            .collect();
        let mut env: BTreeMap<String, String> = raw
            .iter()
            .map(|(name, value)| (name.clone(), localise(value)))
            .collect();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        // Without HOME of its own, a client without configuration would find the developer's kubeconfig.
        for (name, value) in [
            ("PATH", path),
            ("HOME", home.display().to_string()),
            ("HOSTNAME", self.plan.pod.clone()),
        ] {
            env.entry(name.to_owned()).or_insert(value);
        }
        for (name, value) in &self.context.options.env {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if self.plan.kubeconfig {
            env.entry("KUBECONFIG".to_owned())
                .or_insert(self.write_kubeconfig()?.display().to_string());
        }
        Ok(Prepared {
            program,
            args,
            env,
            ports: local_ports,
        })
    }

    /// Starts what keeps the volumes up to date, and waits until each has its files.
    async fn await_volumes(&self, followers: &mut JoinSet<()>) {
        let waiting: BTreeSet<String> = self.plan.volumes.iter().map(|volume| volume.name.clone()).collect();
        let (sender, mut receiver) = watch::channel(waiting);
        for volume in self.plan.volumes.clone() {
            let (sender, name) = (sender.clone(), volume.name.clone());
            let ready = move || {
                sender.send_if_modified(|waiting| waiting.remove(&name));
            };
            let account = (self.plan.namespace.clone(), self.plan.service_account.clone());
            let place = (self.volume(Path::new(&volume.name)), self.routes.clone());
            followers.spawn(volumes::follow(
                self.context.clone(),
                self.client.clone(),
                account,
                volume,
                place,
                ready,
            ));
        }
        loop {
            let waiting = receiver.borrow_and_update().clone();
            if waiting.is_empty() {
                return;
            }
            let names: Vec<String> = waiting.into_iter().collect();
            self.tell(&format!("waiting for the volumes {}", names.join(", ")));
            if receiver.changed().await.is_err() {
                return;
            }
        }
    }

    /// The value of a key of a Secret or `ConfigMap`; nothing when it is optional and absent.
    async fn await_key(&self, secret: bool, object: &str, key: &str, optional: bool) -> Option<String> {
        loop {
            let namespace = &self.plan.namespace;
            let value = if secret {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
                let found = api.get_opt(object).await;
                found.map(|found| found.and_then(|found| found.data?.remove(key)).map(|bytes| bytes.0))
            } else {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                let found = api.get_opt(object).await;
                found.map(|found| found.and_then(|found| found.data?.remove(key)).map(String::into_bytes))
            };
            match value {
                Ok(Some(bytes)) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
                Ok(None) if optional => return None,
                Ok(None) | Err(_) => {}
            }
            self.tell(&format!("waiting for the key {key} of {object} in {namespace}"));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn write_kubeconfig(&self) -> Result<PathBuf> {
        let place = self
            .plan
            .mounts
            .iter()
            .find(|(mount, _)| mount == SERVICE_ACCOUNT_MOUNT);
        let (_, place) = place.context("no volume with a token")?;
        let volume = self.volume(place);
        let text = access::pod_kubeconfig(
            &self.context.cluster,
            &self.context.server,
            &volume.join("ca.crt"),
            &volume.join("token"),
            &self.plan.namespace,
        );
        let path = self.directory.join("kubeconfig");
        files::write_private(&path, rewrite::routes(&text, &self.routes).as_bytes())?;
        Ok(path)
    }

    /// Runs the process once. Gives how it ended, or nothing when the pod was to end.
    async fn run_process(&self, prepared: &Prepared, restarts: u32) -> Result<Option<std::process::ExitStatus>> {
        let process = Process::spawn(&Spec {
            name: format!(
                "{}/{}/{}",
                self.context.cluster, self.plan.namespace, self.plan.deployment
            ),
            program: prepared.program.clone(),
            args: prepared.args.clone(),
            env: Some(prepared.env.clone()),
            log: self.context.log_path(&self.plan.namespace, &self.plan.deployment),
            // The pod starts it again itself, with what a new container gets.
            revive: false,
        })?;
        self.state.send_replace(PodState {
            process: Some(RunningProcess {
                process: process.clone(),
                pod: self.plan.pod.clone(),
                restarts,
                directory: self.directory.clone(),
                ports: prepared.ports.clone(),
            }),
            ready: self.plan.readiness.is_none(),
            message: "the process runs and is not ready yet".to_owned(),
        });
        tokio::select! {
            // A process that ends while its pod is to end is no crash.
            biased;
            () = self.end.cancelled() => {
                process.stop(self.plan.grace).await?;
                Ok(None)
            }
            ended = process.wait() => Ok(Some(ended?)),
            () = self.probe(prepared) => Ok(None),
        }
    }

    /// Looks whether the process is ready, for ever.
    async fn probe(&self, prepared: &Prepared) {
        let Some(Probe {
            path,
            port,
            period,
            failures,
        }) = &self.plan.readiness
        else {
            return std::future::pending().await;
        };
        let port = prepared.ports.get(port).copied().unwrap_or(*port);
        let mut failed = 0;
        loop {
            let answer = plain_http::get(port, path, Duration::from_secs(1)).await;
            let success = answer.is_ok_and(|response| (200..400).contains(&response.status));
            failed = if success { 0 } else { failed + 1 };
            self.state.send_if_modified(|state| {
                let ready = success || (state.ready && failed < *failures);
                std::mem::replace(&mut state.ready, ready) != ready
            });
            let ready = self.state.borrow().ready;
            tokio::time::sleep(if ready { *period } else { PROBE_START }).await;
        }
    }

    fn volume(&self, place: &Path) -> PathBuf {
        self.directory.join("volumes").join(place)
    }

    fn tell(&self, message: &str) {
        self.state.send_if_modified(|state| {
            let changed = state.message != message;
            message.clone_into(&mut state.message);
            changed
        });
    }
}

/// What a process is started with.
struct Prepared {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    ports: BTreeMap<u16, u16>,
}
