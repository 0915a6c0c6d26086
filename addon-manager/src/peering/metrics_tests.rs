//! What a scrape says of a fleet, and that `docs/monitoring.md` lists exactly that.
use peering_api::peering::{PeerLinkSpec, PeerLinkStatus, PeeringSpec};
use prometheus_client::encoding::text::encode as encode_text;
use serde_json::{Value, from_value, json};

use super::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/monitoring.md");
const CREATED: &str = "2026-11-21T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A link from `east` to `west`, created at [`CREATED`].
fn link(artefact: &str, status: &Value) -> PeerLink {
    let mut link = PeerLink::new("", PeerLinkSpec::default());
    link.metadata = from_value(json!({
        "name": format!("pair-{artefact}"), "namespace": "west", "creationTimestamp": CREATED,
    }))
    .unwrap();
    (link.spec.peering, link.spec.profile, link.spec.artefact) = ("pair".into(), "storage".into(), artefact.into());
    (link.spec.from.cluster, link.spec.to.cluster) = ("east".into(), "west".into());
    link.status = Some(from_value::<PeerLinkStatus>(status.clone()).unwrap());
    link
}

fn ready(status: &str, reason: &str) -> Value {
    let since = "2026-11-21T01:00:00Z";
    json!([{"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": since}])
}

fn scrape(metrics: &Metrics, fleet: Fleet) -> String {
    let mut registry = Registry::with_prefix("orchestrator");
    register(&mut registry, metrics, move || fleet.clone());
    let mut text = String::new();
    encode_text(&mut text, &registry).unwrap();
    text
}

/// A fleet with at least one sample of each metric.
fn fleet() -> Fleet {
    let delivered = json!({
        "appliedRevision": at(CREATED).as_millisecond(), "expiresAt": "2026-11-22T00:00:00Z",
        "conditions": ready("False", "TargetConflict"),
    });
    let mut authorities = delivered.clone();
    authorities["caFingerprints"] = json!(["f"]);
    authorities["conditions"] = ready("Unknown", "reason=\"by a hostile agent\"\n");
    let mut leaving = link("leaving", &delivered);
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    let links = [
        link("token", &delivered),
        link("ca", &authorities),
        link("new", &json!({})),
        leaving,
    ];
    let mut accepted = Peering::new("pair", PeeringSpec::default());
    let status = json!({"conditions": [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": CREATED},
    ]});
    accepted.status = Some(from_value(status).unwrap());
    let unseen = Peering::new("new", PeeringSpec::default());
    Fleet {
        links: links.map(Arc::new).into(),
        peerings: vec![Arc::new(accepted), Arc::new(unseen)],
        agents: vec![("east".into(), true), ("west".into(), false)],
    }
}

#[test]
fn a_scrape_tells_how_the_fleet_stands() {
    let text = scrape(&Metrics::default(), fleet());
    let token = r#"peering="pair",artefact="token",from="east",to="west""#;
    for expected in [
        r#"orchestrator_links{profile="storage",ready="False",reason="TargetConflict"} 1"#.to_owned(),
        r#"orchestrator_links{profile="storage",ready="Unknown",reason="Other"} 1"#.to_owned(),
        r#"orchestrator_links{profile="storage",ready="Unknown",reason="NotReported"} 1"#.to_owned(),
        r#"orchestrator_links_withdrawing{profile="storage"} 1"#.to_owned(),
        format!("orchestrator_link_last_success_timestamp_seconds{{{token}}} 1795222800"),
        format!(r#"orchestrator_link_expiration_timestamp_seconds{{{token},content="credential"}} 1795305600"#),
        format!(r#"orchestrator_link_lifetime_seconds{{{token},content="credential"}} 86400"#),
        r#"orchestrator_peering_accepted{peering="new"} 0"#.to_owned(),
        r#"orchestrator_peering_accepted{peering="pair"} 1"#.to_owned(),
        r#"orchestrator_agent_available{managed_cluster="east"} 1"#.to_owned(),
        r#"orchestrator_agent_available{managed_cluster="west"} 0"#.to_owned(),
    ] {
        assert!(
            text.lines().any(|line| line == expected),
            "{expected} is missing in\n{text}"
        );
    }
    assert!(!text.contains("hostile") && !text.contains("leaving"), "{text}");
    assert!(
        text.contains(r#"artefact="ca",from="east",to="west",content="ca""#),
        "{text}"
    );
}

#[test]
fn the_last_success_is_now_while_a_link_is_ready_and_its_creation_before_it_was() {
    let now = at("2026-11-21T09:00:00Z");
    let success = |status: &Value| last_success(&link("token", status), now).unwrap();
    assert_eq!(success(&json!({"conditions": ready("True", "Ready")})), now);
    assert_eq!(
        success(&json!({"conditions": ready("False", "ApplyFailed")})),
        at("2026-11-21T01:00:00Z")
    );
    assert_eq!(success(&json!({})), at(CREATED));
}

#[test]
fn links_with_the_same_labels_do_not_spoil_a_scrape() {
    let twice = link("token", &json!({"conditions": ready("False", "ApplyFailed")}));
    let links = vec![Arc::new(twice.clone()), Arc::new(twice)];
    let text = scrape(
        &Metrics::default(),
        Fleet {
            links,
            ..Fleet::default()
        },
    );
    assert_eq!(
        text.matches("orchestrator_link_last_success_timestamp_seconds{")
            .count(),
        1
    );
    assert!(text.contains("reason=\"ApplyFailed\"} 2"), "{text}");
}

/// Number and sum of the durations that were measured.
fn measured(metrics: &Metrics) -> (String, String) {
    let text = scrape(metrics, Fleet::default());
    let value = |suffix: &str| {
        let name = format!("orchestrator_exchange_duration_seconds_{suffix}{{profile=\"storage\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or("none").to_owned()
    };
    (value("count"), value("sum"))
}

#[test]
fn an_exchange_lasts_from_the_revision_to_its_delivery() {
    let revision = |text: &str| json!({"appliedRevision": at(text).as_millisecond()});
    let (created, early) = (at(CREATED), "2026-11-20T00:00:00Z");
    let later = |seconds| created + jiff::SignedDuration::from_secs(seconds);
    let metrics = Metrics::default();
    let look = |status: &Value, seconds| {
        metrics.seen(&link("token", status), later(seconds));
        measured(&metrics)
    };
    let (none, one) = (("none".into(), "none".into()), ("1".into(), "3.0".into()));
    assert_eq!(look(&json!({}), 1), none, "nothing is delivered yet");
    assert_eq!(
        look(&revision(early), 3),
        one,
        "old content of a new link: since its creation"
    );
    assert_eq!(look(&revision(early), 9), one, "seen again");
    let two = ("2".into(), "7.5".into());
    let half = "2026-11-21T00:00:05.5Z";
    assert_eq!(look(&revision(half), 10), two, "a new revision: since its publication");
    let three = ("3".into(), "7.5".into());
    assert_eq!(
        look(&revision("2026-11-21T01:00:00Z"), 20),
        three,
        "the source's clock is ahead"
    );

    let restarted = Metrics::default();
    restarted.seen(&link("token", &revision(half)), later(60));
    assert_eq!(measured(&restarted), none, "delivered before this process looked");
}

#[test]
fn a_deleted_link_is_forgotten() {
    let metrics = Metrics::default();
    let mut link = link("token", &json!({}));
    metrics.seen(&link, at(CREATED));
    link.metadata.deletion_timestamp = link.metadata.creation_timestamp.clone();
    metrics.seen(&link, at(CREATED));
    assert!(metrics.seen.lock().unwrap().is_empty());
}

#[test]
fn the_page_lists_exactly_these_metrics() {
    let metrics = Metrics::default();
    metrics.seen(&link("token", &json!({})), at(CREATED));
    metrics.seen(&link("token", &json!({"appliedRevision": 1})), at(CREATED));
    let expected = exposition::table(&exposition::parse(&scrape(&metrics, fleet())));
    let page = std::fs::read_to_string(PAGE).unwrap();
    let rows = exposition::rows(&page, "### Manager");
    assert_eq!(
        rows,
        expected.lines().collect::<Vec<_>>(),
        "put these rows into docs/monitoring.md:\n{expected}"
    );
}
