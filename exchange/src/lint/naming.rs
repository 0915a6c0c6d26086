//! Rules about names: of objects, of keys in their data, and of kinds in the API.
use peering_api::names;

use super::Report;
use crate::plan::names_check::{is_label, is_subdomain};

/// Longest key in the data of a Secret or `ConfigMap` (`validation.IsConfigMapKey` of `k8s.io/apimachinery`).
const MAX_KEY: usize = 253;

/// A name without expressions can be checked as it is.
pub(super) fn name(place: &str, text: Option<&str>, report: &mut Report) {
    fixed(place, text, is_subdomain, report);
}

/// As [`name`].
pub(super) fn namespace(place: &str, text: Option<&str>, report: &mut Report) {
    fixed(place, text, is_label, report);
}

fn fixed(place: &str, text: Option<&str>, valid: fn(&str) -> bool, report: &mut Report) {
    let Some(text) = text.filter(|text| !text.contains("${")) else {
        return;
    };
    if !valid(text) {
        let message = format!("{text:?} is not a valid Kubernetes name: expected lower case letters, digits and '-'");
        report.error(place, message);
    }
}

/// A key in the data of a Secret or `ConfigMap`.
pub(super) fn data_key(place: &str, key: &str, report: &mut Report) {
    let ordinary = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let valid = (1..=MAX_KEY).contains(&key.len()) && key.chars().all(ordinary) && key != "." && !key.starts_with("..");
    if !valid {
        report.error(
            place,
            format!("{key:?} is not a valid key: expected letters, digits, '-', '_' and '.'"),
        );
    }
}

/// Warns of a kind whose plural is probably guessed wrongly: rights would name a resource that does not exist.
pub(super) fn plural(place: &str, kind: &str, resource: Option<&str>, report: &mut Report) {
    if resource.is_some() || !is_odd(kind) {
        return;
    }
    let guess = names::plural(kind);
    let message = format!(
        "rights are asked for {guess:?}, which is guessed from kind {kind:?} and may be wrong: set resource to what \
         `kubectl api-resources` shows"
    );
    report.warn(format!("{place}.resource"), message);
}

/// Whether English, and so probably the kind's CRD, makes another plural than the guess.
fn is_odd(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    if kind == "endpoints" {
        return false;
    }
    let hissing = ["ch", "sh", "x", "z"].iter().any(|end| kind.ends_with(end));
    let single_s = kind.ends_with('s') && !kind.ends_with("ss");
    let vowel_y = kind.ends_with('y') && kind.chars().rev().nth(1).is_some_and(|before| "aeiou".contains(before));
    let countless = ["data", "info", "equipment"].iter().any(|end| kind.ends_with(end));
    hissing || single_s || vowel_y || countless
}
