//! Counts the writes of a client, where all of them pass: no controller has to remember to count its own.
use std::{
    fmt,
    task::{Context, Poll},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, header::CONTENT_TYPE};
use tower::Service;

use super::metrics::{Metrics, Write, metrics};

/// A client's service that counts its writes.
#[derive(Clone)]
pub(super) struct Counted<S> {
    service: S,
    metrics: &'static Metrics,
}

impl<S> Counted<S> {
    pub(super) fn new(service: S) -> Self {
        Self {
            service,
            metrics: metrics(),
        }
    }
}

impl<S> fmt::Debug for Counted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let write = verb(&request).and_then(|verb| Some((verb, resource(request.uri().path())?)));
        let answer = self.service.call(request);
        let Some((verb, resource)) = write else {
            return answer.boxed();
        };
        let metrics = self.metrics;
        let counted = answer.inspect(move |answer| {
            let code = match answer {
                Ok(answer) => answer.status().as_str().to_owned(),
                Err(_) => "none".to_owned(),
            };
            metrics.wrote(&Write { resource, verb, code });
        });
        counted.boxed()
    }
}

/// What a request does, as roles name it; `None` for one that only reads.
fn verb<A>(request: &Request<A>) -> Option<&'static str> {
    let content = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match *request.method() {
        Method::POST => Some("create"),
        Method::PUT => Some("update"),
        Method::PATCH if content.is_some_and(|content| content.starts_with("application/apply-patch")) => Some("apply"),
        Method::PATCH => Some("patch"),
        Method::DELETE => Some("delete"),
        _ => None,
    }
}

/// Which resource a path names, with its subresource. Names and namespaces are left out: there is no end of them.
fn resource(path: &str) -> Option<String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    // An API server behind a proxy has a path of its own in front.
    let skip = match parts.find(|part| matches!(*part, "api" | "apis"))? {
        "apis" => 2,
        _ => 1,
    };
    let parts: Vec<_> = parts.skip(skip).collect();
    let parts = match parts.as_slice() {
        // A namespace is itself a resource, with these subresources.
        ["namespaces", _, "status" | "finalize"] => parts.as_slice(),
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    match parts {
        [resource] | [resource, _] => Some((*resource).to_owned()),
        [resource, _, subresource, ..] => Some(format!("{resource}/{subresource}")),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use prometheus_client::{encoding::text::encode, registry::Registry};
    use tower::service_fn;

    use super::*;

    fn request(method: Method, path: &str, content: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(path);
        request.header(CONTENT_TYPE, content).body(()).unwrap()
    }

    #[test]
    fn a_path_names_its_resource() {
        for (path, expected) in [
            ("/api/v1/namespaces/a/secrets", Some("secrets")),
            ("/api/v1/namespaces/a/secrets/b", Some("secrets")),
            (
                "/apis/peering.open-cluster-management.io/v1alpha1/namespaces/a/peerlinks/b/status",
                Some("peerlinks/status"),
            ),
            (
                "/apis/peering.open-cluster-management.io/v1alpha1/peerings/a",
                Some("peerings"),
            ),
            (
                "/apis/peering.open-cluster-management.io/v1alpha1/peerings/a/status",
                Some("peerings/status"),
            ),
            ("/api/v1/namespaces/a", Some("namespaces")),
            ("/api/v1/namespaces/a/finalize", Some("namespaces/finalize")),
            (
                "/k8s/clusters/c/api/v1/namespaces/a/serviceaccounts/b/token",
                Some("serviceaccounts/token"),
            ),
            ("/version", None),
        ] {
            assert_eq!(resource(path).as_deref(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn writes_are_counted_by_verb_and_answer_and_reads_are_not() {
        let metrics: &'static Metrics = Box::leak(Box::default());
        let service = service_fn(|request: Request<()>| async move {
            let conflict = request.method() == Method::DELETE;
            let status = if conflict { 409 } else { 200 };
            Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
        });
        let mut counted = Counted { service, metrics };
        for (method, content) in [
            (Method::GET, ""),
            (Method::POST, "application/json"),
            (Method::PATCH, "application/apply-patch+yaml"),
            (Method::PATCH, "application/json-patch+json"),
            (Method::DELETE, ""),
            (Method::DELETE, ""),
        ] {
            let request = request(method, "/api/v1/namespaces/a/secrets/b", content);
            counted.call(request).await.unwrap();
        }
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with("writes_total")).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "writes_total{resource=\"secrets\",verb=\"apply\",code=\"200\"} 1",
                "writes_total{resource=\"secrets\",verb=\"create\",code=\"200\"} 1",
                "writes_total{resource=\"secrets\",verb=\"delete\",code=\"409\"} 2",
                "writes_total{resource=\"secrets\",verb=\"patch\",code=\"200\"} 1",
            ]
        );
    }
}
