//! Keys of members: replaced when a person asks for it, and one that came from nowhere counts only once it is confirmed.
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use peering_api::{
    names,
    peering::{PeerExport, PeerLink, PeerMember, condition, reasons},
};
use scenarios::{
    Scenario, Side, Witness,
    world::{AGENT_NAMESPACE, SOON},
};
use serde_json::json;

fn fingerprint(member: &PeerMember) -> Option<&str> {
    member.status.as_ref()?.fingerprint.as_deref()
}

async fn member(s: &Scenario, side: Side) -> Result<PeerMember> {
    Ok(s.hub_of::<PeerMember>(side).get(side.cluster()).await?)
}

async fn annotate(s: &Scenario, side: Side, key: &str, value: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {key: value}}});
    let api = s.hub_of::<PeerMember>(side);
    api.patch(side.cluster(), &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Waits until a member publishes another key than this one, and that one only.
async fn await_key(s: &Scenario, side: Side, old: &str) -> Result<String> {
    let what = format!(
        "{} to publish another key than {old}, and that one only",
        side.cluster()
    );
    s.until(&what, || async {
        let member = member(s, side).await?;
        let previous = member
            .status
            .as_ref()
            .and_then(|status| status.previous_public_key.clone());
        let new = fingerprint(&member).filter(|new| *new != old && previous.is_none());
        Ok(new.map(str::to_owned))
    })
    .await
}

/// The keys to which and by which the envelopes of a scenario's exports are sealed.
async fn seals(s: &Scenario, side: Side) -> Result<Vec<(String, String)>> {
    let exports: Vec<PeerExport> = s.hub_of::<PeerExport>(side).list(&ListParams::default()).await?.items;
    let ours = exports.into_iter().filter(|export| export.spec.peering == s.name);
    let envelopes = ours.flat_map(|export| export.status.unwrap_or_default().envelopes);
    Ok(envelopes
        .map(|envelope| (envelope.sender_fingerprint, envelope.recipient_fingerprint))
        .collect())
}

#[tokio::test]
async fn a_key_is_replaced_when_that_is_asked_for_and_no_link_stops_working() -> Result<()> {
    let s = Scenario::alone("identity-rotation").await?;
    s.ready_pair().await?;
    let (old, other) = (member(&s, Side::East).await?, member(&s, Side::West).await?);
    let (old, other) = (
        fingerprint(&old).context("no key")?.to_owned(),
        fingerprint(&other).context("no key")?.to_owned(),
    );
    let name = s.link("peer-token", Side::West).await?.name_any();
    let link = Witness::of(s.hub_of::<PeerLink>(Side::West), &name).await?;
    annotate(&s, Side::East, names::ROTATE_KEY_ANNOTATION, "2026-11-21").await?;
    let new = await_key(&s, Side::East, &old).await?;
    let (east, west) = (seals(&s, Side::East).await?, seals(&s, Side::West).await?);
    ensure!(!east.is_empty() && !west.is_empty(), "nothing is sealed");
    ensure!(
        east.iter().all(|seal| *seal == (new.clone(), other.clone())),
        "by another key: {east:?}"
    );
    ensure!(
        west.iter().all(|seal| *seal == (other.clone(), new.clone())),
        "to another key: {west:?}"
    );
    for (side, token) in [(Side::East, "east, after"), (Side::West, "west, after")] {
        s.source(side, &[("token", token.as_bytes())]).await?;
        s.await_target(side.other(), &[("token", token.as_bytes())]).await?;
    }
    // A restart does not do it again.
    let agent = s.world.agent("cluster1").await?;
    agent.kill();
    let node = s.world.env.spoke("cluster1")?.node()?;
    node.await_restart(AGENT_NAMESPACE, names::AGENT, &agent, SOON).await?;
    s.source(Side::East, &[("token", b"after the restart")]).await?;
    s.await_target(Side::West, &[("token", b"after the restart")]).await?;
    ensure!(
        fingerprint(&member(&s, Side::East).await?) == Some(new.as_str()),
        "rotated twice"
    );
    for seen in link.versions() {
        let conditions = seen
            .context("the link was deleted")?
            .status
            .unwrap_or_default()
            .conditions;
        let ready = condition(&conditions, reasons::READY).context("no verdict")?;
        ensure!(ready.status == "True", "not ready on the way: {ready:?}");
    }
    annotate(&s, Side::East, names::ROTATE_KEY_ANNOTATION, "").await?;
    s.withdraw().await
}

#[tokio::test]
async fn a_cluster_that_comes_back_with_another_key_has_to_be_confirmed() -> Result<()> {
    let s = Scenario::alone("identity-changed").await?;
    s.ready_pair().await?;
    let old = fingerprint(&member(&s, Side::West).await?)
        .context("no key")?
        .to_owned();
    // The cluster is set up anew: nobody has the key any more.
    let keys: Api<Secret> = Api::namespaced(s.client(Side::West), AGENT_NAMESPACE);
    let agent = s.world.agent("cluster2").await?;
    keys.delete(names::AGENT_KEY_SECRET, &DeleteParams::default()).await?;
    agent.kill();
    let new = await_key(&s, Side::West, &old).await?;
    let message = s.await_peering("Accepted", "False", "IdentityChanged").await?;
    for part in ["cluster2", new.as_str(), names::CONFIRM_KEY_ANNOTATION] {
        ensure!(message.contains(part), "no {part:?} in {message}");
    }
    s.await_link("peer-token", Side::West, "Ready", "False", "IdentityChanged")
        .await?;
    // Nothing goes to it and nothing is taken from it, and what was delivered stays.
    s.source(Side::East, &[("token", b"not for a stranger")]).await?;
    s.until("the export to have no envelope for the stranger", || async {
        let seals = seals(&s, Side::East).await?;
        Ok(seals.iter().all(|(_, recipient)| *recipient != new).then_some(()))
    })
    .await?;
    let api = s.on::<Secret>(Side::West);
    let held = api.get(&s.target_name(Side::West)).await?;
    let token = held.data.and_then(|data| data.get("token").cloned());
    ensure!(
        token.is_some_and(|token| token.0 != b"not for a stranger"),
        "it was handed over"
    );
    annotate(&s, Side::West, names::CONFIRM_KEY_ANNOTATION, &new).await?;
    s.await_target(Side::West, &[("token", b"not for a stranger")]).await?;
    s.await_peering("Ready", "True", "AllLinksReady").await?;
    s.withdraw().await
}
