//! What the agent says about itself on its `PeerMember`.
use addon_framework::runtime::conditions::{Wanted, merge};
use exchange::key::PublicKey;
use jiff::Timestamp;
use peering_api::peering::{
    PeerMember, PeerMemberStatus,
    reasons::{self, MemberReady},
};

/// What is known of the agent's own key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Not read yet.
    Pending,
    /// The key pair exists.
    Known {
        /// The public key.
        key: PublicKey,
        /// The one before it, while it is being rotated.
        previous: Option<PublicKey>,
    },
    /// Its Secret is malformed, for this reason; it is never overwritten.
    Broken(String),
}

/// The status that the member should have; `None` while there is nothing to say.
#[must_use]
pub fn wanted(member: &PeerMember, identity: &Identity, version: &str, now: Timestamp) -> Option<PeerMemberStatus> {
    let before = member.status.clone().unwrap_or_default();
    let (mut status, ready) = match identity {
        Identity::Pending => return None,
        Identity::Known { key, previous } => {
            let status = PeerMemberStatus {
                public_key: Some(key.to_base64()),
                previous_public_key: previous.as_ref().map(PublicKey::to_base64),
                fingerprint: Some(key.fingerprint()),
                ..PeerMemberStatus::default()
            };
            (status, running(previous.as_ref()))
        }
        // The published key stays: envelopes sealed to it open again once the right Secret is back.
        Identity::Broken(why) => (
            before.clone(),
            Wanted::new(reasons::READY, false, MemberReady::KeyInvalid.as_str(), why),
        ),
    };
    status.agent_version = Some(version.to_owned());
    status.conditions = vec![merge(&before.conditions, &ready.at(member.metadata.generation), now)];
    Some(status)
}

fn running(previous: Option<&PublicKey>) -> Wanted {
    let (reason, message) = match previous {
        None => (
            MemberReady::AgentRunning,
            "the agent runs and has published its key".to_owned(),
        ),
        Some(previous) => (
            MemberReady::KeyRotating,
            format!(
                "the agent has a new key and keeps the one before it ({}) until nothing is sealed to it or by it any more",
                previous.fingerprint()
            ),
        ),
    };
    Wanted::new(reasons::READY, true, reason.as_str(), message)
}

#[cfg(test)]
mod tests {
    use peering_api::peering::PeerMemberSpec;

    use super::*;
    use crate::decide::fixtures::{now, pair};

    #[test]
    fn a_member_is_written_once_and_says_when_its_key_is_broken() {
        let mut member = PeerMember::new("east", PeerMemberSpec { cluster: "east".into() });
        assert_eq!(wanted(&member, &Identity::Pending, "1", now()), None);
        let known = Identity::Known {
            key: pair(1).public().clone(),
            previous: None,
        };
        member.status = wanted(&member, &known, "1", now());
        let status = member.status.clone().unwrap();
        assert_eq!(status.fingerprint, Some(pair(1).public().fingerprint()));
        let later = now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(wanted(&member, &known, "1", later), member.status);
        let broken = wanted(&member, &Identity::Broken("why".into()), "1", later).unwrap();
        assert_eq!(broken.public_key, status.public_key);
        assert_eq!(
            (
                broken.conditions[0].status.as_str(),
                broken.conditions[0].reason.as_str()
            ),
            ("False", MemberReady::KeyInvalid.as_str())
        );
    }
}
