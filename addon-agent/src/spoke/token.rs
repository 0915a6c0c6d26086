//! Tokens of service accounts, by the `TokenRequest` API.
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use peering_api::{Sensitive, names, peering::TokenRequestInput};

use super::refusal::Refusal;

/// A token that was issued.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub token: Sensitive,
    /// When it expires, as the API server says: that may be sooner than was asked for.
    pub expires_at: Timestamp,
}

/// Has a token issued; or says why there is none, and what to do.
pub async fn request(client: &Client, peering: &str, input: &TokenRequestInput) -> Result<Token, String> {
    let api = Api::<ServiceAccount>::namespaced(client.clone(), &input.namespace);
    let asked = TokenRequest {
        spec: TokenRequestSpec {
            audiences: input.audiences.clone(),
            expiration_seconds: Some(input.expiration_seconds),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let issued = api
        .create_token_request(&input.service_account, &PostParams::default(), &asked)
        .await;
    let status = issued
        .map_err(|error| refused(&Refusal::from(&error), peering, input))?
        .status
        .filter(|status| !status.token.is_empty());
    let status = status.ok_or_else(|| format!("{}: the API server returned none; see its log", name(input)))?;
    Ok(Token {
        token: status.token.into_bytes().into(),
        expires_at: status.expiration_timestamp.0,
    })
}

fn name(input: &TokenRequestInput) -> String {
    format!(
        "a token of ServiceAccount {}/{} cannot be issued",
        input.namespace, input.service_account
    )
}

fn refused(refusal: &Refusal, peering: &str, input: &TokenRequestInput) -> String {
    let what = name(input);
    if refusal.is_missing() {
        return format!("{what}: the ServiceAccount does not exist; create it, or correct the profile");
    }
    if refusal.is_forbidden() {
        let work = names::work_name(peering, 0);
        let namespace = &input.namespace;
        return format!(
            "{what}: {refusal}; the right arrives with ManifestWork {work}, and namespace {namespace} must exist"
        );
    }
    format!("{what}: {refusal}; see audiences and expirationSeconds in the profile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
        let input = TokenRequestInput {
            namespace: "ns".into(),
            service_account: "sa".into(),
            ..TokenRequestInput::default()
        };
        for (code, says) in [
            (404, "does not exist; create it"),
            (403, "ManifestWork peering-p, and namespace ns must exist"),
            (422, "(422 R); see audiences"),
        ] {
            let refusal = Refusal::Status {
                code,
                reason: "R".into(),
            };
            let message = refused(&refusal, "p", &input);
            assert!(
                message.contains("ServiceAccount ns/sa") && message.contains(says),
                "{message}"
            );
        }
    }
}
