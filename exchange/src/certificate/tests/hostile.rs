//! Requests that want more than they may have, or hide something from one of two readers.
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair, SanType, SigningKey};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};
use yasna::{DERWriter, Tag, construct_der, models::ObjectIdentifier};

use super::*;
use crate::certificate::key::PrivateKey;

const LABEL: &str = "CERTIFICATE REQUEST";
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
const CHALLENGE_PASSWORD: &[u64] = &[1, 2, 840, 113_549, 1, 9, 7];
/// Last part of the ids of name attributes and extensions.
const CN: u64 = 3;
const O: u64 = 10;
const OU: u64 = 11;
const NAMES: u64 = 17;
const CONSTRAINTS: u64 = 19;
/// Basic constraints CA:TRUE.
const CA_TRUE: &[u8] = &[0x30, 3, 1, 1, 0xff];

/// What is expected everywhere here: a user in a group, with one host name.
fn expected() -> Subject {
    Subject {
        common_name: "user".to_owned(),
        organizations: set(&["group"]),
        dns_names: set(&["a.example.com"]),
        ..Subject::default()
    }
}

fn refusal(csr: &str) -> RequestError {
    check(csr, &expected()).expect_err("it must be refused")
}

/// A request by rcgen for what is expected, after a change.
fn changed(change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "group");
    params.distinguished_name.push(DnType::CommonName, "user");
    change(&mut params);
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}

/// Signs any request body with the key of the fixtures.
fn signed(body: &[u8]) -> String {
    let key = PrivateKey::read(&secret(ED25519)).unwrap();
    let signature = key.pair.sign(body).unwrap();
    pem::write(LABEL, &der::signed(body, Algorithm::Ed25519, &signature))
}

/// The body of the request that is expected.
fn body() -> Vec<u8> {
    der::request(&expected(), &PublicKey::of_private(&secret(ED25519)).unwrap())
}

/// Replaces bytes in the body, which must occur there once, and signs it anew.
fn replaced(from: &[u8], to: &[u8]) -> String {
    let body = body();
    let places: Vec<_> = (0..body.len()).filter(|at| body[*at..].starts_with(from)).collect();
    assert_eq!((places.len(), from.len()), (1, to.len()));
    signed(&[&body[..places[0]], to, &body[places[0] + from.len()..]].concat())
}

/// Name attributes, in the levels of a name.
type Levels<'a> = &'a [&'a [(u64, &'a str)]];
/// Extension: last part of its id, critical, value.
type Extension<'a> = (u64, bool, &'a [u8]);

/// A request with any name and any extension requests: attributes, each with values, each with extensions.
fn built(name: Levels<'_>, requests: &[&[&[Extension<'_>]]]) -> String {
    let key = PublicKey::of_private(&secret(ED25519)).unwrap();
    signed(&construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_sequence(|writer| {
                for level in name {
                    writer.next().write_set_of(|writer| {
                        level
                            .iter()
                            .for_each(|(id, value)| attribute(writer.next(), *id, value));
                    });
                }
            });
            writer.next().write_der(&spki::public_key(key.algorithm, &key.bits));
            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                writer.write_sequence(|writer| {
                    for values in requests {
                        extension_request(writer.next(), values);
                    }
                });
            });
        });
    }))
}

fn attribute(writer: DERWriter<'_>, id: u64, value: &str) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(&[2, 5, 4, id]));
        writer.next().write_utf8_string(value);
    });
}

fn extension_request(writer: DERWriter<'_>, values: &[&[Extension<'_>]]) {
    writer.write_sequence(|writer| {
        writer
            .next()
            .write_oid(&ObjectIdentifier::from_slice(EXTENSION_REQUEST));
        writer.next().write_set(|writer| {
            for extensions in values {
                writer.next().write_sequence(|writer| {
                    extensions.iter().for_each(|one| extension(writer.next(), *one));
                });
            }
        });
    });
}

fn extension(writer: DERWriter<'_>, (id, critical, value): Extension<'_>) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(&[2, 5, 29, id]));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

/// The value of the alternative names that are expected.
fn good_names() -> Vec<u8> {
    let name = |writer: DERWriter<'_>| writer.write_bytes(b"a.example.com");
    construct_der(|writer| writer.write_sequence(|writer| writer.next().write_tagged_implicit(Tag::context(2), name)))
}

const GOOD: Levels<'_> = &[&[(O, "group")], &[(CN, "user")]];

#[test]
fn the_expected_one_is_taken() {
    // Otherwise the tables below could refuse for another reason than the one they are about.
    assert!(check(&signed(&body()), &expected()).is_ok());
    assert!(check(&changed(|_| {}), &expected()).is_ok());
    assert_eq!(built(GOOD, &[&[&[(NAMES, false, &good_names())]]]), signed(&body()));
}

#[test]
fn what_is_not_one_block() {
    let good = signed(&body());
    let der = pem::read_only(LABEL, &good).unwrap();
    let wrapped = [&[0x30, 0x81, u8::try_from(der.len()).unwrap()], &der[..]].concat();
    for (name, csr, expected) in [
        ("nothing", String::new(), RequestError::NotPem),
        ("two blocks", format!("{good}{good}"), RequestError::NotPem),
        ("text in front", format!("# hello\n{good}"), RequestError::NotPem),
        ("text behind", format!("{good}hello\n"), RequestError::NotPem),
        (
            "the old label",
            good.replace("CERTIFICATE", "NEW CERTIFICATE"),
            RequestError::NotPem,
        ),
        ("a certificate", good.replace(" REQUEST", ""), RequestError::NotPem),
        (
            "a header",
            good.replacen('\n', "\nProc-Type: 4,CLEAR\n\n", 1),
            RequestError::NotPem,
        ),
        ("all on one line", good.replace('\n', ""), RequestError::NotPem),
        ("cut", pem::write(LABEL, &der[..der.len() - 1]), RequestError::NotDer),
        (
            "bytes behind",
            pem::write(LABEL, &[&der[..], &[5, 0]].concat()),
            RequestError::NotDer,
        ),
        (
            "a request in another",
            pem::write(LABEL, &wrapped),
            RequestError::NotDer,
        ),
        (
            "blanks",
            format!("{}{good}", " ".repeat(MAX_REQUEST)),
            RequestError::TooLarge(MAX_REQUEST + good.len()),
        ),
    ] {
        assert_eq!(refusal(&csr), expected, "{name}");
    }
}

#[test]
fn what_is_not_signed_with_its_key() {
    let body = body();
    let other = PrivateKey::read(&new_key(Algorithm::Ed25519)).unwrap();
    let by_other = der::signed(&body, Algorithm::Ed25519, &other.pair.sign(&body).unwrap());
    for (name, csr) in [
        ("signed by another key", pem::write(LABEL, &by_other)),
        (
            "no signature",
            pem::write(LABEL, &der::signed(&body, Algorithm::Ed25519, &[])),
        ),
        ("for another's key", signed(&der::request(&expected(), &other.public))),
        (
            "another algorithm",
            pem::write(LABEL, &der::signed(&body, Algorithm::Rsa, &[0; 64])),
        ),
    ] {
        assert_eq!(refusal(&csr), RequestError::BadSignature, "{name}");
    }
}

#[test]
fn keys_that_are_not_allowed() {
    let refused = |kind: &str| Err(RequestError::Key(KeyError::NotAllowed(kind.to_owned())));
    for (csr, expected) in [
        (include_str!("../fixtures/rsa-1024.csr"), refused("RSA with 1024 bits")),
        (include_str!("../fixtures/rsa-8192.csr"), refused("RSA with 8192 bits")),
        (
            include_str!("../fixtures/p521.csr"),
            refused("of kind 1.2.840.10045.2.1 with curve 1.3.132.0.35"),
        ),
        (
            include_str!("../fixtures/secp256k1.csr"),
            refused("of kind 1.2.840.10045.2.1 with curve 1.3.132.0.10"),
        ),
    ] {
        assert_eq!(check(csr, &client()), expected);
    }
    let sha1 = check(include_str!("../fixtures/rsa-2048-sha1.csr"), &client());
    assert_eq!(sha1, Err(RequestError::NotCanonical), "a weak hash");
}

/// Requests for another subject than the expected one, and what the refusal quotes.
#[test]
fn subjects_of_somebody_else() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let common_name = |name: &str| changed(|params| params.distinguished_name.push(DnType::CommonName, name));
    let group = |name: &str| changed(|params| params.distinguished_name.push(DnType::OrganizationName, name));
    let without = |kind: DnType| changed(|params| _ = params.distinguished_name.remove(kind));
    let names = |names: Vec<SanType>| changed(|params| params.subject_alt_names = names);
    for (csr, seen) in [
        (common_name("admin"), "for CN=\"admin\""),
        (common_name("user "), "for CN=\"user \""),
        (common_name("user\u{202e}"), "for CN=\"user\\u{202e}\""),
        (group("system:masters"), "O=\"system:masters\""),
        (without(DnType::OrganizationName), "for CN=\"user\", DNS="),
        (without(DnType::CommonName), "for CN=\"\""),
        (names(vec![]), "for CN=\"user\", O=\"group\": expected"),
        (
            names(vec![dns("a.example.com"), dns("b.example.com")]),
            "DNS=\"b.example.com\"",
        ),
        (names(vec![dns("*.example.com")]), "DNS=\"*.example.com\""),
        (names(vec![dns("A.example.com")]), "DNS=\"A.example.com\""),
        (
            names(vec![dns("a.example.com"), SanType::IpAddress([127, 0, 0, 1].into())]),
            "IP=127.0.0.1",
        ),
        (
            built(&[&[(O, "group")], &[(O, "more")], &[(CN, "user")]], &[]),
            "O=\"more\"",
        ),
        (
            built(&[&[(O, "group"), (O, "more")], &[(CN, "user")]], &[]),
            "O=\"more\"",
        ),
    ] {
        let refusal = refusal(&csr);
        assert!(matches!(refusal, RequestError::OtherSubject { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains(seen), "{refusal}, expected {seen}");
    }
}

/// Requests for more than a subject and alternative names, and what the refusal names.
#[test]
fn wishes_beyond_a_subject() {
    let names = good_names();
    let (good, ca): (Extension<'_>, Extension<'_>) = ((NAMES, false, &names), (CONSTRAINTS, true, CA_TRUE));
    let constraints = |is_ca: IsCa| changed(|params| params.is_ca = is_ca);
    let also = |name: SanType| changed(|params| params.subject_alt_names.push(name));
    let unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    for (csr, seen) in [
        (constraints(IsCa::Ca(BasicConstraints::Unconstrained)), "2.5.29.19"),
        (constraints(IsCa::ExplicitNoCa), "2.5.29.19"),
        (
            changed(|params| params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign]),
            "2.5.29.15",
        ),
        (
            changed(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]),
            "2.5.29.37",
        ),
        (changed(|params| params.custom_extensions = vec![unknown]), "1.2.3.4"),
        (
            changed(|params| params.distinguished_name.push(DnType::OrganizationalUnitName, "x")),
            "2.5.4.11",
        ),
        (built(&[&[(O, "group"), (OU, "x")], &[(CN, "user")]], &[]), "2.5.4.11"),
        (
            built(&[&[(O, "group")], &[(CN, "user")], &[(CN, "user")]], &[]),
            "same attribute twice",
        ),
        (
            built(&[&[(O, "group")], &[(CN, "user"), (CN, "admin")]], &[]),
            "same attribute twice",
        ),
        (
            built(&[&[(O, "group")], &[(O, "group")], &[(CN, "user")]], &[]),
            "same attribute twice",
        ),
        (
            also(SanType::Rfc822Name("a@b".try_into().unwrap())),
            "neither DNS name, IP address nor URI",
        ),
        (
            also(SanType::DnsName("a.example.com".try_into().unwrap())),
            "the same alternative name twice",
        ),
        (built(GOOD, &[&[&[good]], &[&[ca]]]), "more than one attribute"),
        (built(GOOD, &[&[&[good, good]]]), "2.5.29.17, 2.5.29.17"),
        (built(GOOD, &[&[&[good, ca]]]), "2.5.29.17, 2.5.29.19"),
        (built(GOOD, &[&[&[]]]), "the extensions \"\""),
    ] {
        let refusal = refusal(&csr);
        let said = matches!(&refusal, RequestError::Unexpected(what) if what.contains(seen));
        assert!(said, "{refusal:?}, expected {seen}");
    }
}

#[test]
fn a_password_in_a_request_is_refused_and_not_quoted() {
    let attribute = rcgen::Attribute {
        oid: CHALLENGE_PASSWORD,
        values: construct_der(|writer| writer.write_set(|writer| writer.next().write_utf8_string("hunter2"))),
    };
    let params = CertificateParams::default();
    let request = params.serialize_request_with_attributes(&KeyPair::generate().unwrap(), vec![attribute]);
    let refusal = refusal(&request.unwrap().pem().unwrap());
    assert_eq!(
        refusal,
        RequestError::Unexpected("attribute 1.2.840.113549.1.9.7".to_owned())
    );
}

/// The content is right, but it is written so that another program may read something else.
#[test]
fn what_two_readers_may_read_differently() {
    let names = good_names();
    let good: Extension<'_> = (NAMES, false, &names);
    let longer = [&names[..], CA_TRUE].concat();
    let printable = replaced(b"\x0c\x04user", b"\x13\x04user");
    for (name, csr) in [
        (
            "a second value hides CA:TRUE",
            built(GOOD, &[&[&[good], &[(CONSTRAINTS, true, CA_TRUE)]]]),
        ),
        ("critical names", built(GOOD, &[&[&[(NAMES, true, &names)]]])),
        ("bytes behind the names", built(GOOD, &[&[&[(NAMES, false, &longer)]]])),
        (
            "another order",
            built(&[&[(CN, "user")], &[(O, "group")]], &[&[&[good]]]),
        ),
        (
            "all on one level",
            built(&[&[(O, "group"), (CN, "user")]], &[&[&[good]]]),
        ),
        ("a PrintableString", printable),
        ("another version", replaced(&[2, 1, 0, 0x30], &[2, 1, 2, 0x30])),
    ] {
        assert_eq!(refusal(&csr), RequestError::NotCanonical, "{name}");
    }
}

#[test]
fn the_parser_does_not_see_a_second_value() {
    // Why the bytes are compared in the end.
    let names = good_names();
    let csr = built(GOOD, &[&[&[(NAMES, false, &names)], &[(CONSTRAINTS, true, CA_TRUE)]]]);
    let der = pem::read_only(LABEL, &csr).unwrap();
    let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
    assert_eq!(parsed.requested_extensions().unwrap().count(), 1);
}
