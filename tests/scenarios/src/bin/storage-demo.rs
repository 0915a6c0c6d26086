//! `storage-demo`: the demo with storage clusters. `devenv status` and `devenv down` see to what it leaves running.
use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use scenarios::demo::{
    site::Site,
    story::{play, print_next_steps},
};
use testenv::{Env, Options, devenv};

/// Two storage clusters on a local hub, mirrored by a `MirrorPeer`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Where kubeconfigs, logs and state are kept; .demo at the root of the checkout when absent.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Start, install the product, and show one pair step by step.
    Play,
    /// Own the processes and the stand-ins (started by `play`).
    #[command(hide = true)]
    Supervise {
        /// The names of the managed clusters.
        #[arg(long, value_delimiter = ',')]
        spokes: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storage-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let directory = arguments.dir.unwrap_or_else(devenv::default_directory);
    match arguments.command {
        Command::Play => {
            let start = Instant::now();
            let program = std::env::current_exe()?;
            let spokes = ["cluster1".to_owned(), "cluster2".to_owned()];
            let tell = |line: &str| println!("[{:6.1} s] {line}", start.elapsed().as_secs_f64());
            let state = devenv::up(&program, &directory, &spokes, &tell).await?;
            play(&state, &directory, start).await?;
            print_next_steps(&state);
            Ok(())
        }
        Command::Supervise { spokes } => {
            let options = Options {
                spokes,
                // Buckets are told to the hub, which is a cluster like others there.
                local_cluster: true,
                ..Options::default()
            };
            let site = async |env: &Env| Site::start(env, &directory).await;
            devenv::supervise(&directory, options, site).await
        }
    }
}
