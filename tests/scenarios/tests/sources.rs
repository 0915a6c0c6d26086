//! Sources that stand in objects, from end to end, and how changes of each one follow. The profiles stand in `sources/`.
//!
//! All flow from cluster1 (`East`) to cluster2 (`West`).
use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret, Service},
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use peering_api::{
    names,
    peering::{PeerExport, PeerExportStatus, condition},
};
use scenarios::{
    Scenario, Side,
    objects::{bytes, ca, config_map, secret},
    scenario::put,
};
use serde_json::{Value, json};

/// The artefact of most profiles, and the Secret that it becomes.
pub(crate) const ARTEFACT: &str = "artefact";
pub(crate) const RECEIVED: &str = "received";

/// A scenario with a profile of its own.
pub(crate) async fn begin(name: &str, profile: &str) -> Result<Scenario> {
    let s = Scenario::shared(name).await?;
    write_profile(&s, profile).await?;
    Ok(s)
}

pub(crate) async fn write_profile(s: &Scenario, profile: &str) -> Result<()> {
    let profile = profile.replace("$NAME", &s.name);
    s.world.env.hub().apply_text(&profile).await?;
    Ok(())
}

/// Peers cluster1 with cluster2, which receives.
pub(crate) async fn peer(s: &Scenario, parameters: &Value) -> Result<()> {
    let mut all = json!({"namespace": s.name});
    for (key, value) in parameters.as_object().context("no parameters")? {
        all[key] = value.clone();
    }
    let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2", "role": "Hub"}]);
    s.apply_peering(json!({"profile": s.name, "parameters": all, "members": members}))
        .await
}

/// Waits until the export says this; returns the message.
pub(crate) async fn await_source(s: &Scenario, artefact: &str, status: &str, reason: &str) -> Result<String> {
    await_source_saying(s, artefact, (status, reason), "").await
}

/// Waits until the export says this with a message that has a part: others of that reason may come first, while rights are
/// on their way.
pub(crate) async fn await_source_saying(
    s: &Scenario,
    artefact: &str,
    (status, reason): (&str, &str),
    part: &str,
) -> Result<String> {
    let what = format!(
        "the source of {artefact} of {} to be {status} {reason} {part:?}",
        s.name
    );
    let name = names::export_name(&s.name, artefact, Side::East.cluster());
    let api = s.hub_of::<PeerExport>(Side::East);
    s.until(&what, || async {
        let Some(export) = api.get_opt(&name).await? else {
            return Ok(None);
        };
        let conditions = export.status.unwrap_or_default().conditions;
        let said = condition(&conditions, "SourceReady");
        let said = said.filter(|said| said.status == status && said.reason == reason && said.message.contains(part));
        Ok(said.map(|said| said.message.clone()))
    })
    .await
}

pub(crate) async fn exported(s: &Scenario) -> Result<PeerExportStatus> {
    s.export(ARTEFACT, Side::East).await?.status.context("no status")
}

/// Waits until a Secret on cluster2 holds exactly this data.
pub(crate) async fn await_received(s: &Scenario, name: &str, data: &[(&str, &[u8])]) -> Result<()> {
    let (api, expected) = (s.on::<Secret>(Side::West), bytes(data));
    s.until(&format!("Secret {}/{name} to hold what was sent", s.name), || async {
        let found = api.get_opt(name).await?;
        Ok(found.filter(|found| found.data.as_ref() == Some(&expected)).map(drop))
    })
    .await
}

/// Waits until the received Secret has a key whose value fits, and returns all of it.
pub(crate) async fn await_value(s: &Scenario, key: &str, what: &str, fits: impl Fn(&str) -> bool) -> Result<Received> {
    let api = s.on::<Secret>(Side::West);
    s.until(
        &format!("key {key} of Secret {}/{RECEIVED} to be {what}", s.name),
        || async {
            let data = api.get_opt(RECEIVED).await?.and_then(|found| found.data);
            let found = data.map(Received).filter(|found| found.text(key).is_some_and(&fits));
            Ok(found)
        },
    )
    .await
}

/// The data of a received Secret.
pub(crate) struct Received(pub(crate) std::collections::BTreeMap<String, ByteString>);

impl Received {
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(&self.0.get(key)?.0).ok()
    }

    pub(crate) fn get(&self, key: &str) -> Result<&str> {
        self.text(key).with_context(|| format!("no key {key}"))
    }
}

/// The custom resource of `objects.yaml`.
fn pool_kind(s: &Scenario) -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(&format!("{}.example.com", s.name), "v1", "Pool"),
        "pools",
    )
}

async fn define_pools(s: &Scenario) -> Result<()> {
    let group = format!("{}.example.com", s.name);
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("pools.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"kind": "Pool", "plural": "pools"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    s.world.env.spoke("cluster1")?.apply_text(&crd.to_string()).await?;
    Ok(())
}

async fn apply_pool(s: &Scenario, spec: Value) -> Result<()> {
    let kind = pool_kind(s);
    let pools: Api<DynamicObject> = Api::namespaced_with(s.client(Side::East), &s.name, &kind);
    let pool = json!({"apiVersion": kind.api_version, "kind": "Pool", "metadata": {"name": "pool"}, "spec": spec});
    pools
        .patch("pool", &PatchParams::apply("scenario").force(), &Patch::Apply(pool))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_custom_resource_whose_kind_comes_later_names_the_secret_that_is_handed_over() -> Result<()> {
    let s = begin("sources-objects", include_str!("sources/objects.yaml")).await?;
    peer(&s, &json!({})).await?;
    await_source_saying(
        &s,
        ARTEFACT,
        ("False", "KindNotFound"),
        "kind Pool of sources-objects.example.com/v1",
    )
    .await?;
    define_pools(&s).await?;
    await_source_saying(&s, ARTEFACT, ("False", "SourceNotFound"), "Pool sources-objects/pool").await?;
    apply_pool(&s, json!({"ready": false})).await?;
    let message = await_source_saying(&s, ARTEFACT, ("False", "NotReadyYet"), "inputs[1].name").await?;
    ensure!(message.contains("\"secretName\""), "{message}");
    let secrets = s.on::<Secret>(Side::East);
    put(&secrets, secret("one", &[("token", b"the first")])).await?;
    apply_pool(&s, json!({"ready": false, "secretName": "one"})).await?;
    let message = await_source_saying(&s, ARTEFACT, ("False", "NotReadyYet"), "readyWhen").await?;
    ensure!(message.contains("inputs.pool.spec.ready == true"), "{message}");
    apply_pool(&s, json!({"ready": true, "secretName": "one"})).await?;
    let pool: (&str, &[u8]) = ("pool", b"pool@cluster1");
    await_received(&s, RECEIVED, &[("token", b"the first"), pool]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;

    put(&secrets, secret("one", &[("token", b"the second")])).await?;
    await_received(&s, RECEIVED, &[("token", b"the second"), pool]).await?;
    apply_pool(&s, json!({"ready": true, "secretName": "two"})).await?;
    await_source_saying(&s, ARTEFACT, ("False", "SourceNotFound"), "Secret sources-objects/two").await?;
    await_received(&s, RECEIVED, &[("token", b"the second"), pool]).await?;
    put(&secrets, secret("two", &[("token", b"of another Secret")])).await?;
    await_received(&s, RECEIVED, &[("token", b"of another Secret"), pool]).await?;
    put(&secrets, secret("two", &[("other", b"x")])).await?;
    await_source_saying(
        &s,
        ARTEFACT,
        ("False", "EvaluationFailed"),
        "artefact \"artefact\", payload[token]: character",
    )
    .await?;
    await_received(&s, RECEIVED, &[("token", b"of another Secret"), pool]).await?;
    s.withdraw().await
}

#[tokio::test]
async fn what_carries_a_label_comes_and_goes() -> Result<()> {
    let s = begin("sources-selector", include_str!("sources/selector.yaml")).await?;
    peer(&s, &json!({})).await?;
    await_source(&s, ARTEFACT, "False", "NotReadyYet").await?;
    let maps = s.on::<ConfigMap>(Side::East);
    let site = |name: &str, address: &str| {
        let mut map = config_map(name, &[("address", address), ("more", "is not read")]);
        map.metadata.labels = Some([("site-of".to_owned(), s.name.clone())].into());
        map
    };
    put(&maps, config_map("unlabelled", &[("address", "nowhere")])).await?;
    put(&maps, site("b", "10.0.0.2")).await?;
    await_received(&s, RECEIVED, &[("names", b"b"), ("addresses", b"10.0.0.2")]).await?;
    put(&maps, site("a", "10.0.0.1")).await?;
    await_received(&s, RECEIVED, &[("names", b"a,b"), ("addresses", b"10.0.0.1,10.0.0.2")]).await?;
    put(&maps, site("b", "10.0.0.3")).await?;
    await_received(&s, RECEIVED, &[("names", b"a,b"), ("addresses", b"10.0.0.1,10.0.0.3")]).await?;
    put(&maps, config_map("a", &[("address", "10.0.0.1")])).await?;
    await_received(&s, RECEIVED, &[("names", b"b"), ("addresses", b"10.0.0.3")]).await?;
    maps.delete("b", &DeleteParams::default()).await?;
    await_source(&s, ARTEFACT, "False", "NotReadyYet").await?;
    await_received(&s, RECEIVED, &[("names", b"b"), ("addresses", b"10.0.0.3")]).await?;
    s.withdraw().await
}

#[tokio::test]
async fn literals_and_endpoints_are_handed_over() -> Result<()> {
    let s = begin("sources-endpoints", include_str!("sources/endpoints.yaml")).await?;
    peer(&s, &json!({})).await?;
    await_received(&s, "literal", &[("text", b"hello from cluster1")]).await?;
    let east = s.world.env.spoke("cluster1")?;
    let ca = east.pki().ca_pem();
    await_received(&s, "api", &[("url", east.url().as_bytes()), ("ca.crt", ca.as_bytes())]).await?;
    await_source(&s, "gateway", "False", "SourceNotFound").await?;

    let services = s.on::<Service>(Side::East);
    let gateway = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gateway"}, "spec": {
        "type": "LoadBalancer", "selector": {"app": "gateway"},
        "ports": [{"name": "https", "port": 8443, "appProtocol": "https"}, {"name": "other", "port": 1}]}});
    services
        .create(&PostParams::default(), &serde_json::from_value(gateway)?)
        .await?;
    await_source_saying(
        &s,
        "gateway",
        ("False", "EndpointPending"),
        "Service sources-endpoints/gateway has no address yet",
    )
    .await?;
    for address in ["192.0.2.7", "192.0.2.8"] {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        services
            .patch_status("gateway", &PatchParams::default(), &Patch::Merge(status))
            .await?;
        let url = format!("https://{address}:8443");
        await_received(
            &s,
            "gateway",
            &[("gateway", url.as_bytes()), ("database", b"db.example.com:5432")],
        )
        .await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    peer(&s, &json!({"greeting": "goodbye"})).await?;
    await_received(&s, "literal", &[("text", b"goodbye from cluster1")]).await?;
    s.withdraw().await
}

#[tokio::test]
async fn what_is_provisioned_is_kept_in_shape_and_removed_last() -> Result<()> {
    let s = begin("sources-provision", include_str!("sources/provision.yaml")).await?;
    let maps = s.on::<ConfigMap>(Side::East);
    let theirs = config_map("claim", &[("theirs", "precious")]);
    put(&maps, theirs).await?;
    let before = maps.get("claim").await?;
    peer(&s, &json!({})).await?;
    let exists = "ConfigMap sources-provision/claim exists";
    await_source_saying(&s, ARTEFACT, ("False", "ProvisionFailed"), exists).await?;
    ensure!(maps.get("claim").await? == before, "somebody else's object was touched");
    maps.delete("claim", &DeleteParams::default()).await?;
    await_source(&s, ARTEFACT, "False", "SourceNotFound").await?;
    let claim = maps.get("claim").await?;
    let data = claim.data.clone().unwrap_or_default();
    ensure!(data["size"] == "1Gi" && data["for"] == "cluster1", "{data:?}");
    let id = names::export_id(&s.name, ARTEFACT, "cluster1");
    ensure!(
        claim.labels().get(names::LINK_LABEL) == Some(&id),
        "{:?}",
        claim.labels()
    );
    put(&s.on(Side::East), secret("answer", &[("key", b"made for it")])).await?;
    await_received(&s, RECEIVED, &[("size", b"1Gi"), ("key", b"made for it")]).await?;

    let drift = json!({"data": {"size": "9Gi", "theirs": "stays"}});
    maps.patch("claim", &PatchParams::default(), &Patch::Merge(drift))
        .await?;
    let size = |size: &'static str| {
        let maps = &maps;
        s.until("the claim to have its size", move || async move {
            let data = maps.get("claim").await?.data.unwrap_or_default();
            Ok(data.get("size").filter(|seen| *seen == size).map(drop))
        })
    };
    size("1Gi").await?;
    peer(&s, &json!({"size": "2Gi"})).await?;
    size("2Gi").await?;
    await_received(&s, RECEIVED, &[("size", b"2Gi"), ("key", b"made for it")]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await?;
    s.await_gone(&maps, "claim").await?;
    ensure!(
        s.on::<Secret>(Side::East).get_opt("answer").await?.is_some(),
        "a source went"
    );
    Ok(())
}

#[tokio::test]
async fn an_override_stands_in_for_a_members_ca() -> Result<()> {
    let s = Scenario::shared("sources-override").await?;
    let (east, west) = s.sources().await?;
    let peer = |pem: &str| {
        let trust = json!({"caOverrides": [{"cluster": "cluster1", "caBundle": pem}]});
        let members = json!([{"cluster": "cluster1"}, {"cluster": "cluster2"}]);
        s.apply_peering(json!({
            "profile": "storage-peering-basic", "parameters": {"namespace": s.name}, "members": members, "trust": trust,
        }))
    };
    let instead = ca("sources-override instead", 2042)?;
    peer(&instead).await?;
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&instead, &west]).await?;
    }
    peer("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").await?;
    await_source_saying(
        &s,
        "ca-bundle",
        ("False", "SourceInvalid"),
        "spec.trust.caOverrides of Peering sources-override is malformed",
    )
    .await?;
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&instead, &west]).await?;
    }
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    // An apply that no longer states the trust takes it back.
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&east, &west]).await?;
    }
    s.withdraw().await
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sealed() -> Result<()> {
    let s = Scenario::shared("sources-large").await?;
    s.ready_pair().await?;
    let before = s.export("peer-token", Side::East).await?.status.unwrap_or_default();
    s.source(Side::East, &[("token", &vec![b'x'; 300 * 1024])]).await?;
    let message = await_source_saying(
        &s,
        "peer-token",
        ("False", "PayloadTooLarge"),
        "expected at most 225280",
    )
    .await?;
    ensure!(message.contains("narrow payload"), "{message}");
    let after = s.export("peer-token", Side::East).await?.status.unwrap_or_default();
    ensure!(
        before.revision == after.revision && before.envelopes == after.envelopes,
        "it was sealed"
    );
    let fits = vec![b'y'; 200 * 1024];
    s.source(Side::East, &[("token", &fits)]).await?;
    s.await_target(Side::West, &[("token", &fits)]).await?;
    s.withdraw().await
}
