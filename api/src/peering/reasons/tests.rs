//! The catalogue is complete and fits into a Markdown table.
use std::collections::BTreeSet;

use super::*;

#[test]
fn a_reason_stands_once_per_kind_and_condition() {
    let mut seen = BTreeSet::new();
    for condition in CATALOGUE {
        for kind in condition.kinds {
            for reason in condition.reasons {
                let key = (*kind, condition.type_, reason.name);
                assert!(seen.insert(key), "{key:?} is there twice");
            }
        }
    }
}

#[test]
fn a_reason_is_what_the_api_server_accepts() {
    // The pattern of `metav1.Condition.reason`, narrowed to CamelCase.
    for reason in CATALOGUE.iter().flat_map(|condition| condition.reasons) {
        let name = reason.name;
        let camel = name.starts_with(|first: char| first.is_ascii_uppercase())
            && name.chars().all(|letter| letter.is_ascii_alphanumeric());
        assert!(camel && name.len() <= 1024, "{name}");
    }
}

#[test]
fn every_text_fits_into_a_cell_of_a_table() {
    for condition in CATALOGUE {
        let own = [condition.writer, condition.question];
        let texts = condition
            .reasons
            .iter()
            .flat_map(|reason| [reason.meaning, reason.cause, reason.action])
            .chain(own);
        for text in texts {
            assert!(
                !text.trim().is_empty() && !text.contains(['\n', '|']),
                "{}: {text:?}",
                condition.type_
            );
        }
    }
}

#[test]
fn every_condition_can_be_good_and_bad() {
    for condition in CATALOGUE {
        for status in [Status::True, Status::False] {
            let found = condition.reasons.iter().any(|reason| reason.status == status);
            assert!(found, "{} has no reason for {status:?}", condition.type_);
        }
    }
}

#[test]
fn a_reason_is_read_back() {
    for reason in Delivered::ALL {
        assert_eq!(reason.as_str().parse(), Ok(*reason));
    }
    assert_eq!("NoSuchReason".parse::<Delivered>(), Err(UnknownReason));
    assert_eq!("Delivered".parse::<SourceReady>(), Err(UnknownReason));
    assert_eq!(SourceReady::PartlyInvalid.status(), Status::True);
}
