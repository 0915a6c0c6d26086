//! Every text of a profile with what it must yield and the variables that it sees, in one list; and what is wrong with them.
use std::{collections::BTreeSet, rc::Rc};

use peering_api::peering::{
    Artefact, CertificateInput, EndpointInput, ExchangeProfileSpec, Input, ObjectRef, ObjectTemplate, Probe, Wire,
};
use serde_json::Value as Json;

use super::Report;
use crate::{
    expression::{Condition, ExpressionError, Known, Reference, Template, Text, Use, check as check_text},
    value::Kind,
};

/// One text of a profile.
struct Written {
    place: String,
    text: String,
    used: Use,
    known: Rc<Known>,
}

/// The variables that the texts of a profile use.
pub(super) struct References(BTreeSet<Reference>);

impl References {
    fn of(texts: &[Written]) -> Self {
        Self(texts.iter().flat_map(Written::references).collect())
    }

    /// Whether a member of a variable is used, or may be: a variable can be used as a whole.
    pub(super) fn uses(&self, variable: &str, member: &str) -> bool {
        let mut members = self.0.iter().filter(|reference| reference.variable == variable);
        members.any(|reference| reference.member.as_deref().is_none_or(|name| name == member))
    }
}

/// Whether a text uses the inputs of the source, which nobody else sees. What cannot be parsed uses nothing.
pub(super) fn uses_inputs(text: &str) -> bool {
    let references = Text::parse(text).map(|text| text.references()).unwrap_or_default();
    references.iter().any(|reference| reference.variable == "inputs")
}

/// Whether a text uses the name of the source.
pub(super) fn uses_source(text: &str) -> bool {
    let references = Text::parse(text).map(|text| text.references()).unwrap_or_default();
    references.iter().any(|reference| reference.variable == "source")
}

impl Written {
    fn references(&self) -> BTreeSet<Reference> {
        if self.used == Use::Condition {
            let condition = Condition::parse(&self.text);
            return condition.map(|condition| condition.references()).unwrap_or_default();
        }
        let text = Text::parse(&self.text);
        text.map(|text| text.references()).unwrap_or_default()
    }
}

/// Checks all texts of a profile.
pub(super) fn check(profile: &ExchangeProfileSpec, report: &mut Report) -> References {
    let mut collector = Collector {
        texts: Vec::new(),
        report,
    };
    let parameters: Vec<_> = profile.parameters.iter().map(|known| known.name.as_str()).collect();
    for (index, artefact) in profile.artefacts.iter().enumerate() {
        let before = collector.texts.len();
        collector.artefact(&format!("artefacts[{index}]"), artefact, &parameters);
        let texts = &collector.texts[before..];
        for text in texts {
            for error in check_text(&text.text, text.used, &text.known) {
                let message = explained(&error, artefact);
                collector.report.error(&text.place, message);
            }
        }
    }
    References::of(&collector.texts)
}

/// An error in the words of the profile, where an input is used that exists and is not seen there.
fn explained(error: &ExpressionError, artefact: &Artefact) -> String {
    let ExpressionError::UnknownMember { at, variable, name, .. } = error else {
        return error.to_string();
    };
    let input = artefact.inputs.iter().find(|input| input.alias == *name);
    match input.filter(|_| variable == "inputs") {
        None => error.to_string(),
        Some(input) if is_issued(input) => {
            format!("{at}: input {name:?} is issued when everything else is there: it can be used in payload only")
        }
        Some(_) => format!("{at}: input {name:?} is defined later: move it in front of its use"),
    }
}

/// A token, certificate or answer: it is issued last, so names and `readyWhen` do not see it.
pub(super) fn is_issued(input: &Input) -> bool {
    input.token_request.is_some() || input.certificate.is_some() || input.http_request.is_some()
}

/// Collects the texts of a profile.
struct Collector<'r> {
    texts: Vec<Written>,
    report: &'r mut Report,
}

/// What the texts of one artefact see.
struct Scopes {
    /// What the manager resolves for the source.
    source: Rc<Known>,
    /// What the manager resolves for one destination.
    destination: Rc<Known>,
    /// What the destination's agent fills in.
    delivered: Rc<Known>,
    /// What is said about an object on the destination, which is `self`.
    object: Rc<Known>,
    /// What is said about a service's answer.
    answer: Rc<Known>,
}

impl Scopes {
    fn of(artefact: &Artefact, parameters: &[&str]) -> Self {
        let base = || Known::new(parameters.iter().copied());
        let destination = base().destination();
        let mut delivered = match payload(artefact) {
            Some(keys) => destination.clone().members("payload", keys, Some(Kind::Bytes)),
            None => destination.clone().variable("payload"),
        };
        delivered = delivered.members("target", ["kind", "namespace", "name"], Some(Kind::Text));
        if artefact.inputs.iter().any(|input| input.certificate.is_some()) {
            delivered = delivered.members("certificate", ["key"], Some(Kind::Bytes));
        }
        Self {
            source: Rc::new(base()),
            object: Rc::new(destination.clone().variable("self")),
            answer: Rc::new(Known::default().members("response", ["body"], Some(Kind::Text))),
            destination: Rc::new(destination),
            delivered: Rc::new(delivered),
        }
    }
}

/// The keys of the payload, where they are known.
fn payload(artefact: &Artefact) -> Option<Vec<&str>> {
    if !artefact.payload.is_empty() {
        return Some(artefact.payload.keys().map(String::as_str).collect());
    }
    if let Some(certificate) = artefact.inputs.iter().find_map(|input| input.certificate.as_ref()) {
        let ca = certificate.signer.ca.as_ref().map(|_| "ca.crt");
        return Some(std::iter::once("tls.crt").chain(ca).collect());
    }
    if artefact.inputs.iter().any(|input| input.token_request.is_some()) {
        return Some(vec!["token"]);
    }
    let mut keyed = artefact.inputs.iter().filter(|input| !input.keys.is_empty());
    let input = keyed.next().filter(|_| artefact.inputs.len() == 1)?;
    Some(input.keys.iter().map(String::as_str).collect())
}

impl Collector<'_> {
    fn add(&mut self, place: impl Into<String>, text: &str, used: Use, known: &Rc<Known>) {
        self.texts.push(Written {
            place: place.into(),
            text: text.to_owned(),
            used,
            known: known.clone(),
        });
    }

    fn maybe(&mut self, place: String, text: Option<&String>, used: Use, known: &Rc<Known>) {
        if let Some(text) = text {
            self.add(place, text, used, known);
        }
    }

    /// All strings of an object template.
    fn template(&mut self, place: &str, template: &Json, known: &Rc<Known>) {
        let at = |path: &str| match path {
            "" => place.to_owned(),
            path if path.starts_with('[') => format!("{place}{path}"),
            path => format!("{place}.{path}"),
        };
        match Template::parse(template) {
            Err(error) => self.report.error(at(&error.path), error.error.to_string()),
            Ok(template) => {
                for (path, text) in template.texts() {
                    self.add(at(path), text.source(), Use::Value, known);
                }
            }
        }
    }

    /// An object template whose place the manager resolves; the rest is filled in by an agent.
    fn object_template(&mut self, place: &str, object: &ObjectTemplate, resolved: &Rc<Known>, filled: &Rc<Known>) {
        for part in ["name", "namespace"] {
            let text = object
                .template
                .pointer(&format!("/metadata/{part}"))
                .and_then(Json::as_str);
            if let Some(text) = text {
                self.add(format!("{place}.template.metadata.{part}"), text, Use::Name, resolved);
            }
        }
        self.template(&format!("{place}.template"), &object.template, filled);
    }

    fn artefact(&mut self, place: &str, artefact: &Artefact, parameters: &[&str]) {
        let scopes = Scopes::of(artefact, parameters);
        for (index, object) in artefact.provision.iter().enumerate() {
            let place = format!("{place}.provision[{index}]");
            self.object_template(&place, object, &scopes.source, &scopes.source);
        }
        let mut seen = Vec::new();
        for (index, input) in artefact.inputs.iter().enumerate() {
            self.input(
                &format!("{place}.inputs[{index}]"),
                input,
                &scopes,
                &with_inputs(parameters, &seen),
            );
            if !is_issued(input) {
                seen.push(input.alias.as_str());
            }
        }
        let ready = with_inputs(parameters, &seen);
        self.maybe(
            format!("{place}.readyWhen"),
            artefact.ready_when.as_ref(),
            Use::Condition,
            &ready,
        );
        let all: Vec<_> = artefact.inputs.iter().map(|input| input.alias.as_str()).collect();
        let inputs = with_inputs(parameters, &all);
        for (key, text) in &artefact.payload {
            self.add(format!("{place}.payload[{key}]"), text, Use::Bytes, &inputs);
        }
        self.deliver(&format!("{place}.deliver"), artefact, &scopes);
        for (index, wire) in artefact.wire.iter().enumerate() {
            self.wire(&format!("{place}.wire[{index}]"), wire, &scopes);
        }
        for (index, probe) in artefact.probes.iter().enumerate() {
            self.probe(&format!("{place}.probes[{index}]"), probe, &scopes);
        }
    }

    fn input(&mut self, place: &str, input: &Input, scopes: &Scopes, earlier: &Rc<Known>) {
        let source = &scopes.source;
        self.maybe(
            format!("{place}.namespace"),
            input.namespace.as_ref(),
            Use::Name,
            source,
        );
        self.maybe(format!("{place}.name"), input.name.as_ref(), Use::Name, earlier);
        for (key, text) in input.selector.iter().flat_map(|selector| &selector.match_labels) {
            self.add(format!("{place}.selector.matchLabels[{key}]"), text, Use::Name, source);
        }
        if let Some(token) = &input.token_request {
            let place = format!("{place}.tokenRequest");
            self.add(format!("{place}.namespace"), &token.namespace, Use::Name, source);
            self.add(
                format!("{place}.serviceAccount"),
                &token.service_account,
                Use::Name,
                source,
            );
        }
        if let Some(certificate) = &input.certificate {
            self.certificate(&format!("{place}.certificate"), certificate, scopes);
        }
        if let Some(request) = &input.http_request {
            let place = format!("{place}.httpRequest");
            self.add(format!("{place}.url"), &request.url, Use::Text, source);
            self.add(format!("{place}.ca"), &request.ca, Use::Bytes, earlier);
            if let Some(token) = &request.token {
                let account = &token.service_account;
                self.add(format!("{place}.token.namespace"), &token.namespace, Use::Name, source);
                self.add(format!("{place}.token.serviceAccount"), account, Use::Name, source);
            }
            self.add(
                format!("{place}.expiresAt"),
                &request.expires_at,
                Use::Text,
                &scopes.answer,
            );
        }
        if let Some(endpoint) = &input.endpoint {
            self.endpoint(&format!("{place}.endpoint"), endpoint, source);
        }
    }

    fn certificate(&mut self, place: &str, certificate: &CertificateInput, scopes: &Scopes) {
        let subject = &scopes.destination;
        self.add(
            format!("{place}.commonName"),
            &certificate.common_name,
            Use::Text,
            subject,
        );
        for (index, text) in certificate.organizations.iter().enumerate() {
            self.add(format!("{place}.organizations[{index}]"), text, Use::Text, subject);
        }
        for (index, text) in certificate.dns_names.iter().enumerate() {
            self.add(format!("{place}.dnsNames[{index}]"), text, Use::Text, subject);
        }
        if let Some(ca) = &certificate.signer.ca {
            self.add(
                format!("{place}.signer.ca.namespace"),
                &ca.namespace,
                Use::Name,
                &scopes.source,
            );
            self.add(format!("{place}.signer.ca.name"), &ca.name, Use::Name, &scopes.source);
        }
    }

    fn endpoint(&mut self, place: &str, endpoint: &EndpointInput, source: &Rc<Known>) {
        let services = [("service", &endpoint.service), ("nodes", &endpoint.nodes)];
        for (part, service) in services
            .into_iter()
            .filter_map(|(part, found)| Some((part, found.as_ref()?)))
        {
            self.add(
                format!("{place}.{part}.namespace"),
                &service.namespace,
                Use::Name,
                source,
            );
            self.add(format!("{place}.{part}.name"), &service.name, Use::Name, source);
        }
        let named = [("route", &endpoint.route), ("ingress", &endpoint.ingress)];
        for (part, named) in named
            .into_iter()
            .filter_map(|(part, found)| Some((part, found.as_ref()?)))
        {
            self.add(format!("{place}.{part}.namespace"), &named.namespace, Use::Name, source);
            self.add(format!("{place}.{part}.name"), &named.name, Use::Name, source);
        }
        self.maybe(format!("{place}.static"), endpoint.r#static.as_ref(), Use::Text, source);
    }

    fn deliver(&mut self, place: &str, artefact: &Artefact, scopes: &Scopes) {
        let deliver = &artefact.deliver;
        let resolved = &scopes.destination;
        self.maybe(
            format!("{place}.namespace"),
            deliver.namespace.as_ref(),
            Use::Name,
            resolved,
        );
        self.add(format!("{place}.name"), &deliver.name, Use::Name, resolved);
        let used_when = deliver.used_when.as_ref();
        self.maybe(format!("{place}.usedWhen"), used_when, Use::Condition, &scopes.object);
        for (key, text) in &deliver.data {
            self.add(format!("{place}.data[{key}]"), text, Use::Bytes, &scopes.delivered);
        }
        if let Some(template) = &deliver.template {
            self.template(&format!("{place}.template"), template, &scopes.delivered);
        }
    }

    fn object(&mut self, place: &str, object: Option<&ObjectRef>, scopes: &Scopes) {
        let Some(object) = object else { return };
        let resolved = &scopes.destination;
        self.maybe(
            format!("{place}.object.namespace"),
            object.namespace.as_ref(),
            Use::Name,
            resolved,
        );
        self.add(format!("{place}.object.name"), &object.name, Use::Name, resolved);
    }

    fn wire(&mut self, place: &str, wire: &Wire, scopes: &Scopes) {
        let filled = &scopes.delivered;
        if let Some(apply) = &wire.apply {
            self.object_template(&format!("{place}.apply"), apply, &scopes.destination, filled);
        }
        if let Some(add) = &wire.add_to_list {
            let place = format!("{place}.addToList");
            self.object(&place, add.object.as_ref(), scopes);
            self.template(&format!("{place}.value"), &add.value, filled);
        }
        if let Some(set) = &wire.set_field {
            let place = format!("{place}.setField");
            self.object(&place, set.object.as_ref(), scopes);
            self.template(&format!("{place}.value"), &set.value, filled);
        }
        if let Some(annotate) = &wire.annotate {
            let place = format!("{place}.annotate");
            self.object(&place, annotate.object.as_ref(), scopes);
            self.maybe(format!("{place}.value"), annotate.value.as_ref(), Use::Text, filled);
        }
    }

    fn probe(&mut self, place: &str, probe: &Probe, scopes: &Scopes) {
        if let Some(object) = &probe.object {
            let place = format!("{place}.object");
            self.object(&place, object.object.as_ref(), scopes);
            self.add(
                format!("{place}.healthy"),
                &object.healthy,
                Use::Condition,
                &scopes.object,
            );
            let (failed, shows) = (object.failed.as_ref(), object.shows.as_ref());
            self.maybe(format!("{place}.failed"), failed, Use::Condition, &scopes.object);
            self.maybe(format!("{place}.shows"), shows, Use::Text, &scopes.object);
        }
        let mut texts: Vec<(&str, Option<&String>)> = Vec::new();
        if let Some(tls) = &probe.tls {
            texts.push(("tls.address", Some(&tls.address)));
            texts.push(("tls.serverName", tls.server_name.as_ref()));
            texts.push(("tls.ca", tls.ca.as_ref()));
        }
        if let Some(api) = &probe.api_auth {
            texts.push(("apiAuth.kubeconfig", api.kubeconfig.as_ref()));
            texts.push(("apiAuth.server", api.server.as_ref()));
            texts.push(("apiAuth.ca", api.ca.as_ref()));
            texts.push(("apiAuth.token", api.token.as_ref()));
        }
        if let Some(http) = &probe.http {
            texts.push(("http.url", Some(&http.url)));
            texts.push(("http.ca", http.ca.as_ref()));
            texts.push(("http.token", http.token.as_ref()));
        }
        if let Some(s3) = &probe.s3 {
            texts.push(("s3.endpoint", Some(&s3.endpoint)));
            texts.push(("s3.bucket", Some(&s3.bucket)));
            texts.push(("s3.region", s3.region.as_ref()));
            texts.push(("s3.accessKeyId", Some(&s3.access_key_id)));
            texts.push(("s3.secretAccessKey", Some(&s3.secret_access_key)));
            texts.push(("s3.ca", s3.ca.as_ref()));
        }
        for (part, text) in texts {
            self.maybe(format!("{place}.{part}"), text, Use::Text, &scopes.delivered);
        }
    }
}

fn with_inputs(parameters: &[&str], aliases: &[&str]) -> Rc<Known> {
    let known = Known::new(parameters.iter().copied());
    Rc::new(known.members("inputs", aliases.iter().copied(), None))
}
