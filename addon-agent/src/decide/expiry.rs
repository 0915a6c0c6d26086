//! When what was delivered ceases to work: certificates, and tokens that say so themselves (JWT, RFC 7519).
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use exchange::{
    ca::{self, Certificate},
    content::Content,
};
use jiff::Timestamp;

/// When content expires; `None` where nothing in it does.
#[must_use]
pub fn of(content: &Content, now: Timestamp) -> Option<Timestamp> {
    let values = content.data.values();
    let certificates: Vec<_> = values.flat_map(|value| ca::parse(value.expose()).certificates).collect();
    let tokens = content.data.values().flat_map(|value| of_tokens(value.expose()));
    of_certificates(&certificates, now).into_iter().chain(tokens).min()
}

/// When the tokens in a text expire, wherever they stand in it: alone, or in a kubeconfig. Nothing is verified: that is for
/// whom they are shown to.
fn of_tokens(bytes: &[u8]) -> Vec<Timestamp> {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    words.filter_map(of_token).collect()
}

/// A token is three parts in base64url, the first of which is a JSON object.
fn of_token(word: &str) -> Option<Timestamp> {
    let mut parts = word.strip_prefix("eyJ")?.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

/// When the first of these certificates ceases to work. Of several CA certificates that stand side by side those that have
/// expired do not count while another one is valid: after a CA was renewed its old certificate may stay for a while.
#[must_use]
pub fn of_certificates(certificates: &[Certificate], now: Timestamp) -> Option<Timestamp> {
    let ends = |ca: bool| {
        let of_kind = certificates.iter().filter(move |one| one.is_ca == ca);
        of_kind.map(|one| one.not_after)
    };
    let trust = ends(true).filter(|end| *end > now).min().or_else(|| ends(true).max());
    ends(false).chain(trust).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(is_ca: bool, end: i64) -> Certificate {
        let at = |second| Timestamp::from_second(second).unwrap();
        Certificate {
            fingerprint: String::new(),
            subject: String::new(),
            not_before: at(0),
            not_after: at(end),
            is_ca,
            pem: String::new(),
        }
    }

    #[test]
    fn tokens_say_themselves_when_they_expire() {
        let token = |claims: &str| {
            let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(claims), part("signature"))
        };
        let (one, two) = (token(r#"{"exp":200}"#), token(r#"{"exp":300,"sub":"a"}"#));
        for (text, expected) in [
            (one.clone(), Some(200)),
            (format!("users:\n- user: {{token: \"{two}\"}}\n"), Some(300)),
            (format!("{two}\n{one}\n"), Some(200)),
            (token("{}"), None),
            (token(r#"{"exp":"soon"}"#), None),
            (token("no claims"), None),
            (format!("{one}.more"), None),
            ("eyJ.eyJ.eyJ".to_owned(), None),
            (String::new(), None),
        ] {
            let content = Content {
                data: [("token".to_owned(), text.clone().into_bytes().into())].into(),
                ..Content::default()
            };
            let end = of(&content, Timestamp::UNIX_EPOCH);
            assert_eq!(end.map(Timestamp::as_second), expected, "{text}");
        }
    }

    #[test]
    fn the_first_that_matters_counts() {
        let (ca, leaf) = (|end| certificate(true, end), |end| certificate(false, end));
        for (certificates, expected) in [
            (vec![], None),
            (vec![leaf(200)], Some(200)),
            (vec![leaf(50), leaf(200)], Some(50)),
            (vec![ca(150), ca(200)], Some(150)),
            (vec![ca(50), ca(200)], Some(200)),
            (vec![ca(50), ca(60)], Some(60)),
            (vec![ca(50), ca(300), leaf(200)], Some(200)),
            (vec![ca(50), leaf(200)], Some(50)),
            (vec![ca(150), leaf(200)], Some(150)),
        ] {
            let end = of_certificates(&certificates, Timestamp::from_second(100).unwrap());
            assert_eq!(end.map(Timestamp::as_second), expected, "{certificates:?}");
        }
    }
}
