//! A TLS server whose certificate chain changes while it runs, and a client that keeps connecting with the roots that it
//! reads anew each time: what a CA rollover looks like to the consumers of a delivered bundle.
//!
//! ```text
//! let server = TlsServer::start(&old).await?;
//! let client = TlsClient::start(server.address(), move || bundle(config_maps.clone()));
//! client.until(|tally| tally.served_by(&old) >= 10).await?;
//! // Both CAs are at the source and have been delivered …
//! server.switch_to(&new)?;
//! let tally = client.until(|tally| tally.served_by(&new) >= 10).await?;
//! assert_eq!(tally.failures, []);
//! ```
use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the server says to each client, so that a connection counts only if both sides took it.
const GREETING: &[u8] = b"hello";
/// Between two attempts of the client; a control plane on the same machine needs the processor too.
const PACE: Duration = Duration::from_millis(10);
/// After this an attempt has failed. Long: a busy machine is no broken chain.
const ATTEMPT: Duration = Duration::from_secs(20);
/// How long [`TlsClient::until`] waits.
const PATIENCE: Duration = Duration::from_mins(5);
/// How many failures are kept with their text.
const KEPT: usize = 20;

/// A CA.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// A new CA; a new one of the same name has another key, as after a rotation.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its certificate, as it stands in a bundle.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A new server certificate for 127.0.0.1, with the CA's own behind it.
    fn issue(&self) -> Result<Arc<CertifiedKey>> {
        let mut params = params("server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        let key = KeyPair::generate()?;
        let chain = vec![params.signed_by(&key, &self.0)?.der().clone(), self.0.der().clone()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &provider())?))
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What the server presents now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A TLS server on 127.0.0.1, until it is dropped.
pub struct TlsServer {
    address: SocketAddr,
    current: Arc<Current>,
    task: JoinHandle<()>,
}

impl TlsServer {
    /// Starts with a certificate of a CA.
    pub async fn start(ca: &Ca) -> Result<Self> {
        Self::serving(ca, greet).await
    }

    /// Starts one that ends TLS in front of a server without it, as `OpenShift`'s router does for a Route.
    pub async fn in_front_of(ca: &Ca, server: SocketAddr) -> Result<Self> {
        Self::serving(ca, move |acceptor, stream| forward(acceptor, stream, server)).await
    }

    /// Starts one whose connections are answered by `answer`.
    pub async fn serving<F, Fut>(ca: &Ca, answer: F) -> Result<Self>
    where
        F: Fn(TlsAcceptor, TcpStream) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let current = Arc::new(Current(RwLock::new(ca.issue()?)));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        // A resumed session would not show the new chain.
        config.send_tls13_tickets = 0;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(acceptor.clone(), stream));
            }
        });
        Ok(Self { address, current, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the next handshake on, a new certificate of this CA is presented.
    pub fn switch_to(&self, ca: &Ca) -> Result<()> {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = ca.issue()?;
        Ok(())
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection. What goes wrong with it is seen, and counted, by the client.
async fn greet(acceptor: TlsAcceptor, stream: TcpStream) {
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let _ = stream.write_all(GREETING).await;
        let _ = stream.shutdown().await;
    }
}

/// One connection to a server behind. It ends when either side ends it.
async fn forward(acceptor: TlsAcceptor, stream: TcpStream, server: SocketAddr) {
    if let Ok(mut stream) = acceptor.accept(stream).await
        && let Ok(mut behind) = TcpStream::connect(server).await
    {
        let _ = copy_bidirectional(&mut stream, &mut behind).await;
    }
}

/// What a client has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The first failed connections, with their texts.
    pub failures: Vec<String>,
    /// How many connections failed.
    pub failed: usize,
    /// How many times there were no roots to connect with; no connection was tried then.
    pub unread: usize,
    /// Connections by the DER form of the CA certificate that was presented.
    served: BTreeMap<Vec<u8>, usize>,
}

impl Tally {
    /// How many connections succeeded.
    #[must_use]
    pub fn succeeded(&self) -> usize {
        self.served.values().sum()
    }

    /// How many connections succeeded with a certificate of this CA.
    #[must_use]
    pub fn served_by(&self, ca: &Ca) -> usize {
        self.served.get(ca.0.der().as_ref()).copied().unwrap_or(0)
    }

    fn count(&mut self, attempt: Result<Vec<u8>>) {
        match attempt {
            Ok(ca) => *self.served.entry(ca).or_default() += 1,
            Err(error) => {
                self.failed += 1;
                if self.failures.len() < KEPT {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let succeeded = self.succeeded();
        write!(
            f,
            "{succeeded} connections with {} CAs, {} failed, {} times no roots",
            self.served.len(),
            self.failed,
            self.unread
        )?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// A client that connects again and again, until it is dropped.
pub struct TlsClient {
    tally: watch::Receiver<Tally>,
    task: JoinHandle<()>,
}

impl TlsClient {
    /// Starts. `roots` gives the PEM bundle to trust, and is asked before each connection.
    pub fn start<F, R>(address: SocketAddr, roots: F) -> Self
    where
        F: Fn() -> R + Send + 'static,
        R: Future<Output = Result<String>> + Send,
    {
        let (sender, tally) = watch::channel(Tally::default());
        let task = tokio::spawn(async move {
            let mut pace = interval(PACE);
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                match roots().await {
                    Ok(pem) => {
                        let attempt = attempt(address, &pem).await;
                        sender.send_modify(|tally| tally.count(attempt));
                    }
                    Err(_) => sender.send_modify(|tally| tally.unread += 1),
                }
            }
        });
        Self { tally, task }
    }

    /// What it has seen so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Waits until it has seen enough.
    pub async fn until(&self, enough: impl FnMut(&Tally) -> bool) -> Result<Tally> {
        let mut tally = self.tally.clone();
        let seen = timeout(PATIENCE, tally.wait_for(enough)).await;
        match seen {
            Ok(Ok(tally)) => Ok(tally.clone()),
            Ok(Err(_)) => Err(anyhow!("the TLS client has stopped: {}", self.tally())),
            Err(_) => Err(anyhow!("waited for the TLS client in vain: {}", self.tally())),
        }
    }

    /// Waits for a number of attempts that began after now, so with roots that were read after now.
    pub async fn attempts(&self, number: usize) -> Result<Tally> {
        let made = |tally: &Tally| tally.succeeded() + tally.failed + tally.unread;
        // One may be under way with roots that were read before.
        let goal = made(&self.tally()) + 1 + number;
        self.until(|tally| made(tally) >= goal).await
    }
}

impl Drop for TlsClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects once; gives the CA certificate that was presented.
async fn attempt(address: SocketAddr, pem: &str) -> Result<Vec<u8>> {
    timeout(ATTEMPT, connect(address, pem))
        .await
        .context("no greeting in time")?
}

async fn connect(address: SocketAddr, pem: &str) -> Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(der.context("a certificate of the bundle")?)?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let mut greeting = Vec::new();
    stream.read_to_end(&mut greeting).await?;
    anyhow::ensure!(greeting == GREETING, "the server did not take the connection");
    let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::last);
    Ok(presented.context("no certificate")?.to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A bundle that can be changed, as a `ConfigMap` on a cluster.
    #[derive(Clone, Default)]
    struct Bundle(Arc<Mutex<Option<String>>>);

    impl Bundle {
        fn write(&self, cas: &[&Ca]) {
            *self.0.lock().unwrap() = Some(cas.iter().map(|ca| ca.pem()).collect());
        }

        fn client(&self, server: &TlsServer) -> TlsClient {
            let bundle = self.clone();
            TlsClient::start(server.address(), move || {
                let read = bundle.0.lock().unwrap().clone();
                async move { read.context("no such ConfigMap") }
            })
        }
    }

    #[tokio::test]
    async fn a_rollover_with_overlap_fails_no_connection() {
        let (old, new) = (Ca::new("ca").unwrap(), Ca::new("ca").unwrap());
        let server = TlsServer::start(&old).await.unwrap();
        let bundle = Bundle::default();
        bundle.write(&[&old]);
        let client = bundle.client(&server);
        client.until(|tally| tally.served_by(&old) >= 3).await.unwrap();
        bundle.write(&[&old, &new]);
        client.attempts(1).await.unwrap();
        server.switch_to(&new).unwrap();
        client.until(|tally| tally.served_by(&new) >= 3).await.unwrap();
        bundle.write(&[&new]);
        let tally = client.attempts(3).await.unwrap();
        assert_eq!((tally.failed, tally.unread), (0, 0), "{tally}");
        assert!(tally.served_by(&old) >= 3 && tally.served_by(&new) >= 6, "{tally}");
        assert_eq!(tally.succeeded(), tally.served_by(&old) + tally.served_by(&new));
    }

    #[tokio::test]
    async fn a_rollover_without_overlap_is_seen() {
        let (old, new) = (Ca::new("ca").unwrap(), Ca::new("ca").unwrap());
        let server = TlsServer::start(&old).await.unwrap();
        let bundle = Bundle::default();
        bundle.write(&[&old]);
        let client = bundle.client(&server);
        client.until(|tally| tally.succeeded() >= 1).await.unwrap();
        server.switch_to(&new).unwrap();
        let tally = client.until(|tally| tally.failed >= 1).await.unwrap();
        assert!(tally.failures[0].contains("certificate"), "{tally}");
        assert_eq!(tally.served_by(&new), 0, "{tally}");
        bundle.write(&[&new]);
        client.until(|tally| tally.served_by(&new) >= 1).await.unwrap();
    }

    #[tokio::test]
    async fn without_roots_nothing_is_tried() {
        let ca = Ca::new("ca").unwrap();
        let server = TlsServer::start(&ca).await.unwrap();
        let bundle = Bundle::default();
        let client = bundle.client(&server);
        let tally = client.until(|tally| tally.unread >= 2).await.unwrap();
        assert_eq!((tally.succeeded(), tally.failed), (0, 0), "{tally}");
        bundle.write(&[]);
        client.until(|tally| tally.failed >= 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_a_failure() {
        let ca = Ca::new("ca").unwrap();
        let server = TlsServer::start(&ca).await.unwrap();
        let bundle = Bundle::default();
        bundle.write(&[&ca]);
        let client = bundle.client(&server);
        client.until(|tally| tally.succeeded() >= 1).await.unwrap();
        drop(server);
        let tally = client.until(|tally| tally.failed > KEPT).await.unwrap();
        assert_eq!(tally.failures.len(), KEPT, "{tally}");
    }
}
