//! The writes on this cluster. Errors never quote what the API server answered: it may quote the Secret it was sent.
use std::fmt::Debug;

use addon_framework::runtime::{
    error_chain,
    write::{apply, delete},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use peering_api::{names, peering::reasons::Delivered};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Observed, Place};
use crate::decide::{Action, group::Wanted};

/// The field manager of all writes of the agent, here and on the hub.
pub const MANAGER: &str = names::AGENT;

/// Why a write failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// The namespace of the target is not there.
    #[error("namespace {0} does not exist: create it")]
    NamespaceNotFound(String),
    /// The API server refused.
    #[error("the API server refused to {verb} {place} ({code} {reason}){hint}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On what.
        place: Place,
        /// HTTP status.
        code: u16,
        /// Machine-readable reason.
        reason: String,
        /// What may help.
        hint: &'static str,
    },
    /// There was no usable answer.
    #[error("the API server gave no usable answer to the request to {verb} {place}: {why}")]
    NoAnswer {
        /// What was tried.
        verb: &'static str,
        /// On what.
        place: Place,
        /// What went wrong on the way.
        why: String,
    },
}

impl WriteError {
    /// The reason for the condition `Delivered`.
    #[must_use]
    pub fn reason(&self) -> Delivered {
        match self {
            Self::NamespaceNotFound(_) => Delivered::NamespaceNotFound,
            _ => Delivered::ApplyFailed,
        }
    }

    /// What was decided on is no longer so: the watch brings what is, and then the next try is another one.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    fn new(error: &kube::Error, verb: &'static str, place: &Place) -> Self {
        let place = place.clone();
        let kube::Error::Api(status) = error else {
            let why = on_the_way(error);
            return Self::NoAnswer { verb, place, why };
        };
        // Server-side apply creates what is missing, except for the namespace.
        if status.code == 404 && verb == APPLY {
            return Self::NamespaceNotFound(place.namespace.unwrap_or_default());
        }
        let hint = if status.code == 403 {
            ": the right arrives with the ManifestWork of the Peering, and the namespace must exist"
        } else {
            ""
        };
        Self::Refused {
            verb,
            place,
            code: status.code,
            reason: status.reason.clone(),
            hint,
        }
    }
}

/// What went wrong before there was an answer; an answer that cannot be read is not quoted.
#[must_use]
pub fn on_the_way(error: &kube::Error) -> String {
    match error {
        kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::RustlsTls(_) => error_chain(error),
        _ => "the answer cannot be read".to_owned(),
    }
}

const APPLY: &str = "apply";
const PATCH: &str = "patch";
const DELETE: &str = "delete";

/// Does what was decided about a target.
pub async fn act(client: &Client, place: &Place, action: &Action, seen: Option<&Observed>) -> Result<(), WriteError> {
    if place.is_secret() {
        act_on::<Secret>(client, place, action, seen).await
    } else {
        act_on::<ConfigMap>(client, place, action, seen).await
    }
}

/// The two kinds of targets.
trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Default
{
    fn keys(&self) -> Vec<String>;
    fn data(wanted: &Wanted) -> Map<String, Value>;
}

impl Object for Secret {
    fn keys(&self) -> Vec<String> {
        self.data.iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    fn data(wanted: &Wanted) -> Map<String, Value> {
        let data = wanted.data.iter();
        data.map(|(key, value)| (key.clone(), BASE64_STANDARD.encode(value.expose()).into()))
            .collect()
    }
}

impl Object for ConfigMap {
    fn keys(&self) -> Vec<String> {
        self.data.iter().flatten().map(|(key, _)| key.clone()).collect()
    }

    fn data(wanted: &Wanted) -> Map<String, Value> {
        let data = wanted.data.iter();
        data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(value.expose()).into()))
            .collect()
    }
}

async fn act_on<K: Object>(
    client: &Client,
    place: &Place,
    action: &Action,
    seen: Option<&Observed>,
) -> Result<(), WriteError> {
    let api = Api::<K>::namespaced(client.clone(), place.namespace.as_deref().unwrap_or_default());
    let failed = |verb| move |error: kube::Error| WriteError::new(&error, verb, place);
    match action {
        Action::None => Ok(()),
        Action::Create(wanted) => create(&api, place, wanted).await,
        Action::Apply(wanted) => {
            let body = body::<K>(place, wanted, seen.and_then(|seen| seen.uid.as_deref()));
            let written = apply(&api, &place.name, MANAGER, &body).await.map_err(failed(APPLY))?;
            strip(&api, place, wanted, &written).await
        }
        Action::Recreate(wanted) => {
            delete(&api, &reference::<K>(place, seen))
                .await
                .map_err(failed(DELETE))?;
            create(&api, place, wanted).await
        }
        Action::Delete => delete(&api, &reference::<K>(place, seen))
            .await
            .map(drop)
            .map_err(failed(DELETE)),
        Action::Release { data } => {
            let patch = release(data.as_ref(), seen);
            merge(&api, place, &patch).await
        }
    }
}

/// Creates without force: an object of that name that someone else made a moment ago is not taken over.
async fn create<K: Object>(api: &Api<K>, place: &Place, wanted: &Wanted) -> Result<(), WriteError> {
    let body = body::<K>(place, wanted, None);
    api.patch(&place.name, &PatchParams::apply(MANAGER), &Patch::Apply(body))
        .await
        .map(drop)
        .map_err(|error| WriteError::new(&error, APPLY, place))
}

/// Removes keys that apply leaves behind, because another manager owns them.
async fn strip<K: Object>(api: &Api<K>, place: &Place, wanted: &Wanted, written: &K) -> Result<(), WriteError> {
    let mut extra = written.keys();
    extra.retain(|key| wanted.exact && !wanted.data.contains_key(key));
    if extra.is_empty() {
        return Ok(());
    }
    let nulls: Map<_, _> = extra.into_iter().map(|key| (key, Value::Null)).collect();
    let patch = json!({"metadata": {"resourceVersion": written.resource_version()}, "data": nulls});
    merge(api, place, &patch).await
}

async fn merge<K: Object>(api: &Api<K>, place: &Place, patch: &Value) -> Result<(), WriteError> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    match api.patch(&place.name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(WriteError::new(&error, PATCH, place)),
    }
}

/// The object as it is applied. A uid keeps the write from an object that took the name meanwhile (409).
fn body<K: Object>(place: &Place, wanted: &Wanted, uid: Option<&str>) -> Value {
    let mut body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": wanted.labels,
            "annotations": wanted.annotations,
        },
        "data": K::data(wanted),
    });
    if let Some(type_) = &wanted.type_ {
        body["type"] = json!(type_);
    }
    if let Some(uid) = uid {
        body["metadata"]["uid"] = json!(uid);
    }
    body
}

fn reference<K: Object>(place: &Place, seen: Option<&Observed>) -> K {
    let mut object = K::default();
    *object.meta_mut() = ObjectMeta {
        name: Some(place.name.clone()),
        namespace: place.namespace.clone(),
        uid: seen.and_then(|seen| seen.uid.clone()),
        ..ObjectMeta::default()
    };
    object
}

/// Takes our labels and annotations off exactly the object that was seen.
fn release(data: Option<&(String, Option<String>)>, seen: Option<&Observed>) -> Value {
    let mut patch = json!({"metadata": {
        "resourceVersion": seen.and_then(|seen| seen.resource_version.clone()),
        "labels": {names::LINK_LABEL: null, names::PEERING_LABEL: null},
        "annotations": {names::REVISIONS_ANNOTATION: null, names::CERTIFICATES_ANNOTATION: null},
    }});
    if let Some((key, value)) = data {
        patch["data"] = json!({key: value});
    }
    patch
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn place() -> Place {
        Place::core("Secret", "ns", "t")
    }

    fn refused(code: u16, verb: &'static str) -> WriteError {
        let status = Status::failure("Secret is invalid: data: hunter2", "Invalid").with_code(code);
        WriteError::new(&kube::Error::Api(status.boxed()), verb, &place())
    }

    #[test]
    fn errors_never_quote_the_answer() {
        for error in [refused(422, APPLY), refused(403, APPLY), refused(404, PATCH)] {
            assert!(!format!("{error} {error:?}").contains("hunter2"));
            assert_eq!(error.reason(), Delivered::ApplyFailed);
        }
        let forbidden = refused(403, APPLY).to_string();
        assert!(
            forbidden.contains("(403 Invalid): the right arrives with the ManifestWork"),
            "{forbidden}"
        );
        assert_eq!(refused(404, APPLY).reason(), Delivered::NamespaceNotFound);
    }

    #[test]
    fn a_release_names_the_version_it_has_seen() {
        let seen = Observed {
            resource_version: Some("7".into()),
            ..Observed::default()
        };
        let patch = release(Some(&("k".to_owned(), None)), Some(&seen));
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["data"], json!({"k": null}));
        assert_eq!(patch["metadata"]["labels"][names::LINK_LABEL], Value::Null);
    }

    #[test]
    fn a_body_holds_the_data_in_the_form_of_its_kind() {
        let wanted = Wanted {
            type_: Some("Opaque".into()),
            data: [("k".to_owned(), b"v".to_vec().into())].into(),
            ..Wanted::default()
        };
        let secret = body::<Secret>(&place(), &wanted, Some("u"));
        assert_eq!(
            (&secret["data"]["k"], &secret["metadata"]["uid"]),
            (&json!("dg=="), &json!("u"))
        );
        assert_eq!(body::<ConfigMap>(&place(), &wanted, None)["data"]["k"], "v");
    }
}
