//! The real CRDs of other operators: all of them are served, and what does not fit their schemas is told.
use anyhow::{Context, Result, ensure};
use testenv::{crds, wait};

/// A claim with the given fields of its spec.
fn claim(spec: &str) -> String {
    format!(
        "{{apiVersion: objectbucket.io/v1alpha1, kind: ObjectBucketClaim, \
         metadata: {{name: bucket, namespace: default}}, spec: {{{spec}}}}}"
    )
}

#[tokio::test]
async fn real_crds_are_served_and_strict() -> Result<()> {
    let hub = testenv::shared().hub();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(crds::directory().await?)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .context("a CRD's file")?;
        names.push(name.to_owned());
    }
    for wanted in [
        "cephblockpools.ceph.rook.io",
        "cephfilesystems.ceph.rook.io",
        "objectbucketclaims.objectbucket.io",
        "proxies.config.openshift.io",
        "routes.route.openshift.io",
        "volumegroupreplicationclasses.replication.storage.openshift.io",
        "volumereplicationclasses.replication.storage.openshift.io",
    ] {
        ensure!(names.iter().any(|name| name == wanted), "no {wanted} in {names:?}");
    }
    for name in &names {
        hub.apply_crd(name).await?;
    }

    hub.apply_text(&claim("storageClassName: fast")).await?;
    let missing = hub.apply_text(&claim("bucketName: b")).await;
    let missing = format!("{:#}", missing.err().context("a claim without its class was taken")?);
    ensure!(missing.contains("storageClassName"), "{missing}");
    let unknown = hub.apply_text(&claim("storageClassName: fast, colour: red")).await;
    let unknown = format!("{:#}", unknown.err().context("a field nobody knows was taken")?);
    ensure!(unknown.contains("colour"), "{unknown}");

    for name in &names {
        hub.delete_crd(name).await?;
    }
    // It is served for a moment after its CRD has gone.
    let gone = || async {
        let taken = hub.apply_text(&claim("storageClassName: fast")).await;
        Ok(taken.is_err().then_some(()))
    };
    wait::until("the kind of a deleted CRD to be served no more", super::SOON, gone).await
}
