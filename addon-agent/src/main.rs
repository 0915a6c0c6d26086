//! The token-exchange agent: publishes what this cluster hands over, and writes what other clusters handed over to it.
//!
//! Read in this order: [`agent`] (the parts), [`exports`] (source to envelope), [`targets`] (envelope to target), and
//! [`decide`] for what they do and why. [`connection`] and [`spoke`] are the edges to the two clusters.
mod agent;
mod args;
mod connection;
mod context;
mod decide;
mod exports;
mod hub;
mod identity;
mod member;
mod metrics;
mod probe;
mod spoke;
mod status;
mod targets;

use anyhow::Context as _;
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = args::Args::parse();
    addon_framework::process::log(args.log_format);
    let provider = rustls::crypto::ring::default_provider();
    if provider.install_default().is_err() {
        anyhow::bail!("a TLS provider is installed already");
    }
    agent::run_agent(args).await.context("the agent stopped")
}
