//! What agent and manager may do, and what they must not: asked of the real API servers as them.
use anyhow::{Result, ensure};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::Secret,
};
use kube::{Api, Client, api::PostParams};
use peering_api::names;
use scenarios::{
    Scenario, Side,
    scenario::SOURCE,
    world::{AGENT_NAMESPACE, MANAGER_NAMESPACE},
};
use serde_json::json;

struct Subject {
    user: String,
    groups: Vec<String>,
}

async fn may(
    client: &Client,
    subject: &Subject,
    verb: &str,
    group: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let attributes = ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        subresource: text(subresource),
        namespace: text(namespace),
        name: text(name),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(subject.user.clone()),
        groups: Some(subject.groups.clone()),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview {
        spec,
        ..SubjectAccessReview::default()
    };
    let answer = Api::<SubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn service_account(namespace: &str, name: &str) -> Subject {
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    Subject {
        user: format!("system:serviceaccount:{namespace}:{name}"),
        groups: groups.to_vec(),
    }
}

#[tokio::test]
async fn an_agent_may_touch_its_own_work_on_the_hub_and_no_secret() -> Result<()> {
    let s = Scenario::shared("rights-hub").await?;
    let agent = Subject {
        user: format!(
            "system:open-cluster-management:cluster:cluster1:addon:{0}:agent:{0}",
            names::ADDON
        ),
        groups: vec![
            format!("system:open-cluster-management:cluster:cluster1:addon:{}", names::ADDON),
            format!("system:open-cluster-management:addon:{}", names::ADDON),
            "system:authenticated".to_owned(),
        ],
    };
    for (allowed, verb, group, resource, namespace) in [
        (true, "watch", names::GROUP, "peerlinks", "cluster1"),
        (true, "patch", names::GROUP, "peerexports/status", "cluster1"),
        (false, "patch", names::GROUP, "peerlinks", "cluster1"),
        (false, "delete", names::GROUP, "peerlinks", "cluster1"),
        (false, "get", names::GROUP, "peerlinks", "cluster2"),
        (false, "patch", names::GROUP, "peermembers/status", "cluster2"),
        (false, "list", names::GROUP, "peerings", ""),
        (false, "get", "", "secrets", "cluster1"),
        (false, "list", "", "secrets", ""),
        (
            false,
            "get",
            "work.open-cluster-management.io",
            "manifestworks",
            "cluster1",
        ),
        (false, "create", "rbac.authorization.k8s.io", "rolebindings", "cluster1"),
    ] {
        let seen = may(&s.hub, &agent, verb, group, resource, namespace, "").await?;
        ensure!(
            seen == allowed,
            "{verb} {resource} in {namespace:?}: expected {allowed}, seen {seen}"
        );
    }
    let manager = service_account(MANAGER_NAMESPACE, "addon-manager");
    for namespace in ["", "cluster1", "kube-system", MANAGER_NAMESPACE] {
        for verb in ["get", "list", "watch"] {
            ensure!(
                !may(&s.hub, &manager, verb, "", "secrets", namespace, "").await?,
                "the manager may {verb} secrets in {namespace:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_may_touch_sources_and_targets_by_name_and_loses_that_with_the_peering() -> Result<()> {
    let s = Scenario::shared("rights-spoke").await?;
    s.ready_pair().await?;
    let (agent, spoke, target) = (
        service_account(AGENT_NAMESPACE, names::AGENT),
        s.client(Side::West),
        s.target_name(Side::West),
    );
    for (allowed, verb, namespace, name) in [
        (true, "get", s.name.as_str(), SOURCE),
        (false, "patch", &s.name, SOURCE),
        (true, "patch", &s.name, target.as_str()),
        (true, "delete", &s.name, &target),
        (false, "get", &s.name, "something-else"),
        (false, "list", &s.name, ""),
        (false, "get", AGENT_NAMESPACE, "something-else"),
        (false, "get", "kube-system", SOURCE),
    ] {
        let seen = may(&spoke, &agent, verb, "", "secrets", namespace, name).await?;
        ensure!(
            seen == allowed,
            "{verb} secrets/{name} in {namespace}: expected {allowed}, seen {seen}"
        );
    }
    s.withdraw().await?;
    s.await_gone(&s.on::<Secret>(Side::West), &target).await?;
    s.until("the agent to lose its rights", || async {
        Ok((!may(&spoke, &agent, "get", "", "secrets", &s.name, SOURCE).await?).then_some(()))
    })
    .await
}

/// Reads and changes everything that a profile can name.
const WIDE: &str = "
apiVersion: peering.open-cluster-management.io/v1alpha1
kind: ExchangeProfile
metadata: {name: rights-table}
spec:
  parameters: [{name: namespace}]
  artefacts:
  - name: all
    flow: ToHubRole
    inputs:
    - {as: named, apiVersion: v1, kind: ConfigMap, namespace: '${params.namespace}', name: named}
    - {as: computed, apiVersion: v1, kind: Secret, namespace: '${params.namespace}', name: '${inputs.named.data.secret}'}
    - {as: selected, apiVersion: apps/v1, kind: Deployment, namespace: '${params.namespace}', selector: {matchLabels: {app: x}}}
    - {as: token, tokenRequest: {namespace: '${params.namespace}', serviceAccount: reader}}
    - {as: identity, certificate: {signer: {kubernetes: {}}, commonName: 'peer:${destination.cluster}'}}
    - {as: gateway, endpoint: {nodes: {namespace: '${params.namespace}', name: gateway}}}
    payload: {all: '${inputs.token.token}'}
    provision:
    - template: {apiVersion: batch/v1, kind: Job, metadata: {name: claim, namespace: '${params.namespace}'}}
    deliver: {kind: Secret, namespace: '${params.namespace}', name: 'from-${source.cluster}'}
    wire:
    - annotate: {object: {apiVersion: apps/v1, kind: Deployment, namespace: '${params.namespace}', name: consumer}, key: example.io/hash}
    - apply: {template: {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: made, namespace: '${params.namespace}'}}}
    probes:
    - object: {object: {apiVersion: apps/v1, kind: StatefulSet, namespace: '${params.namespace}', name: watched}, healthy: 'true'}
";

#[tokio::test]
async fn an_agents_rights_on_its_cluster_are_those_that_its_links_name() -> Result<()> {
    let s = Scenario::shared("rights-table").await?;
    s.world.env.hub().apply_text(WIDE).await?;
    s.apply_peering(json!({
        "profile": "rights-table", "topology": "Star", "parameters": {"namespace": s.name},
        "members": [{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}],
    }))
    .await?;
    let agent = service_account(AGENT_NAMESPACE, names::AGENT);
    let ns = s.name.as_str();
    let csr = "certificates.k8s.io";
    let table = [
        // The source.
        (Side::East, true, "watch", "", "configmaps", ns, "named"),
        (Side::East, false, "watch", "", "configmaps", ns, "other"),
        (Side::East, false, "patch", "", "configmaps", ns, "named"),
        (Side::East, true, "watch", "", "secrets", ns, "whatever-it-is-called"),
        (Side::East, false, "patch", "", "secrets", ns, "whatever-it-is-called"),
        (Side::East, false, "get", "", "secrets", "kube-system", ""),
        (Side::East, true, "list", "apps", "deployments", ns, ""),
        (Side::East, false, "list", "apps", "deployments", "kube-system", ""),
        (Side::East, true, "create", "", "serviceaccounts/token", ns, "reader"),
        (Side::East, false, "create", "", "serviceaccounts/token", ns, "default"),
        (Side::East, true, "create", csr, "certificatesigningrequests", "", ""),
        (
            Side::East,
            true,
            "approve",
            csr,
            "signers",
            "",
            "kubernetes.io/kube-apiserver-client",
        ),
        (
            Side::East,
            false,
            "approve",
            csr,
            "signers",
            "",
            "kubernetes.io/kubelet-serving",
        ),
        (
            Side::East,
            false,
            "sign",
            csr,
            "signers",
            "",
            "kubernetes.io/kube-apiserver-client",
        ),
        (Side::East, true, "list", "", "nodes", "", ""),
        (Side::East, false, "patch", "", "nodes", "", ""),
        (Side::East, true, "get", "", "services", ns, "gateway"),
        (Side::East, true, "delete", "batch", "jobs", ns, "claim"),
        (Side::East, false, "delete", "batch", "jobs", ns, "other"),
        (
            Side::East,
            false,
            "create",
            "rbac.authorization.k8s.io",
            "rolebindings",
            ns,
            "",
        ),
        // The destination.
        (Side::West, true, "delete", "", "secrets", ns, "from-cluster1"),
        (Side::West, false, "get", "", "secrets", ns, "other"),
        (Side::West, true, "patch", "apps", "deployments", ns, "consumer"),
        (Side::West, false, "delete", "apps", "deployments", ns, "consumer"),
        (Side::West, false, "create", "apps", "deployments", ns, "consumer"),
        (Side::West, true, "delete", "networking.k8s.io", "ingresses", ns, "made"),
        (Side::West, true, "watch", "apps", "statefulsets", ns, "watched"),
        (Side::West, false, "patch", "apps", "statefulsets", ns, "watched"),
        (Side::West, false, "create", csr, "certificatesigningrequests", "", ""),
        (Side::West, false, "list", "", "nodes", "", ""),
    ];
    // What they have arrives; what they must not have is asked for once all of it is there.
    for (side, _, verb, group, resource, namespace, name) in table.iter().filter(|(_, allowed, ..)| *allowed) {
        let what = format!("the right of {} to {verb} {resource}/{name}", side.cluster());
        s.until(&what, || async {
            let seen = may(&s.client(*side), &agent, verb, group, resource, namespace, name).await?;
            Ok(seen.then_some(()))
        })
        .await?;
    }
    for (side, allowed, verb, group, resource, namespace, name) in table {
        let seen = may(&s.client(side), &agent, verb, group, resource, namespace, name).await?;
        ensure!(
            seen == allowed,
            "{} {verb} {resource}/{name} in {namespace:?}: expected {allowed}, seen {seen}",
            side.cluster()
        );
    }
    s.withdraw().await
}
