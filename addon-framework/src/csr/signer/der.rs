//! DER of certificates (RFC 5280) and of the wrapping that older private keys need (RFC 5958).
//!
//! Rcgen's own builders keep one value per attribute of a name: they would lose groups of the subject, and all but one `OU`
//! or `DC` of a CA's name, which breaks the chain.
use jiff::Timestamp;
use peering_api::ocm::addon::v1beta1::Subject;
use sha2::{Digest, Sha256};
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der, models::ObjectIdentifier, tags};
use zeroize::Zeroizing;

const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
const CURVE_P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
const CURVE_P384: &[u64] = &[1, 3, 132, 0, 34];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];
const ED25519: &[u64] = &[1, 3, 101, 112];
const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const RSA_SHA256: &[u64] = &[1, 2, 840, 113_549, 1, 1, 11];

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const ORGANIZATIONAL_UNIT: &[u64] = &[2, 5, 4, 11];

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// Choice of `GeneralName`.
const DNS_NAME: u64 = 2;

/// Kinds of keys that a CA may have, each with the one signature algorithm that is used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// What a certificate says. Nothing in it is copied from the request but the key.
pub(super) struct Leaf<'a> {
    pub(super) serial: &'a [u8],
    /// Algorithm that the CA signs with.
    pub(super) algorithm: Algorithm,
    /// The CA's name, as it stands in its own certificate.
    pub(super) issuer: &'a [u8],
    pub(super) issuer_key_id: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) subject: &'a Subject,
    pub(super) host: &'a str,
    /// The `SubjectPublicKeyInfo` of the request.
    pub(super) key: &'a [u8],
    /// Whether the key is of RSA, which can encipher others.
    pub(super) enciphers: bool,
}

/// The part of a certificate that is signed.
pub(super) fn body(leaf: &Leaf<'_>) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            // Version 3.
            writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
            writer.next().write_bigint_bytes(leaf.serial, true);
            signature_algorithm(writer.next(), leaf.algorithm);
            writer.next().write_der(leaf.issuer);
            writer.next().write_sequence(|writer| {
                time(writer.next(), leaf.not_before);
                time(writer.next(), leaf.not_after);
            });
            name(writer.next(), leaf.subject);
            writer.next().write_der(leaf.key);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, leaf));
            });
        });
    })
}

/// A signed certificate.
pub(super) fn signed(body: &[u8], algorithm: Algorithm, signature: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(body);
            signature_algorithm(writer.next(), algorithm);
            writer.next().write_bitvec_bytes(signature, signature.len() * 8);
        });
    })
}

/// A private key of an older form as PKCS#8.
pub(super) fn pkcs8(algorithm: Algorithm, inner: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            match algorithm {
                Algorithm::P256 => identifier(writer.next(), EC_PUBLIC_KEY, Some(CURVE_P256), false),
                Algorithm::P384 => identifier(writer.next(), EC_PUBLIC_KEY, Some(CURVE_P384), false),
                Algorithm::Ed25519 => identifier(writer.next(), ED25519, None, false),
                Algorithm::Rsa => identifier(writer.next(), RSA, None, true),
            }
            writer.next().write_bytes(inner);
        });
    }))
}

/// The identifier of a key: the first 160 bits of its SHA-256 (RFC 7093, method 1).
pub(super) fn key_id(bits: &[u8]) -> Vec<u8> {
    Sha256::digest(bits)[..20].to_vec()
}

fn extensions(writer: &mut DERWriterSeq<'_>, leaf: &Leaf<'_>) {
    extension(writer, AUTHORITY_KEY_ID, false, |writer| {
        writer.write_sequence(|writer| {
            let id = |writer: DERWriter<'_>| writer.write_bytes(leaf.issuer_key_id);
            writer.next().write_tagged_implicit(Tag::context(0), id);
        });
    });
    // digitalSignature is the first bit, keyEncipherment the third.
    let (bits, length) = if leaf.enciphers {
        (0b1010_0000, 3)
    } else {
        (0b1000_0000, 1)
    };
    extension(writer, KEY_USAGE, true, |writer| {
        writer.write_bitvec_bytes(&[bits], length);
    });
    extension(writer, EXTENDED_KEY_USAGE, false, |writer| {
        writer.write_sequence(|writer| writer.next().write_oid(&oid(CLIENT_AUTH)));
    });
    // An empty sequence: not a CA.
    extension(writer, BASIC_CONSTRAINTS, true, |writer| writer.write_sequence(|_| {}));
    extension(writer, ALTERNATIVE_NAMES, false, |writer| {
        writer.write_sequence(|writer| {
            let host = |writer: DERWriter<'_>| writer.write_bytes(leaf.host.as_bytes());
            writer.next().write_tagged_implicit(Tag::context(DNS_NAME), host);
        });
    });
}

fn extension(writer: &mut DERWriterSeq<'_>, id: &[u64], critical: bool, value: impl FnOnce(DERWriter<'_>)) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&oid(id));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(&construct_der(value));
    });
}

/// A name: groups, units and user in Go's order, each value on a level of its own.
fn name(writer: DERWriter<'_>, subject: &Subject) {
    let groups = subject.groups.iter().map(|value| (ORGANIZATION, value));
    let units = subject
        .organization_units
        .iter()
        .map(|value| (ORGANIZATIONAL_UNIT, value));
    writer.write_sequence(|writer| {
        for (id, value) in groups.chain(units).chain([(COMMON_NAME, &subject.user)]) {
            writer.next().write_set_of(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(id));
                    writer.next().write_utf8_string(value);
                });
            });
        }
    });
}

/// `UTCTime` from 1950 to 2049, `GeneralizedTime` otherwise (RFC 5280, section 4.1.2.5); whole seconds.
fn time(writer: DERWriter<'_>, time: Timestamp) {
    let text = time.strftime("%Y%m%d%H%M%SZ").to_string();
    let (tag, text) = if ("1950".."2050").contains(&&text[..4]) {
        (tags::TAG_UTCTIME, &text[2..])
    } else {
        (tags::TAG_GENERALIZEDTIME, text.as_str())
    };
    writer.write_tagged_implicit(tag, |writer| writer.write_bytes(text.as_bytes()));
}

fn signature_algorithm(writer: DERWriter<'_>, algorithm: Algorithm) {
    match algorithm {
        Algorithm::P256 => identifier(writer, ECDSA_SHA256, None, false),
        Algorithm::P384 => identifier(writer, ECDSA_SHA384, None, false),
        Algorithm::Ed25519 => identifier(writer, ED25519, None, false),
        Algorithm::Rsa => identifier(writer, RSA_SHA256, None, true),
    }
}

/// An `AlgorithmIdentifier`: its parameters are a curve, NULL (RSA; RFC 4055) or absent.
fn identifier(writer: DERWriter<'_>, id: &[u64], curve: Option<&[u64]>, null: bool) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(id));
        if let Some(curve) = curve {
            writer.next().write_oid(&oid(curve));
        }
        if null {
            writer.next().write_null();
        }
    });
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}
