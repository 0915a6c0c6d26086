//! The framework on a hub that serves the addon kinds in v1alpha1 only (OCM before 1.2). Here it is the hub of all scenarios,
//! asked in a version that it does not serve when v1beta1 is meant: it answers as an older one would. Its CRDs validate what
//! is written in v1alpha1, and the real components of OCM act on it.
use std::sync::Arc;

use addon_framework::{
    AddonVersions, ConfigKind, Health, Manager, Options, Registration, Simple, Templates, runtime::Clients,
};
use anyhow::{Context, Result, ensure};
use http::{Request, Uri};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::DeleteParams,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use peering_api::{
    ocm::{ManagedClusterAddOn, ManifestWork},
    peering::condition,
};
use scenarios::{Scenario, Side};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;

const ADDON: &str = "older";

const MANIFESTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: older, namespace: {{ AddonInstallNamespace }}}
data: {level: {{ Level | tojson }}}
";

const HUB: &str = "
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: AddOnDeploymentConfig
metadata: {name: older, namespace: default}
spec: {agentInstallNamespace: default, customizedVariables: [{name: Level, value: '4'}]}
---
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ClusterManagementAddOn
metadata: {name: older}
spec:
  installStrategy: {type: Manual}
  supportedConfigs:
  - {group: addon.open-cluster-management.io, resource: addondeploymentconfigs, defaultConfig: {namespace: default, name: older}}
---
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ManagedClusterAddOn
metadata: {name: older, namespace: cluster1}
spec: {}
";

/// A client that cannot speak v1beta1 of the addon kinds with its hub, as with an older one.
fn client(config: Config, versions: &AddonVersions) -> Result<Client> {
    let unserved = MapRequestLayer::new(|mut request: Request<Body>| {
        let beta = "/addon.open-cluster-management.io/v1beta1/";
        let path = request
            .uri()
            .to_string()
            .replace(beta, "/addon.open-cluster-management.io/v1nothing/");
        if let Ok(path) = path.parse::<Uri>() {
            *request.uri_mut() = path;
        }
        request
    });
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&unserved)
        .with_layer(versions)
        .build())
}

#[tokio::test]
async fn an_addon_lives_on_a_hub_with_v1alpha1_only() -> Result<()> {
    let s = Scenario::shared("framework-older").await?;
    let kubeconfig = Kubeconfig::read_from(s.world.env.hub().kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let versions = AddonVersions::default();
    let clients = Clients {
        watch: client(config.clone(), &versions)?,
        request: client(config, &versions)?,
    };
    lives(&s, clients).await
}

/// The life of an addon whose manager has these clients.
pub(crate) async fn lives(s: &Scenario, clients: Clients) -> Result<()> {
    let side = Side::East;
    let addon = Simple::new(ADDON)
        .templates(Templates::new([("older.yaml", MANIFESTS)])?)
        .registration(|cluster, _| Some(Registration::kube_client(&cluster.name_any(), ADDON).bind("view")))
        .options(Options {
            configs: vec![ConfigKind::deployment_config()],
            health: Health::Works,
            ..Options::default()
        });
    let manager = Manager::builder(clients).addon(Arc::new(addon)).build()?;
    let token = CancellationToken::new();
    let _guard = token.clone().drop_guard();
    tokio::spawn(async move { manager.run(token).await });

    s.world.env.hub().apply_text(HUB).await?;
    let addons = s.hub_of::<ManagedClusterAddOn>(side);
    for (type_, reason) in [
        ("RegistrationApplied", "SetPermissionApplied"),
        ("ManifestApplied", "AddonManifestApplied"),
        ("Available", "WorkApplied"),
        ("Progressing", "Completed"),
    ] {
        s.until(&format!("{ADDON} to be {type_}"), || async {
            let conditions = addons.get(ADDON).await?.status.unwrap_or_default().conditions;
            Ok(condition(&conditions, type_)
                .filter(|found| found.reason == reason)
                .map(|_| ()))
        })
        .await?;
    }
    // An addon whose configuration is not known yet is complete too.
    s.until("the configuration to be rolled out", || async {
        let references = addons.get(ADDON).await?.status.unwrap_or_default().config_references;
        let applied = references
            .first()
            .and_then(|reference| reference.last_applied_config.clone());
        Ok(applied.filter(|config| !config.spec_hash.is_empty()))
    })
    .await?;
    let maps: Api<ConfigMap> = Api::namespaced(s.client(side), "default");
    s.until("level 4", || async {
        let data = maps.get(ADDON).await?.data.unwrap_or_default();
        ensure!(data.get("level").map(String::as_str) == Some("4"), "{data:?}");
        Ok(Some(()))
    })
    .await?;
    let credentials: Api<Secret> = Api::namespaced(s.client(side), "default");
    s.until("the agent's credentials", || async {
        Ok(credentials.get_opt("older-hub-kubeconfig").await?)
    })
    .await?;
    let works = s.hub_of::<ManifestWork>(side);
    let work = works.get("addon-older-deploy-0").await?;
    let owner = work.owner_references().first().context("no owner")?;
    ensure!(
        owner.api_version == "addon.open-cluster-management.io/v1alpha1",
        "{owner:?}"
    );

    let bindings = s.hub_of::<RoleBinding>(side);
    let name = "open-cluster-management:older:agent:view";
    let bound = bindings.get(name).await?.subjects.unwrap_or_default();
    ensure!(
        bound
            .iter()
            .any(|subject| subject.name.ends_with(":addon:older:agent:older")),
        "{bound:?}"
    );

    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&bindings, name).await?;
    s.await_gone(&works, "addon-older-deploy-0").await?;
    s.await_gone(&maps, ADDON).await?;
    Ok(())
}
