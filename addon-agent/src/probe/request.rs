//! One HTTP/1.1 request over a connection of its own. The answer's body is read to a limit and never shown.
use std::future::pending;

use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use peering_api::Sensitive;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    address::Url,
    connect::{Route, Settings, tls_error},
    failure::Failure,
};

/// How much of an answer is read: of its body, and (hyper reads a little more) of its head.
const LIMIT: usize = 64 * 1024;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The body; `None` if it is longer than the limit.
    pub body: Option<Vec<u8>>,
}

/// Builds a request with the headers that every probe sends.
pub fn build(
    method: Method,
    url: &Url,
    path: &str,
    token: Option<&Sensitive>,
    body: String,
) -> Result<Request<String>, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, url.host_header())
        .header(
            header::USER_AGENT,
            concat!("token-exchange-agent/", env!("CARGO_PKG_VERSION"), " probe"),
        )
        .header(header::ACCEPT, "*/*")
        .body(body)
        .map_err(|_| {
            let seen = format!(
                "expected a request for {}, saw one that HTTP does not allow",
                url.endpoint()
            );
            Failure::invalid(&seen, "check the endpoint and the path")
        })?;
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, bearer(token)?);
    }
    Ok(request)
}

fn bearer(token: &Sensitive) -> Result<HeaderValue, Failure> {
    let text = Sensitive::from([b"Bearer ", token.expose()].concat());
    match HeaderValue::from_bytes(text.expose()) {
        Ok(mut value) if !token.is_empty() => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => {
            let seen = "expected a bearer token that fits into a header, saw an empty one or one with other characters (a line break at its end?)";
            Err(Failure::invalid(seen, "check the source of the token"))
        }
    }
}

/// Sends a request over a new connection, with TLS where it is given.
pub async fn send(route: Route<'_>, tls: Option<&Settings>, request: Request<String>) -> Result<Answer, Failure> {
    let stream = route.tcp().await?;
    match tls {
        None => Box::pin(exchange(route, stream, request)).await,
        Some(tls) => {
            let stream = route.tls(stream, tls).await?.stream?;
            Box::pin(exchange(route, stream, request)).await
        }
    }
}

async fn exchange<S>(route: Route<'_>, stream: S, request: Request<String>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let expected = "an HTTP answer";
    let failed = |error: hyper::Error| failure(route, expected, &error);
    let handshake = http1::Builder::new()
        .max_buf_size(LIMIT)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(failed)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = read(response.into_body()).await.map_err(failed)?;
        Ok(Answer { status, body })
    };
    // The end of the connection says nothing that the request does not learn itself.
    let driver = async {
        let _ = connection.await;
        pending().await
    };
    let exchange = async {
        tokio::select! {
            answer = answer => answer,
            never = driver => never,
        }
    };
    route.limit(expected, exchange).await?
}

async fn read(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            if all.len() + data.len() > LIMIT {
                return Ok(None);
            }
            all.extend_from_slice(data);
        }
    }
    Ok(Some(all))
}

fn failure(route: Route<'_>, expected: &str, error: &hyper::Error) -> Failure {
    match tls_error(error) {
        Some(rustls::Error::AlertReceived(alert)) => route.alert(*alert, expected),
        _ if error.is_parse() => route.unhealthy(expected, "something that is not HTTP/1.1"),
        _ => route.unreachable(expected, "the connection ended before the answer did"),
    }
}
