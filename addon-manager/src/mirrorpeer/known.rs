//! What is known about storage clients, kept between passes.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use peering_api::odf::ClientInfo;

/// What is known about storage clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Clients {
    /// All of them, by key of `odf-client-info`.
    pub(super) all: BTreeMap<String, ClientInfo>,
    /// What clusters report.
    pub(super) reported: BTreeMap<String, ClientInfo>,
    /// Those of which only `MirrorPeer`s know.
    pub(super) vanished: BTreeSet<String>,
}

/// The same, kept between passes.
#[derive(Debug, Default)]
pub(crate) struct Known(RwLock<Arc<Clients>>);

impl Known {
    pub(super) fn now(&self) -> Arc<Clients> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes what is known now in; returns whether it is something new.
    pub(super) fn take(&self, clients: Clients) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new = **known != clients;
        if new {
            *known = Arc::new(clients);
        }
        new
    }
}
