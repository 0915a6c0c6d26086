//! The few writes which controllers make, each one request: apply, JSON patch, delete.
use std::fmt::Debug;

use json_patch::{
    AddOperation, Patch as JsonPatch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};
use peering_api::kube::{
    self, Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::Status,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Creates or changes an object by server-side apply: `manager` owns exactly the fields in `object`.
pub async fn apply<K>(api: &Api<K>, name: &str, manager: &str, object: &impl Serialize) -> Result<K, kube::Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let body = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(body))
        .await
}

/// Whether an API server says that there is no such object, or that it does not even serve the kind.
///
/// `Status::is_not_found` of kube 5.0 knows the first alone: a kind that is not served is answered by a plain text.
#[must_use]
pub fn is_missing(status: &Status) -> bool {
    status.code == 404
}

/// Deletes exactly this object. Gone already is fine, and so is its kind; returns whether it was there.
///
/// One which took its name meanwhile stays: the API server refuses (409), and the caller tries again with what the watch
/// brings. That error is not taken for "gone": who is told that all is well would not come back.
pub async fn delete<K>(api: &Api<K>, object: &K) -> Result<bool, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    delete_if(api, object, None).await
}

/// Deletes this object only as it was seen, for one to which others may have added something meanwhile; else like [`delete`].
pub async fn delete_as_seen<K>(api: &Api<K>, object: &K) -> Result<bool, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    delete_if(api, object, object.resource_version()).await
}

async fn delete_if<K>(api: &Api<K>, object: &K, resource_version: Option<String>) -> Result<bool, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let preconditions = Preconditions {
        uid: object.uid(),
        resource_version,
    };
    let params = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    match api.delete(&object.name_any(), &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if is_missing(&status) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Adds (`present`) or removes a finalizer; does nothing if that is so already. Returns the object if it wrote.
///
/// The patch tests the list it was computed from: if another writer changed it meanwhile, the API server refuses (422) and
/// the caller tries again with what the watch brings.
pub async fn finalizer<K>(api: &Api<K>, object: &K, finalizer: &str, present: bool) -> Result<Option<K>, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let Some(patch) = finalizer_patch(object.finalizers(), object.uid().as_deref(), finalizer, present) else {
        return Ok(None);
    };
    match api
        .patch(&object.name_any(), &PatchParams::default(), &Patch::Json::<()>(patch))
        .await
    {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if is_missing(&status) && !present => Ok(None),
        Err(error) => Err(error),
    }
}

/// Changes a status by a JSON patch.
pub(crate) async fn patch_status<K>(api: &Api<K>, object: &K, manager: &str, patch: JsonPatch) -> Result<K, kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    api.patch_status(&object.name_any(), &params, &Patch::Json::<()>(patch))
        .await
}

/// Whether a write was refused because the object is not any more as it was seen: by its version (409), or by a test of a JSON
/// patch (422; an object that is not valid gets that too, with causes).
#[must_use]
pub fn is_outdated(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let invalid = status
        .details
        .as_ref()
        .is_some_and(|details| !details.causes.is_empty());
    status.code == 409 || status.code == 422 && !invalid
}

fn finalizer_patch(existing: &[String], uid: Option<&str>, finalizer: &str, present: bool) -> Option<JsonPatch> {
    let position = existing.iter().position(|known| known == finalizer);
    let mut operations = vec![];
    if let Some(uid) = uid {
        operations.push(test(&["metadata", "uid"], json!(uid)));
    }
    match (position, present) {
        (Some(_), true) | (None, false) => return None,
        // A test against a missing list would fail, and `add` to it too: make the list.
        (None, true) if existing.is_empty() => {
            operations.push(test(&["metadata", "finalizers"], Value::Null));
            operations.push(add(&["metadata", "finalizers"], json!([finalizer])));
        }
        (None, true) => {
            operations.push(test(&["metadata", "finalizers"], json!(existing)));
            operations.push(add(&["metadata", "finalizers", "-"], json!(finalizer)));
        }
        (Some(index), false) => {
            let index = index.to_string();
            operations.push(test(&["metadata", "finalizers", &index], json!(finalizer)));
            operations.push(remove(&["metadata", "finalizers", &index]));
        }
    }
    Some(JsonPatch(operations))
}

/// Refuses the patch unless this value is there; null: unless nothing is there.
pub(crate) fn test(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(path),
        value,
    })
}

/// Sets a field, or puts an entry into a list.
pub(crate) fn add(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: pointer(path),
        value,
    })
}

/// Puts something else into the place of what is there.
pub(crate) fn replace(path: &[&str], value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation {
        path: pointer(path),
        value,
    })
}

/// Takes away what is there.
pub(crate) fn remove(path: &[&str]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: pointer(path) })
}

fn pointer(path: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(path.iter().copied())
}

#[cfg(test)]
mod tests {
    use peering_api::k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    /// What a delete makes of an answer.
    async fn deleted(code: u16, reason: &str) -> Result<bool, kube::Error> {
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
        deleted_with(code, body.to_string()).await
    }

    async fn deleted_with(code: u16, body: String) -> Result<bool, kube::Error> {
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let body = kube::client::Body::from(body.clone().into_bytes());
            std::future::ready(http::Response::builder().status(code).body(body))
        });
        let api: Api<ConfigMap> = Api::default_namespaced(kube::Client::new(service, "default"));
        let mut map = ConfigMap::default();
        map.metadata.name = Some("a".into());
        delete(&api, &map).await
    }

    #[tokio::test]
    async fn a_delete_is_done_when_the_object_is_gone_and_not_when_it_was_refused() {
        assert!(deleted(200, "").await.unwrap());
        assert!(!deleted(404, "NotFound").await.unwrap());
        let unserved = deleted_with(404, "404 page not found".to_owned()).await;
        assert!(!unserved.unwrap(), "the kind is gone, and all objects with it");
        for (code, reason) in [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError")] {
            assert!(deleted(code, reason).await.is_err(), "{code}");
        }
    }

    fn patched(existing: Option<Value>, present: bool) -> Option<Value> {
        let mut object = json!({"metadata": {"uid": "u"}});
        if let Some(existing) = &existing {
            object["metadata"]["finalizers"] = existing.clone();
        }
        let list: Vec<String> = existing
            .map(|list| serde_json::from_value(list).unwrap())
            .unwrap_or_default();
        let patch = finalizer_patch(&list, Some("u"), "ours", present)?;
        // The API server's library takes a test for null as true when the path is missing; json-patch does not.
        let operations = patch
            .0
            .into_iter()
            .filter(|operation| !matches!(operation, PatchOperation::Test(test) if test.value.is_null()));
        json_patch::patch(&mut object, &operations.collect::<Vec<_>>()).unwrap();
        Some(object["metadata"]["finalizers"].clone())
    }

    #[test]
    fn finalizers_are_added_and_removed_beside_others() {
        assert_eq!(patched(None, true), Some(json!(["ours"])));
        assert_eq!(patched(Some(json!(["theirs"])), true), Some(json!(["theirs", "ours"])));
        assert_eq!(patched(Some(json!(["theirs", "ours"])), true), None);
        assert_eq!(
            patched(Some(json!(["theirs", "ours", "more"])), false),
            Some(json!(["theirs", "more"]))
        );
        assert_eq!(patched(Some(json!(["theirs"])), false), None);
        assert_eq!(patched(None, false), None);
    }

    #[test]
    fn a_patch_for_another_object_or_list_is_refused() {
        let patch = finalizer_patch(&["theirs".into()], Some("u"), "ours", true).unwrap();
        let mut other = json!({"metadata": {"uid": "v", "finalizers": ["theirs"]}});
        assert!(json_patch::patch(&mut other, &patch).is_err());
        let mut changed = json!({"metadata": {"uid": "u", "finalizers": ["theirs", "more"]}});
        assert!(json_patch::patch(&mut changed, &patch).is_err());
    }
}
