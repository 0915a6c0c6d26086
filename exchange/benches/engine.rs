//! How many envelopes the engine seals and opens in a second, and how many expressions it evaluates. `make bench-exchange`.
use std::{collections::BTreeMap, error::Error, hint::black_box};

use criterion::{Criterion, Throughput};
use exchange::{
    content::Content,
    envelope,
    expression::{Condition, Scope, Template, Text},
    key::KeyPair,
    value::Value,
};
use peering_api::{Sensitive, names};
use serde_json::json;

/// A revision of today's size: milliseconds since 1970.
const REVISION: i64 = 1_795_000_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    envelopes(&mut criterion)?;
    expressions(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// The content of one key of so many bytes, encoded.
fn content(length: usize) -> Sensitive {
    let data = BTreeMap::from([("token".to_owned(), vec![b'x'; length].into())]);
    Content { type_: None, data }.encode()
}

/// 256 bytes are a Ceph bootstrap token, 16 KiB a CA bundle of about ten certificates.
fn envelopes(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut rng = rand::rng();
    let (sender, recipient) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
    let link = names::link_id("east-west", "peer-token", "east", "west");
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Elements(1));
    for (size, length) in [("256 B", 256), ("16 KiB", 16 * 1024)] {
        let content = content(length);
        let hash = sender.content_hash(content.expose());
        let sealed = envelope::seal(&link, REVISION, &hash, &content, &sender, recipient.public(), &mut rng)?;
        envelope::open(&sealed, &link, sender.public(), &recipient)?;
        group.bench_function(format!("seal {size}"), |bencher| {
            bencher.iter(|| envelope::seal(&link, REVISION, &hash, &content, &sender, recipient.public(), &mut rng));
        });
        group.bench_function(format!("open {size}"), |bencher| {
            bencher.iter(|| envelope::open(black_box(&sealed), &link, sender.public(), &recipient));
        });
        group.bench_function(format!("hash {size}"), |bencher| {
            bencher.iter(|| sender.content_hash(black_box(content.expose())));
        });
    }
    group.finish();
    Ok(())
}

/// What an agent has read: a Secret and a pool.
fn scope() -> Scope {
    let data: Value = [("token", Value::Bytes(vec![b'x'; 256].into()))].into_iter().collect();
    let pool = json!({
        "spec": {"mirroring": {"enabled": true, "peers": [{"name": "a", "up": true}, {"name": "b", "up": false}]}},
        "status": {"phase": "Ready", "info": {"rbdMirrorBootstrapPeerSecretName": "pool-peer-token"}},
    });
    let inputs: Value = [
        ("token", [("data", data)].into_iter().collect()),
        ("pool", Value::from(pool)),
    ]
    .into_iter()
    .collect();
    Scope {
        params: [("namespace".to_owned(), "rook-ceph".to_owned())].into(),
        peering: "east-west".to_owned(),
        source: "east".to_owned(),
        destination: Some("west".to_owned()),
        extra: [("inputs".to_owned(), inputs)].into(),
    }
}

/// Expressions as profiles have them, each parsed once and evaluated often, but for the first.
fn expressions(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let scope = scope();
    let mut group = criterion.benchmark_group("expression");
    group.throughput(Throughput::Elements(1));

    let name = "peer-${source.cluster}-${inputs.pool.status.info.rbdMirrorBootstrapPeerSecretName}";
    Text::parse(name)?.resolve(&scope)?;
    group.bench_function("parse a name", |bencher| bencher.iter(|| Text::parse(black_box(name))));
    let text = Text::parse(name)?;
    group.bench_function("name", |bencher| bencher.iter(|| text.resolve(black_box(&scope))));

    let payload = Text::parse("${inputs.token.data.token}")?;
    payload.evaluate(&scope)?;
    group.bench_function("payload: bytes as they are", |bencher| {
        bencher.iter(|| payload.evaluate(black_box(&scope)));
    });

    let ready = "size(inputs.token.data.token) > 0 && inputs.pool.status.phase == 'Ready'";
    let ready = Condition::parse(ready)?;
    ready.holds(&scope)?;
    group.bench_function("readyWhen", |bencher| bencher.iter(|| ready.holds(black_box(&scope))));

    let loops = Condition::parse("inputs.pool.spec.mirroring.peers.exists(peer, peer.name == 'b' && !peer.up)")?;
    loops.holds(&scope)?;
    group.bench_function("condition with a loop", |bencher| {
        bencher.iter(|| loops.holds(black_box(&scope)));
    });

    let kubeconfig = "${kubeconfig({'server': 'https://east.example:6443', 'ca': 'ca', 'context': 'east', 'token': inputs.token.data.token})}";
    let kubeconfig = Text::parse(kubeconfig)?;
    kubeconfig.evaluate(&scope)?;
    group.bench_function("payload: kubeconfig", |bencher| {
        bencher.iter(|| kubeconfig.evaluate(black_box(&scope)));
    });

    let object = json!({
        "apiVersion": "ceph.rook.io/v1", "kind": "CephRBDMirror",
        "metadata": {"name": "peer-${source.cluster}", "namespace": "${params.namespace}"},
        "spec": {"count": 1, "peers": {"secretNames": ["${inputs.pool.status.info.rbdMirrorBootstrapPeerSecretName}"]}},
    });
    let template = Template::parse(&object)?;
    template.fill(&scope)?;
    group.bench_function("template of an object", |bencher| {
        bencher.iter(|| template.fill(black_box(&scope)));
    });
    group.finish();
    Ok(())
}
