//! A very small HTTP/1.0 client for local plain-text endpoints: readiness probes and etcd's JSON gateway.
//!
//! HTTP/1.0 keeps it small: no chunks, the body ends where the connection does.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// GETs a path of a local port.
pub async fn get(port: u16, path: &str, deadline: Duration) -> Result<Response> {
    request(
        port,
        &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"),
        deadline,
    )
    .await
    .with_context(|| format!("GET http://127.0.0.1:{port}{path}"))
}

/// POSTs JSON to a path of a local port.
pub async fn post_json(port: u16, path: &str, body: &str, deadline: Duration) -> Result<Response> {
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    request(port, &(head + body), deadline)
        .await
        .with_context(|| format!("POST http://127.0.0.1:{port}{path}"))
}

async fn request(port: u16, request: &str, deadline: Duration) -> Result<Response> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(deadline, exchange).await.context("no answer in time")??;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| anyhow!("not an HTTP answer"))?;
    let head = std::str::from_utf8(&answer[..end]).context("not an HTTP answer")?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| anyhow!("no status in the answer"))?;
    Ok(Response {
        status,
        body: answer[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_answer_is_split_into_status_and_body() {
        let response = super::parse(b"HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\nnot yet").unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (503, b"not yet".as_slice())
        );
        assert!(super::parse(b"garbage").is_err());
    }
}
