//! Probe `apiAuth`: does an API server take the delivered credential, and as whom?
//!
//! The requests go over [`super::request`], not over a kube client: that one looks names up by itself, so the check of
//! the address could be got round, and reads answers of any length.
use std::time::Duration;

use http::{Method, StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use peering_api::Sensitive;

use super::{
    access::Access,
    address::Loopback,
    chain::Roots,
    connect::{Identity, Route, Settings},
    failure::{Failure, Reason, shown},
    kubeconfig,
    request::{self, Answer},
};

/// The path of the review; the kind is stable since Kubernetes 1.28.
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
/// The body of the review: it has no fields to fill in.
const REVIEW: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
/// Who a request without a valid credential is made by.
const ANONYMOUS: &str = "system:anonymous";
/// How many groups are reported.
const GROUPS: usize = 32;

/// What to ask.
#[derive(Clone, Debug)]
pub struct ApiAuth {
    /// What was delivered.
    pub credential: Credential,
    /// Whether loopback addresses are allowed.
    pub loopback: Loopback,
}

/// A delivered credential.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The text of a kubeconfig.
    Kubeconfig(Sensitive),
    /// Its parts.
    Access(Access),
}

/// Who the API server takes the credential for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The first groups.
    pub groups: Vec<String>,
}

/// Asks `/readyz`, then for a `SelfSubjectReview`.
pub async fn probe(api: &ApiAuth, timeout: Duration) -> Result<User, Failure> {
    let read;
    let access = match &api.credential {
        Credential::Access(access) => access,
        Credential::Kubeconfig(text) => {
            read = kubeconfig::read(text)?;
            &read
        }
    };
    let route = Route::new(access.server.endpoint(), api.loopback, timeout);
    let server = Server::new(access, route).await?;
    server.ask(Method::GET, "/readyz").await?;
    let answer = server.ask(Method::POST, REVIEWS).await?;
    server.user(&answer)
}

struct Server<'a> {
    access: &'a Access,
    route: Route<'a>,
    tls: Settings,
    /// The credential in a message.
    credential: String,
}

impl<'a> Server<'a> {
    async fn new(access: &'a Access, route: Route<'a>) -> Result<Self, Failure> {
        let endpoint = route.endpoint();
        if !access.server.is_https() {
            let seen = format!("expected an https URL for the API server, saw http for {endpoint}");
            return Err(Failure::invalid(
                &seen,
                "correct the server at the source of the credential",
            ));
        }
        let identity = access.client.as_ref().map(Identity::read).transpose()?;
        let certificate = identity.as_ref().and_then(Identity::certificate);
        let credential = match (&access.token, certificate) {
            (Some(_), _) => "a token".to_owned(),
            (None, Some(it)) => format!("the client certificate {} valid until {:.0}", it.subject, it.not_after),
            (None, None) => {
                let seen = format!("expected a token or a client certificate for {endpoint}, saw neither");
                return Err(Failure::invalid(&seen, "check the source of the credential"));
            }
        };
        let now = Timestamp::now();
        let roots = match &access.bundle {
            Some(bundle) => Roots::bundle(bundle, now)?,
            None => Roots::system(now).await?,
        };
        let tls = Settings::new(endpoint, access.server_name.as_deref(), roots, identity)?;
        Ok(Self {
            access,
            route,
            tls,
            credential,
        })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Answer, Failure> {
        let uri = format!("{}{path}", self.access.server.base_path());
        let body = if method == Method::POST { REVIEW } else { "" };
        let what = format!("{method} {path}");
        let token = self.access.token.as_ref();
        let mut request = request::build(method, &self.access.server, &uri, token, body.to_owned())?;
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let answer = request::send(self.route, Some(&self.tls), request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let seen = format!(
            "expected success from {} to {what}, saw {} (with {})",
            self.route.endpoint(),
            answer.status.as_u16(),
            self.credential
        );
        Err(match answer.status {
            StatusCode::UNAUTHORIZED => Failure::new(Reason::Unauthorized, &seen, "renew the credential at its source"),
            StatusCode::FORBIDDEN => {
                let next = "grant its user the access on the serving cluster, or renew the credential at its source";
                Failure::new(Reason::Unauthorized, &seen, next)
            }
            StatusCode::NOT_FOUND => {
                let next = "check that this is an API server of Kubernetes 1.28 or newer";
                Failure::new(Reason::Unhealthy, &seen, next)
            }
            _ => Failure::new(Reason::Unhealthy, &seen, "check the API server of the other cluster"),
        })
    }

    fn user(&self, answer: &Answer) -> Result<User, Failure> {
        let review = answer.body.as_deref().and_then(|body| {
            let review = serde_json::from_slice::<SelfSubjectReview>(body).ok()?;
            review.status?.user_info
        });
        let info = review.unwrap_or_default();
        let name = info.username.unwrap_or_default();
        let groups = info.groups.unwrap_or_default();
        if name.is_empty() || self.gives_away(&name) || groups.iter().any(|group| self.gives_away(group)) {
            let cause = "an answer without one";
            return Err(self.route.unhealthy("a SelfSubjectReview with a user name", cause));
        }
        if name == ANONYMOUS {
            let seen = format!(
                "expected {} to take {}, but it sees an anonymous user",
                self.route.endpoint(),
                self.credential
            );
            let next = "check that nothing between the clusters takes the credential away, then renew it at its source";
            return Err(Failure::new(Reason::Unauthorized, &seen, next));
        }
        Ok(User {
            name: shown(&name),
            groups: groups.iter().take(GROUPS).map(|group| shown(group)).collect(),
        })
    }

    /// Whether a text holds the token: a server may repeat it, and user names are shown.
    fn gives_away(&self, text: &str) -> bool {
        let token = self.access.token.as_ref().map_or(&[][..], Sensitive::expose);
        !token.is_empty() && text.as_bytes().windows(token.len()).any(|window| window == token)
    }
}

#[cfg(test)]
#[path = "tests/api_auth.rs"]
mod tests;
