//! The table of hostile signing requests, which the framework's unit tests judge, on a real API server: each is sent as the
//! user that it claims to come from, with honest ones between them.
use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use addon_framework::{Options, Registration, Simple, runtime::metrics};
use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    config::AuthInfo,
};
use peering_api::ocm::{
    ManagedCluster, ManagedClusterAddOn,
    names::{ADDON_NAME_LABEL, CLUSTER_NAME_LABEL},
};
use scenarios::Scenario;
use serde_json::json;

use self::request::{Case, Hostile, Verdict};
use crate::framework_life::{await_condition, run};

#[path = "../../../addon-framework/src/csr/tests/hostile.rs"]
#[expect(clippy::unwrap_used, reason = "shared with unit tests")]
mod hostile;
#[path = "../../../addon-framework/src/csr/tests/request.rs"]
#[expect(clippy::unwrap_used, dead_code, reason = "shared with unit tests")]
mod request;

/// The cluster and the addon of the table.
const CLUSTER: &str = "c1";
const ADDON: &str = "hello";

/// What the API server does not even store: requests of nobody, for the group of administrators, for nothing, and what is
/// no request for a certificate.
const REFUSED: [&str; 14] = [
    "nobody",
    "O swapped",
    "O added in one RDN",
    "no usages",
    "bad signature",
    "content changed after signing",
    "signed by another key",
    "empty",
    "no PEM",
    "oversized",
    "garbage in PEM",
    "bytes behind",
    "a certificate",
    "another label",
];

const HUB: &str = "
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ClusterManagementAddOn
metadata: {name: hello}
spec: {installStrategy: {type: Manual}}
---
apiVersion: addon.open-cluster-management.io/v1beta1
kind: ManagedClusterAddOn
metadata: {name: hello, namespace: c1}
spec: {}
";

/// Everybody in the table may ask: what they may get is up to the approver.
fn rights(users: &BTreeSet<String>) -> String {
    let mut text = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: framework-hostile}
rules: [{apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: framework-hostile}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: framework-hostile}
subjects:
"
    .to_owned();
    for user in users {
        let _ = writeln!(
            text,
            "- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user:?}}}"
        );
    }
    text
}

/// Waits until the API server knows of the rights: a request must not be refused for the lack of them.
async fn await_rights(s: &Scenario, users: &BTreeSet<String>) -> Result<()> {
    let reviews: Api<SubjectAccessReview> = Api::all(s.hub.clone());
    for user in users {
        let review = json!({"metadata": {}, "spec": {"user": user, "resourceAttributes":
            {"group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create"}}});
        let review: SubjectAccessReview = serde_json::from_value(review)?;
        s.until(&format!("{user} to be allowed to ask"), || async {
            let answer = reviews.create(&PostParams::default(), &review).await?;
            Ok(answer.status.filter(|status| status.allowed))
        })
        .await?;
    }
    Ok(())
}

/// The cases which differ from a good one in the request itself, and not in what is around it.
fn table() -> Vec<Hostile> {
    let around = |case: &Case| json!([case.addon, case.cluster, case.wanted]);
    let usual = around(&Case::good());
    let all = [
        hostile::from_others(),
        hostile::other_groups_labels_or_signers(),
        hostile::without_a_registration(),
        hostile::other_subjects(),
        hostile::never_for_an_agent(),
        hostile::broken(),
    ];
    all.into_iter()
        .flatten()
        .filter(|(.., case)| around(case) == usual)
        .collect()
}

/// What the manager has come to know.
#[derive(Default)]
struct Known {
    /// That the cluster is not accepted.
    refused: AtomicBool,
    /// That the addon is being deleted.
    leaving: AtomicBool,
}

impl Known {
    fn note(&self, cluster: &ManagedCluster, addon: &ManagedClusterAddOn) {
        if !cluster.spec.hub_accepts_client {
            self.refused.store(true, Ordering::Relaxed);
        }
        if addon.metadata.deletion_timestamp.is_some() {
            self.leaving.store(true, Ordering::Relaxed);
        }
    }
}

/// Who sends requests to whom.
struct Hub<'a> {
    s: &'a Scenario,
    requests: Api<CertificateSigningRequest>,
    known: Arc<Known>,
}

impl Hub<'_> {
    /// A client of the user and the groups that a request claims to come from.
    async fn client_of(&self, csr: &CertificateSigningRequest) -> Result<Client> {
        let mut config = self.s.world.env.hub().config().await?;
        match &csr.spec.username {
            Some(user) => {
                config.auth_info.impersonate = Some(user.clone());
                config.auth_info.impersonate_groups.clone_from(&csr.spec.groups);
            }
            None => config.auth_info = AuthInfo::default(),
        }
        Ok(Client::try_from(config)?)
    }

    /// Sends a request under a name of its own, as the user that it names.
    async fn send(&self, case: &Case, name: &str) -> Result<Result<String, Error>> {
        let mut csr = case.csr.clone();
        let client = self.client_of(&csr).await?;
        let name = format!("{}-{name}", csr.name_any());
        csr.metadata.name = Some(name.clone());
        // The API server writes who it comes from.
        let claimed = (csr.spec.username.take(), csr.spec.groups.take().unwrap_or_default());
        let created = Api::all(client).create(&PostParams::default(), &csr).await;
        let created: CertificateSigningRequest = match created {
            Ok(created) => created,
            Err(error) => return Ok(Err(error)),
        };
        let groups = created.spec.groups.unwrap_or_default();
        ensure!(
            created.spec.username == claimed.0 && claimed.1.iter().all(|group| groups.contains(group)),
            "{name} was to come from {claimed:?}, but comes from {:?} {groups:?}",
            created.spec.username
        );
        Ok(Ok(name))
    }

    async fn conditions(&self, name: &str) -> Result<Vec<CertificateSigningRequestCondition>> {
        let status = self.requests.get(name).await?.status.unwrap_or_default();
        ensure!(
            status.certificate.is_none()
                || status
                    .conditions
                    .iter()
                    .flatten()
                    .any(|found| found.type_ == "Approved"),
            "{name} has a certificate and was never approved"
        );
        Ok(status.conditions.unwrap_or_default())
    }

    async fn ensure_undecided(&self, name: &str, why: &str) -> Result<()> {
        let conditions = self.conditions(name).await?;
        ensure!(conditions.is_empty(), "{why}: {conditions:?}");
        Ok(())
    }

    async fn await_decision(&self, name: &str, type_: &str) -> Result<CertificateSigningRequestCondition> {
        self.s
            .until(&format!("{name} to be {type_}"), || async {
                let mut conditions = self.conditions(name).await?;
                Ok(match conditions.pop() {
                    Some(found) if found.type_ == type_ => Some(found),
                    Some(other) => anyhow::bail!("{name} is {}: {:?}", other.type_, other.message),
                    None => None,
                })
            })
            .await
    }

    /// Waits until the manager knows something. What it left alone of the table is judged again at each change, so it hears of it.
    async fn await_known(&self, what: &str, of: impl Fn(&Known) -> &AtomicBool) -> Result<()> {
        self.s
            .until(&format!("the manager to know that {what}"), || async {
                Ok(of(&self.known).load(Ordering::Relaxed).then_some(()))
            })
            .await
    }

    /// Sends a good request and waits until it is approved: what came before it was seen by the manager then.
    async fn honest(&self, name: &str) -> Result<()> {
        let name = self.send(&Case::good(), &format!("honest-{name}")).await??;
        self.await_decision(&name, "Approved").await.map(drop)
    }

    /// Sends a good request for which the time is not right, and waits until the manager has left one alone.
    async fn untimely(&self, name: &str) -> Result<String> {
        let before = metrics().csr_decisions("ignored");
        let name = self.send(&Case::good(), name).await??;
        self.s
            .until(&format!("{name} to be left alone"), || async {
                Ok((metrics().csr_decisions("ignored") > before).then_some(()))
            })
            .await?;
        self.ensure_undecided(&name, "it came at the wrong time").await?;
        Ok(name)
    }
}

#[tokio::test]
async fn no_hostile_request_gets_a_certificate() -> Result<()> {
    let s = Scenario::shared("framework-hostile").await?;
    let table = table();
    ensure!(table.len() >= 25, "only {} hostile requests", table.len());
    let users = table.iter().filter_map(|(.., case)| case.csr.spec.username.clone());
    let users: BTreeSet<String> = users.chain(Case::good().csr.spec.username).collect();
    s.world.env.hub().apply_text(&rights(&users)).await?;
    s.world.env.bare_cluster(CLUSTER).await?;
    await_rights(&s, &users).await?;
    let known = Arc::<Known>::default();
    let told = known.clone();
    let addon = Simple::new(ADDON)
        .registration(move |cluster, addon| {
            told.note(cluster, addon);
            Some(Registration::kube_client(&cluster.name_any(), ADDON))
        })
        .options(Options::default());
    let _manager = run(&s, addon)?;
    let hub = Hub {
        s: &s,
        requests: Api::all(s.hub.clone()),
        known,
    };

    // Before there is an addon a good request waits, and after that no longer.
    let early = hub.untimely("early").await?;
    s.world.env.hub().apply_text(HUB).await?;
    hub.await_decision(&early, "Approved").await?;

    hostile_requests_are_refused(&hub, &table).await?;
    the_status_gives_no_name(&hub).await?;
    only_accepted_clusters_and_living_addons(&hub).await?;

    let labels = kube::api::ListParams::default().labels(&format!("open-cluster-management.io/cluster-name={CLUSTER}"));
    hub.requests
        .delete_collection(&DeleteParams::default(), &labels)
        .await?;
    s.world.env.delete_bare_cluster(CLUSTER).await
}

async fn hostile_requests_are_refused(hub: &Hub<'_>, table: &[Hostile]) -> Result<()> {
    let before = (metrics().csr_decisions("ignored"), metrics().csr_decisions("denied"));
    let (mut sent, mut refused) = (vec![], BTreeSet::new());
    for (index, (what, verdict, word, case)) in table.iter().enumerate() {
        match hub.send(case, &index.to_string()).await? {
            Ok(name) => sent.push((*what, *verdict, *word, name, is_labelled(&case.csr))),
            Err(Error::Api(status)) if [400, 401, 403, 422].contains(&status.code) => {
                refused.insert(*what);
            }
            Err(error) => return Err(error).context(*what),
        }
        if index % 10 == 0 {
            hub.honest(&index.to_string()).await?;
        }
    }
    ensure!(
        refused == REFUSED.into(),
        "the API server refused {refused:?}, expected {REFUSED:?}"
    );
    for (what, verdict, word, name, _) in &sent {
        if *verdict == Verdict::Denied {
            let denial = hub.await_decision(name, "Denied").await.context(*what)?;
            let message = denial.message.unwrap_or_default();
            ensure!(message.contains(word), "{what}: {message}");
        }
    }
    // Of those without both labels, or with another addon's, the manager does not think at all.
    let seen = |wanted: Verdict| {
        let count = sent.iter().filter(|sent| sent.1 == wanted && sent.4).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    };
    let (ignored, denied) = (seen(Verdict::Ignored), seen(Verdict::Denied));
    ensure!(ignored + denied >= 25, "{ignored} to ignore, {denied} to deny");
    hub.s
        .until("the counters of what was refused to rise", || async {
            let now = (metrics().csr_decisions("ignored"), metrics().csr_decisions("denied"));
            Ok((now.0 >= before.0 + ignored && now.1 >= before.1 + denied).then_some(()))
        })
        .await?;
    hub.honest("last").await?;
    for (what, verdict, _, name, _) in &sent {
        if *verdict == Verdict::Ignored {
            hub.ensure_undecided(name, what).await?;
        }
    }
    Ok(())
}

/// Whether a request has a cluster in its labels, and this addon.
fn is_labelled(csr: &CertificateSigningRequest) -> bool {
    let label = |key: &str| csr.labels().get(key).map_or("", String::as_str);
    label(ADDON_NAME_LABEL) == ADDON && !label(CLUSTER_NAME_LABEL).is_empty()
}

/// The cluster's own agent may write the status: it makes itself somebody else there, and asks for just that.
async fn the_status_gives_no_name(hub: &Hub<'_>) -> Result<()> {
    const OTHER: &str = "system:kube-controller-manager";
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(hub.s.hub.clone(), CLUSTER);
    let registrations = json!([{"type": "kubeClient", "kubeClient": {"subject": {"user": OTHER}}}]);
    let patch = Patch::Merge(json!({"status": {"registrations": registrations}}));
    addons.patch_status(ADDON, &PatchParams::default(), &patch).await?;
    let case = Case::with(&request::params(OTHER, &[], &[request::HOST]));
    let name = hub.send(&case, "self-appointed").await??;
    hub.s
        .until("the registration to be put right", || async {
            let status = addons.get(ADDON).await?.status.unwrap_or_default();
            let subject = status
                .registrations
                .first()
                .and_then(|found| found.kube_client.clone()?.subject);
            Ok(subject.filter(|subject| subject.user == request::USER))
        })
        .await?;
    hub.honest("after-the-status").await?;
    hub.ensure_undecided(&name, "its name was only in the status").await
}

async fn only_accepted_clusters_and_living_addons(hub: &Hub<'_>) -> Result<()> {
    let clusters: Api<ManagedCluster> = Api::all(hub.s.hub.clone());
    let accept = async |accepted: bool| {
        let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": accepted}}));
        clusters.patch(CLUSTER, &PatchParams::default(), &patch).await
    };
    accept(false).await?;
    // Until its watch brings that, the manager may approve what comes.
    hub.await_known("the cluster is not accepted", |known| &known.refused)
        .await?;
    let name = hub.untimely("not-accepted").await?;
    accept(true).await?;
    hub.await_decision(&name, "Approved").await?;

    // Held by somebody's finalizer while it is being deleted.
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(hub.s.hub.clone(), CLUSTER);
    let hold = async |finalizers: &[&str]| {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
        addons.patch(ADDON, &PatchParams::default(), &patch).await
    };
    await_condition(hub.s, &addons, ADDON, "RegistrationApplied", "SetPermissionApplied").await?;
    hold(&["example.com/held"]).await?;
    addons.delete(ADDON, &DeleteParams::default()).await?;
    hub.await_known("the addon is being deleted", |known| &known.leaving)
        .await?;
    let name = hub.untimely("leaving").await?;
    hold(&[]).await?;
    hub.s.await_gone(&addons, ADDON).await?;
    hub.ensure_undecided(&name, "its addon is gone").await
}
