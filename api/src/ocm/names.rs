//! Labels, annotations, finalizers, conditions and reasons that OCM's components agree on.

/// Namespace of an agent on its managed cluster unless something else is asked for.
pub const DEFAULT_INSTALL_NAMESPACE: &str = "open-cluster-management-agent-addon";
/// Name which v1beta1 gives to a default configuration that v1alpha1 left out: there is none.
pub const NO_DEFAULT_CONFIG: &str = "__reserved_no_default__";
/// Signer of client certificates for the hub's API server.
pub const KUBE_CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// Group which every authenticated user has.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
/// Prefix of user names and groups of registered clusters and their addons.
pub const IDENTITY_PREFIX: &str = "system:open-cluster-management:";
/// Group of the registration agents of all managed clusters.
pub const MANAGED_CLUSTERS_GROUP: &str = "system:open-cluster-management:managed-clusters";

/// Label on a `ManifestWork`, a CSR and hub RBAC: the addon.
pub const ADDON_NAME_LABEL: &str = "open-cluster-management.io/addon-name";
/// Label on a `ManifestWork` outside the addon's namespace: that namespace (hosted mode).
pub const ADDON_NAMESPACE_LABEL: &str = "open-cluster-management.io/addon-namespace";
/// Label on a CSR, a cluster namespace and hub RBAC: the cluster.
pub const CLUSTER_NAME_LABEL: &str = "open-cluster-management.io/cluster-name";
/// Prefix of the label on a `ManagedCluster` which tells an addon's state: `available`, `unhealthy` or `unreachable`.
pub const FEATURE_LABEL_PREFIX: &str = "feature.open-cluster-management.io/addon-";
/// Label on a `PlacementDecision`: its `Placement`.
pub const PLACEMENT_LABEL: &str = "cluster.open-cluster-management.io/placement";
/// Label on a `ManagedCluster`: the set it belongs to.
pub const CLUSTER_SET_LABEL: &str = "cluster.open-cluster-management.io/clusterset";

/// Annotation on a `ManagedClusterAddOn`: hosted mode, and where.
pub const HOSTING_CLUSTER_ANNOTATION: &str = "addon.open-cluster-management.io/hosting-cluster-name";
/// Annotation on a `ManagedClusterAddOn` in v1beta1: `spec.installNamespace` of v1alpha1. Always there on hubs which store
/// v1alpha1, since that field is defaulted.
pub const INSTALL_NAMESPACE_ANNOTATION: &str = "addon.open-cluster-management.io/v1alpha1-install-namespace";
/// Annotation on a `ManifestWork`: JSON object of configurations to the hashes that were rendered. Rollouts wait for it.
pub const CONFIG_SPEC_HASH_ANNOTATION: &str = "open-cluster-management.io/config-spec-hash";
/// Annotation on a manifest (its presence counts): stays on the managed cluster when the addon is removed.
pub const DELETION_ORPHAN_ANNOTATION: &str = "addon.open-cluster-management.io/deletion-orphan";
/// Annotation or label on a Job or Pod among the manifests: runs before the addon is removed. Also the finalizer for it.
pub const PRE_DELETE: &str = "addon.open-cluster-management.io/addon-pre-delete";
/// Annotation on a `ManagedCluster`: addons are not installed there by themselves (ocm `pkg/addon`).
pub const DISABLE_INSTALL_ANNOTATION: &str = "addon.open-cluster-management.io/disable-automatic-installation";
/// Annotation on a `ClusterManagementAddOn`: `addon-manager` or `self`.
pub const LIFECYCLE_ANNOTATION: &str = "addon.open-cluster-management.io/lifecycle";
/// Annotation on a `ManagedClusterAddOn` and a `ManifestWork`, 0 to 100: order of removal when a cluster is detached.
pub const CLEANUP_PRIORITY_ANNOTATION: &str = "open-cluster-management.io/cleanup-priority";
/// Label on a namespace of a managed cluster (value `true`): the klusterlet operator copies the image pull secret there.
pub const ADDON_NAMESPACE_MARK: &str = "addon.open-cluster-management.io/namespace";

/// Finalizer of the pre-delete hook on the hosting cluster.
pub const HOSTING_PRE_DELETE_FINALIZER: &str = "addon.open-cluster-management.io/hosting-addon-pre-delete";
/// Finalizer until hosted works are gone.
pub const HOSTING_CLEANUP_FINALIZER: &str = "addon.open-cluster-management.io/hosting-manifests-cleanup";
/// Finalizer of the work agent on a `ManifestWork`.
pub const WORK_FINALIZER: &str = "cluster.open-cluster-management.io/manifest-work-cleanup";

/// Condition types of a `ManagedClusterAddOn`, a `ManagedCluster` and a `ManifestWork`.
pub mod condition {
    /// Addon: the agent is up (written by the registration agent from the Lease). Work: its objects exist.
    pub const AVAILABLE: &str = "Available";
    /// Addon: something of it does not run as it should.
    pub const DEGRADED: &str = "Degraded";
    /// Addon: every configuration is known (written by OCM's addon-manager).
    pub const CONFIGURED: &str = "Configured";
    /// Addon: a rollout is going on (written by OCM's addon-manager).
    pub const PROGRESSING: &str = "Progressing";
    /// Addon: the deploy works are applied.
    pub const MANIFEST_APPLIED: &str = "ManifestApplied";
    /// Addon: hub permissions and registrations are set up.
    pub const REGISTRATION_APPLIED: &str = "RegistrationApplied";
    /// Addon: the registration agent has a client certificate. Often missing although it has one; do not wait for it.
    pub const CERTIFICATE_ROTATED: &str = "ClusterCertificateRotated";
    /// Work, and each of its manifests: applied on the managed cluster.
    pub const APPLIED: &str = "Applied";
    /// Cluster: the hub accepts it.
    pub const HUB_ACCEPTED: &str = "HubAcceptedManagedCluster";
    /// Cluster: it has joined.
    pub const JOINED: &str = "ManagedClusterJoined";
    /// Cluster: its registration agent renews its lease.
    pub const CLUSTER_AVAILABLE: &str = "ManagedClusterConditionAvailable";
}

/// Reasons of `Available` on an addon, as OCM's registration agent writes them from the Lease (ocm
/// `pkg/registration/spoke/addon`, v1.2.0).
pub mod available {
    /// `Unknown`: there is no Lease (yet).
    pub const LEASE_NOT_FOUND: &str = "ManagedClusterAddOnLeaseNotFound";
    /// `False`: the Lease has not been renewed for five minutes.
    pub const LEASE_UPDATE_STOPPED: &str = "ManagedClusterAddOnLeaseUpdateStopped";
}

/// Reasons of the conditions that an addon framework writes.
pub mod reason {
    /// `ManifestApplied=True`.
    pub const MANIFEST_APPLIED: &str = "AddonManifestApplied";
    /// `ManifestApplied=False`: the managed cluster refused something, or has not answered.
    pub const MANIFEST_APPLIED_FAILED: &str = "AddonManifestAppliedFailed";
    /// `ManifestApplied=False`: the hub refused the work, or it could not be built.
    pub const WORK_APPLY_FAILED: &str = "ManifestWorkApplyFailed";
    /// `RegistrationApplied=True`: this addon needs no registration.
    pub const NIL_REGISTRATION: &str = "NilRegistration";
    /// `RegistrationApplied=True`.
    pub const PERMISSION_APPLIED: &str = "SetPermissionApplied";
    /// `RegistrationApplied=False`: permissions could not be set up.
    pub const PERMISSION_FAILED: &str = "SetPermissionFailed";
    /// `RegistrationApplied=False`: something they depend on is not known yet.
    pub const PERMISSION_PENDING: &str = "PermissionConfigPending";
    /// `Approved` on a CSR.
    pub const CSR_APPROVED: &str = "AutoApprovedByHubCSRApprovingController";
}
