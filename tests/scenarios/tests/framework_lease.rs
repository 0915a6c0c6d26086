//! The agent's Lease is on the hub where its own cluster serves no Leases. Here a cluster is asked for them under a name that
//! it does not serve: it answers as one without them.
use std::time::Duration;

use addon_framework::{Registration, Simple, agent::lease};
use anyhow::{Context, Result, ensure};
use http::{Request, Uri};
use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::PolicyRule};
use kube::{
    Api, Client, ResourceExt,
    api::DeleteParams,
    client::{Body, ClientBuilder},
};
use scenarios::{Scenario, Side};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;

use crate::framework_life::{await_condition, install, run};

const ADDON: &str = "leased";

fn registration(cluster: &str) -> Registration {
    Registration::kube_client(cluster, ADDON).allow([PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
        resources: Some(vec!["leases".to_owned()]),
        verbs: ["get", "create", "patch"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    }])
}

/// The agent on the hub: what its registration says it is.
async fn agent(s: &Scenario, side: Side) -> Result<Client> {
    let mut configs = registration(side.cluster()).configs;
    let subject = configs.remove(0).kube_client.and_then(|client| client.subject);
    let subject = subject.context("no subject")?;
    let mut config = s.world.env.hub().config().await?;
    config.auth_info.impersonate = Some(subject.user);
    config.auth_info.impersonate_groups = Some(subject.groups);
    Ok(Client::try_from(config)?)
}

/// A client of a managed cluster that cannot find Leases there.
async fn without_leases(s: &Scenario, side: Side) -> Result<Client> {
    let unserved = MapRequestLayer::new(|mut request: Request<Body>| {
        let path = request
            .uri()
            .to_string()
            .replace("/apis/coordination.k8s.io/", "/apis/nothing.k8s.io/");
        if let Ok(path) = path.parse::<Uri>() {
            *request.uri_mut() = path;
        }
        request
    });
    let config = s.world.env.spoke(side.cluster())?.config().await?;
    Ok(ClientBuilder::try_from(config)?.with_layer(&unserved).build())
}

#[tokio::test]
async fn the_lease_is_on_the_hub_where_a_cluster_has_none() -> Result<()> {
    let s = Scenario::shared("framework-lease").await?;
    let side = Side::East;
    let addon = Simple::new(ADDON).registration(|cluster, _| Some(registration(&cluster.name_any())));
    let _manager = run(&s, addon)?;
    let addons = install(&s, ADDON, side, &json!({})).await?;
    await_condition(&s, &addons, ADDON, "RegistrationApplied", "SetPermissionApplied").await?;

    let token = CancellationToken::new();
    let _guard = token.clone().drop_guard();
    let (cluster, hub) = (without_leases(&s, side).await?, agent(&s, side).await?);
    tokio::spawn(async move {
        lease::keep_or_on_hub(cluster, "default", (hub, side.cluster()), ADDON, || true, token).await;
    });
    let leases: Api<Lease> = s.hub_of(side);
    let found = s
        .until("the Lease on the hub", || async { Ok(leases.get_opt(ADDON).await?) })
        .await?;
    let spec = found.spec.unwrap_or_default();
    ensure!(spec.renew_time.is_some(), "{spec:?}");
    ensure!(
        spec.lease_duration_seconds.map(i64::from) == Duration::as_secs(&lease::DURATION).try_into().ok(),
        "{spec:?}"
    );
    let there: Api<Lease> = Api::namespaced(s.client(side), "default");
    ensure!(there.get_opt(ADDON).await?.is_none(), "a Lease on the cluster too");

    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    leases.delete(ADDON, &DeleteParams::default()).await?;
    Ok(())
}
