//! `MirrorPeer`s from end to end, with stand-ins for what storage operators do. Each scenario has the environment alone: there is
//! one Ramen on the hub.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    events::v1::Event,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use peering_api::{
    names::{FORCE_LOCAL_ANNOTATION, LINK_LABEL},
    odf::{
        BACKUP_LABEL, CREATED_BY_LABEL, DRCluster, DRPolicy, MirrorPeer, MirrorPeerStatus, RAMEN_CONFIG_KEY,
        RAMEN_CONFIG_MAP,
    },
    peering::{Peering, condition},
};
use scenarios::{
    Scenario, Side,
    objects::config_map,
    odf::{self, Odf, STORAGE_CLUSTER, texts, token},
    scenario::{put, repository},
    world::{MANAGER_NAMESPACE, SOON},
};
use serde_json::{Value, json};
use storage::{names, ramen};

/// Namespace of Ramen's hub operator.
pub(super) const RAMEN: &str = "ramen-system";
pub(super) const BOTH: [Side; 2] = [Side::East, Side::West];

/// What Ramen and its users have written.
pub(super) const CONFIG: &str = "\
apiVersion: ramendr.openshift.io/v1alpha1
kind: RamenConfig
ramenControllerType: dr-hub # this is the hub
s3StoreProfiles:
# of a user
- s3ProfileName: minio
  s3Bucket: data
  s3CompatibleEndpoint: http://minio.example.com
  s3Region: us-east-1
  s3SecretRef: {name: minio}

drClusterOperator:
  deploymentAutomationEnabled: true
";

/// Two storage clusters, and Ramen on the hub.
pub(super) struct Site {
    pub(super) s: Scenario,
    pub(super) east: Odf,
    pub(super) west: Odf,
}

impl Site {
    pub(super) async fn new(name: &str) -> Result<Self> {
        let s = Scenario::alone(name).await?;
        odf::profiles(&s).await?;
        let site = Self {
            east: Odf::start(&s, Side::East).await?,
            west: Odf::start(&s, Side::West).await?,
            s,
        };
        site.install_ramen().await?;
        Ok(site)
    }

    pub(super) async fn install_ramen(&self) -> Result<()> {
        let hub = self.s.world.env.hub();
        hub.apply_path(&repository("tests/scenarios/crds/ramen.yaml")).await?;
        hub.apply_text(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {RAMEN}}}}}"
        ))
        .await?;
        self.reset_ramen().await
    }

    /// As Ramen's installation and its upgrades do.
    pub(super) async fn reset_ramen(&self) -> Result<()> {
        put(
            &self.ramen(),
            config_map(RAMEN_CONFIG_MAP, &[(RAMEN_CONFIG_KEY, CONFIG)]),
        )
        .await
    }

    pub(super) fn odf(&self, side: Side) -> &Odf {
        match side {
            Side::East => &self.east,
            Side::West => &self.west,
        }
    }

    pub(super) fn ramen(&self) -> Api<ConfigMap> {
        Api::namespaced(self.s.hub.clone(), RAMEN)
    }

    pub(super) async fn ramen_text(&self) -> Result<String> {
        let map = self.ramen().get(RAMEN_CONFIG_MAP).await?;
        map.data.context("no data")?.remove(RAMEN_CONFIG_KEY).context("no key")
    }

    pub(super) fn peers(&self) -> Api<MirrorPeer> {
        Api::all(self.s.hub.clone())
    }

    pub(super) fn clusters(&self) -> Api<DRCluster> {
        Api::all(self.s.hub.clone())
    }

    pub(super) fn spec(&self, clusters: [&str; 2], manage_s3: bool) -> Value {
        let items = clusters.map(|cluster| {
            json!({"clusterName": cluster, "storageClusterRef": {"name": STORAGE_CLUSTER, "namespace": self.s.name}})
        });
        json!({"type": "async", "items": items, "manageS3": manage_s3})
    }

    pub(super) async fn apply(&self, name: &str, spec: &Value) -> Result<MirrorPeer> {
        let peer = json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer",
            "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("scenario").force();
        Ok(self.peers().patch(name, &params, &Patch::Apply(peer)).await?)
    }

    /// Waits for a phase and a message, as scripts do, and returns the status.
    pub(super) async fn await_phase(&self, name: &str, phase: &str, message: &str) -> Result<MirrorPeerStatus> {
        let (api, what) = (self.peers(), format!("MirrorPeer {name} to be {phase}, {message:?}"));
        self.s
            .until(&what, || async {
                let status = api.get(name).await?.status.unwrap_or_default();
                let seen = (status.phase.as_deref(), status.message.as_deref());
                if seen == (Some(phase), Some(message)) {
                    return Ok(Some(status));
                }
                anyhow::ensure!(seen.0 != Some("Never"), "{status:?}");
                Ok(None)
            })
            .await
            .map_err(|error| error.context(format!("MirrorPeer {name}")))
    }

    /// Waits for a phase and a message, and for a condition whose message has a part: one message stands for several reasons.
    pub(super) async fn await_phase_saying(
        &self,
        name: &str,
        (phase, message): (&str, &str),
        (type_, part): (&str, &str),
    ) -> Result<()> {
        let what = format!("MirrorPeer {name} to be {phase}, {message:?}, {type_} {part:?}");
        let api = self.peers();
        self.s
            .until(&what, || async {
                let status = api.get(name).await?.status.unwrap_or_default();
                let seen = (status.phase.as_deref(), status.message.as_deref());
                let said = condition(&status.conditions, type_).is_some_and(|said| said.message.contains(part));
                ensure!(seen == (Some(phase), Some(message)) && said, "{status:?}");
                Ok(Some(()))
            })
            .await
    }

    pub(super) async fn await_ready(&self, name: &str) -> Result<MirrorPeerStatus> {
        self.await_phase(name, "Ready", "Setup is completed").await
    }

    /// The Secret with the credentials of a side's bucket, on the hub.
    pub(super) fn credentials(&self, side: Side) -> String {
        names::s3_secret(side.cluster(), &self.s.name, STORAGE_CLUSTER)
    }

    /// The Secret with the token of a side, on the other one.
    pub(super) fn received(&self, from: Side) -> String {
        names::peer_secret(from.cluster(), &self.s.name, STORAGE_CLUSTER)
    }

    pub(super) async fn await_data(&self, api: &Api<Secret>, name: &str, key: &str, value: &str) -> Result<()> {
        let what = format!("{key} of Secret {name} to be {value:?}");
        self.s
            .until(&what, || async {
                let found = api.get_opt(name).await?.map(|found| texts(&found));
                Ok(found
                    .filter(|found| found.get(key).is_some_and(|seen| seen == value))
                    .map(drop))
            })
            .await
    }

    pub(super) async fn await_entries(&self, bucket: &str) -> Result<()> {
        for side in BOTH {
            let name = names::s3_profile(side.cluster(), STORAGE_CLUSTER);
            let url = odf::url(side).await?;
            let what = format!("entry {name} of Ramen's configuration");
            let text = self.s.until(&what, || async {
                let text = self.ramen_text().await?;
                Ok(ramen::profile(&text, &name)?.map(|_| text))
            });
            let text = text.await?;
            let entry = ramen::profile(&text, &name)?.context("no entry")?;
            ensure!(entry.s3_bucket == bucket && entry.s3_region == "noobaa", "{text}");
            ensure!(entry.s3_compatible_endpoint == url, "{text}");
            ensure!(entry.s3_secret_ref.name == self.credentials(side), "{text}");
            ensure!(entry.ca_certificates.is_some(), "{text}");
        }
        Ok(())
    }

    pub(super) async fn delete(&self, name: &str) -> Result<()> {
        self.peers().delete(name, &DeleteParams::default()).await?;
        self.s.await_gone(&self.peers(), name).await
    }

    /// That nothing of ours is left on the hub and on the clusters once the last one has gone, and everything of others is.
    pub(super) async fn ensure_nothing_left(&self) -> Result<()> {
        ensure!(self.ramen_text().await? == CONFIG, "{}", self.ramen_text().await?);
        let map = self.ramen().get(RAMEN_CONFIG_MAP).await?;
        ensure!(!map.annotations().contains_key(ramen::Record::ANNOTATION), "{map:?}");
        let ours = ListParams::default().labels(CREATED_BY_LABEL);
        let peerings: Api<Peering> = Api::all(self.s.hub.clone());
        ensure!(peerings.list(&ours).await?.items.is_empty(), "a Peering is left");
        ensure!(
            self.clusters().list(&ours).await?.items.is_empty(),
            "a DRCluster is left"
        );
        let secrets: Api<Secret> = Api::namespaced(self.s.hub.clone(), RAMEN);
        let links = ListParams::default().labels(LINK_LABEL);
        ensure!(
            secrets.list(&links).await?.items.is_empty(),
            "a Secret is left on the hub"
        );
        for side in BOTH {
            let odf = self.odf(side);
            ensure!(
                odf.secrets().list(&links).await?.items.is_empty(),
                "a Secret is left on {side:?}"
            );
            ensure!(
                odf.claims().list(&ListParams::default()).await?.items.is_empty(),
                "a claim is left on {side:?}"
            );
            let mirroring = odf.mirroring().await?;
            ensure!(mirroring == json!({"peerSecretNames": ["by-hand"]}), "{mirroring}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn two_storage_clusters_are_mirrored_and_parted_without_a_trace() -> Result<()> {
    let site = Site::new("mirror-pair").await?;
    let s = &site.s;
    let bucket = names::bucket("cluster1", "cluster2");
    site.apply("mirror-pair", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    let status = site.await_ready("mirror-pair").await?;
    // Two tokens; of each bucket the credentials and what is no secret of it.
    let links = status.links.context("no links")?;
    ensure!(
        (links.total, links.ready, links.not_ready.len()) == (6, 6, 0),
        "{links:?}"
    );
    let configured = condition(&status.conditions, "Configured").context("no Configured")?;
    ensure!(
        configured.reason == "Configured" && configured.status == "True",
        "{configured:?}"
    );
    let peer = site.peers().get("mirror-pair").await?;
    ensure!(
        peer.labels().get(BACKUP_LABEL).map(String::as_str) == Some("resource"),
        "{peer:?}"
    );

    let hub_secrets: Api<Secret> = Api::namespaced(s.hub.clone(), RAMEN);
    for side in BOTH {
        let (there, name) = (site.odf(side.other()), site.received(side));
        site.await_data(&there.secrets(), &name, "token", &token(side, 1))
            .await?;
        let mirroring = there.mirroring().await?;
        ensure!(
            mirroring == json!({"enabled": true, "peerSecretNames": ["by-hand", name]}),
            "{mirroring}"
        );
        let credentials = hub_secrets.get(&site.credentials(side)).await?;
        let expected = [
            ("AWS_ACCESS_KEY_ID".to_owned(), odf::key_id(&bucket)),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), odf::secret_key(&bucket, 1)),
        ];
        ensure!(texts(&credentials) == BTreeMap::from(expected), "{credentials:?}");
        let cluster = site.clusters().get(side.cluster()).await?;
        ensure!(
            cluster.spec.s3_profile_name == names::s3_profile(side.cluster(), STORAGE_CLUSTER),
            "{cluster:?}"
        );
    }
    site.await_entries(&bucket).await?;
    let text = site.ramen_text().await?;
    for line in CONFIG.lines() {
        ensure!(text.contains(line), "{line:?} is gone from {text}");
    }
    let events: Api<Event> = Api::namespaced(s.hub.clone(), "default");
    s.until("the event of the finished set-up", || async {
        let events = events.list(&ListParams::default()).await?;
        let ours = |event: &&Event| {
            event.regarding.as_ref().and_then(|of| of.name.as_deref()) == Some("mirror-pair")
                && event.reason.as_deref() == Some("Configured")
        };
        Ok(events.items.iter().find(ours).map(drop))
    })
    .await?;

    // What changes at the source arrives: a mon fail-over and a rotation of credentials.
    site.east.fail_over(Side::East).await?;
    site.await_data(
        &site.west.secrets(),
        &site.received(Side::East),
        "token",
        &token(Side::East, 2),
    )
    .await?;
    site.west.rotate(&bucket).await?;
    let rotated = odf::secret_key(&bucket, 2);
    site.await_data(
        &hub_secrets,
        &site.credentials(Side::West),
        "AWS_SECRET_ACCESS_KEY",
        &rotated,
    )
    .await?;

    // An upgrade of Ramen resets its configuration.
    site.reset_ramen().await?;
    site.await_entries(&bucket).await?;
    site.await_ready("mirror-pair").await?;

    // A policy holds it up.
    let policies: Api<DRPolicy> = Api::all(s.hub.clone());
    let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "p"},
        "spec": {"drClusters": ["cluster2", "cluster1"], "schedulingInterval": "5m"}});
    policies
        .create(&PostParams::default(), &serde_json::from_value(policy)?)
        .await?;
    site.peers().delete("mirror-pair", &DeleteParams::default()).await?;
    let says = "DRPolicy 'p' exists and requires MirrorPeer 'mirror-pair'";
    site.await_phase_saying("mirror-pair", ("Deleting", "Deletion failed"), ("Deleted", says))
        .await?;
    site.await_entries(&bucket).await?;
    policies.delete("p", &DeleteParams::default()).await?;
    s.await_gone(&site.peers(), "mirror-pair").await?;
    site.ensure_nothing_left().await
}

#[tokio::test]
async fn at_rest_and_at_a_restart_nothing_is_written() -> Result<()> {
    let site = Site::new("mirror-rest").await?;
    let s = &site.s;
    site.apply("mirror-rest", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    site.await_ready("mirror-rest").await?;
    let versions = || async {
        let mut all = BTreeMap::new();
        let ours = ListParams::default().labels(CREATED_BY_LABEL);
        let peerings: Api<Peering> = Api::all(s.hub.clone());
        for peering in peerings.list(&ours).await? {
            all.insert(peering.name_any(), peering.resource_version());
        }
        for cluster in site.clusters().list(&ours).await? {
            all.insert(cluster.name_any(), cluster.resource_version());
        }
        let peer = site.peers().get("mirror-rest").await?;
        all.insert("the MirrorPeer".to_owned(), peer.resource_version());
        let map = site.ramen().get(RAMEN_CONFIG_MAP).await?;
        all.insert("Ramen's configuration".to_owned(), map.resource_version());
        Ok::<_, anyhow::Error>(all)
    };
    // What the MirrorPeer waits for is ready a moment before all is told of it.
    let before = s.quiet("what the manager has written", versions).await?;
    ensure!(before.len() == 7, "{before:?}");
    let manager = s.world.manager().await?;
    manager.kill();
    let node = s.world.env.hub().node()?;
    node.await_restart(MANAGER_NAMESPACE, "addon-manager", &manager, SOON)
        .await?;
    // What follows shows that it works: an annotation that is none of its business, and a change that is.
    let remark = json!({"metadata": {"annotations": {"somebody": "was here"}}});
    let annotated = site
        .ramen()
        .patch(RAMEN_CONFIG_MAP, &PatchParams::default(), &Patch::Merge(remark))
        .await?;
    // No rotated key: its server refuses the old one until the new one has arrived, and that is news when it takes long.
    site.east.fail_over(Side::East).await?;
    let (received, second) = (site.received(Side::East), token(Side::East, 2));
    site.await_data(&site.west.secrets(), &received, "token", &second)
        .await?;
    let mut expected = before;
    expected.insert("Ramen's configuration".to_owned(), annotated.resource_version());
    let after = versions().await?;
    ensure!(after == expected, "{after:?}, expected {expected:?}");
    site.delete("mirror-rest").await?;
    site.ensure_nothing_left().await
}

#[tokio::test]
async fn two_that_share_a_cluster_share_its_bucket() -> Result<()> {
    let site = Site::new("mirror-share").await?;
    let s = &site.s;
    // A third cluster that nobody stands behind: what it would have to do is not done, which must not hold up the others.
    let third = "mirror-share-third";
    s.world.env.bare_cluster(third).await?;
    site.apply("mirror-share-a", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    site.await_ready("mirror-share-a").await?;
    site.apply("mirror-share-b", &site.spec([third, "cluster1"], true))
        .await?;
    site.await_phase("mirror-share-b", "Configuring", "Peering is in progress")
        .await?;
    // The same pair once more is refused, and told.
    site.apply("mirror-share-twin", &site.spec(["cluster2", "cluster1"], true))
        .await?;
    let says = ("Validated", "MirrorPeer mirror-share-a");
    site.await_phase_saying("mirror-share-twin", ("Failed", "Validation failed"), says)
        .await?;
    site.delete("mirror-share-twin").await?;
    site.await_ready("mirror-share-a").await?;

    let bucket = names::bucket("cluster1", "cluster2");
    let (claims, uid) = (site.east.claims(), site.east.claims().get(&bucket).await?.uid());
    site.delete("mirror-share-a").await?;
    ensure!(claims.get(&bucket).await?.uid() == uid, "the bucket was made anew");
    ensure!(
        site.clusters().get_opt("cluster1").await?.is_some(),
        "DRCluster cluster1 is gone"
    );
    ensure!(
        site.clusters().get_opt("cluster2").await?.is_none(),
        "DRCluster cluster2 is left"
    );
    let mirroring = site.west.mirroring().await?;
    ensure!(mirroring == json!({"peerSecretNames": ["by-hand"]}), "{mirroring}");
    let entry = ramen::profile(
        &site.ramen_text().await?,
        &names::s3_profile("cluster1", STORAGE_CLUSTER),
    )?;
    ensure!(
        entry.is_some_and(|entry| entry.s3_bucket == bucket),
        "the entry is gone"
    );

    // Nobody can withdraw anything on the third cluster: the MirrorPeer goes without it when somebody says so.
    let what = "mirror-share-b";
    site.peers().delete(what, &DeleteParams::default()).await?;
    site.await_phase_saying(
        what,
        ("Deleting", "Deletion is in progress"),
        ("Deleted", "waiting for"),
    )
    .await?;
    let force = json!({"metadata": {"annotations": {FORCE_LOCAL_ANNOTATION: "true"}}});
    let params = PatchParams::default();
    site.peers().patch(what, &params, &Patch::Merge(force)).await?;
    s.await_gone(&site.peers(), what).await?;
    s.world.env.delete_bare_cluster(third).await?;
    // It did not wait for the agent that is there either.
    s.until("cluster1 to be as it was", || async {
        site.ensure_nothing_left().await.map(Some)
    })
    .await
}

#[tokio::test]
async fn ramen_may_be_missing_and_come_later() -> Result<()> {
    let site = Site::new("mirror-bare").await?;
    let s = &site.s;
    let hub = s.world.env.hub();
    for name in ["drclusters.ramendr.openshift.io", "drpolicies.ramendr.openshift.io"] {
        hub.delete_crd(name).await?;
    }
    site.ramen().delete(RAMEN_CONFIG_MAP, &DeleteParams::default()).await?;
    site.apply("mirror-bare", &site.spec(["cluster1", "cluster2"], true))
        .await?;
    let says = ("Configured", "install Ramen's hub operator");
    site.await_phase_saying("mirror-bare", ("Configuring", "S3 configuration failed"), says)
        .await?;
    // The storage clusters know of each other all the same.
    site.await_data(
        &site.west.secrets(),
        &site.received(Side::East),
        "token",
        &token(Side::East, 1),
    )
    .await?;

    site.reset_ramen().await?;
    let phase = ("Configuring", "DRCluster configuration is in progress");
    site.await_phase_saying("mirror-bare", phase, ("Configured", "kind DRCluster"))
        .await?;
    site.install_ramen().await?;
    site.await_ready("mirror-bare").await?;
    site.delete("mirror-bare").await?;
    site.ensure_nothing_left().await
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_at_once() -> Result<()> {
    let site = Scenario::shared("mirror-rules").await?;
    let peers: Api<MirrorPeer> = Api::all(site.hub.clone());
    let item = |cluster: &str, name: &str| json!({"clusterName": cluster, "storageClusterRef": {"name": name}});
    let write = |spec: Value| {
        let peers = peers.clone();
        async move {
            let peer = json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer",
                "metadata": {"name": "mirror-rules"}, "spec": spec});
            let params = PatchParams::apply("scenario").force();
            let written = peers.patch("mirror-rules", &params, &Patch::Apply(peer)).await;
            written.err().map(|error| error.to_string())
        }
    };
    let pair = json!([item("nowhere1", "sc"), item("nowhere2", "sc")]);
    for (spec, says) in [
        (Value::Null, "spec"),
        (json!({"items": [item("c1", "sc")]}), "spec.items"),
        (
            json!({"items": [item("c1", "sc"), {"storageClusterRef": {"name": "sc"}}]}),
            "clusterName",
        ),
        (json!({"items": [item("c1", "sc"), item("", "sc")]}), "clusterName"),
        (
            json!({"items": [item("c1", "sc"), {"clusterName": "c2"}]}),
            "storageClusterRef",
        ),
        (
            json!({"items": [item("c1", "sc"), item("c2", "")]}),
            "storageClusterRef.name",
        ),
        (json!({"items": [item("c1", "sc"), item("c1", "other")]}), "uplicate"),
        (json!({"items": pair, "type": "other"}), "spec.type"),
    ] {
        let refused = write(spec.clone()).await.with_context(|| format!("{spec} was taken"))?;
        ensure!(refused.contains(says), "{spec}: {refused}");
    }
    let refused = write(json!({"items": pair})).await;
    ensure!(refused.is_none(), "{refused:?}");
    let seen = peers.get("mirror-rules").await?;
    ensure!(
        seen.spec.type_ == peering_api::odf::ReplicationType::Async && !seen.spec.manage_s3,
        "{seen:?}"
    );
    for (spec, says) in [
        (json!({"items": [item("nowhere1", "sc")]}), "spec.items"),
        (
            json!({"items": [item("nowhere1", "sc"), item("nowhere3", "sc")]}),
            "fields are immutable.",
        ),
        (
            json!({"items": [item("nowhere1", "sc"), item("nowhere2", "other")]}),
            "fields are immutable.",
        ),
        (json!({"items": pair, "type": "sync"}), "spec.type is immutable."),
    ] {
        let refused = write(spec.clone()).await.with_context(|| format!("{spec} was taken"))?;
        ensure!(refused.contains(says), "{spec}: {refused}");
    }
    let reversed = json!({"items": [item("nowhere2", "sc"), item("nowhere1", "sc")], "manageS3": true});
    let refused = write(reversed).await;
    ensure!(refused.is_none(), "{refused:?}");
    site.until("the unknown clusters to be told", || async {
        let status = peers.get("mirror-rules").await?.status.unwrap_or_default();
        Ok((status.phase.as_deref() == Some("Failed")).then_some(()))
    })
    .await?;
    peers.delete("mirror-rules", &DeleteParams::default()).await?;
    site.await_gone(&peers, "mirror-rules").await
}
