//! What the agent says about itself on its `PeerMember`.
use addon_framework::runtime::conditions::{Wanted, merge};
use exchange::key::PublicKey;
use jiff::Timestamp;
use peering_api::{
    names,
    peering::{
        PeerMember, PeerMemberStatus,
        reasons::{self, MemberReady},
    },
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

/// What else is known of the agent and its cluster.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Version of the agent.
    pub version: &'a str,
    /// The API groups that the cluster serves; `None` while they have not been found.
    pub api_groups: Option<&'a [String]>,
}

/// The status that the member should have; `None` while there is nothing to say.
#[must_use]
pub fn wanted(member: &PeerMember, identity: &Identity, about: &About<'_>, now: Timestamp) -> Option<PeerMemberStatus> {
    let before = member.status.clone().unwrap_or_default();
    let (mut status, ready) = match identity {
        Identity::Pending => return None,
        Identity::Known { key, previous } => {
            let status = PeerMemberStatus {
                public_key: Some(key.to_base64()),
                previous_public_key: previous.as_ref().map(PublicKey::to_base64),
                fingerprint: Some(key.fingerprint()),
                api_groups: before.api_groups.clone(),
                ..PeerMemberStatus::default()
            };
            (status, ready(member, key, previous.as_ref()))
        }
        // The published key stays: envelopes sealed to it open again once the right Secret is back.
        Identity::Broken(why) => (
            before.clone(),
            Wanted::new(reasons::READY, false, MemberReady::KeyInvalid.as_str(), why),
        ),
    };
    status.agent_version = Some(about.version.to_owned());
    if let Some(groups) = about.api_groups {
        status.api_groups = groups.to_vec();
    }
    status.conditions = vec![merge(&before.conditions, &ready.at(member.metadata.generation), now)];
    Some(status)
}

fn ready(member: &PeerMember, key: &PublicKey, previous: Option<&PublicKey>) -> Wanted {
    let wanted =
        |reason: MemberReady, message: String| Wanted::new(reasons::READY, reason.status(), reason.as_str(), message);
    let (fingerprint, before) = (key.fingerprint(), previous.map(PublicKey::fingerprint));
    let known = member.spec.known_fingerprint.as_ref();
    if let Some(known) = known.filter(|known| **known != fingerprint && Some(*known) != before.as_ref()) {
        let name = &member.spec.cluster;
        let message = format!(
            "Peerings know this cluster by key {known}, and its agent has key {fingerprint}: nothing is sealed to it or \
             taken from it; if the cluster was set up anew, compare the key with the agent's log and confirm it: kubectl \
             annotate -n {name} peermember {name} {}={fingerprint} --overwrite",
            names::CONFIRM_KEY_ANNOTATION
        );
        return wanted(MemberReady::IdentityChanged, message);
    }
    match before {
        None => wanted(
            MemberReady::AgentRunning,
            "the agent runs and has published its key".to_owned(),
        ),
        Some(before) => wanted(
            MemberReady::KeyRotating,
            format!("the agent has a new key and keeps the one before it ({before}) until nobody needs it any more"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use peering_api::peering::PeerMemberSpec;

    use super::*;
    use crate::decide::fixtures::{now, pair};

    const ABOUT: About<'_> = About {
        version: "1",
        api_groups: None,
    };

    fn known(key: u8, previous: Option<u8>) -> Identity {
        Identity::Known {
            key: pair(key).public().clone(),
            previous: previous.map(|seed| pair(seed).public().clone()),
        }
    }

    fn member(known: Option<u8>) -> PeerMember {
        let spec = PeerMemberSpec {
            cluster: "east".into(),
            known_fingerprint: known.map(|seed| pair(seed).public().fingerprint()),
            ..PeerMemberSpec::default()
        };
        PeerMember::new("east", spec)
    }

    #[test]
    fn a_member_is_written_once_and_says_when_its_key_is_broken() {
        let mut member = member(None);
        assert_eq!(wanted(&member, &Identity::Pending, &ABOUT, now()), None);
        member.status = wanted(&member, &known(1, None), &ABOUT, now());
        let status = member.status.clone().unwrap();
        assert_eq!(status.fingerprint, Some(pair(1).public().fingerprint()));
        let later = now() + jiff::SignedDuration::from_hours(1);
        assert_eq!(wanted(&member, &known(1, None), &ABOUT, later), member.status);
        let broken = wanted(&member, &Identity::Broken("why".into()), &ABOUT, later).unwrap();
        assert_eq!(broken.public_key, status.public_key);
        let said = &broken.conditions[0];
        assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "KeyInvalid"));
    }

    #[test]
    fn groups_are_kept_while_they_are_not_found_again() {
        let mut member = member(None);
        let groups = ["apps".to_owned(), "batch".to_owned()];
        let found = About {
            api_groups: Some(&groups),
            ..ABOUT
        };
        member.status = wanted(&member, &known(1, None), &found, now());
        assert_eq!(member.status.clone().unwrap().api_groups, groups);
        assert_eq!(wanted(&member, &known(1, None), &ABOUT, now()), member.status);
        let none = About {
            api_groups: Some(&[]),
            ..ABOUT
        };
        assert!(
            wanted(&member, &known(1, None), &none, now())
                .unwrap()
                .api_groups
                .is_empty()
        );
    }

    #[test]
    fn a_rotating_key_is_told_from_one_that_nobody_knows() {
        for (hub_knows, key, previous, expected) in [
            (None, 1, None, ("True", "AgentRunning")),
            (Some(1), 1, None, ("True", "AgentRunning")),
            (Some(1), 2, Some(1), ("True", "KeyRotating")),
            (Some(2), 2, Some(1), ("True", "KeyRotating")),
            (Some(1), 2, None, ("False", "IdentityChanged")),
            (Some(1), 3, Some(2), ("False", "IdentityChanged")),
        ] {
            let status = wanted(&member(hub_knows), &known(key, previous), &ABOUT, now()).unwrap();
            let said = &status.conditions[0];
            assert_eq!((said.status.as_str(), said.reason.as_str()), expected);
            let previous = previous.map(|seed| pair(seed).public().to_base64());
            assert_eq!(status.previous_public_key, previous);
            if expected.1 == "IdentityChanged" {
                let confirm = format!("confirm-key={}", pair(key).public().fingerprint());
                assert!(said.message.contains(&confirm), "{}", said.message);
            }
        }
    }
}
