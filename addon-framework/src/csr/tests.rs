//! Requests of attackers and of the confused, each one change away from a good one.
use peering_api::k8s_openapi::{
    ByteString,
    api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus},
};
use rcgen::{CertificateParams, DnType};

use self::request::{
    Case, FROM_GO, GROUPS, HOST, Hostile, USER,
    Verdict::{self, Denied, Ignored},
    changed, params,
};
use super::*;
use crate::registration::Registration;

mod custom;
mod hostile;
mod request;

impl Case {
    fn decide(&self) -> Decision {
        decide(&Request {
            csr: &self.csr,
            addon: self.addon.as_ref(),
            cluster: self.cluster.as_ref(),
            wanted: &self.wanted,
        })
    }
}

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

/// Each case is a good request but for one thing: why it is bad, what must come of it, and a word of the reason.
fn check(cases: Vec<Hostile>) {
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

#[test]
fn requests_from_others_are_left_alone() {
    check(hostile::from_others());
}

#[test]
fn requests_with_other_groups_labels_or_signers_are_left_alone() {
    check(hostile::other_groups_labels_or_signers());
}

#[test]
fn requests_without_a_registration_wait() {
    check(hostile::without_a_registration());
}

#[test]
fn other_subjects_are_left_alone() {
    check(hostile::other_subjects());
}

#[test]
fn what_an_agent_may_never_have_is_denied() {
    check(hostile::never_for_an_agent());
}

#[test]
fn broken_requests_are_denied() {
    check(hostile::broken());
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
