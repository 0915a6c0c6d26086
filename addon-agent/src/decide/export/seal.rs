//! Content into envelopes, one for each recipient whose key is known.
use base64::{Engine, prelude::BASE64_STANDARD};
use exchange::{
    envelope::{self, EnvelopeError},
    key::{KeyPair, PublicKey},
};
use peering_api::{
    Sensitive,
    peering::{Recipient, SealedEnvelope},
};
use rand::CryptoRng;

/// A recipient whose key is known.
#[derive(Clone, Debug)]
pub struct Receiver<'a> {
    /// Its entry in the export.
    pub recipient: &'a Recipient,
    /// Its key.
    pub key: PublicKey,
}

/// The recipients to whom something can be sealed, and who need it.
pub fn receivers(recipients: &[Recipient]) -> Vec<Receiver<'_>> {
    let receiver = |recipient: &'_ Recipient| PublicKey::from_base64(recipient.public_key.as_deref()?).ok();
    let known = recipients.iter().filter(|recipient| !recipient.used);
    known
        .filter_map(|recipient| {
            let key = receiver(recipient)?;
            Some(Receiver { recipient, key })
        })
        .collect()
}

/// What is sealed: some content at a revision.
#[derive(Clone, Copy, Debug)]
pub struct Sealing<'a> {
    /// The agent's own keys.
    pub keys: &'a KeyPair,
    /// The revision.
    pub revision: i64,
    /// The content's hash.
    pub hash: &'a str,
    /// The encoded content.
    pub content: &'a Sensitive,
}

impl Receiver<'_> {
    /// The receiver's envelope among others.
    pub fn find<'e>(&self, envelopes: &'e [SealedEnvelope]) -> Option<&'e SealedEnvelope> {
        envelopes.iter().find(|envelope| envelope.link == self.recipient.link)
    }

    /// Whether an envelope is sealed to this receiver's key and with ours.
    pub fn opens(&self, envelope: &SealedEnvelope, keys: &KeyPair) -> bool {
        envelope.recipient_fingerprint == self.key.fingerprint()
            && envelope.sender_fingerprint == keys.public().fingerprint()
    }

    /// A new envelope.
    pub fn seal(&self, sealing: Sealing<'_>, rng: &mut impl CryptoRng) -> Result<SealedEnvelope, EnvelopeError> {
        let Sealing {
            keys,
            revision,
            hash,
            content,
        } = sealing;
        let link = &self.recipient.link;
        let sealed = envelope::seal(link, revision, hash, content, keys, &self.key, rng)?;
        Ok(SealedEnvelope {
            link: link.clone(),
            recipient_fingerprint: self.key.fingerprint(),
            sender_fingerprint: keys.public().fingerprint(),
            data: BASE64_STANDARD.encode(sealed),
            ..SealedEnvelope::default()
        })
    }
}
