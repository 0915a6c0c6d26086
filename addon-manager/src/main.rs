//! The addon-manager: the hub side of the multicluster orchestrator.
mod addon;
mod definition;
mod member;
mod mirrorpeer;
mod peering;
mod profile;
mod run;
mod touched;

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = run::Args::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider is installed already"))?;
    addon_framework::process::log(args.log_format);
    run::run(args).await
}
