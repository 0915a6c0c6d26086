//! A signer of an addon's own on the real Open Cluster Management: its CA is in a Secret on the hub, and is replaced.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use addon_framework::{Manager, Options, Registration, SigningCa, Simple, runtime::Clients};
use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::DeleteParams};
use peering_api::ocm::{
    ManagedClusterAddOn,
    addon::v1beta1::{CUSTOM_SIGNER, CustomSignerConfig, RegistrationConfig, Subject},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use scenarios::{Scenario, Side, scenario::put};
use tokio_util::sync::CancellationToken;

const ADDON: &str = "signed";
const SIGNER: &str = "example.com/signed";
/// The Secret with the CA, on the hub.
const CA: &str = "signed-ca";
/// The Secret that OCM makes of a certificate, in the agent's namespace.
const ISSUED: &str = "signed-example.com-signed-client-cert";

const HUB: &str = "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: signed}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ManagedClusterAddOn
metadata: {name: signed, namespace: cluster2}
spec: {installNamespace: default}
";

/// A new CA in a Secret, and its certificate.
fn ca(name: &str) -> Result<(Secret, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key)?.pem();
    let data = [("tls.crt", certificate.clone()), ("tls.key", key.serialize_pem())];
    let data: BTreeMap<_, _> = data
        .into_iter()
        .map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())))
        .collect();
    let mut secret = Secret {
        data: Some(data),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    };
    secret.metadata.name = Some(CA.to_owned());
    secret.metadata.namespace = Some("default".to_owned());
    Ok((secret, certificate))
}

fn registration() -> Registration {
    let config = RegistrationConfig {
        type_: CUSTOM_SIGNER.to_owned(),
        custom_signer: Some(CustomSignerConfig {
            signer_name: SIGNER.to_owned(),
            subject: Some(Subject {
                user: "the-agent".to_owned(),
                groups: vec!["agents".to_owned()],
                organization_units: vec![],
            }),
            ..CustomSignerConfig::default()
        }),
        ..RegistrationConfig::default()
    };
    Registration {
        configs: vec![config],
        ..Registration::default()
    }
}

/// Common name of who issued the certificate in a Secret.
fn issuer(secret: &Secret) -> Result<String> {
    let pem = secret
        .data
        .as_ref()
        .and_then(|data| data.get("tls.crt"))
        .context("no tls.crt")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem.0)?;
    let certificate = pem.parse_x509()?;
    ensure!(
        certificate.subject().to_string().contains("CN=the-agent"),
        "{}",
        certificate.subject()
    );
    Ok(certificate.issuer().to_string())
}

#[tokio::test]
async fn certificates_come_from_the_ca_in_the_secret_and_from_the_next_one() -> Result<()> {
    let s = Scenario::shared("framework-signer").await?;
    let side = Side::West;
    let (first, first_pem) = ca("first")?;
    let addon = Simple::new(ADDON)
        .registration(|_, _| Some(registration()))
        .options(Options {
            signing_cas: vec![SigningCa {
                signer: SIGNER.to_owned(),
                namespace: "default".to_owned(),
                secret: CA.to_owned(),
                lifetime: Duration::from_hours(24),
            }],
            ..Options::default()
        });
    let clients = Clients {
        watch: s.hub.clone(),
        request: s.hub.clone(),
    };
    let manager = Manager::builder(clients).addon(Arc::new(addon)).build()?;
    let token = CancellationToken::new();
    let _guard = token.clone().drop_guard();
    let running = manager.clone();
    tokio::spawn(async move { running.run(token).await });
    s.world.env.hub().apply_text(HUB).await?;

    // The request comes first: it is signed when there is a CA.
    let cas: Api<Secret> = Api::namespaced(s.hub.clone(), "default");
    let issued: Api<Secret> = Api::namespaced(s.client(side), "default");
    put(&cas, first).await?;
    let certificate = s
        .until("a certificate", || async { Ok(issued.get_opt(ISSUED).await?) })
        .await?;
    ensure!(issuer(&certificate)?.contains("CN=first"));
    ensure!(flat(&manager.trusted_cas(ADDON, SIGNER)) == flat(&first_pem));

    let (second, second_pem) = ca("second")?;
    put(&cas, second).await?;
    let both = flat(&[second_pem, first_pem].concat());
    s.until("both CAs to be trusted", || async {
        Ok((flat(&manager.trusted_cas(ADDON, SIGNER)) == both).then_some(()))
    })
    .await?;
    issued.delete(ISSUED, &DeleteParams::default()).await?;
    s.until("a certificate of the next CA", || async {
        let Some(secret) = issued.get_opt(ISSUED).await? else {
            return Ok(None);
        };
        Ok(issuer(&secret).ok().filter(|name| name.contains("CN=second")))
    })
    .await?;

    let addons = s.hub_of::<ManagedClusterAddOn>(side);
    addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&addons, ADDON).await?;
    cas.delete(CA, &DeleteParams::default()).await?;
    Ok(())
}

fn flat(pem: &str) -> String {
    pem.replace(['\r', '\n'], "")
}
