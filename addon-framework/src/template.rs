//! Manifests from templates: YAML files, embedded in the program, with values. Pure.
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use jiff::Timestamp;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};
use peering_api::kube::core::DynamicObject;
use serde_json::{Map, Value as Json};
use x509_parser::{certificate::X509Certificate, pem::parse_x509_pem, x509::AttributeTypeAndValue};

use crate::error::AddonError;

/// YAML files with holes for values, in the language of Jinja (<https://docs.rs/minijinja>).
///
/// A file may have several documents; one that renders to nothing is skipped. A value which is not defined is an error. A
/// text may be put into a file as it is only if it cannot become YAML of its own; anything else goes through `tojson`, which
/// makes one YAML value of it, with its quotes. The filter `base64` is for Secrets; `notBefore`, `notAfter` (RFC 3339) and
/// `issuer` (the common name) tell of the first certificate in a PEM text, as the functions of these names do in Go's
/// templates, and nothing of an empty text.
///
/// ```
/// use addon_framework::Templates;
///
/// let templates = Templates::new([("map.yaml", "
/// apiVersion: v1
/// kind: ConfigMap
/// metadata: {name: greeting-{{ ClusterName }}, namespace: {{ AddonInstallNamespace }}}
/// data: {text: {{ text | tojson }}}
/// ")])?;
/// let values = serde_json::json!({"ClusterName": "c1", "AddonInstallNamespace": "default", "text": "say: \"hello\""});
/// let objects = templates.render(values.as_object().unwrap())?;
/// assert_eq!(objects[0].metadata.name.as_deref(), Some("greeting-c1"));
/// assert_eq!(objects[0].data["data"]["text"], "say: \"hello\"");
/// # Ok::<(), addon_framework::AddonError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Templates {
    environment: Environment<'static>,
    /// In the order in which they were given.
    names: Vec<&'static str>,
}

impl Templates {
    /// Templates by file name, as `include_str!` reads them. Fails on one that is not well-formed.
    pub fn new(files: impl IntoIterator<Item = (&'static str, &'static str)>) -> Result<Self, AddonError> {
        let mut environment = environment();
        let mut names = vec![];
        for (name, source) in files {
            environment
                .add_template(name, source)
                .map_err(|error| AddonError::caused(format!("template {name} is not well-formed"), error))?;
            names.push(name);
        }
        Ok(Self { environment, names })
    }

    /// The objects of all files, in their order.
    pub fn render(&self, values: &Map<String, Json>) -> Result<Vec<DynamicObject>, AddonError> {
        let mut objects = vec![];
        for name in &self.names {
            let template = self.environment.get_template(name);
            let text = template
                .and_then(|template| template.render(values))
                .map_err(|error| AddonError::caused(format!("cannot render template {name}"), error))?;
            for document in documents(name, &text)? {
                let object = serde_json::from_value(document).map_err(|error| {
                    AddonError::caused(format!("template {name} makes something else than objects"), error)
                })?;
                objects.push(object);
            }
        }
        Ok(objects)
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(format);
    environment.add_filter("base64", |text: &str| BASE64.encode(text));
    environment.add_filter("notBefore", |pem: &str| {
        certificate(pem, |found| time(found.validity().not_before.timestamp()))
    });
    environment.add_filter("notAfter", |pem: &str| {
        certificate(pem, |found| time(found.validity().not_after.timestamp()))
    });
    environment.add_filter("issuer", |pem: &str| {
        certificate(pem, |found| {
            let mut names = found.issuer().iter_common_name().map(AttributeTypeAndValue::as_str);
            names.next().and_then(Result::ok).map(str::to_owned)
        })
    });
    environment
}

/// What `tell` says about the first certificate of a PEM text. There is none in an empty one, which is no error.
fn certificate(pem: &str, tell: impl Fn(&X509Certificate<'_>) -> Option<String>) -> Result<String, Error> {
    if pem.is_empty() {
        return Ok(String::new());
    }
    let refuse = || Error::new(ErrorKind::InvalidOperation, "the text is no certificate in PEM");
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| refuse())?;
    let found = block.parse_x509().map_err(|_| refuse())?;
    Ok(tell(&found).unwrap_or_default())
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn documents(name: &str, text: &str) -> Result<Vec<Json>, AddonError> {
    let documents: Vec<Json> = serde_saphyr::from_multiple(text)
        .map_err(|error| AddonError::caused(format!("template {name} makes no valid YAML"), error))?;
    let said = |document: &Json| document.get("kind").is_some_and(|kind| !kind.is_null());
    Ok(documents.into_iter().filter(said).collect())
}

fn format(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str().filter(|_| !value.is_safe())
        && !is_plain(text)
    {
        let message =
            "the text of a value would become YAML of its own; write {{ name | tojson }}, without quotes around it";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    escape_formatter(out, state, value)
}

/// Whether a text means nothing to YAML, wherever it is put: bare, in quotes, in a list or as a part of a longer text.
fn is_plain(text: &str) -> bool {
    let harmless = |char: char| char.is_alphanumeric() || "-_./:@+=~ ".contains(char);
    let starts = text.starts_with(|char: char| char.is_alphanumeric() || "/._".contains(char));
    text.is_empty()
        || (starts && text.chars().all(harmless) && !text.contains(": ") && !text.ends_with([':', ' ']) && text != "~")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn render(source: &'static str, values: &Json) -> Result<Vec<DynamicObject>, AddonError> {
        Templates::new([("t.yaml", source)])?.render(values.as_object().unwrap())
    }

    fn cause(error: &AddonError) -> String {
        crate::runtime::error_chain(error)
    }

    const MAP: &str = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata: {text: x-{{ text }}}";

    #[test]
    fn documents_conditions_and_loops() {
        let source = "
{% if wanted %}
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data:
{% for key in keys %}
  {{ key }}: {{ loop.index | tojson }}
{% endfor %}
{% endif %}
---
{# nothing here #}
---
apiVersion: v1
kind: Secret
metadata: {name: two}
data: {a: {{ 'x' | base64 }}}
";
        let both = render(source, &json!({"wanted": true, "keys": ["a", "b"]})).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0].data["data"], json!({"a": 1, "b": 2}));
        assert_eq!(both[1].data["data"]["a"], "eA==");
        let one = render(source, &json!({"wanted": false, "keys": []})).unwrap();
        assert_eq!(one[0].metadata.name.as_deref(), Some("two"));
        assert_eq!(one.len(), 1);
    }

    #[test]
    fn missing_values_are_errors_but_may_be_asked_for() {
        assert!(cause(&render(MAP, &json!({})).unwrap_err()).contains("template t.yaml"));
        let asked = "{% if Missing %}kind: A\n{% endif %}";
        assert!(render(asked, &json!({})).unwrap().is_empty());
    }

    #[test]
    fn broken_templates_say_which() {
        let error = Templates::new([("t.yaml", "{% if %}")]).unwrap_err();
        assert!(error.to_string().contains("t.yaml"));
        for source in ["kind: [", "kind: A\nmetadata: 1"] {
            assert!(
                render(source, &json!({})).unwrap_err().to_string().contains("t.yaml"),
                "{source}"
            );
        }
    }

    #[test]
    fn certificates_tell_their_times_and_issuer() {
        let source = "kind: A
apiVersion: v1
metadata: {name: a}
data: [{{ ca | notBefore | tojson }}, {{ ca | notAfter | tojson }}, {{ ca | issuer | tojson }}]";
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "the CA");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2030, 1, 2), rcgen::date_time_ymd(2031, 3, 4));
        let ca = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let told = |ca: &str| render(source, &json!({"ca": ca})).map(|objects| objects[0].data["data"].clone());
        assert_eq!(
            told(&ca).unwrap(),
            json!(["2030-01-02T00:00:00Z", "2031-03-04T00:00:00Z", "the CA"])
        );
        assert_eq!(told("").unwrap(), json!(["", "", ""]));
        assert!(cause(&told("nothing").unwrap_err()).contains("no certificate"));
    }

    #[test]
    fn text_that_is_yaml_must_be_quoted_by_tojson() {
        for text in [
            "a\nb: c",
            "a, evil: b",
            "\"",
            "'",
            "a #b",
            "{}",
            "- a",
            "a:",
            "&a",
            "~",
            "a\\",
            " a",
        ] {
            let error = render(MAP, &json!({"text": text})).unwrap_err();
            assert!(cause(&error).contains("tojson"), "{text}");
        }
        for text in ["http://proxy.example:3128", "quay.io/a/b@sha256:00", "c1", "é", "1", ""] {
            let made = render(MAP, &json!({"text": text})).unwrap();
            assert_eq!(made[0].data["data"]["text"], format!("x-{text}"));
        }
    }

    proptest! {
        #[test]
        fn no_value_changes_the_shape_of_an_object(text in "\\PC{0,12}") {
            let quoted = render("kind: A\napiVersion: v1\nmetadata: {name: a}\ndata: {b: {{ text | tojson }}}", &json!({"text": text})).unwrap();
            prop_assert_eq!(&quoted[0].data, &json!({"data": {"b": text}}));
            if let Ok(made) = render(MAP, &json!({"text": text})) {
                prop_assert_eq!(&made[0].data, &json!({"data": {"text": format!("x-{text}")}}));
            }
        }
    }
}
