//! No plaintext on the hub: every key of its etcd, every log and every event, searched byte for byte.
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Secret, ServiceAccount};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
    config::Kubeconfig,
};
use scenarios::{
    Scenario, Side,
    objects::config_map,
    scenario::{put, repository},
};
use secrecy::ExposeSecret;
use serde_json::json;

/// What the secret looks like as it is, and in base64 wherever it may start in what was encoded.
pub fn shapes(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut shapes = vec![secret.to_vec()];
    for offset in 0..3 {
        let encoded = BASE64_STANDARD.encode([vec![0; offset], secret.to_vec()].concat());
        // Only the characters that the secret alone decides.
        let (start, end) = ((offset * 8).div_ceil(6), (offset + secret.len()) * 8 / 6);
        shapes.push(encoded.as_bytes()[start..end].to_vec());
    }
    shapes
}

fn holds(haystack: &[u8], shapes: &[Vec<u8>]) -> bool {
    shapes
        .iter()
        .any(|shape| haystack.windows(shape.len()).any(|window| window == shape))
}

/// Everything on the hub, and everything that was logged, in which one of the shapes is found.
pub async fn found(s: &Scenario, shapes: &[Vec<u8>]) -> Result<Vec<String>> {
    let env = s.world.env;
    let dump = env.hub().etcd_dump().await?;
    ensure!(dump.len() > 100, "only {} keys in the hub's etcd", dump.len());
    let mut places: Vec<_> = dump
        .iter()
        .filter(|(key, value)| holds(key, shapes) || holds(value, shapes))
        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
        .collect();
    let logs = env.workload_logs();
    ensure!(logs.len() >= 3, "manager and two agents were expected to log: {logs:?}");
    for log in logs {
        if holds(&std::fs::read(&log)?, shapes) {
            places.push(log.display().to_string());
        }
    }
    for client in [s.hub.clone(), s.client(Side::East), s.client(Side::West)] {
        let events = Api::<Event>::all(client).list(&ListParams::default()).await?;
        places.extend(
            events
                .items
                .iter()
                .filter(|event| holds(format!("{event:?}").as_bytes(), shapes))
                .map(|event| format!("event {event:?}")),
        );
    }
    Ok(places)
}

#[tokio::test]
async fn no_byte_of_a_secret_is_on_the_hub_in_plain() -> Result<()> {
    let s = Scenario::alone("secrecy").await?;
    let (first, second) = (
        b"canary-Zq7Xw2-first-0123456789-%&/=?".to_vec(),
        b"canary-Zq7Xw2-second-9876543210-+#*~".to_vec(),
    );
    s.ready_pair().await?;
    for secret in [&first, &second] {
        s.source(Side::East, &[("token", secret)]).await?;
        s.await_target(Side::West, &[("token", secret)]).await?;
    }
    // A refused source and a conflict talk about the secret too.
    s.source(Side::East, &[("token", &second), ("empty", b"")]).await?;
    s.await_link("peer-token", Side::West, "SourceReady", "False", "SourceInvalid")
        .await?;
    for secret in [&first, &second] {
        let places = found(&s, &shapes(secret)).await?;
        ensure!(places.is_empty(), "plaintext in {places:#?}");
    }
    s.withdraw().await
}

/// What a kubeconfig on the receiving side lets its holder in with: a token, or the middle of a private key.
async fn credential(s: &Scenario, of: &str) -> Result<Vec<u8>> {
    let api = s.on::<Secret>(Side::West);
    let kubeconfig = s
        .until("the kubeconfig", || async {
            let found = api.get_opt("cluster1-kubeconfig").await?.and_then(|secret| secret.data);
            Ok(found.and_then(|data| data.get("kubeconfig").cloned()))
        })
        .await?;
    let kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(&kubeconfig.0)?)?;
    let user = kubeconfig.auth_infos.into_iter().next().and_then(|user| user.auth_info);
    let user = user.with_context(|| format!("no user in the kubeconfig of {of}"))?;
    let key = user
        .client_key_data
        .map(|key| BASE64_STANDARD.decode(key.expose_secret()))
        .transpose()?;
    Ok(match (user.token, key) {
        (Some(token), _) => token.expose_secret().as_bytes().to_vec(),
        (None, Some(pem)) => {
            let line = std::str::from_utf8(&pem)?.lines().nth(1).context("no PEM")?;
            line.as_bytes().to_vec()
        }
        (None, None) => bail!("neither a token nor a key in the kubeconfig of {of}"),
    })
}

#[tokio::test]
async fn no_byte_of_a_token_or_a_private_key_is_on_the_hub_in_plain() -> Result<()> {
    let s = Scenario::alone("secrecy-access").await?;
    put(
        &s.on(Side::East),
        serde_json::from_value::<ServiceAccount>(json!({"metadata": {"name": "visitor"}}))?,
    )
    .await?;
    for profile in ["kube-access-token", "kube-access-certificate"] {
        s.world
            .env
            .hub()
            .apply_path(&repository(&format!("manifests/profiles/{profile}.yaml")))
            .await?;
        let mut parameters = json!({"namespace": s.name});
        if profile == "kube-access-token" {
            parameters["serviceAccount"] = json!("visitor");
        }
        let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]);
        s.apply_peering(json!({"profile": profile, "parameters": parameters, "members": members}))
            .await?;
        s.await_peering("Ready", "True", "AllLinksReady").await?;
        let secret = credential(&s, profile).await?;
        ensure!(secret.len() >= 40, "{} bytes only", secret.len());
        let places = found(&s, &shapes(&secret)).await?;
        ensure!(places.is_empty(), "{profile}: plaintext in {places:#?}");
        s.withdraw().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_what_is_planted() -> Result<()> {
    let s = Scenario::alone("secrecy-planted").await?;
    s.ready_pair().await?;
    let secret = b"canary-planted-Zq7Xw2-0123456789".to_vec();
    let maps: Api<ConfigMap> = Api::namespaced(s.hub.clone(), "default");
    for (index, prefix) in ["", "x", "xy"].iter().enumerate() {
        let encoded = BASE64_STANDARD.encode([prefix.as_bytes(), &secret, b"tail"].concat());
        let planted = [
            format!("before {} after", String::from_utf8_lossy(&secret)),
            format!("{{\"a\":\"{encoded}\"}}"),
        ];
        for (kind, text) in planted.iter().enumerate() {
            let name = format!("planted-{index}-{kind}");
            maps.create(&PostParams::default(), &config_map(&name, &[("text", text)]))
                .await?;
            let places = found(&s, &shapes(&secret)).await?;
            maps.delete(&name, &DeleteParams::default()).await?;
            ensure!(
                places.len() == 1 && places[0].ends_with(&name),
                "planted {name}, found {places:?}"
            );
        }
    }
    ensure!(found(&s, &shapes(&secret)).await?.is_empty(), "found what is gone");
    s.withdraw().await
}
