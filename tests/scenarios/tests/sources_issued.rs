//! Sources that issue something for each recipient, tokens and certificates, and how changes of each one follow. The profiles
//! stand in `sources/`.
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenReview},
    certificates::v1::CertificateSigningRequest,
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use peering_api::{names, peering::PeerExport};
use scenarios::{
    Scenario, Side,
    objects::secret,
    scenario::put,
    world::{AGENT_NAMESPACE, SOON, metric},
};
use serde_json::json;

use crate::sources::{
    ARTEFACT, RECEIVED, Received, await_source, await_source_saying, await_value, begin, exported, peer, write_profile,
};

/// Whom the API server of cluster1 takes the holder of a token for, if the token is meant for peers.
async fn reviewed(s: &Scenario, token: &str) -> Result<Option<String>> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {},
        "spec": {"token": token, "audiences": ["peers"]}});
    let reviews: Api<TokenReview> = Api::all(s.client(Side::East));
    let reviewed = reviews
        .create(&PostParams::default(), &serde_json::from_value(review)?)
        .await?;
    Ok(reviewed
        .status
        .and_then(|status| status.user)
        .and_then(|user| user.username))
}

fn token_profile(percent: u8) -> String {
    include_str!("sources/token.yaml").replace("$PERCENT", &percent.to_string())
}

#[tokio::test]
async fn a_token_is_issued_once_and_anew_when_its_surroundings_change() -> Result<()> {
    let s = begin("sources-token", &token_profile(70)).await?;
    peer(&s, &json!({})).await?;
    let missing = "ServiceAccount sources-token/visitor";
    await_source_saying(&s, ARTEFACT, ("False", "IssueDenied"), missing).await?;
    let account = ServiceAccount {
        metadata: kube::core::ObjectMeta {
            name: Some("visitor".to_owned()),
            ..Default::default()
        },
        ..ServiceAccount::default()
    };
    put(&s.on(Side::East), account).await?;
    let first = await_value(&s, "realm", "first", |realm| realm == "first").await?;
    let visitor = Some("system:serviceaccount:sources-token:visitor".to_owned());
    ensure!(
        reviewed(&s, first.get("token")?).await? == visitor,
        "not the visitor's token"
    );
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let status = exported(&s).await?;
    let (renewal, expiry) = (
        status.renew_after.context("no renewal")?.0,
        status.expires_at.context("no expiry")?.0,
    );
    ensure!(Timestamp::now() < renewal && renewal < expiry, "{renewal} {expiry}");
    ensure!(first.get("until")? == expiry.to_string(), "{expiry}");

    peer(&s, &json!({"realm": "second"})).await?;
    let second = await_value(&s, "realm", "second", |realm| realm == "second").await?;
    ensure!(
        first.get("token")? != second.get("token")?,
        "the old token is there once more"
    );
    ensure!(
        reviewed(&s, second.get("token")?).await? == visitor,
        "not the visitor's token"
    );
    ensure!(exported(&s).await?.revision > status.revision, "no new revision");

    // A renewal that is denied leaves what is there; asked for by another parameter, the message tells why nothing comes.
    s.on::<ServiceAccount>(Side::East)
        .delete("visitor", &DeleteParams::default())
        .await?;
    peer(&s, &json!({"realm": "third"})).await?;
    await_source(&s, ARTEFACT, "False", "IssueDenied").await?;
    await_value(&s, "realm", "second", |realm| realm == "second").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_token_is_renewed_long_before_it_expires() -> Result<()> {
    let s = begin("sources-renewal", &token_profile(10)).await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "visitor"}});
    put::<ServiceAccount>(&s.on(Side::East), serde_json::from_value(account)?).await?;
    peer(&s, &json!({})).await?;
    let first = await_value(&s, "token", "there", |token| !token.is_empty()).await?;
    let old = first.get("token")?.to_owned();
    let (api, deadline) = (s.on::<Secret>(Side::West), SOON * 2);
    let renewed = s.world.env.until("another token", deadline, || async {
        let data = api.get(RECEIVED).await?.data.map(Received);
        Ok(data.filter(|data| data.text("token").is_some_and(|token| token != old)))
    });
    let renewed = renewed.await?;
    ensure!(renewed.get("until")? > first.get("until")?, "it does not last longer");
    ensure!(reviewed(&s, &old).await?.is_some(), "the old one had expired already");
    s.withdraw().await
}

/// Whom the API server takes the holder of a kubeconfig for, and their groups.
async fn who_am_i(kubeconfig: &str) -> Result<(String, Vec<String>)> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let reviews: Api<SelfSubjectReview> = Api::all(Client::try_from(config)?);
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = review.status.and_then(|status| status.user_info).context("no user")?;
    Ok((user.username.unwrap_or_default(), user.groups.unwrap_or_default()))
}

#[tokio::test]
async fn the_api_servers_signer_makes_a_kubeconfig_whose_key_never_travels() -> Result<()> {
    let s = Scenario::shared("sources-signer").await?;
    let profile = include_str!("../../../manifests/profiles/kube-access-certificate.yaml");
    let profile = profile
        .replace("name: kube-access-certificate", "name: $NAME")
        .replace("flow: Both", "flow: ToHubRole");
    write_profile(&s, &profile).await?;
    peer(&s, &json!({})).await?;
    let (api, name) = (s.on::<Secret>(Side::West), "cluster1-kubeconfig");
    for group in ["peers", "guests"] {
        peer(&s, &json!({"group": group})).await?;
        let what = format!("the kubeconfig to stand for group {group}");
        let (user, key) = s
            .until(&what, || async {
                let data = api
                    .get_opt(name)
                    .await?
                    .and_then(|found| found.data)
                    .unwrap_or_default();
                let Some(kubeconfig) = data.get("kubeconfig") else {
                    return Ok(None);
                };
                let kubeconfig = String::from_utf8(kubeconfig.0.clone())?;
                let (user, groups) = who_am_i(&kubeconfig).await?;
                Ok(groups.iter().any(|known| known == group).then_some((user, kubeconfig)))
            })
            .await?;
        ensure!(user == "peer:cluster2", "{user}");
        ensure!(key.contains("client-key-data"), "no key");
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let ours = ListParams::default().labels(&format!("{}={}", names::PEERING_LABEL, s.name));
    let requests: Api<CertificateSigningRequest> = Api::all(s.client(Side::East));
    s.until("the signing requests to be gone", || async {
        Ok(requests.list(&ours).await?.items.is_empty().then_some(()))
    })
    .await?;
    s.withdraw().await
}

#[tokio::test]
async fn no_certificate_stands_for_an_administrator() -> Result<()> {
    let profile = include_str!("sources/authority.yaml");
    let s = begin("sources-masters", profile).await?;
    put(&s.on(Side::East), authority("root")?).await?;
    peer(&s, &json!({"team": "system:nodes"})).await?;
    let message = await_source_saying(&s, ARTEFACT, ("False", "IssueDenied"), "choose another").await?;
    ensure!(message.contains("\"system:nodes\""), "{message}");
    ensure!(exported(&s).await?.envelopes.is_empty(), "something was handed over");
    s.withdraw().await
}

/// A Secret with a CA.
fn authority(name: &str) -> Result<Secret> {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
    let key = rcgen::KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    let private = key.serialize_pem();
    let mut authority = secret(
        "authority",
        &[("tls.crt", pem.as_bytes()), ("tls.key", private.as_bytes())],
    );
    authority.type_ = Some("kubernetes.io/tls".to_owned());
    Ok(authority)
}

#[tokio::test]
async fn a_ca_of_the_source_signs_and_signs_anew_when_it_is_replaced() -> Result<()> {
    let s = begin("sources-authority", include_str!("sources/authority.yaml")).await?;
    peer(&s, &json!({})).await?;
    await_source_saying(
        &s,
        ARTEFACT,
        ("False", "SourceNotFound"),
        "the CA in Secret sources-authority/authority",
    )
    .await?;
    let mut keys = std::collections::BTreeSet::new();
    for name in ["first", "second"] {
        let ca = authority(name)?;
        let pem = String::from_utf8(ca.data.clone().unwrap_or_default()["tls.crt"].0.clone())?;
        let old = s.on::<Secret>(Side::East);
        if old.get_opt("authority").await?.is_some() {
            old.delete("authority", &DeleteParams::default()).await?;
        }
        put(&old, ca).await?;
        let received = await_value(&s, "ca.crt", "the CA's certificate", |seen| seen == pem).await?;
        let chain = exchange::ca::parse(received.get("tls.crt")?.as_bytes()).certificates;
        let subject = chain.first().map(|leaf| leaf.subject.clone()).unwrap_or_default();
        ensure!(
            subject.contains("CN=cluster2.cluster1") && subject.contains("O=storage"),
            "{subject}"
        );
        keys.insert(received.get("tls.key")?.to_owned());
    }
    ensure!(keys.len() == 1, "the receiver made another key");
    let target = s.on::<Secret>(Side::West).get(RECEIVED).await?;
    ensure!(
        target.type_.as_deref() == Some("kubernetes.io/tls"),
        "{:?}",
        target.type_
    );
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn an_agent_that_restarts_issues_and_writes_nothing() -> Result<()> {
    let s = Scenario::alone("sources-restart").await?;
    write_profile(&s, &token_profile(70)).await?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "visitor"}});
    put::<ServiceAccount>(&s.on(Side::East), serde_json::from_value(account)?).await?;
    peer(&s, &json!({})).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let name = s.export(ARTEFACT, Side::East).await?.name_any();
    let before = s.quiet("the export", || exported(&s)).await?;
    let agent = s.world.agent("cluster1").await?;
    agent.kill();
    let node = s.world.env.spoke("cluster1")?.node()?;
    let agent = node.await_restart(AGENT_NAMESPACE, names::AGENT, &agent, SOON).await?;
    let passes = metric(&agent, "reconciles_total", "exports").await?;
    let touched = json!({"metadata": {"annotations": {"scenario": "touched"}}});
    let api = s.hub_of::<PeerExport>(Side::East);
    api.patch(&name, &PatchParams::default(), &Patch::Merge(touched))
        .await?;
    s.until("the new agent to have looked at the export", || async {
        Ok((metric(&agent, "reconciles_total", "exports").await? > passes).then_some(()))
    })
    .await?;
    let after = exported(&s).await?;
    ensure!(before == after, "written: {before:?} {after:?}");
    s.withdraw().await
}
