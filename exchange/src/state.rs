//! What people see: when a link is ready, and what a Peering says about its links.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use peering_api::{
    k8s_openapi, names,
    peering::{
        LinkCounts, PeerLinkSpec, Probe, condition,
        reasons::{self, Degraded, LinkReady, PeeringReady, SourceReady},
    },
};

/// What a condition should say; times and generations are the writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Type of the condition.
    pub type_: &'static str,
    /// `Some(true)` is `True`, `Some(false)` is `False`, `None` is `Unknown`.
    pub status: Option<bool>,
    /// Reason.
    pub reason: String,
    /// Message.
    pub message: String,
}

impl Verdict {
    /// A verdict with a reason of one of the closed lists.
    #[must_use]
    pub fn new(type_: &'static str, status: Option<bool>, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// The status as Kubernetes writes it.
    #[must_use]
    pub fn status_text(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// What the hub knows about one end of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndState {
    /// Name of the cluster.
    pub cluster: String,
    /// Its agent has published a key.
    pub has_key: bool,
    /// Its agent has published another key than the one by which the cluster is known.
    pub changed: bool,
    /// Its agent has not renewed its Lease for a while.
    pub silent: bool,
}

/// `SourceReady` of a link: what the source's agent says about the export, or why it says nothing.
#[must_use]
pub fn source_ready(export: &[Condition], from: &EndState) -> Verdict {
    match condition(export, reasons::SOURCE_READY) {
        Some(seen) => {
            let status = match seen.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            };
            Verdict::new(reasons::SOURCE_READY, status, &seen.reason, seen.message.clone())
        }
        None => Verdict::new(
            reasons::SOURCE_READY,
            None,
            SourceReady::WaitingForSource.as_str(),
            format!(
                "the agent of cluster {} has not reported on its source yet",
                from.cluster
            ),
        ),
    }
}

/// The conditions that a link needs besides `SourceReady`, in the order in which they come true.
#[must_use]
pub fn required(link: &PeerLinkSpec) -> Vec<&'static str> {
    let probed = |probed: fn(&Probe) -> bool| link.probes.iter().any(probed);
    let needs = [
        (reasons::DELIVERED, true),
        (reasons::WIRED, !link.wire.is_empty()),
        (reasons::TRUSTED, probed(|probe| probe.tls.is_some())),
        (reasons::FRESH, probed(|probe| probe.expiry.is_some())),
        (
            reasons::CONNECTED,
            probed(|probe| {
                probe.object.is_some() || probe.api_auth.is_some() || probe.http.is_some() || probe.s3.is_some()
            }),
        ),
    ];
    needs
        .into_iter()
        .filter(|(_, needed)| *needed)
        .map(|(type_, _)| type_)
        .collect()
}

/// All conditions of a link's agent that may hold it back, in the order in which they come true.
const STAGES: [&str; 5] = [
    reasons::DELIVERED,
    reasons::WIRED,
    reasons::TRUSTED,
    reasons::FRESH,
    reasons::CONNECTED,
];

/// `Ready` of a link: the first thing that stands in its way, from the source to the proof.
#[must_use]
pub fn link_ready(source: &Verdict, link: &[Condition], required: &[&str], from: &EndState, to: &EndState) -> Verdict {
    let verdict = |status, reason: LinkReady, message| Verdict::new(reasons::READY, status, reason.as_str(), message);
    if let Some(end) = [from, to].into_iter().find(|end| end.changed) {
        let message = format!(
            "cluster {} has come back with another key, nothing is sealed to it or taken from it; what was delivered stays: see Accepted of the Peering for how to confirm it",
            end.cluster
        );
        return verdict(Some(false), LinkReady::IdentityChanged, message);
    }
    if let Some(end) = [from, to].into_iter().find(|end| !end.has_key) {
        let message = format!(
            "the agent of cluster {} has published no key that can be used: see its PeerMember, and the conditions of its ManagedClusterAddOn {}",
            end.cluster,
            names::ADDON
        );
        return verdict(Some(false), LinkReady::WaitingForAgent, message);
    }
    if let Some(end) = [to, from].into_iter().find(|end| end.silent) {
        let message = format!(
            "the agent of cluster {} has not renewed its Lease {} for a while, so nothing is known of this link; what was delivered stays: see whether the cluster and its agent run",
            end.cluster,
            names::ADDON
        );
        return verdict(None, LinkReady::AgentUnreachable, message);
    }
    if source.status != Some(true) {
        return Verdict {
            type_: reasons::READY,
            ..source.clone()
        };
    }
    for type_ in STAGES {
        match condition(link, type_) {
            Some(seen) if seen.status == "True" => {}
            Some(seen) => {
                let status = if seen.status == "False" { Some(false) } else { None };
                return Verdict::new(reasons::READY, status, &seen.reason, seen.message.clone());
            }
            None if required.contains(&type_) => {
                let message = format!(
                    "the agent of cluster {} has not reported {type_} of this link yet",
                    to.cluster
                );
                return verdict(None, LinkReady::WaitingForDestination, message);
            }
            None => {}
        }
    }
    let message = format!("handed over from cluster {} to cluster {}", from.cluster, to.cluster);
    verdict(Some(true), LinkReady::Ready, message)
}

/// One link as the Peering's status counts it.
#[derive(Clone, Debug)]
pub struct LinkSummary {
    /// `artefact from a to b`, for the message.
    pub name: String,
    /// Its `Ready`.
    pub ready: Verdict,
    /// When what it delivered expires.
    pub expires_at: Option<Timestamp>,
    /// It has delivered something before.
    pub worked: bool,
}

/// `Degraded` of a Peering: something that worked does so no more.
#[must_use]
pub fn peering_degraded(links: &[LinkSummary]) -> Verdict {
    let verdict =
        |status, reason: Degraded, message| Verdict::new(reasons::DEGRADED, Some(status), reason.as_str(), message);
    let failing: Vec<_> = links
        .iter()
        .filter(|link| link.worked && link.ready.status != Some(true))
        .collect();
    let Some(first) = failing.first() else {
        return verdict(false, Degraded::AllHealthy, "no link that worked has failed".to_owned());
    };
    let expiring = [
        reasons::Fresh::Expired.as_str(),
        reasons::Fresh::RenewalFailing.as_str(),
    ];
    let all_expire = failing
        .iter()
        .all(|link| expiring.contains(&link.ready.reason.as_str()));
    let reason = if all_expire {
        Degraded::Expiring
    } else {
        Degraded::LinksFailing
    };
    let message = format!(
        "{} links that worked are not ready, first: {}: {}: {}",
        failing.len(),
        first.name,
        first.ready.reason,
        first.ready.message
    );
    verdict(true, reason, message)
}

/// Counts, `Ready` and the next expiry of a Peering.
#[must_use]
pub fn peering_ready(links: &[LinkSummary]) -> (LinkCounts, Verdict, Option<Timestamp>) {
    let ready = links.iter().filter(|link| link.ready.status == Some(true)).count();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let counts = LinkCounts {
        total: count(links.len()),
        ready: count(ready),
    };
    let verdict = match links.iter().find(|link| link.ready.status != Some(true)) {
        _ if links.is_empty() => {
            let message = "there is no link to serve: see the condition Accepted";
            Verdict::new(reasons::READY, Some(false), PeeringReady::NoLinks.as_str(), message)
        }
        None => {
            let message = format!("all {} links are ready", links.len());
            Verdict::new(
                reasons::READY,
                Some(true),
                PeeringReady::AllLinksReady.as_str(),
                message,
            )
        }
        Some(first) => {
            let message = format!(
                "{ready} of {} links are ready; first of the others: {}: {}: {}",
                links.len(),
                first.name,
                first.ready.reason,
                first.ready.message
            );
            Verdict::new(
                reasons::READY,
                Some(false),
                PeeringReady::LinksNotReady.as_str(),
                message,
            )
        }
    };
    (counts, verdict, links.iter().filter_map(|link| link.expires_at).min())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn given(type_: &str, status: &str, reason: &str) -> Vec<Condition> {
        vec![Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "m".to_owned(),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }]
    }

    fn end(cluster: &str, has_key: bool) -> EndState {
        EndState {
            cluster: cluster.to_owned(),
            has_key,
            ..EndState::default()
        }
    }

    fn reason(from: &EndState, to: &EndState, export: &[Condition], link: &[Condition]) -> (Option<bool>, String) {
        let verdict = link_ready(&source_ready(export, from), link, &[reasons::DELIVERED], from, to);
        (verdict.status, verdict.reason)
    }

    #[test]
    fn the_first_obstacle_is_the_reason() {
        let (up, other) = (end("a", true), end("b", true));
        let (published, missing) = (
            given("SourceReady", "True", "Published"),
            given("SourceReady", "False", "SourceNotFound"),
        );
        let (delivered, conflict) = (
            given("Delivered", "True", "Delivered"),
            given("Delivered", "False", "TargetConflict"),
        );
        for (from, to, export, link, expected) in [
            (
                &up,
                &end("b", false),
                &published,
                &delivered,
                (Some(false), "WaitingForAgent"),
            ),
            (&up, &other, &vec![], &vec![], (None, "WaitingForSource")),
            (&up, &other, &missing, &delivered, (Some(false), "SourceNotFound")),
            (&up, &other, &published, &vec![], (None, "WaitingForDestination")),
            (&up, &other, &published, &conflict, (Some(false), "TargetConflict")),
            (&up, &other, &published, &delivered, (Some(true), "Ready")),
        ] {
            let (status, reason) = reason(from, to, export, link);
            assert_eq!((status, reason.as_str()), expected);
        }
    }

    #[test]
    fn every_stage_counts_and_a_silent_agent_leaves_it_open() {
        let (up, other) = (end("a", true), end("b", true));
        let published = given("SourceReady", "True", "Published");
        let stages = |wired: &[Condition]| [given("Delivered", "True", "Delivered"), wired.to_vec()].concat();
        let run = |link: &[Condition], to: &EndState| {
            let required = [reasons::DELIVERED, reasons::WIRED];
            let verdict = link_ready(&source_ready(&published, &up), link, &required, &up, to);
            (verdict.status, verdict.reason)
        };
        assert_eq!(run(&stages(&[]), &other), (None, "WaitingForDestination".to_owned()));
        let missing = given("Wired", "False", "ConsumerMissing");
        assert_eq!(
            run(&stages(&missing), &other),
            (Some(false), "ConsumerMissing".to_owned())
        );
        let wired = stages(&given("Wired", "True", "Wired"));
        assert_eq!(run(&wired, &other), (Some(true), "Ready".to_owned()));
        let pending = [wired.clone(), given("Connected", "Unknown", "ProbePending")].concat();
        assert_eq!(run(&pending, &other), (None, "ProbePending".to_owned()));
        let silent = EndState {
            silent: true,
            ..other.clone()
        };
        assert_eq!(run(&wired, &silent), (None, "AgentUnreachable".to_owned()));
        let changed = EndState {
            changed: true,
            has_key: false,
            ..silent
        };
        assert_eq!(run(&wired, &changed), (Some(false), "IdentityChanged".to_owned()));
    }

    #[test]
    fn only_what_worked_before_degrades_a_peering() {
        let link = |status, reason: &str, worked| LinkSummary {
            name: "x".to_owned(),
            ready: Verdict::new("Ready", status, reason, "why"),
            expires_at: None,
            worked,
        };
        let run = |links: &[LinkSummary]| {
            let verdict = peering_degraded(links);
            (verdict.status, verdict.reason)
        };
        let new = link(Some(false), "SourceNotFound", false);
        assert_eq!(run(std::slice::from_ref(&new)), (Some(false), "AllHealthy".to_owned()));
        let expired = link(Some(false), "Expired", true);
        assert_eq!(run(&[new, expired.clone()]), (Some(true), "Expiring".to_owned()));
        let lost = link(None, "AgentUnreachable", true);
        assert_eq!(run(&[expired, lost]), (Some(true), "LinksFailing".to_owned()));
    }

    #[test]
    fn a_peering_names_its_first_unready_link() {
        let ready = |name: &str, status, at| LinkSummary {
            name: name.to_owned(),
            ready: Verdict::new("Ready", status, "R", "why"),
            expires_at: at,
            worked: true,
        };
        let at = Timestamp::from_second(9).unwrap();
        let (counts, verdict, next) = peering_ready(&[ready("x", Some(true), Some(at)), ready("y", Some(false), None)]);
        assert_eq!((counts.total, counts.ready, next), (2, 1, Some(at)));
        assert_eq!(
            (verdict.status, verdict.reason.as_str()),
            (Some(false), "LinksNotReady")
        );
        assert!(verdict.message.contains("y: R: why"), "{}", verdict.message);
        assert_eq!(peering_ready(&[ready("x", Some(true), None)]).1.reason, "AllLinksReady");
        assert_eq!(peering_ready(&[]).1.reason, "NoLinks");
    }
}
