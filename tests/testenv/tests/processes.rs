//! Children live as long as the process that started them: not shorter, and never longer.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use testenv::{
    files,
    process::{Process, Register, Spec},
    wait,
};

/// Set in the copy of this program that is killed.
const VICTIM: &str = "TESTENV_VICTIM";
const SOON: Duration = Duration::from_mins(1);

fn shell(script: &str, log: &Path) -> Spec {
    Spec {
        name: "script".to_owned(),
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: None,
        log: log.to_owned(),
        revive: false,
    }
}

/// Not a test of its own: what the killed copy of this program does.
#[test]
fn victim() -> Result<()> {
    let Ok(directory) = std::env::var(VICTIM) else {
        return Ok(());
    };
    let log = Path::new(&directory).join("log");
    // From a thread that ends at once, as those of tests do.
    let spawn = move || Process::spawn(&shell("sleep 1000", &log));
    let child = std::thread::spawn(spawn)
        .join()
        .map_err(|_| anyhow::anyhow!("the thread panicked"))??;
    println!("CHILD={}", child.pid());
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn no_child_survives_when_its_parent_is_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, directory.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(victim.stdout.take().context("no output")?).lines();
    let child = lines.find_map(|line| line.ok()?.split_once("CHILD=")?.1.trim().parse::<u32>().ok());
    let child = child.context("the victim started nothing")?;
    // The thread that asked for the child is long gone, and the child is not.
    ensure!(
        files::start_time(child).is_some(),
        "the child ended with the thread that asked for it"
    );
    victim.kill()?;
    ensure!(victim.wait()?.signal() == Some(libc::SIGKILL));
    wait::until("the child to be gone", SOON, || async {
        Ok(files::start_time(child).is_none().then_some(()))
    })
    .await
}

#[tokio::test]
async fn temporary_files_of_a_child_are_beside_its_log() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let child = Process::spawn(&shell(
        ": > $(mktemp -d)/left; exec sleep 1000",
        &directory.path().join("log"),
    ))?;
    wait::until("a file to be left", SOON, || async {
        let made = std::fs::read_dir(directory.path())?.flatten();
        Ok(made.map(|entry| entry.path().join("left")).find(|left| left.exists()))
    })
    .await?;
    child.stop(SOON).await.map(|_| ())
}

#[tokio::test]
async fn a_child_that_dies_is_reported_with_the_end_of_its_log() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let register = Register::default();
    let stopped = register.spawn(&shell("sleep 1000", &directory.path().join("stopped")))?;
    stopped.stop(SOON).await?;
    register.check()?;
    let died = register.spawn(&shell("echo it hurts; exit 7", &directory.path().join("died")))?;
    died.wait().await?;
    let error = register.check().err().context("nothing is reported")?.to_string();
    ensure!(
        error.contains("exit status: 7") && error.contains("it hurts"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_child_that_is_revived_lives_on_until_it_is_ended() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (register, log) = (Register::default(), directory.path().join("log"));
    let fifo = directory.path().join("fifo");
    ensure!(std::process::Command::new("mkfifo").arg(&fifo).status()?.success());
    let spec = Spec {
        revive: true,
        ..shell(&format!("echo born; read line < {}", fifo.display()), &log)
    };
    let process = register.spawn(&spec)?;
    let born = |times: usize| {
        let log = &log;
        async move { Ok((std::fs::read_to_string(log)?.lines().count() == times).then_some(())) }
    };
    wait::until("the first life", SOON, || born(1)).await?;
    let first = process.pid();
    process.signal(libc::SIGKILL);
    // It may be born before it is known.
    wait::until("the second life", SOON, || async {
        Ok(born(2).await?.filter(|()| process.pid() != first))
    })
    .await?;
    ensure!(process.exited().is_none());
    register.check()?;
    process.kill().await?;
    ensure!(process.exited().is_some(), "it lives on");
    register.check()
}

#[tokio::test]
async fn a_child_takes_its_own_children_along_and_is_killed_when_it_does_not_listen() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log");
    let process = Process::spawn(&shell(
        "trap '' TERM; sleep 1000 & echo $!; while true; do wait; done",
        &log,
    ))?;
    let grandchild = wait::until("the grandchild", SOON, || async {
        Ok(std::fs::read_to_string(&log)?.trim().parse::<u32>().ok())
    })
    .await?;
    let status = process.stop(Duration::from_millis(100)).await?;
    ensure!(status.signal() == Some(libc::SIGKILL), "{status}");
    wait::until("the grandchild to be gone", SOON, || async {
        Ok(files::start_time(grandchild).is_none().then_some(()))
    })
    .await
}
