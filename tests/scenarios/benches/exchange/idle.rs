//! Who asks the API servers for what while nothing happens.
//!
//! `apiserver_request_total` does not say who asked. But the API server counts what it dispatches by `FlowSchema`, and a
//! `FlowSchema` says whose requests it is about, and which: so there is one for each of our processes and each kind of
//! request. They lead to the same priority level as the default for service accounts, so nothing else changes.
use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use peering_api::{names, ocm::names::IDENTITY_PREFIX};
use scenarios::{
    bench::counters::{self, Counts, KINDS, Kind},
    world::{AGENT_NAMESPACE, MANAGER_NAMESPACE},
};
use serde_json::{Value, json};
use testenv::Env;

/// The level of requests of service accounts.
const PRIORITY_LEVEL: &str = "workload-low";
/// Before the defaults for service accounts and everybody else.
const FIRST_PRECEDENCE: usize = 300;

/// One of our processes (or all agents together) at one API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client {
    /// The cluster of the API server.
    pub cluster: String,
    /// Who asks.
    pub name: &'static str,
}

/// The requests in the idle time.
#[derive(Default)]
pub struct Idle {
    /// How long it was.
    pub time: Duration,
    /// Ours, by client and kind.
    pub ours: BTreeMap<(Client, Kind), f64>,
    /// Everybody's.
    pub all: Counts,
}

fn clients(env: &Env) -> Vec<(Client, Value)> {
    let service_account = |namespace: &str, name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}});
    let group = format!("{IDENTITY_PREFIX}addon:{}", names::ADDON);
    let client = |cluster: &str, name| Client {
        cluster: cluster.to_owned(),
        name,
    };
    let hub = env.hub().name();
    let mut clients = vec![
        (
            client(hub, "manager"),
            service_account(MANAGER_NAMESPACE, "addon-manager"),
        ),
        (
            client(hub, "agents"),
            json!({"kind": "Group", "group": {"name": group}}),
        ),
    ];
    for spoke in env.spokes() {
        clients.push((
            client(spoke.name(), "agent"),
            service_account(AGENT_NAMESPACE, names::AGENT),
        ));
    }
    clients
}

fn schema_name(client: &Client, kind: Kind) -> String {
    format!("bench-{}-{kind:?}", client.name).to_lowercase()
}

fn schema(client: &Client, subject: &Value, precedence: usize, kind: Kind) -> Value {
    let (verbs, group, resource) = match kind {
        Kind::Lease => (json!(["*"]), "coordination.k8s.io", "leases"),
        Kind::Watch => (json!(["watch"]), "*", "*"),
        Kind::Read => (json!(["get", "list"]), "*", "*"),
        Kind::Write => (json!(["*"]), "*", "*"),
    };
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": schema_name(client, kind)},
        "spec": {
            "priorityLevelConfiguration": {"name": PRIORITY_LEVEL},
            "matchingPrecedence": precedence,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [subject],
                "resourceRules": [{
                    "verbs": verbs, "apiGroups": [group], "resources": [resource], "namespaces": ["*"], "clusterScope": true,
                }],
            }],
        },
    })
}

/// Lets the API servers count the requests of our processes by themselves. To be called before they are installed.
pub async fn attribute(env: &Env) -> Result<()> {
    for (client, subject) in clients(env) {
        let schemas = KINDS
            .iter()
            .enumerate()
            .map(|(index, kind)| schema(&client, &subject, FIRST_PRECEDENCE + index, *kind).to_string());
        let text = schemas.collect::<Vec<_>>().join("\n---\n");
        if client.cluster == env.hub().name() {
            env.hub().apply_text(&text).await?;
        } else {
            env.spoke(&client.cluster)?.apply_text(&text).await?;
        }
    }
    Ok(())
}

async fn ours(env: &Env) -> Result<BTreeMap<(Client, Kind), f64>> {
    let mut found = BTreeMap::new();
    let clients = clients(env);
    for cluster in counters::clusters(env) {
        let page = counters::page(env, &cluster).await?;
        let mut by_schema: BTreeMap<String, f64> = BTreeMap::new();
        for (mut labels, value) in counters::samples(&page, "apiserver_flowcontrol_dispatched_requests_total") {
            let name = labels.remove("flow_schema").unwrap_or_default();
            *by_schema.entry(name).or_default() += value;
        }
        for (client, _) in clients.iter().filter(|(client, _)| client.cluster == cluster) {
            for kind in KINDS {
                let count = by_schema.get(&schema_name(client, kind)).copied();
                found.insert((client.clone(), kind), count.unwrap_or_default());
            }
        }
    }
    Ok(found)
}

/// Counts the requests while nothing happens.
pub async fn measure(env: &Env, time: Duration) -> Result<Idle> {
    let (ours_before, all_before) = (ours(env).await?, counters::requests(env).await?);
    for (client, _) in clients(env) {
        // Whoever works here has started watches: were there none, nobody would be counted.
        let watches = ours_before.get(&(client.clone(), Kind::Watch)).copied();
        let watches = watches.context("a client that is not counted")?;
        ensure!(watches > 0.0, "the requests of {client:?} are not told from others'");
    }
    tokio::time::sleep(time).await;
    let mut found = ours(env).await?;
    for (key, count) in &mut found {
        *count -= ours_before.get(key).copied().unwrap_or_default();
    }
    Ok(Idle {
        time,
        ours: found,
        all: counters::requests(env).await?.since(&all_before),
    })
}
