//! The agent's `Role` and `RoleBinding` in its cluster's namespace on the hub. Pure.
use peering_api::{
    k8s_openapi::{
        api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject as RbacSubject},
        apimachinery::pkg::apis::meta::v1::OwnerReference,
    },
    kube::{Resource, ResourceExt, core::ObjectMeta},
    ocm::{
        ManagedClusterAddOn,
        addon::v1beta1::{RegistrationConfig, Subject},
        names::{ADDON_NAME_LABEL, AUTHENTICATED_GROUP, CLUSTER_NAME_LABEL, IDENTITY_PREFIX},
    },
};
use serde_json::Value;

use crate::{compare, registration::kube_client_subject, versions::SERVED_ANNOTATION};

/// API group of roles and their subjects.
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Name of an addon's `Role` and `RoleBinding`.
pub fn name(addon: &str) -> String {
    format!("open-cluster-management:{addon}:agent")
}

/// The reference which removes an object with its addon. `controller` also makes the addon wait for it when it is deleted in
/// the foreground; the API server then wants `update` on `managedclusteraddons/finalizers` where that is enforced.
pub fn owner(addon: &ManagedClusterAddOn, controller: bool) -> OwnerReference {
    // The garbage collector has to find the kind in the version that is named.
    let api_version = match addon.annotations().get(SERVED_ANNOTATION) {
        Some(version) => format!("{}/{version}", ManagedClusterAddOn::group(&())),
        None => ManagedClusterAddOn::api_version(&()).into_owned(),
    };
    OwnerReference {
        api_version,
        kind: ManagedClusterAddOn::kind(&()).into_owned(),
        name: addon.name_any(),
        uid: addon.uid().unwrap_or_default(),
        controller: controller.then_some(true),
        block_owner_deletion: controller.then_some(true),
    }
}

/// Beginning of the names of an addon's `RoleBinding`s for existing `ClusterRole`s.
fn cluster_role_prefix(addon: &str) -> String {
    format!("{}:", name(addon))
}

/// Whether a `RoleBinding` is one of those that [`bindings`] makes for this addon.
pub fn is_ours(addon: &str, binding: &str) -> bool {
    binding == name(addon) || binding.starts_with(&cluster_role_prefix(addon))
}

fn metadata(addon: &ManagedClusterAddOn) -> ObjectMeta {
    let (name_of_addon, cluster) = (addon.name_any(), addon.namespace().unwrap_or_default());
    let labels = [(ADDON_NAME_LABEL, &name_of_addon), (CLUSTER_NAME_LABEL, &cluster)];
    ObjectMeta {
        name: Some(name(&name_of_addon)),
        namespace: Some(cluster.clone()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.clone())).into()),
        owner_references: Some(vec![owner(addon, false)]),
        ..ObjectMeta::default()
    }
}

/// The Role with these rules.
pub fn role(addon: &ManagedClusterAddOn, rules: Vec<PolicyRule>) -> Role {
    Role {
        metadata: metadata(addon),
        rules: Some(rules),
    }
}

/// The `RoleBinding`s for exactly the subjects of `registrations`: for the addon's own Role, if it has one, and for each of
/// these existing `ClusterRole`s. None if there are no subjects.
pub fn bindings(
    addon: &ManagedClusterAddOn,
    registrations: &[RegistrationConfig],
    has_role: bool,
    cluster_roles: &[String],
) -> Vec<RoleBinding> {
    let subjects = kube_client_subject(registrations).map(|subject| subjects(&addon.name_any(), subject));
    let Some(subjects) = subjects.filter(|subjects| !subjects.is_empty()) else {
        return vec![];
    };
    let own = name(&addon.name_any());
    let role = has_role.then(|| (own.clone(), "Role", own));
    let prefix = cluster_role_prefix(&addon.name_any());
    let others = cluster_roles
        .iter()
        .map(|role| (format!("{prefix}{role}"), "ClusterRole", role.clone()));
    let bind = |(name, kind, role): (String, &str, String)| RoleBinding {
        metadata: ObjectMeta {
            name: Some(name),
            ..metadata(addon)
        },
        role_ref: RoleRef {
            api_group: RBAC_GROUP.to_owned(),
            kind: kind.to_owned(),
            name: role,
        },
        subjects: Some(subjects.clone()),
    };
    role.into_iter().chain(others).map(bind).collect()
}

/// The user and the groups of this cluster's agent alone.
///
/// Everybody is in `system:authenticated`, and the agents of *all* clusters are in the addon's own group: bound in a cluster
/// namespace, as the Go framework does it, that group would open the namespace to the agents of every other cluster.
fn subjects(addon: &str, subject: &Subject) -> Vec<RbacSubject> {
    let of_all_clusters = format!("{IDENTITY_PREFIX}addon:{addon}");
    let entry = |kind: &str, name: &String| RbacSubject {
        api_group: Some(RBAC_GROUP.to_owned()),
        kind: kind.to_owned(),
        name: name.clone(),
        namespace: None,
    };
    let users = Some(&subject.user)
        .filter(|user| !user.is_empty())
        .map(|user| entry("User", user));
    let groups = subject
        .groups
        .iter()
        .filter(|group| *group != AUTHENTICATED_GROUP && **group != of_all_clusters && !group.is_empty());
    users
        .into_iter()
        .chain(groups.map(|group| entry("Group", group)))
        .collect()
}

/// Whether the Role is as wanted.
pub fn role_unchanged(observed: &Role, wanted: &Role) -> bool {
    compare::covers_metadata(&observed.metadata, &wanted.metadata)
        && same(observed.rules.as_ref(), wanted.rules.as_ref())
}

/// Whether the `RoleBinding` is as wanted.
pub fn binding_unchanged(observed: &RoleBinding, wanted: &RoleBinding) -> bool {
    compare::covers_metadata(&observed.metadata, &wanted.metadata)
        && observed.role_ref == wanted.role_ref
        && same(observed.subjects.as_ref(), wanted.subjects.as_ref())
}

fn same<T: serde::Serialize>(a: T, b: T) -> bool {
    let value = |value| serde_json::to_value(value).unwrap_or(Value::Null);
    compare::same(&value(a), &value(b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registration::Registration;

    fn addon() -> ManagedClusterAddOn {
        let wire = json!({"metadata": {"name": "hello", "namespace": "c1", "uid": "u"}, "spec": {}});
        serde_json::from_value(wire).unwrap()
    }

    fn binding(addon: &ManagedClusterAddOn, registrations: &[RegistrationConfig]) -> Option<RoleBinding> {
        bindings(addon, registrations, true, &[]).pop()
    }

    fn rules() -> Vec<PolicyRule> {
        let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]});
        vec![serde_json::from_value(rule).unwrap()]
    }

    #[test]
    fn binds_the_registered_subjects_of_this_cluster_and_no_group_that_others_are_in() {
        let mut configs = Registration::kube_client("c1", "hello").configs;
        configs[0]
            .kube_client
            .as_mut()
            .unwrap()
            .subject
            .as_mut()
            .unwrap()
            .groups
            .push(AUTHENTICATED_GROUP.into());
        let binding = super::bindings(&addon(), &configs, true, &[]).remove(0);
        let named: Vec<_> = binding
            .subjects
            .unwrap()
            .into_iter()
            .map(|subject| (subject.kind, subject.name))
            .collect();
        let expected = [
            (
                "User",
                "system:open-cluster-management:cluster:c1:addon:hello:agent:hello",
            ),
            ("Group", "system:open-cluster-management:cluster:c1:addon:hello"),
        ];
        assert_eq!(named, expected.map(|(kind, name)| (kind.to_owned(), name.to_owned())));
        assert_eq!(binding.role_ref.name, "open-cluster-management:hello:agent");
    }

    #[test]
    fn an_owner_is_named_in_the_version_that_its_hub_serves() {
        let mut addon = addon();
        assert_eq!(
            owner(&addon, true).api_version,
            "addon.open-cluster-management.io/v1beta1"
        );
        addon
            .annotations_mut()
            .insert(SERVED_ANNOTATION.into(), "v1alpha1".into());
        assert_eq!(
            owner(&addon, true).api_version,
            "addon.open-cluster-management.io/v1alpha1"
        );
    }

    #[test]
    fn existing_cluster_roles_are_bound_in_the_clusters_namespace() {
        let configs = Registration::kube_client("c1", "hello").configs;
        let bound = bindings(&addon(), &configs, false, &["view".into(), "example:role".into()]);
        let told: Vec<_> = bound
            .iter()
            .map(|binding| {
                (
                    binding.name_any(),
                    binding.role_ref.kind.clone(),
                    binding.role_ref.name.clone(),
                )
            })
            .collect();
        let expected = [
            ("open-cluster-management:hello:agent:view", "ClusterRole", "view"),
            (
                "open-cluster-management:hello:agent:example:role",
                "ClusterRole",
                "example:role",
            ),
        ];
        assert_eq!(
            told,
            expected.map(|(name, kind, role)| (name.to_owned(), kind.to_owned(), role.to_owned()))
        );
        assert!(
            bound
                .iter()
                .all(|binding| binding.namespace().as_deref() == Some("c1") && is_ours("hello", &binding.name_any()))
        );
        assert_eq!(bindings(&addon(), &configs, true, &["view".into()]).len(), 2);
        for (name, ours) in [
            ("open-cluster-management:hello:agent", true),
            ("open-cluster-management:hello:agents", false),
            ("hello-token-role", false),
        ] {
            assert_eq!(is_ours("hello", name), ours, "{name}");
        }
    }

    #[test]
    fn binds_nobody_without_subjects() {
        assert_eq!(binding(&addon(), &[]), None);
        let subject = json!([{"type": "kubeClient", "kubeClient": {"subject": {"groups": [AUTHENTICATED_GROUP]}}}]);
        assert_eq!(
            binding(&addon(), &serde_json::from_value::<Vec<_>>(subject).unwrap()),
            None
        );
    }

    #[test]
    fn foreign_labels_and_owners_are_no_change_but_other_rules_or_subjects_are() {
        let wanted = role(&addon(), rules());
        let mut observed = wanted.clone();
        observed.labels_mut().insert("theirs".into(), "x".into());
        observed.owner_references_mut().push(OwnerReference {
            uid: "theirs".into(),
            ..OwnerReference::default()
        });
        assert!(role_unchanged(&observed, &wanted));
        observed.rules.as_mut().unwrap()[0].verbs.push("delete".into());
        assert!(!role_unchanged(&observed, &wanted));

        let wanted = binding(&addon(), &Registration::kube_client("c1", "hello").configs).unwrap();
        assert!(binding_unchanged(&wanted.clone(), &wanted));
        let other = binding(&addon(), &Registration::kube_client("c1", "hallo").configs).unwrap();
        assert!(!binding_unchanged(&other, &wanted));
        let mut recreated = addon();
        recreated.metadata.uid = Some("v".into());
        let again = binding(&recreated, &Registration::kube_client("c1", "hello").configs).unwrap();
        assert!(
            !binding_unchanged(&wanted, &again),
            "an owner which is gone must not take the binding with it"
        );
    }
}
