//! What the manager watches, and whom each change concerns.
use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use jiff::Timestamp;
use kube_runtime::watcher;
use peering_api::{
    k8s_openapi::api::{
        certificates::v1::CertificateSigningRequest,
        core::v1::Secret,
        rbac::v1::{Role, RoleBinding},
    },
    kube::{Api, ResourceExt, core::DynamicObject},
    ocm::{
        ClusterManagementAddOn, GroupResource, ManagedCluster, ManagedClusterAddOn, ManifestWork,
        addon::ConfigSpecHash,
        names::{ADDON_NAME_LABEL, CLUSTER_NAME_LABEL, LIFECYCLE_ANNOTATION, condition},
    },
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Key, Shared};
use crate::{
    config::{ConfigKind, Found},
    csr::{self, Rotation, Signer, SigningCa},
    runtime::{Packed, Watch, WatchState, conditions, watch, watch_with},
};

pub(super) struct Watches {
    /// One watch per addon, by its name: an API server can filter by name, so others' addons cost nothing.
    pub(super) addons: BTreeMap<String, Watch<Packed<ManagedClusterAddOn>>>,
    pub(super) clusters: Watch<Packed<ManagedCluster>>,
    pub(super) works: Watch<Packed<ManifestWork>>,
    pub(super) roles: Watch<Packed<Role>>,
    pub(super) bindings: Watch<Packed<RoleBinding>>,
    pub(super) requests: Watch<CertificateSigningRequest>,
    /// All addons of the hub; watched only if one of ours reads configurations.
    definitions: Option<Watch<ClusterManagementAddOn>>,
    configs: BTreeMap<ConfigKind, Watch<DynamicObject>>,
    /// By addon and signer.
    cas: BTreeMap<(String, String), Ca>,
}

/// The CA of a signer, in a Secret.
struct Ca {
    place: SigningCa,
    watch: Watch<Secret>,
    rotation: Rotation,
}

impl Watches {
    pub(super) fn start(shared: &Arc<Shared>, tasks: &TaskTracker, token: &CancellationToken) -> Self {
        let client = || shared.clients.watch.clone();
        let names = shared.addons.keys().cloned().collect::<Vec<_>>().join(",");
        let ours = watcher::Config::default().labels(&format!("{ADDON_NAME_LABEL} in ({names})"));
        let requests = ours
            .clone()
            .labels(&format!("{ADDON_NAME_LABEL} in ({names}),{CLUSTER_NAME_LABEL}"));
        let addons = shared
            .addons
            .keys()
            .map(|name| (name.clone(), Self::addon(shared, tasks, token, name)))
            .collect();
        let on = Arc::clone(shared);
        let clusters = watch(
            tasks,
            token,
            "managedclusters",
            Api::all(client()),
            watcher::Config::default(),
            move |cluster: &Packed<ManagedCluster>| {
                on.touch_cluster(&cluster.name_any());
                on.touch_hosted(&cluster.name_any());
            },
        );
        let on = Arc::clone(shared);
        let works = watch(
            tasks,
            token,
            "manifestworks",
            Api::all(client()),
            ours.clone(),
            move |work: &Packed<ManifestWork>| {
                let Some(work) = work.opened() else { return };
                if let Some(key) = Key::of_work(&work) {
                    on.saw_work(&key, &work);
                    on.queues.deploy.add(key);
                }
            },
        );
        let on = Arc::clone(shared);
        let roles = watch(
            tasks,
            token,
            "roles",
            Api::all(client()),
            ours.clone(),
            move |role: &Packed<Role>| {
                let Some(role) = role.opened() else { return };
                if let Some(key) = Key::labelled(&role) {
                    on.queues.registration.add(key);
                }
            },
        );
        let on = Arc::clone(shared);
        let bindings = watch(
            tasks,
            token,
            "rolebindings",
            Api::all(client()),
            ours,
            move |binding: &Packed<RoleBinding>| {
                let Some(binding) = binding.opened() else { return };
                if let Some(key) = Key::labelled(&binding) {
                    on.saw_binding(&key, &binding.name_any());
                    on.queues.registration.add(key);
                }
            },
        );
        let on = Arc::clone(shared);
        let pending = move |request: &CertificateSigningRequest| {
            if csr::labelled(request).is_some() {
                on.queues.requests.add(request.name_any());
            }
        };
        let requests = watch(
            tasks,
            token,
            "certificatesigningrequests",
            Api::all(client()),
            requests,
            pending,
        );
        let kinds: Vec<_> = shared.kinds().cloned().collect();
        let configs = kinds
            .iter()
            .map(|kind| (kind.clone(), Self::config(shared, tasks, token, kind)));
        Self {
            addons,
            clusters,
            works,
            roles,
            bindings,
            requests,
            configs: configs.collect(),
            cas: Self::cas(shared, tasks, token),
            definitions: (!kinds.is_empty()).then(|| Self::definitions(shared, tasks, token)),
        }
    }

    fn config(
        shared: &Arc<Shared>,
        tasks: &TaskTracker,
        token: &CancellationToken,
        kind: &ConfigKind,
    ) -> Watch<DynamicObject> {
        let (on, resource, watched) = (Arc::clone(shared), kind.api_resource(), kind.clone());
        let api = Api::all_with(shared.clients.watch.clone(), &resource);
        let touch = move |object: &DynamicObject| on.touch_config(&watched, object);
        watch_with(
            tasks,
            token,
            kind.resource.clone(),
            api,
            watcher::Config::default(),
            resource,
            touch,
        )
    }

    fn definitions(
        shared: &Arc<Shared>,
        tasks: &TaskTracker,
        token: &CancellationToken,
    ) -> Watch<ClusterManagementAddOn> {
        let (on, api) = (Arc::clone(shared), Api::all(shared.clients.watch.clone()));
        let touch = move |definition: &ClusterManagementAddOn| {
            let name = definition.name_any();
            if on.addons.contains_key(&name) {
                if !is_managed(Some(definition)) {
                    on.touch_unsettled(&name);
                }
                on.queues.configs.add(name);
            }
        };
        watch(
            tasks,
            token,
            "clustermanagementaddons",
            api,
            watcher::Config::default(),
            touch,
        )
    }

    fn cas(shared: &Arc<Shared>, tasks: &TaskTracker, token: &CancellationToken) -> BTreeMap<(String, String), Ca> {
        let mut cas = BTreeMap::new();
        for (addon, ours) in &shared.addons {
            for place in &ours.options.signing_cas {
                let (on, named) = (Arc::clone(shared), addon.clone());
                let api = Api::namespaced(shared.clients.watch.clone(), &place.namespace);
                let config = watcher::Config::default().fields(&format!("metadata.name={}", place.secret));
                let touch = move |_: &Secret| on.touch_addons(&named, |_| true);
                let ca = Ca {
                    place: place.clone(),
                    watch: watch(tasks, token, "signing-ca", api, config, touch),
                    rotation: Rotation::default(),
                };
                cas.insert((addon.clone(), place.signer.clone()), ca);
            }
        }
        cas
    }

    fn ca(&self, addon: &str, signer: &str) -> Option<&Ca> {
        self.cas.get(&(addon.to_owned(), signer.to_owned()))
    }

    /// Whether the CA of this signer is in a Secret.
    pub(super) fn has_ca(&self, addon: &str, signer: &str) -> bool {
        self.ca(addon, signer).is_some()
    }

    /// The CA which signs for this signer now.
    pub(super) fn signer(&self, addon: &str, signer: &str) -> Option<Arc<Signer>> {
        let ca = self.ca(addon, signer)?;
        let secret = ca.watch.get(Some(&ca.place.namespace), &ca.place.secret);
        ca.rotation.signer(secret.as_deref(), ca.place.lifetime)
    }

    /// The CAs to be trusted for this signer, as PEM.
    pub(super) fn trusted_cas(&self, addon: &str, signer: &str, now: Timestamp) -> String {
        // What is new has to be read before it is trusted.
        let _ = self.signer(addon, signer);
        let ca = self.ca(addon, signer);
        ca.map(|ca| ca.rotation.trusted(now)).unwrap_or_default()
    }

    /// The addon as it is defined for the hub.
    pub(super) fn definition(&self, addon: &str) -> Option<Arc<ClusterManagementAddOn>> {
        self.definitions.as_ref()?.get(None, addon)
    }

    /// A configuration of one of these kinds.
    pub(super) fn find_config(&self, kind: &GroupResource, config: &ConfigSpecHash) -> Found {
        let watched = self.configs.iter().find(|(known, _)| known.group_resource() == *kind);
        let Some((known, watch)) = watched else {
            return Found::Unreadable;
        };
        let namespace = Some(config.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        match watch.get_of(known.api_resource(), namespace, &config.name) {
            Some(object) => Found::Object(object),
            None if watch.state() == WatchState::Synced => Found::Missing,
            None => Found::Unreadable,
        }
    }

    fn addon(
        shared: &Arc<Shared>,
        tasks: &TaskTracker,
        token: &CancellationToken,
        name: &str,
    ) -> Watch<Packed<ManagedClusterAddOn>> {
        let (on, api) = (Arc::clone(shared), Api::all(shared.clients.watch.clone()));
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        watch(
            tasks,
            token,
            format!("managedclusteraddons/{name}"),
            api,
            config,
            move |addon: &Packed<ManagedClusterAddOn>| {
                on.recent.seen(addon);
                on.touch(&Key::new(addon.namespace().unwrap_or_default(), addon.name_any()));
            },
        )
    }

    pub(super) async fn ready(&self) {
        join_all(self.addons.values().map(Watch::ready)).await;
        tokio::join!(
            self.clusters.ready(),
            self.works.ready(),
            self.roles.ready(),
            self.bindings.ready(),
            self.requests.ready()
        );
        // Not the configurations: a kind that is not served concerns only the addons that read it.
        if let Some(definitions) = &self.definitions {
            definitions.ready().await;
        }
    }

    pub(super) fn states(&self) -> Vec<(String, WatchState)> {
        let addons = self
            .addons
            .iter()
            .map(|(name, watch)| (format!("managedclusteraddons/{name}"), watch.state()));
        let others = [
            ("managedclusters", self.clusters.state()),
            ("manifestworks", self.works.state()),
            ("roles", self.roles.state()),
            ("rolebindings", self.bindings.state()),
            ("certificatesigningrequests", self.requests.state()),
        ];
        let definitions = self
            .definitions
            .iter()
            .map(|watch| ("clustermanagementaddons".to_owned(), watch.state()));
        let configs = self
            .configs
            .iter()
            .map(|(kind, watch)| (kind.resource.clone(), watch.state()));
        let cas = self
            .cas
            .values()
            .map(|ca| (format!("secrets/{}", ca.place.secret), ca.watch.state()));
        addons
            .chain(others.map(|(name, state)| (name.to_owned(), state)))
            .chain(definitions)
            .chain(configs)
            .chain(cas)
            .collect()
    }
}

/// Whether OCM's addon-manager takes care of an addon's configurations (as OCM reads the annotation).
pub(super) fn is_managed(definition: Option<&ClusterManagementAddOn>) -> bool {
    let lifecycle = definition.and_then(|definition| definition.annotations().get(LIFECYCLE_ANNOTATION));
    lifecycle.is_none_or(|lifecycle| lifecycle == "addon-manager")
}

impl Shared {
    /// All kinds of configuration that any addon reads.
    fn kinds(&self) -> impl Iterator<Item = &ConfigKind> {
        let mut kinds: Vec<_> = self.addons.values().flat_map(|addon| &addon.options.configs).collect();
        kinds.sort_by_key(|kind| (&kind.group, &kind.resource));
        kinds.dedup_by_key(|kind| kind.group_resource());
        kinds.into_iter()
    }

    /// Looks again at everything that refers to a configuration.
    fn touch_config(&self, kind: &ConfigKind, object: &DynamicObject) {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        for (addon, ours) in &self.addons {
            if !ours
                .options
                .configs
                .iter()
                .any(|known| known.group_resource() == kind.group_resource())
            {
                continue;
            }
            self.queues.configs.add(addon.clone());
            self.touch_addons(addon, |object| {
                let references = object.status.iter().flat_map(|status| &status.config_references);
                let desired =
                    references.filter(|reference| reference.resource == kind.resource && reference.group == kind.group);
                desired
                    .filter_map(|reference| reference.desired_config.as_ref())
                    .any(|desired| desired.name == name && desired.namespace == namespace)
            });
        }
    }

    /// Looks again at what waits for OCM's addon-manager.
    fn touch_unsettled(&self, addon: &str) {
        self.touch_addons(addon, |object| {
            let status = object.status.as_ref();
            !status.is_some_and(|status| conditions::is_true(&status.conditions, condition::CONFIGURED))
        });
    }

    /// Looks again at the addons whose agents run on this cluster.
    fn touch_hosted(&self, host: &str) {
        for key in self.hosted.on(host) {
            self.touch(&key);
        }
    }

    fn touch_addons(&self, addon: &str, concerned: impl Fn(&ManagedClusterAddOn) -> bool) {
        let Some(watch) = self.watches.get().and_then(|watches| watches.addons.get(addon)) else {
            return;
        };
        let objects = watch.store.state().into_iter().filter_map(|object| object.opened());
        for object in objects.filter(concerned) {
            self.touch(&Key::new(object.namespace().unwrap_or_default(), addon));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_annotation_keeps_the_addon_manager_away() {
        assert!(is_managed(None));
        for (lifecycle, managed) in [(None, true), (Some("addon-manager"), true), (Some("self"), false)] {
            let mut wire = json!({"metadata": {"name": "hello"}, "spec": {}});
            if let Some(lifecycle) = lifecycle {
                wire["metadata"]["annotations"] = json!({LIFECYCLE_ANNOTATION: lifecycle});
            }
            let definition: ClusterManagementAddOn = serde_json::from_value(wire).unwrap();
            assert_eq!(is_managed(Some(&definition)), managed, "{lifecycle:?}");
        }
    }
}
