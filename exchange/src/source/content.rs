//! Inputs become content: texts of the payload, or the data of the only input as it is.
use std::collections::BTreeMap;

use peering_api::{
    Sensitive,
    peering::{ArtefactKind, reasons::SourceReady},
};

use super::{
    Bad, Good, KEPT,
    bundle::bundle,
    read::{DATA, INPUTS, Inputs, Issued},
};
use crate::{
    carry::CONTENT_LIMIT,
    content::Content,
    expression::{ExpressionError, Text},
    value::Value,
};

/// Type of a Secret that holds a certificate.
const TLS: &str = "kubernetes.io/tls";

/// Data that is about to be judged, and what messages call it.
struct Draft {
    name: String,
    type_: Option<String>,
    data: BTreeMap<String, Sensitive>,
}

/// A text of the payload that failed.
pub(super) struct Unusable<'k> {
    key: &'k str,
    pub error: Box<ExpressionError>,
}

impl Inputs<'_> {
    /// The content, with what was issued for it.
    pub fn content(&self, issued: &Issued) -> Result<Good, Bad> {
        let strict = self.spec.ca_override.is_some();
        let draft = if let Some(pem) = &self.spec.ca_override {
            overridden(&self.spec.peering, pem)
        } else if self.spec.payload.is_empty() {
            self.copy(issued)?
        } else {
            Draft {
                name: self.payload_name(),
                type_: None,
                data: self.payload(issued)?,
            }
        };
        must_be_filled(&draft.name, &draft.data)?;
        let good = match self.spec.kind {
            ArtefactKind::CaBundle => bundle(&draft.name, &draft.data, strict)?,
            ArtefactKind::Data => self.data(draft),
        };
        must_fit(&good.content)?;
        Ok(good)
    }

    /// What is said of content that is published, whatever was issued for it.
    #[must_use]
    pub fn published(&self) -> String {
        let certificate = self.certificate().map(|(alias, _)| alias);
        let token = self.tokens().next().map(|(alias, _)| alias);
        let name = |alias| self.names.get(alias).map(String::as_str).unwrap_or_default();
        if !self.spec.payload.is_empty() {
            let names: Vec<_> = self.names.values().map(String::as_str).collect();
            let from = if names.is_empty() { "" } else { ", made from " };
            return format!("{} is published{from}{}", self.payload_name(), names.join(", "));
        }
        certificate.map_or_else(
            || format!("{} is published", name(token.unwrap_or_default())),
            |alias| format!("a certificate of {} is published", name(alias)),
        )
    }

    fn data(&self, draft: Draft) -> Good {
        let message = if self.spec.payload.is_empty() {
            format!("{} is published", draft.name)
        } else {
            self.published()
        };
        Good {
            content: Content {
                type_: draft.type_,
                data: draft.data,
            },
            reason: SourceReady::Published,
            message,
        }
    }

    pub(super) fn payload_name(&self) -> String {
        format!("the payload of artefact {:?}", self.spec.artefact)
    }

    fn payload(&self, issued: &Issued) -> Result<BTreeMap<String, Sensitive>, Bad> {
        let values = self.evaluate(issued);
        values.map_err(|unusable| self.unusable(&unusable))
    }

    /// What is said of a text that failed.
    pub(super) fn unusable(&self, unusable: &Unusable<'_>) -> Bad {
        Bad::evaluation(self.spec, &format!("payload[{}]", unusable.key), &unusable.error)
    }

    /// The texts of the payload, evaluated; or the first that fails.
    pub(super) fn evaluate(&self, issued: &Issued) -> Result<BTreeMap<String, Sensitive>, Unusable<'_>> {
        let with_issued = (!issued.is_empty()).then(|| {
            let mut scope = self.scope.clone();
            if let Some(Value::Map(inputs)) = scope.extra.get_mut(INPUTS) {
                inputs.extend(issued.clone());
            }
            scope
        });
        let scope = with_issued.as_ref().unwrap_or(&self.scope);
        let texts = self.spec.payload.iter();
        let values = texts.map(|(key, text)| {
            let value = Text::parse(text).and_then(|text| text.evaluate(scope));
            Ok((
                key.clone(),
                value.map_err(|error| Unusable {
                    key,
                    error: Box::new(error),
                })?,
            ))
        });
        values.collect()
    }

    /// The data of the only input that has any.
    fn copy(&self, issued: &Issued) -> Result<Draft, Bad> {
        let name = |alias: &str| self.names.get(alias).cloned().unwrap_or_default();
        if let Some((alias, _)) = self.certificate() {
            let value = issued.get(alias).unwrap_or(&Value::Null);
            let entries = [("tls.crt", "certificate"), ("ca.crt", "ca")];
            let entries = entries
                .iter()
                .filter_map(|(key, field)| Some(((*key).to_owned(), bytes(value.get(field)?)?)));
            return Ok(Draft {
                name: format!("a certificate of {}", name(alias)),
                type_: Some(TLS.to_owned()),
                data: entries.collect(),
            });
        }
        let objects = self.spec.inputs.iter().filter(|input| input.name.is_some());
        let objects = objects.filter_map(|input| Some((input.alias.as_str(), self.value(&input.alias)?)));
        let tokens = self
            .tokens()
            .map(|(alias, _)| (alias, issued.get(alias).unwrap_or(&Value::Null)));
        let candidates: Vec<_> = objects.filter(|(_, object)| is_core(object)).chain(tokens).collect();
        let [(alias, value)] = candidates.as_slice() else {
            return Err(Bad::invalid(&format!(
                "artefact {:?} has no payload, and its inputs do not say what to hand over: expected exactly one Secret, \
                 ConfigMap or token, seen {}; set payload in the profile",
                self.spec.artefact,
                candidates.len()
            )));
        };
        let type_ = value.get("type").and_then(Value::text).map(str::to_owned);
        let data = match value.get("token") {
            Some(token) => bytes(token)
                .map(|token| ("token".to_owned(), token))
                .into_iter()
                .collect(),
            None => data_of(value),
        };
        Ok(Draft {
            name: name(alias),
            type_,
            data,
        })
    }
}

fn overridden(peering: &str, pem: &str) -> Draft {
    Draft {
        name: format!("the CA override of this cluster in spec.trust.caOverrides of Peering {peering}"),
        type_: None,
        data: [("caBundle".to_owned(), pem.as_bytes().to_vec().into())].into(),
    }
}

/// Whether an object is a Secret or `ConfigMap`.
fn is_core(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::text);
    object.get("apiVersion").and_then(Value::text) == Some("v1") && matches!(kind, Some("Secret" | "ConfigMap"))
}

/// The keys and bytes of a Secret or `ConfigMap`.
pub(super) fn data_of(object: &Value) -> BTreeMap<String, Sensitive> {
    let fields = DATA.iter().filter_map(|field| match object.get(field) {
        Some(Value::Map(data)) => Some(data),
        _ => None,
    });
    fields
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), bytes(value)?)))
        .collect()
}

fn bytes(value: &Value) -> Option<Sensitive> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Text(text) => Some(text.as_bytes().to_vec().into()),
        _ => None,
    }
}

/// An empty value is no content: it is most often a Secret that somebody is still writing.
pub(super) fn must_be_filled(name: &str, data: &BTreeMap<String, Sensitive>) -> Result<(), Bad> {
    if data.is_empty() {
        let what = format!("{name} has no data, at least one key was expected: fill it");
        return Err(Bad::invalid(&what));
    }
    if let Some((empty, _)) = data.iter().find(|(_, value)| value.is_empty()) {
        let what = format!("{name} has an empty value under key {empty:?}: fill or remove it");
        return Err(Bad::invalid(&what));
    }
    Ok(())
}

/// What is too large for a work is not published at all.
fn must_fit(content: &Content) -> Result<(), Bad> {
    let size = content.size();
    if size <= CONTENT_LIMIT {
        return Ok(());
    }
    let message = format!(
        "the content has {size} bytes, expected at most {CONTENT_LIMIT}: narrow payload or keys to what is needed, or \
         split the artefact in two; {KEPT}"
    );
    Err(Bad::new(SourceReady::PayloadTooLarge, message))
}
