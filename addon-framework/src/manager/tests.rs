//! What a manager does without an API server.
use std::convert::Infallible;

use http::{Request, Response};
use peering_api::kube::{Client, client::Body, core::DynamicObject};
use serde_json::json;

use super::*;
use crate::runtime::FailureKind;

struct Named(&'static str);

impl Addon for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn manifests(&self, _: &crate::Site<'_>) -> Result<Vec<DynamicObject>, AddonError> {
        Ok(vec![])
    }
}

/// Clients of an API server which knows no kind of OCM.
fn clients() -> Clients {
    let service = tower::service_fn(|_: Request<Body>| async {
        let body =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
        Ok::<_, Infallible>(
            Response::builder()
                .status(404)
                .body(Body::from(body.to_string().into_bytes()))
                .unwrap(),
        )
    });
    let client = Client::new(service, "default");
    Clients {
        watch: client.clone(),
        request: client,
    }
}

#[test]
fn addons_need_names_of_their_own() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let twice = Manager::builder(clients())
        .addon(Arc::new(Named("a")))
        .addon(Arc::new(Named("a")))
        .build();
    assert_eq!(
        twice.unwrap_err().to_string(),
        "there are two addons named a; give each its own name"
    );
    assert!(matches!(Manager::builder(clients()).build(), Err(BuildError::Empty)));
    assert!(
        Manager::builder(clients())
            .addon(Arc::new(Named("a")))
            .addon(Arc::new(Named("b")))
            .build()
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn missing_kinds_are_waited_for_and_told() {
    let manager = Manager::builder(clients()).addon(Arc::new(Named("a"))).build().unwrap();
    assert!(manager.watches().is_empty());
    let token = CancellationToken::new();
    let running = tokio::spawn({
        let (manager, token) = (manager.clone(), token.clone());
        async move { manager.run(token).await }
    });
    tokio::time::sleep(Duration::from_mins(10)).await;
    let states = manager.watches();
    assert_eq!(states.len(), 6);
    for (name, state) in states {
        assert!(
            matches!(&state, WatchState::Failing(failure) if failure.kind == FailureKind::Missing),
            "{name}: {state:?}"
        );
    }
    assert!(!running.is_finished());
    token.cancel();
    running.await.unwrap();
}

#[test]
fn only_lasting_errors_are_told() {
    let refused = |code: u16| {
        let status = serde_json::from_value(json!({"code": code, "message": "m"})).unwrap();
        Error::request("do it")(kube::Error::Api(Box::new(status)))
    };
    for (code, lasts) in [
        (400, true),
        (403, true),
        (404, true),
        (409, false),
        (422, false),
        (429, false),
        (500, true),
        (503, false),
    ] {
        assert_eq!(refused(code).lasts(), lasts, "{code}");
    }
    let invalid = json!({"code": 422, "message": "m", "details": {"causes": [{"field": "spec", "message": "m", "reason": "FieldValueInvalid"}]}});
    let invalid = serde_json::from_value(invalid).unwrap();
    assert!(Error::request("do it")(kube::Error::Api(Box::new(invalid))).lasts());
    assert!(!Error::request("do it")(kube::Error::TlsRequired).lasts());
    assert!(Error::from(AddonError::Failed("x".into())).lasts());
}
