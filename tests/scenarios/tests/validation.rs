//! What the API server itself refuses, before any of our code sees it, and what it says then.
use anyhow::{Context, Result, ensure};
use kube::{
    Api, Error,
    api::{DynamicObject, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use peering_api::names;
use scenarios::Scenario;
use serde_json::{Value, json};

fn profile(change: impl Fn(&mut Value)) -> Value {
    let mut artefact = json!({
        "name": "token", "kind": "Secret",
        "inputs": [{"as": "token", "apiVersion": "v1", "kind": "Secret", "namespace": "n", "name": "s"}],
        "deliver": {"kind": "Secret", "namespace": "n", "name": "t"},
    });
    change(&mut artefact);
    json!({"kind": "ExchangeProfile", "metadata": {"name": "validated"}, "spec": {"artefacts": [artefact]}})
}

fn peering(name: &str, spec: &Value) -> Value {
    json!({"kind": "Peering", "metadata": {"name": name}, "spec": spec})
}

/// Asks the API server, without storing anything; gives what it says when it refuses.
async fn refusal(s: &Scenario, mut object: Value) -> Result<Option<String>> {
    object["apiVersion"] = format!("{}/v1alpha1", names::GROUP).into();
    let kind = object["kind"].as_str().context("no kind")?.to_owned();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(names::GROUP, "v1alpha1", &kind));
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let object: DynamicObject = serde_json::from_value(object)?;
    match Api::<DynamicObject>::all_with(s.hub.clone(), &resource)
        .create(&params, &object)
        .await
    {
        Ok(_) => Ok(None),
        Err(Error::Api(status)) if status.code == 422 => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn bad_objects_are_refused_and_the_message_says_what_to_do() -> Result<()> {
    let s = Scenario::shared("validation").await?;
    let two = json!([{"cluster": "a"}, {"cluster": "b"}]);
    for good in [
        profile(|_| {}),
        peering("good", &json!({"profile": "p", "members": two})),
    ] {
        ensure!(refusal(&s, good.clone()).await?.is_none(), "refused: {good}");
    }
    for (bad, says) in [
        (
            profile(|a| a["confidential"] = false.into()),
            "a Secret artefact is always confidential",
        ),
        (
            profile(|a| a["kind"] = "CABundle".into()),
            "set deliver.kind to ConfigMap",
        ),
        (profile(|a| a["kind"] = "Certificate".into()), "Unsupported value"),
        (profile(|a| a["inputs"] = json!([])), "at least 1 items"),
        (
            profile(|a| a["inputs"][0]["kind"] = "ConfigMap".into()),
            "set the kind of its input to Secret",
        ),
        (
            profile(|a| a["inputs"][0]["kind"] = "Pod".into()),
            "kind Secret or ConfigMap",
        ),
        (
            profile(|a| a["deliver"]["kind"] = "ConfigMap".into()),
            "set deliver.kind to Secret",
        ),
        (profile(|a| a["name"] = "Not A Name".into()), "should match"),
        (
            peering("lonely", &json!({"profile": "p", "members": [{"cluster": "a"}]})),
            "at least 2 items",
        ),
        (
            peering(
                "twice",
                &json!({"profile": "p", "members": [{"cluster": "a"}, {"cluster": "a"}]}),
            ),
            "Duplicate value",
        ),
        (
            peering("nameless", &json!({"profile": "", "members": two})),
            "at least 1 chars",
        ),
        (
            peering(&"x".repeat(64), &json!({"profile": "p", "members": two})),
            "must not be longer than 63 characters",
        ),
        (
            peering(
                "shapeless",
                &json!({"profile": "p", "members": two, "topology": "Ring"}),
            ),
            "Unsupported value",
        ),
    ] {
        let message = refusal(&s, bad.clone())
            .await?
            .with_context(|| format!("accepted: {bad}"))?;
        ensure!(message.contains(says), "expected {says:?}, seen {message:?}");
    }
    Ok(())
}
