//! Requests and keys. What `openssl` made stands in `fixtures/`; certificates are verified by webpki, which rustls uses.
use std::collections::BTreeSet;

use peering_api::Sensitive;
use proptest::prelude::*;
use rcgen::KeyPair;

use super::{spki::Algorithm, *};

mod hostile;
mod signing;

const ED25519: &str = include_str!("fixtures/ed25519.key");
const P256_SEC1: &str = include_str!("fixtures/p256-sec1.key");
const P384_SEC1: &str = include_str!("fixtures/p384-sec1.key");
const RSA_PKCS1: &str = include_str!("fixtures/rsa-pkcs1.key");

fn secret(pem: &str) -> Sensitive {
    pem.as_bytes().to_vec().into()
}

/// A new private key.
fn new_key(algorithm: Algorithm) -> Sensitive {
    let algorithm = match algorithm {
        Algorithm::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        Algorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
        Algorithm::Ed25519 => &rcgen::PKCS_ED25519,
        Algorithm::Rsa => return secret(RSA_PKCS1),
    };
    secret(&KeyPair::generate_for(algorithm).unwrap().serialize_pem())
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// A client in two groups, as in the fixtures.
fn client() -> Subject {
    Subject {
        common_name: "system:peer:west".to_owned(),
        organizations: set(&["group-b", "group-a"]),
        ..Subject::default()
    }
}

/// With every kind of alternative name, as in the fixtures.
fn server() -> Subject {
    Subject {
        dns_names: set(&["b.example.com", "a.example.com"]),
        ip_addresses: ["2001:db8::7", "192.0.2.7"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect(),
        uris: set(&["spiffe://mesh/ns/a/sa/b"]),
        ..client()
    }
}

#[test]
fn a_request_is_what_openssl_writes() {
    // Ed25519 signatures have no nonce: the whole request is a vector.
    for (subject, expected) in [
        (client(), include_str!("fixtures/ed25519-plain.csr")),
        (server(), include_str!("fixtures/ed25519-names.csr")),
    ] {
        assert_eq!(request(&secret(ED25519), &subject).unwrap(), expected);
        assert!(check(expected, &subject).is_ok());
    }
}

#[test]
fn a_request_of_openssl_is_taken() {
    let checked = check(include_str!("fixtures/rsa-2048.csr"), &client()).unwrap();
    assert_eq!(checked.key(), &PublicKey::of_private(&secret(RSA_PKCS1)).unwrap());
}

#[test]
fn every_kind_of_key_makes_requests() {
    for key in [
        new_key(Algorithm::P256),
        new_key(Algorithm::P384),
        new_key(Algorithm::Ed25519),
        secret(P256_SEC1),
        secret(P384_SEC1),
        secret(RSA_PKCS1),
    ] {
        let public = PublicKey::of_private(&key).unwrap();
        let made = request(&key, &server()).unwrap();
        assert_eq!(check(&made, &server()).unwrap().key(), &public, "{public:?}");
        let windows = made.replace('\n', "\r\n");
        assert_eq!(
            check(&windows, &server()).unwrap().key(),
            &public,
            "line ends have no meaning"
        );
    }
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let whole = new_key(Algorithm::P256);
    let whole = std::str::from_utf8(whole.expose()).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIGb\n-----END RSA PRIVATE KEY-----\n";
    let certificate = include_str!("fixtures/directory-ca.crt");
    for (name, pem, expected) in [
        ("empty", String::new(), KeyError::Missing),
        ("other text", "hunter2".to_owned(), KeyError::Missing),
        ("a certificate", certificate.to_owned(), KeyError::Missing),
        ("encrypted", encrypted.to_owned(), KeyError::Encrypted),
        (
            "encrypted in the old way",
            old_encrypted.to_owned(),
            KeyError::Encrypted,
        ),
        ("cut", whole.replace("MIGH", "MIGG"), KeyError::Unreadable),
        (
            "another label",
            whole.replace("PRIVATE KEY", "EC PRIVATE KEY"),
            KeyError::Unreadable,
        ),
        (
            "another label",
            P256_SEC1.replace("EC PRIVATE KEY", "RSA PRIVATE KEY"),
            KeyError::Unreadable,
        ),
    ] {
        assert_eq!(PublicKey::of_private(&secret(&pem)), Err(expected.clone()), "{name}");
        assert_eq!(
            request(&secret(&pem), &client()),
            Err(RequestError::Key(expected)),
            "{name}"
        );
    }
}

#[test]
fn errors_never_quote_a_key() {
    let body: String = RSA_PKCS1.lines().filter(|line| line.len() > 40).collect();
    let damaged = RSA_PKCS1.replacen("MIIE", "MIID", 1);
    let key_error = request(&secret(&damaged), &client()).unwrap_err();
    let ca_error = Authority::read(include_str!("fixtures/directory-ca.crt"), &secret(&damaged)).unwrap_err();
    let other_error = Authority::read(include_str!("fixtures/directory-ca.crt"), &secret(RSA_PKCS1)).unwrap_err();
    for shown in [
        format!("{key_error} {key_error:?}"),
        format!("{ca_error} {ca_error:?}"),
        format!("{other_error} {other_error:?}"),
    ] {
        let quoted = body
            .as_bytes()
            .windows(12)
            .any(|part| shown.contains(std::str::from_utf8(part).unwrap()));
        assert!(!quoted, "{shown}");
    }
}

#[test]
fn subjects_that_nobody_gets() {
    let dns = |name: &str| SubjectError::Dns(name.to_owned());
    let with_dns = |name: &str| Subject {
        dns_names: set(&[name]),
        ..client()
    };
    let named = |common_name: &str| Subject {
        common_name: common_name.to_owned(),
        ..client()
    };
    let bad_name = |seen: &str| SubjectError::Name {
        field: "common name",
        seen: seen.to_owned(),
    };
    for (subject, expected) in [
        (Subject::default(), bad_name("")),
        (named(" "), bad_name(" ")),
        (named("a\nb"), bad_name("a\nb")),
        (named("a\0"), bad_name("a\0")),
        (named(&"x".repeat(257)), bad_name(&"x".repeat(256))),
        (
            Subject {
                organizations: set(&["a", ""]),
                ..client()
            },
            SubjectError::Name {
                field: "organization",
                seen: String::new(),
            },
        ),
        (
            Subject {
                organizations: set(&["a", "system:masters"]),
                ..client()
            },
            SubjectError::Masters,
        ),
        (with_dns("a b"), dns("a b")),
        (with_dns("A.example.com"), dns("A.example.com")),
        (with_dns("a.*.com"), dns("a.*.com")),
        (with_dns("*"), dns("*")),
        (with_dns("192.0.2.7"), dns("192.0.2.7")),
        (with_dns("é.com"), dns("é.com")),
        (
            Subject {
                uris: set(&["spiffe://a b"]),
                ..client()
            },
            SubjectError::Uri("spiffe://a b".to_owned()),
        ),
        (
            Subject {
                uris: set(&["é:x"]),
                ..client()
            },
            SubjectError::Uri("é:x".to_owned()),
        ),
    ] {
        assert_eq!(subject.validate(), Err(expected.clone()));
        assert_eq!(
            request(&secret(ED25519), &subject),
            Err(RequestError::Subject(expected.clone()))
        );
        let plain = include_str!("fixtures/ed25519-plain.csr");
        assert_eq!(check(plain, &subject), Err(RequestError::Subject(expected)));
    }
    assert_eq!(with_dns("*.example.com").validate(), Ok(()));
}

#[test]
fn a_request_with_too_many_names_is_not_made() {
    let subject = Subject {
        dns_names: (0..1000).map(|number| format!("host-{number}.example.com")).collect(),
        ..client()
    };
    let error = request(&secret(ED25519), &subject).unwrap_err();
    assert!(matches!(error, RequestError::TooLarge(size) if size > MAX_REQUEST));
}

fn subjects() -> impl Strategy<Value = Subject> {
    let text = || "[a-zA-Z0-9:é@., =\"/]{0,12}[a-z]";
    let texts = || prop::collection::btree_set(text(), 0..4);
    let dns = prop::collection::btree_set("(\\*\\.)?[a-z0-9]{1,8}(\\.[a-z]{1,8}){1,3}", 0..4);
    let ips = prop::collection::btree_set(any::<std::net::IpAddr>(), 0..4);
    let uris = prop::collection::btree_set("[a-z]{1,6}://[a-z/]{1,12}", 0..3);
    (text(), texts(), dns, ips, uris).prop_map(|(common_name, organizations, dns_names, ip_addresses, uris)| Subject {
        common_name,
        organizations,
        dns_names,
        ip_addresses,
        uris,
    })
}

proptest! {
    #[test]
    fn a_request_is_taken_for_its_own_subject_only(subject in subjects(), other in subjects()) {
        let made = request(&secret(ED25519), &subject).unwrap();
        prop_assert_eq!(&check(&made, &subject).unwrap().subject, &subject);
        prop_assert_eq!(check(&made, &other).is_ok(), subject == other);
    }

    #[test]
    fn a_changed_bit_is_seen(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut der = pem::read_only("CERTIFICATE REQUEST", include_str!("fixtures/ed25519-names.csr")).unwrap();
        let at = at.index(der.len());
        der[at] ^= 1 << bit;
        let changed = pem::write("CERTIFICATE REQUEST", &der);
        prop_assert!(check(&changed, &server()).is_err(), "byte {at}, bit {bit}");
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}") {
        prop_assert!(check(&pem::write("CERTIFICATE REQUEST", &bytes), &client()).is_err());
        prop_assert!(check(&text, &client()).is_err());
    }

    #[test]
    fn pem_is_read_as_written(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(pem::read_only("X", &pem::write("X", &bytes)), Some(bytes));
    }
}
