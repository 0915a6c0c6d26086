//! Whether what a link brought will be good for long enough. Pure.
use exchange::state::Verdict;
use jiff::{SignedDuration, Timestamp};
use peering_api::{
    duration,
    peering::{PeerLinkSpec, reasons},
};

/// How long before its end the content of a link should have been replaced.
fn warn_before(link: &PeerLinkSpec) -> Option<SignedDuration> {
    let probes = link.probes.iter().filter_map(|probe| probe.expiry.as_ref());
    let waits = probes.filter_map(|probe| duration::parse(&probe.warn_before).ok());
    waits.filter_map(|wait| SignedDuration::try_from(wait).ok()).max()
}

/// `Fresh` of a link whose content expires at that time; `None` where nothing expires and nobody asks.
#[must_use]
pub fn fresh(link: &PeerLinkSpec, expires_at: Option<Timestamp>, now: Timestamp) -> Option<Verdict> {
    use reasons::Fresh;
    let said = |reason: Fresh, message| {
        Some(Verdict::new(
            reasons::FRESH,
            reason.status().as_bool(),
            reason.as_str(),
            message,
        ))
    };
    let Some(end) = expires_at else {
        let asked = link.probes.iter().any(|probe| probe.expiry.is_some());
        return asked.then(|| said(Fresh::Fresh, "what was delivered does not expire".to_owned()))?;
    };
    let from = &link.from.cluster;
    if now >= end {
        let message = format!(
            "what cluster {from} handed over expired at {end}: expected a new one before; see SourceReady, and renew the source"
        );
        return said(Fresh::Expired, message);
    }
    let due = warn_before(link).map(|wait| end.checked_sub(wait).unwrap_or(Timestamp::MIN));
    match due {
        Some(due) if now >= due => {
            let message = format!(
                "what cluster {from} handed over works until {end}: expected a new one by {due}, seen none; see SourceReady, and renew the source"
            );
            said(Fresh::RenewalFailing, message)
        }
        _ => said(
            Fresh::Fresh,
            format!("what cluster {from} handed over works until {end}"),
        ),
    }
}

/// When [`fresh`] says something else by itself.
#[must_use]
pub fn fresh_until(link: &PeerLinkSpec, expires_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let end = expires_at?;
    let due = warn_before(link).and_then(|wait| end.checked_sub(wait).ok());
    [due, Some(end)].into_iter().flatten().filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, from_value, json};

    use super::*;
    use crate::decide::fixtures::{link, now};

    fn probed(probes: Json) -> PeerLinkSpec {
        let mut link = link("a");
        link.spec.probes = from_value(probes).unwrap();
        link.spec
    }

    #[test]
    fn freshness() {
        let (plain, warned) = (probed(json!([])), probed(json!([{"expiry": {"warnBefore": "24h"}}])));
        let at = |hours: i64| now() + SignedDuration::from_hours(hours);
        for (link, expires, expected, next) in [
            (&plain, None, None, None),
            (&warned, None, Some("Fresh"), None),
            (&plain, Some(48), Some("Fresh"), Some(48)),
            (&warned, Some(48), Some("Fresh"), Some(24)),
            (&warned, Some(24), Some("RenewalFailing"), Some(24)),
            (&warned, Some(1), Some("RenewalFailing"), Some(1)),
            (&warned, Some(0), Some("Expired"), None),
            (&plain, Some(-1), Some("Expired"), None),
        ] {
            let end = expires.map(at);
            let said = fresh(link, end, now());
            assert_eq!(said.map(|said| said.reason), expected.map(str::to_owned), "{expires:?}");
            assert_eq!(fresh_until(link, end, now()), next.map(at), "{expires:?}");
        }
    }
}
