//! The proxy between a client and a real API server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::ConfigMap};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use testenv::{
    Cluster, Proxy,
    proxy::{Armed, Effect, Fault},
};

use super::SOON;

/// A cluster behind a proxy that counts what it kills.
struct Behind {
    cluster: Arc<Cluster>,
    proxy: Proxy,
    killed: Arc<AtomicUsize>,
    maps: Api<ConfigMap>,
}

impl Behind {
    async fn start() -> Result<Self> {
        let cluster = testenv::shared().spoke("cluster1")?;
        let killed = Arc::new(AtomicUsize::default());
        let counter = killed.clone();
        let proxy = Proxy::start(&cluster, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .await?;
        let config = config(&cluster.config().await?, &proxy)?;
        Ok(Self {
            maps: Api::namespaced(Client::try_from(config)?, "default"),
            cluster,
            proxy,
            killed,
        })
    }

    fn arm(&self, scope: &str, at: usize, effect: Effect) -> Armed {
        let scope = scope.to_owned();
        self.proxy.arm(Fault { scope, at, effect })
    }

    async fn write(&self, name: &str, value: &str) -> kube::Result<ConfigMap> {
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}});
        let params = PatchParams::apply("proxy-test").force();
        self.maps.patch(name, &params, &Patch::Apply(&map)).await
    }

    /// What the API server holds, asked past the proxy.
    async fn value(&self, name: &str) -> Result<Option<String>> {
        let maps: Api<ConfigMap> = Api::namespaced(self.cluster.client().await?, "default");
        let found = maps.get_opt(name).await?;
        Ok(found.and_then(|map| map.data?.remove("value")))
    }
}

/// A client's configuration, led to the proxy, and without retries that would hide what the proxy does.
fn config(direct: &Config, proxy: &Proxy) -> Result<Config> {
    let mut config = direct.clone();
    config.cluster_url = proxy.url().parse()?;
    config.default_retry = false;
    Ok(config)
}

async fn who(config: Config) -> Result<(String, Vec<String>)> {
    let reviews: Api<SelfSubjectReview> = Api::all(Client::try_from(config)?);
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    let user = review.status.and_then(|status| status.user_info).context("nobody")?;
    Ok((user.username.unwrap_or_default(), user.groups.unwrap_or_default()))
}

#[tokio::test]
async fn the_api_server_sees_who_stands_behind_the_proxy() -> Result<()> {
    let behind = Behind::start().await?;
    let path = behind.cluster.user_kubeconfig("alice", Some("team"))?;
    let alice = Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default()).await?;
    // What a certificate says, even where the client claims to be somebody else.
    let mut claims = config(&alice, &behind.proxy)?;
    claims.headers.push((
        http::HeaderName::from_static("impersonate-user"),
        http::HeaderValue::from_static("admin"),
    ));
    for config in [config(&alice, &behind.proxy)?, claims] {
        let (user, groups) = who(config).await?;
        assert_eq!(user, "alice");
        assert_eq!(groups, ["team", "system:authenticated"]);
    }
    // Without a credential, nobody: the proxy's own is for nobody else.
    let mut nobody = config(&alice, &behind.proxy)?;
    nobody.auth_info = kube::config::AuthInfo::default();
    ensure!(who(nobody).await.is_err());
    // A token is passed on.
    let token = {
        use k8s_openapi::api::{authentication::v1::TokenRequest, core::v1::ServiceAccount};
        let accounts: Api<ServiceAccount> = Api::namespaced(behind.cluster.client().await?, "default");
        let request = accounts
            .create_token_request("default", &PostParams::default(), &TokenRequest::default())
            .await?;
        request.status.context("no token")?.token
    };
    let mut account = config(&alice, &behind.proxy)?;
    account.auth_info = kube::config::AuthInfo {
        token: Some(token.into()),
        ..kube::config::AuthInfo::default()
    };
    assert_eq!(who(account).await?.0, "system:serviceaccount:default:default");
    Ok(())
}

#[tokio::test]
async fn the_nth_write_meets_its_fault_and_the_others_do_not() -> Result<()> {
    let behind = Behind::start().await?;
    for (name, effect, done) in [
        ("proxy-drop", Effect::DropResponse, true),
        ("proxy-conflict", Effect::Answer(409), false),
        ("proxy-throttle", Effect::Answer(429), false),
        ("proxy-broken", Effect::Answer(500), false),
    ] {
        let armed = behind.arm(name, 2, effect);
        behind.write(name, "one").await?;
        let error = behind.write(name, "two").await.err().context("no fault")?;
        match (effect, error) {
            (Effect::Answer(code), kube::Error::Api(status)) => assert_eq!(status.code, code),
            (Effect::DropResponse, kube::Error::Api(status)) => anyhow::bail!("an answer: {status:?}"),
            _ => {}
        }
        assert_eq!(
            behind.value(name).await?.as_deref(),
            Some(if done { "two" } else { "one" })
        );
        behind.write(name, "three").await?;
        assert_eq!(armed.seen(), 3);
        assert_eq!(
            armed.hit(),
            Some(format!("PATCH /api/v1/namespaces/default/configmaps/{name}"))
        );
    }
    assert_eq!(behind.proxy.writes().len(), 12);
    assert_eq!(behind.killed.load(Ordering::SeqCst), 0);
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_to_be_killed_hears_nothing_of_its_write() -> Result<()> {
    let behind = Behind::start().await?;
    let _armed = behind.arm("proxy-kill", 1, Effect::KillAfter);
    let env = testenv::shared();
    tokio::select! {
        answer = behind.write("proxy-kill", "one") => anyhow::bail!("an answer: {answer:?}"),
        killed = env.until("the kill", SOON, || async {
            Ok((behind.killed.load(Ordering::SeqCst) == 1).then_some(()))
        }) => killed?,
    }
    assert_eq!(behind.value("proxy-kill").await?.as_deref(), Some("one"));
    Ok(())
}

/// The values that a watch brings up to `last`: `!` where it breaks, `410` where it says that events were lost.
async fn watched(behind: &Behind, name: &str, last: &str) -> Result<Vec<String>> {
    let first = behind.write(name, "0").await?;
    let version = first.metadata.resource_version.context("no version")?;
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = behind.maps.watch(&params, &version).await?.boxed();
    for value in ["1", "2", "3"] {
        behind.write(name, value).await?;
    }
    let mut seen = Vec::new();
    while seen.last().is_none_or(|seen: &String| seen != last) {
        match tokio::time::timeout(SOON, events.try_next()).await? {
            Ok(Some(WatchEvent::Modified(map))) => seen.extend(map.data.and_then(|mut data| data.remove("value"))),
            Ok(Some(WatchEvent::Error(status))) => seen.push(status.code.to_string()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => seen.push("!".to_owned()),
        }
    }
    Ok(seen)
}

#[tokio::test]
async fn watches_pass_at_once_and_lose_repeat_or_break_at_their_fault() -> Result<()> {
    let behind = Behind::start().await?;
    for (name, effect, last, expected) in [
        ("proxy-skip", Effect::SkipEvent, "410", ["1", "410"].as_slice()),
        ("proxy-repeat", Effect::RepeatEvent, "3", &["1", "2", "2", "3"]),
        ("proxy-cut", Effect::CutStream, "!", &["1", "!"]),
    ] {
        let armed = behind.arm(name, 2, effect);
        let mut seen = watched(&behind, name, last).await?;
        if effect == Effect::SkipEvent {
            // What comes after a lost event passes until the watch ends, half a second later: the third may be late for that.
            seen.retain(|value| value != "3");
        }
        assert_eq!(seen, expected, "{effect:?}");
        assert_eq!(armed.hit().as_deref(), Some("/api/v1/namespaces/default/configmaps"));
    }
    Ok(())
}
