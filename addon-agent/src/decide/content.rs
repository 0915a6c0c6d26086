//! What came in an envelope, as texts of the profile see it on the destination, and the object that is made of it.
use std::collections::BTreeMap;

use exchange::{
    ca,
    certificate::{self, PublicKey},
    content::Content,
    expression::{Scope, Text, template},
    object,
    value::Value,
};
use peering_api::{
    Sensitive, names,
    peering::{ObjectRef, PeerLinkSpec},
};
use serde_json::Value as Json;

use super::{
    action::{DataObject, Wanted},
    group::{LinkView, labels, revisions},
};
use crate::spoke::observed::Body;

/// The type of a Secret that names none.
const OPAQUE: &str = "Opaque";
/// Key of a private key in a Secret of type `kubernetes.io/tls`.
pub const PRIVATE_KEY: &str = "tls.key";

/// What texts of `deliver`, `wire` and `probes` see on the destination.
#[must_use]
pub fn scope(spec: &PeerLinkSpec, payload: &BTreeMap<String, Sensitive>, key: Option<&Sensitive>) -> Scope {
    let object = &spec.target.object;
    let text = |name: &'static str, text: &str| (name, Value::from(text));
    let target: Value = [
        text("kind", &object.kind),
        text("namespace", object.namespace.as_deref().unwrap_or_default()),
        text("name", &object.name),
    ]
    .into_iter()
    .collect();
    let payload = payload.iter().map(|(key, value)| (key, Value::Bytes(value.clone())));
    let mut extra = BTreeMap::from([("target".to_owned(), target), ("payload".to_owned(), payload.collect())]);
    if let Some(key) = key {
        let key = [("key", Value::Bytes(key.clone()))].into_iter().collect();
        extra.insert("certificate".to_owned(), key);
    }
    Scope {
        params: spec.parameters.clone(),
        peering: spec.peering.clone(),
        source: spec.from.cluster.clone(),
        destination: Some(spec.to.cluster.clone()),
        extra,
    }
}

/// Checks that a delivered certificate belongs to the key that this cluster made for it: one of the chains that came must,
/// if there is any. A certificate that is hidden in another form (base64 in a kubeconfig) cannot be looked at.
pub fn belongs(content: &Content, key: &Sensitive) -> Result<(), String> {
    let key = PublicKey::of_private(key).map_err(|error| error.to_string())?;
    let mut refused = None;
    for value in content.data.values() {
        let certificates = ca::parse(value.expose()).certificates;
        if certificates.iter().all(|certificate| certificate.is_ca) {
            continue;
        }
        let chain: String = certificates.into_iter().map(|certificate| certificate.pem).collect();
        match certificate::issued(&chain, &key) {
            Ok(_) => return Ok(()),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The object that a link's content becomes. The error names the field, never a value.
pub fn wanted(
    view: &LinkView<'_>,
    content: &Content,
    key: Option<&Sensitive>,
    revision: i64,
) -> Result<Wanted, String> {
    let spec = &view.link.spec;
    let annotations = BTreeMap::from([revisions(&BTreeMap::from([(spec.id.clone(), revision)]))]);
    let labels = labels(view, &spec.id);
    let scope = || scope(spec, &content.data, key);
    if let Some(template) = &spec.target.template {
        let place = &spec.target.object;
        return filled("deliver.template", template, place, &scope(), &labels, annotations).map(Wanted::Object);
    }
    let data = if spec.target.data.is_empty() {
        let key = key.map(|key| (PRIVATE_KEY.to_owned(), key.clone()));
        content.data.clone().into_iter().chain(key).collect()
    } else {
        texts(&spec.target.data, &scope())?
    };
    let type_ = spec.target.type_.clone().or_else(|| content.type_.clone());
    Ok(Wanted::Data(DataObject {
        type_: spec
            .target
            .object
            .is_secret()
            .then(|| type_.unwrap_or_else(|| OPAQUE.to_owned())),
        labels,
        annotations,
        data,
        exact: true,
    }))
}

fn texts(texts: &BTreeMap<String, String>, scope: &Scope) -> Result<BTreeMap<String, Sensitive>, String> {
    let evaluate = |(key, text): (&String, &String)| {
        let value = Text::parse(text).and_then(|text| text.evaluate(scope));
        let value = value.map_err(|error| failed(&format!("deliver.data[{key}]"), &error.to_string()))?;
        Ok((key.clone(), value))
    };
    texts.iter().map(evaluate).collect()
}

/// An object of ours, made from a template of the profile at a known place.
pub fn filled(
    field: &str,
    text: &Json,
    place: &ObjectRef,
    scope: &Scope,
    labels: &BTreeMap<String, String>,
    mut annotations: BTreeMap<String, String>,
) -> Result<Body, String> {
    let body = template(text, scope).map_err(|error| failed(field, &error.to_string()))?;
    let digest = names::digest(&["template/v1", &text.to_string()], 16);
    annotations.insert(names::TEMPLATE_ANNOTATION.to_owned(), digest);
    let place = object::Place {
        api_version: place.api_version.clone(),
        kind: place.kind.clone(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
    };
    let body = object::desired(body, &place, labels, &annotations);
    body.map(Body).map_err(|error| failed(field, &error.to_string()))
}

fn failed(field: &str, problem: &str) -> String {
    format!("{field}: {problem}; correct the ExchangeProfile, or what its source holds")
}
