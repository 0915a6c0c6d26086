//! Alert rules and dashboard name only metrics and labels that are exposed, and every alert is documented.
//!
//! What is exposed is read from the tables of `docs/monitoring.md`. The crates that own the metrics test that these are right.
use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::{Metrics, check, promql, read, rows};

const PREFIX: &str = "orchestrator_";

fn file(name: &str) -> String {
    let path = format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn page() -> String {
    file("docs/monitoring.md")
}

fn metrics() -> Metrics {
    let page = page();
    let mut all = Metrics::new();
    for heading in ["### Manager and agent", "### Manager", "### Agent"] {
        let found = read(&rows(&page, heading));
        assert!(!found.is_empty(), "no metrics under {heading}");
        all.extend(found);
    }
    all
}

fn alerts(rules: &str) -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&file(rules)).unwrap();
    let groups = rules["spec"]["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// Where rules stand, the heading under which they are documented, and the `PodMonitor` beside them.
const RULES: [(&str, &str, &str); 2] = [
    (
        "manifests/monitoring/rules.yaml",
        "### Alerts on the hub",
        "manifests/monitoring/podmonitor.yaml",
    ),
    (
        "manifests/monitoring/agent/rules.yaml",
        "### Alerts on managed clusters",
        "manifests/monitoring/agent/podmonitor.yaml",
    ),
];

#[test]
fn alerts_name_only_what_is_exposed() {
    let metrics = metrics();
    for alert in RULES.iter().flat_map(|(rules, ..)| alerts(rules)) {
        let annotations = &alert["annotations"];
        let texts = ["summary", "description"].map(|name| annotations[name].as_str().unwrap_or_default());
        let problems = check::problems(alert["expr"].as_str().unwrap(), texts, PREFIX, &metrics);
        assert_eq!(problems, [""; 0], "{}", alert["alert"]);
        assert!(texts.iter().all(|text| !text.is_empty()), "{alert}");
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("warning" | "critical")), "{alert}");
    }
}

#[test]
fn every_alert_is_documented_and_nothing_else() {
    let page = page();
    for (rules, heading, _) in RULES {
        let written: Vec<_> = alerts(rules)
            .iter()
            .map(|alert| alert["alert"].as_str().unwrap().to_owned())
            .collect();
        let documented: Vec<_> = rows(&page, heading)
            .iter()
            .map(|row| row.split('`').nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(written, documented, "{rules}");
    }
}

#[test]
fn alerts_select_the_jobs_that_the_pod_monitors_make() {
    for (rules, _, monitor) in RULES {
        let monitor: Value = serde_saphyr::from_str(&file(monitor)).unwrap();
        // prometheus-operator names a job `<namespace>/<PodMonitor>`.
        let wanted = format!("job=~\".*/{}\"", monitor["metadata"]["name"].as_str().unwrap());
        for alert in alerts(rules) {
            let expression = alert["expr"].as_str().unwrap();
            assert!(
                !expression.contains("job=") || expression.contains(&wanted),
                "{expression}"
            );
        }
    }
}

/// Each `expr` of the dashboard, with the legend beside it.
fn queries(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Array(items) => items.iter().flat_map(queries).collect(),
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
            let own = text("expr").map(|expr| (expr, text("legendFormat").unwrap_or_default()));
            own.into_iter().chain(fields.values().flat_map(queries)).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn the_dashboard_names_only_what_is_exposed() {
    let metrics = metrics();
    let dashboard: Value = serde_json::from_str(&file("manifests/monitoring/dashboard.json")).unwrap();
    let queries = queries(&dashboard);
    assert!(!queries.is_empty());
    for (expression, legend) in &queries {
        let problems = check::problems(expression, [legend.as_str()], PREFIX, &metrics);
        assert_eq!(problems, [""; 0], "{expression}");
    }
}

#[test]
fn every_metric_of_links_is_looked_at_by_an_alert_or_the_dashboard() {
    let mut used = BTreeSet::new();
    let dashboard: Value = serde_json::from_str(&file("manifests/monitoring/dashboard.json")).unwrap();
    let rules = RULES.iter().flat_map(|(rules, ..)| alerts(rules));
    let expressions = rules.map(|alert| alert["expr"].as_str().unwrap().to_owned());
    for expression in expressions.chain(queries(&dashboard).into_iter().map(|(expression, _)| expression)) {
        let selectors = promql::names(&expression, PREFIX).selectors;
        used.extend(selectors.into_iter().map(|selector| selector.metric));
    }
    let unused: Vec<_> = metrics()
        .into_keys()
        .filter(|name| name.starts_with("orchestrator_link") && !used.contains(name))
        .collect();
    assert_eq!(unused, [""; 0]);
}
