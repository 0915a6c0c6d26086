//! Replication classes from end to end.
use anyhow::{Result, ensure};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams},
};
use peering_api::odf::DRPolicy;
use scenarios::{Scenario, Side};
use serde_json::{Value, json};
use storage::names;

use crate::mirrorpeer::{BOTH, Site};

/// The `VolumeReplicationClass`es of a side.
fn classes(s: &Scenario, side: Side) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("replication.storage.openshift.io", "v1alpha1", "VolumeReplicationClass");
    Api::all_with(
        s.client(side),
        &ApiResource::from_gvk_with_plural(&kind, "volumereplicationclasses"),
    )
}

#[tokio::test]
async fn policies_with_one_interval_share_a_replication_class() -> Result<()> {
    let site = Site::new("mirror-classes").await?;
    let s = &site.s;
    for side in BOTH {
        let cluster = s.world.env.spoke(side.cluster())?;
        cluster
            .apply_crd("volumereplicationclasses.replication.storage.openshift.io")
            .await?;
    }
    let policies: Api<DRPolicy> = Api::all(s.hub.clone());
    let create = |name: &'static str, interval: &'static str, labels: Value| {
        let policies = policies.clone();
        async move {
            let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": name},
                "spec": {"drClusters": ["cluster1", "cluster2"], "schedulingInterval": interval,
                    "replicationClassSelector": {"matchLabels": labels}}});
            policies
                .create(&PostParams::default(), &serde_json::from_value(policy)?)
                .await?;
            Ok::<_, anyhow::Error>(())
        }
    };
    let await_class = |side: Side, name: String| async move {
        let api = classes(s, side);
        let what = format!("class {name} on {}", side.cluster());
        s.until(&what, || async { Ok(api.get_opt(&name).await?) }).await
    };
    // The policy may be there before the pair is.
    create("first", "5m", json!({})).await?;
    site.apply("mirror-classes", &site.spec(["cluster1", "cluster2"], false))
        .await?;
    let name = names::replication_class("5m", false);
    let mut uids = Vec::new();
    for side in BOTH {
        let class = await_class(side, name.clone()).await?;
        let (spec, provisioner) = (&class.data["spec"], format!("{}.rbd.csi.ceph.com", s.name));
        ensure!(spec["provisioner"] == provisioner.as_str(), "{spec}");
        ensure!(spec["parameters"]["schedulingInterval"] == "5m", "{spec}");
        uids.push(class.uid());
    }
    create("second", "5m", json!({})).await?;
    policies.delete("first", &DeleteParams::default()).await?;
    // What comes after shows that the deletion has been looked at.
    create(
        "third",
        "5m",
        json!({"replication.storage.openshift.io/flatten-mode": "force"}),
    )
    .await?;
    for (side, uid) in BOTH.into_iter().zip(uids) {
        await_class(side, names::replication_class("5m", true)).await?;
        ensure!(
            await_class(side, name.clone()).await?.uid() == uid,
            "the class was made anew"
        );
    }
    for policy in ["second", "third"] {
        policies.delete(policy, &DeleteParams::default()).await?;
    }
    for side in BOTH {
        let api = classes(s, side);
        s.until("the classes to be gone", || async {
            Ok(api.list(&ListParams::default()).await?.items.is_empty().then_some(()))
        })
        .await?;
    }
    site.delete("mirror-classes").await?;
    site.ensure_nothing_left().await
}
