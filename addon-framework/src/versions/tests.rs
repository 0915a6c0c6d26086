//! The edge in front of a hub that serves one version.
use std::{convert::Infallible, sync::Mutex};

use peering_api::{
    kube::{
        Api, Client,
        api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    },
    ocm::{ManagedCluster, ManagedClusterAddOn},
};
use serde_json::json;
use tower::{ServiceBuilder, service_fn};

use super::*;

/// What a hub was asked: path and body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

fn older_addon() -> Value {
    json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOn",
        "metadata": {"name": "hello", "namespace": "c1"}, "spec": {"installNamespace": "ns"},
        "status": {"registrations": [{"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": "u"}}]}})
}

/// A client of a hub which serves this version of the addon kinds.
fn client(served: Arc<Mutex<&'static str>>, asked: &Asked) -> Client {
    let asked = asked.clone();
    let hub = service_fn(move |request: Request<Body>| {
        let (served, asked) = (*served.lock().unwrap(), asked.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            asked
                .lock()
                .unwrap()
                .push((parts.uri.to_string(), serde_json::from_slice(&body).unwrap_or_default()));
            let path = parts.uri.path();
            let (code, content, text) = if path.contains(GROUP) && !path.contains(served) {
                (404, "text/plain", "404 page not found\n".to_owned())
            } else if path.ends_with("/missing") {
                (
                    404,
                    "application/json",
                    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": ""}).to_string(),
                )
            } else if parts.uri.query().is_some_and(|query| query.contains("watch=true")) {
                (
                    200,
                    "application/json",
                    format!(
                        "{}\n{}\n",
                        json!({"type": "ADDED", "object": older_addon()}),
                        json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "message": "", "reason": "Expired"}})
                    ),
                )
            } else if path.ends_with("managedclusteraddons") {
                (200, "application/json", json!({"kind": "List", "apiVersion": "addon.open-cluster-management.io/v1alpha1", "metadata": {}, "items": [older_addon()]}).to_string())
            } else {
                (200, "application/json", older_addon().to_string())
            };
            let answer = Response::builder().status(code).header(CONTENT_TYPE, content);
            Ok::<_, Infallible>(answer.body(Body::from(text.into_bytes())).unwrap())
        }
    });
    Client::new(
        ServiceBuilder::new().layer(AddonVersions::default()).service(hub),
        "default",
    )
}

fn hub(served: &'static str) -> (Client, Asked, Arc<Mutex<&'static str>>) {
    let (asked, served) = (Asked::default(), Arc::new(Mutex::new(served)));
    (client(served.clone(), &asked), asked, served)
}

fn user(addon: &ManagedClusterAddOn) -> Option<String> {
    let registration = addon.status.as_ref()?.registrations.first()?;
    Some(registration.kube_client.as_ref()?.subject.as_ref()?.user.clone())
}

#[tokio::test]
async fn after_one_refusal_everything_is_converted() {
    let (client, asked, _) = hub(OLDER);
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(client, "c1");
    assert!(
        addons.list(&ListParams::default()).await.is_err(),
        "it has to be found out"
    );
    let listed = addons.list(&ListParams::default()).await.unwrap();
    assert_eq!(user(&listed.items[0]).as_deref(), Some("u"));
    assert_eq!(user(&addons.get("hello").await.unwrap()).as_deref(), Some("u"));
    let events = addons.watch(&WatchParams::default(), "1").await.unwrap();
    let events: Vec<_> = events.collect().await;
    assert!(matches!(&events[0], Ok(WatchEvent::Added(addon)) if user(addon).as_deref() == Some("u")));
    assert!(
        matches!(&events[1], Ok(WatchEvent::Error(status)) if status.code == 410),
        "{events:?}"
    );

    let body = json!({"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ManagedClusterAddOn", "metadata": {"name": "hello"},
        "status": {"registrations": [{"type": "kubeClient", "kubeClient": {"driver": "csr", "subject": {"user": "v"}}}]}});
    addons
        .patch_status("hello", &PatchParams::apply("m"), &Patch::Apply(body))
        .await
        .unwrap();
    let (path, body) = asked.lock().unwrap().last().cloned().unwrap();
    assert!(
        path.contains("/v1alpha1/namespaces/c1/managedclusteraddons/hello/status?"),
        "{path}"
    );
    let expected = json!({"apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOn", "metadata": {"name": "hello"},
        "status": {"registrations": [{"signerName": "kubernetes.io/kube-apiserver-client", "subject": {"user": "v"}}]}});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_missing_object_is_no_missing_version_and_the_hub_may_be_upgraded() {
    let (client, asked, served) = hub(NEWER);
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(client, "c1");
    assert!(addons.get_opt("missing").await.unwrap().is_none());
    addons.get("hello").await.unwrap();
    assert!(asked.lock().unwrap().iter().all(|(path, _)| path.contains(NEWER)));
    for version in [OLDER, NEWER] {
        *served.lock().unwrap() = version;
        assert!(addons.get("hello").await.is_err());
        addons.get("hello").await.unwrap();
        assert!(asked.lock().unwrap().last().unwrap().0.contains(version));
    }
}

#[tokio::test]
async fn other_kinds_pass_as_they_are() {
    let (client, asked, _) = hub(OLDER);
    let clusters: Api<ManagedCluster> = Api::all(client);
    clusters.get("c1").await.unwrap();
    assert!(
        asked.lock().unwrap()[0]
            .0
            .ends_with("/apis/cluster.open-cluster-management.io/v1/managedclusters/c1")
    );
}

#[tokio::test]
async fn events_come_in_pieces() {
    let text = format!(
        "{}\n{}",
        json!({"type": "ADDED", "object": older_addon()}),
        json!({"type": "ADDED", "object": older_addon()})
    );
    for size in [1, 7, 64, 10_000] {
        let pieces: Vec<Result<_, BoxError>> = text
            .as_bytes()
            .chunks(size)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let frames: Vec<_> = events(StreamBody::new(stream::iter(pieces)), "managedclusteraddons".to_owned())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(frames.len(), 2, "{size}");
        for frame in frames {
            let event: Value = serde_json::from_slice(&frame.into_data().unwrap()).unwrap();
            assert_eq!(
                event["object"]["apiVersion"],
                "addon.open-cluster-management.io/v1beta1"
            );
        }
    }
}

#[test]
fn paths_name_their_resource() {
    for (path, expected) in [
        (
            "/apis/addon.open-cluster-management.io/v1beta1/managedclusteraddons",
            Some("managedclusteraddons"),
        ),
        (
            "/k8s/apis/addon.open-cluster-management.io/v1beta1/namespaces/c1/managedclusteraddons/a/status",
            Some("managedclusteraddons"),
        ),
        (
            "/apis/addon.open-cluster-management.io/v1alpha1/managedclusteraddons",
            None,
        ),
        ("/apis/work.open-cluster-management.io/v1/manifestworks", None),
        ("/api/v1/namespaces/c1/configmaps/a", None),
    ] {
        assert_eq!(resource(path).as_deref(), expected, "{path}");
    }
}
