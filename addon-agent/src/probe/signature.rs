//! AWS Signature Version 4 of a GET without a body, in headers. No more of it is needed, and the crates for it bring an HTTP
//! client or a URL library along. Pure: the time is given.
use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, tz::TimeZone};
use peering_api::Sensitive;
use sha2::{Digest, Sha256};

/// Hash of the empty body, for header `x-amz-content-sha256`.
pub const NO_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Header `Host`.
    pub host: &'a str,
    /// The path, encoded as in the request line.
    pub path: &'a str,
    /// The query, its parameters sorted and encoded; each has a `=`.
    pub query: &'a str,
    /// The region.
    pub region: &'a str,
}

/// The headers that make a request a signed one.
#[derive(Debug)]
pub struct Signature {
    /// `x-amz-date`.
    pub date: String,
    /// `authorization`.
    pub authorization: Sensitive,
}

/// Signs a request as of a time. The key id must be fit for a header.
pub fn sign(request: &Request<'_>, key_id: &str, secret: &Sensitive, at: Timestamp) -> Signature {
    let at = at.to_zoned(TimeZone::UTC);
    let (date, day) = (
        at.strftime("%Y%m%dT%H%M%SZ").to_string(),
        at.strftime("%Y%m%d").to_string(),
    );
    let Request {
        host,
        path,
        query,
        region,
    } = request;
    let canonical = format!(
        "GET\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:{NO_BODY}\nx-amz-date:{date}\n\n{SIGNED}\n{NO_BODY}"
    );
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let first = Sensitive::from([b"AWS4", secret.expose()].concat());
    let key = [day.as_str(), region, "s3", "aws4_request"]
        .into_iter()
        .fold(first, |key, part| mac(&key, part));
    let signature = mac(&key, &to_sign);
    let authorization = format!(
        "{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={SIGNED}, Signature={}",
        hex(signature.expose())
    );
    Signature {
        date,
        authorization: authorization.into_bytes().into(),
    }
}

fn mac(key: &Sensitive, text: &str) -> Sensitive {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        return Sensitive::default();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Amazon's documentation "Signature Calculations for the Authorization Header".
    #[test]
    fn the_documented_examples() {
        let secret = Sensitive::from(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec());
        for (query, signature) in [
            (
                "max-keys=2&prefix=J",
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
            (
                "lifecycle=",
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
        ] {
            let request = Request {
                host: "examplebucket.s3.amazonaws.com",
                path: "/",
                query,
                region: "us-east-1",
            };
            let signed = sign(
                &request,
                "AKIAIOSFODNN7EXAMPLE",
                &secret,
                "2013-05-24T00:00:00Z".parse().unwrap(),
            );
            assert_eq!(signed.date, "20130524T000000Z");
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
            );
            assert_eq!(String::from_utf8_lossy(signed.authorization.expose()), expected);
        }
    }
}
