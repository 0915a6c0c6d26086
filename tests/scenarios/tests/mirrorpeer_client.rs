//! `MirrorPeer`s of storage clients from end to end, with stand-ins for what storage operators do.
use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use peering_api::{
    names as ours,
    ocm::ManifestWork,
    odf::{BACKUP_LABEL, CREATED_BY_LABEL, ClientInfo, DRPolicy},
    peering::{PeerExport, PeerLink, PeerMember, condition},
};
use scenarios::{
    Scenario, Side,
    odf::STORAGE_CLUSTER,
    odf_client::{self, BY_HAND, Provider, Reach, Ticket, client_id, endpoint},
    world::{MANAGER_NAMESPACE, SOON},
};
use serde_json::{Value, json};
use storage::{client_info, mapping, names, odf_info, ramen};

use super::{
    mirrorpeer::{BOTH, Site},
    secrecy::{found, shapes},
};

/// What is waited for here goes through several agents and the work agents of two clusters.
const PATIENCE: Duration = Duration::from_mins(6);

fn pair(name: &str) -> Value {
    json!(["cluster1", "cluster2"].map(|cluster| json!({"clusterName": cluster, "storageClusterRef": {"name": name}})))
}

struct Clients {
    site: Site,
    providers: [Provider; 2],
}

impl Clients {
    async fn new(name: &str, clients: &[&str]) -> Result<Self> {
        let mut site = Site::new(name).await?;
        site.s.patience = PATIENCE;
        let providers = odf_client::start(&site.s, clients).await?;
        Ok(Self { site, providers })
    }

    fn s(&self) -> &Scenario {
        &self.site.s
    }

    fn provider(&self, side: Side) -> &Provider {
        &self.providers[usize::from(side == Side::West)]
    }

    fn key(&self, side: Side) -> [&str; 3] {
        [side.cluster(), &self.s().name, STORAGE_CLUSTER]
    }

    fn peering(&self) -> String {
        names::ticket_peering(self.key(Side::East), self.key(Side::West))
    }

    async fn link(&self, to: Side) -> Result<PeerLink> {
        let links = self.s().hub_of::<PeerLink>(to);
        let label = ListParams::default().labels(&format!("{}={}", ours::PEERING_LABEL, self.peering()));
        links.list(&label).await?.items.pop().context("no link")
    }

    async fn export(&self, from: Side) -> Result<PeerExport> {
        let name = ours::export_name(&self.peering(), "ticket", from.cluster());
        Ok(self.s().hub_of::<PeerExport>(from).get(&name).await?)
    }

    /// The tickets that both sides have issued.
    fn tickets(&self) -> Vec<Ticket> {
        self.providers.iter().flat_map(Provider::tickets).collect()
    }

    /// Waits until a side's peer holds the n-th ticket of the other one, or a later one.
    async fn await_ticket(&self, on: Side, number: usize) -> Result<()> {
        let (peers, name) = (self.provider(on).peers(), format!("{}-peer", on.other().cluster()));
        let what = format!("ticket {number} of {} to arrive", on.other().cluster());
        self.s()
            .until(&what, || async {
                let Some(peer) = peers.get_opt(&name).await? else {
                    return Ok(None);
                };
                let spec = &peer.data["spec"];
                ensure!(spec["apiEndpoint"] == endpoint(on.other()).as_str(), "{spec}");
                let issued = self.provider(on.other()).tickets();
                let at = issued
                    .iter()
                    .position(|ticket| spec["onboardingToken"] == ticket.text.as_str());
                Ok(at.filter(|at| at + 1 >= number).map(drop))
            })
            .await
    }

    async fn await_mapping(&self, on: Side, data: &[(&str, &str)]) -> Result<()> {
        let maps = self.s().on::<ConfigMap>(on);
        let expected: BTreeMap<_, _> = data
            .iter()
            .map(|(own, other)| (client_id(on, own), client_id(on.other(), other)))
            .collect();
        self.s()
            .until(&format!("mapping {expected:?} on {on:?}"), || async {
                let found = maps.get_opt(mapping::WORK).await?;
                Ok(found
                    .filter(|map| map.data.clone().unwrap_or_default() == expected)
                    .map(drop))
            })
            .await
    }

    /// Waits until nothing that was used is on the hub any more, neither sealed nor plain.
    async fn await_used(&self) -> Result<()> {
        for side in BOTH {
            let what = format!("the used ticket of {} to leave the hub", side.cluster());
            self.s()
                .until(&what, || async {
                    let used = self
                        .link(side.other())
                        .await?
                        .status
                        .is_some_and(|status| status.used.is_some());
                    let export = self.export(side).await?;
                    let told = export.spec.recipients.iter().all(|recipient| recipient.used);
                    let gone = export
                        .status
                        .is_some_and(|status| status.envelopes.is_empty() && status.expires_at.is_none());
                    let works = self.s().hub_of::<ManifestWork>(side.other());
                    let work = works.get(&ours::work_name(&self.peering(), 0)).await?;
                    let carried = work
                        .spec
                        .workload
                        .manifests
                        .iter()
                        .any(|manifest| manifest["kind"] == "Secret");
                    Ok((used && told && gone && !carried).then_some(()))
                })
                .await?;
        }
        for ticket in self.tickets() {
            let places = found(self.s(), &shapes(ticket.canary.as_bytes())).await?;
            ensure!(places.is_empty(), "a ticket in plain in {places:#?}");
            let places = found(self.s(), &shapes(ticket.text.as_bytes())).await?;
            ensure!(places.is_empty(), "a ticket in {places:#?}");
        }
        Ok(())
    }

    /// Waits until a client gets exactly these classes, each of which a template stands for unless it is somebody else's.
    async fn await_classes(&self, on: Side, client: &str, (volumes, groups): (&[&str], &[&str])) -> Result<()> {
        let (provider, name) = (self.provider(on), odf_client::consumer_name(client));
        let (consumers, templates) = (provider.consumers(), provider.templates());
        let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let expected = (Value::from(named(volumes)), Value::from(named(groups)));
        let none = |value: &Value| if value.is_null() { json!([]) } else { value.clone() };
        self.s()
            .until(&format!("classes {expected:?} of {client} on {on:?}"), || async {
                let consumer = consumers.get(&name).await?;
                let spec = &consumer.data["spec"];
                let seen = (
                    none(&spec["volumeReplicationClasses"]),
                    none(&spec["volumeGroupReplicationClasses"]),
                );
                let made = templates.list(&ListParams::default()).await?;
                let mut made: Vec<_> = made.iter().map(ResourceExt::name_any).collect();
                let mut ours: Vec<_> = volumes.iter().chain(groups).filter(|name| **name != BY_HAND).collect();
                made.sort_unstable();
                ours.sort_unstable();
                Ok((seen == expected && made.iter().eq(ours)).then_some(()))
            })
            .await
    }

    async fn await_nothing_left(&self) -> Result<()> {
        let s = self.s();
        for side in BOTH {
            let name = format!("{}-peer", side.other().cluster());
            s.await_gone(&self.provider(side).peers(), &name).await?;
            s.await_gone(&s.on::<ConfigMap>(side), mapping::WORK).await?;
            s.await_gone(&s.on::<ServiceAccount>(side), mapping::ACCOUNT).await?;
            let members = s.hub_of::<PeerMember>(side);
            s.until("nothing to be reported any more", || async {
                let member = members.get(side.cluster()).await?;
                let reports = member.status.map(|status| status.reports.len()).unwrap_or_default();
                Ok((member.spec.reports.is_empty() && reports == 0).then_some(()))
            })
            .await?;
            let works = s.hub_of::<ManifestWork>(side);
            let ours = ListParams::default().labels(CREATED_BY_LABEL);
            s.until("works of storage to be gone", || async {
                Ok(works.list(&ours).await?.items.is_empty().then_some(()))
            })
            .await?;
            self.provider(side).forget(s).await?;
        }
        s.await_gone(&self.info(), client_info::NAME).await?;
        self.site.ensure_nothing_left().await
    }

    /// What the console reads.
    async fn await_info(&self) -> Result<()> {
        let s = self.s();
        for side in BOTH {
            let key = names::client_key(side.cluster(), "local");
            let map = s
                .until(&format!("key {key} of odf-client-info"), || async {
                    let map = self.info().get_opt(client_info::NAME).await?;
                    Ok(map.filter(|map| map.data.as_ref().is_some_and(|data| data.contains_key(&key))))
                })
                .await?;
            ensure!(
                map.labels().get(BACKUP_LABEL).map(String::as_str) == Some(""),
                "{map:?}"
            );
            let info: ClientInfo = serde_json::from_str(&map.data.context("no data")?[&key])?;
            ensure!(info.client_id == client_id(side, "local"), "{info:?}");
            ensure!(
                info.provider_info.provider_managed_cluster_name == side.cluster(),
                "{info:?}"
            );
            ensure!(
                info.provider_info.storage_provider_public_endpoint == endpoint(side),
                "{info:?}"
            );
            let members = s.hub_of::<PeerMember>(side);
            s.until(&format!("the member of {side:?} to report"), || async {
                let member = members.get(side.cluster()).await?;
                ensure!(member.spec.reports[0].name == odf_info::REPORT, "{:?}", member.spec);
                let conditions = member.status.unwrap_or_default().conditions;
                let reported = condition(&conditions, "Reported").filter(|said| said.status == "True");
                Ok(reported
                    .filter(|said| said.observed_generation == member.metadata.generation)
                    .map(drop))
            })
            .await?;
        }
        Ok(())
    }

    /// A policy gives both clients its classes, and takes them away again.
    async fn policy_comes_and_goes(&self) -> Result<()> {
        let s = self.s();
        let policies: Api<DRPolicy> = Api::all(s.hub.clone());
        let policy = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "five"},
        "spec": {"drClusters": ["cluster2", "cluster1"], "schedulingInterval": "5m"}});
        policies
            .create(&PostParams::default(), &serde_json::from_value(policy)?)
            .await?;
        let (volume, group) = (
            names::replication_class("5m", false),
            names::group_replication_class("5m", false, "pool"),
        );
        for side in BOTH {
            self.await_classes(side, "local", (&[BY_HAND, &volume], &[&group]))
                .await?;
        }
        policies.delete("five", &DeleteParams::default()).await?;
        for side in BOTH {
            self.await_classes(side, "local", (&[BY_HAND], &[])).await?;
        }

        Ok(())
    }

    /// The versions of what the manager has written and has no reason to write again.
    async fn versions(&self, peer: &str) -> Result<BTreeMap<String, Option<String>>> {
        let s = self.s();
        let mut all = BTreeMap::new();
        let peer = self.site.peers().get(peer).await?;
        all.insert("the MirrorPeer".to_owned(), peer.resource_version());
        for peering in s.peerings().list(&ListParams::default()).await? {
            all.insert(peering.name_any(), peering.resource_version());
        }
        for side in BOTH {
            let member = s.hub_of::<PeerMember>(side).get(side.cluster()).await?;
            all.insert(
                format!("member {side:?}"),
                member.metadata.generation.map(|at| at.to_string()),
            );
            for work in s.hub_of::<ManifestWork>(side).list(&ListParams::default()).await? {
                let name = format!("work {} of {side:?}", work.name_any());
                all.insert(name, work.metadata.generation.map(|at| at.to_string()));
            }
        }
        Ok(all)
    }

    /// The manager starts anew and takes up its work, and writes nothing for what stands as it should.
    async fn restart_without_a_write(&self, peer: &str) -> Result<()> {
        let s = self.s();
        let before = s.quiet("what the manager has written", || self.versions(peer)).await?;
        let manager = s.world.manager().await?;
        manager.kill();
        let node = s.world.env.hub().node()?;
        node.await_restart(MANAGER_NAMESPACE, "addon-manager", &manager, SOON)
            .await?;
        // What it has reason to write shows that it works.
        self.provider(Side::East).tell(s, &["local", "late"]).await?;
        let key = names::client_key("cluster1", "late");
        s.until("the late client to be told", || async {
            let map = self.info().get_opt(client_info::NAME).await?;
            Ok(map
                .filter(|map| map.data.as_ref().is_some_and(|data| data.contains_key(&key)))
                .map(drop))
        })
        .await?;
        let after = self.versions(peer).await?;
        ensure!(after == before, "{after:#?}, expected {before:#?}");
        Ok(())
    }

    fn info(&self) -> Api<ConfigMap> {
        Api::namespaced(self.s().hub.clone(), MANAGER_NAMESPACE)
    }
}

#[tokio::test]
async fn clients_are_paired_by_tickets_that_nobody_else_sees_and_parted_without_a_trace() -> Result<()> {
    let clients = Clients::new("client-pair", &["local"]).await?;
    let (site, s) = (&clients.site, clients.s());
    for provider in &clients.providers {
        provider.lifetime(Duration::from_secs(40));
        provider.reach(Reach::Pending).await?;
    }
    site.apply("client-pair", &json!({"items": pair("local"), "manageS3": true}))
        .await?;

    clients.await_info().await?;
    // A ticket that is not used in time is followed by another.
    for side in BOTH {
        clients.await_ticket(side, 1).await?;
    }
    site.await_phase("client-pair", "Configuring", "Peering is in progress")
        .await?;
    for side in BOTH {
        clients.await_ticket(side, 2).await?;
        s.until("the link to tell of the peer's state", || async {
            let conditions = clients.link(side).await?.status.unwrap_or_default().conditions;
            let connected = condition(&conditions, "Connected").context("no Connected")?;
            ensure!(connected.reason == "NotSynced", "{connected:?}");
            ensure!(connected.message.contains("state "), "{connected:?}");
            Ok(Some(()))
        })
        .await?;
    }
    for provider in &clients.providers {
        provider.lifetime(Duration::from_hours(48));
        provider.reach(Reach::Peered).await?;
    }
    site.await_ready("client-pair").await?;
    clients.await_used().await?;
    let issued = BOTH.map(|side| clients.provider(side).tickets().len());
    for side in BOTH {
        clients.await_mapping(side, &[("local", "local")]).await?;
        let map = s.on::<ConfigMap>(side).get(mapping::WORK).await?;
        let peer = map.annotations().get("ocs.openshift.io/storage-cluster-peer").cloned();
        ensure!(peer == Some(format!("{}-peer", side.other().cluster())), "{map:?}");
    }

    clients.restart_without_a_write("client-pair").await?;

    // Ramen finds the buckets under the names that the Go orchestrator gave them.
    let items = site.peers().get("client-pair").await?.spec.items;
    let text = site.ramen_text().await?;
    let secrets: Api<Secret> = Api::namespaced(s.hub.clone(), super::mirrorpeer::RAMEN);
    for side in BOTH {
        let profile = names::s3_profile(side.cluster(), "local");
        let entry = ramen::profile(&text, &profile)?.with_context(|| format!("no entry {profile} in {text}"))?;
        let secret = names::client_s3_secret(side.cluster(), &items[0], &items[1]);
        ensure!(entry.s3_bucket == names::bucket("cluster1", "cluster2"), "{text}");
        ensure!(entry.s3_secret_ref.name == secret, "{text}");
        secrets.get(&secret).await?;
        let cluster = site.clusters().get(side.cluster()).await?;
        ensure!(cluster.spec.s3_profile_name == profile, "{cluster:?}");
    }

    clients.policy_comes_and_goes().await?;
    site.await_ready("client-pair").await?;

    // A peer that is made anew needs a new ticket, and only that side's.
    let name = format!("{}-peer", Side::East.cluster());
    let peers = clients.provider(Side::West).peers();
    let before = peers.get(&name).await?.uid();
    peers.delete(&name, &DeleteParams::default()).await?;
    s.until("the peer to be made anew", || async {
        let peer = peers.get_opt(&name).await?;
        let new = peer.filter(|peer| peer.uid() != before);
        Ok(new.filter(|peer| peer.data["status"]["state"] == "Peered").map(drop))
    })
    .await?;
    site.await_ready("client-pair").await?;
    clients.await_used().await?;
    let now = BOTH.map(|side| clients.provider(side).tickets().len());
    ensure!(now == [issued[0] + 1, issued[1]], "{:?}", clients.tickets());

    site.delete("client-pair").await?;
    clients.await_nothing_left().await
}

#[tokio::test]
async fn two_pairs_share_their_providers_and_a_peer_that_fails_is_told() -> Result<()> {
    let clients = Clients::new("client-share", &["one", "two"]).await?;
    let site = &clients.site;
    clients.provider(Side::West).reach(Reach::Failed).await?;
    site.apply("client-share-a", &json!({"items": pair("one")})).await?;
    let phase = ("Configuring", "Peering of managedclusters failed");
    site.await_phase_saying("client-share-a", phase, ("Configured", "state Failed"))
        .await?;
    clients.provider(Side::West).reach(Reach::Peered).await?;
    site.await_ready("client-share-a").await?;
    clients.await_used().await?;
    let issued = clients.tickets().len();

    // The second pair needs no ticket of its own.
    let items = json!([
        {"clusterName": "cluster2", "storageClusterRef": {"name": "two"}},
        {"clusterName": "cluster1", "storageClusterRef": {"name": "two"}},
    ]);
    site.apply("client-share-b", &json!({"items": items})).await?;
    site.await_ready("client-share-b").await?;
    for side in BOTH {
        clients.await_mapping(side, &[("one", "one"), ("two", "two")]).await?;
    }
    ensure!(clients.tickets().len() == issued, "{:?}", clients.tickets());

    // A client is paired once.
    let items = json!([
        {"clusterName": "cluster1", "storageClusterRef": {"name": "one"}},
        {"clusterName": "cluster2", "storageClusterRef": {"name": "two"}},
    ]);
    site.apply("client-share-c", &json!({"items": items})).await?;
    let phase = ("Configuring", "Configuration failed");
    site.await_phase_saying("client-share-c", phase, ("Configured", "is paired already"))
        .await?;
    site.delete("client-share-c").await?;

    site.delete("client-share-a").await?;
    for side in BOTH {
        clients.await_mapping(side, &[("two", "two")]).await?;
        clients
            .provider(side)
            .peers()
            .get(&format!("{}-peer", side.other().cluster()))
            .await?;
    }
    site.await_ready("client-share-b").await?;

    // A storage operator that tells of the client no more takes nothing with it, and holds up nothing.
    clients.provider(Side::East).tell(clients.s(), &["one"]).await?;
    site.await_phase_saying("client-share-b", phase, ("Configured", "no longer known"))
        .await?;
    for side in BOTH {
        clients.await_mapping(side, &[("two", "two")]).await?;
    }
    site.delete("client-share-b").await?;
    clients.await_nothing_left().await
}

#[tokio::test]
async fn what_the_go_orchestrator_left_of_tickets_is_let_go_and_its_peers_stay() -> Result<()> {
    let clients = Clients::new("client-legacy", &["local"]).await?;
    let (site, s) = (&clients.site, clients.s());
    let mut uids = Vec::new();
    for side in BOTH {
        let (name, other) = (format!("{}-peer", side.other().cluster()), side.other());
        let peer = json!({"apiVersion": "ocs.openshift.io/v1", "kind": "StorageClusterPeer",
            "metadata": {"name": name, "namespace": s.name},
            "spec": {"onboardingToken": "a ticket in plain", "apiEndpoint": endpoint(other)}});
        let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
            "metadata": {"name": names::legacy_peer_work(side.cluster())}, "spec": {"workload": {"manifests": [peer]}}});
        let works = s.hub_of::<ManifestWork>(side);
        works
            .create(&PostParams::default(), &serde_json::from_value(work)?)
            .await?;
        let peers = clients.provider(side).peers();
        let made = s.until("the peer of before", || async { Ok(peers.get_opt(&name).await?) });
        uids.push((side, name.clone(), made.await?.uid()));
        // Long since peered, when the ticket was still good.
        let settled = || async {
            let peer = peers.get(&name).await?;
            Ok((peer.data["status"]["state"] == "Failed").then_some(()))
        };
        s.until("the stand-in to have looked at it", settled).await?;
        clients.provider(side).reach(Reach::Peered).await?;
    }
    site.apply("client-legacy", &json!({"items": pair("local")})).await?;
    site.await_ready("client-legacy").await?;
    clients.await_used().await?;
    for (side, name, uid) in uids {
        let peer = clients.provider(side).peers().get(&name).await?;
        ensure!(peer.uid() == uid, "the peer was made anew");
        ensure!(
            peer.data["spec"]["onboardingToken"] != "a ticket in plain",
            "the old ticket stayed"
        );
        let work = names::legacy_peer_work(side.cluster());
        s.await_gone(&s.hub_of::<ManifestWork>(side), &work).await?;
    }
    site.delete("client-legacy").await?;
    clients.await_nothing_left().await
}
