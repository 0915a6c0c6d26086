//! The environment in the background: up, status, down, and nothing left.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use testenv::{devenv, files};

fn run(directory: &Path, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_devenv"))
        .args(arguments)
        .arg("--dir")
        .arg(directory)
        .output()?)
}

#[tokio::test]
async fn it_comes_up_can_be_used_and_leaves_nothing() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let directory = parent.path().join("demo");
    let up = run(&directory, &["up", "--spokes", "only"])?;
    ensure!(up.status.success(), "{up:?}");

    let state = devenv::attach(&directory)?;
    ensure!(state.spokes() == ["only"]);
    testenv::ocm::check_available(&state.hub()?.client().await?, "only").await?;
    ensure!(run(&directory, &["status"])?.status.success());
    // A second one is the first one.
    ensure!(run(&directory, &["up"])?.status.success());
    ensure!(devenv::attach(&directory)?.pid == state.pid);

    let children = children(state.pid)?;
    ensure!(
        children.len() > 8,
        "a hub and a managed cluster are more than {children:?}"
    );
    let down = run(&directory, &["down"])?;
    ensure!(down.status.success(), "{down:?}");
    ensure!(
        children.iter().all(|pid| files::start_time(*pid).is_none()),
        "something is left of {children:?}"
    );
    ensure!(!directory.exists());
    ensure!(!run(&directory, &["status"])?.status.success());
    ensure!(run(&directory, &["down"])?.status.success());
    Ok(())
}

/// The processes that a process has started and that run.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .context("no parent")?;
        if line.trim().parse() == Ok(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}
