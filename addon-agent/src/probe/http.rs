//! Probe `http`: does a URL answer with the expected status? And [`ask`], for what is handed over.
use std::{ops::RangeInclusive, time::Duration};

use http::{Method, StatusCode};
use jiff::Timestamp;
use peering_api::Sensitive;

use super::{
    address::{Loopback, Url},
    chain::Roots,
    connect::{Route, Settings},
    failure::{Failure, Reason},
    request,
};

/// The statuses that are expected where a probe names none.
pub const EXPECTED: RangeInclusive<u16> = 200..=299;

/// The method of the request. No other: a probe changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// `GET`; up to 64 KiB of the body are read, to see that it comes.
    #[default]
    Get,
    /// `HEAD`.
    Head,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Head => Self::HEAD,
        }
    }
}

/// What to ask.
#[derive(Clone, Debug)]
pub struct Http {
    /// GET or HEAD.
    pub verb: Verb,
    /// The URL. Redirects are not followed, to no host: their status is the answer.
    pub url: Url,
    /// The expected status codes, [`EXPECTED`] by default.
    pub expected: RangeInclusive<u16>,
    /// The name to find in the certificate, where it is not the URL's host.
    pub server_name: Option<String>,
    /// CA certificates, PEM; the image's root store where there are none.
    pub bundle: Option<Sensitive>,
    /// A bearer token; only with `https`.
    pub token: Option<Sensitive>,
    /// Whether loopback addresses are allowed.
    pub loopback: Loopback,
}

/// An answer as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status code.
    pub status: u16,
}

/// Sends one request.
pub async fn probe(http: &Http, timeout: Duration) -> Result<Answered, Failure> {
    let endpoint = http.url.endpoint();
    if http.token.is_some() && !http.url.is_https() {
        let seen = format!("expected an https URL for a probe with a token, saw http for {endpoint}");
        return Err(Failure::invalid(&seen, "use https: a token is not sent in the clear"));
    }
    let tls = if http.url.is_https() {
        let now = Timestamp::now();
        let roots = match &http.bundle {
            Some(bundle) => Roots::bundle(bundle, now)?,
            None => Roots::system(now).await?,
        };
        Some(Settings::new(endpoint, http.server_name.as_deref(), roots, None)?)
    } else {
        None
    };
    let route = Route::new(endpoint, http.loopback, timeout);
    let path = http.url.path_and_query();
    let request = request::build(http.verb.into(), &http.url, path, http.token.as_ref(), String::new())?;
    let answer = request::send(route, tls.as_ref(), request).await?;
    judge(http, answer.status)
}

/// A request for something that is handed over. Always over TLS.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Where it goes. Redirects are not followed: a token goes nowhere else.
    pub url: Url,
    /// CA certificates, PEM. There is no other trust.
    pub bundle: Sensitive,
    /// A bearer token.
    pub token: Option<Sensitive>,
    /// Whether loopback addresses are allowed.
    pub loopback: Loopback,
}

/// Sends one request and returns the body of its answer.
pub async fn ask(asked: &Asked, timeout: Duration) -> Result<Sensitive, Failure> {
    let endpoint = asked.url.endpoint();
    if !asked.url.is_https() {
        let seen = format!("expected an https URL, saw http for {endpoint}");
        return Err(Failure::invalid(&seen, "use https: what is asked for is a secret"));
    }
    let roots = Roots::bundle(&asked.bundle, Timestamp::now())?;
    let tls = Settings::new(endpoint, None, roots, None)?;
    let route = Route::new(endpoint, asked.loopback, timeout);
    let path = asked.url.path_and_query();
    let request = request::build(
        asked.method.clone(),
        &asked.url,
        path,
        asked.token.as_ref(),
        String::new(),
    )?;
    let answer = request::send(route, Some(&tls), request).await?;
    let status = answer.status.as_u16();
    if !EXPECTED.contains(&status) {
        let (from, to) = (EXPECTED.start(), EXPECTED.end());
        let seen = format!("expected a status from {from} to {to} from {endpoint}, saw {status}");
        return Err(match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let next = "grant the ServiceAccount of the request what the service asks for";
                Failure::new(Reason::Unauthorized, &seen, next)
            }
            _ => Failure::new(Reason::Unhealthy, &seen, "see the log of that service"),
        });
    }
    match answer.body {
        Some(body) if !body.is_empty() => Ok(body.into()),
        Some(_) => {
            let seen = format!("expected an answer with a body from {endpoint}, saw an empty one");
            Err(Failure::new(Reason::Unhealthy, &seen, "see the log of that service"))
        }
        None => {
            let seen = format!("expected a short answer from {endpoint}, saw more than 64 KiB");
            Err(Failure::new(Reason::Unhealthy, &seen, "check the URL in the profile"))
        }
    }
}

fn judge(http: &Http, status: StatusCode) -> Result<Answered, Failure> {
    if http.expected.contains(&status.as_u16()) {
        return Ok(Answered {
            status: status.as_u16(),
        });
    }
    let (from, to) = (http.expected.start(), http.expected.end());
    let range = if from == to {
        format!("status {from}")
    } else {
        format!("a status from {from} to {to}")
    };
    let seen = format!("expected {range} from {}, saw {}", http.url.endpoint(), status.as_u16());
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if http.token.is_some() => Failure::new(
            Reason::Unauthorized,
            &seen,
            "renew the token at its source, or grant it the access",
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::new(
            Reason::Unauthorized,
            &seen,
            "give the probe a token, or expect that status",
        ),
        status if status.is_redirection() => {
            let next = "redirects are not followed: probe the URL that it leads to, or expect that status";
            Failure::new(Reason::Unhealthy, &seen, next)
        }
        _ => Failure::new(Reason::Unhealthy, &seen, "check the service on the other cluster"),
    })
}

#[cfg(test)]
#[path = "tests/http.rs"]
mod tests;
