//! Servers in the test's process: TLS by tokio-rustls, and as much HTTP as a probe sends.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::pki::Served;

/// What to do with a request.
pub enum Reply {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Hang,
}

/// An answer with a status line and a body.
pub fn reply(status: u16, body: &str) -> Reply {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Reply::Bytes((head + body).into_bytes())
}

/// What an API server says about a user; also to a probe that does not ask for one.
pub fn review(user: &str, groups: &str) -> String {
    format!(
        r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview","metadata":{{}},"status":{{"userInfo":{{"username":"{user}","groups":[{groups}]}}}}}}"#
    )
}

/// Makes a reply.
pub type Make = fn() -> Reply;

/// The answers to `/readyz` and to the review; anything else gets a 404.
pub struct Answers {
    pub readyz: Reply,
    pub review: Reply,
}

/// All is well.
pub fn api_answer(user: &str) -> Answers {
    Answers {
        readyz: reply(200, "ok"),
        review: reply(201, &review(user, r#""system:authenticated""#)),
    }
}

/// A server until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    /// The heads and bodies of the requests that came.
    pub requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// An HTTPS server.
    pub async fn https(config: ServerConfig, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(Some(acceptor), answer).await
    }

    /// An HTTP server without TLS.
    pub async fn http(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, answer).await
    }

    /// Plays an API server.
    pub async fn api(served: &Served, answers: impl Fn(&str) -> Answers + Send + Sync + 'static) -> Self {
        Self::https(served.config(), move |request| play(request, answers(request))).await
    }

    async fn start(acceptor: Option<TlsAcceptor>, answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(
                    stream,
                    acceptor.clone(),
                    Arc::clone(&seen),
                    Arc::clone(&answer),
                ));
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }
}

/// Routes a request to one of an API server's answers.
pub fn play(request: &str, answers: Answers) -> Reply {
    let line = request.lines().next().unwrap_or_default();
    if line.contains("/readyz ") || line.starts_with("HEAD / ") {
        answers.readyz
    } else if line.starts_with("POST ") && line.contains("/apis/authentication.k8s.io/v1/selfsubjectreviews ") {
        answers.review
    } else {
        reply(404, "no such path")
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    requests: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Reply>,
) {
    let Some(acceptor) = acceptor else {
        return http(stream, requests, answer).await;
    };
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => http(stream, requests, answer).await,
        // Closing with unread bytes would reset the connection, and the client could lose the alert.
        Err((_, stream)) => drain(stream).await,
    }
}

async fn http(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: Arc<Mutex<Vec<String>>>,
    answer: Arc<impl Fn(&str) -> Reply>,
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    requests.lock().unwrap().push(request.clone());
    match answer(&request) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            drain(stream).await;
        }
        Reply::Hang => std::future::pending().await,
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return Some(text);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn length(head: &str) -> usize {
    let header = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length:")?
            .trim()
            .parse()
            .ok()
    });
    header.unwrap_or(0)
}

async fn drain(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while matches!(stream.read(&mut bytes).await, Ok(read) if read > 0) {}
}
