//! Connecting within a deadline: TCP to a checked address, then TLS with a diagnosis when it fails.
use std::{error::Error, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    AlertDescription, ClientConfig,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ClientCertificate,
    address::{Endpoint, Loopback},
    chain::{self, Presented, Recorder, Roots, Seen},
    failure::{Failure, Reason, shown},
};

/// What to look at when nothing answers.
const SAY_NETWORK: &str = "check that the endpoint runs, and the route and firewalls between the two clusters";

/// No probe takes longer, whatever it is given.
const LONGEST: Duration = Duration::from_mins(10);

/// One end of a probe: where it goes and until when it may take.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    endpoint: &'a Endpoint,
    loopback: Loopback,
    timeout: Duration,
    deadline: Instant,
}

impl<'a> Route<'a> {
    /// The time starts now.
    pub fn new(endpoint: &'a Endpoint, loopback: Loopback, timeout: Duration) -> Self {
        let timeout = timeout.min(LONGEST);
        Self {
            endpoint,
            loopback,
            timeout,
            deadline: Instant::now() + timeout,
        }
    }

    /// Where it goes.
    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Waits for a step of the probe until the deadline.
    pub async fn limit<T>(&self, expected: &str, step: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout_at(self.deadline, step)
            .await
            .map_err(|_| self.late(expected, self.timeout))
    }

    fn late(&self, expected: &str, time: Duration) -> Failure {
        let seen = format!(
            "expected {expected} from {} within {time:?}, saw nothing",
            self.endpoint
        );
        Failure::new(Reason::Unreachable, &seen, SAY_NETWORK)
    }

    /// Something went wrong on the way; the cause is an operating system's or a library's text.
    pub fn unreachable(&self, expected: &str, cause: &str) -> Failure {
        let seen = format!("expected {expected} from {}, saw: {}", self.endpoint, shown(cause));
        Failure::new(Reason::Unreachable, &seen, SAY_NETWORK)
    }

    /// Something answers, but not with what was expected.
    pub fn unhealthy(&self, expected: &str, cause: &str) -> Failure {
        let seen = format!("expected {expected} from {}, saw: {}", self.endpoint, shown(cause));
        Failure::new(
            Reason::Unhealthy,
            &seen,
            "check the port, and what serves it on the other cluster",
        )
    }

    /// Opens a TCP connection to the first address that takes it.
    pub async fn tcp(&self) -> Result<TcpStream, Failure> {
        let resolving = self.endpoint.resolve(self.loopback);
        let addresses = self.limit("an address", resolving).await??;
        self.first(&addresses).await
    }

    /// The first address that takes a connection.
    pub async fn first(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let mut last = self.unreachable("an address", "the name has none");
        for (tried, address) in addresses.iter().enumerate() {
            match self.connect(*address, addresses.len() - tried).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Tries one address; those that follow must have their share of the time.
    async fn connect(&self, address: SocketAddr, left: usize) -> Result<TcpStream, Failure> {
        let share = self.deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        let expected = "a TCP connection";
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(expected, &error.to_string())),
            Err(_) => Err(self.late(expected, share)),
        }
    }

    /// Makes the TLS handshake over a connection.
    pub async fn tls(&self, stream: TcpStream, tls: &Settings) -> Result<Handshake, Failure> {
        let recorder = Recorder::new(&tls.roots);
        let connector = TlsConnector::from(Arc::new(tls.config(&recorder)?));
        // A handshake's state is large.
        let connecting = Box::pin(connector.connect(tls.name.clone(), stream));
        let result = self.limit("a TLS handshake", connecting).await?;
        let seen = recorder.seen();
        let stream = result.map_err(|error| self.refused(&error, tls, &seen));
        Ok(Handshake { stream, seen })
    }

    fn refused(&self, error: &io::Error, tls: &Settings, seen: &Seen) -> Failure {
        let expected = "a TLS handshake";
        match tls_error(error) {
            Some(rustls::Error::InvalidCertificate(error)) => {
                let presented = Presented {
                    endpoint: self.endpoint,
                    name: &tls.name,
                    chain: &seen.chain,
                    now: Timestamp::now(),
                };
                tls.roots.explain(&presented, error)
            }
            Some(rustls::Error::AlertReceived(alert)) => self.alert(*alert, expected),
            Some(error) => self.unhealthy(expected, &error.to_string()),
            None => self.unreachable(expected, &error.to_string()),
        }
    }

    /// What an alert of the server means.
    pub fn alert(&self, alert: AlertDescription, expected: &str) -> Failure {
        use AlertDescription as Alert;
        let seen = format!(
            "expected {expected} from {}, saw the TLS alert {alert:?}",
            self.endpoint
        );
        match alert {
            Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => {
                let next = "the endpoint wants another client certificate: renew the credential at its source";
                Failure::new(Reason::Unauthorized, &seen, next)
            }
            Alert::UnrecognisedName => {
                let next = "nothing is served there for this name: check the server name of the probe";
                Failure::new(Reason::NameMismatch, &seen, next)
            }
            _ => Failure::new(
                Reason::Unhealthy,
                &seen,
                "check what serves this port on the other cluster",
            ),
        }
    }
}

/// How to speak TLS: expected name, roots, and who we are.
#[derive(Debug)]
pub struct Settings {
    name: ServerName<'static>,
    roots: Roots,
    identity: Option<Identity>,
}

impl Settings {
    /// `name` is the name that the certificate must have, where it is not the endpoint's host.
    pub fn new(
        endpoint: &Endpoint,
        name: Option<&str>,
        roots: Roots,
        identity: Option<Identity>,
    ) -> Result<Self, Failure> {
        let name = ServerName::try_from(name.unwrap_or(endpoint.host()).to_owned()).map_err(|_| {
            let seen = format!("expected a DNS name or an IP address as the server name for {endpoint}, saw neither");
            Failure::invalid(&seen, "correct the server name or the endpoint")
        })?;
        Ok(Self { name, roots, identity })
    }

    /// A configuration for one connection, so nothing is resumed from an earlier one.
    fn config(&self, recorder: &Arc<Recorder>) -> Result<ClientConfig, Failure> {
        let builder = ClientConfig::builder_with_provider(chain::provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| Failure::invalid("expected a TLS version to use, saw none", "this is a bug"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Recorder>::clone(recorder));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|_| unusable_identity())?,
        };
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// A client certificate and its key, as TLS wants them. `Debug` shows neither.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM.
    pub fn read(pem: &ClientCertificate) -> Result<Self, Failure> {
        let chain = CertificateDer::pem_slice_iter(pem.certificate.expose()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(pem.key.expose());
        match (chain, key) {
            (Ok(chain), Ok(key)) if !chain.is_empty() => Ok(Self { chain, key }),
            _ => Err(unusable_identity()),
        }
    }

    /// The certificate, for a message.
    pub fn certificate(&self) -> Option<chain::Certificate> {
        self.chain.first().and_then(|der| chain::Certificate::read(der))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

fn unusable_identity() -> Failure {
    let seen = "expected a client certificate and its private key in PEM, saw something else in the delivered content";
    Failure::invalid(seen, "check the source of the credential")
}

/// How a TLS handshake ended.
#[derive(Debug)]
pub struct Handshake {
    /// The connection, or why there is none.
    pub stream: Result<TlsStream<TcpStream>, Failure>,
    /// What the server presented.
    pub seen: Seen,
}

/// The rustls error inside an error, where there is one.
pub fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An io::Error steps over what it wraps when asked for its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| inner.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
