//! Carries out one change of a Peering: one request to the hub's API server.
use std::time::Instant;

use addon_framework::runtime::{conditions, write as request};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use peering_api::{
    names,
    ocm::{
        ManagedClusterAddOn, ManifestWork,
        work::{ManifestWorkSpec, Workload},
    },
    peering::{PeerExport, PeerLink, Peering, PeeringStatus, rfc3339},
};
use serde_json::{Map, Value, json};

use super::{decide::Change, hub::Hub};

/// Field manager of everything that this controller applies.
const MANAGER: &str = "peering-manager";

/// Carries out one change that concerns the Peering of that name.
pub(crate) async fn write(hub: &Hub, peering: &str, change: Change) -> Result<(), kube::Error> {
    let client = hub.client.clone();
    match change {
        Change::PeeringFinalizer(peering, on) => {
            let api = Api::<Peering>::all(client);
            request::finalizer(&api, peering.as_ref(), names::WITHDRAW_FINALIZER, on).await?;
        }
        Change::CreateAddon(cluster) if hub.asked.first(&cluster, Instant::now()) => {
            let made = create_addon(&Api::namespaced(client, &cluster)).await;
            made.inspect_err(|_| hub.asked.over(&cluster))?;
        }
        Change::CreateAddon(_) => {}
        Change::ApplyExport((namespace, name), spec) => {
            let api = Api::<PeerExport>::namespaced(client, &namespace);
            let mut export = PeerExport::new(&name, *spec);
            export.metadata.labels = Some(labels(&export.spec.peering));
            // Only what was provisioned has to be removed; a finalizer where nothing is would hold up the Peering.
            export.metadata.finalizers =
                (!export.spec.provision.is_empty()).then(|| vec![names::WITHDRAW_FINALIZER.to_owned()]);
            hub.exports
                .recent
                .wrote(request::apply(&api, &name, MANAGER, &export).await?);
        }
        Change::DeleteExport(export) => {
            request::delete(&api_of(hub, export.as_ref()), export.as_ref()).await?;
        }
        Change::ReleaseExport(export) => {
            let api = api_of(hub, export.as_ref());
            request::finalizer(&api, export.as_ref(), names::WITHDRAW_FINALIZER, false).await?;
        }
        Change::ApplyLink((namespace, name), spec) => {
            let api = Api::<PeerLink>::namespaced(client, &namespace);
            let mut link = PeerLink::new(&name, *spec);
            link.metadata.labels = Some(labels(&link.spec.peering));
            link.metadata.finalizers = Some(vec![names::WITHDRAW_FINALIZER.to_owned()]);
            hub.links
                .recent
                .wrote(request::apply(&api, &name, MANAGER, &link).await?);
        }
        Change::DeleteLink(link) => {
            request::delete(&api_of(hub, link.as_ref()), link.as_ref()).await?;
        }
        Change::ReleaseLink(link) => {
            request::finalizer(
                &api_of(hub, link.as_ref()),
                link.as_ref(),
                names::WITHDRAW_FINALIZER,
                false,
            )
            .await?;
        }
        Change::ApplyWork((cluster, name), manifests) => apply_work(hub, &cluster, &name, peering, manifests).await?,
        Change::DeleteWork(work) => {
            request::delete(&api_of(hub, work.as_ref()), work.as_ref()).await?;
        }
        Change::LinkStatus(link, conditions) => {
            let status = Map::from_iter([("conditions".to_owned(), json!(conditions))]);
            let written =
                conditions::apply_status(&api_of(hub, link.as_ref()), link.as_ref(), MANAGER, &status).await?;
            hub.links.recent.wrote(written);
            let before = link.status.as_ref().map(|status| status.conditions.as_slice());
            hub.events
                .changed(link.as_ref(), before.unwrap_or_default(), &conditions);
        }
        Change::PeeringStatus(peering, status) => {
            let api = Api::<Peering>::all(client);
            let fields = peering_status(&status);
            hub.peerings
                .recent
                .wrote(conditions::apply_status(&api, peering.as_ref(), MANAGER, &fields).await?);
            let before = peering.status.as_ref().map(|status| status.conditions.as_slice());
            hub.events
                .changed(peering.as_ref(), before.unwrap_or_default(), &status.conditions);
        }
    }
    Ok(())
}

fn api_of<K>(hub: &Hub, object: &K) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(
        hub.client.clone(),
        object.meta().namespace.as_deref().unwrap_or_default(),
    )
}

fn labels(peering: &str) -> std::collections::BTreeMap<String, String> {
    [(names::PEERING_LABEL.to_owned(), peering.to_owned())].into()
}

/// Makes the addon of a cluster, unless somebody has.
pub(crate) async fn create_addon(api: &Api<ManagedClusterAddOn>) -> Result<(), kube::Error> {
    let addon = ManagedClusterAddOn {
        metadata: ObjectMeta {
            name: Some(names::ADDON.to_owned()),
            ..ObjectMeta::default()
        },
        ..ManagedClusterAddOn::default()
    };
    match api.create(&PostParams::default(), &addon).await {
        // Somebody else was quicker; theirs is as good.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        result => result.map(drop),
    }
}

async fn apply_work(
    hub: &Hub,
    cluster: &str,
    name: &str,
    peering: &str,
    manifests: Vec<Value>,
) -> Result<(), kube::Error> {
    let mut work = ManifestWork::new(
        name,
        ManifestWorkSpec {
            workload: Workload { manifests },
            ..ManifestWorkSpec::default()
        },
    );
    work.metadata.labels = Some(labels(peering));
    let api = Api::namespaced(hub.client.clone(), cluster);
    hub.works
        .recent
        .wrote(request::apply(&api, name, MANAGER, &work).await?);
    Ok(())
}

/// What of a Peering's status is applied; empty lists have to be stated, or their last entries would stay.
fn peering_status(status: &PeeringStatus) -> Map<String, Value> {
    let mut fields = Map::from_iter([
        ("links".to_owned(), json!(status.links)),
        ("members".to_owned(), json!(status.members)),
        ("conditions".to_owned(), json!(status.conditions)),
    ]);
    if let Some(next) = &status.next_expiration {
        fields.insert("nextExpiration".to_owned(), rfc3339(next.0).into());
    }
    fields
}
