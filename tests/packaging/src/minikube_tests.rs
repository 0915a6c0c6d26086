//! `hack/minikube.sh` needs virtual machines. What can be tested without: the commands that it would run.
use std::process::Command;

use crate::tests::repository;

const WANTED: &str = include_str!("minikube.txt");

fn printed(step: &str) -> String {
    let mut command = Command::new("bash");
    command.arg(repository().join("hack/minikube.sh")).arg(step);
    for variable in ["DRIVER", "NETWORK", "IMG"] {
        command.env_remove(variable);
    }
    let output = command.env("DRY_RUN", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dry_run_prints_the_commands_of_each_step() {
    let steps = ["up", "deploy", "demo", "down"];
    let all: String = steps.map(|step| format!("# {step}\n{}", printed(step))).concat();
    assert_eq!(all, WANTED);
}

#[test]
fn every_file_that_the_commands_name_exists() {
    let words = WANTED
        .split_whitespace()
        .map(|word| word.trim_matches(['\'', '"', '\\']));
    let files: Vec<_> = words
        .filter(|word| word.starts_with("manifests/") || word.starts_with("hack/"))
        .collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let file = file.replace('\\', "");
        assert!(repository().join(&file).exists(), "{file}");
    }
}

#[test]
fn every_make_target_that_the_commands_name_exists() {
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let targets = WANTED
        .lines()
        .filter_map(|line| line.strip_prefix("+ make ")?.split(' ').next());
    let targets: Vec<_> = targets.collect();
    assert_eq!(targets, ["docker-build", "deploy"]);
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
}
