//! The inputs of an export, one after the other: a later one may use earlier ones in its name.
use std::collections::{BTreeMap, BTreeSet};

use peering_api::{
    names,
    peering::{
        CertificateInput, HttpRequestInput, Input, ObjectRef, PeerExportSpec, TokenRequestInput, reasons::SourceReady,
    },
};

use super::{
    Bad, KEPT, endpoint,
    lookup::{Lookup, Seen, Selection, View},
};
use crate::{
    expression::{Condition, Scope, Text},
    plan::names_check::is_subdomain,
    value::Value,
};

/// The variable under which expressions see the inputs.
pub(super) const INPUTS: &str = "inputs";
/// Most characters of a condition that a message quotes.
const MAX_QUOTED: usize = 200;

/// Values of what was issued, by alias of their inputs.
pub type Issued = BTreeMap<String, Value>;

/// What came of looking at all inputs.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Everything that is to be watched. It grows while names of inputs that depend on others become known.
    pub wants: BTreeSet<Lookup>,
    /// How far it came.
    pub state: State<'a>,
}

/// How far reading the inputs came.
#[derive(Debug)]
pub enum State<'a> {
    /// A watch has not said anything yet.
    Waiting,
    /// Something is missing or wrong.
    Bad(Bad),
    /// All inputs are there, and `readyWhen` holds.
    Ready(Inputs<'a>),
}

/// The inputs of an export, read.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub(super) spec: &'a PeerExportSpec,
    /// What expressions see: the inputs as well, apart from what is still to be issued.
    pub(super) scope: Scope,
    /// What messages call the inputs, by alias.
    pub(super) names: BTreeMap<&'a str, String>,
    /// The Secret of the CA that signs. No expression sees it.
    pub(super) authority: Option<Value>,
}

/// Why an input cannot be read now.
enum Stop {
    Waiting,
    Bad(Bad),
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Self::Bad(bad)
    }
}

/// Reads the inputs of an export on its source cluster.
///
/// What is to be issued (tokens, certificates) is no part of it: that comes after `readyWhen`, which does not see it.
#[must_use]
pub fn read<'a>(cluster: &str, spec: &'a PeerExportSpec, view: &View<'_>) -> Reading<'a> {
    let mut reader = Reader {
        view,
        wants: BTreeSet::new(),
        inputs: Inputs::new(cluster, spec),
    };
    // What stands in the Peering instead of the source needs none of its inputs.
    let inputs = if spec.ca_override.is_some() { &[] } else { &*spec.inputs };
    let mut stop = None;
    for (index, input) in inputs.iter().enumerate() {
        if let Err(why) = reader.input(cluster, index, input, stop.is_some()) {
            stop.get_or_insert(why);
        }
    }
    let state = match stop {
        Some(Stop::Waiting) => State::Waiting,
        Some(Stop::Bad(bad)) => State::Bad(bad),
        None => match reader.inputs.are_ready() {
            Ok(()) => State::Ready(reader.inputs),
            Err(bad) => State::Bad(bad),
        },
    };
    Reading {
        wants: reader.wants,
        state,
    }
}

struct Reader<'a, 'v> {
    view: &'v View<'v>,
    wants: BTreeSet<Lookup>,
    inputs: Inputs<'a>,
}

impl<'a> Reader<'a, '_> {
    /// Reads one input. After an earlier one has `stopped`, only what it wants is taken note of.
    fn input(&mut self, cluster: &str, index: usize, input: &'a Input, stopped: bool) -> Result<(), Stop> {
        let lookups = self.inputs.lookups(index, input)?;
        self.wants.extend(lookups.iter().cloned());
        if stopped {
            return Ok(());
        }
        let name = self.inputs.name(index, input, &lookups);
        let mut seen = lookups
            .iter()
            .map(|lookup| self.see(lookup, &name))
            .collect::<Result<Vec<_>, _>>()?;
        let value = if let Some(endpoint) = &input.endpoint {
            Some(endpoint::value(cluster, self.inputs.spec, endpoint, &seen)?)
        } else if input.certificate.is_some() {
            self.inputs.authority = seen.pop();
            None
        } else {
            let object = seen.pop();
            object.map(|object| select(&name, &input.keys, object)).transpose()?
        };
        if let (Some(value), Some(Value::Map(inputs))) = (value, self.inputs.scope.extra.get_mut(INPUTS)) {
            inputs.insert(input.alias.clone(), value);
        }
        self.inputs.names.insert(&input.alias, name);
        Ok(())
    }

    /// `name` is what messages call the input, which may say less than the lookup: a name can come from a Secret.
    fn see(&self, lookup: &Lookup, name: &str) -> Result<Value, Stop> {
        let (reason, message) = match (self.view)(lookup) {
            Seen::Present(value) => return Ok(value),
            Seen::Pending => return Err(Stop::Waiting),
            Seen::Absent => (
                SourceReady::SourceNotFound,
                format!("{name} does not exist: create it, it will be picked up at once"),
            ),
            Seen::Denied => (
                SourceReady::SourceForbidden,
                forbidden(&self.inputs.spec.peering, lookup.namespace(), name),
            ),
            Seen::Unknown => (SourceReady::KindNotFound, unknown(lookup, name)),
        };
        Err(Bad::new(reason, message).into())
    }
}

/// The message for what the agent may not read or write.
pub(super) fn forbidden(peering: &str, namespace: Option<&str>, name: &str) -> String {
    let work = names::work_name(peering, 0);
    let must = namespace
        .map(|namespace| format!(", and namespace {namespace} must exist"))
        .unwrap_or_default();
    format!("the agent may not read {name}: the right arrives with ManifestWork {work}{must}")
}

/// The message for a kind that the cluster does not know.
pub(super) fn unknown(lookup: &Lookup, name: &str) -> String {
    let (api_version, kind) = lookup.kind();
    format!(
        "{name} cannot be read: this cluster does not know kind {kind} of {api_version}; install what brings it, or \
         correct the profile; it is picked up when it appears"
    )
}

impl<'a> Inputs<'a> {
    fn new(cluster: &str, spec: &'a PeerExportSpec) -> Self {
        let scope = Scope {
            extra: [(INPUTS.to_owned(), Value::Map(BTreeMap::new()))].into(),
            ..scope(cluster, spec)
        };
        Self {
            spec,
            scope,
            names: BTreeMap::new(),
            authority: None,
        }
    }

    /// The value of an input that was read.
    pub(super) fn value(&self, alias: &str) -> Option<&Value> {
        self.scope.extra.get(INPUTS)?.get(alias)
    }

    /// The tokens that are to be issued, by alias.
    pub fn tokens(&self) -> impl Iterator<Item = (&'a str, &'a TokenRequestInput)> + use<'a> {
        let inputs = self.spec.inputs.iter();
        inputs.filter_map(|input| Some((input.alias.as_str(), input.token_request.as_ref()?)))
    }

    /// The certificate that is to be issued, with its alias.
    #[must_use]
    pub fn certificate(&self) -> Option<(&'a str, &'a CertificateInput)> {
        let mut inputs = self.spec.inputs.iter();
        inputs.find_map(|input| Some((input.alias.as_str(), input.certificate.as_ref()?)))
    }

    /// The requests whose answers are part of the content, by alias.
    pub fn requests(&self) -> impl Iterator<Item = (&'a str, &'a HttpRequestInput)> + use<'a> {
        let inputs = self.spec.inputs.iter();
        inputs.filter_map(|input| Some((input.alias.as_str(), input.http_request.as_ref()?)))
    }

    /// Whether something is to be issued.
    #[must_use]
    pub fn are_issued(&self) -> bool {
        self.tokens().next().is_some() || self.certificate().is_some() || self.requests().next().is_some()
    }

    fn lookups(&self, index: usize, input: &Input) -> Result<Vec<Lookup>, Bad> {
        if let Some(endpoint) = &input.endpoint {
            return Ok(endpoint::lookups(endpoint));
        }
        if let Some(certificate) = &input.certificate {
            let ca = certificate.signer.ca.as_ref();
            let secret = ca.map(|ca| Lookup::known("v1", "Secret", &ca.namespace, &ca.name));
            return Ok(secret.into_iter().collect());
        }
        let (Some(api_version), Some(kind)) = (&input.api_version, &input.kind) else {
            return Ok(Vec::new());
        };
        let object = ObjectRef {
            api_version: api_version.clone(),
            kind: kind.clone(),
            resource: input.resource.clone(),
            namespace: input.namespace.clone(),
            name: String::new(),
        };
        if let Some(selector) = &input.selector {
            return Ok(vec![Lookup::Selection(Selection {
                resource: object.plural(),
                api_version: object.api_version,
                kind: object.kind,
                namespace: object.namespace,
                labels: selector.match_labels.clone(),
            })]);
        }
        let name = self.resolve(
            &format!("inputs[{index}].name"),
            input.name.as_deref().unwrap_or_default(),
        )?;
        Ok(vec![Lookup::object(&ObjectRef { name, ..object })])
    }

    /// The name of an object. Only one that depends on other inputs still holds an expression.
    fn resolve(&self, field: &str, text: &str) -> Result<String, Bad> {
        let text = Text::parse(text).map_err(|error| Bad::evaluation(self.spec, field, &error))?;
        let name = text
            .resolve(&self.scope)
            .map_err(|error| Bad::unless_missing(self.spec, field, &error))?;
        if is_subdomain(&name) {
            return Ok(name);
        }
        let artefact = &self.spec.artefact;
        // The name itself is not quoted: it may come from a Secret.
        let message = format!(
            "artefact {artefact:?}, {field}: what {:?} yields is not a valid Kubernetes name: correct the input that it \
             comes from, or the profile; {KEPT}",
            text.source()
        );
        Err(Bad::new(SourceReady::EvaluationFailed, message))
    }

    /// What messages call an input.
    fn name(&self, index: usize, input: &Input, lookups: &[Lookup]) -> String {
        if let Some(endpoint) = &input.endpoint {
            return endpoint::name(endpoint);
        }
        if let Some(token) = &input.token_request {
            return format!(
                "a token of ServiceAccount {}/{}",
                token.namespace, token.service_account
            );
        }
        if let Some(request) = &input.http_request {
            return format!("an answer of {}", host_of(&request.url));
        }
        match lookups.first() {
            Some(ca) if input.certificate.is_some() => format!("the CA in {ca}"),
            None if input.certificate.is_some() => "the API server's signer of client certificates".to_owned(),
            Some(Lookup::Object(object)) if self.is_secret_name(index, input) => ObjectRef {
                name: input.name.clone().unwrap_or_default(),
                ..object.clone()
            }
            .to_string(),
            Some(lookup) => lookup.to_string(),
            None => format!("input {}", input.alias),
        }
    }

    /// Whether the name of an input is made from a Secret.
    fn is_secret_name(&self, index: usize, input: &Input) -> bool {
        let text = Text::parse(input.name.as_deref().unwrap_or_default());
        let references = text.map(|text| text.references()).unwrap_or_default();
        let earlier = self.spec.inputs.iter().take(index);
        let mut secrets = earlier.filter(|input| input.kind.as_deref() == Some("Secret"));
        secrets.any(|secret| {
            references
                .iter()
                .filter(|reference| reference.variable == INPUTS)
                .any(|reference| reference.member.as_ref().is_none_or(|member| *member == secret.alias))
        })
    }

    fn are_ready(&self) -> Result<(), Bad> {
        let Some(text) = &self.spec.ready_when else {
            return Ok(());
        };
        let condition = Condition::parse(text).map_err(|error| Bad::evaluation(self.spec, "readyWhen", &error))?;
        let holds = condition
            .holds(&self.scope)
            .map_err(|error| Bad::unless_missing(self.spec, "readyWhen", &error))?;
        if holds {
            return Ok(());
        }
        let quoted: String = text.chars().take(MAX_QUOTED).collect();
        let cut = if quoted.len() < text.len() { "…" } else { "" };
        let message = format!(
            "artefact {:?}, readyWhen: expected that it holds, seen that it does not yet: {quoted}{cut}; see the \
             objects that it names; {KEPT}",
            self.spec.artefact
        );
        Err(Bad::new(SourceReady::NotReadyYet, message))
    }
}

/// Host and port of a URL. What stands behind them may be a secret.
pub(super) fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// What expressions of a source see apart from its inputs.
pub(super) fn scope(cluster: &str, spec: &PeerExportSpec) -> Scope {
    Scope {
        params: spec.parameters.clone(),
        peering: spec.peering.clone(),
        source: cluster.to_owned(),
        ..Scope::default()
    }
}

/// The object, or each one of a list, with these keys of its data only. All must be there; no keys: all of them.
fn select(name: &str, keys: &[String], value: Value) -> Result<Value, Bad> {
    if keys.is_empty() {
        return Ok(value);
    }
    match value {
        Value::List(objects) => {
            let objects = objects.into_iter().map(|object| select(name, keys, object));
            objects.collect::<Result<_, _>>().map(Value::List)
        }
        Value::Map(mut object) => {
            for field in DATA {
                if let Some(Value::Map(data)) = object.get_mut(field) {
                    data.retain(|key, _| keys.contains(key));
                }
            }
            let has = |key: &String| {
                let mut fields = DATA.iter().filter_map(|field| object.get(*field)?.get(key));
                fields.next().is_some()
            };
            if let Some(missing) = keys.iter().find(|key| !has(key)) {
                return Err(Bad::invalid(&format!("{name} has no key {missing:?}: add it")));
            }
            Ok(Value::Map(object))
        }
        other => Ok(other),
    }
}

/// The fields of a Secret or `ConfigMap` that hold data.
pub(super) const DATA: [&str; 2] = ["data", "binaryData"];
