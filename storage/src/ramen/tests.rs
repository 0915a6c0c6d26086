//! Configurations as Ramen ships them, as its upgrades leave them, and as people write them.
use peering_api::odf::S3SecretRef;

use super::*;

/// As in `config/hub/manager/ramen_manager_config.yaml` of Ramen, with entries and remarks of users.
const CONFIG: &str = "\
apiVersion: ramendr.openshift.io/v1alpha1
kind: RamenConfig
health:
  healthProbeBindAddress: :8081
metrics:
  bindAddress: 127.0.0.1:9289
ramenControllerType: dr-hub # do not change
s3StoreProfiles:
# ours since 2023
- s3ProfileName: minio
  s3Bucket: data
  s3CompatibleEndpoint: http://minio.example.com:9000
  s3Region: us-east-1
  s3SecretRef:
    name: minio-secret
    namespace: elsewhere
  veleroNamespaceSecretKeyRef:
    key: cloud
    name: cloud-credentials

drClusterOperator:
  deploymentAutomationEnabled: true
  s3SecretDistributionEnabled: true
aFieldOfTheFuture: {deep: [1, 2.5, null]}
";

fn wanted(name: &str) -> S3StoreProfile {
    S3StoreProfile {
        s3_profile_name: name.to_owned(),
        s3_bucket: "odrbucket-b1b922184baf".to_owned(),
        s3_region: "noobaa".to_owned(),
        s3_compatible_endpoint: "https://s3.c1.example.com".to_owned(),
        s3_secret_ref: S3SecretRef {
            name: "a6bd33b0ff333553dce289cbbbb56976a789b8f".to_owned(),
        },
        ca_certificates: Some("Q0E=".to_owned()),
    }
}

fn all(profiles: &[S3StoreProfile]) -> BTreeMap<String, S3StoreProfile> {
    let pairs = profiles
        .iter()
        .map(|profile| (profile.s3_profile_name.clone(), profile.clone()));
    pairs.collect()
}

fn edited(text: &str, record: &Record, profiles: &[S3StoreProfile]) -> Edited {
    edit(text, record, &all(profiles), &BTreeSet::new()).unwrap().unwrap()
}

#[test]
fn an_entry_is_appended_and_nothing_else_changes() {
    let now = edited(CONFIG, &Record::default(), &[wanted("p1")]);
    let added = "\
- s3ProfileName: p1
  s3Bucket: odrbucket-b1b922184baf
  s3Region: noobaa
  s3CompatibleEndpoint: https://s3.c1.example.com
  s3SecretRef:
    name: a6bd33b0ff333553dce289cbbbb56976a789b8f
  caCertificates: \"Q0E=\"
";
    let at = CONFIG.find("\ndrClusterOperator").unwrap();
    assert_eq!(now.text, format!("{}{added}{}", &CONFIG[..at], &CONFIG[at..]));
    let again = edit(&now.text, &now.record, &all(&[wanted("p1")]), &BTreeSet::new());
    assert_eq!(again, Ok(None), "a second pass writes nothing");
    let gone = edited(&now.text, &now.record, &[]);
    assert_eq!((gone.text.as_str(), gone.record), (CONFIG, Record::default()));
}

#[test]
fn an_entry_of_the_go_orchestrator_is_taken_over_with_what_users_put_into_it() {
    let text = "\
s3StoreProfiles:
    -   s3Bucket: \"old\" # see ticket 7
        caCertificates: dXNlcg==
        somethingNew: {a: 1}
        s3ProfileName: p1
        s3SecretRef: {name: x, namespace: openshift-operators}
        s3Region: ''
    - s3ProfileName: other
";
    let now = edited(text, &Record::default(), &[wanted("p1")]);
    let expected = "\
s3StoreProfiles:
    -   s3Bucket: odrbucket-b1b922184baf
        caCertificates: dXNlcg==
        somethingNew: {a: 1}
        s3ProfileName: p1
        s3SecretRef:
          name: a6bd33b0ff333553dce289cbbbb56976a789b8f
        s3Region: noobaa
        s3CompatibleEndpoint: https://s3.c1.example.com
    - s3ProfileName: other
";
    assert_eq!(now.text, expected);
    assert_eq!(now.record.profiles["p1"].ca, None, "the certificates are the user's");
    let gone = edited(&now.text, &now.record, &[]);
    assert_eq!(gone.text, "s3StoreProfiles:\n    - s3ProfileName: other\n");
}

#[test]
fn certificates_follow_unless_somebody_else_wrote_them() {
    let now = edited(CONFIG, &Record::default(), &[wanted("p1")]);
    let next = S3StoreProfile {
        ca_certificates: Some("TkVYVA==".to_owned()),
        ..wanted("p1")
    };
    let rolled = edited(&now.text, &now.record, std::slice::from_ref(&next));
    assert_eq!(profile(&rolled.text, "p1").unwrap().as_ref(), Some(&next));
    let none = S3StoreProfile {
        ca_certificates: None,
        ..wanted("p1")
    };
    let dropped = edited(&now.text, &now.record, std::slice::from_ref(&none));
    assert_eq!(profile(&dropped.text, "p1").unwrap(), Some(none));
    // A person replaces ours: theirs stay from then on.
    let theirs = now.text.replace("Q0E=", "VEhFSVJT");
    let kept = edited(&theirs, &now.record, std::slice::from_ref(&next));
    assert_eq!(
        (kept.text.as_str(), kept.record.profiles["p1"].ca.as_ref()),
        (theirs.as_str(), None)
    );
}

#[test]
fn an_upgrade_that_resets_the_configuration_is_made_up_for() {
    let fresh = "kind: RamenConfig\ns3StoreProfiles: []\n";
    let profiles = [wanted("p1"), wanted("p2")];
    let before = edited(CONFIG, &Record::default(), &profiles);
    // The record may survive or be lost together with the text.
    for record in [before.record, Record::default()] {
        let now = edited(fresh, &record, &profiles);
        for wanted in &profiles {
            assert_eq!(
                profile(&now.text, &wanted.s3_profile_name).unwrap().as_ref(),
                Some(wanted)
            );
        }
        assert!(
            now.text.starts_with("kind: RamenConfig\ns3StoreProfiles:\n- "),
            "{}",
            now.text
        );
        assert_eq!(edited(&now.text, &now.record, &[]).text, fresh);
    }
}

#[test]
fn whatever_stood_in_place_of_the_list_comes_back() {
    for text in [
        "",
        "kind: RamenConfig\n",
        "kind: RamenConfig",
        "s3StoreProfiles:\n",
        "s3StoreProfiles: null # none yet\nkind: RamenConfig\n",
        "s3StoreProfiles:  []  # none yet\n# the end",
        "a: 1\r\ns3StoreProfiles: []\r\nb: 2\r\n",
        "---\nkind: RamenConfig\n# nothing more\n",
    ] {
        let now = edited(text, &Record::default(), &[wanted("p1"), wanted("p2")]);
        assert_eq!(profile(&now.text, "p2").unwrap(), Some(wanted("p2")), "{}", now.text);
        assert_eq!(now.text.contains("\r\n"), text.contains("\r\n"), "{:?}", now.text);
        assert_eq!(edited(&now.text, &now.record, &[]).text, text);
    }
}

#[test]
fn entries_that_cannot_be_edited_by_lines_are_written_anew() {
    let text = "a: 1 # kept\ns3StoreProfiles: [{s3ProfileName: p1, more: {x: [1]}}, {s3ProfileName: other}]\nb: 2\n";
    let now = edited(text, &Record::default(), &[wanted("p1")]);
    assert!(
        now.text.starts_with("a: 1 # kept\n") && now.text.ends_with("\nb: 2\n"),
        "{}",
        now.text
    );
    assert_eq!(profile(&now.text, "p1").unwrap(), Some(wanted("p1")));
    assert!(now.text.contains("\"more\":{\"x\":[1]}"), "{}", now.text);
    let gone = edited(&now.text, &now.record, &[]);
    assert_eq!(profile(&gone.text, "other").unwrap().unwrap().s3_profile_name, "other");
}

#[test]
fn what_cannot_be_understood_is_left_alone() {
    for (text, structure) in [
        ("a: [", false),
        ("- a\n", true),
        ("s3StoreProfiles: text\n", true),
        ("s3StoreProfiles: [1]\n", true),
    ] {
        let error = edit(text, &Record::default(), &all(&[wanted("p1")]), &BTreeSet::new()).unwrap_err();
        assert_eq!(matches!(error, RamenError::Structure(_)), structure, "{error}");
    }
}

#[test]
fn entries_in_use_whose_content_is_not_known_stay() {
    let now = edited(CONFIG, &Record::default(), &[wanted("p1"), wanted("p2")]);
    let keep = BTreeSet::from(["p2".to_owned()]);
    let next = edit(&now.text, &now.record, &BTreeMap::new(), &keep).unwrap().unwrap();
    assert_eq!(profile(&next.text, "p1"), Ok(None));
    assert_eq!(profile(&next.text, "p2"), Ok(Some(wanted("p2"))));
    // The user's own entry was never ours to remove.
    assert!(profile(&next.text, "minio").unwrap().is_some());
}

#[test]
fn the_record_survives_its_annotation() {
    let now = edited("", &Record::default(), &[wanted("p1")]);
    assert_eq!(Record::read(now.record.write().as_ref()), now.record);
    assert_eq!(Record::default().write(), None);
    assert_eq!(Record::read(Some(&"spoilt".to_owned())), Record::default());
}
