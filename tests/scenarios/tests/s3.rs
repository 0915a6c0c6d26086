//! Buckets of storage clusters on a real S3 server: their keys and certificates are proved from the hub, through a rollover of
//! the ingress CA and through rotations, and what is wrong is told.
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};
use peering_api::{
    names::AGENT,
    ocm::names::DEFAULT_INSTALL_NAMESPACE,
    peering::{PeerLink, condition},
};
use scenarios::{
    Scenario, Side, Witness,
    odf::{self, STORAGE_CLUSTER, key_id, secret_key},
    s3::Endpoint,
    scenario::{fingerprints, repository},
    tls::Ca,
    world::{SOON, metric, metric_where},
};
use serde_json::json;
use storage::{names, ramen};
use testenv::RunningProcess;

use crate::{
    mirrorpeer::Site,
    secrecy::{found, shapes},
};

const HUB: &str = "local-cluster";
const CREDENTIALS: &str = "credentials";
const STORE: &str = "store";

fn links(s: &Scenario) -> Api<PeerLink> {
    Api::namespaced(s.hub.clone(), HUB)
}

/// The link of an artefact from a side to the hub.
async fn link(s: &Scenario, artefact: &str, from: Side) -> Result<Option<PeerLink>> {
    let all = links(s).list(&ListParams::default()).await?;
    let is_it = |link: &PeerLink| link.spec.artefact == artefact && link.spec.from.cluster == from.cluster();
    Ok(all.items.into_iter().find(is_it))
}

/// Waits for a condition of cluster1's link whose message has a part; returns the message.
async fn await_link(
    s: &Scenario,
    artefact: &str,
    type_: &str,
    (status, reason): (&str, &str),
    part: &str,
) -> Result<String> {
    let what = format!("link {artefact} of cluster1 to be {type_}={status} {reason} {part:?}");
    s.until(&what, || async {
        let status_of = link(s, artefact, Side::East).await?.and_then(|link| link.status);
        let conditions = status_of.unwrap_or_default().conditions;
        let found = condition(&conditions, type_).filter(|found| found.status == status && found.reason == reason);
        Ok(found
            .map(|found| found.message.clone())
            .filter(|message| message.contains(part)))
    })
    .await
}

async fn revision(s: &Scenario, artefact: &str) -> Result<Option<i64>> {
    let link = link(s, artefact, Side::East).await?.context("no link")?;
    Ok(link.status.and_then(|status| status.applied_revision))
}

/// Waits until the hub's agent works with a later revision.
async fn await_revision_above(s: &Scenario, artefact: &str, before: Option<i64>) -> Result<()> {
    s.until(&format!("a later revision of {artefact}"), || async {
        Ok((revision(s, artefact).await? > before).then_some(()))
    })
    .await
}

/// Waits until Ramen is told to trust exactly these CAs for cluster1's bucket.
async fn await_ramen_to_trust(site: &Site, cas: &[&Ca]) -> Result<()> {
    let pem: String = cas.iter().map(|ca| ca.pem()).collect();
    let name = names::s3_profile("cluster1", STORAGE_CLUSTER);
    site.s
        .until(&format!("Ramen to trust {} CAs", cas.len()), || async {
            let entry = ramen::profile(&site.ramen_text().await?, &name)?.context("no entry")?;
            let told = BASE64_STANDARD.decode(entry.ca_certificates.unwrap_or_default())?;
            Ok((fingerprints(std::str::from_utf8(&told)?) == fingerprints(&pem)).then_some(()))
        })
        .await
}

/// The probes of the hub's agent so far.
struct Runs {
    agent: RunningProcess,
}

impl Runs {
    async fn of(s: &Scenario) -> Result<Self> {
        let node = s.world.env.hub().node()?;
        let agent = node.await_ready(DEFAULT_INSTALL_NAMESPACE, AGENT, SOON).await?;
        Ok(Self { agent })
    }

    async fn succeeded(&self) -> Result<f64> {
        metric(&self.agent, "probe_runs_total", "Success").await
    }

    async fn failed(&self) -> Result<f64> {
        // From one answer: a difference of two would count what runs between them.
        metric_where(&self.agent, "probe_runs_total", |line| !line.contains("Success")).await
    }

    /// Waits until each probe has run twice more, at least: there are four of them.
    async fn more(&self, s: &Scenario) -> Result<()> {
        let before = self.succeeded().await?;
        s.until("more runs of probes", || async {
            Ok((self.succeeded().await? >= before + 12.0).then_some(()))
        })
        .await
    }
}

/// Has the first certificate served again at the end: other scenarios use the endpoint too.
struct Restored(Arc<Endpoint>);

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = self.0.server.switch_to(&self.0.ca) {
            eprintln!("the endpoint keeps another certificate: {error:#}");
        }
    }
}

async fn ready(name: &str) -> Result<Site> {
    let mut site = Site::new(name).await?;
    site.s.patience = SOON * 2;
    site.apply(name, &site.spec(["cluster1", "cluster2"], true)).await?;
    site.await_ready(name).await?;
    Ok(site)
}

#[tokio::test]
async fn a_rollover_of_the_ingress_ca_fails_no_probe() -> Result<()> {
    let site = ready("s3-rollover").await?;
    let (s, endpoint) = (&site.s, &site.east.endpoint);
    let (old, new) = (&endpoint.ca, Ca::new("ingress of cluster1")?);
    let _restored = Restored(Arc::clone(endpoint));
    await_ramen_to_trust(&site, &[old]).await?;
    let runs = Runs::of(s).await?;
    let failed = runs.failed().await?;
    let mut witnesses = Vec::new();
    for artefact in [CREDENTIALS, STORE] {
        let link = link(s, artefact, Side::East).await?.context("no link")?;
        witnesses.push(Witness::of(links(s), &link.name_any()).await?);
    }

    // Old and new stand together, then the server changes, then the old one goes.
    for (cas, switch) in [(vec![old, &new], true), (vec![&new], false)] {
        let before = (revision(s, CREDENTIALS).await?, revision(s, STORE).await?);
        let pem: String = cas.iter().map(|ca| ca.pem()).collect();
        site.east.set_ingress_ca(&pem).await?;
        await_revision_above(s, CREDENTIALS, before.0).await?;
        await_revision_above(s, STORE, before.1).await?;
        await_ramen_to_trust(&site, &cas).await?;
        if switch {
            endpoint.server.switch_to(&new)?;
        }
        runs.more(s).await?;
    }
    ensure!(
        runs.failed().await? <= failed,
        "a probe failed: {} runs",
        runs.failed().await?
    );
    for link in witnesses.iter().flat_map(Witness::versions) {
        let link = link.context("a link was gone")?;
        let conditions = link.status.unwrap_or_default().conditions;
        for type_ in ["Connected", "Trusted"] {
            let found = condition(&conditions, type_);
            ensure!(found.is_none_or(|found| found.status == "True"), "{found:?}");
        }
    }
    site.delete("s3-rollover").await?;
    site.ensure_nothing_left().await
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_heals() -> Result<()> {
    let site = ready("s3-refused").await?;
    let (s, endpoint) = (&site.s, &site.east.endpoint);
    let _restored = Restored(Arc::clone(endpoint));
    let bucket = names::bucket("cluster1", "cluster2");
    let connected = async |expected, part: &str| await_link(s, CREDENTIALS, "Connected", expected, part).await;
    let healthy = ("True", "Connected");

    // The server has another certificate before anybody is told.
    let new = Ca::new("ingress of cluster1, next")?;
    endpoint.server.switch_to(&new)?;
    let message = connected(("False", "CAMismatch"), "does not trust").await?;
    for part in [
        "local-cluster -> cluster1: s3 of 127.0.0.1:",
        "expected",
        "seen",
        " since ",
    ] {
        ensure!(message.contains(part), "no {part:?} in {message}");
    }
    await_link(s, STORE, "Trusted", ("False", "CAMismatch"), "").await?;
    let told = s.until("the MirrorPeer to tell of both links", || async {
        let links = site.peers().get("s3-refused").await?.status.unwrap_or_default().links;
        let links = links.context("no links")?;
        Ok((links.not_ready.len() == 2).then_some(links))
    });
    let told = format!("{:?}", told.await?);
    ensure!(told.contains("CAMismatch"), "{told}");
    site.east.set_ingress_ca(&new.pem()).await?;
    connected(healthy, "").await?;
    await_link(s, STORE, "Trusted", ("True", "Trusted"), "").await?;
    await_ramen_to_trust(&site, &[&new]).await?;

    // The server takes another secret before anybody is told.
    let (id, rotated) = (key_id(&bucket), secret_key(&bucket, 7));
    endpoint.set_secret(&id, &rotated).await?;
    let message = connected(("False", "Unauthorized"), "403 SignatureDoesNotMatch").await?;
    ensure!(!message.contains(&rotated) && !message.contains(&id), "{message}");
    site.east.tell_secret_key(&bucket, &rotated).await?;
    connected(healthy, "").await?;
    // A rotation in order.
    site.east.rotate(&bucket).await?;
    let secrets = Api::namespaced(s.hub.clone(), crate::mirrorpeer::RAMEN);
    let (name, rotated) = (site.credentials(Side::East), secret_key(&bucket, 2));
    site.await_data(&secrets, &name, "AWS_SECRET_ACCESS_KEY", &rotated)
        .await?;
    connected(healthy, "").await?;
    let places = found(s, &shapes(rotated.as_bytes())).await?;
    let only = format!("/secrets/{}/{name}", crate::mirrorpeer::RAMEN);
    ensure!(
        places.len() == 1 && places[0].ends_with(&only),
        "the secret key stands in {places:?}"
    );

    // The bucket belongs to somebody else, and goes.
    endpoint.bucket(&bucket, "id-of-another", "secret-of-another").await?;
    connected(("False", "Unauthorized"), "403 AccessDenied").await?;
    endpoint.remove_bucket(&bucket)?;
    connected(("False", "ProbeFailed"), "404 NoSuchBucket").await?;
    endpoint.bucket(&bucket, &id, &rotated).await?;
    connected(healthy, "").await?;
    site.await_ready("s3-refused").await?;
    site.delete("s3-refused").await?;
    site.ensure_nothing_left().await
}

/// Tests cannot listen on port 443, which a Route stands for: here the profile is the shipped one, and its Route leads nowhere.
#[tokio::test]
async fn the_shipped_profile_finds_its_endpoint_by_the_route() -> Result<()> {
    let mut site = Site::new("s3-route").await?;
    site.s.patience = SOON * 2;
    let s = &site.s;
    let hub = s.world.env.hub();
    hub.apply_path(&repository("manifests/profiles/odf-s3.yaml")).await?;
    site.apply("s3-route", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    await_link(
        s,
        CREDENTIALS,
        "SourceReady",
        ("False", "KindNotFound"),
        "Route s3-route/s3",
    )
    .await?;
    for side in [Side::East, Side::West] {
        let cluster = s.world.env.spoke(side.cluster())?;
        cluster.apply_crd("routes.route.openshift.io").await?;
        let host = format!("s3-of-{}.invalid", side.cluster());
        let route = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
            "metadata": {"name": "s3", "namespace": s.name},
            "spec": {"host": host, "to": {"kind": "Service", "name": "s3", "weight": 100}, "tls": {"termination": "reencrypt"}}});
        cluster.apply_text(&route.to_string()).await?;
        let kind = GroupVersionKind::gvk("route.openshift.io", "v1", "Route");
        let kind = ApiResource::from_gvk_with_plural(&kind, "routes");
        let routes: Api<DynamicObject> = Api::namespaced_with(s.client(side), &s.name, &kind);
        let admitted = json!({"type": "Admitted", "status": "True"});
        let ingress = json!([{"host": host, "routerName": "default", "conditions": [admitted]}]);
        let status = Patch::Merge(json!({"status": {"ingress": ingress}}));
        routes.patch_status("s3", &PatchParams::default(), &status).await?;
    }
    let message = await_link(
        s,
        CREDENTIALS,
        "Connected",
        ("False", "Unreachable"),
        "does not resolve",
    )
    .await?;
    ensure!(message.contains("s3 of s3-of-cluster1.invalid:443"), "{message}");
    // What is no secret of it has arrived all the same.
    let maps: Api<ConfigMap> = Api::namespaced(s.hub.clone(), crate::mirrorpeer::RAMEN);
    let map = s.until("what is no secret of the bucket", || async {
        Ok(maps.get_opt(&site.credentials(Side::East)).await?)
    });
    let data = map.await?.data.context("no data")?;
    ensure!(
        data["s3CompatibleEndpoint"] == "https://s3-of-cluster1.invalid",
        "{data:?}"
    );
    ensure!(data["s3Region"] == "noobaa", "{data:?}");
    site.delete("s3-route").await?;
    for side in [Side::East, Side::West] {
        s.world
            .env
            .spoke(side.cluster())?
            .delete_crd("routes.route.openshift.io")
            .await?;
    }
    odf::profiles(s).await?;
    site.ensure_nothing_left().await
}
