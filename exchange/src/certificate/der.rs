//! DER encoding of what is signed: requests (RFC 2986) and certificates (RFC 5280).
use std::net::IpAddr;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der, tags};

use super::{
    key::PublicKey,
    spki::{Algorithm, oid, public_key, signature_algorithm},
    subject::{Subject, Usage},
};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];

const SUBJECT_KEY_ID: &[u64] = &[2, 5, 29, 14];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY_ID: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

/// Choices of `GeneralName`.
const DNS_NAME: u64 = 2;
const URI: u64 = 6;
const IP_ADDRESS: u64 = 7;

/// A signed request or certificate.
pub(super) fn signed(body: &[u8], algorithm: Algorithm, signature: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(body);
            signature_algorithm(writer.next(), algorithm);
            writer.next().write_bitvec_bytes(signature, signature.len() * 8);
        });
    })
}

/// The part of a request that is signed: version, subject, key, and the alternative names as the only attribute.
pub(super) fn request(subject: &Subject, key: &PublicKey) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            name(writer.next(), subject);
            writer.next().write_der(&public_key(key.algorithm, &key.bits));
            writer.next().write_tagged_implicit(Tag::context(0), |writer| {
                writer.write_set_of(|writer| {
                    if subject.has_alternatives() {
                        extension_request(writer.next(), subject);
                    }
                });
            });
        });
    })
}

fn extension_request(writer: DERWriter<'_>, subject: &Subject) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(EXTENSION_REQUEST));
        writer.next().write_set_of(|writer| {
            writer
                .next()
                .write_sequence(|writer| alternative_names(writer, subject));
        });
    });
}

/// What a certificate says. Nothing in it is copied from the request but the key.
pub(super) struct Leaf<'a> {
    pub(super) serial: &'a [u8],
    /// Algorithm that the issuer signs with.
    pub(super) algorithm: Algorithm,
    /// The issuer's name, as it stands in its own certificate.
    pub(super) issuer: &'a [u8],
    pub(super) issuer_key_id: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) subject: &'a Subject,
    pub(super) key: &'a PublicKey,
    pub(super) usage: Usage,
}

/// The part of a certificate that is signed.
pub(super) fn certificate(leaf: &Leaf<'_>) -> Vec<u8> {
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
            writer.next().write_der(&public_key(leaf.key.algorithm, &leaf.key.bits));
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, leaf));
            });
        });
    })
}

fn extensions(writer: &mut DERWriterSeq<'_>, leaf: &Leaf<'_>) {
    extension(writer, AUTHORITY_KEY_ID, false, |writer| {
        writer.write_sequence(|writer| {
            let id = |writer: DERWriter<'_>| writer.write_bytes(leaf.issuer_key_id);
            writer.next().write_tagged_implicit(Tag::context(0), id);
        });
    });
    extension(writer, SUBJECT_KEY_ID, false, |writer| {
        writer.write_bytes(&key_id(&leaf.key.bits));
    });
    // digitalSignature is the first bit; keyEncipherment, the third, has a meaning for RSA only.
    let usage = if leaf.key.algorithm == Algorithm::Rsa {
        (0b1010_0000, 3)
    } else {
        (0b1000_0000, 1)
    };
    extension(writer, KEY_USAGE, true, |writer| {
        writer.write_bitvec_bytes(&[usage.0], usage.1);
    });
    extension(writer, EXTENDED_KEY_USAGE, false, |writer| {
        writer.write_sequence(|writer| {
            if leaf.usage != Usage::Client {
                writer.next().write_oid(&oid(SERVER_AUTH));
            }
            if leaf.usage != Usage::Server {
                writer.next().write_oid(&oid(CLIENT_AUTH));
            }
        });
    });
    // An empty sequence: not a CA.
    extension(writer, BASIC_CONSTRAINTS, true, |writer| writer.write_sequence(|_| {}));
    if leaf.subject.has_alternatives() {
        alternative_names(writer, leaf.subject);
    }
}

/// The identifier of a key: first 160 bits of its SHA-256 (RFC 7093, method 1).
pub(super) fn key_id(bits: &[u8]) -> Vec<u8> {
    Sha256::digest(bits)[..20].to_vec()
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

fn alternative_names(writer: &mut DERWriterSeq<'_>, subject: &Subject) {
    extension(writer, ALTERNATIVE_NAMES, false, |writer| {
        writer.write_sequence(|writer| {
            let mut entry = |choice, bytes: &[u8]| {
                let value = |writer: DERWriter<'_>| writer.write_bytes(bytes);
                writer.next().write_tagged_implicit(Tag::context(choice), value);
            };
            subject
                .dns_names
                .iter()
                .for_each(|name| entry(DNS_NAME, name.as_bytes()));
            subject.ip_addresses.iter().for_each(|ip| match ip {
                IpAddr::V4(ip) => entry(IP_ADDRESS, &ip.octets()),
                IpAddr::V6(ip) => entry(IP_ADDRESS, &ip.octets()),
            });
            subject.uris.iter().for_each(|uri| entry(URI, uri.as_bytes()));
        });
    });
}

/// A name: the organisations, then the common name, each on a level of its own.
fn name(writer: DERWriter<'_>, subject: &Subject) {
    let organizations = subject.organizations.iter().map(|value| (ORGANIZATION, value));
    let attributes = organizations.chain([(COMMON_NAME, &subject.common_name)]);
    writer.write_sequence(|writer| {
        for (id, value) in attributes {
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
