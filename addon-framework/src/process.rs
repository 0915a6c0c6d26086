//! What every binary of an addon needs around its controllers: logs, signals, and an endpoint for probes and metrics.
use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is not a log format: use text or json")),
        }
    }
}

/// Starts logging to standard error. `RUST_LOG` selects what is logged (default `info`).
///
/// kube's own logs are left out whatever `RUST_LOG` says: its client quotes whole answers of the API server when it cannot
/// read them, and those may be Secrets; what its watchers say is said better by [`crate::runtime::watch()`].
pub fn log(format: LogFormat) {
    let selected = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let without_kube = filter_fn(|metadata| may_be_logged(metadata.target()));
    let lines = fmt::layer().with_writer(io::stderr);
    // A second initialisation (two managers in one test process) changes nothing.
    let _ = match format {
        LogFormat::Text => registry()
            .with(lines.with_filter(without_kube).with_filter(selected))
            .try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            registry()
                .with(lines.with_filter(without_kube).with_filter(selected))
                .try_init()
        }
    };
}

fn may_be_logged(target: &str) -> bool {
    !["kube_client", "kube_runtime"]
        .iter()
        .any(|kube| target == *kube || target.starts_with(&format!("{kube}::")))
}

/// Cancels the token on SIGTERM or SIGINT.
pub fn stop_on_signals(token: &CancellationToken) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
    });
    Ok(())
}

/// Tells what keeps the process from being ready; nothing: it is.
pub type Readiness = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the endpoint shows.
#[derive(Clone)]
pub struct Endpoint {
    readiness: Readiness,
    registry: Arc<Registry>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint with these metrics, besides those of the [`crate::runtime`].
    #[must_use]
    pub fn new(mut registry: Registry, readiness: Readiness) -> Self {
        crate::runtime::metrics().register(&mut registry);
        Self {
            readiness,
            registry: Arc::new(registry),
        }
    }

    /// Serves `/healthz`, `/readyz` and `/metrics` (`OpenMetrics` text) until the token is cancelled.
    pub async fn serve(self, listen: SocketAddr, token: CancellationToken) -> io::Result<()> {
        let listener = TcpListener::bind(listen).await?;
        let router = Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router)
            .with_graceful_shutdown(token.cancelled_owned())
            .await
    }
}

async fn ready(State(endpoint): State<Endpoint>) -> impl IntoResponse {
    let missing = (endpoint.readiness)();
    if missing.is_empty() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, missing.join("\n"))
    }
}

async fn metrics(State(endpoint): State<Endpoint>) -> impl IntoResponse {
    let mut text = String::new();
    let status = if encode(&mut text, &endpoint.registry).is_ok() {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    (
        status,
        [(
            CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_formats_are_named() {
        assert_eq!("text".parse(), Ok(LogFormat::Text));
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("yaml".parse::<LogFormat>().unwrap_err().contains("use text or json"));
    }

    #[test]
    fn kube_does_not_log() {
        assert!(!may_be_logged("kube_client::client") && !may_be_logged("kube_runtime::watcher"));
        assert!(may_be_logged("addon_agent::exports") && may_be_logged("kube_clientele"));
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let endpoint = |missing: Vec<String>| Endpoint {
            readiness: Arc::new(move || missing.clone()),
            registry: Arc::default(),
        };
        let status = |endpoint| async { ready(State(endpoint)).await.into_response().status() };
        assert_eq!(status(endpoint(vec![])).await, StatusCode::OK);
        assert_eq!(
            status(endpoint(vec!["watch x".into()])).await,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
