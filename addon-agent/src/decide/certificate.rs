//! The private key of a certificate that a link asks for: made once on this cluster, kept in a Secret beside the agent, and
//! removed with the link. Only a request for its signature leaves the cluster.
use std::collections::BTreeMap;

use exchange::certificate::{self, RequestError, Subject};
use peering_api::{
    Sensitive, names,
    peering::{CertificateSubject, ObjectRef, PeerLinkSpec},
};

use super::{
    action::{Action, DataObject, Wanted},
    content::PRIVATE_KEY,
    group::our_labels,
};
use crate::spoke::{Place, Seen, observed::normal};

/// What is known of the key of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The link holds no certificate.
    None,
    /// Its watch has not said anything.
    Pending,
    /// A key has to be made: there is none, or what stands there cannot be used.
    Make,
    /// There can be none for now, and why.
    Missing(String),
    /// The key (PEM).
    Ready(Sensitive),
}

/// Where the key stands.
#[must_use]
pub fn place(link: &PeerLinkSpec, agent_namespace: &str) -> Option<Place> {
    link.certificate.as_ref()?;
    let name = names::certificate_key_name(&link.id);
    Some(normal(&ObjectRef::core("Secret", agent_namespace, &name)))
}

/// What is known of the key, given its Secret.
#[must_use]
pub fn key(link: &PeerLinkSpec, place: &Place, seen: &Seen) -> Key {
    let object = match seen {
        Seen::Pending => return Key::Pending,
        Seen::Denied => {
            return Key::Missing(format!(
                "the agent may not make a key in {place}: the right arrives with ManifestWork {}",
                names::work_name(&link.peering, 0)
            ));
        }
        Seen::Unknown | Seen::Absent => return Key::Make,
        Seen::Present(object) => object,
    };
    if object.owner() != Some(&link.id) {
        return Key::Missing(format!(
            "{place} exists and is not of this link: expected it to hold the key of its certificate; delete it"
        ));
    }
    let key = object.data.get(PRIVATE_KEY);
    match key.filter(|key| certificate::PublicKey::of_private(key).is_ok()) {
        _ if object.terminating => Key::Pending,
        Some(key) => Key::Ready(key.clone()),
        None => Key::Make,
    }
}

/// The Secret that keeps a new key.
#[must_use]
pub fn keep(link: &PeerLinkSpec, key: Sensitive, seen: &Seen) -> Action {
    let wanted = Wanted::Data(DataObject {
        type_: Some("Opaque".to_owned()),
        labels: our_labels(&link.id, &link.peering),
        annotations: BTreeMap::new(),
        data: [(PRIVATE_KEY.to_owned(), key)].into(),
        exact: true,
    });
    match seen {
        Seen::Present(object) if wanted.must_recreate(object) => Action::Recreate(wanted),
        Seen::Present(_) => Action::Apply(wanted),
        _ => Action::Create(wanted),
    }
}

/// What is done with the key when the link goes.
#[must_use]
pub fn withdraw(link: &PeerLinkSpec, seen: &Seen) -> Action {
    match seen {
        Seen::Present(object) if object.owner() == Some(&link.id) && !object.terminating => Action::Delete,
        _ => Action::None,
    }
}

/// What is to be signed: what was asked before, as long as it is for this subject and key. Each request is signed with
/// other random bytes, so a new one for the same would make the source sign again.
pub fn request(subject: &CertificateSubject, key: &Sensitive, before: Option<&str>) -> Result<String, RequestError> {
    let subject = Subject {
        common_name: subject.common_name.clone(),
        organizations: subject.organizations.iter().cloned().collect(),
        dns_names: subject.dns_names.iter().cloned().collect(),
        ..Subject::default()
    };
    let ours = certificate::PublicKey::of_private(key)?;
    let fits = |before: &&str| certificate::check(before, &subject).is_ok_and(|checked| *checked.key() == ours);
    match before.filter(fits) {
        Some(before) => Ok(before.to_owned()),
        None => certificate::request(key, &subject),
    }
}
