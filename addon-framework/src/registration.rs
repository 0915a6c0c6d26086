//! What an agent is on the hub, and how `status.registrations` and `status.namespace` say it: what the addon wants, merged with
//! what the registration agent wrote. Pure.
use peering_api::{
    k8s_openapi::api::rbac::v1::PolicyRule,
    kube::ResourceExt,
    ocm::{
        ManagedClusterAddOn,
        addon::v1beta1::{KUBE_CLIENT, KubeClientConfig, RegistrationConfig, Subject, TOKEN_DRIVER},
        names::{DEFAULT_INSTALL_NAMESPACE, INSTALL_NAMESPACE_ANNOTATION},
    },
};

use crate::config::Settings;

/// The kind whose owner reference says that OCM's addon-manager knows the addon.
const OWNER_KIND: &str = "ClusterManagementAddOn";

/// What an agent is on the hub and what it may do there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration {
    /// The credentials it gets, for `status.registrations`.
    pub configs: Vec<RegistrationConfig>,
    /// The rules of its Role in the cluster's namespace on the hub. None: no Role. The manager itself must have them.
    pub permissions: Vec<PolicyRule>,
    /// Names of `ClusterRole`s that it has in the cluster's namespace too. The manager must have what they grant, or the verb
    /// `bind` on them.
    pub cluster_roles: Vec<String>,
}

impl Registration {
    /// The usual identity at the hub's API server (as of the Go framework, with the addon's name as the agent's), with no permissions.
    #[must_use]
    pub fn kube_client(cluster: &str, addon: &str) -> Self {
        let subject = Subject {
            user: format!("system:open-cluster-management:cluster:{cluster}:addon:{addon}:agent:{addon}"),
            groups: vec![
                format!("system:open-cluster-management:cluster:{cluster}:addon:{addon}"),
                format!("system:open-cluster-management:addon:{addon}"),
            ],
            organization_units: vec![],
        };
        let config = RegistrationConfig {
            type_: KUBE_CLIENT.to_owned(),
            kube_client: Some(KubeClientConfig {
                subject: Some(subject),
                ..KubeClientConfig::default()
            }),
            ..RegistrationConfig::default()
        };
        Self {
            configs: vec![config],
            ..Self::default()
        }
    }

    /// The same with these permissions.
    #[must_use]
    pub fn allow(mut self, rules: impl IntoIterator<Item = PolicyRule>) -> Self {
        self.permissions.extend(rules);
        self
    }

    /// The same with this existing `ClusterRole`, in the cluster's namespace.
    #[must_use]
    pub fn bind(mut self, cluster_role: impl Into<String>) -> Self {
        self.cluster_roles.push(cluster_role.into());
        self
    }
}

/// Whether OCM's addon-manager has made the addon its own; before that, nothing is done for it.
pub fn is_owned(addon: &ManagedClusterAddOn) -> bool {
    let name = addon.name_any();
    addon
        .owner_references()
        .iter()
        .any(|owner| owner.kind == OWNER_KIND && owner.name == name)
}

/// Whether the finalizer which the addon wants is there. Nothing is made for it before, so that its hook misses nothing (and so
/// that two of our writes at the same moment do not conflict).
pub fn is_guarded(addon: &ManagedClusterAddOn, finalizer: Option<&String>) -> bool {
    finalizer.is_none_or(|finalizer| addon.finalizers().contains(finalizer))
}

/// The agent's namespace on its cluster: what the configurations say, then the addon's option, then what the user asked
/// for, then OCM's default. An empty text says nothing.
pub fn install_namespace(addon: &ManagedClusterAddOn, option: Option<&String>, settings: &Settings) -> String {
    let configured = settings.agent_install_namespace.as_ref();
    let chosen = [
        configured,
        option,
        addon.annotations().get(INSTALL_NAMESPACE_ANNOTATION),
    ];
    let chosen = chosen.into_iter().flatten().find(|namespace| !namespace.is_empty());
    chosen.map_or(DEFAULT_INSTALL_NAMESPACE, String::as_str).to_owned()
}

/// The list to write. What the registration agent owns in it stays: the `driver`, and, with the token driver, the subject.
///
/// The registration agent of a cluster may write anything there, so its subject counts only if it is a service account of
/// the cluster's own namespace; otherwise the addon's subject is put back.
pub fn merge(cluster: &str, existing: &[RegistrationConfig], wanted: &[RegistrationConfig]) -> Vec<RegistrationConfig> {
    wanted
        .iter()
        .map(|wanted| merge_one(cluster, find_same(existing, wanted), wanted))
        .collect()
}

fn find_same<'a>(existing: &'a [RegistrationConfig], wanted: &RegistrationConfig) -> Option<&'a RegistrationConfig> {
    let signer = |config: &RegistrationConfig| config.custom_signer.as_ref().map(|signer| signer.signer_name.clone());
    existing
        .iter()
        .find(|config| config.type_ == wanted.type_ && signer(config) == signer(wanted))
}

fn merge_one(cluster: &str, existing: Option<&RegistrationConfig>, wanted: &RegistrationConfig) -> RegistrationConfig {
    let mut merged = wanted.clone();
    let Some(existing) = existing else { return merged };
    let mut extra = existing.extra.clone();
    extra.append(&mut merged.extra);
    merged.extra = extra;
    if let (Some(merged), Some(existing)) = (&mut merged.kube_client, &existing.kube_client) {
        merged.driver.clone_from(&existing.driver);
        let mut extra = existing.extra.clone();
        extra.append(&mut merged.extra);
        merged.extra = extra;
        if existing.driver.as_deref() == Some(TOKEN_DRIVER)
            && let Some(subject) = existing
                .subject
                .as_ref()
                .filter(|subject| is_service_account_of(cluster, subject))
        {
            merged.subject = Some(subject.clone());
        }
    }
    merged
}

fn is_service_account_of(cluster: &str, subject: &Subject) -> bool {
    let name = subject
        .user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.strip_prefix(cluster));
    let name = name.and_then(|rest| rest.strip_prefix(':'));
    name.is_some_and(|name| !name.is_empty() && !name.contains(':')) && subject.groups.is_empty()
}

/// The subject at the hub's API server.
pub fn kube_client_subject(registrations: &[RegistrationConfig]) -> Option<&Subject> {
    let config = registrations.iter().find(|config| config.type_ == KUBE_CLIENT)?;
    config.kube_client.as_ref()?.subject.as_ref()
}

#[cfg(test)]
mod tests {
    use peering_api::{
        k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference,
        ocm::addon::v1beta1::{CUSTOM_SIGNER, CustomSignerConfig},
    };
    use serde_json::json;

    use super::*;

    fn wanted() -> Vec<RegistrationConfig> {
        Registration::kube_client("c1", "hello").configs
    }

    fn existing(driver: &str, user: &str, groups: &[&str]) -> Vec<RegistrationConfig> {
        let list = json!([{"type": "kubeClient", "later": 1,
            "kubeClient": {"driver": driver, "subject": {"user": user, "groups": groups}}}]);
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn the_default_identity_is_that_of_the_go_framework() {
        let registration = Registration::kube_client("c1", "hello");
        let subject = registration.configs[0].kube_client.clone().unwrap().subject.unwrap();
        assert_eq!(
            subject.user,
            "system:open-cluster-management:cluster:c1:addon:hello:agent:hello"
        );
        assert_eq!(
            subject.groups,
            [
                "system:open-cluster-management:cluster:c1:addon:hello",
                "system:open-cluster-management:addon:hello"
            ]
        );
    }

    #[test]
    fn the_driver_and_unknown_fields_stay() {
        let merged = merge(
            "c1",
            &existing("csr", "system:serviceaccount:c1:hello-agent", &[]),
            &wanted(),
        );
        let client = merged[0].kube_client.as_ref().unwrap();
        assert_eq!(client.driver.as_deref(), Some("csr"));
        assert_eq!(
            client.subject,
            wanted()[0].kube_client.as_ref().unwrap().subject,
            "a token subject ends with its driver"
        );
        assert_eq!(merged[0].extra["later"], 1);
        assert_eq!(
            merge("c1", &merged, &wanted()),
            merged,
            "the second time changes nothing"
        );
    }

    #[test]
    fn the_token_subject_stays_if_it_is_one() {
        let account = "system:serviceaccount:c1:hello-agent";
        for (user, groups, kept) in [
            (account, &[][..], true),
            (account, &["system:masters"][..], false),
            ("system:admin", &[], false),
            ("system:serviceaccount:c10:hello-agent", &[], false),
            ("system:serviceaccount:c:hello-agent", &[], false),
            ("system:serviceaccount:c1:", &[], false),
            ("system:serviceaccount:c1:a:b", &[], false),
        ] {
            let merged = merge("c1", &existing("token", user, groups), &wanted());
            let client = merged[0].kube_client.as_ref().unwrap();
            assert_eq!(client.driver.as_deref(), Some("token"));
            assert_eq!(client.subject.as_ref().unwrap().user == user, kept, "{user} {groups:?}");
        }
    }

    #[test]
    fn custom_signers_are_told_apart_and_dropped_ones_go() {
        let signer = |name: &str, extra: i64| RegistrationConfig {
            type_: CUSTOM_SIGNER.to_owned(),
            custom_signer: Some(CustomSignerConfig {
                signer_name: name.to_owned(),
                ..CustomSignerConfig::default()
            }),
            extra: [("x".to_owned(), json!(extra))].into(),
            ..RegistrationConfig::default()
        };
        let mut want = signer("a.com/b", 0);
        want.extra.clear();
        let merged = merge(
            "c1",
            &[signer("a.com/a", 1), signer("a.com/b", 2)],
            std::slice::from_ref(&want),
        );
        assert_eq!((merged.len(), &merged[0].extra["x"]), (1, &json!(2)));
    }

    #[test]
    fn the_namespace_of_the_agent() {
        let mut addon = ManagedClusterAddOn::default();
        let settings = |namespace: Option<&str>| Settings {
            agent_install_namespace: namespace.map(str::to_owned),
            ..Settings::default()
        };
        let chosen = |addon: &ManagedClusterAddOn, option: Option<&str>, setting| {
            install_namespace(addon, option.map(str::to_owned).as_ref(), &settings(setting))
        };
        assert_eq!(chosen(&addon, None, None), DEFAULT_INSTALL_NAMESPACE);
        addon
            .annotations_mut()
            .insert(INSTALL_NAMESPACE_ANNOTATION.into(), "default".into());
        assert_eq!(chosen(&addon, None, None), "default");
        assert_eq!(chosen(&addon, Some("mine"), None), "mine");
        assert_eq!(chosen(&addon, Some("mine"), Some("theirs")), "theirs");
        assert_eq!(chosen(&addon, None, Some("")), "default", "empty leaves it alone");
    }

    #[test]
    fn only_an_owner_of_the_right_kind_and_name_counts() {
        for (kind, name, expected) in [
            (OWNER_KIND, "hello", true),
            (OWNER_KIND, "other", false),
            ("Secret", "hello", false),
        ] {
            let mut addon = ManagedClusterAddOn::default();
            addon.metadata.name = Some("hello".into());
            addon.metadata.owner_references = Some(vec![OwnerReference {
                kind: kind.into(),
                name: name.into(),
                ..OwnerReference::default()
            }]);
            assert_eq!(is_owned(&addon), expected);
        }
    }
}
