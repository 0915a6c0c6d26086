//! Where an addon's works are and what they are called: those for its own cluster, and in hosted mode those for another. Pure.
use peering_api::{
    kube::{ResourceExt, core::ObjectMeta},
    ocm::{
        ManagedClusterAddOn,
        addon::ConfigReference,
        names::{
            ADDON_NAME_LABEL, ADDON_NAMESPACE_LABEL, CONFIG_SPEC_HASH_ANNOTATION, HOSTING_PRE_DELETE_FINALIZER,
            PRE_DELETE,
        },
    },
};

use super::config_spec_hash;
use crate::rbac;

/// The works of an addon for one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The cluster that they are for: the namespace they are in.
    pub cluster: String,
    /// Whether that is not the addon's own cluster.
    pub hosting: bool,
    addon: String,
    /// What stands between the addon's name and the index.
    suffix: String,
}

impl Part {
    /// Those for the addon's own cluster.
    pub fn managed(addon: &str, cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            hosting: false,
            addon: addon.to_owned(),
            suffix: String::new(),
        }
    }

    /// Those for `hosting`, where the agent of `cluster` runs.
    pub fn hosting(addon: &str, cluster: &str, hosting: &str) -> Self {
        Self {
            cluster: hosting.to_owned(),
            hosting: true,
            addon: addon.to_owned(),
            suffix: format!("-hosting-{cluster}"),
        }
    }

    /// Name of the deploy work with this index.
    pub fn name(&self, index: usize) -> String {
        format!("addon-{}-deploy{}-{index}", self.addon, self.suffix)
    }

    /// Name of the work with the hooks.
    pub fn hook(&self) -> String {
        format!("addon-{}-pre-delete{}", self.addon, self.suffix)
    }

    /// The finalizer which guards the hooks.
    pub fn finalizer(&self) -> &'static str {
        if self.hosting {
            HOSTING_PRE_DELETE_FINALIZER
        } else {
            PRE_DELETE
        }
    }

    /// Index of one of these deploy works, by its name.
    pub fn index(&self, work: &str) -> Option<usize> {
        let index = work.rsplit_once('-')?.1.parse().ok()?;
        (self.name(index) == work).then_some(index)
    }

    /// What every work of an addon carries. One in the namespace of another cluster cannot have the addon as owner.
    pub fn metadata(&self, addon: &ManagedClusterAddOn, name: String) -> ObjectMeta {
        let references = addon.status.as_ref().map(|status| status.config_references.as_slice());
        let mut labels = vec![(ADDON_NAME_LABEL.to_owned(), self.addon.clone())];
        if self.hosting {
            labels.push((ADDON_NAMESPACE_LABEL.to_owned(), addon.namespace().unwrap_or_default()));
        }
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.cluster.clone()),
            labels: Some(labels.into_iter().collect()),
            annotations: annotations(references.unwrap_or_default()),
            owner_references: (!self.hosting).then(|| vec![rbac::owner(addon, true)]),
            ..ObjectMeta::default()
        }
    }
}

fn annotations(references: &[ConfigReference]) -> Option<std::collections::BTreeMap<String, String>> {
    config_spec_hash(references).map(|hash| [(CONFIG_SPEC_HASH_ANNOTATION.to_owned(), hash)].into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_of_the_go_framework_and_tell_the_index() {
        let (own, other) = (Part::managed("hello", "c1"), Part::hosting("hello", "c1", "h"));
        assert_eq!(
            (own.name(0), own.hook()),
            ("addon-hello-deploy-0".into(), "addon-hello-pre-delete".into())
        );
        assert_eq!(other.name(2), "addon-hello-deploy-hosting-c1-2");
        assert_eq!(other.hook(), "addon-hello-pre-delete-hosting-c1");
        for (work, expected) in [
            ("addon-hello-deploy-0", Some(0)),
            ("addon-hello-deploy-12", Some(12)),
            ("addon-hello-deploy-01", None),
            ("addon-hello-deploy-+1", None),
            ("addon-hello-deploy-", None),
            ("addon-hello-deploy-hosting-c1-2", None),
            ("addon-hello-pre-delete-0", None),
            ("addon-other-deploy-0", None),
            ("hello", None),
        ] {
            assert_eq!(own.index(work), expected, "{work}");
        }
        assert_eq!(
            Part::managed("a-deploy-0", "c1").index("addon-a-deploy-0-deploy-3"),
            Some(3)
        );
        assert_eq!(other.index("addon-hello-deploy-hosting-c1-2"), Some(2));
    }

    #[test]
    fn works_elsewhere_name_the_addons_namespace_instead_of_an_owner() {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1", "uid": "u"}, "spec": {}});
        let addon = serde_json::from_value(wire).unwrap();
        let own = Part::managed("hello", "c1").metadata(&addon, "n".into());
        assert_eq!(
            (
                own.namespace.as_deref(),
                own.labels.unwrap().len(),
                own.owner_references.unwrap().len()
            ),
            (Some("c1"), 1, 1)
        );
        let other = Part::hosting("hello", "c1", "h").metadata(&addon, "n".into());
        assert_eq!((other.namespace.as_deref(), other.owner_references), (Some("h"), None));
        assert_eq!(
            other.labels.unwrap()["open-cluster-management.io/addon-namespace"],
            "c1"
        );
    }
}
