//! Objects that the source's agent applies first and removes last, such as a claim that makes a credential.
use std::collections::BTreeSet;

use peering_api::{
    names,
    peering::{ObjectRef, ObjectTemplate, OnConflict, PeerExportSpec, reasons::SourceReady},
};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::{
    Bad, KEPT,
    lookup::{Lookup, Seen, View},
    read::{forbidden, scope, unknown},
};
use crate::{
    expression::{Scope, template},
    object::{self, desired, stands},
    rights::place_of,
    value::Value,
};

/// Characters of the hash in [`names::PROVISIONED_ANNOTATION`].
const HASH: usize = 32;

/// One object that is to be there.
#[derive(Clone, PartialEq)]
pub struct Provision {
    /// Where it stands.
    pub place: ObjectRef,
    /// What is applied.
    pub object: Json,
    id: String,
    peering: String,
    on_conflict: OnConflict,
}

impl std::fmt::Debug for Provision {
    /// Not the object: its template may be filled with anything.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provision({})", self.place)
    }
}

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its watch has not said anything yet.
    Waiting,
    /// Nothing.
    Stands,
    /// It is applied: `uid` of the object that is there, if one is.
    Apply(Option<String>),
    /// It cannot be applied.
    Bad(Bad),
}

/// What is left of an object while its export goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Its watch has not said anything yet.
    Waiting,
    /// Nothing of ours.
    Nothing,
    /// The object with this uid is ours and is to be deleted.
    Delete(String),
    /// The object cannot be seen.
    Hidden(String),
}

/// The objects that an export provisions, filled in.
pub fn provisions(cluster: &str, spec: &PeerExportSpec) -> Result<Vec<Provision>, Bad> {
    let scope = scope(cluster, spec);
    let templates = spec.provision.iter().enumerate();
    let objects = templates.map(|(index, template)| provision(cluster, spec, index, template, &scope));
    objects.collect()
}

fn provision(
    cluster: &str,
    spec: &PeerExportSpec,
    index: usize,
    wanted: &ObjectTemplate,
    scope: &Scope,
) -> Result<Provision, Bad> {
    let failed = |problem: &dyn std::fmt::Display| {
        let message = format!("artefact {:?}, provision[{index}]: {problem}; {KEPT}", spec.artefact);
        Bad::new(SourceReady::EvaluationFailed, message)
    };
    let place = place_of(wanted).ok_or_else(|| failed(&"the template does not name an object: correct the profile"))?;
    let filled = template(&wanted.template, scope).map_err(|error| failed(&error))?;
    let id = names::export_id(&spec.peering, &spec.artefact, cluster);
    let labels = [
        (names::PEERING_LABEL.to_owned(), spec.peering.clone()),
        (names::LINK_LABEL.to_owned(), id.clone()),
    ];
    // A field that has left the template is not missed by a comparison: the hash is.
    let hash = names::hex(&Sha256::digest(filled.to_string().as_bytes()));
    let annotations = [(names::PROVISIONED_ANNOTATION.to_owned(), hash[..HASH].to_owned())];
    let at = object::Place {
        api_version: place.api_version.clone(),
        kind: place.kind.clone(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
    };
    let object = desired(filled, &at, &labels.into(), &annotations.into()).map_err(|error| failed(&error))?;
    Ok(Provision {
        place,
        object,
        id,
        peering: spec.peering.clone(),
        on_conflict: wanted.on_conflict,
    })
}

impl Provision {
    /// What is watched for it.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        Lookup::object(&self.place)
    }

    /// What is to be done, given what was seen of the object.
    #[must_use]
    pub fn standing(&self, seen: &Seen<Value>) -> Standing {
        let place = &self.place;
        let bad = |reason, message| Standing::Bad(Bad::new(reason, message));
        match seen {
            Seen::Pending => Standing::Waiting,
            Seen::Absent => Standing::Apply(None),
            Seen::Denied => {
                let message = forbidden(&self.peering, place.namespace.as_deref(), &place.to_string());
                bad(SourceReady::SourceForbidden, message)
            }
            Seen::Unknown => bad(SourceReady::KindNotFound, unknown(&self.lookup(), &place.to_string())),
            // What bears no label of ours belongs to nobody else who provisions, and may be taken over where the profile says so.
            Seen::Present(object) if owner(object).is_none() && self.on_conflict == OnConflict::Adopt => {
                Standing::Apply(uid(object))
            }
            Seen::Present(object) if owner(object) != Some(&self.id) => {
                let message = format!(
                    "{place} exists and was not made for this artefact, so it is left alone: expected none, or one with \
                     label {}={}; remove it, or give the provisioned object another name; {KEPT}",
                    names::LINK_LABEL,
                    self.id
                );
                bad(SourceReady::ProvisionFailed, message)
            }
            Seen::Present(object) if stands(&self.object, &object.to_json()) => Standing::Stands,
            Seen::Present(object) => Standing::Apply(uid(object)),
        }
    }
}

/// What is watched of all objects that an export has provisioned. Names are resolved, so that nothing of a template has to
/// be filled in for their removal.
#[must_use]
pub fn provisioned(spec: &PeerExportSpec) -> BTreeSet<Lookup> {
    let places = spec.provision.iter().filter_map(place_of);
    places.map(|place| Lookup::object(&place)).collect()
}

/// What is left of the objects of an export that goes away, each with its place.
#[must_use]
pub fn remains(cluster: &str, spec: &PeerExportSpec, view: &View<'_>) -> Vec<(ObjectRef, Remains)> {
    let id = names::export_id(&spec.peering, &spec.artefact, cluster);
    let left = |place: ObjectRef| {
        let remains = match view(&Lookup::object(&place)) {
            Seen::Pending => Remains::Waiting,
            Seen::Denied => Remains::Hidden(forbidden(&spec.peering, place.namespace.as_deref(), &place.to_string())),
            Seen::Unknown | Seen::Absent => Remains::Nothing,
            // One that waits for the finalizers of others is theirs now.
            Seen::Present(object) if owner(&object) != Some(&id) || is_going(&object) => Remains::Nothing,
            Seen::Present(object) => uid(&object).map_or(Remains::Nothing, Remains::Delete),
        };
        (place, remains)
    };
    spec.provision.iter().filter_map(place_of).map(left).collect()
}

fn owner(object: &Value) -> Option<&str> {
    object.at(&["metadata", "labels", names::LINK_LABEL])?.text()
}

fn uid(object: &Value) -> Option<String> {
    object.at(&["metadata", "uid"])?.text().map(str::to_owned)
}

fn is_going(object: &Value) -> bool {
    object.at(&["metadata", "deletionTimestamp"]).is_some()
}
