//! Bad input gets a clear condition and loses nothing.
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{ResourceExt, api::DeleteParams};
use scenarios::{
    Scenario, Side,
    objects::{ca, secret},
    scenario::{SOURCE, put},
};

#[tokio::test]
async fn a_member_that_is_not_managed_is_named_and_the_others_are_served() -> Result<()> {
    let s = Scenario::shared("bad-member").await?;
    s.sources().await?;
    s.peer("storage-peering-basic", &["cluster1", "ghost", "cluster2"])
        .await?;
    let message = s.await_peering("Accepted", "False", "MemberNotFound").await?;
    ensure!(message.contains("\"ghost\""), "{message}");
    s.await_target(Side::West, &[("token", b"token of bad-member cluster1")])
        .await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    s.await_peering("Accepted", "True", "Accepted").await?;
    s.withdraw().await
}

#[tokio::test]
async fn an_unknown_profile_is_named_and_withdraws_nothing() -> Result<()> {
    let s = Scenario::shared("bad-profile").await?;
    s.ready_pair().await?;
    s.peer("no-such-profile", &["cluster1", "cluster2"]).await?;
    let message = s.await_peering("Accepted", "False", "ProfileNotFound").await?;
    ensure!(message.contains("\"no-such-profile\""), "{message}");
    s.await_target(Side::West, &[("token", b"token of bad-profile cluster1")])
        .await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    s.await_peering("Accepted", "True", "Accepted").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_missing_source_is_reported_and_picked_up_when_it_appears() -> Result<()> {
    let s = Scenario::shared("bad-missing").await?;
    s.sources().await?;
    s.on::<Secret>(Side::East)
        .delete(SOURCE, &DeleteParams::default())
        .await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    let (said, part) = (("False", "SourceNotFound"), format!("{}/{SOURCE}", s.name));
    s.await_link_saying("peer-token", Side::West, "SourceReady", said, &part)
        .await?;
    s.await_link("peer-token", Side::West, "Ready", "False", "SourceNotFound")
        .await?;
    s.await_link("peer-token", Side::East, "Ready", "True", "Ready").await?;
    s.source(Side::East, &[("token", b"late")]).await?;
    s.await_target(Side::West, &[("token", b"late")]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_source_that_turns_empty_keeps_the_last_good_value() -> Result<()> {
    let s = Scenario::shared("bad-empty").await?;
    s.ready_pair().await?;
    let before = s.export("peer-token", Side::East).await?.status.unwrap_or_default();
    for empty in [&[][..], &[("token", &b""[..])]] {
        s.source(Side::East, empty).await?;
        let message = s
            .await_link("peer-token", Side::West, "SourceReady", "False", "SourceInvalid")
            .await?;
        ensure!(message.contains("last good content"), "{message}");
    }
    let after = s.export("peer-token", Side::East).await?.status.unwrap_or_default();
    ensure!(
        before.revision == after.revision && before.envelopes == after.envelopes,
        "the envelopes were touched"
    );
    s.await_target(Side::West, &[("token", b"token of bad-empty cluster1")])
        .await?;
    s.source(Side::East, &[("token", b"filled again")]).await?;
    s.await_target(Side::West, &[("token", b"filled again")]).await?;
    s.await_link("peer-token", Side::West, "SourceReady", "True", "Published")
        .await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_malformed_certificate_is_named_and_the_rest_is_delivered() -> Result<()> {
    let s = Scenario::shared("bad-pem").await?;
    let (_, west) = s.sources().await?;
    let (one, two) = (ca("bad-pem one", 2040)?, ca("bad-pem two", 2041)?);
    let broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    s.ca_source(Side::East, &format!("{one}{broken}{two}")).await?;
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    for side in [Side::East, Side::West] {
        s.await_bundle(side, &[&one, &two, &west]).await?;
    }
    let message = s
        .await_link("ca-bundle", Side::West, "SourceReady", "True", "PartlyInvalid")
        .await?;
    ensure!(message.contains("block 2 of key \"ca.crt\""), "{message}");
    s.withdraw().await
}

#[tokio::test]
async fn a_target_of_somebody_else_is_left_alone() -> Result<()> {
    let s = Scenario::shared("bad-conflict").await?;
    s.sources().await?;
    let targets = s.on::<Secret>(Side::West);
    put(&targets, secret(&s.target_name(Side::West), &[("theirs", b"precious")])).await?;
    let bundles = s.on::<ConfigMap>(Side::West);
    put(
        &bundles,
        scenarios::objects::config_map(&s.bundle_name(), &[("theirs", "precious")]),
    )
    .await?;
    let before = (
        targets.get(&s.target_name(Side::West)).await?,
        bundles.get(&s.bundle_name()).await?,
    );
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    let (said, part) = (("False", "TargetConflict"), s.target_name(Side::West));
    s.await_link_saying("peer-token", Side::West, "Ready", said, &part)
        .await?;
    s.await_link("ca-bundle", Side::West, "Ready", "False", "TargetConflict")
        .await?;
    s.await_link("peer-token", Side::East, "Ready", "True", "Ready").await?;
    let after = (
        targets.get(&s.target_name(Side::West)).await?,
        bundles.get(&s.bundle_name()).await?,
    );
    ensure!(before == after, "somebody else's objects were touched");
    targets.delete(&before.0.name_any(), &DeleteParams::default()).await?;
    s.await_target(Side::West, &[("token", b"token of bad-conflict cluster1")])
        .await?;
    s.withdraw().await?;
    ensure!(
        bundles.get(&s.bundle_name()).await? == before.1,
        "the withdrawal touched somebody else's object"
    );
    Ok(())
}
