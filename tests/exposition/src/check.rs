//! Compares an expression, and the text around it, with the metrics that there are.
use std::collections::BTreeSet;

use crate::{Metric, Metrics, promql};

/// Labels that Prometheus adds to whatever it scrapes from pods (prometheus-operator's `PodMonitor`).
const TARGET: [&str; 5] = ["container", "instance", "job", "namespace", "pod"];

/// What is wrong with an expression and the texts that are filled in from its result (annotations, legends).
#[must_use]
pub fn problems<'a>(
    expression: &str,
    texts: impl IntoIterator<Item = &'a str>,
    prefix: &str,
    metrics: &Metrics,
) -> Vec<String> {
    let names = promql::names(expression, prefix);
    let mut problems = Vec::new();
    let mut known: BTreeSet<String> = TARGET.iter().map(|&label| label.to_owned()).collect();
    if names.selectors.is_empty() {
        problems.push("names no metric of ours".to_owned());
    }
    for selector in &names.selectors {
        let Some(labels) = labels(&selector.metric, metrics) else {
            problems.push(format!("there is no metric {}", selector.metric));
            continue;
        };
        let unknown = selector
            .labels
            .iter()
            .filter(|label| !labels.contains(*label) && !TARGET.contains(&label.as_str()));
        problems.extend(unknown.map(|label| format!("{} has no label {label}", selector.metric)));
        known.extend(labels);
    }
    let unknown = names.grouping.iter().filter(|label| !known.contains(*label));
    problems.extend(unknown.map(|label| format!("no metric has the label {label} that is grouped by")));
    let result = names.by.unwrap_or(known);
    for label in texts.into_iter().flat_map(placeholders) {
        if !result.contains(&label) {
            problems.push(format!("the result has no label {label} for the text"));
        }
    }
    problems
}

/// The labels of a metric as it is queried; `None` if there is no such metric.
fn labels(queried: &str, metrics: &Metrics) -> Option<BTreeSet<String>> {
    let histogram = |metric: &&Metric| metric.type_ == "histogram";
    if let Some(metric) = metrics.get(queried).filter(|metric| !histogram(metric)) {
        return Some(metric.labels.clone());
    }
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
        let metric = metrics.get(queried.strip_suffix(suffix)?).filter(histogram)?;
        let mut labels = metric.labels.clone();
        labels.extend((*suffix == "_bucket").then(|| "le".to_owned()));
        Some(labels)
    })
}

/// The labels in `{{label}}` (Grafana) and `{{ $labels.label }}` (Prometheus).
fn placeholders(text: &str) -> Vec<String> {
    let inside = text.split("{{").skip(1).filter_map(|part| part.split("}}").next());
    let words = inside.filter_map(|inside| {
        let inside = inside.trim();
        match inside.split_once("$labels.") {
            Some((_, label)) => label
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next(),
            None => Some(inside).filter(|inside| !inside.contains('$')),
        }
    });
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_exposed_is_found() {
        let metrics = crate::read(&[
            "| `o_links` | gauge | `profile`, `reason` | Links. |",
            "| `o_wait_seconds` | histogram | `profile` | Wait. |",
            "| `o_seals_total` | counter |  | Seals. |",
        ]);
        for (expression, text, expected) in [
            (
                "sum by (reason) (o_links{profile=\"p\",job=\"j\"})",
                "{{reason}}",
                vec![],
            ),
            (
                "o_links > 0",
                "{{ $labels.profile }} {{ $value | humanize }} {{ $labels.pod }}",
                vec![],
            ),
            (
                "histogram_quantile(0.9, sum by (le) (rate(o_wait_seconds_bucket[5m])))",
                "p90",
                vec![],
            ),
            ("o_link", "", vec!["there is no metric o_link"]),
            ("o_seals", "", vec!["there is no metric o_seals"]),
            ("o_wait_seconds", "", vec!["there is no metric o_wait_seconds"]),
            ("o_links{from=\"a\"}", "", vec!["o_links has no label from"]),
            (
                "o_wait_seconds_sum{le=\"1\"}",
                "",
                vec!["o_wait_seconds_sum has no label le"],
            ),
            (
                "sum by (to) (o_links)",
                "",
                vec!["no metric has the label to that is grouped by"],
            ),
            (
                "sum by (reason) (o_links)",
                "{{ $labels.profile }}",
                vec!["the result has no label profile for the text"],
            ),
            ("vector(1)", "", vec!["names no metric of ours"]),
        ] {
            assert_eq!(problems(expression, [text], "o_", &metrics), expected, "{expression}");
        }
    }
}
