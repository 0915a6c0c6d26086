//! Renders an addon's manifests, once per change of what they depend on.
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use peering_api::{
    kube::core::DynamicObject,
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Error, Key, Observed};
use crate::{
    config::Configs,
    site::{Site, view},
};

/// How many renderings are remembered. An addon is looked at several times in a row when it is installed or changed, and
/// hardly ever between; to remember all would double what the watch of works takes.
const REMEMBERED: usize = 64;

/// The latest renderings, by what they were made from.
#[derive(Default)]
pub(super) struct Memo(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    entries: HashMap<Key, (Inputs, Arc<Vec<DynamicObject>>)>,
    /// Oldest first.
    order: VecDeque<Key>,
}

/// SHA-256 over everything that a rendering may depend on.
type Inputs = [u8; 32];

impl Memo {
    /// Makes the next rendering a new one.
    pub(super) fn forget(&self, key: &Key) {
        let mut memo = self.lock();
        memo.entries.remove(key);
        memo.order.retain(|known| known != key);
    }

    fn get(&self, key: &Key, inputs: &Inputs) -> Option<Arc<Vec<DynamicObject>>> {
        let memo = self.lock();
        let (known, manifests) = memo.entries.get(key)?;
        (known == inputs).then(|| Arc::clone(manifests))
    }

    fn put(&self, key: &Key, inputs: Inputs, manifests: Arc<Vec<DynamicObject>>) {
        let mut memo = self.lock();
        if memo.entries.insert(key.clone(), (inputs, manifests)).is_none() {
            memo.order.push_back(key.clone());
        }
        while memo.order.len() > REMEMBERED {
            if let Some(oldest) = memo.order.pop_front() {
                memo.entries.remove(&oldest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifests of an addon on this cluster with these configurations.
pub(super) fn render(
    memo: &Memo,
    key: &Key,
    observed: &Observed,
    cluster: &ManagedCluster,
    configs: &Configs,
    host: Option<&str>,
) -> Result<Arc<Vec<DynamicObject>>, Error> {
    let (cluster, addon) = view(cluster, &observed.object);
    let inputs = inputs(&cluster, &addon, configs, host);
    if let Some(manifests) = memo.get(key, &inputs) {
        return Ok(manifests);
    }
    let mut site = Site::new(&cluster, &addon, configs, &observed.options)?;
    site.hosting_cluster = host.map(str::to_owned);
    let manifests = Arc::new(observed.addon.manifests(&site)?);
    memo.put(key, inputs, Arc::clone(&manifests));
    Ok(manifests)
}

fn inputs(cluster: &ManagedCluster, addon: &ManagedClusterAddOn, configs: &Configs, host: Option<&str>) -> Inputs {
    let configs: Vec<_> = configs.objects().map(|object| json!(object)).collect();
    Sha256::digest(json!([cluster, addon, configs, host]).to_string()).into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{
        Simple,
        config::{ConfigKind, Resolution},
    };

    fn observed(addon: Simple, labels: &serde_json::Value) -> (Observed, ManagedCluster) {
        let cluster: ManagedCluster =
            serde_json::from_value(json!({"metadata": {"name": "c1", "resourceVersion": "7", "labels": labels}}))
                .unwrap();
        let observed = Observed {
            addon: Arc::new(addon),
            options: Arc::default(),
            configs: Resolution::Known(Configs::default()),
            object: Arc::default(),
            cluster: None,
        };
        (observed, cluster)
    }

    #[test]
    fn manifests_are_made_once_per_change_of_what_they_depend_on() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let addon = Simple::new("hello").manifests(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(vec![])
        });
        let (mut observed, cluster) = observed(addon, &json!({}));
        let (memo, key) = (Memo::default(), Key::new("c1", "hello"));
        let none = Configs::default();
        let times = |observed: &Observed, cluster: &ManagedCluster, configs: &Configs| {
            render(&memo, &key, observed, cluster, configs, None).unwrap();
            count.load(Ordering::SeqCst)
        };
        assert_eq!(times(&observed, &cluster, &none), 1);
        let mut touched = cluster.clone();
        touched.metadata.resource_version = Some("8".into());
        let mut object = ManagedClusterAddOn::default();
        object.metadata.finalizers = Some(vec!["x".into()]);
        observed.object = Arc::new(object);
        assert_eq!(times(&observed, &touched, &none), 1, "nothing that counts has changed");
        touched.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert_eq!(times(&observed, &touched, &none), 2);
        let config = serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {}})).unwrap();
        let some = Configs::new([(ConfigKind::deployment_config(), config)]);
        assert_eq!(times(&observed, &touched, &some), 3);
        assert_eq!(times(&observed, &touched, &some), 3);
        memo.forget(&key);
        assert_eq!(times(&observed, &touched, &some), 4);
    }

    #[test]
    fn only_the_latest_are_remembered() {
        let memo = Memo::default();
        for cluster in 0..REMEMBERED + 3 {
            memo.put(&Key::new(cluster.to_string(), "a"), [0; 32], Arc::default());
        }
        let there = |cluster: usize| memo.get(&Key::new(cluster.to_string(), "a"), &[0; 32]).is_some();
        assert!(!there(0) && !there(2) && there(3) && there(REMEMBERED + 2));
        memo.forget(&Key::new("3", "a"));
        assert!(!there(3));
        assert_eq!(memo.lock().order.len(), REMEMBERED - 1);
    }
}
