//! Probe `s3`: may the delivered keys list a bucket? One object at most is asked for, so that a large bucket costs nothing.
//! A listing and not a HEAD, whose refusals have no body and so no code: a wrong key and a missing right would look alike.
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use peering_api::Sensitive;

use super::{
    address::{Loopback, Url},
    chain::Roots,
    connect::{Route, Settings},
    failure::{Failure, Reason},
    request::{self, Answer},
    signature::{self, NO_BODY},
};

/// The region that is signed for where a probe names none; also what most servers other than Amazon's go by.
pub const REGION: &str = "us-east-1";
/// Its parameters are sorted, as the signature wants them.
const QUERY: &str = "list-type=2&max-keys=1";
/// What a listing holds.
const LISTING: &str = "<ListBucketResult";

/// What to ask.
#[derive(Clone, Debug)]
pub struct S3 {
    /// The server, `https`.
    pub url: Url,
    /// The bucket.
    pub bucket: String,
    /// The region to sign for.
    pub region: String,
    /// The id of the access key.
    pub access_key_id: Sensitive,
    /// The secret access key.
    pub secret_access_key: Sensitive,
    /// CA certificates, PEM; the image's root store where there are none.
    pub bundle: Option<Sensitive>,
    /// Whether loopback addresses are allowed.
    pub loopback: Loopback,
}

/// Lists the bucket.
pub async fn probe(s3: &S3, timeout: Duration) -> Result<(), Failure> {
    let endpoint = s3.url.endpoint();
    if !s3.url.is_https() {
        let seen = format!("expected an https URL for the S3 server, saw http for {endpoint}");
        return Err(Failure::invalid(
            &seen,
            "use https: what is read over http proves nothing",
        ));
    }
    let key_id = plain("access key id", s3.access_key_id.expose())?;
    let region = plain("region", s3.region.as_bytes())?;
    let now = Timestamp::now();
    let roots = match &s3.bundle {
        Some(bundle) => Roots::bundle(bundle, now)?,
        None => Roots::system(now).await?,
    };
    let tls = Settings::new(endpoint, None, roots, None)?;
    let route = Route::new(endpoint, s3.loopback, timeout);
    let path = format!("{}/{}", s3.url.base_path(), encoded(&s3.bucket));
    let mut request = request::build(Method::GET, &s3.url, &format!("{path}?{QUERY}"), None, String::new())?;
    let signed = signature::Request {
        host: &s3.url.host_header(),
        path: &path,
        query: QUERY,
        region,
    };
    let signed = signature::sign(&signed, key_id, &s3.secret_access_key, now);
    let headers = request.headers_mut();
    headers.insert(
        HeaderName::from_static("x-amz-content-sha256"),
        HeaderValue::from_static(NO_BODY),
    );
    for (name, value) in [
        (HeaderName::from_static("x-amz-date"), signed.date.as_bytes()),
        (header::AUTHORIZATION, signed.authorization.expose()),
    ] {
        let value = HeaderValue::from_bytes(value);
        let mut value = value.map_err(|_| unfit("access key id"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    judge(s3, &request::send(route, Some(&tls), request).await?)
}

/// A text that may stand between the separators of the header.
fn plain<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    let text = std::str::from_utf8(bytes).ok();
    let fits = |text: &&str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/,".contains(&byte))
    };
    text.filter(fits).ok_or_else(|| unfit(what))
}

fn unfit(what: &str) -> Failure {
    let seen = format!(
        "expected the {what} of an S3 server, saw nothing or other characters than it may have (a line break at its end?)"
    );
    Failure::invalid(&seen, "check the source of the credential")
}

/// As the signature wants it: all but unreserved characters are escaped.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What the codes of an S3 server mean. Only what stands here is shown of an answer's body.
const CODES: [(&str, Reason, &str); 9] = [
    (
        "InvalidAccessKeyId",
        Reason::Unauthorized,
        "the server does not know the access key: renew the credentials at their source",
    ),
    (
        "SignatureDoesNotMatch",
        Reason::Unauthorized,
        "the secret access key is not the server's, or the region is another: renew the credentials at their source, compare the region",
    ),
    (
        "AccessDenied",
        Reason::Unauthorized,
        "the server knows the access key, which may not list this bucket: grant it that",
    ),
    (
        "ExpiredToken",
        Reason::Unauthorized,
        "renew the credentials at their source",
    ),
    (
        "RequestTimeTooSkewed",
        Reason::Unhealthy,
        "compare the clock of the server with this cluster's",
    ),
    (
        "NoSuchBucket",
        Reason::Unhealthy,
        "the keys are right and the bucket is not there: make it, or correct its name at the source",
    ),
    (
        "AuthorizationHeaderMalformed",
        Reason::Unhealthy,
        "compare the region with the server's",
    ),
    (
        "PermanentRedirect",
        Reason::Unhealthy,
        "the bucket has another endpoint or region: correct them at the source",
    ),
    (
        "SlowDown",
        Reason::Unhealthy,
        "the server is overloaded: probe less often",
    ),
];

fn judge(s3: &S3, answer: &Answer) -> Result<(), Failure> {
    let body = String::from_utf8_lossy(answer.body.as_deref().unwrap_or_default());
    if answer.status.is_success() && body.contains(LISTING) {
        return Ok(());
    }
    let endpoint = s3.url.endpoint();
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"));
    let known = code.and_then(|(code, _)| CODES.iter().find(|(known, ..)| *known == code));
    let status = answer.status.as_u16();
    if let Some((code, reason, next)) = known {
        let seen = format!("expected a listing of the bucket from {endpoint}, saw {status} {code}");
        return Err(Failure::new(*reason, &seen, next));
    }
    let (reason, next) = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            Reason::Unauthorized,
            "renew the credentials at their source, or grant them the bucket",
        ),
        StatusCode::NOT_FOUND => (Reason::Unhealthy, "check endpoint and bucket at the source"),
        status if status.is_success() => (
            Reason::Unhealthy,
            "what serves this endpoint is no S3 server: correct it at the source",
        ),
        _ => (Reason::Unhealthy, "check the S3 server on the other cluster"),
    };
    let seen = format!("expected a listing of the bucket from {endpoint}, saw status {status} without one");
    Err(Failure::new(reason, &seen, next))
}

#[cfg(test)]
#[path = "tests/s3.rs"]
mod tests;
