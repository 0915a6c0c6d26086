//! Fills in what rollouts of configurations need from the framework: hashes, on the definitions of addons.
use std::{sync::Arc, time::Duration};

use peering_api::{
    kube::{
        self, Api, ResourceExt,
        api::{Patch, PatchParams},
    },
    ocm::ClusterManagementAddOn,
};
use serde_json::{Map, Value, json};
use tracing::debug;

use super::{Error, Shared};
use crate::{config, runtime::Outcome};

/// How soon to look again after a conflict, if no event of the other write comes (it does, at once).
const AFTER_CONFLICT: Duration = Duration::from_secs(1);

/// The status of an addon's definition: its defaults, and the configurations of its placements.
pub(super) async fn reconcile(shared: Arc<Shared>, addon: String) -> Result<Outcome, Error> {
    let Some((ours, watches)) = shared.addons.get(&addon).zip(shared.watches.get()) else {
        return Ok(Outcome::Done);
    };
    let Some(definition) = watches.definition(&addon) else {
        return Ok(Outcome::Done);
    };
    let find = |kind: &_, config: &_| watches.find_config(kind, config);
    let status = definition.status.as_ref();
    let Some(status) = status.and_then(|status| config::hashed(&ours.options.configs, status, &find)) else {
        return Ok(Outcome::Done);
    };
    let api: Api<ClusterManagementAddOn> = Api::all(shared.clients.request.clone());
    let mut lists = Map::new();
    if !status.default_config_references.is_empty() {
        lists.insert(
            "defaultConfigReferences".to_owned(),
            json!(status.default_config_references),
        );
    }
    if !status.install_progressions.is_empty() {
        lists.insert("installProgressions".to_owned(), json!(status.install_progressions));
    }
    write(&api, &definition, &Value::Object(lists)).await
}

/// Writes lists that belong to OCM's addon-manager: only into what was read, since the lists are replaced as wholes.
async fn write(
    api: &Api<ClusterManagementAddOn>,
    definition: &ClusterManagementAddOn,
    status: &Value,
) -> Result<Outcome, Error> {
    let name = definition.name_any();
    let metadata = json!({"uid": definition.uid(), "resourceVersion": definition.resource_version()});
    let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
    match api.patch_status(&name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(refused)) if refused.is_conflict() => {
            debug!(name, "configurations changed meanwhile, looking again");
            Ok(Outcome::RequeueAfter(AFTER_CONFLICT))
        }
        Err(kube::Error::Api(refused)) if refused.is_not_found() => Ok(Outcome::Done),
        result => {
            let action = format!("write the hashes of configurations of ClusterManagementAddOn {name}");
            result.map(|_| Outcome::Done).map_err(Error::request(action))
        }
    }
}
