//! What a `PeerMember` shows of its cluster: `ConfigMap`s that the hub has asked for by name.
use std::collections::BTreeMap;

use addon_framework::runtime::conditions::{Wanted, merge};
use exchange::{
    expression::{Scope, Text},
    source::{Lookup, Selection},
    value::Value,
};
use jiff::Timestamp;
use peering_api::peering::{
    PeerMember, PeerMemberStatus, Report, ReportRequest, condition,
    reasons::{self, MemberReported},
};

use crate::spoke::{Place, Seen, observed::normal};

/// Most bytes of all reports of a member: an object has room for 1.5 MiB, and the hub holds one for each cluster.
const LIMIT: usize = 256 * 1024;

/// Where a report comes from.
#[must_use]
pub fn lookup(request: &ReportRequest) -> Lookup {
    match &request.objects {
        None => {
            let name = request.config_map.as_deref().unwrap_or_default();
            Lookup::object(&normal(&Place::core("ConfigMap", &request.namespace, name)))
        }
        Some(objects) => Lookup::Selection(Selection {
            api_version: objects.api_version.clone(),
            kind: objects.kind.clone(),
            resource: objects.resource.clone(),
            namespace: Some(request.namespace.clone()),
            labels: BTreeMap::new(),
        }),
    }
}

/// Adds to a status what is asked for; what was shown before stays where there is nothing better, as while a watch has not
/// said anything: the key must not wait for that.
#[must_use]
pub fn add(
    member: &PeerMember,
    mut status: PeerMemberStatus,
    seen: impl Fn(&Lookup) -> Seen<Value>,
    now: Timestamp,
) -> PeerMemberStatus {
    let before = member.status.as_ref();
    let shown =
        |name: &str| before.and_then(|before| before.reports.iter().find(|report| report.name == name).cloned());
    let (mut reports, mut problem, mut pending, mut room) = (Vec::new(), None, false, LIMIT);
    for request in &member.spec.reports {
        let place = lookup(request);
        let found = match seen(&place) {
            Seen::Pending => {
                pending = true;
                reports.extend(shown(&request.name));
                continue;
            }
            Seen::Denied => Err((
                MemberReported::ReportForbidden,
                format!(
                    "the agent may not read {place}: the right arrives with its own ManifestWork, and namespace {} must exist",
                    request.namespace
                ),
            )),
            Seen::Unknown if request.objects.is_some() => Ok((BTreeMap::new(), 0)),
            Seen::Unknown | Seen::Absent => Err((
                MemberReported::ReportNotFound,
                format!("{place} does not exist: it is picked up when its owner makes it"),
            )),
            Seen::Present(found) => fitting(&place, texts(request, found), room),
        };
        match found {
            Ok((data, size)) => {
                room -= size;
                reports.push(Report {
                    name: request.name.clone(),
                    data,
                });
            }
            Err(why) => {
                reports.extend(shown(&request.name));
                problem.get_or_insert(why);
            }
        }
    }
    let known = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    if pending {
        status.conditions.extend(condition(known, reasons::REPORTED).cloned());
    } else if !member.spec.reports.is_empty() {
        let (reason, message) = problem.unwrap_or_else(|| {
            (
                MemberReported::Reported,
                format!("{} ConfigMaps are shown", reports.len()),
            )
        });
        let said = Wanted::new(reasons::REPORTED, reason.status(), reason.as_str(), message);
        status
            .conditions
            .push(merge(known, &said.at(member.metadata.generation), now));
    }
    status.reports = reports;
    status
}

type Found = Result<(BTreeMap<String, String>, usize), (MemberReported, String)>;

fn fitting(place: &Lookup, data: BTreeMap<String, String>, room: usize) -> Found {
    let size = data.iter().map(|(key, text)| key.len() + text.len()).sum();
    if size <= room {
        return Ok((data, size));
    }
    let message = format!(
        "{place} has {size} bytes, and there is room for {room} (all reports of a cluster together: {LIMIT}): what was shown before stays"
    );
    Err((MemberReported::ReportTooLarge, message))
}

/// The texts of a `ConfigMap` (`binaryData` is left out), or one text of each object.
fn texts(request: &ReportRequest, found: Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.text().map(str::to_owned);
    let Some(objects) = &request.objects else {
        let data = found.get("data").cloned();
        let Some(Value::Map(data)) = data else {
            return BTreeMap::new();
        };
        return data
            .into_iter()
            .filter_map(|(key, value)| Some((key, text(&value)?)))
            .collect();
    };
    let (Value::List(all), Ok(shown)) = (found, Text::parse(&objects.value)) else {
        return BTreeMap::new();
    };
    let values = all.into_iter().filter_map(|object| {
        let name = object.at(&["metadata", "name"]).and_then(text)?;
        let scope = Scope {
            extra: [("self".to_owned(), object)].into(),
            ..Scope::default()
        };
        Some((name, shown.resolve(&scope).ok()?))
    });
    values.collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use peering_api::peering::{PeerMemberSpec, ReportedObjects};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{decide::fixtures::now, spoke::value::of_config_map};

    fn request(name: &str) -> ReportRequest {
        ReportRequest {
            name: name.to_owned(),
            namespace: "storage".to_owned(),
            config_map: Some(format!("map-{name}")),
            objects: None,
        }
    }

    fn member(names: &[&str]) -> PeerMember {
        let spec = PeerMemberSpec {
            reports: names.iter().map(|name| request(name)).collect(),
            ..PeerMemberSpec::default()
        };
        PeerMember::new("east", spec)
    }

    fn map(text: &str) -> Seen<Value> {
        let map = ConfigMap {
            data: Some([("key".to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        };
        Seen::Present(of_config_map(&map))
    }

    fn said(status: &PeerMemberStatus) -> (String, String) {
        let said = condition(&status.conditions, reasons::REPORTED).unwrap();
        (said.status.clone(), said.reason.clone())
    }

    #[test]
    fn what_is_asked_for_is_shown_and_stays_when_it_cannot_be_read() {
        let mut member = member(&["a"]);
        let add_seen =
            |member: &PeerMember, seen: Seen<Value>| add(member, PeerMemberStatus::default(), |_| seen.clone(), now());
        assert_eq!(add_seen(&member, Seen::Pending), PeerMemberStatus::default());
        let status = add_seen(&member, map("one"));
        assert_eq!(status.reports[0].data["key"], "one");
        assert_eq!(said(&status), ("True".to_owned(), "Reported".to_owned()));
        member.status = Some(status.clone());
        assert_eq!(add_seen(&member, Seen::Pending), status, "as it was");
        for (seen, reason) in [
            (Seen::Denied, "ReportForbidden"),
            (Seen::Absent, "ReportNotFound"),
            (map(&"x".repeat(LIMIT)), "ReportTooLarge"),
        ] {
            let status = add_seen(&member, seen);
            assert_eq!(status.reports, member.status.as_ref().unwrap().reports);
            assert_eq!(said(&status), ("False".to_owned(), reason.to_owned()));
        }
        assert_eq!(lookup(&request("a")).to_string(), "ConfigMap storage/map-a");
    }

    #[test]
    fn nothing_is_said_where_nothing_is_asked_for_and_one_bad_report_leaves_the_others() {
        let status = add(&member(&[]), PeerMemberStatus::default(), |_| Seen::Pending, now());
        assert_eq!(status, PeerMemberStatus::default());
        let seen = |place: &Lookup| {
            if place.to_string().ends_with("map-a") {
                Seen::Absent
            } else {
                map("two")
            }
        };
        let status = add(&member(&["a", "b"]), PeerMemberStatus::default(), seen, now());
        assert_eq!((status.reports.len(), status.reports[0].name.as_str()), (1, "b"));
        assert_eq!(said(&status).1, "ReportNotFound");
    }

    #[test]
    fn one_value_of_each_object_is_shown() {
        let mut member = member(&[]);
        member.spec.reports.push(ReportRequest {
            name: "consumers".to_owned(),
            namespace: "storage".to_owned(),
            config_map: None,
            objects: Some(ReportedObjects {
                api_version: "ocs.openshift.io/v1alpha1".to_owned(),
                kind: "StorageConsumer".to_owned(),
                resource: "storageconsumers".to_owned(),
                value: "${self.status.client.id}".to_owned(),
            }),
        });
        let consumer = |name: &str, status: Json| Value::from(json!({"metadata": {"name": name}, "status": status}));
        let all = Value::List(vec![
            consumer("a", json!({"client": {"id": "id-a"}})),
            consumer("new", json!({})),
        ]);
        let shown = |seen: Seen<Value>| add(&member, PeerMemberStatus::default(), |_| seen.clone(), now());
        let status = shown(Seen::Present(all));
        assert_eq!(status.reports[0].data, [("a".to_owned(), "id-a".to_owned())].into());
        let unknown = shown(Seen::Unknown);
        assert!(unknown.reports[0].data.is_empty());
        assert_eq!(said(&unknown).0, "True", "a kind that is not installed has no objects");
        assert_eq!(said(&shown(Seen::Denied)).1, "ReportForbidden");
    }
}
