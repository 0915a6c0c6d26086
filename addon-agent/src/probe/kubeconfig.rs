//! Reading a delivered kubeconfig. It is foreign input: it may carry a server, a CA and a credential, inline, and nothing
//! that would make this process run a program, read a file or use a proxy.
use base64::{Engine, prelude::BASE64_STANDARD};
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use peering_api::Sensitive;
use secrecy::ExposeSecret;

use super::{
    access::{Access, ClientCertificate},
    address::Url,
    failure::Failure,
};

/// The server and credential of the current context.
pub fn read(kubeconfig: &Sensitive) -> Result<Access, Failure> {
    let text = std::str::from_utf8(kubeconfig.expose()).ok();
    // The parser's error quotes the text: it is dropped.
    let config = text.and_then(|text| Kubeconfig::from_yaml(text).ok());
    let config = config.ok_or_else(|| wrong("something else"))?;
    let (cluster, user) = current(&config)?;
    if let Some(refused) = refused(&cluster, &user) {
        let seen = format!(
            "expected a delivered kubeconfig to hold all it needs and to ask for nothing else, saw `{refused}` in it"
        );
        let next =
            "deliver server, certificate-authority-data, and token or client-certificate-data and client-key-data";
        return Err(Failure::invalid(&seen, next));
    }
    Ok(Access {
        server: Url::parse(cluster.server.as_deref().unwrap_or_default())?,
        server_name: cluster.tls_server_name,
        bundle: decode(cluster.certificate_authority_data.as_deref())?,
        token: user.token.map(|token| token.expose_secret().as_bytes().to_vec().into()),
        client: client(
            decode(user.client_certificate_data.as_deref())?,
            decode(user.client_key_data.as_ref().map(ExposeSecret::expose_secret))?,
        )?,
    })
}

fn current(config: &Kubeconfig) -> Result<(Cluster, AuthInfo), Failure> {
    let context = config.current_context.as_ref().and_then(|name| {
        let named = config.contexts.iter().find(|context| context.name == *name)?;
        named.context.as_ref()
    });
    let context = context.ok_or_else(|| wrong("no context of the name in current-context"))?;
    let cluster = config.clusters.iter().find(|named| named.name == context.cluster);
    let cluster = cluster.and_then(|named| named.cluster.clone());
    let user = config
        .auth_infos
        .iter()
        .find(|named| Some(&named.name) == context.user.as_ref());
    let user = user.and_then(|named| named.auth_info.clone());
    match (cluster, user) {
        (Some(cluster), Some(user)) => Ok((cluster, user)),
        (None, _) => Err(wrong("no cluster of the name in that context")),
        (_, None) => Err(wrong("no user of the name in that context")),
    }
}

/// The first field that a probe does not work with. A path is refused also where data beside it would win.
fn refused(cluster: &Cluster, user: &AuthInfo) -> Option<&'static str> {
    let checks = [
        (user.exec.is_some(), "exec"),
        (user.auth_provider.is_some(), "auth-provider"),
        (user.token_file.is_some(), "tokenFile"),
        (user.client_certificate.is_some(), "client-certificate"),
        (user.client_key.is_some(), "client-key"),
        (
            user.username.is_some() || user.password.is_some(),
            "username and password",
        ),
        (
            user.impersonate.is_some() || user.impersonate_groups.is_some() || user.impersonate_uid.is_some(),
            "as",
        ),
        (cluster.certificate_authority.is_some(), "certificate-authority"),
        (cluster.proxy_url.is_some(), "proxy-url"),
        (
            cluster.insecure_skip_tls_verify == Some(true),
            "insecure-skip-tls-verify",
        ),
    ];
    checks.into_iter().find(|(found, _)| *found).map(|(_, field)| field)
}

fn decode(data: Option<&str>) -> Result<Option<Sensitive>, Failure> {
    let decoded = data.map(|data| BASE64_STANDARD.decode(data.trim()));
    let decoded = decoded.transpose().map_err(|_| wrong("data that is not base64"))?;
    Ok(decoded.map(Sensitive::from))
}

fn client(certificate: Option<Sensitive>, key: Option<Sensitive>) -> Result<Option<ClientCertificate>, Failure> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(ClientCertificate { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("a client certificate without its key")),
        (None, Some(_)) => Err(wrong("a client key without its certificate")),
    }
}

fn wrong(saw: &str) -> Failure {
    let seen = format!("expected a delivered kubeconfig with cluster, user and current-context, saw {saw}");
    Failure::invalid(&seen, "check the source of the credential")
}

#[cfg(test)]
#[path = "tests/kubeconfig.rs"]
mod tests;
