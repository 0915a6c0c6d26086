//! CA certificates where consumers look for them: `user-ca-bundle` of `OpenShift` with `proxy/cluster`, and a `ConfigMap` of the
//! user's choice on any other Kubernetes. The API of the Proxy is the real one; what `OpenShift`'s network operator makes of
//! it (the bundle on every node) is not there.
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ObjectMeta, Patch, PatchParams, PostParams},
};
use peering_api::names::WIRED_ANNOTATION;
use scenarios::{
    Scenario, Side,
    objects::{ca, config_map},
    scenario::{bundle_text, fingerprints, put, repository},
    tls::{Ca, TlsClient, TlsServer},
    world::SOON,
};
use serde_json::{Value, json};

const BUNDLE: &str = "user-ca-bundle";
const SOURCES: &str = "openshift-config-managed";
const TARGETS: &str = "openshift-config";

/// A cluster as `OpenShift` leaves it, as far as certificates go.
struct OpenShift {
    name: &'static str,
    client: Client,
}

impl OpenShift {
    async fn install(s: &Scenario, name: &'static str, proxy: &Value) -> Result<Self> {
        let cluster = s.world.env.spoke(name)?;
        for namespace in [SOURCES, TARGETS] {
            let text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
            cluster.apply_text(&text).await?;
        }
        cluster.apply_crd("proxies.config.openshift.io").await?;
        let this = Self {
            name,
            client: cluster.client().await?,
        };
        let object = json!({"apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"}, "spec": proxy});
        this.proxies()
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(this)
    }

    fn proxies(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("config.openshift.io", "v1", "Proxy");
        Api::all_with(
            self.client.clone(),
            &ApiResource::from_gvk_with_plural(&kind, "proxies"),
        )
    }

    /// `spec` of the Proxy, which must hold nothing of ours besides if `bare`.
    async fn proxy(&self, bare: bool) -> Result<Value> {
        let proxy = self.proxies().get("cluster").await?;
        let wired = proxy.annotations().contains_key(WIRED_ANNOTATION);
        ensure!(!(bare && wired), "{proxy:?}");
        Ok(proxy.data["spec"].clone())
    }

    fn maps(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn ingress(&self, pem: &str) -> Result<()> {
        let map = config_map("default-ingress-cert", &[("ca-bundle.crt", pem)]);
        put(&self.maps(SOURCES), map).await
    }

    async fn services(&self, pem: &str) -> Result<()> {
        let map = config_map("openshift-service-ca.crt", &[("service-ca.crt", pem)]);
        put(&self.maps(SOURCES), map).await
    }

    async fn await_bundle(&self, s: &Scenario, cas: &[String]) -> Result<ConfigMap> {
        let (maps, wanted) = (self.maps(TARGETS), fingerprints(&cas.concat()));
        let what = format!("{BUNDLE} on {} to hold {} certificates", self.name, cas.len());
        s.until(&what, || async {
            let map = maps.get_opt(BUNDLE).await?;
            Ok(map.filter(|map| fingerprints(&bundle_text(map)) == wanted))
        })
        .await
    }

    async fn await_proxy(&self, s: &Scenario, bare: bool, spec: &Value) -> Result<()> {
        s.until(&format!("proxy/cluster of {} to be {spec}", self.name), || async {
            Ok((self.proxy(bare).await? == *spec).then_some(()))
        })
        .await
    }
}

fn with(all: &[String], more: &[&String]) -> Vec<String> {
    all.iter().chain(more.iter().copied()).cloned().collect()
}

async fn peer(s: &Scenario, overlap: &str) -> Result<()> {
    let members = ["cluster1", "cluster2", "local-cluster"].map(|cluster| json!({"cluster": cluster}));
    let spec = json!({"profile": "odf-ca-bundle-trusted", "members": members, "trust": {"overlap": overlap}});
    s.apply_peering(spec).await
}

#[tokio::test]
async fn certificates_of_all_members_stand_where_openshift_looks_for_them() -> Result<()> {
    let mut s = Scenario::alone("openshift-ca").await?;
    s.patience = SOON * 2;
    s.world
        .env
        .hub()
        .apply_path(&repository("manifests/profiles/odf-ca-bundle-trusted.yaml"))
        .await?;
    // As installed; as a user has set it; as one that has never been touched.
    let users = json!({"trustedCA": {"name": "of-the-user"}, "noProxy": "example.com"});
    let east = OpenShift::install(&s, "cluster1", &json!({"trustedCA": {"name": ""}})).await?;
    let west = OpenShift::install(&s, "cluster2", &users).await?;
    let hub = OpenShift::install(&s, "local-cluster", &json!({})).await?;
    let (foreign, expired) = (ca("somebody's", 2044)?, ca("expired", 2021)?);
    put(&east.maps(TARGETS), config_map(BUNDLE, &[("ca-bundle.crt", &foreign)])).await?;
    let mut all = Vec::new();
    for cluster in [&east, &west, &hub] {
        let (ingress, services) = (
            ca(&format!("ingress of {}", cluster.name), 2040)?,
            ca(&format!("services of {}", cluster.name), 2041)?,
        );
        cluster.ingress(&format!("{expired}{ingress}")).await?;
        cluster.services(&services).await?;
        all.extend([ingress, services]);
    }
    peer(&s, "1h").await?;

    east.await_bundle(&s, &with(&all, &[&foreign])).await?;
    west.await_bundle(&s, &all).await?;
    hub.await_bundle(&s, &all).await?;
    let trusted = json!({"trustedCA": {"name": BUNDLE}});
    east.await_proxy(&s, false, &trusted).await?;
    hub.await_proxy(&s, false, &trusted).await?;
    // What a user has set stays, and is told.
    let message = s
        .await_link_saying(
            "ca",
            Side::West,
            "Wired",
            ("False", "WireConflict"),
            "spec.trustedCA.name",
        )
        .await?;
    ensure!(message.contains("remove it there"), "{message}");
    west.await_proxy(&s, true, &users).await?;
    let none = json!({"spec": {"trustedCA": {"name": ""}}});
    let params = PatchParams::default();
    west.proxies().patch("cluster", &params, &Patch::Merge(none)).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let wired = json!({"trustedCA": {"name": BUNDLE}, "noProxy": "example.com"});
    west.await_proxy(&s, false, &wired).await?;

    // The service CA of cluster1 is rotated: both are trusted for a while, everywhere.
    let next = ca("services of cluster1, next", 2042)?;
    east.services(&next).await?;
    east.await_bundle(&s, &with(&all, &[&foreign, &next])).await?;
    west.await_bundle(&s, &with(&all, &[&next])).await?;
    hub.await_bundle(&s, &with(&all, &[&next])).await?;
    peer(&s, "1s").await?;
    all[1].clone_from(&next);
    east.await_bundle(&s, &with(&all, &[&foreign])).await?;
    west.await_bundle(&s, &all).await?;
    hub.await_bundle(&s, &all).await?;

    // Everything is as it was: the user's own certificate, and what the Proxies said.
    s.withdraw().await?;
    let left = east.await_bundle(&s, std::slice::from_ref(&foreign)).await?;
    let metadata = ObjectMeta {
        labels: left.metadata.labels.clone(),
        annotations: left.metadata.annotations.clone(),
        ..ObjectMeta::default()
    };
    ensure!(metadata == ObjectMeta::default(), "{metadata:?}");
    s.await_gone(&west.maps(TARGETS), BUNDLE).await?;
    s.await_gone(&hub.maps(TARGETS), BUNDLE).await?;
    east.await_proxy(&s, true, &json!({"trustedCA": {"name": ""}})).await?;
    let cleared = json!({"trustedCA": {"name": ""}, "noProxy": "example.com"});
    west.await_proxy(&s, true, &cleared).await?;
    hub.await_proxy(&s, true, &json!({})).await?;
    for cluster in [&east, &west, &hub] {
        s.world
            .env
            .spoke(cluster.name)?
            .delete_crd("proxies.config.openshift.io")
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bundle_of_the_users_choice_on_any_kubernetes() -> Result<()> {
    let mut s = Scenario::shared("plain-ca").await?;
    s.patience = SOON * 2;
    s.world
        .env
        .hub()
        .apply_path(&repository("manifests/profiles/ca-bundle.yaml"))
        .await?;
    let (east, west) = (Ca::new("plain east")?, ca("plain west", 2040)?);
    let server = TlsServer::start(&east).await?;
    let expired = ca("expired", 2021)?;
    for (side, pem) in [(Side::East, east.pem() + &expired), (Side::West, west.clone())] {
        put(&s.on(side), config_map("corporate", &[("any-key.pem", &pem)])).await?;
    }
    let members = ["cluster1", "cluster2"].map(|cluster| json!({"cluster": cluster}));
    let parameters = json!({"namespace": s.name, "source": "corporate", "bundle": "trusted"});
    s.apply_peering(json!({"profile": "ca-bundle", "parameters": parameters, "members": members}))
        .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    let maps = s.on::<ConfigMap>(Side::West);
    // The destination's own CA is no link, so no link waits for it.
    let both = fingerprints(&(east.pem() + &west));
    let bundle = s.until("the bundle of both", || async {
        let bundle = bundle_text(&maps.get("trusted").await?);
        ensure!(fingerprints(&bundle) == both, "{bundle}");
        Ok(Some(bundle))
    });
    let bundle = bundle.await?;
    // A consumer that reads it reaches the server of the other cluster.
    let reader = maps.clone();
    let client = TlsClient::start(server.address(), move || {
        let maps = reader.clone();
        async move { Ok(bundle_text(&maps.get("trusted").await?)) }
    });
    let tally = client.until(|tally| tally.served_by(&east) >= 3).await?;
    ensure!(tally.failed == 0, "{tally}");
    // What somebody adds stays, also when the Peering goes.
    let foreign = ca("somebody's", 2044)?;
    let more = json!({"data": {"ca-bundle.crt": bundle + &foreign}});
    maps.patch("trusted", &PatchParams::default(), &Patch::Merge(more))
        .await?;
    s.withdraw().await?;
    s.until("only somebody's certificate to be left", || async {
        let left = bundle_text(&maps.get("trusted").await?);
        Ok((fingerprints(&left) == fingerprints(&foreign)).then_some(()))
    })
    .await?;
    s.await_gone(&s.on::<ConfigMap>(Side::East), "trusted").await
}
