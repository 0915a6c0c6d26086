//! CA bundles: reading PEM that people have edited by hand, and the union of what several clusters trust.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use peering_api::names::hex;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// One valid certificate of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Lower-case hex SHA-256 of the DER form.
    pub fingerprint: String,
    /// Subject, for people.
    pub subject: String,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// True if it may sign other certificates (basic constraints).
    pub is_ca: bool,
    /// The PEM block, lines normalised.
    pub pem: String,
}

/// A block of a bundle that is not a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Position among the blocks of the bundle, from 1.
    pub position: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What was found in a PEM text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The valid certificates, in order of appearance, each once.
    pub certificates: Vec<Certificate>,
    /// The blocks that could not be read.
    pub malformed: Vec<Malformed>,
}

/// Reads all certificates of a PEM text. A malformed block is named and does not keep the others out; text between
/// blocks (comments) and blocks of other types are skipped.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let text = String::from_utf8_lossy(bytes);
    let mut parsed = Parsed::default();
    let mut seen = BTreeSet::new();
    for (index, block) in text.split(BEGIN).skip(1).enumerate() {
        match certificate(block) {
            Ok(certificate) if seen.insert(certificate.fingerprint.clone()) => parsed.certificates.push(certificate),
            Ok(_) => {}
            Err(problem) => parsed.malformed.push(Malformed {
                position: index + 1,
                problem,
            }),
        }
    }
    parsed
}

/// Reads what follows one BEGIN line.
fn certificate(block: &str) -> Result<Certificate, &'static str> {
    let Some((body, _)) = block.split_once(END) else {
        return Err("its END line is missing");
    };
    let der = CertificateDer::from_pem_slice(format!("{BEGIN}{body}{END}\n").as_bytes())
        .map_err(|_| "it is not valid base64")?;
    let (rest, x509) = X509Certificate::from_der(&der).map_err(|_| "it is not an X.509 certificate")?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate");
    }
    let (not_before, not_after) = validity(&x509);
    let body = body
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    Ok(Certificate {
        fingerprint: hex(&Sha256::digest(&der)),
        subject: x509.subject().to_string(),
        not_before,
        not_after,
        is_ca: x509.is_ca(),
        pem: format!("{BEGIN}\n{body}\n{END}\n"),
    })
}

/// From when until when a certificate is valid. Saturates: one without an end carries the last second of the year 9999
/// (RFC 5280, 4.1.2.5), which is past what [`Timestamp`] can tell.
#[must_use]
pub fn validity(certificate: &X509Certificate<'_>) -> (Timestamp, Timestamp) {
    let saturated = |seconds: i64| {
        let limit = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_second(seconds).unwrap_or(limit)
    };
    let validity = certificate.validity();
    (
        saturated(validity.not_before.timestamp()),
        saturated(validity.not_after.timestamp()),
    )
}

/// The union of what members hand over and what stands in the target already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Union {
    /// The bundle: sorted by subject and fingerprint, each certificate once.
    pub pem: String,
    /// Fingerprints of the certificates that are there because of the members, retiring ones included.
    pub ours: BTreeSet<String>,
    /// How many certificates were left out because they have expired.
    pub expired: usize,
    /// Those of ours that members no longer hand over, and until when they stay: for the next pass.
    pub retiring: BTreeMap<String, Timestamp>,
    /// When the union is to be formed again: the first of the members' certificates expires, or the first retiring one
    /// leaves.
    pub next_change: Option<Timestamp>,
}

/// Unites the members' certificates with the foreign ones in the target.
///
/// `before` are the fingerprints that earlier passes put into the target. Everything else in the target is foreign and
/// kept. Of those before, what members no longer hand over is retiring: it stays for `overlap` from when it was first
/// seen missing, since servers and clients change over one after another. Our certificates that have expired are dropped
/// in any case.
///
/// `retiring` is what the pass before returned. A time in it that has passed takes the certificate out at once, for a
/// member that has been withdrawn. A shorter overlap than then counts at once too, a longer one does not.
#[must_use]
pub fn unite(
    members: &[Certificate],
    target: &[Certificate],
    before: &BTreeSet<String>,
    retiring: &BTreeMap<String, Timestamp>,
    overlap: Option<Duration>,
    now: Timestamp,
) -> Union {
    let (standing, foreign): (Vec<_>, Vec<_>) = target.iter().partition(|one| before.contains(&one.fingerprint));
    let foreign = sorted(foreign);
    let (live, dead): (Vec<_>, Vec<_>) = members.iter().partition(|certificate| certificate.not_after > now);
    let (live, dead) = (sorted(live), sorted(dead));
    let missing = standing.into_iter().filter(|one| !live.contains_key(&sort_key(one)));
    let latest = now.checked_add(overlap.unwrap_or_default()).unwrap_or(Timestamp::MAX);
    let (kept, retiring) = retire(missing, retiring, latest, now);
    let next_change = live
        .values()
        .map(|one| one.not_after)
        .chain(retiring.values().copied())
        .min();
    // A certificate that was there before us stays foreign: it must outlive the link.
    let ours = live.keys().filter(|key| !foreign.contains_key(*key)).chain(kept.keys());
    let ours = ours.map(|(_, fingerprint)| (*fingerprint).to_owned()).collect();
    let all: BTreeMap<_, _> = foreign.into_iter().chain(live).chain(kept).collect();
    Union {
        pem: all.into_values().map(|certificate| certificate.pem.as_str()).collect(),
        ours,
        expired: dead.len(),
        retiring,
        next_change,
    }
}

type Sorted<'a> = BTreeMap<(&'a str, &'a str), &'a Certificate>;

/// Of the certificates that are no longer handed over: those that stay for now, and until when. The end is fixed when a
/// certificate is first seen missing and never moves back, so that every retirement ends.
fn retire<'a>(
    missing: impl Iterator<Item = &'a Certificate>,
    retiring: &BTreeMap<String, Timestamp>,
    latest: Timestamp,
    now: Timestamp,
) -> (Sorted<'a>, BTreeMap<String, Timestamp>) {
    let until = |one: &Certificate| {
        let stated = retiring.get(&one.fingerprint).copied().unwrap_or(latest);
        stated.min(latest).min(one.not_after)
    };
    let kept: Vec<_> = missing.filter(|one| until(one) > now).collect();
    let ends = kept.iter().map(|one| (one.fingerprint.clone(), until(one))).collect();
    (sorted(kept), ends)
}

/// Sorted as they stand in the bundle, each once.
fn sorted(certificates: Vec<&Certificate>) -> Sorted<'_> {
    certificates.into_iter().map(|one| (sort_key(one), one)).collect()
}

fn sort_key(certificate: &Certificate) -> (&str, &str) {
    (&certificate.subject, &certificate.fingerprint)
}

#[cfg(test)]
mod overlap_tests;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A self-signed CA that ends in the given year.
    pub(crate) fn ca(name: &str, until: i32) -> String {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    pub(crate) fn one(pem: &str) -> Certificate {
        parse(pem.as_bytes()).certificates.remove(0)
    }

    pub(crate) fn now() -> Timestamp {
        "2026-11-21T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_certificate_without_an_end_is_taken() {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        assert_eq!(one(&pem).not_after, Timestamp::MAX);
        let members = [one(&pem)];
        assert_eq!(
            unite(&members, &[], &BTreeSet::new(), &BTreeMap::new(), None, now())
                .pem
                .matches(BEGIN)
                .count(),
            1
        );
    }

    /// The union without an overlap window.
    fn at_once(members: &[Certificate], target: &[Certificate], before: &BTreeSet<String>, now: Timestamp) -> Union {
        unite(members, target, before, &BTreeMap::new(), None, now)
    }

    #[test]
    fn the_bad_one_is_named_and_the_rest_is_read() {
        let (a, b) = (ca("a", 2030), ca("b", 2031));
        let broken = format!("{BEGIN}\nAAAA\n{END}\n");
        let garbage = format!("{BEGIN}\n!!!\n{END}\n");
        let cut = format!("{BEGIN}\nAAAA\n");
        let parsed = parse(format!("# comment\n{a}{broken}{b}{garbage}{a}{cut}").as_bytes());
        assert_eq!(
            parsed
                .certificates
                .iter()
                .map(|c| c.subject.as_str())
                .collect::<Vec<_>>(),
            ["CN=a", "CN=b"]
        );
        assert_eq!(
            parsed.malformed.iter().map(|m| m.position).collect::<Vec<_>>(),
            [2, 4, 6]
        );
        assert_eq!(parsed.malformed[0].problem, "it is not an X.509 certificate");
        assert_eq!(parsed.malformed[2].problem, "its END line is missing");
    }

    #[test]
    fn windows_line_ends_give_the_same_certificate() {
        let a = ca("a", 2030);
        assert_eq!(one(&a), one(&a.replace('\n', "\r\n")));
    }

    #[test]
    fn union_is_sorted_deduplicated_and_stable() {
        let (a, b) = (one(&ca("a", 2030)), one(&ca("b", 2031)));
        let union = at_once(&[b.clone(), a.clone(), b.clone()], &[], &BTreeSet::new(), now());
        assert_eq!(union.pem, format!("{}{}", a.pem, b.pem));
        assert_eq!(
            union.ours,
            BTreeSet::from([a.fingerprint.clone(), b.fingerprint.clone()])
        );
        assert_eq!(union.next_change, Some(a.not_after));
        let written = parse(union.pem.as_bytes()).certificates;
        assert_eq!(
            at_once(&[a, b], &written, &union.ours, now()),
            union,
            "a second pass changes nothing"
        );
    }

    #[test]
    fn expired_ones_are_dropped_and_foreign_ones_kept() {
        let (live, dead, foreign) = (
            one(&ca("live", 2030)),
            one(&ca("dead", 2021)),
            one(&ca("foreign", 2021)),
        );
        let union = at_once(
            &[live.clone(), dead],
            std::slice::from_ref(&foreign),
            &BTreeSet::new(),
            now(),
        );
        assert_eq!(union.pem, format!("{}{}", foreign.pem, live.pem));
        assert_eq!(union.expired, 1);
        let after = at_once(&[], &parse(union.pem.as_bytes()).certificates, &union.ours, now());
        assert_eq!(after.pem, foreign.pem, "withdrawal takes out ours only");
    }

    #[test]
    fn what_was_there_before_us_stays_foreign() {
        let shared = one(&ca("shared", 2030));
        let union = at_once(
            &[shared.clone(), shared.clone()],
            std::slice::from_ref(&shared),
            &BTreeSet::new(),
            now(),
        );
        assert!(union.ours.is_empty());
        let after = at_once(&[], &parse(union.pem.as_bytes()).certificates, &union.ours, now());
        assert_eq!(after.pem, shared.pem);
    }

    #[test]
    fn a_certificate_that_a_member_no_longer_hands_over_leaves() {
        let (old, new) = (one(&ca("ca", 2030)), one(&ca("ca", 2031)));
        let first = at_once(std::slice::from_ref(&old), &[], &BTreeSet::new(), now());
        let target = parse(first.pem.as_bytes()).certificates;
        let second = at_once(std::slice::from_ref(&new), &target, &first.ours, now());
        assert_eq!(second.pem, new.pem);
    }
}
