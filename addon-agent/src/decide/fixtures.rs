//! What the tables of decisions are made of.
use std::collections::BTreeMap;

use exchange::{content::Content, envelope, key::KeyPair};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::{
    Sensitive, names,
    peering::{ArtefactKind, LinkEnd, ObjectRef, PeerLink, PeerLinkSpec, Target, condition, reasons},
};

use super::{
    Action, Decision, Group, LinkView, OwnShare,
    action::{DataObject, OUR_ANNOTATIONS, Wanted},
    decide,
    link::{Outcome, Stages, wanted},
};
use crate::spoke::{Observed, Place, observed::target_of};

/// The cluster on which targets stand.
pub const HERE: &str = "west";

/// A fixed key pair.
pub fn pair(seed: u8) -> KeyPair {
    KeyPair::from_private(vec![seed; 32].into()).unwrap()
}

/// The time of all tests.
pub fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

/// A self-signed CA that ends in the given year.
pub fn ca(name: &str, until: i32) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// A CA that signs: its certificate and its key.
pub fn authority(name: &str) -> (String, String) {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A link of a Secret from cluster east (whose agent has key 1), named after its artefact.
pub fn link(artefact: &str) -> PeerLink {
    let end = |cluster: &str, seed| LinkEnd {
        cluster: cluster.to_owned(),
        public_key: Some(pair(seed).public().to_base64()),
        previous_public_key: None,
    };
    let spec = PeerLinkSpec {
        id: names::link_id("p", artefact, "east", HERE),
        peering: "p".into(),
        artefact: artefact.into(),
        confidential: true,
        from: end("east", 1),
        to: end(HERE, 2),
        target: Target {
            object: ObjectRef::core("Secret", "ns", "t"),
            labels: [("app".to_owned(), "x".to_owned())].into(),
            ..Target::default()
        },
        ..PeerLinkSpec::default()
    };
    let mut link = PeerLink::new(artefact, spec);
    link.metadata.generation = Some(1);
    link
}

/// A link of a CA bundle from a cluster.
pub fn ca_link(from: &str) -> PeerLink {
    let mut link = link("ca");
    link.metadata.name = Some(from.to_owned());
    link.spec.id = names::link_id("p", "ca", from, HERE);
    link.spec.from.cluster = from.to_owned();
    link.spec.kind = ArtefactKind::CaBundle;
    link.spec.confidential = false;
    link.spec.target.object.kind = "ConfigMap".into();
    link
}

/// The same link, going away.
pub fn leaving(mut link: PeerLink) -> PeerLink {
    link.metadata.deletion_timestamp = Some(Time(now()));
    link
}

/// Content with one key.
pub fn content(key: &str, value: &str) -> Content {
    Content {
        type_: Some("Opaque".into()),
        data: [(key.to_owned(), value.as_bytes().to_vec().into())].into(),
    }
}

/// An envelope from key 1 to key 2.
pub fn sealed(link: &PeerLink, revision: i64, content: &Content) -> Sensitive {
    let (sender, recipient) = (pair(1), pair(2));
    let bytes = envelope::seal(
        &link.spec.id,
        revision,
        "hash",
        &content.encode(),
        &sender,
        recipient.public(),
        &mut rand::rng(),
    );
    bytes.unwrap().into()
}

/// A plain envelope with certificates.
pub fn public(revision: i64, pem: &str) -> Sensitive {
    envelope::plain(revision, "hash", &content("ca.crt", pem).encode())
        .unwrap()
        .into()
}

/// Runs a decision as the agent of cluster west, which has key 2.
pub fn run(links: &[(PeerLink, Option<Sensitive>)], target: Option<&Observed>, own: &OwnShare) -> Decision {
    run_after(links, target, own, &BTreeMap::new())
}

/// The same, in a process that remembers revisions.
pub fn run_after(
    links: &[(PeerLink, Option<Sensitive>)],
    target: Option<&Observed>,
    own: &OwnShare,
    applied: &BTreeMap<String, i64>,
) -> Decision {
    let views: Vec<_> = links
        .iter()
        .map(|(link, envelope)| LinkView {
            envelope: envelope.as_ref(),
            ..LinkView::new(link)
        })
        .collect();
    run_views(&views, target, own, applied)
}

/// The same, with all that can be said of the links.
pub fn run_views(
    views: &[LinkView<'_>],
    target: Option<&Observed>,
    own: &OwnShare,
    applied: &BTreeMap<String, i64>,
) -> Decision {
    decide(&group(
        &target_of(&views[0].link.spec),
        views,
        target,
        own,
        applied,
        &[&pair(2)],
    ))
}

/// What a decision looks at, on cluster west.
pub fn group<'a>(
    place: &'a Place,
    links: &'a [LinkView<'a>],
    target: Option<&'a Observed>,
    own: &'a OwnShare,
    applied: &'a BTreeMap<String, i64>,
    keys: &'a [&'a KeyPair],
) -> Group<'a> {
    Group {
        place,
        cluster: HERE,
        links,
        target,
        own,
        keys,
        applied,
        now: now(),
    }
}

/// The target after an action; keys of a bundle stand besides others.
pub fn after(action: &Action, target: Option<&Observed>) -> Option<Observed> {
    let seen = target.cloned().unwrap_or_default();
    match action {
        Action::None => target.cloned(),
        Action::Create(wanted) | Action::Recreate(wanted) => Some(made(wanted, Observed::default())),
        Action::Apply(wanted) => Some(made(wanted, seen)),
        Action::Delete => None,
        Action::Release { data } => {
            let mut seen = seen;
            if let Some((key, value)) = data {
                seen.data.remove(key);
                let value = value.clone().map(|value| (key.clone(), value.into_bytes().into()));
                seen.data.extend(value);
            }
            seen.labels.retain(|key, _| !key.starts_with(names::GROUP));
            seen.annotations.retain(|key, _| !key.starts_with(names::GROUP));
            Some(seen)
        }
    }
}

/// What an API server makes of an apply: what the agent does not name any more goes, what others own stays.
fn made(wanted: &Wanted, mut object: Observed) -> Observed {
    match wanted {
        Wanted::Data(DataObject {
            type_,
            labels,
            annotations,
            data,
            exact,
        }) => {
            if *exact {
                object.data.clear();
            }
            object.type_.clone_from(type_);
            object.data.extend(data.clone());
            object.labels.extend(labels.clone());
            object
                .annotations
                .retain(|key, _| !OUR_ANNOTATIONS.contains(&key.as_str()));
            object.annotations.extend(annotations.clone());
        }
        Wanted::Object(body) => {
            let map = |name: &str| serde_json::from_value(body.0["metadata"][name].clone()).unwrap_or_default();
            (object.labels, object.annotations) = (map("labels"), map("annotations"));
            object.body = Some(body.clone());
        }
    }
    object
}

/// The links with what the decision says about them written to their status.
pub fn told(links: &[(PeerLink, Option<Sensitive>)], decision: &Decision) -> Vec<(PeerLink, Option<Sensitive>)> {
    let mut links = links.to_vec();
    for (link, _) in &mut links {
        link.status = Some(wanted(link, &outcome(decision, link).report, Stages::default(), now()));
    }
    links
}

/// What a decision says about a link.
pub fn outcome<'a>(decision: &'a Decision, link: &PeerLink) -> &'a Outcome {
    let found = decision.outcomes.iter().find(|outcome| outcome.id == link.spec.id);
    found.unwrap()
}

/// The reason of a link's condition after a decision: of `Withdrawn` if there is one, else of `Delivered`.
pub fn reason(decision: &Decision, link: &PeerLink) -> String {
    let status = wanted(link, &outcome(decision, link).report, Stages::default(), now());
    let said = condition(&status.conditions, reasons::WITHDRAWN).or(condition(&status.conditions, reasons::DELIVERED));
    said.map(|said| said.reason.clone()).unwrap_or_default()
}
