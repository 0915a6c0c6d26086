//! Clusters that admit restricted pods only admit ours.
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, PostParams},
};
use peering_api::names;
use scenarios::{
    Scenario, Side,
    scenario::put,
    world::{AGENT_NAMESPACE, MANAGER_NAMESPACE},
};
use serde_json::json;

/// The namespace in which only pods of the restricted level are admitted.
const STRICT: &str = "admission-strict";

/// What the API server says to a pod, without running it: `None` if it takes it.
async fn refusal(client: &Client, pod: &Pod) -> Result<Option<String>> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match Api::<Pod>::namespaced(client.clone(), STRICT)
        .create(&params, pod)
        .await
    {
        Ok(_) => Ok(None),
        Err(Error::Api(status)) if status.code == 403 => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn manager_and_agent_are_admitted_where_only_restricted_pods_are() -> Result<()> {
    let s = Scenario::shared("admission").await?;
    for (client, namespace, name) in [
        (s.hub.clone(), MANAGER_NAMESPACE, "addon-manager"),
        (s.client(Side::East), AGENT_NAMESPACE, names::AGENT),
    ] {
        let strict: Namespace = serde_json::from_value(json!({
            "metadata": {"name": STRICT, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        }))?;
        put(&Api::all(client.clone()), strict).await?;
        let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        put(&Api::namespaced(client.clone(), STRICT), account).await?;

        let deployment: Deployment = Api::namespaced(client.clone(), namespace).get(name).await?;
        let template = deployment.spec.context("a Deployment without a spec")?.template;
        let mut pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": template.spec}))?;
        let refused = refusal(&client, &pod).await?;
        ensure!(refused.is_none(), "{name} is refused: {refused:?}");

        let spec = pod.spec.as_mut().context("a pod without a spec")?;
        spec.host_network = Some(true);
        let refused = refusal(&client, &pod)
            .await?
            .context("a pod on the host's network is admitted")?;
        ensure!(refused.contains("violates PodSecurity"), "{refused}");
        Api::<Namespace>::all(client)
            .delete(STRICT, &DeleteParams::default())
            .await?;
    }
    Ok(())
}
