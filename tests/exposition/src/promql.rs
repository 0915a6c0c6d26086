//! As much of `PromQL` as is needed to see which metrics and labels an expression names.
use std::collections::BTreeSet;

/// A selector: a metric and the labels that it is selected by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Name of the metric.
    pub metric: String,
    /// Labels of its matchers.
    pub labels: BTreeSet<String>,
}

/// What an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Its selectors.
    pub selectors: Vec<Selector>,
    /// Labels in `by`, `without`, `on`, `ignoring`, `group_left`, `group_right`.
    pub grouping: BTreeSet<String>,
    /// Labels in `by` alone; `None` without a `by`.
    pub by: Option<BTreeSet<String>>,
}

/// Which metrics (of a prefix: everything else is a function or a keyword) and labels an expression names.
#[must_use]
pub fn names(expression: &str, prefix: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic() || matches!(letter, '_' | '"' | '\''))
    {
        rest = &rest[start..];
        if rest.starts_with(['"', '\'']) {
            rest = after_string(rest);
            continue;
        }
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let next = tail.trim_start();
        let mut after = tail;
        if word.starts_with(prefix) {
            let matchers = next.strip_prefix('{');
            after = matchers.map_or(tail, |matchers| after_braces(matchers));
            names.selectors.push(Selector {
                metric: word.to_owned(),
                labels: matchers.map(labels).unwrap_or_default(),
            });
        } else if matches!(
            word,
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right"
        ) && let Some((list, end)) = next.strip_prefix('(').and_then(|list| list.split_once(')'))
        {
            let list = list.split(',').map(|label| label.trim().to_owned());
            let list: BTreeSet<_> = list.filter(|label| !label.is_empty()).collect();
            if word == "by" {
                names.by.get_or_insert_default().extend(list.clone());
            }
            names.grouping.extend(list);
            after = end;
        }
        rest = after;
    }
    names
}

/// Label names of `a="…",b=~"…"}…`, what follows an opening brace.
pub(crate) fn labels(matchers: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let mut rest = matchers;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\n']);
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        if end == 0 {
            return labels;
        }
        labels.insert(rest[..end].to_owned());
        let Some(value) = rest.find('"') else {
            return labels;
        };
        rest = after_string(&rest[value..]);
    }
}

fn after_braces(matchers: &str) -> &str {
    let mut rest = matchers;
    while let Some(at) = rest.find(['"', '}']) {
        if rest[at..].starts_with('}') {
            return &rest[at + 1..];
        }
        rest = after_string(&rest[at..]);
    }
    ""
}

/// What follows a string that starts here.
fn after_string(text: &str) -> &str {
    let mut letters = text.char_indices();
    let Some((_, quote)) = letters.next() else {
        return "";
    };
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return &text[at + letter.len_utf8()..];
        }
    }
    ""
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    #[test]
    fn selectors_and_groupings_are_found() {
        let expression = r#"sum by (le, profile) (rate(o_wait_seconds_bucket{a="x}\"{", b=~'o_no'}[5m]))
            > on(c) group_left (d) clamp_max(0.2 * o_life_seconds, 86400) unless ignoring() label_replace(o_x{}, "y", "o_z", "", "")"#;
        let found = names(expression, "o_");
        let selector = |metric: &str, labels: &[&str]| Selector {
            metric: metric.to_owned(),
            labels: set(labels),
        };
        // Single quotes are not used in matchers here; what stands in them is no metric all the same.
        let expected = [
            selector("o_wait_seconds_bucket", &["a", "b"]),
            selector("o_life_seconds", &[]),
            selector("o_x", &[]),
        ];
        assert_eq!(found.selectors, expected);
        assert_eq!(found.grouping, set(&["le", "profile", "c", "d"]));
        assert_eq!(found.by, Some(set(&["le", "profile"])));
        assert_eq!(names("time() - o_a", "o_").by, None);
    }
}
