//! Keeps four things in step: the metrics that a process exposes, the tables of `docs/monitoring.md`, alert rules, and the
//! dashboard. The crates that own the metrics compare what they expose with the tables; rules and dashboard are compared
//! with the tables by a test of this crate.
pub mod check;
pub mod promql;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

/// One metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metric {
    /// `counter`, `gauge`, `histogram` or `info`.
    pub type_: String,
    /// Names of its labels; without `le`, which every histogram has.
    pub labels: BTreeSet<String>,
    /// What it says.
    pub help: String,
}

/// Metrics by name, each name as it is queried (`…_total` for counters), of a histogram without `_bucket`.
pub type Metrics = BTreeMap<String, Metric>;

/// Reads what a process exposes (`OpenMetrics` text). Only metrics with at least one sample are told.
#[must_use]
pub fn parse(text: &str) -> Metrics {
    let mut families = Metrics::new();
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some((name, help)) = comment(line, "HELP") {
            families.entry(name.to_owned()).or_default().help = help.into();
        } else if let Some((name, type_)) = comment(line, "TYPE") {
            families.entry(name.to_owned()).or_default().type_ = type_.into();
        } else if !line.starts_with('#')
            && let Some((name, labels)) = sample(line)
            && let Some((name, family)) = family(&families, name)
        {
            let metric = metrics.entry(name).or_insert_with(|| family.clone());
            metric.labels.extend(labels.filter(|label| label != "le"));
        }
    }
    metrics
}

fn comment<'a>(line: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    line.strip_prefix("# ")?
        .strip_prefix(keyword)?
        .trim_start()
        .split_once(' ')
}

/// Name and labels of a sample.
fn sample(line: &str) -> Option<(&str, impl Iterator<Item = String>)> {
    let end = line.find(['{', ' '])?;
    let labels = promql::labels(line.get(end..)?.strip_prefix('{').unwrap_or_default());
    Some((line.get(..end)?, labels.into_iter()))
}

/// The family that a sample belongs to, and the name under which the metric is told.
fn family<'a>(families: &'a Metrics, sample: &str) -> Option<(String, &'a Metric)> {
    ["_total", "_info", "_bucket", "_sum", "_count", ""]
        .iter()
        .find_map(|suffix| {
            let name = sample.strip_suffix(suffix)?;
            let family = families.get(name)?;
            let told = if family.type_ == "histogram" { name } else { sample };
            Some((told.to_owned(), family))
        })
}

/// The rows of a Markdown table, one a metric.
#[must_use]
pub fn table(metrics: &Metrics) -> String {
    let row = |(name, metric): (&String, &Metric)| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{name}` | {} | {} | {} |\n",
            metric.type_,
            labels.join(", "),
            metric.help
        )
    };
    metrics.iter().map(row).collect()
}

/// The rows of the table under a heading of a Markdown page, without the table's head.
#[must_use]
pub fn rows<'a>(page: &'a str, heading: &str) -> Vec<&'a str> {
    page.lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect()
}

/// Reads the rows that [`table`] wrote.
#[must_use]
pub fn read(rows: &[&str]) -> Metrics {
    rows.iter().filter_map(|row| read_row(row)).collect()
}

fn read_row(row: &str) -> Option<(String, Metric)> {
    let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
    let [name, type_, labels, help] = cells.as_slice() else {
        return None;
    };
    let quoted = |text: &str| text.trim().trim_matches('`').to_owned();
    let labels = labels.split(',').map(quoted).filter(|label| !label.is_empty());
    let metric = Metric {
        type_: (*type_).to_owned(),
        labels: labels.collect(),
        help: (*help).to_owned(),
    };
    Some((quoted(name), metric))
}

#[cfg(test)]
mod parsing {
    use super::*;

    const TEXT: &str = r#"# HELP o_writes Writes.
# TYPE o_writes counter
o_writes_total{verb="a,b=\"}",code="200"} 3
o_writes_total{verb="c",code="200"} 1
# HELP o_seals Seals.
# TYPE o_seals counter
o_seals_total 0
# HELP o_wait_seconds Wait.
# TYPE o_wait_seconds histogram
# UNIT o_wait_seconds seconds
o_wait_seconds_sum{profile="p"} 1.0
o_wait_seconds_count{profile="p"} 1
o_wait_seconds_bucket{le="+Inf",profile="p"} 1
# HELP o_build Build.
# TYPE o_build info
o_build_info{version="1"} 1
# HELP o_links Links.
# TYPE o_links gauge
o_links 1
# HELP o_none None.
# TYPE o_none gauge
# EOF
"#;

    #[test]
    fn what_is_exposed_becomes_a_table_and_is_read_back() {
        let metrics = parse(TEXT);
        let rows = table(&metrics);
        assert_eq!(
            rows.lines().collect::<Vec<_>>(),
            [
                "| `o_build_info` | info | `version` | Build. |",
                "| `o_links` | gauge |  | Links. |",
                "| `o_seals_total` | counter |  | Seals. |",
                "| `o_wait_seconds` | histogram | `profile` | Wait. |",
                "| `o_writes_total` | counter | `code`, `verb` | Writes. |",
            ]
        );
        let page = format!("# Page\n| x |\n## Here\ntext\n| a |\n|---|\n{rows}\n## There\n| y |\n");
        let found = super::rows(&page, "## Here");
        assert_eq!(found, rows.lines().collect::<Vec<_>>());
        assert_eq!(read(&found), metrics);
    }
}
