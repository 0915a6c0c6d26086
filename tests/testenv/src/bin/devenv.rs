//! `devenv`: a hub and its managed clusters in the background, for the demo and for trying things by hand.

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use testenv::{
    Env, Options, demo,
    devenv::{self, State},
};

/// A local hub and its managed clusters, joined by a real Open Cluster Management, as plain processes.
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
    /// Start in the background and wait until all clusters are joined.
    Up {
        /// The names of the managed clusters.
        #[arg(long, value_delimiter = ',', default_value = "cluster1,cluster2")]
        spokes: Vec<String>,
    },
    /// Start, install the product, and show one exchange step by step.
    Demo,
    /// Tell what runs.
    Status,
    /// Stop everything and remove it.
    Down,
    /// Own the processes (started by `up`).
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
        Ok(code) => code,
        Err(error) => {
            eprintln!("devenv: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    let directory = arguments.dir.unwrap_or_else(devenv::default_directory);
    match arguments.command {
        Command::Up { spokes } => {
            let start = Instant::now();
            let program = std::env::current_exe()?;
            let tell = |line: &str| println!("[{:6.1} s] {line}", start.elapsed().as_secs_f64());
            let state = devenv::up(&program, &directory, &spokes, &tell).await?;
            println!("ready after {:.1} s", start.elapsed().as_secs_f64());
            print(&state);
        }
        Command::Demo => {
            let start = Instant::now();
            let program = std::env::current_exe()?;
            let spokes = ["cluster1".to_owned(), "cluster2".to_owned()];
            let tell = |line: &str| println!("[{:6.1} s] {line}", start.elapsed().as_secs_f64());
            let state = devenv::up(&program, &directory, &spokes, &tell).await?;
            demo::play(&state, start).await?;
            demo::print_next_steps(&state)?;
        }
        Command::Status => match devenv::read(&directory)? {
            Some(state) if state.is_running() => {
                println!(
                    "{} (process {})",
                    if state.ready { "running" } else { "starting" },
                    state.pid
                );
                print(&state);
                let links = kube::Api::<peering_api::peering::PeerLink>::all(state.hub()?.client().await?);
                if let Ok(links) = links.list(&kube::api::ListParams::default()).await {
                    demo::print_links(&links.items);
                }
            }
            Some(state) => {
                println!("process {} has died; `devenv down` removes what it left", state.pid);
                return Ok(ExitCode::FAILURE);
            }
            None => {
                println!("nothing runs in {}", directory.display());
                return Ok(ExitCode::FAILURE);
            }
        },
        Command::Down => {
            let start = Instant::now();
            if devenv::down(&directory).await? {
                println!("stopped after {:.1} s", start.elapsed().as_secs_f64());
            } else {
                println!("nothing ran in {}", directory.display());
            }
        }
        Command::Supervise { spokes } => {
            let options = Options {
                spokes,
                ..Options::default()
            };
            devenv::supervise(&directory, options, async |_: &Env| Ok(())).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(state: &State) {
    for cluster in &state.clusters {
        println!("{:10} KUBECONFIG={}", cluster.name, cluster.kubeconfig.display());
    }
    println!("kubectl    {}", state.binaries.join("kubectl").display());
}
