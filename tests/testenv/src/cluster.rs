//! One control plane: a kube-apiserver and a kube-controller-manager, on a prefix of the shared etcd.

use std::{
    collections::BTreeMap,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use crate::{
    access::{self, Access},
    controlplane::ControlPlane,
    etcd::{Dump, Etcd},
    files,
    node::Node,
    pki::Pki,
    ports,
    process::{Process, Register, Spec},
    wait::Wait,
};

/// The controllers that run. There are no pods, so the ones for workloads are left out: the node stands in for them.
const CONTROLLERS: [&str; 9] = [
    "certificatesigningrequest-signing-controller",
    "certificatesigningrequest-cleaner-controller",
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
];

/// The name of the API server among the components.
const API_SERVER: &str = "kube-apiserver";

/// Names of the audit log and its policy in a cluster's directory.
const AUDIT_LOG: &str = "audit.log";
const AUDIT_POLICY: &str = "audit-policy.yaml";
/// A user that there is not.
const NOBODY: &str = "nobody";
/// MiB after which an audit log begins anew: more than any test or benchmark writes, as who reads it follows one file.
const AUDIT_SIZE: u32 = 8192;
/// What stands in an audit log: writes with their answers, without events and Leases, and the reads of some users.
fn audited(readers: &[&str]) -> String {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
        "omitStages": ["RequestReceived"], "omitManagedFields": true,
        "rules": [
            {"level": "None", "resources": [
                {"group": "", "resources": ["events"]}, {"group": "events.k8s.io"},
                {"group": "coordination.k8s.io"}, {"group": "authorization.k8s.io"},
            ]},
            // An empty list of users would mean everybody.
            {"level": "Metadata", "users": if readers.is_empty() { &[NOBODY] } else { readers }, "verbs": ["get", "list", "watch"]},
            {"level": "None", "verbs": ["get", "list", "watch"]},
            {"level": "RequestResponse"},
        ],
    });
    format!("{policy:#}")
}

/// How long an API server may take to get ready. It takes about three seconds when it is alone.
const READY: Duration = Duration::from_mins(5);

/// A control plane. Dereferences to [`Access`] for clients and applying.
pub struct Cluster {
    access: Access,
    directory: PathBuf,
    port: u16,
    pki: Pki,
    register: Register,
    control_plane: ControlPlane,
    etcd: Etcd,
    /// Every component that was started, by its name.
    components: Mutex<BTreeMap<String, (Spec, Process)>>,
    /// Whether the API server keeps an audit log.
    audited: AtomicBool,
    pub(crate) node: Mutex<Option<Node>>,
}

impl Deref for Cluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Cluster {
    /// Starts the API server of a cluster and waits until it is ready. The controller manager is started separately,
    /// so that it finds the CRDs at its start: it looks for new kinds only twice a minute.
    pub(crate) async fn start(
        name: &str,
        directory: &Path,
        register: &Register,
        control_plane: &ControlPlane,
        etcd: &Etcd,
    ) -> Result<Self> {
        let pki = Pki::create(name, &directory.join("pki"))?;
        let port = ports::take()?;
        let cluster = Self {
            access: Access::new(name, &directory.join("kubeconfig")),
            directory: directory.to_owned(),
            port,
            pki,
            register: register.clone(),
            control_plane: control_plane.clone(),
            etcd: etcd.clone(),
            components: Mutex::default(),
            audited: AtomicBool::new(false),
            node: Mutex::default(),
        };
        let admin = cluster.pki.client("admin", Some("system:masters"))?;
        cluster.write_kubeconfig("kubeconfig", &admin)?;
        cluster.start_api_server().await?;
        Ok(cluster)
    }

    /// The directory with the cluster's kubeconfig, certificates and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The API server's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The cluster's certificates.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The prefix of the cluster's keys in etcd.
    #[must_use]
    pub fn etcd_prefix(&self) -> String {
        format!("/{}/", self.name())
    }

    /// All keys of the cluster and their values, read from etcd past the API server.
    pub async fn etcd_dump(&self) -> Result<Dump> {
        self.etcd.dump(&self.etcd_prefix()).await
    }

    /// Takes the cluster back to what an [`Cluster::etcd_dump`] holds, as restoring a backup does; the API server is away
    /// meanwhile. Gives how many keys have changed by that.
    ///
    /// Resource versions go on growing, as a restore for Kubernetes has to see to (`etcdutl snapshot restore` with
    /// `--bump-revision`): clients with watches are told to list again. Events stay, as etcd forgets them by itself.
    pub async fn restore(&self, dump: &Dump) -> Result<usize> {
        let events = format!("{}events/", self.etcd_prefix());
        let is_event = |(key, _): &&(Vec<u8>, Vec<u8>)| key.starts_with(events.as_bytes());
        self.stop_api_server().await?;
        let now = self.etcd_dump().await?;
        let kept = now.iter().filter(is_event);
        let then = dump
            .iter()
            .filter(|entry| !is_event(entry))
            .chain(kept)
            .cloned()
            .collect();
        let changed = self.etcd.restore(&self.etcd_prefix(), &then).await?;
        self.start_api_server().await?;
        Ok(changed)
    }

    /// The path of a log file of the cluster: `kube-apiserver`, `kube-controller-manager`, an OCM component.
    #[must_use]
    pub fn log(&self, component: &str) -> PathBuf {
        self.directory.join(format!("{component}.log"))
    }

    /// The stand-in for the kubelet.
    pub fn node(&self) -> Result<Node> {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        node.clone().ok_or_else(|| anyhow!("{} has no node", self.name()))
    }

    /// Writes a kubeconfig for a user of this cluster into its directory.
    pub fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let certificate = self.pki.client(user, group)?;
        self.write_kubeconfig(&format!("{user}.kubeconfig"), &certificate)
    }

    /// Starts the API server on its port and waits until it is ready. Does nothing while it runs.
    pub async fn start_api_server(&self) -> Result<()> {
        if self
            .component(API_SERVER)
            .is_none_or(|process| process.exited().is_some())
        {
            self.spawn(API_SERVER, &self.api_server_args())?;
        }
        let client = self.access.client().await?;
        let log = self.log(API_SERVER);
        Wait::new(&format!("the API server of {} to be ready", self.name()), READY)
            .register(&self.register)
            .dump(|| std::future::ready(files::tail(&log, 40)))
            .until(|| async { Ok((access::get_raw(&client, "/readyz").await? == "ok").then_some(())) })
            .await
    }

    /// Starts the API server again with an audit log of all writes, in which answers stand too. Gives its path: a line of JSON for
    /// each write, of kind `audit.k8s.io/v1` `Event`.
    pub async fn start_audit(&self) -> Result<PathBuf> {
        self.start_audit_with_reads_of(&[]).await
    }

    /// As [`Cluster::start_audit`], also of what these users read, without the answers.
    pub async fn start_audit_with_reads_of(&self, readers: &[&str]) -> Result<PathBuf> {
        files::write_private(&self.directory.join(AUDIT_POLICY), audited(readers).as_bytes())?;
        self.audited.store(true, Ordering::SeqCst);
        self.stop_api_server().await?;
        self.start_api_server().await?;
        Ok(self.directory.join(AUDIT_LOG))
    }

    /// Stops the API server. Everything else goes on, and sees its connections refused.
    pub async fn stop_api_server(&self) -> Result<()> {
        if let Some(process) = self.component(API_SERVER) {
            process.stop(Duration::from_secs(10)).await?;
        }
        Ok(())
    }

    /// Kills a component with SIGKILL and starts it again as it was. Names are those of the logs: `kube-apiserver`,
    /// `kube-controller-manager`, an OCM component. An API server is ready afterwards, of others nothing is known.
    pub async fn crash(&self, component: &str) -> Result<()> {
        self.restart_with(component, |_| ()).await
    }

    /// As [`Cluster::crash`], with other arguments from then on.
    pub async fn restart_with(&self, component: &str, change: impl FnOnce(&mut Vec<String>)) -> Result<()> {
        let known = self.components().get(component).cloned();
        let (mut spec, process) = known.ok_or_else(|| anyhow!("{} has no {component}", self.name()))?;
        process.kill().await?;
        change(&mut spec.args);
        let process = self.register.spawn(&spec)?;
        self.components().insert(component.to_owned(), (spec, process));
        if component == API_SERVER {
            self.start_api_server().await?;
        }
        Ok(())
    }

    /// The names of the components that were started.
    #[must_use]
    pub fn component_names(&self) -> Vec<String> {
        self.components().keys().cloned().collect()
    }

    fn component(&self, name: &str) -> Option<Process> {
        self.components().get(name).map(|(_, process)| process.clone())
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<String, (Spec, Process)>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the controller manager.
    pub(crate) fn start_controller_manager(&self) -> Result<()> {
        let kubeconfig = self.kubeconfig().display();
        let pki = |file: &str| self.pki.path(file).display().to_string();
        self.spawn(
            "kube-controller-manager",
            &[
                format!("--kubeconfig={kubeconfig}"),
                format!("--authentication-kubeconfig={kubeconfig}"),
                format!("--authorization-kubeconfig={kubeconfig}"),
                format!("--controllers={}", CONTROLLERS.join(",")),
                format!("--cluster-signing-cert-file={}", pki("ca.crt")),
                format!("--cluster-signing-key-file={}", pki("ca.key")),
                "--cluster-signing-duration=24h".to_owned(),
                format!("--service-account-private-key-file={}", pki("sa.key")),
                format!("--root-ca-file={}", pki("ca.crt")),
                "--use-service-account-credentials=false".to_owned(),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", ports::take()?),
            ],
        )?;
        Ok(())
    }

    /// Starts a component of this cluster which must stay alive, with its log beside the others.
    pub(crate) fn spawn(&self, component: &str, args: &[String]) -> Result<Process> {
        self.spawn_program(component, component, args)
    }

    /// As [`Cluster::spawn`], for a component whose program has another name.
    pub(crate) fn spawn_program(&self, component: &str, program: &str, args: &[String]) -> Result<Process> {
        let spec = Spec {
            name: format!("{}/{component}", self.name()),
            program: self.control_plane.binary(program),
            args: args.to_vec(),
            env: None,
            log: self.log(component),
            // Tests stop the API server and count on its being away.
            revive: component != API_SERVER,
        };
        let process = self.register.spawn(&spec)?;
        self.components().insert(component.to_owned(), (spec, process.clone()));
        Ok(process)
    }

    fn write_kubeconfig(&self, file: &str, user: &crate::pki::KeyAndCert) -> Result<PathBuf> {
        let path = self.directory.join(file);
        let text = access::kubeconfig(self.name(), &self.url(), &self.pki.ca_pem(), user);
        files::write_private(&path, text.as_bytes()).context("write a kubeconfig")?;
        Ok(path)
    }

    fn api_server_args(&self) -> Vec<String> {
        let pki = |file: &str| self.pki.path(file).display().to_string();
        let mut args = vec![
            format!("--etcd-servers={}", self.etcd.url()),
            format!("--etcd-prefix={}", self.etcd_prefix().trim_end_matches('/')),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", pki("tls.crt")),
            format!("--tls-private-key-file={}", pki("tls.key")),
            format!("--client-ca-file={}", pki("ca.crt")),
            // Without these every component complains that the request header's CA is absent. Nobody can use it: no
            // certificate has that name.
            format!("--requestheader-client-ca-file={}", pki("ca.crt")),
            "--requestheader-allowed-names=front-proxy".to_owned(),
            format!("--service-account-issuer={}", self.url()),
            format!("--service-account-key-file={}", pki("sa.pub")),
            format!("--service-account-signing-key-file={}", pki("sa.key")),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        if self.audited.load(Ordering::SeqCst) {
            let path = |file: &str| self.directory.join(file).display().to_string();
            args.extend([
                format!("--audit-policy-file={}", path(AUDIT_POLICY)),
                format!("--audit-log-path={}", path(AUDIT_LOG)),
                format!("--audit-log-maxsize={AUDIT_SIZE}"),
            ]);
        }
        args
    }
}
