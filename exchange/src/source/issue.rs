//! What has to be issued before there is content: tokens of service accounts, certificates for receivers, and answers of
//! services such as tickets.
//!
//! The issued thing is not kept, only a hash of what it depends on ([`Inputs::basis`]): while that stays the same, what was
//! sealed stays in force until it is to be renewed.
use std::time::Duration;

use jiff::Timestamp;
use peering_api::{
    Sensitive,
    peering::{CertificateUsage, HttpRequestInput, reasons::SourceReady, rfc3339},
};

use super::{
    Bad,
    content::{data_of, must_be_filled},
    read::{INPUTS, Inputs, Issued, scope},
};
use crate::{
    certificate::{Authority, AuthorityError, Checked, Subject, Terms, Usage},
    content::Content,
    expression::{Scope, Text},
    value::Value,
};

/// What names of users and groups that belong to Kubernetes itself start with.
const RESERVED: &str = "system:";

/// The value of an issued token.
#[must_use]
pub fn issued_token(token: &str, expires: Timestamp) -> Value {
    let entries = [("token", token.into()), ("expiresAt", rfc3339(expires).into())];
    entries.into_iter().collect()
}

/// The value of a service's answer.
#[must_use]
pub fn issued_answer(body: &str, expires: Timestamp) -> Value {
    let entries = [("body", body.into()), ("expiresAt", rfc3339(expires).into())];
    entries.into_iter().collect()
}

/// When a service's answer expires, as the request says. The error holds the place and nothing of the answer.
pub fn answer_expires(request: &HttpRequestInput, body: &str) -> Result<Timestamp, String> {
    let response: Value = [("body", Value::from(body))].into_iter().collect();
    let scope = Scope {
        extra: [("response".to_owned(), response)].into(),
        ..Scope::default()
    };
    let resolved = Text::parse(&request.expires_at).and_then(|text| text.resolve(&scope));
    let text = resolved.map_err(|error| format!("httpRequest.expiresAt: {error}"))?;
    let seconds = text.trim().parse::<i64>().ok();
    let at = seconds.map_or_else(
        || text.trim().parse().ok(),
        |seconds| Timestamp::from_second(seconds).ok(),
    );
    at.ok_or_else(|| {
        "httpRequest.expiresAt: expected a time (RFC 3339, or seconds since 1970), seen something else".to_owned()
    })
}

/// The value of an issued certificate: the chain, and the CA where it is one of ours.
#[must_use]
pub fn issued_certificate(chain: &str, expires: Timestamp, ca: Option<&str>) -> Value {
    let mut entries = vec![("certificate", chain.into()), ("notAfter", rfc3339(expires).into())];
    entries.extend(ca.map(|ca| ("ca", ca.into())));
    entries.into_iter().collect()
}

/// A CA of the source cluster that signs requests.
#[derive(Debug)]
pub struct Signer {
    authority: Authority,
    usage: Usage,
    lifetime: Duration,
    /// What receivers need to verify the chain (PEM).
    pub ca: String,
}

impl Signer {
    /// Signs a request; `serial` are random bytes. Returns the chain.
    pub fn sign(&self, request: &Checked, now: Timestamp, serial: [u8; 16]) -> Result<String, AuthorityError> {
        let terms = Terms {
            usage: self.usage,
            lifetime: self.lifetime,
            now,
            serial,
        };
        self.authority.sign(request, &terms)
    }
}

impl Inputs<'_> {
    /// Whom the certificate for a destination is for. Computed here once more: what the request says counts for nothing.
    pub fn subject(&self, destination: &str) -> Result<Subject, Bad> {
        let Some((alias, asked)) = self.certificate() else {
            return Ok(Subject::default());
        };
        let scope = Scope {
            destination: Some(destination.to_owned()),
            ..scope(&self.scope.source, self.spec)
        };
        let text = |text: &String| {
            let resolved = Text::parse(text).and_then(|text| text.resolve(&scope));
            resolved.map_err(|error| Bad::evaluation(self.spec, &format!("the certificate of input {alias:?}"), &error))
        };
        let subject = Subject {
            common_name: text(&asked.common_name)?,
            organizations: asked.organizations.iter().map(text).collect::<Result<_, _>>()?,
            dns_names: asked.dns_names.iter().map(text).collect::<Result<_, _>>()?,
            ..Subject::default()
        };
        must_be_ordinary(&subject)?;
        Ok(subject)
    }

    /// The CA of the source cluster, where one signs.
    pub fn signer(&self) -> Result<Option<Signer>, Bad> {
        let (Some((alias, asked)), Some(secret)) = (self.certificate(), &self.authority) else {
            return Ok(None);
        };
        let Some(ca) = &asked.signer.ca else {
            return Ok(None);
        };
        let name = self.names.get(alias).cloned().unwrap_or_default();
        let mut data = data_of(secret);
        let mut take = |key: &str| {
            let filled = data.remove(key).filter(|value| !value.is_empty());
            filled.ok_or_else(|| Bad::invalid(&format!("{name} has nothing under key {key:?}: fill it")))
        };
        let text = |value: &Sensitive| String::from_utf8_lossy(value.expose()).into_owned();
        let certificate = text(&take("tls.crt")?);
        let authority = Authority::read(&certificate, &take("tls.key")?)
            .map_err(|error| Bad::invalid(&format!("{name} cannot be used: {error}: correct it")))?;
        Ok(Some(Signer {
            authority,
            usage: match ca.usage {
                CertificateUsage::Client => Usage::Client,
                CertificateUsage::Server => Usage::Server,
                CertificateUsage::ClientAndServer => Usage::ClientAndServer,
            },
            lifetime: Duration::from_secs(asked.expiration_seconds.unsigned_abs()),
            ca: take("ca.crt").map_or(certificate, |ca| text(&ca)),
        }))
    }

    /// The CA certificates that the service of a request has to show, made from earlier inputs.
    pub fn trust(&self, alias: &str, request: &HttpRequestInput) -> Result<Sensitive, Bad> {
        let field = format!("httpRequest.ca of input {alias:?}");
        let pem = Text::parse(&request.ca).and_then(|text| text.evaluate(&self.scope));
        let pem = pem.map_err(|error| Bad::unless_missing(self.spec, &field, &error))?;
        if pem.is_empty() {
            return Err(Bad::invalid(&format!(
                "{field} is empty: name where the CA certificates of the service stand"
            )));
        }
        Ok(pem)
    }

    /// Everything that issued content depends on, as bytes to be hashed: if it changes, something else is to be issued.
    /// `request` is what one receiver wants to have signed, and for whom.
    ///
    /// What cannot become content whatever is issued is refused here already, so that nothing is issued in vain.
    pub fn basis(&self, request: Option<(&Subject, &str)>) -> Result<Sensitive, Bad> {
        let mut basis = Basis::default();
        for (alias, token) in self.tokens() {
            basis.add(alias.as_bytes());
            basis.add(&serde_json::to_vec(token).unwrap_or_default());
        }
        for (alias, request) in self.requests() {
            basis.add(alias.as_bytes());
            basis.add(&serde_json::to_vec(request).unwrap_or_default());
        }
        if let Some((alias, asked)) = self.certificate() {
            basis.add(alias.as_bytes());
            basis.add(&serde_json::to_vec(asked).unwrap_or_default());
        }
        for (key, value) in self.authority.iter().flat_map(data_of) {
            basis.add(key.as_bytes());
            basis.add(value.expose());
        }
        if let Some((subject, request)) = request {
            basis.add(subject.to_string().as_bytes());
            basis.add(request.as_bytes());
        }
        if !self.spec.payload.is_empty() {
            basis.add(self.rest()?.expose());
        }
        Ok(Sensitive::from(basis.0))
    }

    /// What the payload makes of all that is not issued: the payload with fixed words in place of what is. Where these
    /// words will not do, the inputs that it uses are taken as a whole.
    fn rest(&self) -> Result<Sensitive, Bad> {
        match self.evaluate(&self.placeholders()) {
            Ok(data) => {
                must_be_filled(&self.payload_name(), &data)?;
                Ok(Content { type_: None, data }.encode())
            }
            Err(unusable) if unusable.error.is_missing() => Err(self.unusable(&unusable)),
            Err(_) => Ok(self.used().to_json().to_string().into_bytes().into()),
        }
    }

    fn placeholders(&self) -> Issued {
        let tokens = self.tokens().map(|(alias, _)| alias);
        let certificate = self.certificate().map(|(alias, _)| alias);
        let mut issued: Issued = tokens
            .map(|alias| (alias.to_owned(), issued_token("token", Timestamp::UNIX_EPOCH)))
            .collect();
        let answers = self.requests().map(|(alias, _)| alias);
        issued.extend(answers.map(|alias| (alias.to_owned(), issued_answer("answer", Timestamp::UNIX_EPOCH))));
        issued.extend(certificate.map(|alias| {
            let ca = self.authority.as_ref().map(|_| "ca");
            let value = issued_certificate("certificate", Timestamp::UNIX_EPOCH, ca);
            (alias.to_owned(), value)
        }));
        issued
    }

    /// The inputs that the payload uses, without their versions, which change with every write to them.
    fn used(&self) -> Value {
        let texts = self.spec.payload.values();
        let references: Vec<_> = texts
            .filter_map(|text| Text::parse(text).ok())
            .flat_map(|text| text.references())
            .filter(|reference| reference.variable == INPUTS)
            .collect();
        let is_used = |alias: &str| {
            let mut members = references.iter().map(|reference| reference.member.as_deref());
            members.any(|member| member.is_none_or(|member| member == alias))
        };
        let Some(Value::Map(inputs)) = self.scope.extra.get(INPUTS) else {
            return Value::Null;
        };
        let used = inputs.iter().filter(|(alias, _)| is_used(alias));
        used.map(|(alias, value)| (alias.clone(), without_version(value.clone())))
            .collect()
    }
}

/// Length-prefixed parts.
#[derive(Default)]
struct Basis(Vec<u8>);

impl Basis {
    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
    }
}

fn without_version(mut value: Value) -> Value {
    match &mut value {
        Value::List(objects) => {
            for object in objects {
                *object = without_version(std::mem::take(object));
            }
        }
        Value::Map(object) => {
            if let Some(Value::Map(metadata)) = object.get_mut("metadata") {
                metadata.remove("resourceVersion");
            }
        }
        _ => {}
    }
    value
}

/// No certificate is issued for users and groups of Kubernetes itself: they have rights that nobody granted for this.
fn must_be_ordinary(subject: &Subject) -> Result<(), Bad> {
    let names = std::iter::once(&subject.common_name).chain(&subject.organizations);
    let mut reserved = names.filter(|name| name.starts_with(RESERVED));
    let Some(name) = reserved.next() else {
        return Ok(());
    };
    let message = format!(
        "no certificate is issued for {name:?}: names that start with {RESERVED} belong to Kubernetes itself; choose \
         another commonName or organization in the profile, and grant it what is needed by RBAC"
    );
    Err(Bad::new(SourceReady::IssueDenied, message))
}
