//! An environment that goes on in the background: for the demo, and for trying things by hand.
//!
//! `up` starts a supervisor in a session of its own, which owns all processes and writes a state file when the
//! environment is ready. Whoever wants to use it [`attach`]es; `down` tells the supervisor to end.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    access::Access,
    controlplane::{self, ControlPlane},
    env::{Env, Options},
    files,
    wait::until,
};

/// The state file.
const STATE: &str = "state.json";
/// The supervisor's output.
const LOG: &str = "devenv.log";
/// How long the supervisor may take to end everything.
const DOWN: Duration = Duration::from_mins(1);

/// A cluster of a running environment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ClusterState {
    /// `hub`, or the name of the managed cluster.
    pub name: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API server's address.
    pub url: String,
    /// The cluster's directory, with the logs.
    pub directory: PathBuf,
    /// The directory with the logs of what runs on its node, named `<namespace>_<deployment>.log`.
    pub workload_logs: PathBuf,
}

/// What is known of an environment in the background.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct State {
    /// The supervisor.
    pub pid: u32,
    /// When the supervisor was started, in clock ticks since boot.
    pub started: u64,
    /// Whether all clusters are joined and available.
    pub ready: bool,
    /// What happened so far.
    pub progress: Vec<String>,
    /// The directory of `kubectl` and the control planes' binaries.
    pub binaries: PathBuf,
    /// The hub first, then the managed clusters.
    pub clusters: Vec<ClusterState>,
}

impl State {
    /// Whether the supervisor is alive.
    #[must_use]
    pub fn is_running(&self) -> bool {
        files::start_time(self.pid) == Some(self.started)
    }

    /// Access to a cluster by its name.
    pub fn cluster(&self, name: &str) -> Result<Access> {
        let cluster = self.clusters.iter().find(|cluster| cluster.name == name);
        let cluster = cluster.ok_or_else(|| anyhow!("the environment has no cluster {name}"))?;
        Ok(Access::new(&cluster.name, &cluster.kubeconfig))
    }

    /// Access to the hub.
    pub fn hub(&self) -> Result<Access> {
        self.cluster("hub")
    }

    /// The names of the managed clusters.
    #[must_use]
    pub fn spokes(&self) -> Vec<String> {
        self.clusters
            .iter()
            .skip(1)
            .map(|cluster| cluster.name.clone())
            .collect()
    }
}

/// Reads the state of an environment, if there is one in the directory.
pub fn read(directory: &Path) -> Result<Option<State>> {
    let path = directory.join(STATE);
    match fs::read(&path) {
        Ok(content) => Ok(Some(
            serde_json::from_slice(&content).with_context(|| path.display().to_string())?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// The state of a running and ready environment; an error that says what to do when there is none.
pub fn attach(directory: &Path) -> Result<State> {
    match read(directory)? {
        Some(state) if state.is_running() && state.ready => Ok(state),
        Some(state) if state.is_running() => bail!("the environment in {} is still starting", directory.display()),
        _ => bail!(
            "no environment runs in {}: start one with `devenv up`",
            directory.display()
        ),
    }
}

/// Starts an environment in the background and waits until it is ready. One that runs already is used as it is.
///
/// `program` is started as `program supervise --dir <directory> --spokes <spokes>` and has to call [`supervise`].
pub async fn up(program: &Path, directory: &Path, spokes: &[String], tell: &dyn Fn(&str)) -> Result<State> {
    if let Some(state) = read(directory)?.filter(State::is_running) {
        tell("an environment is running already");
        return follow(directory, &state, tell).await;
    }
    // In the foreground, as it can take minutes and tells what it does.
    ControlPlane::build().await?;
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let directory = directory.canonicalize()?;
    let log = fs::File::create(directory.join(LOG))?;
    let mut command = Command::new(program);
    command
        .arg("supervise")
        .arg("--dir")
        .arg(&directory)
        .arg("--spokes")
        .arg(spokes.join(","));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe, as what runs between fork and exec must be.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(())
            }
        });
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    let pid = child.id();
    // Reaped here, so that a supervisor that ends early is not taken for a living one.
    std::thread::spawn(move || child.wait());
    let started = files::start_time(pid).unwrap_or_default();
    follow(
        &directory,
        &State {
            pid,
            started,
            ..State::default()
        },
        tell,
    )
    .await
}

/// Tells the progress of a supervisor until its environment is ready.
async fn follow(directory: &Path, supervisor: &State, tell: &dyn Fn(&str)) -> Result<State> {
    let mut told = 0;
    loop {
        let running = supervisor.is_running();
        let state = read(directory)?
            .filter(|state| state.pid == supervisor.pid)
            .unwrap_or_default();
        for line in state.progress.iter().skip(told) {
            tell(line);
        }
        told = state.progress.len();
        if state.ready && running {
            return Ok(state);
        }
        if !running {
            bail!(
                "the environment could not be started:\n{}",
                files::tail(&directory.join(LOG), 60)
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs an environment until SIGTERM or SIGINT. This is the supervisor's whole life.
///
/// `companions` starts what else is to run; the environment is ready when it has, and what it gives is dropped at the end.
pub async fn supervise<T>(
    directory: &Path,
    options: Options,
    companions: impl AsyncFnOnce(&Env) -> Result<T>,
) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let pid = std::process::id();
    let state = State {
        pid,
        started: files::start_time(pid).unwrap_or_default(),
        ..State::default()
    };
    let state = Arc::new(Mutex::new(state));
    let path = directory.join(STATE);
    let save = move |state: &State| match serde_json::to_vec_pretty(state) {
        Ok(text) => files::write_private(&path, &text),
        Err(error) => Err(error.into()),
    };
    save(&lock(&state))?;
    let (progress_state, progress_save) = (state.clone(), save.clone());
    let options = Options {
        directory: Some(directory.join("env")),
        progress: Some(Arc::new(move |line: &str| {
            let mut state = lock(&progress_state);
            state.progress.push(line.to_owned());
            if let Err(error) = progress_save(&state) {
                eprintln!("{error:#}");
            }
        })),
        ..options
    };
    let start = async {
        let env = Env::start(options).await?;
        let companions = companions(&env).await?;
        anyhow::Ok((env, companions))
    };
    let (env, companions) = tokio::select! {
        started = start => started?,
        // The processes that were started end with this one.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    {
        let mut state = lock(&state);
        env.control_plane().directory().clone_into(&mut state.binaries);
        let clusters = std::iter::once(env.hub().clone()).chain(env.spokes());
        state.clusters = clusters
            .map(|cluster| ClusterState {
                name: cluster.name().to_owned(),
                kubeconfig: cluster.kubeconfig().to_owned(),
                url: cluster.url(),
                directory: cluster.directory().to_owned(),
                workload_logs: cluster.directory().join("node/logs"),
            })
            .collect();
        state.ready = true;
        save(&state)?;
    }
    let mut reported = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
        if let Err(error) = env.check()
            && !std::mem::replace(&mut reported, true)
        {
            eprintln!("{error:#}");
        }
    }
    drop(companions);
    env.stop().await
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends an environment and removes its directory. Gives whether there was one.
pub async fn down(directory: &Path) -> Result<bool> {
    let Some(state) = read(directory)? else {
        return Ok(false);
    };
    let pid = libc::pid_t::try_from(state.pid)?;
    if state.is_running() {
        // SAFETY: kill has no memory to get wrong, and the start time tells that the process is the one meant.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
    let ended = || async { Ok((!state.is_running()).then_some(())) };
    if until(&format!("process {pid} to end"), DOWN, ended).await.is_err() {
        // Its children die with it.
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        until(&format!("process {pid} to be killed"), DOWN, ended).await?;
    }
    fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    Ok(true)
}

/// Where the demo's environment is unless told otherwise: `.demo` at the root of the checkout.
#[must_use]
pub fn default_directory() -> PathBuf {
    controlplane::repository().join(".demo")
}
