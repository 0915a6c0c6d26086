//! Requests of attackers and of the confused, each one change away from a good one.
use peering_api::k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus},
};
use rcgen::{CertificateParams, CertificateSigningRequest as Signed, DnType, KeyPair};
use serde_json::json;

use super::*;
use crate::addon::Registration;

const USER: &str = "system:open-cluster-management:cluster:c1:addon:hello:agent:hello";
const GROUPS: [&str; 2] = [
    "system:open-cluster-management:cluster:c1:addon:hello",
    "system:open-cluster-management:addon:hello",
];
const HOST: &str = "hello.addon.open-cluster-management.io";

mod custom;
mod hostile;

/// Everything that one case may change.
struct Case {
    csr: CertificateSigningRequest,
    addon: Option<ManagedClusterAddOn>,
    cluster: Option<ManagedCluster>,
    wanted: Vec<RegistrationConfig>,
}

impl Case {
    fn good() -> Self {
        Self::with(&params(USER, &GROUPS, &[HOST]))
    }

    fn with(params: &CertificateParams) -> Self {
        Self::with_pem(pem(params).into_bytes())
    }

    fn with_pem(pem: Vec<u8>) -> Self {
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

    fn decide(&self) -> Decision {
        decide(&Request {
            csr: &self.csr,
            addon: self.addon.as_ref(),
            cluster: self.cluster.as_ref(),
            wanted: &self.wanted,
        })
    }

    fn subject(&mut self) -> &mut Subject {
        let registration = &mut self.addon.as_mut().unwrap().status.as_mut().unwrap().registrations[0];
        registration.kube_client.as_mut().unwrap().subject.as_mut().unwrap()
    }
}

fn params(user: &str, groups: &[&str], hosts: &[&str]) -> CertificateParams {
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

fn pem(params: &CertificateParams) -> String {
    signed(params).pem().unwrap()
}

fn signed(params: &CertificateParams) -> Signed {
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap()
}

/// As the registration agent makes them: by Go, with both groups in one sorted RDN.
const FROM_GO: &[u8] = include_bytes!("fixtures/agent.csr.pem");
/// The same with the group `system:masters`.
const MASTERS: &[u8] = include_bytes!("fixtures/masters.csr.pem");

#[test]
fn good_requests_are_approved() {
    assert_eq!(Case::good().decide(), Decision::Approve);
    let mut case = Case::with_pem(FROM_GO.to_vec());
    assert_eq!(case.decide(), Decision::Approve);
    case.csr.spec.usages = Some(vec!["client auth".into()]);
    case.csr.spec.expiration_seconds = Some(3600);
    case.csr.spec.groups.as_mut().unwrap().pop();
    assert_eq!(
        case.decide(),
        Decision::Approve,
        "fewer usages, a short life, no system:authenticated"
    );
    let mut case = Case::with(&params(USER, &[GROUPS[0], AUTHENTICATED_GROUP], &[HOST]));
    case.subject().groups.pop();
    case.wanted[0]
        .kube_client
        .as_mut()
        .unwrap()
        .subject
        .as_mut()
        .unwrap()
        .groups
        .pop();
    assert_eq!(
        case.decide(),
        Decision::Approve,
        "system:authenticated beside the registered groups"
    );
}

/// What must come of a bad request.
#[derive(Debug, PartialEq)]
enum Verdict {
    Ignored,
    Denied,
}
use Verdict::{Denied, Ignored};

/// Each case is a good request but for one thing: why it is bad, what must come of it, and a word of the reason.
fn check(cases: Vec<(&str, Verdict, &str, Case)>) {
    for (what, expected, word, case) in cases {
        let (verdict, reason) = match case.decide() {
            Decision::Approve => panic!("{what}: approved"),
            Decision::Ignore(reason) => (Ignored, reason),
            Decision::Deny(reason) => (Denied, reason),
        };
        assert_eq!(verdict, expected, "{what}: {reason}");
        assert!(reason.contains(word), "{what}: {reason}");
    }
}

fn changed(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case::good();
    change(&mut case);
    case
}

#[test]
fn decided_requests_are_left_alone() {
    let decided = |type_: &str| {
        let condition = CertificateSigningRequestCondition {
            type_: type_.into(),
            ..CertificateSigningRequestCondition::default()
        };
        let conditions = Some(vec![condition]);
        changed(|case| {
            case.csr.status = Some(CertificateSigningRequestStatus {
                conditions,
                certificate: None,
            });
        })
    };
    let issued = changed(|case| {
        let certificate = Some(ByteString(b"x".to_vec()));
        case.csr.status = Some(CertificateSigningRequestStatus {
            certificate,
            conditions: None,
        });
    });
    check(vec![
        ("approved", Ignored, "decided", decided("Approved")),
        ("denied", Ignored, "decided", decided("Denied")),
        ("failed", Ignored, "decided", decided("Failed")),
        ("issued", Ignored, "decided", issued),
    ]);
}
