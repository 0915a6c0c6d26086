//! The core of all this on a hub and two managed clusters of the real Open Cluster Management 1.0, which serves the addon kinds
//! in v1alpha1 only: installation, an exchange, the framework by itself, configurations, removal.
use addon_framework::runtime::clients;
use anyhow::{Result, ensure};
use k8s_openapi::api::rbac::v1::Role;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use peering_api::{
    names,
    ocm::{ManagedClusterAddOn, ManifestWork, names::ADDON_NAME_LABEL},
};
use scenarios::{
    Scenario, Side,
    world::{AGENT_NAMESPACE, World},
};
use testenv::{Env, Options};

use crate::{framework::own_agents_follow, framework_older::lives};

#[tokio::test]
async fn a_hub_of_ocm_1_0_is_served_like_any_other() -> Result<()> {
    let options = Options {
        older: true,
        ..Options::default()
    };
    let env: &'static Env = Box::leak(Box::new(Env::start(options).await?));
    let mut s = Scenario::new(World::on(env).await?, "older-ocm").await?;
    let served = env.hub().get_raw("/apis/addon.open-cluster-management.io").await?;
    ensure!(served.contains("v1alpha1") && !served.contains("v1beta1"), "{served}");
    s.hub = clients(env.hub().config().await?)?.request;

    s.ready_pair().await?;
    for side in [Side::East, Side::West] {
        let token = format!("token of {} {}", s.name, side.other().cluster());
        s.await_target(side, &[("token", token.as_bytes())]).await?;
    }
    lives(&s, clients(env.hub().config().await?)?).await?;
    own_agents_follow(&s, AGENT_NAMESPACE).await?;
    s.withdraw().await?;
    the_product_goes(&s).await?;
    env.stop().await
}

async fn the_product_goes(s: &Scenario) -> Result<()> {
    for side in [Side::East, Side::West] {
        let addons = s.hub_of::<ManagedClusterAddOn>(side);
        addons.delete(names::ADDON, &DeleteParams::default()).await?;
        s.await_gone(&addons, names::ADDON).await?;
        s.world
            .env
            .spoke(side.cluster())?
            .node()?
            .await_gone(AGENT_NAMESPACE, names::AGENT, s.patience)
            .await?;
        let ours = ListParams::default().labels(&format!("{}={}", ADDON_NAME_LABEL, names::ADDON));
        s.until("no work and no Role of ours to be left", || async {
            let works = s.hub_of::<ManifestWork>(side).list_metadata(&ours).await?;
            let roles = Api::<Role>::namespaced(s.hub.clone(), side.cluster())
                .list_metadata(&ours)
                .await?;
            Ok((works.items.is_empty() && roles.items.is_empty()).then_some(()))
        })
        .await?;
    }
    Ok(())
}
