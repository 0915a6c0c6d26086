//! What people do to targets by hand.
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, Patch, PatchParams};
use scenarios::{Scenario, Side, objects::ca, scenario::bundle_text};
use serde_json::json;

#[tokio::test]
async fn a_target_that_is_deleted_or_edited_is_restored() -> Result<()> {
    let s = Scenario::shared("drift-secret").await?;
    s.ready_pair().await?;
    let expected: &[(&str, &[u8])] = &[("token", b"token of drift-secret cluster1")];
    let (api, name) = (s.on::<Secret>(Side::West), s.target_name(Side::West));
    s.await_target(Side::West, expected).await?;
    api.delete(&name, &DeleteParams::default()).await?;
    s.await_target(Side::West, expected).await?;
    for edit in [
        json!({"stringData": {"token": "edited"}}),
        json!({"stringData": {"more": "added"}}),
        json!({"data": {"token": null}}),
    ] {
        api.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await?;
        s.await_target(Side::West, expected).await?;
    }
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_bundle_keeps_foreign_certificates_and_gets_ours_back() -> Result<()> {
    let s = Scenario::shared("drift-bundle").await?;
    let (east, west) = s.ready_pair().await?;
    s.await_bundle(Side::West, &[&east, &west]).await?;
    let foreign = ca("drift-bundle foreign", 2043)?;
    let (api, name) = (s.on::<ConfigMap>(Side::West), s.bundle_name());
    // Ours are taken out, a foreign one is put in.
    let edit = json!({"data": {"ca-bundle.crt": foreign}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await?;
    s.await_bundle(Side::West, &[&east, &west, &foreign]).await?;
    api.delete(&name, &DeleteParams::default()).await?;
    s.await_bundle(Side::West, &[&east, &west]).await?;
    let edit = json!({"data": {"ca-bundle.crt": format!("{east}{west}{foreign}")}});
    api.patch(&name, &PatchParams::default(), &Patch::Merge(edit)).await?;
    let next = ca("drift-bundle east, next", 2044)?;
    s.ca_source(Side::East, &next).await?;
    s.await_bundle(Side::West, &[&next, &west, &foreign]).await?;
    s.withdraw().await?;
    let left = api.get(&name).await?;
    ensure!(
        scenarios::scenario::fingerprints(&bundle_text(&left)) == scenarios::scenario::fingerprints(&foreign),
        "{left:?}"
    );
    ensure!(
        left.metadata.labels.unwrap_or_default().is_empty(),
        "our labels stayed behind"
    );
    ensure!(
        s.on::<ConfigMap>(Side::East).get_opt(&name).await?.is_none(),
        "the bundle without foreign certificates stayed"
    );
    Ok(())
}
