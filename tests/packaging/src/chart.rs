//! The Helm chart: the objects of `manifests/hub` with holes for what values set. Holes are JSON (which is YAML), so that every
//! template is one line of `toJson` and can be filled by [`render`] as by Helm.
use serde_json::{Value, json};

use crate::{
    DEFAULT_IMAGE, Error, Files,
    base::{self, kind, name, only},
    csv::MIN_KUBE_VERSION,
    yaml,
};

/// Name of the chart.
pub const NAME: &str = "multicluster-orchestrator";

/// The namespace in the manifests, which is the release's in the chart.
const NAMESPACE: &str = "multicluster-orchestrator";

const HEAD: &str = "# Generated from manifests/hub by `make manifests`. Do not edit.\n";

/// A hole stands in a string of its own until the YAML is written, then without its quotes.
fn hole(expression: &str) -> String {
    format!("<hole {expression} hole>")
}

fn open_holes(text: &str) -> String {
    // The writer quotes strings that YAML would read otherwise.
    let text = text.replace("\"<hole ", "<hole ").replace(" hole>\"", " hole>");
    let text = text.replace("'<hole ", "<hole ").replace(" hole>'", " hole>");
    text.replace("<hole ", "{{ toJson ").replace(" hole>", " }}")
}

/// The files of the chart. `version` is that of the product.
pub fn chart(objects: &[Value], version: &str) -> Result<Files, Error> {
    let mut files = Files::new();
    for object in objects {
        let (path, condition) = match kind(object) {
            "Namespace" => continue,
            "CustomResourceDefinition" => (
                format!("templates/crds/{}.yaml", name(object)),
                Some(".Values.crds.install"),
            ),
            "NetworkPolicy" => (
                "templates/networkpolicy.yaml".to_owned(),
                Some(".Values.networkPolicy.enabled"),
            ),
            other => (format!("templates/{}.yaml", other.to_lowercase()), None),
        };
        let text = yaml(&path, &template(object))?;
        if text.contains("{{") {
            return Err(Error::Unexpected(format!(
                "{} {} holds `{{{{`, which Helm would read",
                kind(object),
                name(object)
            )));
        }
        let text = open_holes(&text);
        let text = match condition {
            Some(condition) => format!("{HEAD}{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"),
            None => format!("{HEAD}{text}"),
        };
        if files.insert(path.clone(), text).is_some() {
            return Err(Error::Unexpected(format!("two objects of the base would be {path}")));
        }
    }
    let chart = json!({
        "apiVersion": "v2",
        "name": NAME,
        "description": "Hands storage peering secrets, CA bundles and client credentials from cluster to cluster, sealed on the way",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": format!(">={MIN_KUBE_VERSION}-0"),
        "home": "https://open-cluster-management.io",
        "sources": ["https://open-cluster-management.io"],
        "keywords": ["open-cluster-management", "multicluster", "storage", "certificates"],
    });
    files.insert(
        "Chart.yaml".to_owned(),
        format!("{HEAD}{}", yaml("Chart.yaml", &chart)?),
    );
    files.insert("values.yaml".to_owned(), values(only(objects, "Deployment")?)?);
    Ok(files)
}

fn template(object: &Value) -> Value {
    let mut object = object.clone();
    base::replace(&mut object, DEFAULT_IMAGE, &hole(".Values.image"));
    if object["metadata"]["namespace"] == NAMESPACE {
        object["metadata"]["namespace"] = hole(".Release.Namespace").into();
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if subject["namespace"] == NAMESPACE {
            subject["namespace"] = hole(".Release.Namespace").into();
        }
    }
    match kind(&object) {
        "Deployment" => {
            let pod = &mut object["spec"]["template"]["spec"];
            pod["nodeSelector"] = hole(".Values.nodeSelector").into();
            pod["tolerations"] = hole(".Values.tolerations").into();
            pod["imagePullSecrets"] = hole(".Values.imagePullSecrets").into();
            pod["containers"][0]["resources"] = hole(".Values.resources").into();
        }
        // Peerings outlive the chart: removing a CRD removes everything of its kind.
        "CustomResourceDefinition" => object["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep"),
        _ => {}
    }
    object
}

fn values(deployment: &Value) -> Result<String, Error> {
    let pod = &deployment["spec"]["template"]["spec"];
    let value = |what: &str, comment: &str, value: Value| -> Result<String, Error> {
        Ok(format!("# {comment}\n{}", yaml(what, &json!({what: value}))?))
    };
    let parts = [
        value("image", "Image of the manager and of the agents.", DEFAULT_IMAGE.into())?,
        value(
            "imagePullSecrets",
            "Secrets with which the manager's image is pulled.",
            json!([]),
        )?,
        value(
            "resources",
            "What the manager gets.",
            pod["containers"][0]["resources"].clone(),
        )?,
        value("nodeSelector", "Where the manager runs.", pod["nodeSelector"].clone())?,
        value("tolerations", "Taints that the manager bears.", json!([]))?,
        value(
            "crds",
            "Whether the chart holds the CRDs. They stay when the chart is removed.",
            json!({"install": true}),
        )?,
        value(
            "networkPolicy",
            "Whether only the metrics and probes of the manager can be reached.",
            json!({"enabled": true}),
        )?,
    ];
    Ok(format!("{HEAD}{}", parts.join("\n")))
}

/// Fills the templates as Helm does, as far as this chart uses Helm.
pub fn render(files: &Files, values: &Value, namespace: &str) -> Result<Vec<Value>, Error> {
    let scope = json!({"Values": values, "Release": {"Namespace": namespace}});
    let look = |path: &str| {
        path.split('.')
            .filter(|part| !part.is_empty())
            .fold(&scope, |value, part| &value[part])
    };
    let mut objects = Vec::new();
    for (path, template) in files.iter().filter(|(path, _)| path.starts_with("templates/")) {
        let mut rest = template.as_str();
        let mut text = String::new();
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            let Some((action, after)) = after.split_once("}}") else {
                return Err(Error::Unexpected(format!("{path}: an action does not end")));
            };
            rest = after;
            let action = action.trim_start_matches('-').trim();
            if let Some(wanted) = action.strip_prefix("toJson ") {
                text.push_str(&look(wanted).to_string());
            } else if let Some(condition) = action.strip_prefix("if ") {
                if look(condition) != true {
                    rest = "";
                }
            } else if action != "end" {
                return Err(Error::Unexpected(format!(
                    "{path}: {action:?} is more than the chart uses"
                )));
            }
        }
        text.push_str(rest);
        let documents = base::documents(std::path::Path::new(path), &text)?;
        objects.extend(documents.into_iter().filter(Value::is_object));
    }
    Ok(objects)
}
