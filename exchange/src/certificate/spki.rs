//! Kinds of keys, and how they are named and written in DER: public keys (RFC 5280), private ones (RFC 5958), and the algorithm
//! of a signature.
use rcgen::KeyPair;
use yasna::{DERWriter, construct_der, models::ObjectIdentifier};
use zeroize::Zeroizing;

const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
const CURVE_P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
const CURVE_P384: &[u64] = &[1, 3, 132, 0, 34];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];
const ED25519: &[u64] = &[1, 3, 101, 112];
const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const RSA_SHA256: &[u64] = &[1, 2, 840, 113_549, 1, 1, 11];

/// Kinds of keys, each with the one signature algorithm that is used with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 4] = [Self::P256, Self::P384, Self::Ed25519, Self::Rsa];

    pub(super) fn of(pair: &KeyPair) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| pair.algorithm() == algorithm.rcgen())
    }

    fn rcgen(self) -> &'static rcgen::SignatureAlgorithm {
        match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
            Self::Rsa => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

/// A `SubjectPublicKeyInfo`.
pub(super) fn public_key(algorithm: Algorithm, bits: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            key_algorithm(writer.next(), algorithm);
            writer.next().write_bitvec_bytes(bits, bits.len() * 8);
        });
    })
}

/// A private key of an older form as PKCS#8 (RFC 5958).
pub(super) fn pkcs8(algorithm: Algorithm, inner: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            key_algorithm(writer.next(), algorithm);
            writer.next().write_bytes(inner);
        });
    }))
}

fn key_algorithm(writer: DERWriter<'_>, algorithm: Algorithm) {
    match algorithm {
        Algorithm::P256 => identifier(writer, EC_PUBLIC_KEY, Some(CURVE_P256), false),
        Algorithm::P384 => identifier(writer, EC_PUBLIC_KEY, Some(CURVE_P384), false),
        Algorithm::Ed25519 => identifier(writer, ED25519, None, false),
        Algorithm::Rsa => identifier(writer, RSA, None, true),
    }
}

pub(super) fn signature_algorithm(writer: DERWriter<'_>, algorithm: Algorithm) {
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

pub(super) fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}
