//! A real S3 server (versitygw) with its buckets in a directory, and TLS in front of it: the S3 endpoint of a storage cluster.
//!
//! TLS ends in front of the server, as in `OpenShift`, whose router serves a Route with the certificate of its ingress. So the
//! certificate can change without a moment in which nobody answers.
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use testenv::{
    controlplane, ports,
    process::{Process, Spec},
    wait,
};
use tokio::{net::TcpStream, process::Command};

use crate::tls::{Ca, TlsServer};

/// The region of its buckets: what the profile makes of a bucket without one, as `NooBaa`'s are.
const REGION: &str = "noobaa";
/// Whoever administers the server. It listens on this machine only.
const ADMINISTRATOR: (&str, &str) = ("administrator", "of-a-server-on-this-machine");
/// How long it may take to listen.
const START: Duration = Duration::from_mins(3);

/// A server without TLS, until it is dropped.
struct S3Server {
    process: Process,
    program: PathBuf,
    address: SocketAddr,
    buckets: PathBuf,
}

impl S3Server {
    async fn start(name: &str, directory: &Path) -> Result<Self> {
        let program = controlplane::tool("versitygw").await?;
        let folder = |name: &str| {
            let path = directory.join(name);
            std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
            Ok::<_, anyhow::Error>(path)
        };
        let (buckets, users, attributes) = (folder("buckets")?, folder("users")?, folder("attributes")?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::take()?));
        let text = |path: &Path| path.display().to_string();
        let (port, users, attributes) = (address.to_string(), text(&users), text(&attributes));
        let root = text(&buckets);
        let args = [
            "--port",
            &port,
            "--region",
            REGION,
            "--iam-dir",
            &users,
            // It keeps secrets that have been replaced.
            "--iam-cache-disable",
            "--quiet",
            "posix",
            "--sidecar",
            &attributes,
            &root,
        ];
        let process = Process::spawn(&Spec {
            name: format!("{name}/versitygw"),
            program: program.clone(),
            args: args.map(str::to_owned).to_vec(),
            env: Some(BTreeMap::from([
                ("ROOT_ACCESS_KEY".to_owned(), ADMINISTRATOR.0.to_owned()),
                ("ROOT_SECRET_KEY".to_owned(), ADMINISTRATOR.1.to_owned()),
            ])),
            log: directory.join("versitygw.log"),
            revive: false,
        })?;
        let server = Self {
            process,
            program,
            address,
            buckets,
        };
        wait::until(&format!("the S3 server of {name} to listen"), START, || async {
            server.process.check()?;
            Ok(TcpStream::connect(address).await.ok().map(drop))
        })
        .await?;
        Ok(server)
    }

    /// The server's own command line tool.
    async fn administer(&self, arguments: &[&str]) -> Result<bool> {
        let output = Command::new(&self.program)
            .arg("admin")
            .args([
                "--access",
                ADMINISTRATOR.0,
                "--secret",
                ADMINISTRATOR.1,
                "--region",
                REGION,
            ])
            .args(["--endpoint-url", &format!("http://{}", self.address)])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await?;
        Ok(output.status.success())
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.process.end_soon();
    }
}

/// The S3 endpoint of a storage cluster, until it is dropped.
pub struct Endpoint {
    /// The CA of the certificates that it begins with.
    pub ca: Ca,
    /// What ends TLS.
    pub server: TlsServer,
    behind: S3Server,
}

impl Endpoint {
    /// Starts one, with its data in a directory.
    pub async fn start(name: &str, directory: &Path) -> Result<Self> {
        let behind = S3Server::start(name, directory).await?;
        let ca = Ca::new(&format!("ingress of {name}"))?;
        let server = TlsServer::in_front_of(&ca, behind.address).await?;
        Ok(Self { ca, server, behind })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.server.address())
    }

    /// A bucket that one key may use. Where it is there already, it stays, and the key gets this secret.
    pub async fn bucket(&self, bucket: &str, key: &str, secret: &str) -> Result<()> {
        std::fs::create_dir_all(self.behind.buckets.join(bucket))?;
        let create = ["create-user", "--access", key, "--secret", secret, "--role", "user"];
        if !self.behind.administer(&create).await? {
            self.set_secret(key, secret).await?;
        }
        let owner = ["change-bucket-owner", "--bucket", bucket, "--owner", key];
        ensure!(
            self.behind.administer(&owner).await?,
            "{bucket} cannot be given to {key}"
        );
        Ok(())
    }

    /// From now on only this secret belongs to a key.
    pub async fn set_secret(&self, key: &str, secret: &str) -> Result<()> {
        let update = ["update-user", "--access", key, "--secret", secret];
        ensure!(
            self.behind.administer(&update).await?,
            "the secret of {key} cannot be changed"
        );
        Ok(())
    }

    /// Removes a bucket and what is in it.
    pub fn remove_bucket(&self, bucket: &str) -> Result<()> {
        let path = self.behind.buckets.join(bucket);
        std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())
    }
}
