//! `kubeconfig`: a file as client-go reads it (`k8s.io/client-go/tools/clientcmd/api/v1`), with one cluster, one user
//! and one context. It is JSON, which is YAML too, with sorted keys: the same arguments give the same bytes.
use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use serde_json::{Value as Json, json};

use super::{Fault, MISMATCH, Work, raw};
use crate::value::Value;

/// The entries that the argument may have.
const ENTRIES: [&str; 8] = [
    "server",
    "ca",
    "context",
    "name",
    "token",
    "clientCertificate",
    "clientKey",
    "tlsServerName",
];

/// `kubeconfig({server, ca, context | name, token | clientCertificate + clientKey, tlsServerName?})`
pub(super) fn kubeconfig(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [Value::Map(entries)] = arguments else {
        return Err(MISMATCH);
    };
    if entries.keys().any(|key| !ENTRIES.contains(&key.as_str())) {
        return Err(Fault::Problem(
            "it takes server, ca, context, name, token, clientCertificate, clientKey and tlsServerName only",
        ));
    }
    let ((Some(name), None) | (None, Some(name))) = (text(entries, "context")?, text(entries, "name")?) else {
        return Err(Fault::Problem("it needs either context or name"));
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster(entries)?}],
        "users": [{"name": name, "user": user(entries)?}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    });
    Ok(config.to_string().into())
}

fn cluster(entries: &BTreeMap<String, Value>) -> Result<Json, Fault> {
    let server = text(entries, "server")?.ok_or(Fault::Problem("it needs server"))?;
    let https = server
        .parse::<Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
    if !https {
        return Err(Fault::Problem(
            "server is not a URL with https: credentials would travel readable",
        ));
    }
    let ca = data(entries, "ca")?.ok_or(Fault::Problem(
        "it needs ca, the certificates that the server is checked by",
    ))?;
    let mut cluster = json!({"server": server, "certificate-authority-data": ca});
    if let Some(name) = text(entries, "tlsServerName")? {
        cluster["tls-server-name"] = name.into();
    }
    Ok(cluster)
}

fn user(entries: &BTreeMap<String, Value>) -> Result<Json, Fault> {
    match (
        secret(entries, "token")?,
        data(entries, "clientCertificate")?,
        data(entries, "clientKey")?,
    ) {
        (Some(token), None, None) => Ok(json!({"token": token})),
        (None, Some(certificate), Some(key)) => {
            Ok(json!({"client-certificate-data": certificate, "client-key-data": key}))
        }
        _ => Err(Fault::Problem(
            "it needs either token, or clientCertificate and clientKey",
        )),
    }
}

/// A text that is not empty, if there is one.
fn text<'v>(entries: &'v BTreeMap<String, Value>, key: &str) -> Result<Option<&'v str>, Fault> {
    match entries.get(key) {
        None => Ok(None),
        Some(Value::Text(text)) if !text.is_empty() => Ok(Some(text)),
        Some(Value::Text(_)) => Err(Fault::Problem("one of its texts is empty")),
        Some(_) => Err(Fault::Problem(
            "server, context, name and tlsServerName must be strings",
        )),
    }
}

/// Bytes or text that is not empty, if there is any.
fn bytes<'v>(entries: &'v BTreeMap<String, Value>, key: &str) -> Result<Option<&'v [u8]>, Fault> {
    let wrong = Fault::Problem("ca, token, clientCertificate and clientKey must be bytes or strings");
    match entries.get(key).map(raw) {
        None => Ok(None),
        Some(Ok([])) => Err(Fault::Problem("its ca, token, clientCertificate or clientKey is empty")),
        Some(bytes) => bytes.map(Some).map_err(|_| wrong),
    }
}

fn data(entries: &BTreeMap<String, Value>, key: &str) -> Result<Option<String>, Fault> {
    Ok(bytes(entries, key)?.map(|bytes| BASE64_STANDARD.encode(bytes)))
}

/// A token, without the line break that files end with: a header cannot hold it.
fn secret<'v>(entries: &'v BTreeMap<String, Value>, key: &str) -> Result<Option<&'v str>, Fault> {
    let Some(bytes) = bytes(entries, key)? else {
        return Ok(None);
    };
    let token = std::str::from_utf8(bytes).map_err(|_| Fault::Problem("its token is not UTF-8"))?;
    Ok(Some(token.trim_end()))
}
