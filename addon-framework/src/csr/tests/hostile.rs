//! Attackers and the confused: who asks, for whom, with which subject, for what, and with which bytes. A table, which unit
//! tests give to the approver and the scenario `framework_hostile` to a real API server.
use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
    kube::ResourceExt,
    ocm::{
        addon::v1beta1::Subject,
        names::{ADDON_NAME_LABEL, CLUSTER_NAME_LABEL},
    },
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer};

use super::request::{
    Case, GROUPS, HOST, Hostile, MASTERS, USER,
    Verdict::{Denied, Ignored},
    changed, params, signed,
};

/// A byte more than is read of a request.
const OVERSIZED: usize = 16 * 1024 + 1;

fn from_user(user: &str) -> Case {
    changed(|case| case.csr.spec.username = Some(user.into()))
}

fn in_groups(groups: &[&str]) -> Case {
    changed(|case| case.csr.spec.groups = Some(groups.iter().map(ToString::to_string).collect()))
}

fn with_usages(usages: &[&str]) -> Case {
    changed(|case| case.csr.spec.usages = Some(usages.iter().map(ToString::to_string).collect()))
}

fn labelled_as(key: &str, value: Option<&str>) -> Case {
    changed(|case| match value {
        Some(value) => drop(case.csr.labels_mut().insert(key.into(), value.into())),
        None => drop(case.csr.labels_mut().remove(key)),
    })
}

/// Who asks is not the agent of that cluster.
pub fn from_others() -> Vec<Hostile> {
    vec![
        (
            "c10 asks for c1",
            Ignored,
            "comes from",
            from_user("system:open-cluster-management:c10:agent"),
        ),
        (
            "c asks for c1",
            Ignored,
            "comes from",
            from_user("system:open-cluster-management:c:agent"),
        ),
        (
            "no agent id",
            Ignored,
            "comes from",
            from_user("system:open-cluster-management:c1:"),
        ),
        (
            "the bare cluster",
            Ignored,
            "comes from",
            from_user("system:open-cluster-management:c1"),
        ),
        (
            "colon in the agent id",
            Ignored,
            "comes from",
            from_user("system:open-cluster-management:c1:a:b"),
        ),
        ("an addon's own agent", Ignored, "comes from", from_user(USER)),
        (
            "a service account",
            Ignored,
            "comes from",
            from_user("system:serviceaccount:c1:agent"),
        ),
        (
            "nobody",
            Ignored,
            "comes from",
            changed(|case| case.csr.spec.username = None),
        ),
        (
            "prefix inside",
            Ignored,
            "comes from",
            from_user("x:system:open-cluster-management:c1:agent"),
        ),
    ]
}

/// Not in the groups, or not for the labels or the signer, of an addon's agent.
pub fn other_groups_labels_or_signers() -> Vec<Hostile> {
    let (own, all) = (
        "system:open-cluster-management:c1",
        "system:open-cluster-management:managed-clusters",
    );
    vec![
        ("no groups", Ignored, "groups", in_groups(&[])),
        ("only its own group", Ignored, "groups", in_groups(&[own])),
        (
            "another cluster's group",
            Ignored,
            "groups",
            in_groups(&["system:open-cluster-management:c10", all]),
        ),
        (
            "one group more",
            Ignored,
            "groups",
            in_groups(&[own, all, "system:masters"]),
        ),
        ("one group twice", Ignored, "groups", in_groups(&[own, own, all])),
        (
            "cluster label missing",
            Ignored,
            "labels",
            labelled_as(CLUSTER_NAME_LABEL, None),
        ),
        (
            "addon label missing",
            Ignored,
            "labels",
            labelled_as(ADDON_NAME_LABEL, None),
        ),
        (
            "addon label empty",
            Ignored,
            "labels",
            labelled_as(ADDON_NAME_LABEL, Some("")),
        ),
        (
            "label of another cluster",
            Ignored,
            "comes from",
            labelled_as(CLUSTER_NAME_LABEL, Some("c2")),
        ),
        (
            "label of another addon",
            Ignored,
            "has no addon",
            labelled_as(ADDON_NAME_LABEL, Some("other")),
        ),
        (
            "another name",
            Ignored,
            "name",
            changed(|case| case.csr.metadata.name = Some("c1-x".into())),
        ),
        (
            "another signer",
            Ignored,
            "signer",
            changed(|case| case.csr.spec.signer_name = "kubernetes.io/kubelet-serving".into()),
        ),
        (
            "a signer that is not registered",
            Ignored,
            "example.com/mine",
            changed(|case| case.csr.spec.signer_name = "example.com/mine".into()),
        ),
    ]
}

/// The addon or the cluster is not as it would have to be.
pub fn without_a_registration() -> Vec<Hostile> {
    let deleting = changed(|case| {
        case.addon.as_mut().unwrap().metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    });
    let token = changed(|case| {
        *case.subject() = Subject {
            user: "system:serviceaccount:c1:hello-agent".into(),
            ..Subject::default()
        };
    });
    let raised = changed(|case| case.subject().groups.push("system:masters".into()));
    // The agent writes itself another user into the status and asks for just that.
    let mut self_appointed = Case::with(&params("system:kube-controller-manager", &GROUPS, &[HOST]));
    self_appointed.subject().user = "system:kube-controller-manager".into();
    vec![
        ("no addon", Ignored, "has no addon", changed(|case| case.addon = None)),
        (
            "addon of another cluster",
            Ignored,
            "has no addon",
            changed(|case| {
                case.addon.as_mut().unwrap().metadata.namespace = Some("c10".into());
            }),
        ),
        ("addon deleting", Ignored, "being deleted", deleting),
        (
            "no cluster",
            Ignored,
            "not accepted",
            changed(|case| case.cluster = None),
        ),
        (
            "another cluster",
            Ignored,
            "not accepted",
            changed(|case| case.cluster.as_mut().unwrap().metadata.name = Some("c10".into())),
        ),
        (
            "cluster not accepted",
            Ignored,
            "not accepted",
            changed(|case| case.cluster.as_mut().unwrap().spec.hub_accepts_client = false),
        ),
        (
            "not registered yet",
            Ignored,
            "written",
            changed(|case| case.addon.as_mut().unwrap().status = None),
        ),
        (
            "addon wants none",
            Ignored,
            "registers nothing",
            changed(|case| case.wanted.clear()),
        ),
        ("token driver", Ignored, "written", token),
        ("status raised by the cluster's agent", Ignored, "written", raised),
        (
            "user from a status written by the agent",
            Ignored,
            "written",
            self_appointed,
        ),
    ]
}

/// For somebody else.
pub fn other_subjects() -> Vec<Hostile> {
    let with_type = |type_: DnType, value: &str| {
        let mut params = params(USER, &GROUPS, &[HOST]);
        params.distinguished_name.push(type_, value);
        Case::with(&params)
    };
    let single = |groups: &[&str]| {
        let mut case = Case::with(&params(USER, groups, &[HOST]));
        case.subject().groups.truncate(1);
        case.wanted[0]
            .kube_client
            .as_mut()
            .unwrap()
            .subject
            .as_mut()
            .unwrap()
            .groups
            .truncate(1);
        case
    };
    let other = "system:open-cluster-management:cluster:c10:addon:hello:agent:hello";
    vec![
        (
            "CN of another cluster",
            Ignored,
            "CN",
            Case::with(&params(other, &GROUPS, &[HOST])),
        ),
        (
            "CN of an administrator",
            Ignored,
            "CN",
            Case::with(&params("system:admin", &GROUPS, &[HOST])),
        ),
        (
            "CN with more behind",
            Ignored,
            "CN",
            Case::with(&params(&format!("{USER}x"), &GROUPS, &[HOST])),
        ),
        (
            "two CNs",
            Ignored,
            "CN",
            with_type(DnType::CustomDnType(vec![2, 5, 4, 3]), "system:admin"),
        ),
        (
            "O swapped",
            Ignored,
            "Os",
            Case::with(&params(USER, &["system:masters", GROUPS[1]], &[HOST])),
        ),
        (
            "O missing",
            Ignored,
            "Os",
            Case::with(&params(USER, &GROUPS[..1], &[HOST])),
        ),
        ("O added", Ignored, "Os", single(&[GROUPS[0], "system:masters"])),
        ("O twice", Ignored, "Os", single(&[GROUPS[0], GROUPS[0]])),
        ("O added in one RDN", Ignored, "Os", Case::with_pem(MASTERS.to_vec())),
        ("an OU", Ignored, "OUs", with_type(DnType::OrganizationalUnitName, "ou")),
        ("a country", Ignored, "more than", with_type(DnType::CountryName, "XY")),
    ]
}

/// What no agent may have.
pub fn never_for_an_agent() -> Vec<Hostile> {
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = params(USER, &GROUPS, &[HOST]);
        change(&mut params);
        Case::with(&params)
    };
    let lifetime = |seconds| changed(|case| case.csr.spec.expiration_seconds = Some(seconds));
    vec![
        (
            "server certificate",
            Denied,
            "server auth",
            with_usages(&["client auth", "server auth"]),
        ),
        (
            "CA certificate",
            Denied,
            "cert sign",
            with_usages(&["client auth", "cert sign"]),
        ),
        (
            "no client auth",
            Denied,
            "client auth",
            with_usages(&["digital signature"]),
        ),
        ("no usages", Denied, "client auth", with_usages(&[])),
        ("far lifetime", Denied, "at most", lifetime(i32::MAX)),
        (
            "no host name",
            Denied,
            "host name",
            Case::with(&params(USER, &GROUPS, &[])),
        ),
        (
            "another host name",
            Denied,
            "host name",
            Case::with(&params(USER, &GROUPS, &["kubernetes.default.svc"])),
        ),
        (
            "one host name more",
            Denied,
            "host name",
            Case::with(&params(USER, &GROUPS, &[HOST, "kubernetes.default.svc"])),
        ),
        (
            "an address",
            Denied,
            "host name",
            Case::with(&params(USER, &GROUPS, &["10.0.0.1"])),
        ),
        (
            "another addon's host name",
            Denied,
            "host name",
            Case::with(&params(USER, &GROUPS, &["other.addon.open-cluster-management.io"])),
        ),
        (
            "key usages",
            Denied,
            "host name",
            with(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        ),
        (
            "extended usages",
            Denied,
            "host name",
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            "any other extension",
            Denied,
            "host name",
            with(|params| {
                // basicConstraints with CA:TRUE; rcgen itself puts none into a request.
                let ca = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x03, 0x01, 0x01, 0xff]);
                params.custom_extensions = vec![ca];
            }),
        ),
    ]
}

/// Nothing that could be signed.
pub fn broken() -> Vec<Hostile> {
    let good = || signed(&params(USER, &GROUPS, &[HOST]));
    let tampered = |position: fn(usize) -> usize| {
        let mut der = good().der().to_vec();
        let position = position(der.len());
        der[position] ^= 1;
        Case::with_pem(armour("CERTIFICATE REQUEST", &der))
    };
    let der = good().der().to_vec();
    let trailing = [der.as_slice(), b"more"].concat();
    let twice = [good().pem().unwrap(), good().pem().unwrap()].concat();
    let certificate = params(USER, &GROUPS, &[HOST])
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap();
    vec![
        ("bad signature", Denied, "", tampered(|length| length - 1)),
        ("content changed after signing", Denied, "", tampered(|_| 60)),
        (
            "signed by another key",
            Denied,
            "",
            Case::with_pem(with_foreign_signature()),
        ),
        ("empty", Denied, "PEM", Case::with_pem(vec![])),
        ("no PEM", Denied, "PEM", Case::with_pem(der.clone())),
        ("oversized", Denied, "bytes", Case::with_pem(vec![b'A'; OVERSIZED])),
        (
            "garbage in PEM",
            Denied,
            "DER",
            Case::with_pem(armour("CERTIFICATE REQUEST", b"garbage")),
        ),
        (
            "bytes behind",
            Denied,
            "follow",
            Case::with_pem(armour("CERTIFICATE REQUEST", &trailing)),
        ),
        (
            "two requests",
            Denied,
            "exactly one",
            Case::with_pem(twice.into_bytes()),
        ),
        (
            "a certificate",
            Denied,
            "exactly one",
            Case::with_pem(certificate.pem().into_bytes()),
        ),
        (
            "another label",
            Denied,
            "exactly one",
            Case::with_pem(armour("NEW CERTIFICATE REQUEST", &der)),
        ),
    ]
}

/// The signature of a request with another key, under this request.
fn with_foreign_signature() -> Vec<u8> {
    let (mine, other) = (
        signed(&params(USER, &GROUPS, &[HOST])),
        signed(&params(USER, &GROUPS, &[HOST])),
    );
    let signature = |der: &[u8]| {
        X509CertificationRequest::from_der(der)
            .unwrap()
            .1
            .signature_value
            .data
            .to_vec()
    };
    let (own, foreign) = (signature(mine.der()), signature(other.der()));
    let mut der = mine.der().to_vec();
    if own.len() == foreign.len() {
        let start = der.len() - own.len();
        der[start..].copy_from_slice(&foreign);
        armour("CERTIFICATE REQUEST", &der)
    } else {
        with_foreign_signature()
    }
}

fn armour(label: &str, der: &[u8]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}
