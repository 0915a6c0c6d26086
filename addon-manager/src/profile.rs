//! Says of each `ExchangeProfile` whether Peerings can use it: condition `Accepted`, from what the linter finds.
use std::{fmt::Write as _, sync::Arc, time::Duration};

use addon_framework::runtime::{
    Outcome, Queue, RunOptions,
    conditions::{self, Wanted},
    run,
};
use exchange::lint::{Finding, Severity, lint};
use jiff::Timestamp;
use kube::Api;
use peering_api::peering::{
    ExchangeProfile,
    reasons::{self, ProfileAccepted},
};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use crate::peering::Hub;

/// Field manager of the status.
const MANAGER: &str = "peering-manager";
const CONCURRENCY: usize = 2;
const DEADLINE: Duration = Duration::from_secs(30);

/// How many findings a message tells; the first are most often the cause of the others.
const TOLD: usize = 5;

/// Runs the controller until the token is cancelled. Keys are names of profiles.
pub(crate) async fn control(hub: Arc<Hub>, queue: Queue<String>, token: CancellationToken) {
    hub.ready().await;
    let options = RunOptions {
        name: "profile",
        concurrency: CONCURRENCY,
        deadline: DEADLINE,
    };
    run(queue, options, token, move |name: String| {
        let hub = hub.clone();
        async move { pass(&hub, &name).await }
    })
    .await;
}

/// Looks through one profile, and writes what it finds if that is something new.
async fn pass(hub: &Hub, name: &str) -> Result<Outcome, kube::Error> {
    let Some(profile) = hub.profile(name) else {
        return Ok(Outcome::Done);
    };
    let status = profile.status.as_ref();
    let before = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
    let Some(after) = conditions::changed(before, &[verdict(&profile)], Timestamp::now()) else {
        return Ok(Outcome::Done);
    };
    let api = Api::<ExchangeProfile>::all(hub.client.clone());
    let body = Map::from_iter([("conditions".to_owned(), json!(after))]);
    match conditions::apply_status(&api, profile.as_ref(), MANAGER, &body).await {
        Ok(written) => {
            hub.events.changed(profile.as_ref(), before, &after);
            hub.profiles.recent.wrote(written);
            Ok(Outcome::Done)
        }
        // It has been deleted, or made anew (its uid differs): the watch tells the rest.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(Outcome::Done),
        Err(error) => Err(error),
    }
}

/// The condition of a profile.
fn verdict(profile: &ExchangeProfile) -> Wanted {
    let findings = lint(&profile.spec);
    let (errors, warnings): (Vec<_>, Vec<_>) = findings
        .into_iter()
        .partition(|finding| finding.severity == Severity::Error);
    let (valid, reason, message) = if errors.is_empty() {
        let found = "Peerings can use the profile";
        (true, ProfileAccepted::Valid, told(found, &warnings))
    } else {
        let found = "no Peering can use the profile; those which have links keep them";
        (false, ProfileAccepted::InvalidProfile, told(found, &errors))
    };
    Wanted::new(reasons::ACCEPTED, valid, reason.as_str(), message).at(profile.metadata.generation)
}

/// What was found, and where.
fn told(found: &str, findings: &[Finding]) -> String {
    let mut message = found.to_owned();
    for (index, finding) in findings.iter().take(TOLD).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        let _ = write!(message, "{separator}{finding}");
    }
    if let Some(more) = findings.len().checked_sub(TOLD).filter(|more| *more > 0) {
        let _ = write!(message, "; and {more} more");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(spec: &str) -> ExchangeProfile {
        let mut profile = ExchangeProfile::new("p", serde_saphyr::from_str(spec).unwrap());
        profile.metadata.generation = Some(3);
        profile
    }

    const DELIVER: &str = "deliver: {kind: Secret, namespace: ns, name: \"${source.cluster}\"}";

    fn payload(count: usize, text: &str) -> String {
        let texts: Vec<_> = (0..count).map(|index| format!("key{index}: \"{text}\"")).collect();
        format!(
            "{{artefacts: [{{name: a, confidential: true, payload: {{{}}}, {DELIVER}}}]}}",
            texts.join(", ")
        )
    }

    #[test]
    fn a_profile_is_accepted_or_told_where_it_is_wrong() {
        let unused = format!("{{parameters: [{{name: unused}}], {}", &payload(1, "a")[1..]);
        for (spec, status, reason, message) in [
            (payload(1, "a"), "True", "Valid", "Peerings can use the profile".to_owned()),
            (
                unused,
                "True",
                "Valid",
                "Peerings can use the profile: parameters[0]: warning: no text uses parameter \"unused\": use or remove it"
                    .to_owned(),
            ),
            (
                payload(1, "${source.name}"),
                "False",
                "InvalidProfile",
                "no Peering can use the profile; those which have links keep them: artefacts[0].payload[key0]: error: \
                 character 9: \"source\" has no \"name\", known: cluster"
                    .to_owned(),
            ),
        ] {
            let seen = verdict(&profile(&spec));
            let seen = (seen.status.as_str(), seen.reason.as_str(), seen.message, seen.observed_generation);
            assert_eq!(seen, (status, reason, message, Some(3)));
        }
    }

    #[test]
    fn many_findings_are_counted() {
        let message = verdict(&profile(&payload(8, "${nobody}"))).message;
        assert!(
            message.contains("payload[key4]") && !message.contains("payload[key5]"),
            "{message}"
        );
        assert!(message.ends_with("; and 3 more"), "{message}");
    }
}
