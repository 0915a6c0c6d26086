//! A hub and clusters that the Go orchestrator has left, taken over as they stand.
use std::fmt::Write as _;

use anyhow::{Result, ensure};
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{Api, ResourceExt, api::PostParams};
use peering_api::odf::{CREATED_BY_LABEL, RAMEN_CONFIG_KEY, RAMEN_CONFIG_MAP};
use scenarios::{
    objects::config_map,
    odf::{self, STORAGE_CLUSTER, texts, token},
    scenario::put,
    world::{MANAGER_NAMESPACE, SOON},
};
use serde_json::json;
use storage::names;

use crate::mirrorpeer::{BOTH, CONFIG, RAMEN, Site};

/// What the Go orchestrator leaves behind in converged mode (mco.md 4.1 to 4.6), all under its own names.
async fn leave_as_the_go_orchestrator(site: &Site, bucket: &str) -> Result<()> {
    let s = &site.s;
    let mut entries = String::new();
    for side in BOTH {
        let odf = site.odf(side);
        let (secret, cluster) = (site.credentials(side), side.cluster());
        let claim = json!({"apiVersion": "objectbucket.io/v1alpha1", "kind": "ObjectBucketClaim",
            "metadata": {"name": bucket, "annotations": {
                "multicluster.odf.openshift.io/mirrorpeer": "mirror-upgrade", "multicluster.odf.openshift.io/obc-type": "cluster"}},
            "spec": {"bucketName": bucket, "storageClassName": format!("{}.noobaa.io", s.name)}});
        odf.claims()
            .create(&PostParams::default(), &serde_json::from_value(claim)?)
            .await?;
        let received = site.received(side.other());
        let token = token(side.other(), 1);
        let mut green = secret_of(&received, &[("token", &token), ("cluster", side.other().cluster())]);
        green
            .labels_mut()
            .insert(CREATED_BY_LABEL.to_owned(), "tokenexchange".to_owned());
        put(&odf.secrets(), green).await?;
        odf.mirror(&received).await?;
        let key = odf::secret_key(bucket, 1);
        let opaque = secret_of(
            &secret,
            &[("AWS_ACCESS_KEY_ID", "old"), ("AWS_SECRET_ACCESS_KEY", &key)],
        );
        put(&Api::namespaced(s.hub.clone(), RAMEN), opaque).await?;
        let (profile, url) = (names::s3_profile(cluster, STORAGE_CLUSTER), odf::url(side).await?);
        let _ = write!(
            entries,
            "- s3Bucket: {bucket}\n  s3CompatibleEndpoint: {url}\n  s3ProfileName: {profile}\n  s3Region: noobaa\n  s3SecretRef:\n    name: {secret}\n  veleroNamespaceSecretKeyRef:\n    key: cloud\n    name: velero\n"
        );
    }
    let text = CONFIG.replace("\ndrClusterOperator", &format!("{entries}\ndrClusterOperator"));
    put(
        &site.ramen(),
        config_map(RAMEN_CONFIG_MAP, &[(RAMEN_CONFIG_KEY, &text)]),
    )
    .await
}

fn secret_of(name: &str, data: &[(&str, &str)]) -> Secret {
    let data: Vec<_> = data.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
    scenarios::objects::secret(name, &data)
}

/// What gives every agent rights on the whole hub (mco.md 5.4).
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: 'open-cluster-management:token-exchange:agent'}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [get, list, watch, create, delete, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: 'open-cluster-management:token-exchange:agent'}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: 'open-cluster-management:token-exchange:agent'}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:open-cluster-management:cluster:cluster1:addon:tokenexchange'}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: 'open-cluster-management:token-exchange:agent', namespace: cluster1}
rules:
- {apiGroups: [''], resources: [secrets], verbs: [get, list, watch, create, delete, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: 'open-cluster-management:token-exchange:agent', namespace: cluster1}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: 'open-cluster-management:token-exchange:agent'}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:open-cluster-management:cluster:cluster1:addon:tokenexchange'}
";

/// The manager takes them away when it starts, with the rights that it has been given.
async fn rights_are_gone(site: &Site) -> Result<()> {
    let (s, name) = (&site.s, "open-cluster-management:token-exchange:agent");
    s.world.env.hub().apply_text(RIGHTS).await?;
    let (node, before) = (s.world.env.hub().node()?, s.world.manager().await?);
    before.kill();
    node.await_restart(MANAGER_NAMESPACE, "addon-manager", &before, SOON)
        .await?;
    s.await_gone(&Api::<ClusterRoleBinding>::all(s.hub.clone()), name)
        .await?;
    s.await_gone(&Api::<ClusterRole>::all(s.hub.clone()), name).await?;
    s.await_gone(&Api::<RoleBinding>::namespaced(s.hub.clone(), "cluster1"), name)
        .await?;
    s.await_gone(&Api::<Role>::namespaced(s.hub.clone(), "cluster1"), name)
        .await
}

#[tokio::test]
async fn what_the_go_orchestrator_made_is_taken_over_as_it_stands() -> Result<()> {
    let site = Site::new("mirror-upgrade").await?;
    let s = &site.s;
    let bucket = names::bucket("cluster1", "cluster2");
    leave_as_the_go_orchestrator(&site, &bucket).await?;
    let text = site.ramen_text().await?;
    // The MirrorPeer with the finalizers of the old agents, and the DRClusters that it owns.
    let peer = json!({"apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer",
        "metadata": {"name": "mirror-upgrade", "finalizers": [
            "hub.multicluster.odf.openshift.io", "cluster1.spoke.multicluster.odf.openshift.io"]},
        "spec": site.spec(["cluster1", "cluster2"], true)});
    let peer = site
        .peers()
        .create(&PostParams::default(), &serde_json::from_value(peer)?)
        .await?;
    for side in BOTH {
        let cluster = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster",
            "metadata": {"name": side.cluster(), "ownerReferences": [{"apiVersion": "multicluster.odf.openshift.io/v1alpha1",
                "kind": "MirrorPeer", "name": "mirror-upgrade", "uid": peer.uid(), "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"s3ProfileName": names::s3_profile(side.cluster(), STORAGE_CLUSTER), "cidrs": ["192.0.2.0/24"]}});
        site.clusters()
            .create(&PostParams::default(), &serde_json::from_value(cluster)?)
            .await?;
    }
    let hub_secrets: Api<Secret> = Api::namespaced(s.hub.clone(), RAMEN);
    let uids = || async {
        let mut all = Vec::new();
        for side in BOTH {
            let odf = site.odf(side);
            all.push(odf.claims().get(&bucket).await?.uid());
            all.push(odf.secrets().get(&site.received(side.other())).await?.uid());
            all.push(hub_secrets.get(&site.credentials(side)).await?.uid());
            all.push(site.clusters().get(side.cluster()).await?.uid());
        }
        Ok::<_, anyhow::Error>(all)
    };
    let before = uids().await?;
    site.await_ready("mirror-upgrade").await?;
    ensure!(uids().await? == before, "something was made anew");
    for side in BOTH {
        let cluster = site.clusters().get(side.cluster()).await?;
        ensure!(cluster.owner_references().is_empty(), "{cluster:?}");
        ensure!(cluster.spec.extra["cidrs"] == json!(["192.0.2.0/24"]), "{cluster:?}");
        let credentials = texts(&hub_secrets.get(&site.credentials(side)).await?);
        ensure!(
            credentials["AWS_ACCESS_KEY_ID"] == odf::key_id(&bucket),
            "the old one stands there"
        );
        let mirroring = site.odf(side).mirroring().await?;
        let expected = json!({"enabled": true, "peerSecretNames": ["by-hand", site.received(side.other())]});
        ensure!(mirroring == expected, "{mirroring}");
    }
    let peer = site.peers().get("mirror-upgrade").await?;
    ensure!(peer.finalizers() == ["hub.multicluster.odf.openshift.io"], "{peer:?}");
    // Nothing but the certificates has come into the entries that were there.
    let now = site.ramen_text().await?;
    let added: Vec<_> = now.lines().filter(|line| !text.contains(*line)).collect();
    ensure!(
        added.len() == 2 && added.iter().all(|line| line.starts_with("  caCertificates: ")),
        "{added:?}"
    );
    ensure!(text.lines().all(|line| now.contains(line)), "{now}");

    rights_are_gone(&site).await?;

    site.delete("mirror-upgrade").await?;
    ensure!(site.ramen_text().await? == CONFIG, "{}", site.ramen_text().await?);
    for side in BOTH {
        s.await_gone(&site.odf(side).claims(), &bucket).await?;
        s.await_gone(&site.clusters(), side.cluster()).await?;
        s.await_gone(&hub_secrets, &site.credentials(side)).await?;
    }
    Ok(())
}
