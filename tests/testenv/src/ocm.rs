//! Open Cluster Management as plain processes: the hub's controllers and a managed cluster's agents.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    apply,
    cluster::Cluster,
    controlplane::ControlPlane,
    plain_http, ports,
    process::{Process, Register},
    wait::Wait,
};

/// The user that joins clusters. The hub approves it without being asked.
const BOOTSTRAP_USER: &str = "autoapproval-user";

/// The name under which a hub manages itself, as Open Cluster Management has it.
pub const LOCAL_CLUSTER: &str = "local-cluster";

/// The namespace of the agents on a managed cluster.
const AGENT_NAMESPACE: &str = "open-cluster-management-agent";

const HUB_OBJECTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: open-cluster-management-hub}
---
apiVersion: v1
kind: Namespace
metadata: {name: open-cluster-management}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: testenv-bootstrap}
rules:
- {apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create, get, list, watch]}
- {apiGroups: [cluster.open-cluster-management.io], resources: [managedclusters], verbs: [get, list, watch, create, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: testenv-bootstrap}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: testenv-bootstrap}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: autoapproval-user}]
";

const SPOKE_OBJECTS: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: open-cluster-management-agent}
---
apiVersion: v1
kind: Namespace
metadata: {name: open-cluster-management-agent-addon}
";

/// Installs the hub side: the conversion webhook first, as nothing in v1beta1 can be read without it, then the CRDs. A
/// hub that will [`join`] itself gets what a managed cluster needs as well. An older one has no v1beta1, and no webhook.
pub async fn install_hub(
    hub: &Cluster,
    control_plane: &ControlPlane,
    extra_crds: &[PathBuf],
    local_cluster: bool,
    register: &Register,
) -> Result<()> {
    let webhook = if control_plane.is_older() {
        None
    } else {
        Some(start_conversion(hub)?)
    };
    let port = webhook.map(|(port, _)| port);
    let mut crds = hub_crds(control_plane, port, &hub.pki().ca_pem())?;
    for path in extra_crds {
        crds.extend(apply::load(path)?);
    }
    apply::objects(&hub.client().await?, crds).await?;
    hub.apply_text(HUB_OBJECTS).await?;
    if local_cluster {
        install_spoke(hub, control_plane).await?;
    }
    // Started after the CRDs: it looks for new kinds to collect garbage of only twice a minute.
    hub.start_controller_manager()?;
    hub.user_kubeconfig(BOOTSTRAP_USER, None)?;
    if let Some((_, health)) = webhook {
        Wait::new("the conversion webhook", Duration::from_mins(3))
            .register(register)
            .until(|| async {
                let answer = plain_http::get(health, "/readyz", Duration::from_secs(2)).await?;
                Ok((answer.status == 200).then_some(()))
            })
            .await?;
    }
    let auto_approval = [
        "--feature-gates=ManagedClusterAutoApproval=true".to_owned(),
        format!("--auto-approved-csr-users={BOOTSTRAP_USER}"),
    ];
    hub_controller(
        hub,
        "registration-controller",
        "registration",
        "controller",
        &auto_approval,
    )?;
    if !control_plane.is_older() {
        hub_controller(hub, "placement-controller", "placement", "controller", &[])?;
    }
    hub_controller(hub, "ocm-addon-manager", "addon", "manager", &[])?;
    Ok(())
}

/// Starts the conversion webhook. Gives its port, and the one where it tells its health.
fn start_conversion(hub: &Cluster) -> Result<(u16, u16)> {
    let (port, health) = (ports::take()?, ports::take()?);
    hub.spawn(
        "conversion-webhook",
        &[
            format!("--kubeconfig={}", hub.kubeconfig().display()),
            format!("--certdir={}", hub.pki().directory().display()),
            format!("--port={port}"),
            format!("--health-probe-address=127.0.0.1:{health}"),
        ],
    )?;
    Ok((port, health))
}

fn hub_controller(hub: &Cluster, component: &str, program: &str, command: &str, more: &[String]) -> Result<Process> {
    let mut args = vec![
        command.to_owned(),
        format!("--kubeconfig={}", hub.kubeconfig().display()),
        "--namespace=open-cluster-management-hub".to_owned(),
        "--disable-leader-election".to_owned(),
        format!("--listen=127.0.0.1:{}", ports::take()?),
    ];
    args.extend_from_slice(more);
    hub.spawn_program(component, program, &args)
}

/// The hub's CRDs, with the conversion webhook at our own address instead of a Service.
fn hub_crds(control_plane: &ControlPlane, webhook: Option<u16>, ca: &str) -> Result<Vec<Value>> {
    let bundle = STANDARD.encode(ca);
    let mut crds = Vec::new();
    for file in control_plane.crds("hub")? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let text = text
            .replace("{{ .AddonAPIServiceCABundle }}", &bundle)
            .replace("{{ .ClusterManagerNamespace }}", "open-cluster-management-hub");
        for mut crd in apply::parse(&text).with_context(|| file.display().to_string())? {
            if let Some(client) = crd.pointer_mut("/spec/conversion/webhook/clientConfig") {
                let webhook = webhook.ok_or_else(|| anyhow!("{} wants a webhook", file.display()))?;
                *client = json!({"url": format!("https://127.0.0.1:{webhook}/convert"), "caBundle": bundle});
            }
            crds.push(crd);
        }
    }
    Ok(crds)
}

/// Prepares a managed cluster with a control plane of its own: CRDs and namespaces, then the controller manager.
pub async fn prepare_spoke(spoke: &Cluster, control_plane: &ControlPlane) -> Result<()> {
    install_spoke(spoke, control_plane).await?;
    spoke.start_controller_manager()
}

/// Installs the CRDs and namespaces of a managed cluster.
async fn install_spoke(spoke: &Cluster, control_plane: &ControlPlane) -> Result<()> {
    for file in control_plane.crds("spoke")? {
        spoke.apply_path(&file).await?;
    }
    spoke.apply_text(SPOKE_OBJECTS).await.map(drop)
}

/// Starts the agents of a managed cluster: registration, and work once the cluster has a hub kubeconfig of its own. The
/// hub can be its own managed cluster.
///
/// The `ManagedCluster` of that name must be there. The agent would make it, but not when it gets its certificate at the same
/// moment: it then goes on as an agent that may not, and waits for a cluster that nobody makes (seen with v1.2.0).
pub async fn join(hub: &Cluster, spoke: &Cluster, name: &str, register: &Register) -> Result<()> {
    let hub_kubeconfig = spoke.directory().join("hub-kubeconfig");
    std::fs::create_dir_all(&hub_kubeconfig)?;
    let common = |command: &str| -> Result<Vec<String>> {
        Ok(vec![
            command.to_owned(),
            format!("--spoke-cluster-name={name}"),
            format!("--kubeconfig={}", spoke.kubeconfig().display()),
            format!("--namespace={AGENT_NAMESPACE}"),
            format!("--agent-id=agent-{name}"),
            "--disable-leader-election".to_owned(),
            format!("--listen=127.0.0.1:{}", ports::take()?),
        ])
    };
    let mut registration = common("agent")?;
    registration.extend([
        format!("--bootstrap-kubeconfig={}", bootstrap_kubeconfig(hub).display()),
        format!("--hub-kubeconfig-dir={}", hub_kubeconfig.display()),
        "--hub-kubeconfig-secret=hub-kubeconfig-secret".to_owned(),
        "--cluster-healthcheck-period=5s".to_owned(),
        format!("--spoke-external-server-urls={}", spoke.url()),
    ]);
    let agent = spoke.spawn_program("registration-agent", "registration", &registration)?;
    Wait::new(&format!("the hub kubeconfig of {name}"), Duration::from_mins(5))
        .register(register)
        .dump(|| std::future::ready(agent.log_tail()))
        .until(|| std::future::ready(Ok(hub_kubeconfig.join("kubeconfig").exists().then_some(()))))
        .await?;
    let mut work = common("agent")?;
    work.extend([
        "--workload-source-driver=kube".to_owned(),
        format!(
            "--workload-source-config={}",
            hub_kubeconfig.join("kubeconfig").display()
        ),
        "--status-sync-interval=5s".to_owned(),
        // What a work has applied stays behind when the work is deleted before the agent has seen its own record of it, which
        // happens around restarts of an API server. The agent makes up for that later; by default an hour later.
        "--appliedmanifestwork-eviction-grace-period=30s".to_owned(),
    ]);
    spoke.spawn_program("work-agent", "work", &work)?;
    Ok(())
}

fn bootstrap_kubeconfig(hub: &Cluster) -> PathBuf {
    let name = format!("{BOOTSTRAP_USER}.kubeconfig");
    Path::new(hub.directory()).join(name)
}

/// The hub's `ManagedCluster` objects.
#[must_use]
pub fn managed_clusters(client: &Client) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("cluster.open-cluster-management.io", "v1", "ManagedCluster");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&gvk))
}

/// Whether a `ManagedCluster` is accepted, joined and available; otherwise an error that tells what is missing.
pub async fn check_available(client: &Client, name: &str) -> Result<()> {
    let cluster = managed_clusters(client).get(name).await?;
    for condition in [
        "HubAcceptedManagedCluster",
        "ManagedClusterJoined",
        "ManagedClusterConditionAvailable",
    ] {
        if !has_condition(&cluster.data, condition, "True") {
            return Err(anyhow!(
                "ManagedCluster {name} has no {condition}=True: {}",
                cluster.data["status"]
            ));
        }
    }
    Ok(())
}

/// Whether an object has a condition with a status.
#[must_use]
pub fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == status))
}
