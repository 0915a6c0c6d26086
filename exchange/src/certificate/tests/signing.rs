//! Certificates by a CA that we hold, judged by webpki.
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::{extensions::ParsedExtension, prelude::*};

use super::*;

const HOUR: Duration = Duration::from_hours(1);
const DIRECTORY_CA: &str = include_str!("../fixtures/directory-ca.crt");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2027-01-01T12:00:00Z")
}

fn terms(usage: Usage) -> Terms {
    Terms {
        usage,
        lifetime: HOUR * 24,
        now: now(),
        serial: [0xff; 16],
    }
}

/// What makes a CA that is valid from 2020 until 2030.
fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

/// Certificate and private key of a self-signed CA.
fn new_ca(algorithm: Algorithm, change: impl FnOnce(&mut CertificateParams)) -> (String, Sensitive) {
    let key = new_key(algorithm);
    let mut params = ca_params("ca");
    change(&mut params);
    (params.self_signed(&pair(&key)).unwrap().pem(), key)
}

fn pair(key: &Sensitive) -> KeyPair {
    match PrivateKeyDer::from_pem_slice(key.expose()).unwrap() {
        PrivateKeyDer::Pkcs1(key) => {
            let wrapped = spki::pkcs8(Algorithm::Rsa, key.secret_pkcs1_der());
            KeyPair::try_from(wrapped.as_slice()).unwrap()
        }
        key => KeyPair::try_from(&key).unwrap(),
    }
}

fn checked(key: &Sensitive, subject: &Subject) -> Checked {
    check(&request(key, subject).unwrap(), subject).unwrap()
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates.map(Result::unwrap).collect()
}

/// Whether a TLS peer that trusts `root` takes the chain, for this use, at this time, under this name.
fn trusted(chain: &str, root: &str, usage: KeyUsage, time: Timestamp, name: Option<&str>) -> Result<(), webpki::Error> {
    let (chain, root) = (certificates(chain), certificates(root));
    let anchor = webpki::anchor_from_trusted_cert(&root[0]).unwrap();
    let leaf = EndEntityCert::try_from(&chain[0]).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(time.as_second().unsigned_abs()));
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(algorithms, &[anchor], &chain[1..], time, usage, None, None)?;
    let name = name.map(|name| ServerName::try_from(name).unwrap());
    name.map_or(Ok(()), |name| leaf.verify_is_valid_for_subject_name(&name))
}

#[test]
fn every_kind_of_ca_and_key_gives_certificates_that_verify() {
    let kinds = [Algorithm::P256, Algorithm::P384, Algorithm::Ed25519, Algorithm::Rsa];
    for ca_kind in kinds {
        let (certificate, ca_key) = new_ca(ca_kind, |_| {});
        let ca = Authority::read(&certificate, &ca_key).unwrap();
        for kind in kinds {
            let key = new_key(kind);
            let request = checked(&key, &server());
            for (usage, client, server) in [
                (Usage::Client, true, false),
                (Usage::Server, false, true),
                (Usage::ClientAndServer, true, true),
            ] {
                let chain = ca.sign(&request, &terms(usage)).unwrap();
                let as_client = trusted(&chain, &certificate, KeyUsage::client_auth(), now(), None);
                let as_server = trusted(
                    &chain,
                    &certificate,
                    KeyUsage::server_auth(),
                    now(),
                    Some("a.example.com"),
                );
                let found = (as_client.is_ok(), as_server.is_ok());
                assert_eq!(
                    found,
                    (client, server),
                    "{ca_kind:?} {kind:?} {usage:?}: {as_client:?} {as_server:?}"
                );
                assert!(issued(&chain, &PublicKey::of_private(&key).unwrap()).is_ok());
            }
        }
    }
}

fn subject_key_id(certificate: &X509Certificate<'_>) -> Vec<u8> {
    let mut ids = certificate
        .extensions()
        .iter()
        .filter_map(|one| match one.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
    ids.next().unwrap()
}

#[test]
fn a_certificate_says_what_was_expected_and_nothing_else() {
    let (certificate, ca_key) = new_ca(Algorithm::P256, |_| {});
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let chain = ca.sign(&checked(&secret(RSA_PKCS1), &server()), &terms(Usage::Client));
    let (issuer, leaf) = (certificates(&certificate), certificates(&chain.unwrap()));
    let (_, issuer) = X509Certificate::from_der(&issuer[0]).unwrap();
    let (rest, leaf) = X509Certificate::from_der(&leaf[0]).unwrap();
    assert!(rest.is_empty());
    leaf.verify_signature(Some(issuer.public_key())).unwrap();
    assert_eq!(leaf.version(), X509Version::V3);
    assert_eq!(leaf.subject().to_string(), "O=group-a, O=group-b, CN=system:peer:west");
    assert_eq!(leaf.issuer().as_raw(), issuer.subject().as_raw());
    assert_eq!(
        leaf.tbs_certificate.raw_serial(),
        [&[0][..], &[0xff; 16]].concat(),
        "positive"
    );
    let ids = leaf.extensions().iter().map(|one| (one.oid.to_string(), one.critical));
    let expected = [
        ("2.5.29.35", false),
        ("2.5.29.14", false),
        ("2.5.29.15", true),
        ("2.5.29.37", false),
        ("2.5.29.19", true),
        ("2.5.29.17", false),
    ];
    assert_eq!(
        ids.collect::<Vec<_>>(),
        expected.map(|(id, critical)| (id.to_owned(), critical))
    );
    assert!(!leaf.is_ca());
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.to_string(), "Digital Signature, Key Encipherment");
    let ParsedExtension::AuthorityKeyIdentifier(above) = leaf.extensions()[0].parsed_extension() else {
        panic!("the first extension is the authority key id");
    };
    assert_eq!(above.key_identifier.as_ref().unwrap().0, subject_key_id(&issuer));
    assert_ne!(subject_key_id(&leaf), subject_key_id(&issuer));
}

#[test]
fn names_of_all_kinds_are_certified() {
    let (certificate, ca_key) = new_ca(Algorithm::P256, |_| {});
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let chain = ca
        .sign(&checked(&secret(ED25519), &server()), &terms(Usage::Server))
        .unwrap();
    for (name, valid) in [
        ("a.example.com", true),
        ("b.example.com", true),
        ("c.example.com", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("2001:db8::7", true),
        ("2001:db8::8", false),
    ] {
        let found = trusted(&chain, &certificate, KeyUsage::server_auth(), now(), Some(name));
        assert_eq!(found.is_ok(), valid, "{name}: {found:?}");
    }
}

#[test]
fn a_ca_with_repeated_attributes_in_its_name_keeps_the_chain_whole() {
    let ca = Authority::read(DIRECTORY_CA, &secret(P256_SEC1)).unwrap();
    let chain = ca
        .sign(&checked(&secret(ED25519), &client()), &terms(Usage::Client))
        .unwrap();
    assert_eq!(
        trusted(&chain, DIRECTORY_CA, KeyUsage::client_auth(), now(), None),
        Ok(())
    );
}

#[test]
fn an_intermediate_travels_with_the_certificate_and_the_root_does_not() {
    let (root, root_key) = new_ca(Algorithm::P384, |_| {});
    let issuer = Issuer::from_ca_cert_pem(&root, pair(&root_key)).unwrap();
    let key = new_key(Algorithm::P256);
    let middle = ca_params("middle").signed_by(&pair(&key), &issuer).unwrap().pem();
    let ca = Authority::read(&format!("{middle}{root}"), &key).unwrap();
    let chain = ca
        .sign(&checked(&secret(ED25519), &client()), &terms(Usage::Client))
        .unwrap();
    assert_eq!(certificates(&chain)[1..], certificates(&middle));
    assert_eq!(trusted(&chain, &root, KeyUsage::client_auth(), now(), None), Ok(()));
}

#[test]
fn validity() {
    let (certificate, ca_key) = new_ca(Algorithm::P256, |_| {});
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let request = checked(&secret(ED25519), &client());
    // Now, lifetime; from when until when it is valid.
    for (now, lifetime, not_before, not_after) in [
        (
            "2027-01-01T12:00:00Z",
            HOUR * 24,
            "2027-01-01T11:55:00Z",
            "2027-01-02T12:00:00Z",
        ),
        (
            "2027-01-01T12:00:00.9Z",
            HOUR,
            "2027-01-01T11:55:00Z",
            "2027-01-01T13:00:00Z",
        ),
        (
            "2027-01-01T12:00:00Z",
            MIN_LIFETIME,
            "2027-01-01T11:55:00Z",
            "2027-01-01T12:10:00Z",
        ),
        (
            "2029-12-31T12:00:00Z",
            HOUR * 24,
            "2029-12-31T11:55:00Z",
            "2030-01-01T00:00:00Z",
        ),
        (
            "2029-12-31T12:00:00Z",
            Duration::MAX,
            "2029-12-31T11:55:00Z",
            "2030-01-01T00:00:00Z",
        ),
        (
            "2020-01-01T00:00:00Z",
            HOUR,
            "2020-01-01T00:00:00Z",
            "2020-01-01T01:00:00Z",
        ),
        (
            "2020-01-01T00:03:00Z",
            HOUR,
            "2020-01-01T00:00:00Z",
            "2020-01-01T01:03:00Z",
        ),
    ] {
        let terms = Terms {
            lifetime,
            now: at(now),
            ..terms(Usage::Client)
        };
        let found = issued(&ca.sign(&request, &terms).unwrap(), request.key()).unwrap();
        let expected = (at(not_before), at(not_after));
        assert_eq!((found.not_before, found.not_after), expected, "{now} {lifetime:?}");
    }
}

#[test]
fn terms_that_are_refused() {
    let (certificate, ca_key) = new_ca(Algorithm::P256, |_| {});
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let request = checked(&secret(ED25519), &client());
    let out_of_time = |now: &str| AuthorityError::NotValid {
        from: at("2020-01-01T00:00:00Z"),
        until: at("2030-01-01T00:00:00Z"),
        now: at(now),
    };
    for (now, lifetime, serial, expected) in [
        ("2019-12-31T23:59:59Z", HOUR, 1, out_of_time("2019-12-31T23:59:59Z")),
        ("2030-01-01T00:00:00Z", HOUR, 1, out_of_time("2030-01-01T00:00:00Z")),
        ("2027-01-01T12:00:00Z", HOUR / 7, 1, AuthorityError::Lifetime(HOUR / 7)),
        ("2027-01-01T12:00:00Z", HOUR, 0, AuthorityError::Serial),
    ] {
        let terms = Terms {
            usage: Usage::Client,
            lifetime,
            now: at(now),
            serial: [serial; 16],
        };
        assert_eq!(ca.sign(&request, &terms), Err(expected));
    }
}

#[test]
fn times_after_2049_are_written_in_the_long_form() {
    let until_2100 = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let (certificate, ca_key) = new_ca(Algorithm::P256, until_2100);
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let request = checked(&secret(ED25519), &client());
    for (now, not_after) in [
        ("2049-12-31T12:00:00Z", "2050-01-01T12:00:00Z"),
        ("2060-01-01T00:00:00Z", "2060-01-02T00:00:00Z"),
    ] {
        let terms = Terms {
            now: at(now),
            ..terms(Usage::Client)
        };
        let chain = ca.sign(&request, &terms).unwrap();
        assert_eq!(issued(&chain, request.key()).unwrap().not_after, at(not_after));
        let found = trusted(&chain, &certificate, KeyUsage::client_auth(), at(now), None);
        assert_eq!(found, Ok(()), "{now}");
    }
}

#[test]
fn what_is_not_a_ca_is_refused() {
    let (good, key) = new_ca(Algorithm::P256, |_| {});
    let (other, other_key) = new_ca(Algorithm::P256, |_| {});
    let (leaf, leaf_key) = new_ca(Algorithm::P256, |params| params.is_ca = IsCa::NoCa);
    let (explicit, explicit_key) = new_ca(Algorithm::P256, |params| params.is_ca = IsCa::ExplicitNoCa);
    let signs = |params: &mut CertificateParams| params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let (signer, signer_key) = new_ca(Algorithm::P256, signs);
    let broken = other.replacen("MII", "MIH", 1);
    let request = include_str!("../fixtures/rsa-2048.csr").to_owned();
    let unreadable = "the CA's certificate cannot be read";
    let no_ca = "the certificate of CN=ca cannot issue others: expected a CA certificate (basic constraints CA:TRUE)";
    let no_signer = "the certificate of CN=ca cannot issue others: expected a CA certificate whose key usage has";
    for (name, certificate, key, expected) in [
        ("nothing", String::new(), &key, unreadable),
        ("a request", request, &key, unreadable),
        ("broken", broken.clone(), &other_key, unreadable),
        ("a broken one behind", format!("{good}{broken}"), &key, unreadable),
        ("a leaf", leaf, &leaf_key, no_ca),
        ("an explicit leaf", explicit, &explicit_key, no_ca),
        ("no right to sign", signer, &signer_key, no_signer),
        (
            "another key",
            good.clone(),
            &other_key,
            "the CA's private key (public half ",
        ),
        (
            "another CA first",
            format!("{other}{good}"),
            &key,
            "the CA's private key (public half ",
        ),
        ("no key", good.clone(), &secret(&good), "the CA's key cannot be used"),
    ] {
        let error = Authority::read(&certificate, key).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{name}: {error}");
    }
    assert!(Authority::read(&good, &key).is_ok() && Authority::read(&other, &other_key).is_ok());
}

#[test]
fn what_was_issued_must_belong_to_the_key() {
    let (certificate, ca_key) = new_ca(Algorithm::P256, |_| {});
    let ca = Authority::read(&certificate, &ca_key).unwrap();
    let public = |key: &Sensitive| PublicKey::of_private(key).unwrap();
    let (mine, other) = (new_key(Algorithm::P256), public(&new_key(Algorithm::P256)));
    let chain = ca.sign(&checked(&mine, &client()), &terms(Usage::Client)).unwrap();
    let found = issued(&chain, &public(&mine)).unwrap();
    let parsed = crate::ca::parse(chain.as_bytes()).certificates;
    assert_eq!(
        (found.fingerprint, found.not_after),
        (parsed[0].fingerprint.clone(), parsed[0].not_after)
    );
    let refused = |expected: &PublicKey, seen: &PublicKey| {
        Err(IssuedError::OtherKey {
            expected: expected.fingerprint(),
            seen: seen.fingerprint(),
        })
    };
    assert_eq!(issued(&chain, &other), refused(&other, &public(&mine)));
    let reversed = format!("{certificate}{chain}");
    assert_eq!(
        issued(&reversed, &public(&mine)),
        refused(&public(&mine), &public(&ca_key))
    );
    let bad_block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("nothing", String::new()),
        ("text", "hello".to_owned()),
        ("a request", request(&mine, &client()).unwrap()),
        ("broken", chain.replacen("MII", "MIH", 1)),
        ("a broken one behind", format!("{chain}{bad_block}")),
    ] {
        assert_eq!(
            issued(&text, &public(&mine)),
            Err(IssuedError::NotACertificate),
            "{name}"
        );
    }
}
