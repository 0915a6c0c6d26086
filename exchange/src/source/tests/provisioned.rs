//! Objects that are made first.
use peering_api::names;

use super::*;

const CLAIM: &str = "
parameters: {size: 1Gi}
provision:
- template:
    apiVersion: objectbucket.io/v1alpha1
    kind: ObjectBucketClaim
    metadata: {namespace: ns, name: bucket}
    spec: {size: '${params.size}', owner: '${source.cluster}'}
";

fn claim(spec: &PeerExportSpec) -> Provision {
    provisions(EAST, spec).unwrap().remove(0)
}

/// The object after it was applied.
fn applied(provision: &Provision) -> Json {
    let mut object = provision.object.clone();
    object["metadata"]["uid"] = "u".into();
    object["status"] = serde_json::json!({"phase": "Bound"});
    object
}

fn present(object: Json) -> Seen<Value> {
    Seen::Present(Value::from(object))
}

#[test]
fn an_object_is_filled_labelled_and_applied_once() {
    let spec = export(CLAIM);
    let provision = claim(&spec);
    assert_eq!(provision.lookup().to_string(), "ObjectBucketClaim ns/bucket");
    assert_eq!(
        provision.object["spec"],
        serde_json::json!({"size": "1Gi", "owner": "east"})
    );
    let labels = &provision.object["metadata"]["labels"];
    assert_eq!(labels[names::PEERING_LABEL], "p");
    assert_eq!(labels[names::LINK_LABEL], names::export_id("p", "a", EAST));
    assert_eq!(provision.standing(&Seen::Pending), Standing::Waiting);
    assert_eq!(provision.standing(&Seen::Absent), Standing::Apply(None));
    assert_eq!(provision.standing(&present(applied(&provision))), Standing::Stands);
}

#[test]
fn drift_and_a_new_template_are_applied_anew() {
    let spec = export(CLAIM);
    let provision = claim(&spec);
    let mut drifted = applied(&provision);
    drifted["spec"]["size"] = "2Gi".into();
    assert_eq!(provision.standing(&present(drifted)), Standing::Apply(Some("u".into())));
    let less = export(&CLAIM.replace(", owner: '${source.cluster}'", ""));
    let standing = claim(&less).standing(&present(applied(&provision)));
    assert_eq!(
        standing,
        Standing::Apply(Some("u".into())),
        "a field that left the template is taken back"
    );
}

#[test]
fn what_somebody_else_made_is_taken_over_where_the_profile_says_so() {
    let provision = claim(&export(
        &CLAIM.replace("- template:", "- onConflict: Adopt\n  template:"),
    ));
    let mut theirs = applied(&provision);
    theirs["metadata"]["labels"] = serde_json::json!({"app": "theirs"});
    let standing = provision.standing(&present(theirs.clone()));
    assert_eq!(standing, Standing::Apply(Some("u".into())));
    // What another artefact has provisioned is never taken over.
    theirs["metadata"]["labels"] = serde_json::json!({names::LINK_LABEL: "another"});
    assert!(matches!(provision.standing(&present(theirs)), Standing::Bad(_)));
    assert_eq!(provision.standing(&present(applied(&provision))), Standing::Stands);
}

#[test]
fn what_somebody_else_made_is_left_alone() {
    let provision = claim(&export(CLAIM));
    let mut theirs = applied(&provision);
    for label in [None, Some("another")] {
        theirs["metadata"]["labels"][names::LINK_LABEL] = label.into();
        let Standing::Bad(bad) = provision.standing(&present(theirs.clone())) else {
            panic!("it is taken over");
        };
        refused(
            Err::<(), _>(bad),
            SourceReady::ProvisionFailed,
            &["ObjectBucketClaim ns/bucket exists", "left alone"],
        );
    }
    for (seen, reason) in [
        (Seen::Denied, SourceReady::SourceForbidden),
        (Seen::Unknown, SourceReady::KindNotFound),
    ] {
        assert!(matches!(provision.standing(&seen), Standing::Bad(bad) if bad.reason == reason));
    }
}

#[test]
fn a_template_that_cannot_be_filled_is_named() {
    let unknown = export(&CLAIM.replace("params.size", "inputs.x"));
    refused(
        provisions(EAST, &unknown),
        SourceReady::EvaluationFailed,
        &["artefact \"a\", provision[0]: spec.size: character"],
    );
    let reserved = export(&CLAIM.replace("    spec:", "    status: {}\n    spec:"));
    refused(
        provisions(EAST, &reserved),
        SourceReady::EvaluationFailed,
        &["provision[0]: status"],
    );
}

#[test]
fn only_what_carries_the_exports_id_is_removed() {
    let spec = export(CLAIM);
    let ours = applied(&claim(&spec));
    assert_eq!(provisioned(&spec), [claim(&spec).lookup()].into());
    let left = |seen: Seen<Value>| {
        let all = remains(EAST, &spec, &|_| seen.clone());
        assert_eq!(all.len(), 1);
        all[0].1.clone()
    };
    assert_eq!(left(present(ours.clone())), Remains::Delete("u".into()));
    let mut going = ours.clone();
    going["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z".into();
    let mut theirs = ours;
    theirs["metadata"]["labels"][names::LINK_LABEL] = "another".into();
    for (seen, remains) in [
        (present(going), Remains::Nothing),
        (present(theirs), Remains::Nothing),
        (Seen::Absent, Remains::Nothing),
        (Seen::Unknown, Remains::Nothing),
        (Seen::Pending, Remains::Waiting),
    ] {
        assert_eq!(left(seen), remains);
    }
    assert!(matches!(left(Seen::Denied), Remains::Hidden(why) if why.contains("ObjectBucketClaim ns/bucket")));
}
