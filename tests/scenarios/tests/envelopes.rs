//! Envelopes that were tampered with, replayed or sent to the wrong place: refused, counted, reported.
use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use peering_api::{names, peering::condition};
use scenarios::{
    Scenario, Side,
    world::{AGENT_NAMESPACE, metric},
};
use serde_json::json;

/// The Secret on a managed cluster that carries the scenario's envelopes.
async fn carrier(s: &Scenario, side: Side) -> Result<Secret> {
    let api: Api<Secret> = Api::namespaced(s.client(side), AGENT_NAMESPACE);
    Ok(api.get(&names::carrier_name(&s.name, 0)).await?)
}

fn id(s: &Scenario, to: Side) -> String {
    names::link_id(&s.name, "peer-token", to.other().cluster(), to.cluster())
}

async fn envelope(s: &Scenario, to: Side) -> Result<Vec<u8>> {
    let data = carrier(s, to).await?.data.unwrap_or_default();
    Ok(data.get(&id(s, to)).context("no envelope")?.0.clone())
}

async fn place(s: &Scenario, to: Side, bytes: &[u8]) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(s.client(to), AGENT_NAMESPACE);
    let edit = json!({"data": {id(s, to): ByteString(bytes.to_vec())}});
    api.patch(
        &names::carrier_name(&s.name, 0),
        &PatchParams::default(),
        &Patch::Merge(edit),
    )
    .await?;
    Ok(())
}

/// Puts an envelope into the carrier, as often as OCM's work agent takes it out again (it applies a work anew whenever
/// that changes, also its status), until the link says that it was refused; returns the link's message.
async fn refuse(s: &Scenario, to: Side, bytes: &[u8], reason: &str) -> Result<String> {
    s.until(&format!("the envelope to be refused with {reason}"), || async {
        if envelope(s, to).await? != bytes {
            place(s, to, bytes).await?;
        }
        let conditions = s.link("peer-token", to).await?.status.unwrap_or_default().conditions;
        let ready = condition(&conditions, "Ready").filter(|ready| ready.status == "False" && ready.reason == reason);
        Ok(ready.map(|ready| ready.message.clone()))
    })
    .await
}

/// How many envelopes an agent has refused for a reason.
async fn refused(s: &Scenario, side: Side, reason: &str) -> Result<f64> {
    let agent = s.world.agent(side.cluster()).await?;
    metric(&agent, "refused_envelopes_total", &format!("\"{reason}\"")).await
}

#[tokio::test]
async fn a_tampered_envelope_is_refused_and_the_target_stays() -> Result<()> {
    let s = Scenario::shared("envelope-tampered").await?;
    s.ready_pair().await?;
    let expected: &[(&str, &[u8])] = &[("token", b"token of envelope-tampered cluster1")];
    let good = envelope(&s, Side::West).await?;
    let before = refused(&s, Side::West, "EnvelopeRejected").await?;
    let mut bad = good.clone();
    *bad.last_mut().context("empty")? ^= 1;
    let message = refuse(&s, Side::West, &bad, "EnvelopeRejected").await?;
    ensure!(message.contains("seal does not hold"), "{message}");
    ensure!(
        refused(&s, Side::West, "EnvelopeRejected").await? > before,
        "not counted"
    );
    s.await_target(Side::West, expected).await?;
    place(&s, Side::West, &good).await?;
    s.await_link("peer-token", Side::West, "Ready", "True", "Ready").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_replayed_envelope_is_refused() -> Result<()> {
    let s = Scenario::shared("envelope-replayed").await?;
    s.ready_pair().await?;
    let old = envelope(&s, Side::West).await?;
    s.source(Side::East, &[("token", b"second")]).await?;
    s.await_target(Side::West, &[("token", b"second")]).await?;
    let new = envelope(&s, Side::West).await?;
    let before = refused(&s, Side::West, "StaleRevision").await?;
    refuse(&s, Side::West, &old, "StaleRevision").await?;
    ensure!(refused(&s, Side::West, "StaleRevision").await? > before, "not counted");
    s.await_target(Side::West, &[("token", b"second")]).await?;
    place(&s, Side::West, &new).await?;
    s.await_link("peer-token", Side::West, "Ready", "True", "Ready").await?;
    s.withdraw().await
}

#[tokio::test]
async fn an_envelope_of_another_link_is_refused() -> Result<()> {
    let s = Scenario::shared("envelope-misdirected").await?;
    s.ready_pair().await?;
    let good = envelope(&s, Side::West).await?;
    let other = envelope(&s, Side::East).await?;
    let before = refused(&s, Side::West, "WrongRecipient").await?;
    let message = refuse(&s, Side::West, &other, "WrongRecipient").await?;
    ensure!(message.contains(&id(&s, Side::East)), "{message}");
    ensure!(refused(&s, Side::West, "WrongRecipient").await? > before, "not counted");
    s.await_target(Side::West, &[("token", b"token of envelope-misdirected cluster1")])
        .await?;
    place(&s, Side::West, &good).await?;
    s.await_link("peer-token", Side::West, "Ready", "True", "Ready").await?;
    s.withdraw().await
}
