//! What the fleet's clusters hold: a number in place of a Secret.
use std::{collections::HashMap, sync::Mutex};

use exchange::content::Content;
use kube::ResourceExt;
use peering_api::peering::{PeerExport, PeerLink};
use scenarios::bench::{
    agents::{Agents, Play},
    lock,
};

use crate::{
    course::{Course, Way},
    fleet::Source,
};

/// The key of a source.
const KEY: &str = "token";
/// The length of its value: that of a Ceph bootstrap token.
const LENGTH: usize = 256;

/// What the sources hold, and how their changes are getting on.
#[derive(Default)]
pub struct Numbers {
    /// By cluster; 0 in the beginning.
    held: Mutex<HashMap<String, u32>>,
    course: Course,
}

impl Play for Numbers {
    fn content(&self, export: &PeerExport) -> Option<Content> {
        let cluster = export.namespace().unwrap_or_default();
        let number = lock(&self.held).get(&cluster).copied().unwrap_or_default();
        Some(content(number))
    }

    fn arrived(&self, link: &PeerLink, content: &Content) {
        if let Some(number) = number(content) {
            self.course.arrived(&link.spec.from.cluster, number, &link.spec.id);
        }
    }

    fn reported(&self, link: &PeerLink, content: &Content) {
        if let Some(number) = number(content) {
            self.course.reported(&link.spec.from.cluster, number);
        }
    }
}

impl Way for Agents<Numbers> {
    fn change(&self, source: &Source, number: u32) {
        self.play().course.begin(source, number);
        lock(&self.play().held).insert(source.cluster.clone(), number);
        self.changed(&source.cluster, &source.export);
    }

    fn course(&self) -> &Course {
        &self.play().course
    }
}

/// The content of a source. All have the same length.
fn content(number: u32) -> Content {
    let value = format!("{number:0>LENGTH$}").into_bytes();
    Content {
        type_: Some("Opaque".to_owned()),
        data: [(KEY.to_owned(), value.into())].into(),
    }
}

/// The number that [`content`] was made of.
fn number(content: &Content) -> Option<u32> {
    std::str::from_utf8(content.data.get(KEY)?.expose()).ok()?.parse().ok()
}
