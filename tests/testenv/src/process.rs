//! Child processes that never outlive us, and the register that notices when one of them dies.
//!
//! Every child is in a process group of its own and asks the kernel for a SIGKILL when its parent dies. That signal is
//! sent when the *thread* that forked the child ends, and test threads end with their test, so all children are forked
//! by one thread that lives as long as the process.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::watch;

/// How many lines of a log an error carries.
const TAIL: usize = 40;
/// How often in a row a child is started again ([`Spec::revive`]): one that cannot live at all must be noticed.
const REVIVALS: u32 = 20;
/// How long a child stays down before it is started again, times how often in a row that was: twenty take minutes, in which
/// an API server comes back on any machine. A kubelet takes 10 s at first, and more each time.
const DOWN: Duration = Duration::from_secs(1);
/// One that has lived this long can live.
const ALIVE: Duration = Duration::from_mins(1);

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// A name for messages, such as `hub/kube-apiserver`.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The environment: `None` is inherited but for the place of temporary files, which is beside the log; `Some` is exactly this.
    pub env: Option<BTreeMap<String, String>>,
    /// Where stdout and stderr are appended.
    pub log: PathBuf,
    /// Whether it is started again when it ends by itself, as a kubelet does with a container. Components of Open Cluster
    /// Management end themselves when they start while their API server is away.
    pub revive: bool,
}

/// A running or ended child. Clones are handles of the same child.
#[derive(Clone, Debug)]
pub struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: Spec,
    pid: AtomicU32,
    /// Set before we end the child ourselves: its end is then no accident.
    ending: AtomicBool,
    /// Held while the child is reaped and while it is signalled, so that no signal hits a process id that was reused.
    reaped: Mutex<bool>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a child.
    pub fn spawn(spec: &Spec) -> Result<Self> {
        let child = start(spec)?;
        let (sender, exit) = watch::channel(None);
        let process = Self(Arc::new(Inner {
            spec: spec.clone(),
            pid: AtomicU32::new(child.id()),
            ending: AtomicBool::new(false),
            reaped: Mutex::new(false),
            exit,
        }));
        let waiting = process.clone();
        std::thread::Builder::new()
            .name(format!("wait-{}", child.id()))
            .spawn(move || waiting.attend(child, &sender))
            .context("start a waiting thread")?;
        Ok(process)
    }

    /// The name it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// The process id, which is another one after it was started again.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid.load(Ordering::SeqCst)
    }

    /// The file with its output.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.0.spec.log
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.0.exit.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let mut exit = self.0.exit.clone();
        let status = *exit
            .wait_for(Option::is_some)
            .await
            .context("the waiting thread is gone")?;
        status.ok_or_else(|| anyhow!("{} ended without a status", self.0.spec.name))
    }

    /// Sends a signal to the process alone, as `kill` does. Does nothing after its end.
    pub fn signal(&self, signal: i32) {
        self.send(signal, false);
    }

    /// Ends it: SIGTERM to its group, and SIGKILL when `grace` is over.
    pub async fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        self.0.ending.store(true, Ordering::SeqCst);
        self.send(libc::SIGTERM, true);
        if let Ok(status) = tokio::time::timeout(grace, self.wait()).await {
            return status;
        }
        self.send(libc::SIGKILL, true);
        self.wait().await
    }

    /// Ends it as a crash does: SIGKILL to its group.
    pub async fn kill(&self) -> Result<ExitStatus> {
        self.0.ending.store(true, Ordering::SeqCst);
        self.send(libc::SIGKILL, true);
        self.wait().await
    }

    /// Ends it as a crash does, without waiting for its end.
    pub fn end_soon(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        self.send(libc::SIGKILL, true);
    }

    /// The resident memory in bytes, while it runs.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
            .map(|kibibytes| kibibytes * 1024)
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::files::tail(&self.0.spec.log, TAIL)
    }

    /// An error when it has ended and we did not end it.
    pub fn check(&self) -> Result<()> {
        match self.exited() {
            Some(status) if !self.0.ending.load(Ordering::SeqCst) => {
                bail!(
                    "{} ended ({status}); the end of {}:\n{}",
                    self.0.spec.name,
                    self.0.spec.log.display(),
                    self.log_tail()
                )
            }
            _ => Ok(()),
        }
    }

    fn send(&self, signal: i32, group: bool) {
        let reaped = self.0.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(pid) = libc::pid_t::try_from(self.pid()) else {
            return;
        };
        if !*reaped {
            // SAFETY: the process is not reaped yet (we hold the lock), so its id is still its own.
            unsafe { libc::kill(if group { -pid } else { pid }, signal) };
        }
    }

    /// Waits for the end of the child, and of those that are started in its place.
    fn attend(&self, mut child: Child, exit: &watch::Sender<Option<ExitStatus>>) {
        let mut revivals = 0;
        loop {
            let born = Instant::now();
            let status = self.reap(child);
            let by_itself = !self.0.ending.load(Ordering::SeqCst);
            if born.elapsed() >= ALIVE {
                revivals = 0;
            }
            let revived = (self.0.spec.revive && by_itself && revivals < REVIVALS).then(|| {
                revivals += 1;
                self.stay_down(DOWN * revivals);
                self.start_again()
            });
            let Some(started) = revived.flatten() else {
                exit.send_replace(Some(status));
                return;
            };
            child = started;
        }
    }

    /// Waits for a while, or until nobody wants another child any more.
    fn stay_down(&self, down: Duration) {
        let since = Instant::now();
        while since.elapsed() < down && !self.0.ending.load(Ordering::SeqCst) {
            std::thread::sleep(DOWN / 10);
        }
    }

    /// Starts another child in place of one that was reaped. Nothing when it was ended by us meanwhile, or cannot be
    /// started.
    fn start_again(&self) -> Option<Child> {
        // Whoever ends it says so before it takes this lock, so either is seen: the wish, or the new child.
        let mut reaped = self.0.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.ending.load(Ordering::SeqCst) {
            return None;
        }
        let child = start(&self.0.spec).ok()?;
        self.0.pid.store(child.id(), Ordering::SeqCst);
        *reaped = false;
        Some(child)
    }

    /// Waits for the end of the child, takes the rest of its group along and only then lets go of its id.
    fn reap(&self, mut child: Child) -> ExitStatus {
        loop {
            // SAFETY: zeroed is a valid siginfo_t, and waitid only writes into it.
            let result = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, child.id(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            if result == 0 || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                break;
            }
        }
        self.send(libc::SIGKILL, true);
        let mut reaped = self.0.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(-1));
        *reaped = true;
        status
    }
}

/// Starts a child with its output going to its log.
fn start(spec: &Spec) -> Result<Child> {
    let start = || -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(&spec.log)?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(env) = &spec.env {
            command.env_clear().envs(env);
        } else if let Some(directory) = spec.log.parent() {
            // OCM's programs leave a directory with a certificate behind whenever they are killed.
            command.env("TMPDIR", directory);
        }
        die_with_parent(&mut command);
        fork(command)
    };
    start().with_context(|| format!("start {} ({})", spec.name, spec.program.display()))
}

/// Makes a command start in a group of its own and be killed when its parent dies.
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and getppid are such.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have died before the request was made: then nobody would send the signal.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

type Request = (Command, mpsc::SyncSender<std::io::Result<Child>>);

/// Runs a command on the thread that forks all children.
fn fork(command: Command) -> Result<Child> {
    static FORKER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let forker = FORKER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        // When the thread cannot be started its receiver is gone, and the sending below fails.
        let _ = std::thread::Builder::new().name("forker".to_owned()).spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::sync_channel(1);
    forker
        .send((command, answer))
        .map_err(|_| anyhow!("the thread that starts processes is gone"))?;
    Ok(child.recv().context("the thread that starts processes is gone")??)
}

/// The processes that must stay alive as long as an environment, and what else went wrong behind the tests' backs.
#[derive(Clone, Debug, Default)]
pub struct Register(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    processes: Vec<Process>,
    faults: Vec<String>,
}

impl Register {
    /// Starts a process that must stay alive until it is stopped.
    pub fn spawn(&self, spec: &Spec) -> Result<Process> {
        let process = Process::spawn(spec)?;
        let mut entries = self.entries();
        // One that we ended is of no interest any more; one that died on its own stays, to be reported.
        entries
            .processes
            .retain(|known| known.exited().is_none() || known.check().is_err());
        entries.processes.push(process.clone());
        Ok(process)
    }

    /// Records something that makes every further test of the environment pointless.
    pub fn fault(&self, message: String) {
        let mut entries = self.entries();
        if !entries.faults.contains(&message) {
            entries.faults.push(message);
        }
    }

    /// An error when a process has died on its own or a fault was recorded.
    pub fn check(&self) -> Result<()> {
        let entries = self.entries();
        if let Some(fault) = entries.faults.first() {
            bail!("{fault}");
        }
        entries.processes.iter().try_for_each(Process::check)
    }

    /// The processes that are running.
    #[must_use]
    pub fn running(&self) -> Vec<Process> {
        self.entries()
            .processes
            .iter()
            .filter(|process| process.exited().is_none())
            .cloned()
            .collect()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
