//! Asks a service of this cluster for something that is handed over, such as a ticket. TLS is always verified; the answer is
//! a secret, and no byte of it reaches a message.
use std::time::Duration;

use exchange::{
    source::{Inputs, answer_expires, issued_answer},
    value::Value,
};
use http::Method;
use jiff::Timestamp;
use peering_api::{
    Sensitive,
    peering::{HttpMethod, HttpRequestInput, TokenRequestInput},
};

use crate::{
    context::Context,
    probe::{
        Url,
        http::{Asked, ask},
    },
    spoke::token,
};

/// How long one request may take, its token included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Lifetime of the token that goes with a request: the shortest that API servers issue.
const TOKEN_SECONDS: i64 = 600;

/// The answer of one request, and when it expires; or why there is none, and what to do.
pub(super) async fn fetch(
    context: &Context,
    peering: &str,
    inputs: &Inputs<'_>,
    (alias, request): (&str, &HttpRequestInput),
) -> Result<(Value, Timestamp), String> {
    let trust = inputs.trust(alias, request).map_err(|bad| bad.message)?;
    let url = Url::parse(&request.url).map_err(|failure| failure.to_string())?;
    let asked = Asked {
        method: match request.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
        },
        url,
        bundle: trust,
        token: bearer(context, peering, request).await?,
        loopback: context.probes.loopback(),
    };
    let body = ask(&asked, TIMEOUT).await.map_err(|failure| failure.to_string())?;
    let text = std::str::from_utf8(body.expose()).map_err(|_| {
        format!(
            "expected text from {}, seen other bytes: see that service",
            asked.url.endpoint()
        )
    })?;
    let text = text.trim();
    let expires_at = answer_expires(request, text).map_err(|why| {
        format!(
            "{why}; correct the ExchangeProfile, or see the service at {}",
            asked.url.endpoint()
        )
    })?;
    Ok((issued_answer(text, expires_at), expires_at))
}

async fn bearer(context: &Context, peering: &str, request: &HttpRequestInput) -> Result<Option<Sensitive>, String> {
    let Some(account) = &request.token else {
        return Ok(None);
    };
    let input = TokenRequestInput {
        namespace: account.namespace.clone(),
        service_account: account.service_account.clone(),
        audiences: account.audiences.clone(),
        expiration_seconds: TOKEN_SECONDS,
    };
    let issued = token::request(&context.spoke.request, peering, &input).await?;
    Ok(Some(issued.token))
}
