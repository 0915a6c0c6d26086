//! Exports as they stand on the hub (YAML), objects as they stand on the source cluster (YAML), and what comes of both.
use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use peering_api::peering::{PeerExportSpec, reasons::SourceReady};
use serde_json::Value as Json;

use super::*;
use crate::value::Value;

mod answers;
mod endpoints;
mod issues;
mod objects;
mod payloads;
mod provisioned;

/// The source cluster of all tests.
const EAST: &str = "east";

/// An export of artefact `a` of Peering `p`.
fn export(yaml: &str) -> PeerExportSpec {
    let whole = format!("{{peering: p, profile: x, artefact: a, kind: Data, confidential: true}}\n{yaml}");
    let (first, rest) = whole.split_once('\n').unwrap();
    let mut spec: Json = serde_saphyr::from_str(first).unwrap();
    let rest: BTreeMap<String, Json> = serde_saphyr::from_str(rest).unwrap();
    spec.as_object_mut().unwrap().extend(rest);
    serde_json::from_value(spec).unwrap()
}

/// What was seen on a cluster.
#[derive(Clone, Default)]
struct Cluster(BTreeMap<String, Seen<Value>>);

impl Cluster {
    /// All these objects exist.
    fn with(objects: &[&str]) -> Self {
        let mut cluster = Self::default();
        for yaml in objects {
            cluster.put(yaml);
        }
        cluster
    }

    fn put(&mut self, yaml: &str) {
        let object = object(yaml);
        let text = |path: &[&str]| object.at(path).and_then(Value::text).unwrap_or_default().to_owned();
        let namespace = text(&["metadata", "namespace"]);
        let name = format!("{} {namespace}/{}", text(&["kind"]), text(&["metadata", "name"]));
        self.0.insert(name, Seen::Present(object));
    }

    fn is(mut self, name: &str, seen: Seen<Value>) -> Self {
        self.0.insert(name.to_owned(), seen);
        self
    }

    fn look(&self, lookup: &Lookup) -> Seen<Value> {
        match lookup {
            Lookup::Object(place) => {
                let name = format!(
                    "{} {}/{}",
                    place.kind,
                    place.namespace.clone().unwrap_or_default(),
                    place.name
                );
                self.0.get(&name).cloned().unwrap_or(Seen::Absent)
            }
            Lookup::Selection(selection) => {
                if let Some(Seen::Pending) = self.0.get(&selection.kind) {
                    return Seen::Pending;
                }
                let carries = |object: &Value| {
                    let has = |(key, value): (&String, &String)| {
                        object.at(&["metadata", "labels", key]).and_then(Value::text) == Some(value)
                    };
                    object.get("kind").and_then(Value::text) == Some(&selection.kind)
                        && selection.labels.iter().all(has)
                };
                let objects = self.0.values().filter_map(|seen| match seen {
                    Seen::Present(object) if carries(object) => Some(object.clone()),
                    _ => None,
                });
                Seen::Present(Value::List(objects.collect()))
            }
        }
    }

    fn read<'a>(&self, spec: &'a PeerExportSpec) -> Reading<'a> {
        read(EAST, spec, &|lookup| self.look(lookup))
    }

    /// The content, where nothing is to be issued.
    fn content(&self, spec: &PeerExportSpec) -> Result<Good, Bad> {
        self.inputs(spec)?.content(&Issued::new())
    }

    fn inputs<'a>(&self, spec: &'a PeerExportSpec) -> Result<Inputs<'a>, Bad> {
        match self.read(spec).state {
            State::Ready(inputs) => Ok(inputs),
            State::Bad(bad) => Err(bad),
            State::Waiting => panic!("it waits"),
        }
    }

    fn wants(&self, spec: &PeerExportSpec) -> BTreeSet<String> {
        self.read(spec).wants.iter().map(ToString::to_string).collect()
    }
}

/// An object as the agent's edge hands it over.
fn object(yaml: &str) -> Value {
    let json: Json = serde_saphyr::from_str(yaml).unwrap();
    let field = if json["kind"] == "Secret" { "data" } else { "binaryData" };
    let mut value = Value::from(json);
    if let Value::Map(object) = &mut value
        && let Some(Value::Map(data)) = object.get_mut(field)
    {
        for value in data.values_mut() {
            let bytes = BASE64_STANDARD.decode(value.text().unwrap()).unwrap();
            *value = Value::Bytes(bytes.into());
        }
    }
    value
}

/// The content as text, by key.
fn texts(good: &Good) -> BTreeMap<&str, String> {
    let data = good.content.data.iter();
    data.map(|(key, value)| (key.as_str(), String::from_utf8_lossy(value.expose()).into_owned()))
        .collect()
}

/// One key of a Secret.
const TOKEN: &str =
    "{apiVersion: v1, kind: Secret, metadata: {namespace: ns, name: s}, type: Opaque, data: {token: dG9wc2VjcmV0}}";
/// That Secret as the only input.
const COPY: &str = "inputs: [{as: s, apiVersion: v1, kind: Secret, namespace: ns, name: s}]";

/// A refusal must have this reason, and say all of that.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Bad>, reason: SourceReady, says: &[&str]) {
    let bad = result.unwrap_err();
    assert_eq!(bad.reason, reason, "{}", bad.message);
    for part in says {
        assert!(bad.message.contains(part), "{part:?} is not in {:?}", bad.message);
    }
    assert!(!bad.message.contains("topsecret"), "{}", bad.message);
}
