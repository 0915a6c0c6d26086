//! The Open Cluster Management addon framework for Rust.
//!
//! An addon has two halves. On the hub a manager watches for `ManagedClusterAddOn` objects, deploys an agent to each of
//! those clusters by a `ManifestWork`, and gives it an identity and permissions on the hub. On the cluster the agent waits
//! for its credentials, works, and renews a Lease that says so.
//!
//! * [`addon`]: the trait to implement; [`Manager`] runs it on the hub.
//! * [`agent`]: what the agent on a cluster needs.
//! * [`runtime`]: what both run on; also for controllers of your own.
//!
//! It behaves on the wire as the Go framework does (names, labels, owner references, conditions and their reasons), and
//! works beside OCM's own addon-manager, which makes and owns the `ManagedClusterAddOn` objects. It speaks
//! `addon.open-cluster-management.io/v1beta1`, which OCM serves since 1.2, and converts at the edge for older hubs.
//!
//! # An addon in 60 lines
//!
//! Its agent is a Deployment, rendered from a template with values; it may read `ConfigMap`s in its cluster's namespace on the
//! hub; it is healthy while its Deployment is; and users configure it by an `AddOnDeploymentConfig`. This runs as a test:
//!
//! ```
//! use addon_framework::{
//!     Addon, ConfigKind, Configs, Health, Manager, Options, Registration, Simple, Site, Templates, runtime::Clients,
//! };
//! use peering_api::{k8s_openapi::api::rbac::v1::PolicyRule, kube::ResourceExt, ocm::{ManagedCluster, ManagedClusterAddOn}};
//! use std::sync::Arc;
//! use tokio_util::sync::CancellationToken;
//!
//! const AGENT: &str = "
//! apiVersion: apps/v1
//! kind: Deployment
//! metadata: {name: greeter, namespace: {{ AddonInstallNamespace }}}
//! spec:
//!   selector: {matchLabels: {app: greeter}}
//!   template:
//!     metadata: {labels: {app: greeter}}
//!     spec:
//!       containers:
//!       - name: agent
//!         image: registry.example/greeter:1
//!         args: [--cluster={{ ClusterName }}, --greeting={{ Greeting }}]
//!         volumeMounts: [{name: hub, mountPath: /hub}]
//!       volumes: [{name: hub, secret: {secretName: {{ HubKubeConfigSecret }}}}]
//! ";
//!
//! fn greeter() -> Result<impl Addon, addon_framework::AddonError> {
//!     let read = PolicyRule {
//!         api_groups: Some(vec![String::new()]),
//!         resources: Some(vec!["configmaps".into()]),
//!         verbs: vec!["get".into(), "list".into(), "watch".into()],
//!         ..Default::default()
//!     };
//!     Ok(Simple::new("greeter")
//!         .templates(Templates::new([("agent.yaml", AGENT)])?)
//!         .values(|_| Ok([("Greeting".to_owned(), "hello".into())].into_iter().collect()))
//!         .inject_settings() // nodes, resources, registries and proxy of the configurations
//!         .registration(move |cluster, _| {
//!             Some(Registration::kube_client(&cluster.name_any(), "greeter").allow([read.clone()]))
//!         })
//!         .options(Options {
//!             configs: vec![ConfigKind::deployment_config()],
//!             health: Health::Deployments,
//!             ..Default::default()
//!         }))
//! }
//!
//! /// What `main` does: with the clients of a hub, until the token is cancelled.
//! async fn run(clients: Clients, token: CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
//!     Manager::builder(clients).addon(Arc::new(greeter()?)).build()?.run(token).await;
//!     Ok(())
//! }
//!
//! // Rendering is a pure function, so this is how an addon is tested:
//! let (mut cluster, mut addon, configs) = (ManagedCluster::default(), ManagedClusterAddOn::default(), Configs::default());
//! cluster.metadata.name = Some("east".into());
//! addon.metadata.name = Some("greeter".into());
//! let greeter = greeter()?;
//! let manifests = greeter.manifests(&Site::new(&cluster, &addon, &configs, &greeter.options())?)?;
//! let container = &manifests[0].data["spec"]["template"]["spec"]["containers"][0];
//! assert_eq!(container["args"][0], "--cluster=east");
//! # let _ = run;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On the hub it needs a `ClusterManagementAddOn` of its name, and on each cluster a `ManagedClusterAddOn`, by hand or by a
//! placement. `examples/helloworld.rs` is a whole program, with an addon that implements the trait. A binary installs a rustls
//! crypto provider first thing in `main`, and chooses the version feature of `k8s-openapi`.
//!
//! # What it does for an addon
//!
//! * **Manifests** from typed objects ([`object`]), [`Templates`] or a function; in works that are split by size, and stay as
//!   they are where nothing changes. Marked with OCM's annotations they stay behind, run before the removal, or go to the
//!   cluster that hosts the agent ([`Options::hosted`]).
//! * **Configurations** ([`Options::configs`]): rolled out as OCM's addon-manager decides. An object is rendered only while its
//!   content is what was rolled out to the cluster. Their [`Settings`] are put into pods by [`Settings::inject`].
//! * **Credentials** of the agent: permissions in the cluster's namespace, exact approval of its requests, a CA of the addon's
//!   own ([`Options::signing_cas`], [`Addon::signer`]).
//! * **Health** ([`Health`]): by its Lease, or by what OCM reports about its objects.
//! * **Older hubs**: [`AddonVersions`].
pub mod addon;
pub mod agent;
mod config;
mod csr;
mod error;
mod health;
mod hooks;
mod hosted;
pub mod manager;
mod options;
pub mod process;
mod rbac;
mod registration;
pub mod runtime;
mod simple;
mod site;
mod template;
mod versions;
mod work;

use peering_api::compare;

pub use addon::{Addon, Removal, object};
pub use config::{ConfigKind, Configs, Settings, rewrite_image, spec_hash};
pub use csr::{Signer, SignerError, SigningCa};
pub use error::AddonError;
pub use health::{Health, Probe, Probes};
pub use manager::{BuildError, Builder, Manager};
pub use options::Options;
pub use registration::Registration;
pub use simple::Simple;
pub use site::Site;
pub use template::Templates;
pub use versions::AddonVersions;
pub use work::Feedback;
