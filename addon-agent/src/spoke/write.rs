//! The writes on this cluster. Errors never quote what the API server answered: it may quote the Secret it was sent.
use std::collections::BTreeMap;

use addon_framework::runtime::{
    error_chain,
    write::{apply, delete, delete_as_seen},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
    core::DynamicObject,
};
use peering_api::{Sensitive, names, peering::reasons::Delivered};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Observed, Place, pool::api_resource};
use crate::decide::action::{Action, DataObject, OUR_ANNOTATIONS, Wanted};

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
    /// The object has changed since it was looked at.
    #[error("{0} has changed since it was looked at")]
    Changed(Place),
    /// The object is gone.
    #[error("{0} is gone")]
    Gone(Place),
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
        matches!(self, Self::Refused { code: 409, .. } | Self::Changed(_))
    }

    fn new(error: &kube::Error, verb: &'static str, place: &Place) -> Self {
        let place = place.clone();
        let kube::Error::Api(status) = error else {
            let why = on_the_way(error);
            return Self::NoAnswer { verb, place, why };
        };
        // Server-side apply creates what is missing, except for the namespace.
        if status.code == 404
            && verb == APPLY
            && let Some(namespace) = &place.namespace
        {
            return Self::NamespaceNotFound(namespace.clone());
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

/// Does what was decided about an object.
pub async fn act(client: &Client, place: &Place, action: &Action, seen: Option<&Observed>) -> Result<(), WriteError> {
    let api = api(client, place);
    let failed = |verb| move |error: kube::Error| WriteError::new(&error, verb, place);
    match action {
        Action::None => Ok(()),
        Action::Create(wanted) => create(&api, place, wanted).await,
        Action::Apply(wanted) => {
            let body = body(place, wanted, seen);
            let written = apply(&api, &place.name, MANAGER, &body).await.map_err(failed(APPLY))?;
            strip(&api, place, wanted, &written).await
        }
        Action::Recreate(wanted) => {
            delete(&api, &reference(place, seen)).await.map_err(failed(DELETE))?;
            create(&api, place, wanted).await
        }
        Action::Delete => {
            let object = reference(place, seen);
            // A certificate that somebody has put into it a moment ago stays.
            let deleted = if place.is_config_map() {
                delete_as_seen(&api, &object).await
            } else {
                delete(&api, &object).await
            };
            deleted.map(drop).map_err(failed(DELETE))
        }
        Action::Release { data } => {
            let patch = release(data.as_ref(), seen);
            merge(&api, place, &patch).await
        }
    }
}

/// Changes somebody else's object by a patch that tests what it was computed from.
///
/// An API server refuses a test that fails and a change that does not fit the schema in the same way (422). They are told
/// apart by whether the object still has the version that was seen: only then it is no use to plan again.
pub async fn patch(
    client: &Client,
    place: &Place,
    patch: &json_patch::Patch,
    seen_version: Option<&str>,
) -> Result<(), WriteError> {
    let api = api(client, place);
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = api.patch(&place.name, &params, &Patch::<()>::Json(patch.clone())).await;
    let Err(error) = written else {
        return Ok(());
    };
    let kube::Error::Api(status) = &error else {
        return Err(WriteError::new(&error, PATCH, place));
    };
    match status.code {
        404 => Err(WriteError::Gone(place.clone())),
        409 => Err(WriteError::Changed(place.clone())),
        422 => match api.get_opt(&place.name).await {
            Ok(None) => Err(WriteError::Gone(place.clone())),
            Ok(Some(now)) if now.resource_version().as_deref() != seen_version => {
                Err(WriteError::Changed(place.clone()))
            }
            _ => Err(WriteError::new(&error, PATCH, place)),
        },
        _ => Err(WriteError::new(&error, PATCH, place)),
    }
}

/// Objects of any kind are written as the same thing: what the kinds have in common is enough.
fn api(client: &Client, place: &Place) -> Api<DynamicObject> {
    let kind = api_resource(place);
    match &place.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    }
}

/// Creates without force: an object of that name that someone else made a moment ago is not taken over.
async fn create(api: &Api<DynamicObject>, place: &Place, wanted: &Wanted) -> Result<(), WriteError> {
    let body = body(place, wanted, None);
    api.patch(&place.name, &PatchParams::apply(MANAGER), &Patch::Apply(body))
        .await
        .map(drop)
        .map_err(|error| WriteError::new(&error, APPLY, place))
}

/// Removes keys that apply leaves behind, because another manager owns them.
async fn strip(
    api: &Api<DynamicObject>,
    place: &Place,
    wanted: &Wanted,
    written: &DynamicObject,
) -> Result<(), WriteError> {
    let Wanted::Data(wanted) = wanted else {
        return Ok(());
    };
    let mut patch = json!({"metadata": {"resourceVersion": written.resource_version()}});
    let mut extra = false;
    for field in ["data", "binaryData"] {
        let keys = written
            .data
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys);
        for key in keys.filter(|key| wanted.exact && !wanted.data.contains_key(*key)) {
            patch[field][key] = Value::Null;
            extra = true;
        }
    }
    if extra { merge(api, place, &patch).await } else { Ok(()) }
}

async fn merge(api: &Api<DynamicObject>, place: &Place, patch: &Value) -> Result<(), WriteError> {
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

/// The object as it is applied. A uid keeps the write from an object that took the name meanwhile (409), and the version from
/// one that others share and have changed meanwhile.
fn body(place: &Place, wanted: &Wanted, seen: Option<&Observed>) -> Value {
    let mut body = match wanted {
        Wanted::Object(body) => body.0.clone(),
        Wanted::Data(wanted) => data_body(place, wanted),
    };
    if let Some(uid) = seen.and_then(|seen| seen.uid.as_deref()) {
        body["metadata"]["uid"] = json!(uid);
    }
    if let (Wanted::Data(DataObject { exact: false, .. }), Some(seen)) = (wanted, seen) {
        body["metadata"]["resourceVersion"] = json!(seen.resource_version);
    }
    body
}

fn data_body(place: &Place, wanted: &DataObject) -> Value {
    let mut body = json!({
        "apiVersion": place.api_version,
        "kind": place.kind,
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": wanted.labels,
            "annotations": wanted.annotations,
        },
    });
    if place.is_secret() {
        body["data"] = encoded(wanted.data.iter());
    } else {
        let text = |value: &Sensitive| std::str::from_utf8(value.expose()).ok().map(str::to_owned);
        let (texts, bytes): (BTreeMap<_, _>, BTreeMap<_, _>) =
            wanted.data.iter().partition(|(_, value)| text(value).is_some());
        let texts = texts
            .into_iter()
            .filter_map(|(key, value)| Some((key.clone(), text(value)?.into())));
        body["data"] = Value::Object(texts.collect());
        if !bytes.is_empty() {
            body["binaryData"] = encoded(bytes.into_iter());
        }
    }
    if let Some(type_) = &wanted.type_ {
        body["type"] = json!(type_);
    }
    body
}

fn encoded<'a>(data: impl Iterator<Item = (&'a String, &'a Sensitive)>) -> Value {
    let data = data.map(|(key, value)| (key.clone(), BASE64_STANDARD.encode(value.expose()).into()));
    Value::Object(data.collect())
}

fn reference(place: &Place, seen: Option<&Observed>) -> DynamicObject {
    let mut object = DynamicObject::new(&place.name, &api_resource(place));
    object.metadata = ObjectMeta {
        name: Some(place.name.clone()),
        namespace: place.namespace.clone(),
        uid: seen.and_then(|seen| seen.uid.clone()),
        resource_version: seen.and_then(|seen| seen.resource_version.clone()),
        ..ObjectMeta::default()
    };
    object
}

/// Takes our labels and annotations off exactly the object that was seen.
fn release(data: Option<&(String, Option<String>)>, seen: Option<&Observed>) -> Value {
    let annotations: Map<_, _> = OUR_ANNOTATIONS
        .iter()
        .map(|name| ((*name).to_owned(), Value::Null))
        .collect();
    let mut patch = json!({"metadata": {
        "resourceVersion": seen.and_then(|seen| seen.resource_version.clone()),
        "labels": {names::LINK_LABEL: null, names::PEERING_LABEL: null},
        "annotations": annotations,
    }});
    if let Some((key, value)) = data {
        patch["data"] = json!({key: value});
    }
    patch
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::{client::Body, core::Status};

    use super::*;
    use crate::spoke::observed;

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
        let wanted = Wanted::Data(DataObject {
            type_: Some("Opaque".into()),
            data: [
                ("k".to_owned(), b"v".to_vec().into()),
                ("b".to_owned(), vec![0, 255].into()),
            ]
            .into(),
            ..DataObject::default()
        });
        let seen = Observed {
            uid: Some("u".to_owned()),
            ..Observed::default()
        };
        let secret = body(&place(), &wanted, Some(&seen));
        assert_eq!(
            (&secret["data"], &secret["metadata"]["uid"], &secret["type"]),
            (&json!({"k": "dg==", "b": "AP8="}), &json!("u"), &json!("Opaque"))
        );
        let map = body(&Place::core("ConfigMap", "ns", "t"), &wanted, None);
        assert_eq!(
            (&map["data"], &map["binaryData"]),
            (&json!({"k": "v"}), &json!({"b": "AP8="}))
        );
        let object = Wanted::Object(observed::Body(
            json!({"kind": "Pool", "metadata": {"name": "p"}, "spec": {}}),
        ));
        let pool = body(&place(), &object, Some(&seen));
        assert_eq!(
            pool,
            json!({"kind": "Pool", "metadata": {"name": "p", "uid": "u"}, "spec": {}})
        );
    }

    /// What an API server is asked for by an action on an object with uid `u` and version 7.
    async fn asked(kind: &str, action: Action) -> Value {
        let (asked, mut requests) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let asked = asked.clone();
            async move {
                asked.send(request.into_body().collect_bytes().await.unwrap()).unwrap();
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "t"}});
                let body = Body::from(object.to_string().into_bytes());
                Ok::<_, Infallible>(http::Response::new(body))
            }
        });
        let seen = Observed {
            uid: Some("u".to_owned()),
            resource_version: Some("7".to_owned()),
            ..Observed::default()
        };
        let client = Client::new(service, "default");
        act(&client, &Place::core(kind, "ns", "t"), &action, Some(&seen))
            .await
            .unwrap();
        serde_json::from_slice(&requests.recv().await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_others_may_have_added_to_is_written_and_deleted_only_as_it_was_seen() {
        let apply = |exact| {
            let wanted = DataObject {
                exact,
                ..DataObject::default()
            };
            asked("ConfigMap", Action::Apply(Wanted::Data(wanted)))
        };
        let version = |body: Value| body["metadata"]["resourceVersion"].clone();
        assert_eq!(version(apply(false).await), json!("7"));
        assert_eq!(version(apply(true).await), Value::Null);
        let deleted = asked("ConfigMap", Action::Delete).await;
        assert_eq!(deleted["preconditions"], json!({"uid": "u", "resourceVersion": "7"}));
        let deleted = asked("Secret", Action::Delete).await;
        assert_eq!(deleted["preconditions"], json!({"uid": "u"}));
    }
}
