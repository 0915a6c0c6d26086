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
