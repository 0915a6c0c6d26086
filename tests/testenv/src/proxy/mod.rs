//! A proxy between one component and one API server, which makes things go wrong at the n-th write or watch event.
//!
//! The component notices nothing of it: the proxy has a serving certificate of the cluster's own CA, and a node leads the
//! component's process to it ([`Proxy::before`]). Bearer tokens pass through. A client certificate ends at the proxy: it is
//! verified here, and the request goes on as the administrator's with `Impersonate-User` and `Impersonate-Group`. That
//! needs nothing of the API server, unlike the request headers of a front proxy, and its authorisation sees the same user
//! and groups. (What an API server would add by itself, the extra field with the certificate's fingerprint, is not there.)
//!
//! Watches pass line by line, everything else unchanged. Of a write only method and path are kept, never what it holds.

mod events;
mod rules;
mod user;

use std::{convert::Infallible, sync::Arc};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub use self::rules::{Armed, Effect, Fault};
use self::{rules::Rules, user::User};
use crate::{cluster::Cluster, node::Node, pki::KeyAndCert, ports};

type Body = UnsyncBoxBody<Bytes, anyhow::Error>;
type Upstream = Client<HttpsConnector<HttpConnector>, Incoming>;

/// A proxy. It lives as long as this process, as the routes that lead to it do.
#[derive(Clone, Debug)]
pub struct Proxy {
    url: String,
    rules: Arc<Rules>,
}

impl Proxy {
    /// A proxy in front of an API server. `kill` is called where [`Effect::KillAfter`] wants the client dead.
    pub async fn start(server: &Cluster, kill: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let runtime = crate::runtime::handle()?;
        let port = ports::take()?;
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let acceptor = TlsAcceptor::from(Arc::new(serving(server)?));
        let rules = Arc::new(Rules::default());
        let admin = server.pki().client("admin", Some("system:masters"))?;
        let relay = Arc::new(Relay {
            server: server.url(),
            plain: upstream(server, None)?,
            admin: upstream(server, Some(&admin))?,
            rules: rules.clone(),
            kill: Box::new(kill),
        });
        // The listener is registered with the runtime it is made on, which may be a test's: make it this one's.
        let listener = listener.into_std()?;
        runtime.spawn(async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => accept(listener, acceptor, relay).await,
                Err(error) => tracing::error!(%error, "the proxy cannot listen"),
            }
        });
        Ok(Self {
            url: format!("https://127.0.0.1:{port}"),
            rules,
        })
    }

    /// A proxy in front of an API server for the process of a Deployment. It counts for pods that start from now on.
    pub async fn before(server: &Cluster, node: &Node, namespace: &str, deployment: &str) -> Result<Self> {
        let (victim, at) = (node.clone(), (namespace.to_owned(), deployment.to_owned()));
        let kill = move || {
            if let Some(process) = victim.process(&at.0, &at.1) {
                process.kill();
            }
        };
        let proxy = Self::start(server, kill).await?;
        node.route(namespace, deployment, &server.url(), proxy.url());
        Ok(proxy)
    }

    /// The address for the component.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets something go wrong. It can be done while the component runs.
    #[must_use]
    pub fn arm(&self, fault: Fault) -> Armed {
        self.rules.arm(fault)
    }

    /// Method and path of every write that came so far, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.rules.writes()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, relay: Arc<Relay>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (acceptor, relay) = (acceptor.clone(), relay.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, acceptor, relay).await {
                        tracing::debug!(%error, "a connection through the proxy has ended");
                    }
                });
            }
            Err(error) => tracing::debug!(%error, "the proxy cannot accept"),
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, relay: Arc<Relay>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let user = certificate.map(User::of).transpose()?.map(Arc::new);
    let service = service_fn(move |request| {
        let (relay, user) = (relay.clone(), user.clone());
        async move { relay.answer(user.as_deref(), request).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    connection.await.map_err(anyhow::Error::from)
}

/// What stands between the connections and the API server.
struct Relay {
    server: String,
    /// For who has a token of its own, or nothing.
    plain: Upstream,
    /// For who is impersonated.
    admin: Upstream,
    rules: Arc<Rules>,
    kill: Box<dyn Fn() + Send + Sync>,
}

impl Relay {
    /// Answers a request. An error breaks the client's connection.
    async fn answer(&self, user: Option<&User>, request: Request<Incoming>) -> Result<Response<Body>> {
        let path = request.uri().path().to_owned();
        let watch = is_watch(request.uri());
        let effect = self.rules.on_request(request.method(), &path);
        if let Some(Effect::Answer(code)) = effect {
            return refusal(code);
        }
        // An API server that is not there is a broken connection to the client.
        let response = self.forward(user, request).await?;
        match effect {
            Some(Effect::KillAfter) => {
                (self.kill)();
                // The connection ends with the client.
                std::future::pending::<Infallible>().await;
            }
            Some(Effect::DropResponse) => bail!("the proxy drops this answer"),
            _ => {}
        }
        let (mut head, body) = response.into_parts();
        head.headers.remove(header::CONNECTION);
        head.headers.remove(header::TRANSFER_ENCODING);
        let body = if watch && head.status.is_success() {
            StreamBody::new(events::follow(body, path, self.rules.clone())).boxed_unsync()
        } else {
            body.map_err(anyhow::Error::from).boxed_unsync()
        };
        Ok(Response::from_parts(head, body))
    }

    async fn forward(&self, user: Option<&User>, request: Request<Incoming>) -> Result<Response<Incoming>> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        head.uri = format!("{}{target}", self.server).parse()?;
        clean(&mut head.headers);
        let upstream = match user {
            Some(user) => {
                user.impersonate(&mut head.headers)?;
                &self.admin
            }
            None => &self.plain,
        };
        Ok(upstream.request(Request::from_parts(head, body)).await?)
    }
}

/// Takes out what belongs to the connection, and what only the proxy may say.
fn clean(headers: &mut HeaderMap) {
    headers.remove(header::HOST);
    headers.remove(header::CONNECTION);
    let impersonation: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-"))
        .cloned()
        .collect();
    for name in impersonation {
        headers.remove(name);
    }
}

fn is_watch(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|part| part == "watch=true" || part == "watch=1")
}

/// An error as the API server words it.
fn refusal(code: u16) -> Result<Response<Body>> {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "Unknown",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused by the test's proxy", "reason": reason, "code": code,
    });
    let mut response = Response::builder()
        .status(StatusCode::from_u16(code)?)
        .header(header::CONTENT_TYPE, "application/json");
    if code == 429 {
        response = response.header(header::RETRY_AFTER, "1");
    }
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never: Infallible| match never {});
    Ok(response.body(body.boxed_unsync())?)
}

/// Serves as the API server does: with its certificate, and asking for a client certificate that its CA has signed.
fn serving(server: &Cluster) -> Result<ServerConfig> {
    let read = |file: &str| std::fs::read(server.pki().path(file)).with_context(|| file.to_owned());
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(server)?)).allow_unauthenticated();
    let chain = CertificateDer::pem_slice_iter(&read("tls.crt")?).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&read("tls.key")?)?;
    Ok(ServerConfig::builder()
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain, key)?)
}

fn upstream(server: &Cluster, user: Option<&KeyAndCert>) -> Result<Upstream> {
    let config = ClientConfig::builder().with_root_certificates(roots(server)?);
    let config = match user {
        Some(user) => config.with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(user.cert.as_bytes())?],
            PrivateKeyDer::from_pem_slice(user.key.as_bytes())?,
        )?,
        None => config.with_no_client_auth(),
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

fn roots(server: &Cluster) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(server.pki().ca_pem().as_bytes())?)
        .map_err(|error| anyhow!("the CA of {}: {error}", server.name()))?;
    Ok(roots)
}
