//! Whatever a configuration looks like: what is not ours keeps its bytes, and what was added is taken back exactly.
use peering_api::odf::S3SecretRef;
use proptest::prelude::*;

use super::*;

/// A value as people write it.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}",
        "\"[a-z #:]{0,8}\"",
        "'[a-z #:]{0,8}'",
        Just("{a: 1, b: [x, y]}".to_owned()),
        Just("https://s3.example.com:443/x".to_owned()),
    ]
}

fn remark() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(""), 1 => Just(" # a remark: with a colon"), 1 => Just("  # s3StoreProfiles:")]
}

/// An entry: its fields, each with a remark, at an indentation.
fn entry(name: String) -> impl Strategy<Value = Vec<String>> {
    let fields = prop::collection::vec(
        (
            prop::sample::select(vec!["s3Bucket", "s3Region", "caCertificates", "other"]),
            value(),
            remark(),
        ),
        0..4,
    );
    (fields, 0..3_usize, any::<bool>()).prop_map(move |(fields, at, nested)| {
        let mut lines: Vec<String> = Vec::new();
        for (key, value, remark) in fields {
            if !lines.iter().any(|line| line.starts_with(&format!("{key}:"))) {
                lines.push(format!("{key}: {value}{remark}"));
            }
        }
        lines.insert(at.min(lines.len()), format!("s3ProfileName: {name}"));
        if nested {
            lines.push("s3SecretRef:".to_owned());
            lines.push("  name: secret".to_owned());
            lines.push("# a remark at the edge".to_owned());
            lines.push("  namespace: ns".to_owned());
        }
        lines
    })
}

/// A configuration: other fields, and a list with entries `e0`, `e1`, … of users.
fn configuration() -> impl Strategy<Value = String> {
    let names = |count: usize| (0..count).map(|index| entry(format!("e{index}"))).collect::<Vec<_>>();
    let entries = (0..3_usize).prop_flat_map(names);
    let line_ends = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    (entries, 0..3_usize, 0..3_usize, any::<[bool; 5]>(), remark(), line_ends).prop_map(
        |(entries, depth, gap, [before, after, between, end, dash], remark, line_end)| {
            let mut lines: Vec<String> = Vec::new();
            if before {
                lines.extend([
                    "kind: RamenConfig".to_owned(),
                    "health:".to_owned(),
                    "  - x: 1".to_owned(),
                ]);
            }
            let list = if entries.is_empty() {
                "s3StoreProfiles: []"
            } else {
                "s3StoreProfiles:"
            };
            lines.push(format!("{list}{remark}"));
            for entry in &entries {
                if between {
                    lines.extend([String::new(), "# between".to_owned()]);
                }
                let pad = " ".repeat(depth);
                let inner = " ".repeat(depth + 2 + gap);
                if dash {
                    lines.push(format!("{pad}-"));
                }
                for (index, line) in entry.iter().enumerate() {
                    let head = if index == 0 && !dash {
                        format!("{pad}- {}", " ".repeat(gap))
                    } else {
                        inner.clone()
                    };
                    lines.push(format!("{head}{line}"));
                }
            }
            if after {
                lines.extend([
                    "# after".to_owned(),
                    "drClusterOperator:".to_owned(),
                    "  a: b".to_owned(),
                ]);
            }
            let text = lines.join(line_end);
            if end { text + line_end } else { text }
        },
    )
}

fn profile_of(name: &str, bucket: &str, ca: Option<&str>) -> S3StoreProfile {
    S3StoreProfile {
        s3_profile_name: name.to_owned(),
        s3_bucket: bucket.to_owned(),
        s3_region: "noobaa".to_owned(),
        s3_compatible_endpoint: "https://s3.example.com".to_owned(),
        s3_secret_ref: S3SecretRef {
            name: "secret".to_owned(),
        },
        ca_certificates: ca.map(str::to_owned),
    }
}

fn wanted(profiles: &[S3StoreProfile]) -> BTreeMap<String, S3StoreProfile> {
    let pairs = profiles
        .iter()
        .map(|profile| (profile.s3_profile_name.clone(), profile.clone()));
    pairs.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_added_is_taken_back_to_the_byte(text in configuration(), count in 1..3_usize, ca in any::<bool>()) {
        let ca = ca.then_some("Q0E=");
        let ours: Vec<_> = (0..count).map(|index| profile_of(&format!("ours{index}"), "bucket", ca)).collect();
        let now = edit(&text, &Record::default(), &wanted(&ours), &BTreeSet::new()).unwrap().unwrap();
        for one in &ours {
            let said = profile(&now.text, &one.s3_profile_name).unwrap();
            prop_assert_eq!(said.as_ref(), Some(one));
        }
        prop_assert_eq!(edit(&now.text, &now.record, &wanted(&ours), &BTreeSet::new()), Ok(None));
        let next: Vec<_> = ours.iter().map(|one| profile_of(&one.s3_profile_name, "another", None)).collect();
        let next = edit(&now.text, &now.record, &wanted(&next), &BTreeSet::new()).unwrap().unwrap();
        for state in [now, next] {
            let gone = edit(&state.text, &state.record, &BTreeMap::new(), &BTreeSet::new()).unwrap().unwrap();
            prop_assert_eq!(&gone.text, &text);
            prop_assert_eq!(gone.record, Record::default());
        }
    }

    #[test]
    fn of_an_entry_that_is_taken_over_only_our_fields_change(text in configuration(), bucket in "[a-z]{1,8}") {
        let before = meaning::read(&text).unwrap();
        prop_assume!(meaning::entry(&before, "e0").is_some());
        let ours = profile_of("e0", &bucket, Some("Q0E="));
        let edited = edit(&text, &Record::default(), &wanted(std::slice::from_ref(&ours)), &BTreeSet::new()).unwrap().unwrap();
        let after = meaning::read(&edited.text).unwrap();
        let (old, new) = (meaning::entry(&before, "e0").unwrap(), meaning::entry(&after, "e0").unwrap());
        prop_assert_eq!(old.get("other"), new.get("other"));
        if old.get(CA).is_some() {
            prop_assert_eq!(old.get(CA), new.get(CA));
        }
        prop_assert_eq!(new.get("s3Bucket").unwrap(), &Value::from(bucket));
        prop_assert_eq!(new.get("s3SecretRef").unwrap(), &serde_json::json!({"name": "secret"}));
        for line in text.lines().filter(|line| line.contains("other:") || line.trim_start().starts_with('#') && !line.contains("edge")) {
            prop_assert!(edited.text.contains(line.trim_end()), "{line:?} is gone from {}", edited.text);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", lines in prop::collection::vec("[- :#a-zA-Z\\[\\]{}'\"\n\r\t]{0,20}", 0..8)) {
        for text in [text, lines.join("\n"), format!("s3StoreProfiles:\n{}", lines.join("\n"))] {
            let ours = profile_of("ours", "bucket", None);
            if let Ok(Some(edited)) = edit(&text, &Record::default(), &wanted(std::slice::from_ref(&ours)), &BTreeSet::new()) {
                prop_assert_eq!(profile(&edited.text, "ours").unwrap(), Some(ours));
            }
        }
    }
}
