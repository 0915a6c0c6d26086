//! Whether an agent's certificate signing request may be approved: an exact match with what the addon registered. Pure.
//!
//! The Go framework compares the requesting user by prefix, so that the agent of cluster `c10` may get certificates of `c1`.
//! It also takes the subject from `status.registrations`, which the cluster's own agent may write. Here the subject must
//! stand there *and* be what the addon wants.
//!
//! Requests for a signer of the addon's own are judged again by the same rules before they are signed ([`sign`]), so that
//! what was approved by hand is not signed with another subject or extension.
mod ca;
mod signer;

use jiff::Timestamp;
use peering_api::{
    k8s_openapi::api::certificates::v1::CertificateSigningRequest,
    kube::ResourceExt,
    ocm::{
        ManagedCluster, ManagedClusterAddOn,
        addon::v1beta1::{CUSTOM_SIGNER, RegistrationConfig, Subject},
        names::{
            ADDON_NAME_LABEL, AUTHENTICATED_GROUP, CLUSTER_NAME_LABEL, IDENTITY_PREFIX, KUBE_CLIENT_SIGNER,
            MANAGED_CLUSTERS_GROUP,
        },
    },
};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension, X509Extension},
    pem::parse_x509_pem,
    prelude::FromDer,
    x509::{SubjectPublicKeyInfo, X509Name},
};

pub(crate) use self::ca::Rotation;
pub use self::ca::SigningCa;
use self::signer::Terms;
pub use self::signer::{Signer, SignerError};
use crate::registration::kube_client_subject;

/// The usages that an agent's client certificate may have; the last one it must have.
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];

/// The largest request that is parsed, in bytes of PEM: a P-256 request with two groups has less than 1 KiB.
const MAX_REQUEST: usize = 16 * 1024;

/// The longest lifetime that may be asked for, in seconds: a year, what kube-controller-manager signs by default.
const MAX_LIFETIME: i32 = 366 * 24 * 3600;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Approve it.
    Approve,
    /// Leave it alone: it is not ours to judge, or not yet.
    Ignore(String),
    /// Deny it: it comes from the cluster's agent and can never be approved.
    Deny(String),
}

/// A request with everything that is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The request.
    pub csr: &'a CertificateSigningRequest,
    /// The cluster's addon that its labels name.
    pub addon: Option<&'a ManagedClusterAddOn>,
    /// The cluster that its labels name.
    pub cluster: Option<&'a ManagedCluster>,
    /// What the addon wants for this cluster.
    pub wanted: &'a [RegistrationConfig],
}

/// Cluster and addon that a request is for, by its labels.
pub fn labelled(csr: &CertificateSigningRequest) -> Option<(&str, &str)> {
    let label = |key| {
        csr.labels()
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    Some((label(CLUSTER_NAME_LABEL)?, label(ADDON_NAME_LABEL)?))
}

/// Decides about a request.
pub fn decide(request: &Request<'_>) -> Decision {
    if is_decided(request.csr) {
        return ignore("it is decided already");
    }
    match judge(request, |_, _, _| ()) {
        Ok(()) => Decision::Approve,
        Err(decision) => decision,
    }
}

/// Whether a request is approved and waits for the certificate of a signer which is not one of Kubernetes.
pub fn awaits_signature(csr: &CertificateSigningRequest) -> bool {
    let Some(status) = &csr.status else { return false };
    let is = |type_: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == type_)
    };
    csr.spec.signer_name != KUBE_CLIENT_SIGNER
        && status.certificate.is_none()
        && is("Approved")
        && !is("Denied")
        && !is("Failed")
}

/// Signs a request that [`awaits_signature`], if it could be approved now. Returns PEM.
pub fn sign(
    request: &Request<'_>,
    signer: &Signer,
    now: Timestamp,
    serial: u128,
) -> Result<Result<String, SignerError>, Decision> {
    judge(request, |key, subject, host| {
        let terms = Terms {
            subject,
            host,
            asked: request.csr.spec.expiration_seconds,
        };
        signer.sign(key, &terms, now, serial)
    })
}

/// Gives key, subject and host name of a good request to `then`.
fn judge<T>(
    request: &Request<'_>,
    then: impl FnOnce(&SubjectPublicKeyInfo<'_>, &Subject, &str) -> T,
) -> Result<T, Decision> {
    let csr = request.csr;
    let (cluster, addon) = labelled(csr).ok_or_else(|| ignore("it has no labels for cluster and addon"))?;
    is_of_agents(csr)?;
    let wanted = subject_for(&csr.spec.signer_name, request.wanted);
    if wanted.is_none() && csr.spec.signer_name != KUBE_CLIENT_SIGNER {
        return Err(ignore(format!(
            "its signer is {}, neither {KUBE_CLIENT_SIGNER} nor one that addon {addon} registers a subject for",
            csr.spec.signer_name
        )));
    }
    is_from_agent(csr, cluster)?;
    let subject = registered(request, wanted, cluster, addon)?;
    // From here on the cluster's own agent asks for its own addon.
    usages(csr)?;
    lifetime(csr)?;
    let host = format!("{addon}.addon.open-cluster-management.io");
    content(&csr.spec.request.0, &host, subject, then)
}

/// The subject of the registration for this signer.
fn subject_for<'a>(signer: &str, registrations: &'a [RegistrationConfig]) -> Option<&'a Subject> {
    if signer == KUBE_CLIENT_SIGNER {
        return kube_client_subject(registrations);
    }
    let mut custom = registrations
        .iter()
        .filter(|config| config.type_ == CUSTOM_SIGNER)
        .filter_map(|config| config.custom_signer.as_ref());
    custom.find(|config| config.signer_name == signer)?.subject.as_ref()
}

fn ignore(reason: impl Into<String>) -> Decision {
    Decision::Ignore(reason.into())
}

fn deny(reason: impl Into<String>) -> Decision {
    Decision::Deny(reason.into())
}

fn is_of_agents(csr: &CertificateSigningRequest) -> Result<(), Decision> {
    // What the registration agent calls its requests, and the Go framework filters by.
    if !csr.name_any().starts_with("addon") {
        return Err(ignore("its name does not begin with \"addon\""));
    }
    Ok(())
}

/// Whether somebody has decided about it: then nothing is left to do, for ever.
pub fn is_decided(csr: &CertificateSigningRequest) -> bool {
    let Some(status) = &csr.status else { return false };
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| ["Approved", "Denied", "Failed"].contains(&condition.type_.as_str()))
        || status.certificate.is_some()
}

/// Exactly the registration agent of this cluster.
fn is_from_agent(csr: &CertificateSigningRequest, cluster: &str) -> Result<(), Decision> {
    let user = csr.spec.username.as_deref().unwrap_or_default();
    let group = format!("{IDENTITY_PREFIX}{cluster}");
    let agent = user
        .strip_prefix(&group)
        .and_then(|rest| rest.strip_prefix(':'))
        .unwrap_or_default();
    if agent.is_empty() || agent.contains(':') {
        return Err(ignore(format!(
            "it comes from {user}, not from an agent of cluster {cluster}"
        )));
    }
    let groups: Vec<_> = csr.spec.groups.iter().flatten().cloned().collect();
    if !same_set(&groups, &[group, MANAGED_CLUSTERS_GROUP.to_owned()]) {
        return Err(ignore(format!(
            "{user} has the groups {groups:?}, not those of an agent of cluster {cluster}"
        )));
    }
    Ok(())
}

/// The subject which both the addon and the object's status name.
fn registered<'a>(
    request: &Request<'a>,
    wanted: Option<&'a Subject>,
    cluster: &str,
    name: &str,
) -> Result<&'a Subject, Decision> {
    let addon = request
        .addon
        .filter(|addon| addon.name_any() == name && addon.namespace().as_deref() == Some(cluster));
    let addon = addon.ok_or_else(|| ignore(format!("cluster {cluster} has no addon {name}")))?;
    if addon.metadata.deletion_timestamp.is_some() {
        return Err(ignore(format!("addon {name} of cluster {cluster} is being deleted")));
    }
    let known = request.cluster.filter(|known| known.name_any() == cluster);
    if !known.is_some_and(|known| known.spec.hub_accepts_client) {
        return Err(ignore(format!("cluster {cluster} is not accepted by the hub")));
    }
    let wanted = wanted.ok_or_else(|| ignore(format!("addon {name} registers nothing at the hub's API server")))?;
    let status = addon
        .status
        .as_ref()
        .map(|status| status.registrations.as_slice())
        .unwrap_or_default();
    let written = subject_for(&request.csr.spec.signer_name, status).filter(|subject| subject.user == wanted.user);
    written
        .filter(|subject| same_set(&subject.groups, &wanted.groups))
        .filter(|subject| sorted(&subject.organization_units) == sorted(&wanted.organization_units))
        .map(|_| wanted)
        .ok_or_else(|| {
            ignore(format!(
                "the registration of addon {name} on cluster {cluster} is not (or no longer) written"
            ))
        })
}

fn usages(csr: &CertificateSigningRequest) -> Result<(), Decision> {
    let usages: Vec<_> = csr.spec.usages.iter().flatten().map(String::as_str).collect();
    if let Some(other) = usages.iter().find(|usage| !USAGES.contains(usage)) {
        return Err(deny(format!(
            "usage {other:?} is asked for; an agent gets {USAGES:?} only"
        )));
    }
    if !usages.contains(&USAGES[2]) {
        return Err(deny(format!("usage {:?} is not asked for", USAGES[2])));
    }
    Ok(())
}

fn lifetime(csr: &CertificateSigningRequest) -> Result<(), Decision> {
    match csr.spec.expiration_seconds {
        Some(seconds) if seconds > MAX_LIFETIME => Err(deny(format!(
            "{seconds} s are asked for; an agent gets {MAX_LIFETIME} s at most"
        ))),
        _ => Ok(()),
    }
}

fn content<T>(
    pem: &[u8],
    host: &str,
    subject: &Subject,
    then: impl FnOnce(&SubjectPublicKeyInfo<'_>, &Subject, &str) -> T,
) -> Result<T, Decision> {
    if pem.len() > MAX_REQUEST {
        return Err(deny(format!(
            "the request has {} bytes; at most {MAX_REQUEST} are read",
            pem.len()
        )));
    }
    let (after, block) = parse_x509_pem(pem).map_err(|_| deny("the request is not PEM"))?;
    if block.label != "CERTIFICATE REQUEST" || !after.trim_ascii().is_empty() {
        return Err(deny("the request is not exactly one PEM block CERTIFICATE REQUEST"));
    }
    let (after, parsed) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|_| deny("the request is not a certificate request in DER"))?;
    if !after.is_empty() {
        return Err(deny("bytes follow the certificate request"));
    }
    parsed
        .verify_signature()
        .map_err(|_| deny("the request is not signed with the key it is for"))?;
    let info = &parsed.certification_request_info;
    names(&info.subject, subject)?;
    let mut extensions = vec![];
    for attribute in info.iter_attributes() {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(request) => extensions.extend(&request.extensions),
            _ => {
                return Err(deny(format!(
                    "the attribute {} is asked for; only a host name may be",
                    attribute.oid
                )));
            }
        }
    }
    host_name(&extensions, host)?;
    if let Some(why) = signer::refused_key(&info.subject_pki) {
        return Err(deny(why));
    }
    Ok(then(&info.subject_pki, subject, host))
}

/// The CN is the registered user, the Os are the registered groups, the OUs the registered units, and there is nothing else.
fn names(name: &X509Name<'_>, subject: &Subject) -> Result<(), Decision> {
    let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().map(str::to_owned).ok();
    let users: Vec<_> = name.iter_common_name().map(text).collect();
    let groups: Option<Vec<_>> = name.iter_organization().map(text).collect();
    if users.len() != 1 || users[0].as_ref() != Some(&subject.user) {
        return Err(ignore(format!("the CN is not the registered user {}", subject.user)));
    }
    let groups = groups.filter(|groups| same_set(groups, &subject.groups));
    let groups = groups.ok_or_else(|| ignore(format!("the Os are not the registered groups {:?}", subject.groups)))?;
    let units: Option<Vec<_>> = name.iter_organizational_unit().map(text).collect();
    let units = units.filter(|units| sorted(units) == sorted(&subject.organization_units));
    let units = units.ok_or_else(|| {
        ignore(format!(
            "the OUs are not the registered units {:?}",
            subject.organization_units
        ))
    })?;
    if name.iter_attributes().count() != 1 + groups.len() + units.len() {
        return Err(ignore("the subject has more than a CN, Os and OUs"));
    }
    Ok(())
}

/// The only extension is the addon's host name.
fn host_name(extensions: &[&X509Extension<'_>], expected: &str) -> Result<(), Decision> {
    let refuse = || {
        deny(format!(
            "the request must ask for the host name {expected} and for no other extension"
        ))
    };
    let [extension] = extensions else { return Err(refuse()) };
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return Err(refuse());
    };
    match names.general_names.as_slice() {
        [GeneralName::DNSName(name)] if **name == *expected => Ok(()),
        _ => Err(refuse()),
    }
}

/// The same entries in any order, each once; `system:authenticated`, which everybody has, may stand beside.
fn same_set(found: &[String], expected: &[String]) -> bool {
    let others = |list: &[String]| {
        let mut list = sorted(list);
        list.retain(|entry| entry != AUTHENTICATED_GROUP);
        list
    };
    others(found) == others(expected)
}

fn sorted(list: &[String]) -> Vec<String> {
    let mut list = list.to_vec();
    list.sort();
    list
}

#[cfg(test)]
mod tests;
