//! The main job: a secret and CA bundles go from cluster to cluster, and changes follow.
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use peering_api::{
    names,
    ocm::ManagedClusterAddOn,
    peering::{PeerMember, condition},
};
use scenarios::{
    Scenario, Side,
    objects::{ca, secret},
    scenario::{SOURCE, put},
};

#[tokio::test]
async fn a_secret_arrives_byte_for_byte_and_keeps_its_type() -> Result<()> {
    let s = Scenario::shared("handover-secret").await?;
    s.sources().await?;
    let odd: Vec<u8> = (0..=255).collect();
    let data: [(&str, &[u8]); 3] = [("token", &odd), ("pool", b"replicapool"), ("new-line", b"a\nb\n")];
    let mut source = secret(SOURCE, &data);
    source.type_ = Some("kubernetes.io/rook".to_owned());
    s.on::<Secret>(Side::East)
        .delete(SOURCE, &kube::api::DeleteParams::default())
        .await?;
    put(&s.on(Side::East), source).await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    let target = s.await_target(Side::West, &data).await?;
    ensure!(
        target.type_.as_deref() == Some("kubernetes.io/rook"),
        "type is {:?}",
        target.type_
    );
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn ca_bundles_are_united_on_both_sides() -> Result<()> {
    let s = Scenario::shared("handover-bundle").await?;
    let (east, west) = s.ready_pair().await?;
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&east, &west]).await?;
    }
    let link = s.link("ca-bundle", Side::West).await?.status.context("no status")?;
    ensure!(
        link.ca_fingerprints.len() == 1,
        "fingerprints {:?}",
        link.ca_fingerprints
    );
    let expires = link.expires_at.context("no expiry")?.0;
    ensure!(expires.to_string().starts_with("2040-01-01"), "expires {expires}");
    s.withdraw().await
}

#[tokio::test]
async fn rotations_are_carried_over_and_revisions_grow() -> Result<()> {
    let s = Scenario::shared("handover-rotation").await?;
    let (_, west) = s.ready_pair().await?;
    let before = s.link("peer-token", Side::West).await?.status.context("no status")?;
    s.source(Side::East, &[("token", b"the second token")]).await?;
    s.await_target(Side::West, &[("token", b"the second token")]).await?;
    let api = s.hub_of::<peering_api::peering::PeerLink>(Side::West);
    let name = s
        .link("peer-token", Side::West)
        .await?
        .metadata
        .name
        .context("no name")?;
    s.until("the link to show the new revision", || async {
        let after = api.get(&name).await?.status.unwrap_or_default();
        Ok(
            (after.applied_revision > before.applied_revision && after.applied_hash != before.applied_hash)
                .then_some(()),
        )
    })
    .await?;
    let rotated = ca("handover-rotation east, next", 2042)?;
    s.ca_source(Side::East, &rotated).await?;
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&rotated, &west]).await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn the_seeds_own_addon_object_installs_the_agent() -> Result<()> {
    let s = Scenario::shared("handover-install").await?;
    let api = s.hub_of::<ManagedClusterAddOn>(Side::East);
    for (type_, reason) in [
        ("RegistrationApplied", "SetPermissionApplied"),
        ("ManifestApplied", "AddonManifestApplied"),
        ("Available", "ManagedClusterAddOnLeaseUpdated"),
        ("Progressing", "Completed"),
    ] {
        s.until(&format!("the addon to have {type_} {reason}"), || async {
            let conditions = api.get(names::ADDON).await?.status.unwrap_or_default().conditions;
            Ok(condition(&conditions, type_)
                .filter(|found| found.reason == reason)
                .map(|_| ()))
        })
        .await?;
    }
    let addon = api.get(names::ADDON).await?.status.context("no status")?;
    ensure!(
        addon.namespace.as_deref() == Some("default"),
        "spec.installNamespace was not followed: {:?}",
        addon.namespace
    );
    let member = s
        .hub_of::<PeerMember>(Side::East)
        .get("cluster1")
        .await?
        .status
        .context("no status")?;
    ensure!(
        member
            .fingerprint
            .is_some_and(|fingerprint| fingerprint.starts_with("SHA256:")),
        "no fingerprint"
    );
    Ok(())
}
