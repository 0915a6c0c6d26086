//! Names, ids, labels and annotations of everything we create. Names are an API: each has a test vector.
//!
//! Ids hash a length-prefixed encoding, never joined strings: `("a", "bc")` and `("ab", "c")` differ.
use sha2::{Digest, Sha256};

/// API group of our own kinds.
pub const GROUP: &str = "peering.open-cluster-management.io";
/// Name of the `ClusterManagementAddOn`, of every `ManagedClusterAddOn` and of the agent's Lease.
pub const ADDON: &str = "tokenexchange";
/// Name of the agent's Deployment, service account and roles on a managed cluster.
pub const AGENT: &str = "token-exchange-agent";
/// Secret in the agent's own namespace that holds its key pair. It never leaves the managed cluster.
pub const AGENT_KEY_SECRET: &str = "token-exchange-agent-key";
/// Label: the `Peering` that an object serves.
pub const PEERING_LABEL: &str = "peering.open-cluster-management.io/peering";
/// Label on a delivered target: the id of its link, or of its bundle where several links share it. On a provisioned
/// object: the id of its export.
pub const LINK_LABEL: &str = "peering.open-cluster-management.io/link";
/// Annotation on a delivered target: the revision that it holds, per link (JSON object of link id to revision).
pub const REVISIONS_ANNOTATION: &str = "peering.open-cluster-management.io/revisions";
/// Annotation on a delivered CA bundle: fingerprints of the certificates that we put there (comma separated).
pub const CERTIFICATES_ANNOTATION: &str = "peering.open-cluster-management.io/certificates";
/// Annotation on a delivered or applied object that was made from a template: digest of the template's text, so that a field
/// which has left the template leaves the object too. It says nothing of the values that were filled in.
pub const TEMPLATE_ANNOTATION: &str = "peering.open-cluster-management.io/template";
/// Finalizer on a `PeerLink` until its agent has withdrawn the target, on a `Peering` until all its links are gone,
/// and on a `ManagedClusterAddOn` until its cluster's links are.
pub const WITHDRAW_FINALIZER: &str = "peering.open-cluster-management.io/withdraw";
/// Annotation on a `PeerMember`: the fingerprint of a changed key, once a person has confirmed it.
pub const CONFIRM_KEY_ANNOTATION: &str = "peering.open-cluster-management.io/confirm-key";
/// Annotation on a `PeerMember`: any new value makes the agent rotate its key.
pub const ROTATE_KEY_ANNOTATION: &str = "peering.open-cluster-management.io/rotate-key";
/// Annotation on a deleted `Peering`: it goes without waiting for members that cannot be reached. Their links stay until
/// their agents have come back and withdrawn what they delivered.
pub const FORCE_LOCAL_ANNOTATION: &str = "peering.open-cluster-management.io/force-local";
/// Annotation on a consumer: what each link has changed in it.
pub const WIRED_ANNOTATION: &str = "peering.open-cluster-management.io/wired";
/// Annotation on a delivered CA bundle: certificates that their sources have dropped, and until when they are kept.
pub const RETIRING_ANNOTATION: &str = "peering.open-cluster-management.io/retiring";
/// Annotation on a provisioned object: a hash of the template that it was applied from.
pub const PROVISIONED_ANNOTATION: &str = "peering.open-cluster-management.io/provisioned";
/// Type of the Secret that carries a sealed envelope to an agent.
pub const SEALED_SECRET_TYPE: &str = "peering.open-cluster-management.io/sealed";
/// Longest name of a `Peering`: it is used as a label value too.
pub const MAX_PEERING_NAME: usize = 63;
/// Longest object name, RFC 1123 subdomain (Kubernetes API conventions).
const MAX_NAME: usize = 253;

/// Hex SHA-256 over the length-prefixed fields, cut to `chars`. The first field says what for, so that no two uses meet.
#[must_use]
pub fn digest(fields: &[&str], chars: usize) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field.as_bytes());
    }
    hex(&hash.finalize()).chars().take(chars).collect()
}

/// Lower-case hexadecimal of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// A readable name that stays unique when it had to be cut: the id's first characters end it.
fn readable(parts: &[&str], id: &str) -> String {
    const SUFFIX: usize = 10;
    let mut name = parts.join("-");
    name.truncate(name.floor_char_boundary(MAX_NAME - SUFFIX - 1));
    let name = name.trim_end_matches(['-', '.']);
    format!("{name}-{}", &id[..SUFFIX])
}

/// Id of the directed link of one artefact: 32 hex characters, fit for a label value.
#[must_use]
pub fn link_id(peering: &str, artefact: &str, from: &str, to: &str) -> String {
    digest(&["link/v1", peering, artefact, from, to], 32)
}

/// Name of a `PeerLink` in its destination's cluster namespace.
#[must_use]
pub fn link_name(peering: &str, artefact: &str, from: &str, id: &str) -> String {
    readable(&[peering, artefact, from], id)
}

/// Id of what one source hands over of one artefact: the label of what it provisions for that.
#[must_use]
pub fn export_id(peering: &str, artefact: &str, from: &str) -> String {
    digest(&["export/v1", peering, artefact, from], 32)
}

/// Name of a `PeerExport` in its source's cluster namespace.
#[must_use]
pub fn export_name(peering: &str, artefact: &str, from: &str) -> String {
    readable(&[peering, artefact], &export_id(peering, artefact, from))
}

/// Id of a CA bundle on one cluster, which all links of the artefact that end there share.
#[must_use]
pub fn bundle_id(peering: &str, artefact: &str, to: &str) -> String {
    digest(&["bundle/v1", peering, artefact, to], 32)
}

/// `peering-<name>` for the first of a series, `peering<n>-<name>` for the others: no two Peerings share one.
fn numbered(peering: &str, index: usize) -> String {
    match index {
        0 => format!("peering-{peering}"),
        index => format!("peering{index}-{peering}"),
    }
}

/// Name of the Secret and the `ConfigMap` that carry a peering's envelopes into the agent's namespace. Each link's
/// envelope stands under the link's id. There are several only where one would be too large for a `ManifestWork`.
#[must_use]
pub fn carrier_name(peering: &str, index: usize) -> String {
    numbered(peering, index)
}

/// Name of the `ManifestWork` of one peering in a member's cluster namespace that brings the carrier of the same index.
#[must_use]
pub fn work_name(peering: &str, index: usize) -> String {
    numbered(peering, index)
}

/// Secret in the agent's namespace with the private key of the certificate that a link asks for.
#[must_use]
pub fn certificate_key_name(link: &str) -> String {
    format!("peering-key-{link}")
}

/// Name of the `CertificateSigningRequest` that a link's source makes for one request.
#[must_use]
pub fn signing_request_name(link: &str, request_hash: &str) -> String {
    format!("peering-{link}-{}", request_hash.chars().take(10).collect::<String>())
}

/// Plural of a kind in the API, as `meta.UnsafeGuessKindToResource` of `k8s.io/apimachinery` guesses it.
#[must_use]
pub fn plural(kind: &str) -> String {
    let lower = kind.to_ascii_lowercase();
    if lower == "endpoints" {
        lower
    } else if lower.ends_with('s') {
        lower + "es"
    } else if let Some(stem) = lower.strip_suffix('y') {
        format!("{stem}ies")
    } else {
        lower + "s"
    }
}

/// Name of the Role and `RoleBinding` that a peering needs in one namespace of a managed cluster.
#[must_use]
pub fn role_name(peering: &str) -> String {
    format!("{AGENT}:{peering}")
}

/// Name of the event that tells of a transition of one condition, which was seen on one version of one object.
#[must_use]
pub fn event_name(object: &str, uid: &str, version: &str, condition: &str) -> String {
    let id = digest(&["event/v1", uid, version, condition], 32);
    let mut object = object.to_owned();
    object.truncate(MAX_NAME - id.len() - 1);
    format!("{}.{id}", object.trim_end_matches(['-', '.']))
}

/// Fingerprint of a public key as shown to people: `SHA256:` and the first 32 hex characters.
#[must_use]
pub fn key_fingerprint(public_key: &[u8]) -> String {
    let digest = hex(&Sha256::digest(public_key));
    format!("SHA256:{}", &digest[..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        let id = link_id("east-west", "peer-token", "east", "west");
        assert_eq!(id, "1244d3bc6c53866b576a23659f450d97");
        assert_eq!(
            link_name("east-west", "peer-token", "east", &id),
            "east-west-peer-token-east-1244d3bc6c"
        );
        assert_eq!(
            export_name("east-west", "peer-token", "east"),
            "east-west-peer-token-889e6b6012"
        );
        assert_eq!(
            export_id("east-west", "peer-token", "east")[..10],
            export_name("east-west", "peer-token", "east")[21..]
        );
        assert_eq!(bundle_id("east-west", "ca", "west"), "a368f7122cb95eb2dbcd72663e74c3be");
        assert_eq!(carrier_name("east-west", 0), "peering-east-west");
        assert_eq!(work_name("east-west", 0), "peering-east-west");
        assert_eq!(work_name("east-west", 2), "peering2-east-west");
        assert_eq!(
            certificate_key_name(&id),
            "peering-key-1244d3bc6c53866b576a23659f450d97"
        );
        assert_eq!(
            signing_request_name(&id, "0123456789abcdef"),
            "peering-1244d3bc6c53866b576a23659f450d97-0123456789"
        );
        assert_eq!(role_name("east-west"), "token-exchange-agent:east-west");
        assert_eq!(
            event_name("east-west", "u", "7", "Ready"),
            "east-west.16810735b69e8976c24cad4a6ee8ee48"
        );
        assert_eq!(key_fingerprint(&[7; 32]), "SHA256:4bb06f8e4e3a7715d201d573d0aa4237");
    }

    #[test]
    fn kinds_have_the_plurals_that_kubectl_guesses() {
        for (kind, plural) in [
            ("Secret", "secrets"),
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
            ("Endpoints", "endpoints"),
            ("StorageClass", "storageclasses"),
            ("CephBlockPool", "cephblockpools"),
        ] {
            assert_eq!(super::plural(kind), plural);
        }
    }

    #[test]
    fn moving_a_character_between_fields_changes_the_id() {
        assert_ne!(link_id("ab", "c", "x", "y"), link_id("a", "bc", "x", "y"));
        assert_ne!(link_id("p", "a", "x", "y"), link_id("p", "a", "y", "x"));
    }

    #[test]
    fn names_stay_within_kubernetes_limits_and_unique() {
        let long = "x".repeat(250);
        let (one, two) = (link_id("p", "a", &long, "y"), link_id("p", "a", &long, "z"));
        let (first, second) = (link_name("p", "a", &long, &one), link_name("p", "a", &long, &two));
        assert!(first.len() <= 253 && one.len() <= 63);
        assert_eq!(event_name(&long, "u", "7", "Ready").len(), 253);
        assert_ne!(first, second);
    }
}
