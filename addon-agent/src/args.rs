//! Command line and environment.
use std::{net::SocketAddr, path::PathBuf};

use addon_framework::process::LogFormat;
use clap::Parser;

/// Hands secrets and CA bundles of this cluster to others, and receives theirs.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Name of this cluster on the hub.
    #[arg(long, env = "CLUSTER_NAME")]
    pub cluster_name: String,
    /// Namespace in which the agent runs.
    #[arg(long, env = "AGENT_NAMESPACE")]
    pub namespace: String,
    /// Directory with the kubeconfig for the hub, and its certificate and key.
    #[arg(long, env = "HUB_KUBECONFIG_DIR", default_value = "/var/run/hub-kubeconfig")]
    pub hub_kubeconfig_dir: PathBuf,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "HEALTH_LISTEN", default_value = "0.0.0.0:8080")]
    pub health_listen: SocketAddr,
    /// Lets probes connect to loopback addresses, which are no other cluster's anywhere but in a test environment whose
    /// clusters are processes of one machine.
    #[arg(long, env = "ALLOW_LOOPBACK_PROBES", hide = true)]
    pub allow_loopback_probes: bool,
    /// Form of the log: text or json.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
        let args = Args::parse_from(["agent", "--cluster-name=east", "--namespace=ns", "--log-format=json"]);
        assert_eq!(args.log_format, LogFormat::Json);
        assert_eq!((args.health_listen.port(), args.allow_loopback_probes), (8080, false));
    }
}
