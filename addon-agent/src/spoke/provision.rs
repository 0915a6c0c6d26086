//! The writes on objects that a source provisions.
use addon_framework::runtime::write::is_missing;
use exchange::source::Provision;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::json;

use super::{Place, pool::api_resource, refusal::Refusal, write::MANAGER};

fn api(client: &Client, place: &Place) -> Api<DynamicObject> {
    let kind = api_resource(place);
    match &place.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// Applies an object. `uid` of the one that is there keeps the write from another that took the name meanwhile; where none
/// is there, nothing is forced, so that one that appears at this moment is not overwritten.
pub async fn apply(client: &Client, provision: &Provision, uid: Option<&str>) -> Result<(), Refusal> {
    let mut object = provision.object.clone();
    let mut params = PatchParams::apply(MANAGER);
    if let Some(uid) = uid {
        object["metadata"]["uid"] = json!(uid);
        params = params.force();
    }
    let place = &provision.place;
    let applied = api(client, place)
        .patch(&place.name, &params, &Patch::Apply(object))
        .await;
    applied.map(drop).map_err(|error| Refusal::from(&error))
}

/// Deletes exactly the object with this uid.
pub async fn delete(client: &Client, place: &Place, uid: &str) -> Result<(), Refusal> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api(client, place).delete(&place.name, &params).await {
        Ok(_) => Ok(()),
        // With a uid precondition, 409 says that the name belongs to another object.
        Err(kube::Error::Api(status)) if is_missing(&status) || status.is_conflict() => Ok(()),
        Err(error) => Err(Refusal::from(&error)),
    }
}
