//! What proves that a delivered thing works: the probes of a link with their texts filled, and what their results say.
//! When a probe runs and which of its runs counts is decided in [`exchange::probe`]; runs over the network are made in
//! [`crate::probe`].
use exchange::{
    expression::{Condition as Expression, ExpressionError, Scope, Text},
    probe::{self as judgement, Condition, Failure, History, Reason, Settings},
    state::Verdict,
};
use jiff::{SignedDuration, Timestamp};
use peering_api::{
    Sensitive, duration,
    peering::{ObjectProbe, ObjectRef, PeerLink, PeerLinkSpec, Probe, condition, reasons},
};

use super::{content::scope, group::Held, link::Said};
use crate::{
    probe::{
        self, Access, ApiAuth, Credential, Endpoint, Http, Loopback, S3, Tls, Url, Verb, http::EXPECTED, s3::REGION,
    },
    spoke::{Place, Seen, observed::normal},
};

/// A probe over the network, ready to run.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its position among the link's probes.
    pub index: usize,
    /// What is asked; or why it cannot be.
    pub probe: Result<probe::Probe, Failure>,
    /// When and how often.
    pub settings: Settings,
    /// The words for it in the profile: `tls`, `apiAuth`, `http` or `s3`.
    pub kind: &'static str,
    /// The condition that it decides on.
    pub condition: Condition,
    /// What is probed, for people.
    pub what: String,
}

/// A run of a probe that needs no network.
const AT_ONCE: Settings = Settings {
    interval: SignedDuration::from_mins(1),
    timeout: SignedDuration::from_secs(1),
    failure_threshold: 1,
    success_threshold: 1,
};

/// What an endpoint must show, for people.
fn expected(kind: &str) -> &'static str {
    match kind {
        "tls" => "a chain that the delivered CA certificates trust",
        "apiAuth" => "an API server that takes the delivered credential",
        "http" => "an answer as the profile asks for it",
        "s3" => "a bucket that the delivered keys may list",
        _ => "a state as the profile asks for it",
    }
}

fn settings(probe: &Probe) -> Settings {
    let parse = |text: &str| {
        duration::parse(text)
            .ok()
            .and_then(|wait| SignedDuration::try_from(wait).ok())
    };
    Settings {
        interval: parse(&probe.interval).unwrap_or(SignedDuration::from_mins(10)),
        timeout: parse(&probe.timeout).unwrap_or(SignedDuration::from_secs(10)),
        failure_threshold: probe.failure_threshold,
        success_threshold: 1,
    }
}

/// The objects that probes of a link look at: what has to be watched.
pub fn places(link: &PeerLinkSpec) -> impl Iterator<Item = Place> {
    link.probes
        .iter()
        .filter_map(|probe| object_of(probe.object.as_ref()?))
        .map(normal)
}

/// Whether a link has probes that go over the network.
#[must_use]
pub fn asks_the_network(link: &PeerLinkSpec) -> bool {
    let asks =
        |probe: &Probe| probe.tls.is_some() || probe.api_auth.is_some() || probe.http.is_some() || probe.s3.is_some();
    link.probes.iter().any(asks)
}

fn object_of(probe: &ObjectProbe) -> Option<&ObjectRef> {
    probe.object.as_ref()
}

/// The probes of a link that go over the network.
#[must_use]
pub fn network(link: &PeerLinkSpec, held: &Held, loopback: Loopback) -> Vec<Network> {
    let scope = scope(link, &held.payload, held.certificate_key.as_ref());
    let texts = Texts {
        scope: &scope,
        bundle: held.bundle.as_ref(),
        loopback,
    };
    let network = link.probes.iter().enumerate().filter_map(|(index, probe)| {
        let (kind, condition, filled) = if let Some(tls) = &probe.tls {
            ("tls", Condition::Trusted, texts.tls(tls))
        } else if let Some(api) = &probe.api_auth {
            ("apiAuth", Condition::Connected, texts.api_auth(api))
        } else if let Some(http) = &probe.http {
            ("http", Condition::Connected, texts.http(http))
        } else {
            ("s3", Condition::Connected, texts.s3(probe.s3.as_ref()?))
        };
        let at = match &filled {
            Ok((at, _)) => at.clone(),
            Err(_) => format!("probes[{index}]"),
        };
        Some(Network {
            index,
            probe: filled.map(|(_, probe)| probe),
            settings: settings(probe),
            kind,
            condition,
            what: format!("{} -> {}: {kind} of {at}", link.to.cluster, link.from.cluster),
        })
    });
    network.collect()
}

/// Fills the texts of probes.
struct Texts<'a> {
    scope: &'a Scope,
    bundle: Option<&'a Sensitive>,
    loopback: Loopback,
}

/// What is asked, and whom, for people.
type Filled = Result<(String, probe::Probe), Failure>;

impl Texts<'_> {
    fn bytes(&self, field: &str, text: &str) -> Result<Sensitive, Failure> {
        let bytes = Text::parse(text).and_then(|text| text.evaluate(self.scope));
        bytes.map_err(|error| unfilled(field, &error))
    }

    fn optional(&self, field: &str, text: Option<&String>) -> Result<Option<Sensitive>, Failure> {
        text.map(|text| self.bytes(field, text)).transpose()
    }

    fn text(&self, field: &str, text: &str) -> Result<String, Failure> {
        let text = Text::parse(text).and_then(|text| text.resolve(self.scope));
        text.map_err(|error| unfilled(field, &error))
    }

    /// Certificates in PEM form. An empty text is one that was left out: parameters without a value are empty.
    fn certificates(&self, field: &str, text: Option<&String>) -> Result<Option<Sensitive>, Failure> {
        Ok(self.optional(field, text)?.filter(|pem| !pem.is_empty()))
    }

    fn tls(&self, tls: &peering_api::peering::TlsProbe) -> Filled {
        let address = self.text("tls.address", &tls.address)?;
        let endpoint = if address.contains("://") {
            Url::parse(&address).map(|url| url.endpoint().clone())
        } else {
            Endpoint::parse(&address)
        };
        let endpoint = endpoint.map_err(|failure| self::failure(&failure))?;
        let server_name = tls.server_name.as_ref();
        let server_name = server_name.map(|text| self.text("tls.serverName", text)).transpose()?;
        let bundle = self
            .certificates("tls.ca", tls.ca.as_ref())?
            .or_else(|| self.bundle.cloned());
        let bundle = bundle.ok_or_else(|| Failure {
            reason: Reason::ProbeFailed,
            seen: "expected CA certificates to trust, seen none".to_owned(),
            next: Some("set tls.ca in the ExchangeProfile".to_owned()),
        })?;
        let probe = probe::Probe::Tls(Tls {
            endpoint: endpoint.clone(),
            server_name,
            bundle,
            loopback: self.loopback,
        });
        Ok((endpoint.to_string(), probe))
    }

    fn api_auth(&self, api: &peering_api::peering::ApiAuthProbe) -> Filled {
        if let Some(kubeconfig) = &api.kubeconfig {
            let credential = Credential::Kubeconfig(self.bytes("apiAuth.kubeconfig", kubeconfig)?);
            let probe = probe::Probe::ApiAuth(ApiAuth {
                credential,
                loopback: self.loopback,
            });
            return Ok(("the delivered kubeconfig".to_owned(), probe));
        }
        let server = self.text("apiAuth.server", api.server.as_deref().unwrap_or_default())?;
        let server = Url::parse(&server).map_err(|failure| self::failure(&failure))?;
        let at = server.endpoint().to_string();
        let credential = Credential::Access(Access {
            server,
            server_name: None,
            bundle: self.certificates("apiAuth.ca", api.ca.as_ref())?,
            token: self.optional("apiAuth.token", api.token.as_ref())?,
            client: None,
        });
        let probe = probe::Probe::ApiAuth(ApiAuth {
            credential,
            loopback: self.loopback,
        });
        Ok((at, probe))
    }

    fn http(&self, http: &peering_api::peering::HttpProbe) -> Filled {
        let url = self.text("http.url", &http.url)?;
        let url = Url::parse(&url).map_err(|failure| self::failure(&failure))?;
        let at = url.endpoint().to_string();
        let bundle = self
            .certificates("http.ca", http.ca.as_ref())?
            .or_else(|| self.bundle.cloned());
        let probe = probe::Probe::Http(Http {
            verb: Verb::Get,
            url,
            expected: http.expect_status.map_or(EXPECTED, |status| status..=status),
            server_name: None,
            bundle,
            token: self.optional("http.token", http.token.as_ref())?,
            loopback: self.loopback,
        });
        Ok((at, probe))
    }

    fn s3(&self, s3: &peering_api::peering::S3Probe) -> Filled {
        let url = self.text("s3.endpoint", &s3.endpoint)?;
        let url = Url::parse(&url).map_err(|failure| self::failure(&failure))?;
        let at = url.endpoint().to_string();
        let region = s3
            .region
            .as_ref()
            .map(|text| self.text("s3.region", text))
            .transpose()?;
        let bundle = self
            .certificates("s3.ca", s3.ca.as_ref())?
            .or_else(|| self.bundle.cloned());
        let probe = probe::Probe::S3(S3 {
            url,
            bucket: self.text("s3.bucket", &s3.bucket)?,
            region: region.unwrap_or_else(|| REGION.to_owned()),
            access_key_id: self.bytes("s3.accessKeyId", &s3.access_key_id)?,
            secret_access_key: self.bytes("s3.secretAccessKey", &s3.secret_access_key)?,
            bundle,
            loopback: self.loopback,
        });
        Ok((at, probe))
    }
}

fn unfilled(field: &str, error: &ExpressionError) -> Failure {
    Failure {
        reason: Reason::ProbeFailed,
        seen: format!("{field}: {error}"),
        next: Some("correct the probe in the ExchangeProfile".to_owned()),
    }
}

/// A failed run over the network in the words of [`exchange::probe`].
#[must_use]
pub fn failure(failure: &probe::Failure) -> Failure {
    Failure {
        reason: match failure.reason {
            probe::Reason::Unreachable => Reason::Unreachable,
            probe::Reason::Unauthorized => Reason::Unauthorized,
            probe::Reason::CAMismatch | probe::Reason::NameMismatch => Reason::CaMismatch,
            probe::Reason::CAExpired => Reason::CaExpired,
            probe::Reason::Unhealthy | probe::Reason::Invalid => Reason::ProbeFailed,
        },
        seen: failure.seen.clone(),
        next: Some(failure.next.clone()),
    }
}

/// A probe that `Trusted` or `Connected` depends on.
struct Proof {
    condition: Condition,
    kind: &'static str,
    what: String,
    history: History,
}

/// What the conditions `Trusted` and `Connected` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// `Trusted`.
    pub trusted: Said<Verdict>,
    /// `Connected`.
    pub connected: Said<Verdict>,
}

/// Judges all probes of a link.
///
/// `ran` is what is known of the runs over the network, by position; `read` tells how an object was seen; `overlap_until`
/// is set while certificates stand that their sources have dropped.
#[must_use]
pub fn proofs(
    link: &PeerLink,
    network: &[Network],
    ran: &dyn Fn(usize) -> Option<History>,
    read: &dyn Fn(&Place) -> Seen,
    overlap_until: Option<Timestamp>,
    now: Timestamp,
) -> Proofs {
    let of_network = network.iter().map(|network| Proof {
        condition: network.condition,
        kind: network.kind,
        what: network.what.clone(),
        history: match &network.probe {
            Ok(_) => ran(network.index).unwrap_or_else(|| History::new(now)),
            Err(failure) => judgement::note(&History::new(now), &AT_ONCE, Err(failure.clone()), now),
        },
    });
    let of_objects = link.spec.probes.iter().filter_map(|probe| {
        let probe = probe.object.as_ref()?;
        let place = normal(object_of(probe)?);
        Some(Proof {
            condition: Condition::Connected,
            kind: "object",
            what: format!("{}: {place}", link.spec.to.cluster),
            history: match look(link, probe, &place, &read(&place)) {
                None => History::new(now),
                Some(result) => judgement::note(&History::new(now), &AT_ONCE, result, now),
            },
        })
    });
    let all: Vec<_> = of_network.chain(of_objects).collect();
    let judged = |of: Condition| {
        let last = said(link, of.as_str());
        let verdict = match (
            judge(of, &all, last.clone().map(without_overlap).as_ref())?,
            overlap_until,
        ) {
            (verdict, Some(until)) if of == Condition::Trusted && verdict.status == Some(true) => {
                overlapping(&verdict, until)
            }
            (verdict, _) => verdict,
        };
        Some(match last {
            // The agent has started anew and does not know since when: that is no news.
            Some(last) if judgement::same_but_since(&last, &verdict) => Said::Nothing,
            _ => Said::This(verdict),
        })
    };
    Proofs {
        trusted: judged(Condition::Trusted).unwrap_or(Said::Gone),
        connected: judged(Condition::Connected).unwrap_or(Said::Gone),
    }
}

fn overlapping(verdict: &Verdict, until: Timestamp) -> Verdict {
    Verdict {
        reason: reasons::Trusted::OverlapPending.as_str().to_owned(),
        message: format!("{}{STANDS} {until}", verdict.message),
        ..verdict.clone()
    }
}

/// What was said but for the overlap, which may have ended.
fn without_overlap(said: Verdict) -> Verdict {
    if said.reason != reasons::Trusted::OverlapPending.as_str() {
        return said;
    }
    let message = said.message.split(STANDS).next().unwrap_or_default();
    Verdict {
        reason: reasons::Trusted::Trusted.as_str().to_owned(),
        message: message.to_owned(),
        ..said
    }
}

/// What stands in front of the end of an overlap.
const STANDS: &str = "; CA certificates that their sources have dropped stay until";

/// Evaluates the expression of an object probe; `None` while the object's watch has not said anything.
fn look(link: &PeerLink, probe: &ObjectProbe, place: &Place, seen: &Seen) -> Option<Result<(), Failure>> {
    let failed = |reason, seen: String, next: &str| {
        Some(Err(Failure {
            reason,
            seen,
            next: Some(next.to_owned()),
        }))
    };
    let object = match seen {
        Seen::Pending => return None,
        Seen::Denied => {
            let next = "the right arrives with the ManifestWork of the Peering, and the namespace must exist";
            return failed(
                Reason::ProbeFailed,
                format!("expected to read {place}, which the agent may not"),
                next,
            );
        }
        Seen::Unknown | Seen::Absent => {
            let next = "create it or install its kind, or correct parameters or profile";
            return failed(Reason::NotSynced, format!("expected {place}, seen none"), next);
        }
        Seen::Present(object) => object,
    };
    let spec = &link.spec;
    let mut scope = Scope {
        params: spec.parameters.clone(),
        peering: spec.peering.clone(),
        source: spec.from.cluster.clone(),
        destination: Some(spec.to.cluster.clone()),
        ..Scope::default()
    };
    scope.extra.insert("self".to_owned(), object.value(place));
    let holds = Expression::parse(&probe.healthy).and_then(|expression| expression.holds(&scope));
    match holds {
        Ok(true) => Some(Ok(())),
        Ok(false) => {
            let shown = shown(probe, &scope).unwrap_or_else(|| "that it is not so".to_owned());
            let seen = format!("expected {}, seen {shown}", probe.healthy);
            let reason = if has_failed(probe, &scope) {
                Reason::ProbeFailed
            } else {
                Reason::NotSynced
            };
            failed(reason, seen, "see the status of the object")
        }
        // A status that is not filled in yet.
        Err(error) if error.is_missing() => {
            let seen = format!("expected {}, but {error}", probe.healthy);
            failed(Reason::NotSynced, seen, "see the status of the object")
        }
        Err(error) => {
            let next = "correct the expression in the ExchangeProfile";
            failed(Reason::ProbeFailed, format!("object.healthy: {error}"), next)
        }
    }
}

/// Whether the owner of an object has given up. What cannot be told is no failure.
fn has_failed(probe: &ObjectProbe, scope: &Scope) -> bool {
    let failed = probe.failed.as_ref().and_then(|text| Expression::parse(text).ok());
    failed.is_some_and(|failed| failed.holds(scope).unwrap_or(false))
}

/// What is told of an object that is not well, where the profile says what.
fn shown(probe: &ObjectProbe, scope: &Scope) -> Option<String> {
    let text = Text::parse(probe.shows.as_ref()?).ok()?;
    Some(probe::failure::shown(&text.resolve(scope).ok()?))
}

/// What the probes of a condition say; `None` without any.
fn judge(of: Condition, proofs: &[Proof], last: Option<&Verdict>) -> Option<Verdict> {
    let proofs: Vec<_> = proofs
        .iter()
        .filter(|proof| proof.condition == of)
        .map(|proof| judgement::Probe {
            what: &proof.what,
            expected: expected(proof.kind),
            history: &proof.history,
        })
        .collect();
    (!proofs.is_empty()).then(|| judgement::judge(of, &proofs, last))
}

/// What a condition says now.
fn said(link: &PeerLink, type_: &'static str) -> Option<Verdict> {
    let status = link.status.as_ref()?;
    let said = condition(&status.conditions, type_)?;
    let status = match said.status.as_str() {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    };
    Some(Verdict::new(type_, status, &said.reason, said.message.clone()))
}

#[cfg(test)]
#[path = "prove_tests.rs"]
mod tests;
