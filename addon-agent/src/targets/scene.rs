//! Everything that a pass over a target looks at, as it was seen at one moment.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use exchange::{key::KeyRing, source::Lookup};
use jiff::Timestamp;
use kube::ResourceExt;
use peering_api::{
    Sensitive,
    peering::{ArtefactKind, PeerLink},
};

use super::{
    links::{is_live, owner},
    lock,
    wiring::Unwired,
};
use crate::{
    context::Context,
    decide::{
        self, CertificateKey, Decision, Group, LinkView, Obstacle, OwnShare,
        certificate::{self, Key},
        previous, prove, wire,
    },
    exports,
    hub::Hub,
    spoke::{Observed, Place, Seen, User, carrier_of},
};

/// What was seen.
pub struct Scene {
    /// Where the target stands.
    pub place: Place,
    /// The links that end there, oldest first.
    pub links: Vec<Arc<PeerLink>>,
    /// The target.
    pub target: Seen,
    /// The keys of certificates, by id of the link.
    pub keys: BTreeMap<String, Key>,
    envelopes: BTreeMap<String, Sensitive>,
    own: OwnShare,
}

impl Scene {
    /// Looks at all that the links need; `None` while a watch that everything depends on has not said anything. It wakes the
    /// target when it does. Consumers and what probes look at are read when their turn comes: they hold nothing up.
    pub fn look(context: &Context, hub: &Hub, place: &Place, links: Vec<Arc<PeerLink>>) -> Option<Self> {
        watch(context, hub, place, &links);
        let mut scene = Self {
            place: place.clone(),
            target: context.pool.read(place),
            keys: keys(context, &links),
            envelopes: BTreeMap::new(),
            own: OwnShare::None,
            links,
        };
        let live = scene.links.iter().filter(|link| is_live(link));
        for link in live {
            let mut object = match context.pool.read(&carrier_of(&link.spec, &context.namespace)) {
                Seen::Pending => return None,
                Seen::Denied | Seen::Unknown | Seen::Absent => continue,
                Seen::Present(object) => object,
            };
            scene.envelopes.extend(object.data.remove_entry(&link.spec.id));
        }
        if scene.target == Seen::Pending || scene.keys.values().any(|key| *key == Key::Pending) {
            return None;
        }
        scene.own = scene.own_share(context, hub)?;
        Some(scene)
    }

    fn own_share(&self, context: &Context, hub: &Hub) -> Option<OwnShare> {
        let views: Vec<_> = self.links.iter().map(|link| LinkView::new(link)).collect();
        let current = decide::bundle::current(&context.cluster, &views, self.target());
        match current.and_then(|view| own_export(hub, view.link)) {
            Some(export) => exports::own_share(&context.pool, &context.cluster, &export.spec),
            None => Some(OwnShare::None),
        }
    }

    /// The target, if it exists.
    pub fn target(&self) -> Option<&Observed> {
        self.target.present()
    }

    /// The link of that name.
    pub fn link(&self, name: &str) -> Option<&Arc<PeerLink>> {
        self.links.iter().find(|link| link.name_any() == name)
    }

    /// Decides on the target.
    pub fn decide(&self, context: &Context, ring: &KeyRing, undone: &Unwired, now: Timestamp) -> Decision {
        let applied = lock(&context.applied).clone();
        let obstacles: Vec<_> = self.links.iter().map(|link| obstacle(context, link, undone)).collect();
        let views: Vec<_> = self
            .links
            .iter()
            .zip(&obstacles)
            .map(|(link, obstacle)| LinkView {
                envelope: self.envelopes.get(&link.spec.id),
                key: match self.keys.get(&link.spec.id) {
                    None | Some(Key::None) => CertificateKey::None,
                    Some(Key::Pending | Key::Make) => CertificateKey::Missing(JUST_MADE),
                    Some(Key::Missing(why)) => CertificateKey::Missing(why),
                    Some(Key::Ready(key)) => CertificateKey::Ready(key),
                },
                obstacle: obstacle.as_ref(),
                ..LinkView::new(link)
            })
            .collect();
        let keys: Vec<_> = [Some(&ring.current), ring.previous.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRef::as_ref)
            .collect();
        let group = Group {
            place: &self.place,
            cluster: &context.cluster,
            links: &views,
            target: self.target(),
            own: &self.own,
            keys: &keys,
            applied: &applied,
            now,
        };
        match self.target {
            Seen::Denied => decide::group::denied(&group),
            Seen::Unknown => decide::group::unknown(&group),
            _ => decide::decide(&group),
        }
    }
}

/// What keeps a leaving link from removing its target.
fn obstacle(context: &Context, link: &PeerLink, undone: &Unwired) -> Option<Obstacle> {
    if is_live(link) {
        return None;
    }
    let of_wiring = undone.obstacle(&owner(&context.cluster, link));
    of_wiring.or_else(|| {
        let place = previous::place(&link.spec)?;
        previous::obstacle(&place, &context.pool.read(&place))
    })
}

/// What is said of a key that is being made: its watch brings the next pass.
const JUST_MADE: &str = "the key for the certificate is being made";

/// States what has to be watched.
fn watch(context: &Context, hub: &Hub, place: &Place, links: &[Arc<PeerLink>]) {
    let (mut places, mut own) = (BTreeSet::from([place.clone()]), BTreeSet::new());
    for link in links {
        let spec = &link.spec;
        places.extend(previous::place(spec));
        places.extend(certificate::place(spec, &context.namespace));
        places.extend(wire::places(spec));
        if is_live(link) {
            places.insert(carrier_of(spec, &context.namespace));
            places.extend(prove::places(spec));
            let export = own_export(hub, link);
            own.extend(
                export
                    .iter()
                    .flat_map(|export| exports::lookups(&context.pool, &context.cluster, &export.spec)),
            );
        }
    }
    own.extend(places.iter().map(Lookup::object));
    context.pool.want_all(&User::Target(place.clone()), &own);
}

fn keys(context: &Context, links: &[Arc<PeerLink>]) -> BTreeMap<String, Key> {
    let key = |link: &Arc<PeerLink>| {
        let place = certificate::place(&link.spec, &context.namespace)?;
        let key = match context.pool.read(&place) {
            seen if is_live(link) => certificate::key(&link.spec, &place, &seen),
            // It is removed, once it is known whether it is there.
            Seen::Pending => Key::Pending,
            _ => Key::None,
        };
        Some((link.spec.id.clone(), key))
    };
    links.iter().filter_map(key).collect()
}

/// This cluster's own share in the bundle of a link.
fn own_export(hub: &Hub, link: &PeerLink) -> Option<Arc<peering_api::peering::PeerExport>> {
    if link.spec.kind != ArtefactKind::CaBundle {
        return None;
    }
    hub.own_export(&link.spec.peering, &link.spec.artefact)
}
