//! A container's program for the tests of the node: it tells what it was given, and ends when asked to.
//!
//! `GET /readyz`, `/env` (the environment as JSON), `/file` (the file named by `--file`), `/whoami` (the user that the
//! API server takes it for), `/exit`.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};

/// Tells what it was given.
#[derive(Clone, Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: String,
    /// A file to show.
    #[arg(long)]
    file: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let listener = TcpListener::bind(&arguments.listen)
        .await
        .with_context(|| arguments.listen.clone())?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("probe started with {}", arguments.file.display());
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = terminate.recv() => {
                println!("probe terminated");
                return Ok(());
            }
        };
        let arguments = arguments.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &arguments).await {
                println!("probe failed: {error:#}");
            }
        });
    }
}

async fn answer(stream: TcpStream, arguments: &Arguments) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let body = match line.split_whitespace().nth(1) {
        Some("/readyz") => Ok("ok".to_owned()),
        Some("/env") => Ok(serde_json::to_string(
            &std::env::vars().collect::<BTreeMap<String, String>>(),
        )?),
        Some("/file") => std::fs::read_to_string(&arguments.file).map_err(anyhow::Error::from),
        Some("/whoami") => who_am_i().await,
        Some("/exit") => std::process::exit(3),
        _ => Err(anyhow::anyhow!("no such path")),
    };
    let (status, body) = match body {
        Ok(body) => ("200 OK", body),
        Err(error) => ("500 Error", format!("{error:#}")),
    };
    let answer = format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.get_mut().write_all(answer.as_bytes()).await?;
    Ok(stream.get_mut().shutdown().await?)
}

async fn who_am_i() -> Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(Client::try_default().await?);
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    review
        .status
        .and_then(|status| status.user_info?.username)
        .context("no user")
}
