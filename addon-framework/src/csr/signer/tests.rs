//! CAs in all forms, and what of a request reaches its certificate.
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyUsagePurpose};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

use super::*;

const DAY: Duration = Duration::from_hours(24);
const HOST: &str = "hello.addon.open-cluster-management.io";

/// Keys and certificates by openssl: an RSA CA in PKCS#1 with two OUs, and a P-384 CA in SEC1.
const PKCS1: [&str; 2] = [
    include_str!("../fixtures/ca-pkcs1.crt.pem"),
    include_str!("../fixtures/ca-pkcs1.key.pem"),
];
const SEC1: [&str; 2] = [
    include_str!("../fixtures/ca-sec1.crt.pem"),
    include_str!("../fixtures/ca-sec1.key.pem"),
];

fn key(pem: &str) -> Sensitive {
    Sensitive::from(pem.as_bytes().to_vec())
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

/// Certificate and key (PKCS#8) of a CA.
fn ca(change: impl FnOnce(&mut CertificateParams)) -> [String; 2] {
    let (mut params, pair) = (ca_params(), KeyPair::generate().unwrap());
    change(&mut params);
    [params.self_signed(&pair).unwrap().pem(), pair.serialize_pem()]
}

fn signer(pems: [&str; 2]) -> Signer {
    Signer::read(pems[0], &key(pems[1]), DAY).unwrap()
}

fn refused(certificate: &str, private: &str) -> SignerError {
    Signer::read(certificate, &key(private), DAY).unwrap_err()
}

fn subject() -> Subject {
    Subject {
        user: "u1".into(),
        groups: vec!["g1".into(), "g2".into(), "g3".into()],
        organization_units: vec!["ou1".into(), "ou2".into()],
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-06-01T12:00:00Z";

fn issue(signer: &Signer, asked: Option<i32>, now: &str) -> Result<String, SignerError> {
    let pair = KeyPair::generate().unwrap();
    let info = pair.subject_public_key_info();
    let (_, info) = SubjectPublicKeyInfo::from_der(&info).unwrap();
    let subject = subject();
    let terms = Terms {
        subject: &subject,
        host: HOST,
        asked,
    };
    signer.sign(&info, &terms, at(now), u128::MAX)
}

/// Looks at the first certificate of a PEM text.
fn look<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
    let (rest, certificate) = X509Certificate::from_der(&block.contents).unwrap();
    assert!(rest.is_empty());
    look(&certificate)
}

#[test]
fn keys_in_all_forms_sign_what_verifies() {
    let pkcs8 = ca(|_| {});
    for pems in [PKCS1, SEC1, [&pkcs8[0], &pkcs8[1]]] {
        let now = Timestamp::now().to_string();
        let issued = issue(&signer(pems), None, &now).unwrap();
        look(pems[0], |ca| {
            look(&issued, |leaf| {
                leaf.verify_signature(Some(ca.public_key())).unwrap();
                assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw());
                let id = subject_key_id(ca).unwrap();
                let authority = leaf.extensions().iter().find_map(|one| match one.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.clone(),
                    _ => None,
                });
                assert_eq!(authority.unwrap().0, id);
            });
        });
    }
}

#[test]
fn the_certificate_says_what_was_registered_and_nothing_else() {
    let issued = issue(&signer(PKCS1), None, &Timestamp::now().to_string()).unwrap();
    look(&issued, |leaf| {
        assert_eq!(leaf.subject().to_string(), "O=g1, O=g2, O=g3, OU=ou1, OU=ou2, CN=u1");
        assert!(!leaf.is_ca());
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName(HOST)]);
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth && !extended.any && extended.other.is_empty());
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.key_encipherment());
        assert_eq!(leaf.extensions().len(), 5);
        // 20 octets at most, positive (RFC 5280, section 4.1.2.2).
        assert_eq!(leaf.raw_serial().len(), 16);
        assert!(leaf.raw_serial()[0] < 0x80);
    });
}

#[test]
fn a_zero_serial_becomes_one() {
    let [certificate, private] = ca(|_| {});
    let signer = signer([&certificate, &private]);
    let pair = KeyPair::generate().unwrap();
    let info = pair.subject_public_key_info();
    let (_, info) = SubjectPublicKeyInfo::from_der(&info).unwrap();
    let subject = subject();
    let terms = Terms {
        subject: &subject,
        host: HOST,
        asked: None,
    };
    let issued = signer.sign(&info, &terms, at(NOW), 0).unwrap();
    look(&issued, |leaf| assert_eq!(leaf.raw_serial(), [1]));
}

#[test]
fn the_lifetime_is_the_least_of_three() {
    let [certificate, private] = ca(|_| {});
    let signer = signer([&certificate, &private]);
    let validity = |asked, now: &str| {
        let issued = issue(&signer, asked, now).unwrap();
        look(&issued, |leaf| {
            let time = |seconds| Timestamp::from_second(seconds).unwrap();
            let validity = leaf.validity();
            (
                time(validity.not_before.timestamp()),
                time(validity.not_after.timestamp()),
            )
        })
    };
    let early = at("2026-06-01T11:55:00Z");
    assert_eq!(validity(None, NOW), (early, at("2026-06-02T12:00:00Z")));
    assert_eq!(validity(Some(600), NOW), (early, at("2026-06-01T12:10:00Z")));
    assert_eq!(validity(Some(i32::MAX), NOW), (early, at("2026-06-02T12:00:00Z")));
    let end = validity(None, "2029-12-31T23:00:00Z");
    assert_eq!(end.1, at("2030-01-01T00:00:00Z"), "not beyond the CA");
    let beginning = validity(None, "2020-01-01T00:01:00Z");
    assert_eq!(beginning.0, at("2020-01-01T00:00:00Z"), "not before the CA");
    for outside in ["2019-12-31T23:59:59Z", "2030-01-01T00:00:00Z"] {
        assert!(matches!(
            issue(&signer, None, outside),
            Err(SignerError::NotValid { .. })
        ));
    }
}

#[test]
fn years_from_2050_are_written_in_full() {
    let [certificate, private] = ca(|params| params.not_after = rcgen::date_time_ymd(2060, 1, 1));
    let issued = issue(&signer([&certificate, &private]), None, "2049-12-31T12:00:00Z").unwrap();
    look(&issued, |leaf| {
        let end = Timestamp::from_second(leaf.validity().not_after.timestamp()).unwrap();
        assert_eq!(end, at("2050-01-01T12:00:00Z"));
    });
}

#[test]
fn a_ca_below_another_brings_the_chain_without_the_root() {
    let root = CertifiedIssuer::self_signed(ca_params(), KeyPair::generate().unwrap()).unwrap();
    let (mut params, pair) = (ca_params(), KeyPair::generate().unwrap());
    params.distinguished_name.push(DnType::CommonName, "below");
    let below = params.signed_by(&pair, &root).unwrap().pem();
    let issued = issue(
        &signer([&(below.clone() + &root.pem()), &pair.serialize_pem()]),
        None,
        NOW,
    )
    .unwrap();
    let blocks: Vec<_> = CertificateDer::pem_slice_iter(issued.as_bytes())
        .map(Result::unwrap)
        .collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[1], CertificateDer::from_pem_slice(below.as_bytes()).unwrap());
}

#[test]
fn what_cannot_sign_is_refused_without_naming_the_key() {
    let [certificate, private] = ca(|_| {});
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(refused(&certificate, &other), SignerError::OtherKey);
    assert_eq!(refused(&certificate, PKCS1[1]), SignerError::OtherKey);
    assert_eq!(refused("", &private), SignerError::NotACertificate);
    assert_eq!(refused(&private, &private), SignerError::NotACertificate);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(broken, &private), SignerError::NotACertificate);
    assert_eq!(
        refused(&(certificate.clone() + broken), &private),
        SignerError::NotACertificate
    );
    for bad in [
        "",
        &certificate,
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ] {
        assert_eq!(refused(&certificate, bad), SignerError::Key);
    }
    let [leaf, leaf_key] = ca(|params| params.is_ca = IsCa::ExplicitNoCa);
    assert!(matches!(refused(&leaf, &leaf_key), SignerError::NotACa(_)));
    let [plain, plain_key] = ca(|params| params.is_ca = IsCa::NoCa);
    assert!(matches!(refused(&plain, &plain_key), SignerError::NotACa(_)));
    let [usage, usage_key] = ca(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    assert!(matches!(refused(&usage, &usage_key), SignerError::NotACa(_)));
    let shown = format!("{:?}", signer([&certificate, &private]));
    assert!(!shown.contains("pair") && !shown.contains("key"), "{shown}");
}
