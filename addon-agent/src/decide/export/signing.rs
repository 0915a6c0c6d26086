//! What is to be done about the `CertificateSigningRequest` of one receiver.
use exchange::{
    certificate::{self, Checked},
    refresh::{Policy, renew_after},
    rights::CLIENT_SIGNER,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;
use peering_api::names;

/// What a client certificate is used for: what the API server's client signer takes.
const USAGES: [&str; 2] = ["client auth", "digital signature"];
/// Waits between two looks at a request that is not signed yet: half of what it has waited already, within these bounds.
const WAITS: (SignedDuration, SignedDuration) = (SignedDuration::from_millis(250), SignedDuration::from_secs(30));

/// What a receiver wants to have signed.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Name of the object.
    pub name: String,
    /// Name of the Peering.
    pub peering: &'a str,
    /// Id of the link.
    pub link: &'a str,
    /// The request, as it was checked (PEM).
    pub pem: &'a str,
    /// The same, checked.
    pub checked: &'a Checked,
    /// Wanted lifetime in seconds.
    pub lifetime: i64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is made.
    Create,
    /// It is approved.
    Approve,
    /// The signer is waited for, since this time.
    Wait(Timestamp),
    /// The certificate is there: the chain, and when it expires.
    Take(String, Timestamp),
    /// The object with this uid is of an earlier round, and goes first.
    Replace(String),
    /// There will be no certificate.
    Refused(String),
}

/// The object that is made.
#[must_use]
pub fn object(wanted: &Wanted<'_>) -> CertificateSigningRequest {
    let labels = [
        (names::PEERING_LABEL.to_owned(), wanted.peering.to_owned()),
        (names::LINK_LABEL.to_owned(), wanted.link.to_owned()),
    ];
    CertificateSigningRequest {
        metadata: ObjectMeta {
            name: Some(wanted.name.clone()),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(wanted.pem.as_bytes().to_vec()),
            signer_name: CLIENT_SIGNER.to_owned(),
            usages: Some(USAGES.map(str::to_owned).into()),
            expiration_seconds: i32::try_from(wanted.lifetime).ok(),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    }
}

/// Decides what to do, given what stands under the name.
///
/// Only an object that asks for exactly what was checked is approved: whoever may create such objects could have taken the
/// name to ask for another user.
#[must_use]
pub fn step(wanted: &Wanted<'_>, seen: Option<&CertificateSigningRequest>, policy: &Policy, now: Timestamp) -> Step {
    let Some(seen) = seen else {
        return Step::Create;
    };
    let name = &wanted.name;
    let ours = seen.labels().get(names::LINK_LABEL).map(String::as_str) == Some(wanted.link);
    if !asks_for_the_same(seen, wanted) {
        return match seen.uid() {
            Some(uid) if ours => Step::Replace(uid),
            _ => Step::Refused(format!(
                "CertificateSigningRequest {name} exists and asks for something else, so it is not approved: delete it"
            )),
        };
    }
    for type_ in ["Denied", "Failed"] {
        if let Some(reason) = reason_of(seen, type_) {
            return Step::Refused(format!(
                "CertificateSigningRequest {name} is {type_} ({reason}): see it for the cause; it is asked for again once \
                 it is deleted"
            ));
        }
    }
    let chain = seen.status.as_ref().and_then(|status| status.certificate.as_ref());
    if let Some(chain) = chain {
        return take(wanted, seen, &chain.0, policy, now);
    }
    if reason_of(seen, "Approved").is_none() {
        return Step::Approve;
    }
    Step::Wait(seen.creation_timestamp().map_or(now, |time| time.0))
}

fn take(wanted: &Wanted<'_>, seen: &CertificateSigningRequest, chain: &[u8], policy: &Policy, now: Timestamp) -> Step {
    let name = &wanted.name;
    let chain = String::from_utf8_lossy(chain).into_owned();
    match certificate::issued(&chain, wanted.checked.key()) {
        Err(error) => Step::Refused(format!("CertificateSigningRequest {name}: {error}; see its signer")),
        // What an earlier round left behind is about to expire itself.
        Ok(issued) if renew_after(issued.not_before, issued.not_after, policy, wanted.link) <= now => {
            seen.uid().map_or(Step::Create, Step::Replace)
        }
        Ok(issued) => Step::Take(chain, issued.not_after),
    }
}

fn asks_for_the_same(seen: &CertificateSigningRequest, wanted: &Wanted<'_>) -> bool {
    let (seen, wanted) = (&seen.spec, object(wanted).spec);
    seen.request == wanted.request
        && seen.signer_name == wanted.signer_name
        && seen.usages == wanted.usages
        && seen.expiration_seconds == wanted.expiration_seconds
}

fn reason_of(seen: &CertificateSigningRequest, type_: &str) -> Option<String> {
    let conditions = seen.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some(found.reason.clone().unwrap_or_default())
}

/// When to look again at a request that has waited since some time.
#[must_use]
pub fn again_at(since: Timestamp, now: Timestamp) -> Timestamp {
    let wait = (now.duration_since(since) / 2).clamp(WAITS.0, WAITS.1);
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use exchange::certificate::{Authority, Subject, Terms, Usage};
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::fixtures::{authority, now};

    const LINK: &str = "1244d3bc6c53866b576a23659f450d97";

    struct Fixture {
        pem: String,
        checked: Checked,
        authority: Authority,
    }

    impl Fixture {
        fn new() -> Self {
            let subject = Subject {
                common_name: "peer:west".into(),
                ..Subject::default()
            };
            let key = rcgen::KeyPair::generate().unwrap().serialize_pem().into_bytes().into();
            let pem = certificate::request(&key, &subject).unwrap();
            let (certificate, key) = authority("root");
            Self {
                checked: certificate::check(&pem, &subject).unwrap(),
                authority: Authority::read(&certificate, &key.into_bytes().into()).unwrap(),
                pem,
            }
        }

        fn wanted(&self) -> Wanted<'_> {
            Wanted {
                name: "csr".into(),
                peering: "p",
                link: LINK,
                pem: &self.pem,
                checked: &self.checked,
                lifetime: 600,
            }
        }

        fn chain(&self, at: Timestamp) -> String {
            let terms = Terms {
                usage: Usage::Client,
                lifetime: std::time::Duration::from_mins(10),
                now: at,
                serial: [7; 16],
            };
            self.authority.sign(&self.checked, &terms).unwrap()
        }

        /// The object as it stands in the cluster, with some of it changed.
        fn seen(&self, change: impl Fn(&mut Value)) -> CertificateSigningRequest {
            let mut seen = serde_json::to_value(object(&self.wanted())).unwrap();
            seen["metadata"]["uid"] = "u".into();
            seen["metadata"]["creationTimestamp"] = "2026-11-20T23:59:00Z".into();
            seen["status"] = json!({"conditions": []});
            change(&mut seen);
            serde_json::from_value(seen).unwrap()
        }

        fn step(&self, change: impl Fn(&mut Value)) -> Step {
            step(&self.wanted(), Some(&self.seen(change)), &Policy::default(), now())
        }
    }

    fn condition(type_: &'static str) -> impl Fn(&mut Value) {
        move |seen| seen["status"]["conditions"] = json!([{"type": type_, "status": "True", "reason": "R"}])
    }

    fn chain(chain: &str) -> impl Fn(&mut Value) + use<> {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let chain = BASE64_STANDARD.encode(chain);
        move |seen| {
            condition("Approved")(seen);
            seen["status"]["certificate"] = json!(chain);
        }
    }

    #[test]
    fn a_request_is_made_approved_awaited_and_taken() {
        let fixture = Fixture::new();
        assert_eq!(step(&fixture.wanted(), None, &Policy::default(), now()), Step::Create);
        assert_eq!(fixture.step(|_| {}), Step::Approve);
        let created = "2026-11-20T23:59:00Z".parse().unwrap();
        assert_eq!(fixture.step(condition("Approved")), Step::Wait(created));
        let signed = fixture.chain(now());
        let Step::Take(taken, expires) = fixture.step(chain(&signed)) else {
            panic!("it is not taken");
        };
        assert_eq!((taken, expires), (signed, now() + SignedDuration::from_mins(10)));
    }

    #[test]
    fn a_request_for_somebody_else_is_never_approved() {
        let fixture = Fixture::new();
        let other = Fixture::new().pem;
        let changes: [&dyn Fn(&mut Value); 4] = [
            &|seen| seen["spec"]["request"] = json!(serde_json::to_value(ByteString(other.clone().into())).unwrap()),
            &|seen| seen["spec"]["signerName"] = "example.com/other".into(),
            &|seen| seen["spec"]["usages"] = json!(["client auth", "server auth"]),
            &|seen| seen["spec"]["expirationSeconds"] = 999_999.into(),
        ];
        for change in changes {
            assert_eq!(
                fixture.step(change),
                Step::Replace("u".into()),
                "ours of an earlier round goes"
            );
            let theirs = fixture.step(|seen| {
                change(seen);
                seen["metadata"]["labels"] = json!({});
            });
            assert!(matches!(&theirs, Step::Refused(why) if why.contains("csr exists and asks for something else")));
        }
    }

    #[test]
    fn what_is_denied_or_not_for_the_key_is_told() {
        let fixture = Fixture::new();
        for type_ in ["Denied", "Failed"] {
            let step = fixture.step(condition(type_));
            assert!(
                matches!(&step, Step::Refused(why) if why.contains(&format!("csr is {type_} (R)"))),
                "{step:?}"
            );
        }
        let other = Fixture::new().chain(now());
        let step = fixture.step(chain(&other));
        assert!(
            matches!(&step, Step::Refused(why) if why.contains("is for key")),
            "{step:?}"
        );
    }

    #[test]
    fn what_an_earlier_round_left_behind_is_asked_for_anew() {
        let fixture = Fixture::new();
        let old = fixture.chain(now() - SignedDuration::from_mins(9));
        assert_eq!(fixture.step(chain(&old)), Step::Replace("u".into()));
    }

    #[test]
    fn the_longer_it_takes_the_less_often_it_is_looked_at() {
        let waits = [0, 1, 10, 1000].map(|age| {
            let at = again_at(now() - SignedDuration::from_secs(age), now());
            at.duration_since(now()).as_millis()
        });
        assert_eq!(waits, [250, 500, 5000, 30_000]);
    }
}
