//! A way from a source Secret to a target Secret, and one change on it: the product's and the floor's look the same from here.
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use peering_api::{
    ocm::{ManifestWork, names::condition::APPLIED},
    peering::{PeerLink, condition},
};
use serde_json::json;

use crate::follow::Follow;

/// The key of the source that changes.
const KEY: &str = "token";
/// Its length: that of a Ceph bootstrap token.
const LENGTH: usize = 256;

/// The content of a numbered change. All have the same length.
pub fn token(number: u32) -> String {
    format!("{number:0>LENGTH$}")
}

/// The number of the change whose content a Secret holds.
pub fn number(secret: &Secret) -> Option<u32> {
    let bytes = &secret.data.as_ref()?.get(KEY)?.0;
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.len() == LENGTH)?
        .parse()
        .ok()
}

/// The data of a Secret with the content of a numbered change.
pub fn data(number: u32) -> serde_json::Value {
    json!({KEY: BASE64_STANDARD.encode(token(number))})
}

/// The pause between changes. OCM's work agent allows itself 50 requests a second and makes about thirty for a change: were they
/// made in a row, one would wait for the other's requests, and how long the work agent waits is all that would be measured.
const PAUSE: Duration = Duration::from_millis(750);

/// A way from a source to a target.
pub struct Route {
    name: &'static str,
    source: (Api<Secret>, String),
    target: Follow<Secret>,
    link: Follow<PeerLink>,
    work: Follow<ManifestWork>,
}

impl Route {
    /// A way by API and name of the source, the target, the link and the work.
    pub fn new(
        name: &'static str,
        source: (Api<Secret>, &str),
        target: (Api<Secret>, &str),
        link: (Api<PeerLink>, &str),
        work: (Api<ManifestWork>, &str),
    ) -> Self {
        Self {
            name,
            source: (source.0, source.1.to_owned()),
            target: Follow::start(target.0, target.1),
            link: Follow::start(link.0, link.1),
            work: Follow::start(work.0, work.1),
        }
    }

    /// Changes the source and returns how long it took until the change of the target was seen. Then waits until the link
    /// has been reported on and OCM has reported on the work, and a while: the next change meets nobody still busy with this one.
    pub async fn change(&self, change: u32) -> Result<Duration> {
        let failed = |what: &str| format!("change {change} of {}: {what}", self.name);
        let (_, revision) = self.link.until(applied_revision).await?;
        let (_, generation) = self.work.until(|work| work.metadata.generation).await?;

        let patch = json!({"data": data(change)});
        let start = Instant::now();
        let (source, name) = &self.source;
        source
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        let target = self
            .target
            .until(|secret| number(secret).filter(|seen| *seen == change));
        let (end, _) = target
            .await
            .map_err(|error| error.context(failed("the target did not follow")))?;

        let link = self
            .link
            .until(|link| applied_revision(link).filter(|seen| *seen > revision));
        link.await
            .map_err(|error| error.context(failed("the link was not reported on")))?;
        let work = self.work.until(|work| {
            work.metadata
                .generation
                .filter(|seen| *seen > generation && is_applied(work))
        });
        work.await
            .map_err(|error| error.context(failed("the work was not reported on")))?;
        tokio::time::sleep(PAUSE).await;
        Ok(end - start)
    }

    /// Waits until OCM has said everything about the work that it has to say: some of it comes seconds later.
    pub async fn rest(&self) -> Result<()> {
        self.work.until(|work| is_current(work).then_some(())).await?;
        Ok(())
    }
}

fn applied_revision(link: &PeerLink) -> Option<i64> {
    link.status.as_ref()?.applied_revision
}

fn is_applied(work: &ManifestWork) -> bool {
    let conditions = work
        .status
        .as_ref()
        .map_or(&[][..], |status| status.conditions.as_slice());
    condition(conditions, APPLIED)
        .is_some_and(|found| found.status == "True" && found.observed_generation == work.metadata.generation)
}

fn is_current(work: &ManifestWork) -> bool {
    let conditions = work.status.iter().flat_map(|status| &status.conditions);
    is_applied(work)
        && conditions
            .filter(|found| found.observed_generation.is_some())
            .all(|found| found.observed_generation == work.metadata.generation)
}
