//! Hosted mode decided by a function of the addon's instead of an annotation, with probes that look at the hosted objects.
use addon_framework::{Addon, AddonError, Health, Options, Probe, Probes, Registration, Site, Templates};
use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use peering_api::ocm::{ManagedCluster, ManagedClusterAddOn, ManifestWork, work::ResourceIdentifier};
use scenarios::{Scenario, Side};
use serde_json::json;

use crate::framework_life::{await_condition, install, run};

const ADDON: &str = "guest";

const GUEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: guest-agent, namespace: default, labels: {addon.open-cluster-management.io/hosted-manifest-location: hosting}}
spec:
  replicas: 1
  selector: {matchLabels: {app: guest}}
  template:
    metadata: {labels: {app: guest}}
    spec:
      automountServiceAccountToken: false
      containers: [{name: agent, image: nothing}]
";

/// An addon whose agents all run on one cluster.
struct Guest {
    host: &'static str,
    templates: Templates,
}

impl Addon for Guest {
    fn name(&self) -> &str {
        ADDON
    }

    fn manifests(&self, site: &Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
        self.templates.render(&site.values([])?)
    }

    fn registration(&self, _: &ManagedCluster, _: &ManagedClusterAddOn) -> Option<Registration> {
        None
    }

    fn hosting_cluster(&self, _: &ManagedCluster, _: &ManagedClusterAddOn) -> Option<String> {
        Some(self.host.to_owned())
    }

    fn options(&self) -> Options {
        let object = ResourceIdentifier {
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            namespace: "default".to_owned(),
            name: "guest-*".to_owned(),
        };
        let ready = Probes::each([Probe::well_known(object)], |found| {
            match found.number("ReadyReplicas") {
                Some(1..) => Ok(()),
                _ => Err(format!("{} has nothing ready", found.object.name)),
            }
        });
        Options {
            hosted: true,
            health: Health::Probes(ready),
            ..Options::default()
        }
    }
}

#[tokio::test]
async fn a_function_names_the_host_and_probes_look_at_what_is_hosted() -> Result<()> {
    let s = Scenario::shared("framework-guest").await?;
    let (side, host) = (Side::West, Side::East);
    let addon = Guest {
        host: host.cluster(),
        templates: Templates::new([("guest.yaml", GUEST)])?,
    };
    let _manager = run(&s, addon)?;
    let addons = install(&s, ADDON, side, &json!({})).await?;
    await_condition(&s, &addons, ADDON, "HostingClusterValidity", "HostingClusterValid").await?;
    await_condition(&s, &addons, ADDON, "HostingManifestApplied", "AddonManifestApplied").await?;
    let work = format!("addon-{ADDON}-deploy-hosting-{}-0", side.cluster());
    let hosted = s.hub_of::<ManifestWork>(host);
    let configured = hosted.get(&work).await?.spec.manifest_configs;
    ensure!(!configured.is_empty(), "nothing is to be reported about {work}");

    let deployments: Api<Deployment> = Api::namespaced(s.client(host), "default");
    let report = async |status: serde_json::Value| {
        let patch = Patch::Merge(json!({"status": status}));
        deployments
            .patch_status("guest-agent", &PatchParams::default(), &patch)
            .await
    };
    report(json!({"replicas": 1})).await?;
    let object = await_condition(&s, &addons, ADDON, "Available", "ProbeUnavailable").await?;
    let mode = object.status.and_then(|status| status.health_check?.mode);
    ensure!(mode.as_deref() == Some("Customized"), "{mode:?}");
    report(json!({"replicas": 1, "readyReplicas": 1})).await?;
    await_condition(&s, &addons, ADDON, "Available", "ProbeAvailable").await?;
    let here: Api<Deployment> = Api::namespaced(s.client(side), "default");
    ensure!(
        here.get_opt("guest-agent").await?.is_none(),
        "the agent is on its own cluster"
    );

    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    s.await_gone(&hosted, &work).await?;
    s.await_gone(&deployments, "guest-agent").await
}
