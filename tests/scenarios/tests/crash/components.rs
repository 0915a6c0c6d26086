//! The parts of the product, each behind a proxy of its own in front of each API server that it writes to.
use std::fmt;

use anyhow::Result;
use peering_api::names;
use scenarios::world::{AGENT_NAMESPACE, MANAGER_NAMESPACE};
use testenv::{Env, Proxy, ocm::LOCAL_CLUSTER};

/// A part of the product at one API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The addon-manager, which writes to the hub only.
    Manager,
    /// The agent of a cluster, at the hub.
    AgentAtHub(&'static str),
    /// The agent of a cluster, at its own API server.
    AgentAtHome(&'static str),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => f.write_str("addon-manager at hub"),
            Self::AgentAtHub(cluster) => write!(f, "agent of {cluster} at hub"),
            Self::AgentAtHome(cluster) => write!(f, "agent of {cluster} at {cluster}"),
        }
    }
}

/// All proxies of an environment.
pub struct Proxies {
    manager: Proxy,
    at_hub: [Proxy; 2],
    at_home: [Proxy; 2],
    /// Of the agent on the hub: one and the same API server is the hub and its home.
    local: Proxy,
}

impl Proxies {
    /// Starts them and leads to them whatever will be installed.
    pub async fn start(env: &Env) -> Result<Self> {
        let hub = env.hub();
        let agent = async |server: &str, cluster: &str| {
            let server = if server == "hub" {
                hub.clone()
            } else {
                env.spoke(server)?
            };
            let node = env.spoke(cluster)?.node()?;
            Proxy::before(&server, &node, AGENT_NAMESPACE, names::AGENT).await
        };
        Ok(Self {
            manager: Proxy::before(hub, &hub.node()?, MANAGER_NAMESPACE, "addon-manager").await?,
            at_hub: [agent("hub", "cluster1").await?, agent("hub", "cluster2").await?],
            at_home: [
                agent("cluster1", "cluster1").await?,
                agent("cluster2", "cluster2").await?,
            ],
            local: agent("hub", LOCAL_CLUSTER).await?,
        })
    }

    /// The proxy of a component.
    pub fn of(&self, component: Component) -> &Proxy {
        let index = |cluster: &str| usize::from(cluster == "cluster2");
        match component {
            Component::Manager => &self.manager,
            Component::AgentAtHub(LOCAL_CLUSTER) | Component::AgentAtHome(LOCAL_CLUSTER) => &self.local,
            Component::AgentAtHub(cluster) => &self.at_hub[index(cluster)],
            Component::AgentAtHome(cluster) => &self.at_home[index(cluster)],
        }
    }
}
