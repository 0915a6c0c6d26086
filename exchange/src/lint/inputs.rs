//! Rules about what an artefact is made from.
use peering_api::peering::{Artefact, Input, ObjectTemplate};
use serde_json::Value;

use super::{
    Report,
    naming::{self, plural},
    texts::uses_inputs,
    unique,
};

/// Checks inputs, what is provisioned for them, and whether a content comes of them.
pub(super) fn check(place: &str, artefact: &Artefact, report: &mut Report) {
    for (index, object) in artefact.provision.iter().enumerate() {
        template(&format!("{place}.provision[{index}]"), object, report);
    }
    let aliases = artefact.inputs.iter().map(|input| input.alias.as_str());
    unique(&format!("{place}.inputs"), "as", aliases, report);
    for (index, input) in artefact.inputs.iter().enumerate() {
        self::input(&format!("{place}.inputs[{index}]"), input, report);
    }
    for key in artefact.payload.keys() {
        naming::data_key(&format!("{place}.payload[{key}]"), key, report);
    }
    content(place, artefact, report);
}

/// What is handed over without a payload: a certificate, or the only thing that has data.
fn content(place: &str, artefact: &Artefact, report: &mut Report) {
    let certificates = artefact
        .inputs
        .iter()
        .filter(|input| input.certificate.is_some())
        .count();
    report.require(
        certificates <= 1,
        format!("{place}.inputs"),
        "an artefact holds one certificate at most: make a second artefact of the other one",
    );
    if artefact.inputs.is_empty() || !artefact.payload.is_empty() || certificates > 0 {
        return;
    }
    let has_data = |input: &&Input| input.token_request.is_some() || is_core(input) && input.name.is_some();
    let candidates = artefact.inputs.iter().filter(has_data).count();
    if candidates != 1 {
        let message = format!(
            "without a payload, the data of the only Secret, ConfigMap or token is handed over, and there are {candidates}: \
             set payload"
        );
        report.error(place, message);
    }
}

fn is_core(input: &Input) -> bool {
    input.api_version.as_deref() == Some("v1") && matches!(input.kind.as_deref(), Some("Secret" | "ConfigMap"))
}

fn input(place: &str, input: &Input, report: &mut Report) {
    let choices = [
        input.kind.is_some(),
        input.token_request.is_some(),
        input.certificate.is_some(),
        input.http_request.is_some(),
        input.endpoint.is_some(),
    ];
    report.require(
        choices.iter().filter(|chosen| **chosen).count() == 1,
        place,
        "an input is one of: an object (apiVersion, kind, name), tokenRequest, certificate, httpRequest, endpoint",
    );
    report.require(
        input.kind.is_some() == input.api_version.is_some(),
        place,
        "an object is named by apiVersion and kind together: set both or none",
    );
    if let Some(certificate) = &input.certificate {
        let signers = [certificate.signer.kubernetes.is_some(), certificate.signer.ca.is_some()];
        report.require(
            signers[0] != signers[1],
            format!("{place}.certificate.signer"),
            "a certificate is signed by the API server or by a CA: set signer.kubernetes or signer.ca",
        );
        report.require(
            certificate.dns_names.is_empty() || certificate.signer.ca.is_some(),
            format!("{place}.certificate.dnsNames"),
            "the API server signs certificates of clients, without DNS names: remove dnsNames, or set signer.ca",
        );
    }
    if let Some(request) = &input.http_request {
        report.require(
            request.url.starts_with("https://"),
            format!("{place}.httpRequest.url"),
            "a token is sent and a secret comes back: the URL begins with https://",
        );
    }
    if let Some(endpoint) = &input.endpoint {
        let choices = [
            endpoint.api_server.is_some(),
            endpoint.service.is_some(),
            endpoint.route.is_some(),
            endpoint.ingress.is_some(),
            endpoint.nodes.is_some(),
            endpoint.r#static.is_some(),
        ];
        report.require(
            choices.iter().filter(|chosen| **chosen).count() == 1,
            format!("{place}.endpoint"),
            "an endpoint is one of: apiServer, service, route, ingress, nodes, static",
        );
    }
    match &input.kind {
        Some(kind) => object(place, kind, input, report),
        None => report.require(
            input.name.is_none() && input.selector.is_none() && input.namespace.is_none() && input.keys.is_empty(),
            place,
            "namespace, name, selector, keys and resource belong to an object: set apiVersion and kind, or remove them",
        ),
    }
}

fn object(place: &str, kind: &str, input: &Input, report: &mut Report) {
    report.require(
        input.name.is_some() != input.selector.is_some(),
        place,
        "an object is found by name or by selector: set one of the two",
    );
    report.require(
        input.keys.is_empty() || is_core(input),
        format!("{place}.keys"),
        "keys select from the data of a Secret or ConfigMap: remove them for other kinds",
    );
    plural(place, kind, input.resource.as_deref(), report);
    let name = input.name.as_deref();
    if name.is_some_and(|name| !uses_inputs(name)) {
        naming::name(&format!("{place}.name"), name, report);
    }
    naming::namespace(&format!("{place}.namespace"), input.namespace.as_deref(), report);
    let selected = input.selector.as_ref().map(|selector| &selector.match_labels);
    report.require(
        selected.is_none_or(|labels| !labels.is_empty()),
        format!("{place}.selector"),
        "a selector without labels would take in every object of the kind: set matchLabels",
    );
    let (field, why) = match name {
        Some(name) if uses_inputs(name) => ("name", "the name depends on other inputs"),
        Some(_) => return,
        None => ("selector", "a selector names no object"),
    };
    let everywhere = "on the whole source cluster".to_owned();
    let within = input.namespace.as_ref();
    let within = within.map_or(everywhere, |namespace| {
        format!("in namespace {namespace:?} of the source cluster")
    });
    let message = format!("{why}, so the agent gets the right to read every {kind} {within}: see that this is meant");
    report.warn(format!("{place}.{field}"), message);
}

/// An object template tells which object it makes.
pub(super) fn template(place: &str, object: &ObjectTemplate, report: &mut Report) {
    let place = format!("{place}.template");
    let text = |path: &str| object.template.pointer(path).and_then(Value::as_str);
    for (path, field) in [
        ("/apiVersion", "apiVersion"),
        ("/kind", "kind"),
        ("/metadata/name", "metadata.name"),
    ] {
        if text(path).is_none_or(str::is_empty) {
            report.error(&place, format!("the template has no {field}: set it"));
        }
    }
    naming::name(&format!("{place}.metadata.name"), text("/metadata/name"), report);
    naming::namespace(
        &format!("{place}.metadata.namespace"),
        text("/metadata/namespace"),
        report,
    );
    if let Some(kind) = text("/kind") {
        plural(&place, kind, object.resource.as_deref(), report);
    }
}
