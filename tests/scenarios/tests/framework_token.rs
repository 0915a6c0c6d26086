//! The token driver: OCM's registration agent asks for tokens of a service account instead of certificates. An addon is
//! switched to it and back; RBAC follows what the agent writes into the status, and its agent works with either.
use std::{collections::BTreeSet, path::Path};

use addon_framework::{Registration, Simple, agent::hub};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret, ServiceAccount},
    rbac::v1::{PolicyRule, RoleBinding},
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{DeleteParams, PostParams},
};
use peering_api::{
    ocm::{
        ManagedClusterAddOn,
        addon::v1beta1::{CUSTOM_SIGNER, CustomSignerConfig, RegistrationConfig, Subject},
    },
    peering::condition,
};
use scenarios::Scenario;
use testenv::Cluster;

use crate::framework_life::run;

const ADDON: &str = "tokened";
const CLUSTER: &str = "framework-token";
const SIGNER: &str = "example.com/tokened";
/// The argument of the registration agent that chooses the driver.
const DRIVER: &str = "--addon-kubeclient-registration-auth=token";
/// The service account that OCM makes for an addon's agent, and its Role.
const ACCOUNT: &str = "tokened-agent";
const ACCOUNT_ROLE: &str = "tokened-token-role";

const HUB: &str = "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: tokened}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1alpha1
kind: ManagedClusterAddOn
metadata: {name: tokened, namespace: framework-token}
spec: {installNamespace: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: tokened, namespace: framework-token}
data: {for: the agent}
";

/// The usual identity, which may read `ConfigMap`s, and one of a signer that nobody serves.
fn registration(cluster: &str) -> Registration {
    let read = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".to_owned()]),
        verbs: vec!["get".to_owned()],
        ..PolicyRule::default()
    };
    let mut registration = Registration::kube_client(cluster, ADDON).allow([read]);
    registration.configs.push(RegistrationConfig {
        type_: CUSTOM_SIGNER.to_owned(),
        custom_signer: Some(CustomSignerConfig {
            signer_name: SIGNER.to_owned(),
            subject: Some(custom_subject()),
            ..CustomSignerConfig::default()
        }),
        ..RegistrationConfig::default()
    });
    registration
}

fn custom_subject() -> Subject {
    Subject {
        user: "tokened".to_owned(),
        ..Subject::default()
    }
}

/// What an addon's agent is on the hub at a time: the driver, its user and its groups.
struct Identity {
    driver: &'static str,
    user: String,
    groups: Vec<String>,
}

impl Identity {
    fn by_certificate() -> Result<Self> {
        let mut configs = Registration::kube_client(CLUSTER, ADDON).configs;
        let subject = configs.remove(0).kube_client.and_then(|client| client.subject);
        let subject = subject.context("no subject")?;
        Ok(Self {
            driver: "csr",
            user: subject.user,
            groups: subject.groups,
        })
    }

    fn by_token() -> Self {
        Self {
            driver: "token",
            user: format!("system:serviceaccount:{CLUSTER}:{ACCOUNT}"),
            groups: vec![],
        }
    }
}

/// The addon on a cluster of its own.
struct Tokened<'a> {
    s: &'a Scenario,
    spoke: &'a Cluster,
    addons: Api<ManagedClusterAddOn>,
    /// Where the agent's Secret would be mounted.
    mounted: &'a Path,
}

impl Tokened<'_> {
    /// Waits until status and `RoleBinding` say that the agent is this, and nobody else.
    async fn await_identity(&self, wanted: &Identity) -> Result<()> {
        self.s
            .until(&format!("the driver {} in the status", wanted.driver), || async {
                let status = self.addons.get(ADDON).await?.status.unwrap_or_default();
                let mut registrations = status.registrations.into_iter();
                let client = registrations
                    .next()
                    .and_then(|found| found.kube_client)
                    .unwrap_or_default();
                let subject = client.subject.unwrap_or_default();
                let custom = registrations
                    .next()
                    .and_then(|found| found.custom_signer)
                    .and_then(|found| found.subject);
                ensure!(
                    custom.is_none_or(|custom| custom == custom_subject()),
                    "the other registration has changed"
                );
                let found = client.driver.as_deref() == Some(wanted.driver)
                    && subject.user == wanted.user
                    && subject.groups == wanted.groups;
                Ok(found.then_some(()))
            })
            .await?;
        let bindings: Api<RoleBinding> = Api::namespaced(self.s.hub.clone(), CLUSTER);
        // The addon's own group is shared with other clusters, and is not bound.
        let shared = format!("system:open-cluster-management:addon:{ADDON}");
        let expected: BTreeSet<&String> = std::iter::once(&wanted.user)
            .chain(wanted.groups.iter().filter(|group| **group != shared))
            .collect();
        self.s
            .until("the RoleBinding for it", || async {
                let binding = bindings.get_opt("open-cluster-management:tokened:agent").await?;
                let subjects = binding.and_then(|binding| binding.subjects).unwrap_or_default();
                let names: BTreeSet<&String> = subjects.iter().map(|subject| &subject.name).collect();
                Ok((names == expected).then_some(()))
            })
            .await
    }

    /// Mounts the agent's Secret as it is, once it has the credentials of a driver.
    async fn mount(&self, key: &str, changed_from: Option<&hub::Config>) -> Result<hub::Config> {
        let secrets: Api<Secret> = Api::namespaced(self.spoke.client().await?, "default");
        let user = if key == "token" {
            "tokenFile"
        } else {
            "client-certificate"
        };
        let data = self
            .s
            .until(&format!("the Secret with {key}"), || async {
                let data = secrets
                    .get_opt("tokened-hub-kubeconfig")
                    .await?
                    .and_then(|secret| secret.data);
                let data = data.filter(|data| data.contains_key(key));
                Ok(data.filter(|data| {
                    let kubeconfig = data
                        .get("kubeconfig")
                        .map(|text| String::from_utf8_lossy(&text.0).into_owned());
                    kubeconfig.is_some_and(|text| text.contains(user))
                }))
            })
            .await?;
        for (name, content) in data {
            std::fs::write(self.mounted.join(name), content.0)?;
        }
        Ok(match changed_from {
            // As the agent does: it sees by itself that there are other credentials.
            Some(before) => before.changed().await,
            None => hub::Config::load(self.mounted).await?,
        })
    }

    /// The agent does what it is there for, and may do nothing else.
    async fn works(&self, config: &hub::Config) -> Result<()> {
        ensure!(
            config.cluster_name.as_deref() == Some(CLUSTER),
            "{:?}",
            config.cluster_name
        );
        let client = Client::try_from(config.kube.clone())?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), CLUSTER);
        let map = self
            .s
            .until("the agent to read from the hub", || async {
                match maps.get(ADDON).await {
                    Ok(map) => Ok(Some(map)),
                    // The authorizer learns of a RoleBinding a moment later than we do.
                    Err(Error::Api(status)) if status.code == 403 => Ok(None),
                    Err(error) => Err(error.into()),
                }
            })
            .await?;
        let mut copy = ConfigMap {
            data: map.data,
            ..ConfigMap::default()
        };
        copy.metadata.generate_name = Some("tokened-".to_owned());
        let copies: Api<ConfigMap> = Api::namespaced(self.spoke.client().await?, "default");
        let copy = copies.create(&PostParams::default(), &copy).await?;
        ensure!(copy.data.is_some_and(|data| data["for"] == "the agent"));
        refused(maps.delete(ADDON, &DeleteParams::default()).await)?;
        refused(Api::<ConfigMap>::namespaced(client, "cluster1").get(ADDON).await)
    }
}

fn refused<T>(answer: Result<T, Error>) -> Result<()> {
    match answer {
        Err(Error::Api(status)) if status.code == 403 => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => anyhow::bail!("the agent may do more than it should"),
    }
}

#[tokio::test]
async fn an_agent_is_switched_to_tokens_and_back() -> Result<()> {
    let s = Scenario::shared("framework-token").await?;
    let spoke = s.world.env.join(CLUSTER).await?;
    let addon = Simple::new(ADDON).registration(|cluster, _| Some(registration(&cluster.name_any())));
    let _manager = run(&s, addon)?;
    s.world.env.hub().apply_text(HUB).await?;
    let mounted = spoke.directory().join("tokened");
    std::fs::create_dir_all(&mounted)?;
    let tokened = Tokened {
        s: &s,
        spoke: &spoke,
        addons: Api::namespaced(s.hub.clone(), CLUSTER),
        mounted: &mounted,
    };
    let certificate = Identity::by_certificate()?;
    tokened.await_identity(&certificate).await?;
    let by_certificate = tokened.mount("tls.crt", None).await?;
    tokened.works(&by_certificate).await?;

    spoke
        .restart_with("registration-agent", |args| args.push(DRIVER.to_owned()))
        .await?;
    tokened.await_identity(&Identity::by_token()).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(s.hub.clone(), CLUSTER);
    let bindings: Api<RoleBinding> = Api::namespaced(s.hub.clone(), CLUSTER);
    s.until("OCM's service account and its role", || async {
        let there = accounts.get_opt(ACCOUNT).await?.is_some() && bindings.get_opt(ACCOUNT_ROLE).await?.is_some();
        Ok(there.then_some(()))
    })
    .await?;
    let by_token = tokened.mount("token", Some(&by_certificate)).await?;
    tokened.works(&by_token).await?;
    // The certificate is still valid, but its subject is bound to nothing any more.
    let old = Client::try_from(by_certificate.kube.clone())?;
    refused(Api::<ConfigMap>::namespaced(old, CLUSTER).get(ADDON).await)?;
    s.until("OCM to tell that tokens are there", || async {
        let conditions = tokened.addons.get(ADDON).await?.status.unwrap_or_default().conditions;
        Ok(condition(&conditions, "TokenInfrastructureReady")
            .filter(|found| found.status == "True")
            .map(|_| ()))
    })
    .await?;

    spoke
        .restart_with("registration-agent", |args| args.retain(|argument| argument != DRIVER))
        .await?;
    tokened.await_identity(&certificate).await?;
    s.await_gone(&accounts, ACCOUNT).await?;
    let again = tokened.mount("tls.crt", Some(&by_token)).await?;
    tokened.works(&again).await?;

    // Removed while it has a token: OCM takes its service account away.
    spoke
        .restart_with("registration-agent", |args| args.push(DRIVER.to_owned()))
        .await?;
    tokened.await_identity(&Identity::by_token()).await?;
    s.until("the service account", || async { Ok(accounts.get_opt(ACCOUNT).await?) })
        .await?;
    tokened.addons.delete(ADDON, &DeleteParams::default()).await?;
    s.await_gone(&tokened.addons, ADDON).await?;
    s.await_gone(&accounts, ACCOUNT).await?;
    s.await_gone(&bindings, "open-cluster-management:tokened:agent").await?;
    let secrets: Api<Secret> = Api::namespaced(spoke.client().await?, "default");
    s.await_gone(&secrets, "tokened-hub-kubeconfig").await
}
