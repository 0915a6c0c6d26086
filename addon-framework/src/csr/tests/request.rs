//! A good request of an agent, with everything around it that a case may change. Shared with the scenario that sends such
//! requests to a real API server (`framework_hostile`): nothing here may lean on the crate's insides.
use peering_api::{
    k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest},
    ocm::{
        ManagedCluster, ManagedClusterAddOn,
        addon::v1beta1::{RegistrationConfig, Subject},
    },
};
use rcgen::{CertificateParams, CertificateSigningRequest as Signed, DnType, KeyPair};
use serde_json::json;

use super::Registration;

pub const USER: &str = "system:open-cluster-management:cluster:c1:addon:hello:agent:hello";
pub const GROUPS: [&str; 2] = [
    "system:open-cluster-management:cluster:c1:addon:hello",
    "system:open-cluster-management:addon:hello",
];
pub const HOST: &str = "hello.addon.open-cluster-management.io";

/// Everything that one case may change.
pub struct Case {
    pub csr: CertificateSigningRequest,
    pub addon: Option<ManagedClusterAddOn>,
    pub cluster: Option<ManagedCluster>,
    pub wanted: Vec<RegistrationConfig>,
}

impl Case {
    pub fn good() -> Self {
        Self::with(&params(USER, &GROUPS, &[HOST]))
    }

    pub fn with(params: &CertificateParams) -> Self {
        Self::with_pem(pem(params).into_bytes())
    }

    pub fn with_pem(pem: Vec<u8>) -> Self {
        let csr = json!({
            "metadata": {"name": "addon-c1-hello-fdqxm",
                "labels": {"open-cluster-management.io/addon-name": "hello", "open-cluster-management.io/cluster-name": "c1"}},
            "spec": {"signerName": "kubernetes.io/kube-apiserver-client", "request": "",
                "username": "system:open-cluster-management:c1:agent-c1",
                "groups": ["system:open-cluster-management:c1", "system:open-cluster-management:managed-clusters", "system:authenticated"],
                "usages": ["digital signature", "key encipherment", "client auth"]},
        });
        let mut csr: CertificateSigningRequest = serde_json::from_value(csr).unwrap();
        csr.spec.request = ByteString(pem);
        let registrations = json!([{"type": "kubeClient", "kubeClient": {"driver": "csr", "subject": {"user": USER, "groups": GROUPS}}}]);
        let addon = json!({"metadata": {"name": "hello", "namespace": "c1"}, "spec": {}, "status": {"registrations": registrations}});
        let cluster = json!({"metadata": {"name": "c1"}, "spec": {"hubAcceptsClient": true}});
        Self {
            csr,
            addon: serde_json::from_value(addon).unwrap(),
            cluster: serde_json::from_value(cluster).unwrap(),
            wanted: Registration::kube_client("c1", "hello").configs,
        }
    }

    pub fn subject(&mut self) -> &mut Subject {
        let registration = &mut self.addon.as_mut().unwrap().status.as_mut().unwrap().registrations[0];
        registration.kube_client.as_mut().unwrap().subject.as_mut().unwrap()
    }
}

pub fn params(user: &str, groups: &[&str], hosts: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    for (index, group) in groups.iter().enumerate() {
        params.distinguished_name.push(organization(index), *group);
    }
    params
}

/// rcgen keeps one value per type; the same OID as a custom type gives a second O.
fn organization(index: usize) -> DnType {
    if index == 0 {
        DnType::OrganizationName
    } else {
        DnType::CustomDnType(vec![2, 5, 4, 10])
    }
}

pub fn pem(params: &CertificateParams) -> String {
    signed(params).pem().unwrap()
}

pub fn signed(params: &CertificateParams) -> Signed {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap()
}

/// As the registration agent makes them: by Go, with both groups in one sorted RDN.
pub const FROM_GO: &[u8] = include_bytes!("../fixtures/agent.csr.pem");
/// The same with the group `system:masters`.
pub const MASTERS: &[u8] = include_bytes!("../fixtures/masters.csr.pem");

/// What must come of a bad request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Ignored,
    Denied,
}

/// Why a request is bad, what must come of it, a word of the reason, and the request.
pub type Hostile = (&'static str, Verdict, &'static str, Case);

pub fn changed(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case::good();
    change(&mut case);
    case
}
