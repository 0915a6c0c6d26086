//! What is wrong with a profile, as far as it can be told without a Peering and without any cluster.
//!
//! [`texts`]: every text of a profile, what it must yield and which variables it sees. [`inputs`], [`targets`],
//! [`consumers`]: what the source reads, what the destination writes, and what it changes and probes then.
//!
//! The API server refuses much of this too. It is looked at here once more for profiles in files.
mod consumers;
mod inputs;
mod naming;
mod targets;
mod texts;

use std::{
    collections::BTreeSet,
    fmt::{self, Display},
};

use peering_api::peering::{Artefact, ArtefactKind, ExchangeProfileSpec};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// No Peering can be served with it.
    Error,
    /// It works, or may work, and is probably not meant.
    Warning,
}

impl Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Something that is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The field, such as `artefacts[0].deliver.name`, under the profile's `spec`.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity, self.message)
    }
}

/// Everything that is wrong with a profile, errors first, then by place.
///
/// ```
/// # use exchange::lint::lint;
/// # use peering_api::peering::ExchangeProfileSpec;
/// let profile: ExchangeProfileSpec = serde_json::from_str(r#"{
///     "parameters": [{"name": "token"}],
///     "artefacts": [{
///         "name": "login",
///         "payload": {"token": "${params.tokn}"},
///         "deliver": {"kind": "Secret", "namespace": "ns", "name": "${source.cluster}"}
///     }]
/// }"#)?;
/// let findings: Vec<_> = lint(&profile).iter().map(ToString::to_string).collect();
/// assert_eq!(findings, [
///     r#"artefacts[0].payload[token]: error: character 9: "params" has no "tokn", known: token"#,
///     r#"parameters[0]: warning: no text uses parameter "token": use or remove it"#,
/// ]);
/// # Ok::<_, serde_json::Error>(())
/// ```
#[must_use]
pub fn lint(profile: &ExchangeProfileSpec) -> Vec<Finding> {
    let mut report = Report::default();
    let references = texts::check(profile, &mut report);
    parameters(profile, &references, &mut report);
    unique(
        "artefacts",
        "name",
        profile.artefacts.iter().map(|artefact| artefact.name.as_str()),
        &mut report,
    );
    for (index, artefact) in profile.artefacts.iter().enumerate() {
        let place = format!("artefacts[{index}]");
        whole(&place, artefact, &mut report);
        inputs::check(&place, artefact, &mut report);
        targets::check(&place, artefact, &mut report);
        consumers::check(&place, artefact, &mut report);
    }
    targets::collisions(&profile.artefacts, &mut report);
    report.finish()
}

/// The first error of a profile; without one, Peerings can use it.
#[must_use]
pub fn first_error(profile: &ExchangeProfileSpec) -> Option<Finding> {
    let findings = lint(profile).into_iter();
    findings.into_iter().find(|finding| finding.severity == Severity::Error)
}

/// Findings on their way.
#[derive(Debug, Default)]
struct Report(BTreeSet<Finding>);

impl Report {
    fn add(&mut self, severity: Severity, place: impl Into<String>, message: impl Into<String>) {
        self.0.insert(Finding {
            severity,
            place: place.into(),
            message: message.into(),
        });
    }

    fn error(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, place, message);
    }

    fn warn(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, place, message);
    }

    /// An error, unless something holds.
    fn require(&mut self, holds: bool, place: impl Into<String>, message: &str) {
        if !holds {
            self.error(place, message);
        }
    }

    fn finish(self) -> Vec<Finding> {
        self.0.into_iter().collect()
    }
}

/// Each entry of a list has a name of its own.
fn unique<'n>(list: &str, key: &str, names: impl Iterator<Item = &'n str>, report: &mut Report) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            let message = format!("{name:?} stands in the list already: choose another name");
            report.error(format!("{list}[{index}].{key}"), message);
        }
    }
}

fn parameters(profile: &ExchangeProfileSpec, references: &texts::References, report: &mut Report) {
    let names = profile.parameters.iter().map(|parameter| parameter.name.as_str());
    unique("parameters", "name", names, report);
    for (index, parameter) in profile.parameters.iter().enumerate() {
        let place = format!("parameters[{index}]");
        report.require(
            parameter.default.is_none() || parameter.required != Some(true),
            &place,
            "a parameter with a default is never required: remove 'default' or 'required: true'",
        );
        if !references.uses("params", &parameter.name) {
            let message = format!("no text uses parameter {:?}: use or remove it", parameter.name);
            report.warn(&place, message);
        }
    }
}

/// Rules about an artefact as a whole.
fn whole(place: &str, artefact: &Artefact, report: &mut Report) {
    report.require(
        !artefact.inputs.is_empty() || !artefact.payload.is_empty(),
        place,
        "an artefact needs something to hand over: set inputs or payload",
    );
    let confidential = format!("{place}.confidential");
    if artefact.kind == ArtefactKind::CaBundle {
        report.require(
            !artefact.confidential,
            &confidential,
            "a CABundle artefact is public, since destinations unite it with their own: set 'confidential: false'",
        );
    }
    let inputs = &artefact.inputs;
    let issued = inputs.iter().any(texts::is_issued);
    if !artefact.confidential {
        report.require(
            !inputs.iter().any(|input| input.kind.as_deref() == Some("Secret")),
            &confidential,
            "what is made of a Secret is confidential: remove 'confidential: false', or read a ConfigMap",
        );
        report.require(
            !issued,
            &confidential,
            "tokens, certificates and answers of services are confidential: remove 'confidential: false'",
        );
    }
    if artefact.deliver.used_when.is_some() {
        report.require(
            artefact.kind == ArtefactKind::Data && artefact.confidential && artefact.provision.is_empty(),
            format!("{place}.deliver.usedWhen"),
            "what is used up is confidential data without anything provisioned for it: remove usedWhen, or make two artefacts",
        );
    }
    if let Some(refresh) = &artefact.refresh {
        let place = format!("{place}.refresh");
        duration(&format!("{place}.minInterval"), &refresh.min_interval, report);
        report.require(
            refresh.jitter_percent < refresh.renew_at_percent,
            format!("{place}.jitterPercent"),
            "the jitter makes renewals earlier: set jitterPercent lower than renewAtPercent",
        );
        if !issued {
            let message =
                "nothing is renewed, since no input is a tokenRequest, certificate or httpRequest: remove refresh";
            report.warn(place, message);
        }
    }
}

/// A duration as Kubernetes users write it.
fn duration(place: &str, text: &str, report: &mut Report) -> Option<std::time::Duration> {
    let parsed = peering_api::duration::parse(text);
    if let Err(error) = parsed {
        report.error(place, error.to_string());
    }
    parsed.ok()
}

#[cfg(test)]
mod tests;
