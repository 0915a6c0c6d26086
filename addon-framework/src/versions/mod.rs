//! Hubs which serve the addon kinds in v1alpha1 only (OCM before 1.2): the rest of the program speaks v1beta1, and a client's
//! service converts at the edge.
//!
//! Which version a hub serves shows by itself: a request for one that it does not serve is answered with a plain 404, other
//! than one for an object that does not exist. The next request is then made in the other version, so the clients follow a
//! hub through upgrades, and no request is spent on discovery.
mod convert;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Body as HttpBody, Frame};
use peering_api::{kube::client::Body, ocm::addon::GROUP};
use serde_json::Value;
use tower::{BoxError, Layer, Service};
use tracing::info;

pub(crate) use self::convert::SERVED_ANNOTATION;
use self::convert::{NEWER, OLDER, down, up};

/// Makes the services of all clients of a hub speak the version of the addon kinds which that hub serves.
#[derive(Clone, Debug, Default)]
pub struct AddonVersions {
    /// Whether v1beta1 was not there when it was last asked for.
    older: Arc<AtomicBool>,
}

impl<S> Layer<S> for AddonVersions {
    type Service = Edge<S>;

    fn layer(&self, service: S) -> Edge<S> {
        Edge {
            service,
            older: self.older.clone(),
        }
    }
}

/// A client's service that converts the addon kinds if it has to.
#[derive(Clone)]
pub struct Edge<S> {
    service: S,
    older: Arc<AtomicBool>,
}

impl<S> fmt::Debug for Edge<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("older", &self.older)
            .finish_non_exhaustive()
    }
}

/// The body of an answer, converted or not.
pub type Answer = UnsyncBoxBody<Bytes, BoxError>;

impl<S, B> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(resource) = resource(request.uri().path()) else {
            let answer = self.service.call(request);
            return async move { Ok(answer.await.map_err(Into::into)?.map(boxed)) }.boxed();
        };
        let (asked, older) = (self.older.load(Relaxed), self.older.clone());
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let request = if asked {
            older_request(request, &resource)
        } else {
            Ok(request)
        };
        let answer = match request {
            Ok(request) => self.service.call(request),
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        async move {
            let answer = answer.await.map_err(Into::into)?;
            if is_unserved(&answer) {
                // Another request may have found out before.
                if older.compare_exchange(asked, !asked, Relaxed, Relaxed).is_ok() {
                    let version = if asked { NEWER } else { OLDER };
                    info!(
                        version,
                        "the hub does not serve this version of {GROUP}, trying {version}"
                    );
                }
            } else if asked {
                return newer_answer(answer, resource, watches).await;
            }
            Ok(answer.map(boxed))
        }
        .boxed()
    }
}

fn boxed<B>(body: B) -> Answer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The resource of a path to the addon kinds in the version that the framework speaks.
fn resource(path: &str) -> Option<String> {
    let (_, rest) = path.split_once(&format!("/apis/{GROUP}/{NEWER}/"))?;
    let mut parts = rest.split('/');
    let first = parts.next()?;
    let resource = if first == "namespaces" { parts.nth(1)? } else { first };
    Some(resource.to_owned())
}

/// An API server answers in JSON about what it serves, and in plain text about what it does not.
fn is_unserved<B>(answer: &Response<B>) -> bool {
    let content = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    answer.status() == StatusCode::NOT_FOUND && !content.is_some_and(|content| content.contains("json"))
}

/// The request as a hub understands it that serves the older version.
fn older_request(request: Request<Body>, resource: &str) -> Result<Request<Body>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let path = parts
        .uri
        .to_string()
        .replacen(&format!("/{GROUP}/{NEWER}/"), &format!("/{GROUP}/{OLDER}/"), 1);
    parts.uri = path.parse::<Uri>()?;
    // kube makes every request with its whole body at once.
    let body = body
        .collect_bytes()
        .now_or_never()
        .ok_or("a request body is not there as a whole")??;
    let Ok(mut value) = serde_json::from_slice::<Value>(&body) else {
        return Ok(Request::from_parts(parts, Body::from(body)));
    };
    down(resource, &mut value);
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Request::from_parts(parts, Body::from(serde_json::to_vec(&value)?)))
}

/// The answer of such a hub as the framework understands it.
async fn newer_answer<B>(answer: Response<B>, resource: String, watches: bool) -> Result<Response<Answer>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    if watches && parts.status.is_success() {
        return Ok(Response::from_parts(
            parts,
            boxed(StreamBody::new(events(body, resource))),
        ));
    }
    let bytes = body.collect().await.map_err(Into::into)?.to_bytes();
    let bytes = match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut value) => {
            up(&resource, &mut value);
            serde_json::to_vec(&value)?.into()
        }
        Err(_) => bytes,
    };
    Ok(Response::from_parts(parts, boxed(Full::new(bytes))))
}

/// The events of a watch, one line each, however the lines come in pieces.
fn events<B>(body: B, resource: String) -> impl stream::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let pieces = body
        .into_data_stream()
        .map_err(Into::into)
        .map(Some)
        .chain(stream::iter([None]))
        .boxed();
    let state = (pieces, BytesMut::new(), resource);
    let lines = stream::try_unfold(state, |(mut pieces, mut rest, resource)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                return Ok(Some((event(&line, &resource), (pieces, rest, resource))));
            }
            match pieces.next().await {
                Some(Some(piece)) => rest.extend_from_slice(&piece?),
                Some(None) if !rest.is_empty() => {
                    let line = rest.split();
                    return Ok(Some((event(&line, &resource), (pieces, rest, resource))));
                }
                Some(None) | None => return Ok::<_, BoxError>(None),
            }
        }
    });
    lines.map_ok(Frame::data)
}

fn event(line: &[u8], resource: &str) -> Bytes {
    let Ok(mut event) = serde_json::from_slice::<Value>(line) else {
        return Bytes::copy_from_slice(line);
    };
    if let Some(object) = event.get_mut("object") {
        up(resource, object);
    }
    Bytes::from(format!("{event}\n"))
}

#[cfg(test)]
mod tests;
