//! Small file helpers: private files, whole-file replacement, the tail of a log, removal of what dead owners left.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};

/// The prefix of the directories that environments make in the temporary directory.
const PREFIX: &str = "multicluster-orchestrator-env-";

/// The file in an environment's directory which names the process that owns it.
const OWNER: &str = "owner";

/// Writes a file that only we can read, at once: a reader sees the old content or the new, never a part.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let temporary = path.with_file_name(format!(".{name}.new"));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

/// The last `lines` lines of a file, looking at no more than its last 64 KiB. Says so when it cannot be read.
#[must_use]
pub fn tail(path: &Path, lines: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(64 * 1024)))?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        Ok(content)
    };
    match read() {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", path.display()),
    }
}

/// Makes a directory for an environment of this process, after removing those of processes that are gone.
pub fn environment_directory() -> Result<PathBuf> {
    let parent = std::env::temp_dir();
    remove_stale(&parent);
    let directory = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(&parent)
        .with_context(|| format!("make a directory in {}", parent.display()))?
        .keep();
    claim(&directory)?;
    Ok(directory)
}

/// Writes into a directory that this process owns it.
pub fn claim(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let me = std::process::id();
    let started = start_time(me).ok_or_else(|| anyhow!("/proc/{me}/stat cannot be read"))?;
    write_private(&directory.join(OWNER), format!("{me} {started}").as_bytes())
}

/// When a process was started, in clock ticks since boot: with the process id this names a process for good.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which can contain anything: count from the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A zombie is not alive for our purposes.
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // A directory without the file is being made right now, or nobody knows whose it is: leave it for a while.
        let Ok(owner) = fs::read_to_string(entry.path().join(OWNER)) else {
            continue;
        };
        let alive = owner.split_once(' ').is_some_and(|(pid, started)| {
            pid.parse()
                .ok()
                .and_then(start_time)
                .is_some_and(|actual| started.parse() == Ok(actual))
        });
        if !alive {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_gives_the_last_lines_and_survives_a_missing_file() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&log, 2), "two\nthree");
        assert!(tail(&directory.path().join("absent"), 2).contains("cannot read"));
    }

    #[test]
    fn only_directories_of_dead_owners_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let [mine, dead, reused, foreign] = ["env-mine", "env-dead", "env-reused", "other"].map(|name| {
            parent.path().join(if name == "other" {
                name.to_owned()
            } else {
                format!("multicluster-orchestrator-{name}")
            })
        });
        for directory in [&mine, &dead, &reused, &foreign] {
            claim(directory).unwrap();
        }
        fs::write(dead.join(OWNER), "4194999 1").unwrap();
        fs::write(reused.join(OWNER), format!("{} 1", std::process::id())).unwrap();
        remove_stale(parent.path());
        assert_eq!(
            [&mine, &dead, &reused, &foreign].map(|directory| directory.exists()),
            [true, false, false, true]
        );
    }
}
