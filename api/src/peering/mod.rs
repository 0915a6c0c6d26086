//! Our own kinds, group `peering.open-cluster-management.io/v1alpha1`, all on the hub.
//!
//! One writer per half: the manager writes `spec`, the agent `status`. Two conditions are the exception, both on
//! [`PeerLink`]: `SourceReady` and `Ready` are the manager's, since only the hub sees both ends of a link.
// `printcolumn(…)` repeats its keys, which clippy takes for a doubled attribute.
#![allow(clippy::duplicated_attributes)]
mod deliver;
mod export;
mod link;
mod member;
#[allow(clippy::module_inception)]
mod peering;
mod probe;
mod profile;
pub mod reasons;
mod schema;
mod source;
mod wire;

use jiff::Timestamp;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::CustomResourceExt;

use self::schema::{
    any_value, duration_schema, label_map, object_template, optional_duration_schema, parameter_values, texts,
};
pub use self::{
    deliver::{DeletionPolicy, Deliver, ObjectRef, ObjectTemplate, OnConflict},
    export::{ApiServer, PeerExport, PeerExportSpec, PeerExportStatus, Recipient, SealedEnvelope},
    link::{CertificateSubject, FormerConsumer, LinkEnd, PeerLink, PeerLinkSpec, PeerLinkStatus, Target},
    member::{PeerMember, PeerMemberSpec, PeerMemberStatus, Report, ReportRequest, ReportedObjects},
    peering::{
        CaOverride, KnownMember, LinkCounts, Member, Peering, PeeringSpec, PeeringStatus, PlacementRef, Role, Topology,
        Trust,
    },
    probe::{ApiAuthProbe, ExpiryProbe, HttpProbe, ObjectProbe, Probe, S3Probe, TlsProbe},
    profile::{Artefact, ArtefactKind, ExchangeProfile, ExchangeProfileSpec, ExchangeProfileStatus, Flow, Parameter},
    source::{
        CaSigner, CertificateInput, CertificateUsage, Empty, EndpointInput, HttpMethod, HttpRequestInput, Input, Named,
        Refresh, Selector, ServiceAccountToken, ServicePort, Signer, TokenRequestInput,
    },
    wire::{AddToList, Annotate, SetField, Wire},
};

/// The CRDs of all our kinds, in the order in which `manifests/crds` lists them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        ExchangeProfile::crd(),
        Peering::crd(),
        PeerMember::crd(),
        PeerExport::crd(),
        PeerLink::crd(),
    ]
}

/// The status of one condition: `None` when it was never set.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// True when the condition stands at `True`.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// RFC 3339 in UTC with whole seconds: the form of `metav1.Time`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_does() {
        let at = "2026-11-21T08:30:01.987Z".parse::<Timestamp>().unwrap();
        assert_eq!(rfc3339(at), "2026-11-21T08:30:01Z");
    }

    #[test]
    fn every_crd_has_a_status_subresource_and_columns() {
        for crd in crds() {
            for version in &crd.spec.versions {
                let name = &crd.spec.names.kind;
                assert!(
                    version.additional_printer_columns.is_some(),
                    "{name} has no printer columns"
                );
                let has_status = version
                    .subresources
                    .as_ref()
                    .is_some_and(|subresources| subresources.status.is_some());
                assert!(has_status || name == "ExchangeProfile", "{name} has no status");
            }
        }
    }
}
