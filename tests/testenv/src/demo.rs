//! The demo: the product on a running environment, told step by step. Everything it shows is read back from the clusters.
use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret},
    },
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use peering_api::{
    names,
    peering::{PeerExport, PeerLink, PeerMember, Peering, condition, is_true, reasons},
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use serde_json::json;

use crate::{access::Access, controlplane::repository, devenv::State, wait};

/// How long a single step may take.
const STEP: Duration = Duration::from_mins(2);
/// What `manifests/samples/peering.yaml` and its profile name.
const PEERING: &str = "east-west";
const SOURCE: &str = "storage-peer-token";
const CA_SOURCE: &str = "storage-ca";
const NAMESPACE: &str = "default";

/// One of the two clusters of the demo.
struct Spoke {
    name: &'static str,
    client: Client,
}

impl Spoke {
    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

struct Story {
    start: Instant,
    hub: Access,
    client: Client,
    spokes: [Spoke; 2],
}

/// Plays the demo on an environment with `cluster1` and `cluster2`.
pub async fn play(state: &State, start: Instant) -> Result<()> {
    let hub = state.hub()?;
    let spoke = async |name| {
        anyhow::Ok(Spoke {
            name,
            client: state.cluster(name)?.client().await?,
        })
    };
    let spokes = [spoke("cluster1").await?, spoke("cluster2").await?];
    let story = Story {
        start,
        client: hub.client().await?,
        hub,
        spokes,
    };
    story.install().await?;
    story.register_agents().await?;
    story.peer().await?;
    story.follow_secret().await?;
    story.follow_bundles().await?;
    story.rotate().await?;
    story.table().await
}

impl Story {
    fn tell(&self, line: &str) {
        println!("[{:6.1} s] {line}", self.start.elapsed().as_secs_f64());
    }

    async fn apply(&self, path: &str) -> Result<()> {
        self.hub.apply_path(&repository().join(path)).await.map(drop)
    }

    async fn install(&self) -> Result<()> {
        self.apply("manifests/hub").await?;
        self.apply("manifests/profiles/storage-peering-basic.yaml").await?;
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), "multicluster-orchestrator");
        wait::until("the addon-manager to be available", STEP, || async {
            let status = deployments.get("addon-manager").await?.status.unwrap_or_default();
            Ok((status.available_replicas == Some(1)).then_some(()))
        })
        .await?;
        self.tell("addon-manager installed on the hub (kubectl apply -k manifests/hub)");
        Ok(())
    }

    async fn register_agents(&self) -> Result<()> {
        let sample = std::fs::read_to_string(repository().join("manifests/samples/managedclusteraddon.yaml"))?;
        for spoke in &self.spokes {
            self.hub.apply_text(&sample.replace("cluster1", spoke.name)).await?;
        }
        self.tell("ManagedClusterAddOn tokenexchange created for both clusters");
        for spoke in &self.spokes {
            let members: Api<PeerMember> = Api::namespaced(self.client.clone(), spoke.name);
            let fingerprint = wait::until("the agent to publish its key", STEP, || async {
                Ok(members
                    .get_opt(spoke.name)
                    .await?
                    .and_then(|member| member.status?.fingerprint))
            })
            .await?;
            self.tell(&format!("agent of {} registered, key {fingerprint}", spoke.name));
        }
        Ok(())
    }

    async fn peer(&self) -> Result<()> {
        for spoke in &self.spokes {
            put_secret(spoke, format!("the token of {}", spoke.name).as_bytes()).await?;
            put_ca(spoke, &ca(&format!("{} storage CA", spoke.name))?).await?;
        }
        self.tell(&format!(
            "on both clusters: Secret {NAMESPACE}/{SOURCE} and ConfigMap {NAMESPACE}/{CA_SOURCE} created"
        ));
        self.apply("manifests/samples/peering.yaml").await?;
        self.tell(&format!("Peering {PEERING} applied"));
        Ok(())
    }

    async fn follow_secret(&self) -> Result<()> {
        let name = names::export_name(PEERING, "peer-token", "cluster1");
        let exports: Api<PeerExport> = Api::namespaced(self.client.clone(), "cluster1");
        let envelope = wait::until("cluster1's secret to be sealed", STEP, || async {
            let status = exports.get_opt(&name).await?.and_then(|export| export.status);
            Ok(status.and_then(|status| status.envelopes.into_iter().next()))
        })
        .await?;
        self.tell(&format!(
            "secret of cluster1 sealed to key {}",
            envelope.recipient_fingerprint
        ));
        self.arrival("secret of cluster1 arrived on cluster2 byte for byte")
            .await
    }

    /// Waits until cluster2 holds what cluster1's source holds.
    async fn arrival(&self, line: &str) -> Result<()> {
        let [from, to] = &self.spokes;
        let target = format!("peer-{}-{SOURCE}", from.name);
        wait::until("cluster2 to hold cluster1's secret", STEP, || async {
            let sent = from.secrets().get(SOURCE).await?.data.context("the source is empty")?;
            let arrived = to.secrets().get_opt(&target).await?.and_then(|secret| secret.data);
            Ok((arrived == Some(sent)).then_some(()))
        })
        .await?;
        self.tell(&format!("{line} (Secret {NAMESPACE}/{target})"));
        Ok(())
    }

    async fn follow_bundles(&self) -> Result<()> {
        let name = format!("{PEERING}-ca-bundle");
        let mut wanted = Vec::new();
        for spoke in &self.spokes {
            wanted.push(
                spoke.maps().get(CA_SOURCE).await?.data.context("no CA")?["ca.crt"]
                    .trim()
                    .to_owned(),
            );
        }
        for spoke in &self.spokes {
            wait::until("the CA bundle to be united", STEP, || async {
                let bundle = spoke.maps().get_opt(&name).await?.and_then(|map| map.data);
                let text = bundle
                    .and_then(|mut data| data.remove("ca-bundle.crt"))
                    .unwrap_or_default();
                Ok(wanted.iter().all(|ca| text.contains(ca.as_str())).then_some(()))
            })
            .await?;
        }
        self.tell(&format!(
            "CA bundles united on both clusters (ConfigMap {NAMESPACE}/{name})"
        ));
        Ok(())
    }

    async fn rotate(&self) -> Result<()> {
        put_secret(&self.spokes[0], b"the next token of cluster1").await?;
        let changed = Instant::now();
        self.arrival("secret of cluster1 rotated and carried over").await?;
        self.tell(&format!("the rotation took {} ms", changed.elapsed().as_millis()));
        Ok(())
    }

    async fn table(&self) -> Result<()> {
        let peerings: Api<Peering> = Api::all(self.client.clone());
        let message = wait::until("all links to be ready", STEP, || async {
            let conditions = peerings.get(PEERING).await?.status.unwrap_or_default().conditions;
            Ok(condition(&conditions, reasons::READY)
                .filter(|ready| ready.status == "True")
                .map(|ready| ready.message.clone()))
        })
        .await?;
        self.tell(&format!("Peering {PEERING}: {message}"));
        let links: Api<PeerLink> = Api::all(self.client.clone());
        let links = links.list(&ListParams::default()).await?.items;
        print_links(&links);
        let ready = |link: &&PeerLink| {
            link.status
                .as_ref()
                .is_some_and(|status| is_true(&status.conditions, reasons::READY))
        };
        ensure!(
            !links.is_empty() && links.iter().all(|link| ready(&link)),
            "not every link is ready"
        );
        Ok(())
    }
}

/// Prints the links of a hub as `kubectl get peerlinks` would.
pub fn print_links(links: &[PeerLink]) {
    println!(
        "\n{:<10} {:<10} {:<12} {:<7} {:<24} EXPIRES",
        "FROM", "TO", "ARTEFACT", "READY", "REASON"
    );
    for link in links {
        let status = link.status.clone().unwrap_or_default();
        let ready = condition(&status.conditions, reasons::READY);
        let expires = status
            .expires_at
            .map_or_else(|| "-".to_owned(), |at| peering_api::peering::rfc3339(at.0));
        println!(
            "{:<10} {:<10} {:<12} {:<7} {:<24} {expires}",
            link.spec.from.cluster,
            link.spec.to.cluster,
            link.spec.artefact,
            ready.map_or("Unknown", |ready| &ready.status),
            ready.map_or("-", |ready| &ready.reason),
        );
    }
    println!();
}

/// Prints how to go on by hand.
pub fn print_next_steps(state: &State) -> Result<()> {
    let kubectl = state.binaries.join("kubectl");
    println!("Everything goes on running. Try:");
    println!("  alias kubectl={}", kubectl.display());
    for cluster in &state.clusters {
        println!(
            "  export {}={}",
            cluster.name.to_uppercase(),
            cluster.kubeconfig.display()
        );
    }
    let (source, target) = (SOURCE, format!("peer-cluster1-{SOURCE}"));
    println!("  kubectl --kubeconfig $HUB get orchestrator -A");
    println!("  kubectl --kubeconfig $CLUSTER1 patch secret {source} -p '{{\"stringData\":{{\"token\":\"yours\"}}}}'");
    println!("  kubectl --kubeconfig $CLUSTER2 get secret {target} -o jsonpath='{{.data.token}}' | base64 -d");
    println!("  kubectl --kubeconfig $HUB delete peering {PEERING}");
    println!("  make demo-status, make demo-down");
    ensure!(Path::new(&kubectl).exists(), "kubectl was not built");
    Ok(())
}

fn ca(name: &str) -> Result<String> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    Ok(params.self_signed(&KeyPair::generate()?)?.pem())
}

async fn put_secret(spoke: &Spoke, token: &[u8]) -> Result<()> {
    let data = json!({"token": ByteString(token.to_vec()), "random": ByteString((0..=255).collect())});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SOURCE}, "data": data});
    spoke
        .secrets()
        .patch(SOURCE, &PatchParams::apply("demo").force(), &Patch::Apply(secret))
        .await?;
    Ok(())
}

async fn put_ca(spoke: &Spoke, pem: &str) -> Result<()> {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CA_SOURCE}, "data": {"ca.crt": pem}});
    spoke
        .maps()
        .patch(CA_SOURCE, &PatchParams::apply("demo").force(), &Patch::Apply(map))
        .await?;
    Ok(())
}
