//! Rules about what is changed and probed on the destination once the target stands.
use std::time::Duration;

use peering_api::peering::{Artefact, ArtefactKind, ObjectRef, Probe, Wire};

use super::{Report, duration, inputs, naming, texts::uses_inputs};
use crate::wire::Path;

/// The shortest time between two runs of a probe, and the shortest time for one.
const SHORTEST: Duration = Duration::from_secs(1);

/// Checks wires and probes.
pub(super) fn check(place: &str, artefact: &Artefact, report: &mut Report) {
    for (index, wire) in artefact.wire.iter().enumerate() {
        self::wire(&format!("{place}.wire[{index}]"), artefact, wire, report);
    }
    for (index, probe) in artefact.probes.iter().enumerate() {
        self::probe(&format!("{place}.probes[{index}]"), artefact, probe, report);
    }
}

fn wire(place: &str, artefact: &Artefact, wire: &Wire, report: &mut Report) {
    let choices = [
        wire.apply.is_some(),
        wire.add_to_list.is_some(),
        wire.set_field.is_some(),
        wire.annotate.is_some(),
    ];
    report.require(
        choices.iter().filter(|chosen| **chosen).count() == 1,
        place,
        "a wire entry is one of: apply, addToList, setField, annotate",
    );
    if let Some(apply) = &wire.apply {
        inputs::template(&format!("{place}.apply"), apply, report);
    }
    if let Some(add) = &wire.add_to_list {
        let place = format!("{place}.addToList");
        consumer(&place, artefact, add.of.as_deref(), add.object.as_ref(), report);
        path(&format!("{place}.path"), &add.path, report);
    }
    if let Some(set) = &wire.set_field {
        let place = format!("{place}.setField");
        consumer(&place, artefact, set.of.as_deref(), set.object.as_ref(), report);
        path(&format!("{place}.path"), &set.path, report);
    }
    if let Some(annotate) = &wire.annotate {
        let place = format!("{place}.annotate");
        consumer(
            &place,
            artefact,
            annotate.of.as_deref(),
            annotate.object.as_ref(),
            report,
        );
    }
}

fn path(place: &str, path: &str, report: &mut Report) {
    if let Err(error) = path.parse::<Path>() {
        report.error(place, error.to_string());
    }
}

/// The object of a wire or probe can be told on the destination.
fn consumer(place: &str, artefact: &Artefact, of: Option<&str>, object: Option<&ObjectRef>, report: &mut Report) {
    let Some(of) = of.filter(|_| object.is_none()) else {
        report.require(
            object.is_some() && of.is_none(),
            place,
            "the object is named by 'of' (an input of the same name on this cluster) or by 'object': set one",
        );
        if let Some(object) = object {
            naming::name(&format!("{place}.object.name"), Some(&object.name), report);
            naming::namespace(
                &format!("{place}.object.namespace"),
                object.namespace.as_deref(),
                report,
            );
            naming::plural(
                &format!("{place}.object"),
                &object.kind,
                object.resource.as_deref(),
                report,
            );
        }
        return;
    };
    let place = format!("{place}.of");
    let input = artefact.inputs.iter().find(|input| input.alias == of);
    match input.and_then(|input| input.name.as_ref().filter(|_| input.kind.is_some())) {
        None => report.error(
            place,
            format!("{of:?} is not an input that names an object: correct 'of', or use 'object'"),
        ),
        Some(name) if uses_inputs(name) => report.error(
            place,
            format!("the name of input {of:?} depends on other inputs, which this cluster does not see: use 'object'"),
        ),
        Some(_) => {}
    }
}

fn probe(place: &str, artefact: &Artefact, probe: &Probe, report: &mut Report) {
    let choices = [
        probe.object.is_some(),
        probe.tls.is_some(),
        probe.api_auth.is_some(),
        probe.http.is_some(),
        probe.s3.is_some(),
        probe.expiry.is_some(),
    ];
    report.require(
        choices.iter().filter(|chosen| **chosen).count() == 1,
        place,
        "a probe is one of: object, tls, apiAuth, http, s3, expiry",
    );
    times(place, probe, report);
    if let Some(object) = &probe.object {
        let place = format!("{place}.object");
        consumer(&place, artefact, object.of.as_deref(), object.object.as_ref(), report);
    }
    if let Some(tls) = &probe.tls {
        report.require(
            tls.ca.is_some() || artefact.kind == ArtefactKind::CaBundle,
            format!("{place}.tls.ca"),
            "only a CABundle brings CA certificates by itself: set tls.ca",
        );
    }
    if let Some(api) = &probe.api_auth {
        let by_server = [api.server.is_some(), api.ca.is_some(), api.token.is_some()];
        let whole = by_server.iter().all(|set| *set) || by_server.iter().all(|set| !*set);
        report.require(
            api.kubeconfig.is_some() != api.server.is_some() && whole,
            format!("{place}.apiAuth"),
            "the API server is named by a kubeconfig, or by server with ca and token: set one",
        );
    }
    if let Some(expiry) = &probe.expiry {
        duration(&format!("{place}.expiry.warnBefore"), &expiry.warn_before, report);
    }
}

fn times(place: &str, probe: &Probe, report: &mut Report) {
    let (every, within) = (format!("{place}.interval"), format!("{place}.timeout"));
    let interval = duration(&every, &probe.interval, report);
    let timeout = duration(&within, &probe.timeout, report);
    report.require(
        interval.is_none_or(|interval| interval >= SHORTEST),
        every,
        "a probe runs once a second at most: set interval to 1s or more",
    );
    report.require(
        timeout.is_none_or(|timeout| timeout >= SHORTEST),
        &within,
        "a probe needs time to answer: set timeout to 1s or more",
    );
    if let (Some(interval), Some(timeout)) = (interval, timeout)
        && timeout > interval
    {
        report.warn(
            within,
            "a run may take longer than the interval: set timeout lower than interval",
        );
    }
}
