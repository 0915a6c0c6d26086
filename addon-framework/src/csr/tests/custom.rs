//! Requests for a signer of the addon's own: who gets a certificate, and what is in it.
use std::time::Duration;

use peering_api::{Sensitive, ocm::addon::v1beta1::CustomSignerConfig};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use x509_parser::prelude::X509Certificate;

use super::*;

const SIGNER: &str = "example.com/mine";

fn signer() -> Signer {
    let (certificate, key) = (
        include_str!("../fixtures/ca-sec1.crt.pem"),
        include_str!("../fixtures/ca-sec1.key.pem"),
    );
    let key = Sensitive::from(key.as_bytes().to_vec());
    Signer::read(certificate, &key, Duration::from_hours(24)).unwrap()
}

fn registration(groups: &[&str], units: &[&str]) -> RegistrationConfig {
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    RegistrationConfig {
        type_: CUSTOM_SIGNER.to_owned(),
        custom_signer: Some(CustomSignerConfig {
            signer_name: SIGNER.to_owned(),
            subject: Some(Subject {
                user: "u1".into(),
                groups: own(groups),
                organization_units: own(units),
            }),
            ..CustomSignerConfig::default()
        }),
        ..RegistrationConfig::default()
    }
}

fn custom_params() -> CertificateParams {
    let mut params = params("u1", &["g1"], &[HOST]);
    params.distinguished_name.push(DnType::OrganizationalUnitName, "ou1");
    params
}

/// A request as the registration agent makes it for a registration with a group and a unit.
fn custom(params: &CertificateParams) -> Case {
    let mut case = Case::with(params);
    case.csr.spec.signer_name = SIGNER.into();
    case.wanted.push(registration(&["g1"], &["ou1"]));
    let registrations = &mut case.addon.as_mut().unwrap().status.as_mut().unwrap().registrations;
    registrations.push(registration(&["g1"], &["ou1"]));
    case
}

fn with(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = custom(&custom_params());
    change(&mut case);
    case
}

fn asking(change: impl FnOnce(&mut CertificateParams)) -> Case {
    let mut params = custom_params();
    change(&mut params);
    custom(&params)
}

fn status(case: &mut Case, conditions: &[&str], certificate: Option<ByteString>) {
    let conditions = conditions.iter().map(|type_| CertificateSigningRequestCondition {
        type_: (*type_).to_owned(),
        ..CertificateSigningRequestCondition::default()
    });
    case.csr.status = Some(CertificateSigningRequestStatus {
        conditions: Some(conditions.collect()),
        certificate,
    });
}

fn signed(case: &Case) -> Result<String, Decision> {
    let request = Request {
        csr: &case.csr,
        addon: case.addon.as_ref(),
        cluster: case.cluster.as_ref(),
        wanted: &case.wanted,
    };
    sign(&request, &signer(), Timestamp::now(), 7).map(Result::unwrap)
}

#[test]
fn a_registered_request_is_approved_and_signed() {
    let mut case = with(|_| {});
    assert_eq!(case.decide(), Decision::Approve);
    status(&mut case, &["Approved"], None);
    assert!(awaits_signature(&case.csr));
    let pem = signed(&case).unwrap();
    let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&block.contents).unwrap();
    assert_eq!(certificate.subject().to_string(), "O=g1, OU=ou1, CN=u1");
    let (_, block) = parse_x509_pem(&case.csr.spec.request.0).unwrap();
    let (_, request) = X509CertificationRequest::from_der(&block.contents).unwrap();
    let key = &request.certification_request_info.subject_pki;
    assert_eq!(certificate.public_key().raw, key.raw);
}

#[test]
fn only_approved_requests_of_other_signers_without_certificate_are_signed() {
    let awaits = |conditions: &[&str], certificate, signer: &str| {
        let mut case = with(|case| case.csr.spec.signer_name = signer.into());
        status(&mut case, conditions, certificate);
        awaits_signature(&case.csr)
    };
    assert!(awaits(&["Approved"], None, SIGNER));
    assert!(!awaits(&[], None, SIGNER));
    assert!(!awaits(&["Denied"], None, SIGNER));
    assert!(!awaits(&["Approved", "Failed"], None, SIGNER));
    assert!(!awaits(&["Approved", "Denied"], None, SIGNER));
    assert!(!awaits(&["Approved"], Some(ByteString(b"x".to_vec())), SIGNER));
    assert!(!awaits(&["Approved"], None, KUBE_CLIENT_SIGNER));
    assert!(!awaits_signature(&with(|_| {}).csr));
}

fn cases() -> Vec<(&'static str, Verdict, &'static str, Case)> {
    vec![
        (
            "another signer",
            Ignored,
            "neither",
            with(|case| case.csr.spec.signer_name = "example.com/other".into()),
        ),
        (
            "no subject",
            Ignored,
            "neither",
            with(|case| case.wanted[1].custom_signer.as_mut().unwrap().subject = None),
        ),
        (
            "not in the status",
            Ignored,
            "not (or no longer) written",
            with(|case| {
                let status = case.addon.as_mut().unwrap().status.as_mut().unwrap();
                status.registrations.pop();
            }),
        ),
        (
            "a unit more in the status",
            Ignored,
            "written",
            with(|case| {
                case.addon.as_mut().unwrap().status.as_mut().unwrap().registrations[1] =
                    registration(&["g1"], &["ou1", "ou2"]);
            }),
        ),
        ("the subject at the API server", Ignored, "CN", {
            let mut case = custom(&params(USER, &GROUPS, &[HOST]));
            case.csr.spec.signer_name = SIGNER.into();
            case
        }),
        (
            "this subject at the API server",
            Ignored,
            "CN",
            with(|case| case.csr.spec.signer_name = KUBE_CLIENT_SIGNER.into()),
        ),
        (
            "c10 asks",
            Ignored,
            "comes from",
            with(|case| case.csr.spec.username = Some("system:open-cluster-management:c10:agent".into())),
        ),
        ("no unit", Ignored, "OUs", custom(&params("u1", &["g1"], &[HOST]))),
        (
            "another unit",
            Ignored,
            "OUs",
            asking(|params| params.distinguished_name.push(DnType::OrganizationalUnitName, "ou2")),
        ),
        (
            "everybody as a unit more",
            Ignored,
            "OUs",
            asking(|params| {
                let again = DnType::CustomDnType(vec![2, 5, 4, 11]);
                params.distinguished_name.push(again, AUTHENTICATED_GROUP);
            }),
        ),
        (
            "CA",
            Denied,
            "no other extension",
            asking(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign)),
        ),
        (
            "server",
            Denied,
            "no other extension",
            asking(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth)),
        ),
        (
            "server in the usages",
            Denied,
            "server auth",
            with(|case| case.csr.spec.usages.as_mut().unwrap().push("server auth".into())),
        ),
        (
            "bytes behind",
            Denied,
            "exactly one",
            with(|case| case.csr.spec.request.0.extend_from_slice(b"x")),
        ),
    ]
}

#[test]
fn bad_requests_are_not_approved() {
    check(cases());
}

#[test]
fn bad_requests_that_were_approved_by_hand_are_not_signed() {
    for (what, verdict, word, mut case) in cases() {
        status(&mut case, &["Approved"], None);
        let refused = match (verdict, signed(&case).unwrap_err()) {
            (Ignored, Decision::Ignore(why)) | (Denied, Decision::Deny(why)) => why,
            other => panic!("{what}: {other:?}"),
        };
        assert!(refused.contains(word), "{what}: {refused}");
    }
}

/// Requests by openssl.
#[test]
fn rsa_keys_of_other_sizes_are_denied() {
    // The verifier itself refuses signatures of such keys.
    match custom_with(RSA_1024).decide() {
        Decision::Deny(why) => assert!(why.contains("not signed with the key"), "{why}"),
        other => panic!("{other:?}"),
    }
    match custom_with(RSA_5120).decide() {
        Decision::Deny(why) => assert!(why.contains("5120 bits"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(custom_with(RSA_2048).decide(), Decision::Approve);
}

const RSA_1024: &[u8] = include_bytes!("../fixtures/rsa-1024.csr.pem");
const RSA_5120: &[u8] = include_bytes!("../fixtures/rsa-5120.csr.pem");
const RSA_2048: &[u8] = include_bytes!("../fixtures/rsa-2048.csr.pem");

fn custom_with(pem: &[u8]) -> Case {
    with(|case| case.csr.spec.request = ByteString(pem.to_vec()))
}
