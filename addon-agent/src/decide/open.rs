//! The opening of envelopes, which all kinds of targets share.
use exchange::{
    content::Content,
    envelope::{self, EnvelopeError, Opened},
    key::{KeyPair, PublicKey},
};
use peering_api::{
    names,
    peering::{LinkEnd, reasons},
};

use super::group::{Group, LinkView};

/// What an envelope turned out to be.
pub enum Brought {
    /// There is none yet, or no key to check it with.
    Waiting(String),
    /// It is refused.
    Refused(reasons::Delivered, String),
    /// Its content.
    Content {
        /// Revision of the content.
        revision: i64,
        /// Its hash, as the source states it.
        hash: String,
        /// The content.
        content: Content,
    },
}

/// Opens the envelope of a link. `held` is the revision that the target holds, if it is ours.
#[must_use]
pub fn open(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>) -> Brought {
    let spec = &view.link.spec;
    let Some(envelope) = view.envelope else {
        return Brought::Waiting(format!(
            "no envelope of cluster {} has arrived yet: it comes with ManifestWork {}",
            spec.from.cluster,
            names::work_name(&spec.peering, 0)
        ));
    };
    let opened = if spec.confidential {
        let senders = senders(&spec.from);
        if senders.is_empty() {
            return Brought::Waiting(format!(
                "the agent of cluster {} has not published a valid key yet, its envelope cannot be checked",
                spec.from.cluster
            ));
        }
        unseal(envelope.expose(), &spec.id, &senders, group.keys)
    } else {
        envelope::open_plain(envelope.expose())
    };
    match opened {
        Ok(opened) => check(group, view, held, opened),
        Err(error) => Brought::Refused(reason(&error), error.to_string()),
    }
}

/// The keys by which a sender may have sealed: its own, and the one before while it is being replaced.
fn senders(from: &LinkEnd) -> Vec<PublicKey> {
    let keys = [&from.public_key, &from.previous_public_key].into_iter().flatten();
    keys.filter_map(|key| PublicKey::from_base64(key).ok()).collect()
}

/// Tries the keys of both ends, the newest first. Where none fits, the error is that of the newest pair which the
/// envelope is meant for.
fn unseal(bytes: &[u8], link: &str, senders: &[PublicKey], keys: &[&KeyPair]) -> Result<Opened, EnvelopeError> {
    let mut refused = EnvelopeError::Damaged("there is no key to open it with");
    let mut meant = false;
    for (index, key) in keys.iter().enumerate() {
        for (at, sender) in senders.iter().enumerate() {
            match envelope::open(bytes, link, sender, key) {
                Ok(opened) => return Ok(opened),
                Err(error @ EnvelopeError::WrongKey { .. }) if (index, at) == (0, 0) => refused = error,
                Err(EnvelopeError::WrongKey { .. }) => {}
                Err(error) if !meant => (refused, meant) = (error, true),
                Err(_) => {}
            }
        }
    }
    Err(refused)
}

fn check(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>, opened: Opened) -> Brought {
    let known = known_revision(group, view, held);
    if let Some(known) = known.filter(|known| opened.revision < *known) {
        let message = format!(
            "the envelope holds revision {}, but revision {known} was delivered already: an older one is never applied",
            opened.revision
        );
        return Brought::Refused(reasons::Delivered::StaleRevision, message);
    }
    match Content::decode(opened.content.expose()) {
        Ok(content) => Brought::Content {
            revision: opened.revision,
            hash: opened.hash,
            content,
        },
        Err(error) => Brought::Refused(reasons::Delivered::EnvelopeRejected, error.to_string()),
    }
}

/// The highest revision of a link that is known to have been delivered.
#[must_use]
pub fn known_revision(group: &Group<'_>, view: &LinkView<'_>, held: Option<i64>) -> Option<i64> {
    let stated = view.link.status.as_ref().and_then(|status| status.applied_revision);
    let remembered = group.applied.get(&view.link.spec.id).copied();
    [held, stated, remembered].into_iter().flatten().max()
}

fn reason(error: &EnvelopeError) -> reasons::Delivered {
    match error {
        EnvelopeError::WrongLink { .. } | EnvelopeError::WrongKey { .. } => reasons::Delivered::WrongRecipient,
        _ => reasons::Delivered::EnvelopeRejected,
    }
}
