//! `storage-demo`: the demo with storage clusters. `devenv status` and `devenv down` see to what it leaves running.
use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use scenarios::demo::{
    site::Site,
    story::{play, play_and_part, print_next_steps},
};
use testenv::{Access, Env, Options, devenv};

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
    /// Play the `MirrorPeer` on clusters that are there, with the product on the hub, and part them again (`make e2e`).
    #[command(hide = true)]
    Visit {
        /// Kubeconfigs of the hub, of cluster1 and of cluster2.
        #[arg(long, num_args = 3, required = true)]
        kubeconfigs: Vec<PathBuf>,
        /// Where the clusters reach this machine.
        #[arg(long)]
        address: IpAddr,
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
            let site = async |env: &Env| {
                let (east, west) = (env.spoke("cluster1")?, env.spoke("cluster2")?);
                let spokes = [Access::clone(&east), Access::clone(&west)];
                Site::start(env.hub(), &spokes, Ipv4Addr::LOCALHOST.into(), &directory).await
            };
            devenv::supervise(&directory, options, site).await
        }
        Command::Visit { kubeconfigs, address } => {
            let start = Instant::now();
            std::fs::create_dir_all(&directory)?;
            let [hub, east, west] = kubeconfigs.as_slice() else {
                bail!("three kubeconfigs are needed");
            };
            let hub = Access::new("hub", hub);
            let spokes = [Access::new("cluster1", east), Access::new("cluster2", west)];
            let _site = Site::start(&hub, &spokes, address, &directory).await?;
            play_and_part(hub, &spokes, &directory, start).await
        }
    }
}
