//! The life of one Peering, from its start to its end: what the faults of the exchange happen to.
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::DeleteParams;
use scenarios::{
    Scenario, Side, World,
    end::{Picture, left, picture},
    objects::{bytes, ca},
    scenario::{bundle_text, fingerprints},
};

const SIDES: [Side; 2] = [Side::East, Side::West];

/// What both sides hand over at one time.
struct Content {
    tokens: [String; 2],
    cas: [String; 2],
}

impl Content {
    fn token(&self, side: Side) -> &str {
        &self.tokens[usize::from(side == Side::West)]
    }

    fn ca(&self, side: Side) -> &str {
        &self.cas[usize::from(side == Side::West)]
    }
}

/// Certificates for all Peerings: making them takes long in a debug build, and what matters is that they differ.
pub struct Cas {
    first: [String; 2],
    /// What takes the place of the first one of the east.
    next: String,
}

impl Cas {
    /// Makes them.
    pub fn new() -> Result<Self> {
        Ok(Self {
            first: [ca("crash east", 2040)?, ca("crash west", 2041)?],
            next: ca("crash east, next", 2042)?,
        })
    }
}

/// Lives a Peering: applied, ready, a Secret and a CA rotated, deleted, nothing left. At each stop everything has to be as
/// in `expected`; without it, whatever is ready is taken as it is. Returns what was seen.
pub async fn live(world: &World, name: &str, cas: &Cas, expected: Option<&Picture>) -> Result<Picture> {
    let s = Scenario::new(world.clone(), name).await?;
    let first = Content {
        tokens: SIDES.map(|side| format!("token of {name} {}", side.cluster())),
        cas: cas.first.clone(),
    };
    let next = Content {
        tokens: [format!("the next token of {name}"), first.tokens[1].clone()],
        cas: [cas.next.clone(), first.cas[1].clone()],
    };
    for side in SIDES {
        s.source(side, &[("token", first.token(side).as_bytes())]).await?;
        s.ca_source(side, first.ca(side)).await?;
    }
    s.peer("storage-peering-basic", &["cluster1", "cluster2"]).await?;
    let picture = arrived(&s, &first, expected).await?;
    s.source(Side::East, &[("token", next.token(Side::East).as_bytes())])
        .await?;
    s.ca_source(Side::East, next.ca(Side::East)).await?;
    let rotated = arrived(&s, &next, Some(&picture)).await?;
    ensure!(rotated == picture, "{rotated:?}");
    s.peerings().delete(&s.name, &DeleteParams::default()).await?;
    // It goes last. Everything else is looked for only then: that is many requests.
    s.await_gone(&s.peerings(), name).await?;
    s.until(&format!("nothing to be left of {name}"), || async {
        let left = left(&s).await?;
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(Some(()))
    })
    .await?;
    Ok(picture)
}

/// Waits until both sides hold what the other has, and everything that is told is as expected.
async fn arrived(s: &Scenario, content: &Content, expected: Option<&Picture>) -> Result<Picture> {
    for side in SIDES {
        let sent = [("token", content.token(side.other()).as_bytes())];
        s.await_target(side, &sent).await?;
        s.await_bundle(side, &[&content.cas[0], &content.cas[1]]).await?;
    }
    let expected = if let Some(expected) = expected {
        expected
    } else {
        s.await_peering("Ready", "True", "AllLinksReady").await?;
        &s.quiet(&format!("what is told of {}", s.name), || picture(s)).await?
    };
    s.until(&format!("everything of {} to be as it should", s.name), || async {
        let seen = picture(s).await?;
        ensure!(seen == *expected, "expected {expected:?}, seen {seen:?}");
        // Nothing may take it away again while the rest comes.
        for side in SIDES {
            let target = s.on::<Secret>(side).get(&s.target_name(side)).await?.data;
            let sent = bytes(&[("token", content.token(side.other()).as_bytes())]);
            ensure!(target == Some(sent), "a target changed");
            let bundle = s.on::<ConfigMap>(side).get(&s.bundle_name()).await?;
            let certificates = fingerprints(&bundle_text(&bundle));
            ensure!(certificates == fingerprints(&content.cas.concat()), "a bundle changed");
        }
        Ok(Some(seen))
    })
    .await
}
