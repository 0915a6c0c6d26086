//! How much the pure core does per second: envelopes, expressions, CA bundles. Prints figures, asserts nothing.
use std::{collections::BTreeSet, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use exchange::{
    ca, envelope,
    expression::{Condition, Scope, Text},
    key::KeyPair,
    value::Value,
};
use jiff::Timestamp;
use peering_api::Sensitive;
use serde_json::json;

const LINK: &str = "1244d3bc6c53866b576a23659f450d97";
/// Bytes of a large credential: a kubeconfig, or a certificate with its key and chain.
const CONTENT: usize = 4096;

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_private(vec![seed; 32].into()).unwrap()
}

/// A generator that costs nothing, so that sealing is measured and not it.
struct Counter(u64);

impl hpke::rand_core::TryRng for Counter {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64()
            .map(|number| u32::try_from(number & 0xffff_ffff).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(self.0)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let number = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for Counter {}

fn envelopes(criterion: &mut Criterion) {
    let (sender, recipient) = (pair(1), pair(2));
    let content: Sensitive = vec![7; CONTENT].into();
    let mut rng = Counter(1);
    let mut seal = || envelope::seal(LINK, 42, "hash", &content, &sender, recipient.public(), &mut rng).unwrap();
    let sealed = seal();
    let mut group = criterion.benchmark_group("envelope");
    group.throughput(Throughput::Elements(1));
    group.bench_function("seal 4 KiB", |bencher| bencher.iter(&mut seal));
    group.bench_function("open 4 KiB", |bencher| {
        bencher.iter(|| envelope::open(black_box(&sealed), LINK, sender.public(), &recipient).unwrap());
    });
    group.finish();
}

fn scope() -> Scope {
    let token: Value = [("token", Value::Bytes(vec![b'x'; 200].into()))].into_iter().collect();
    let peers: Vec<_> = (0..20)
        .map(|number| json!({"name": format!("peer-{number}"), "up": number % 2 == 0}))
        .collect();
    let inputs = [
        ("token", [("data", token)].into_iter().collect()),
        ("pool", Value::from(json!({"status": {"peers": peers}}))),
    ];
    Scope {
        params: [("pool".to_owned(), "replicapool".to_owned())].into(),
        source: "east".to_owned(),
        extra: [("inputs".to_owned(), inputs.into_iter().collect())].into(),
        ..Scope::default()
    }
}

const NAME: &str = "peer-${source.cluster}-${params.pool}";
const READY: &str = "size(inputs.token.data.token) > 0 && has(inputs.pool.status.peers)";
const LOOP: &str =
    "inputs.pool.status.peers.filter(p, p.up && p.name.startsWith('peer-')).map(p, p.name).join(',') != ''";

fn expressions(criterion: &mut Criterion) {
    let scope = scope();
    let mut group = criterion.benchmark_group("expression");
    group.throughput(Throughput::Elements(1));
    group.bench_function("compile name", |bencher| {
        bencher.iter(|| Text::parse(black_box(NAME)).unwrap())
    });
    let name = Text::parse(NAME).unwrap();
    group.bench_function("evaluate name", |bencher| {
        bencher.iter(|| name.resolve(black_box(&scope)).unwrap())
    });
    for (label, source) in [("condition", READY), ("loop over 20 items", LOOP)] {
        group.bench_function(format!("compile {label}"), |bencher| {
            bencher.iter(|| Condition::parse(black_box(source)).unwrap());
        });
        let condition = Condition::parse(source).unwrap();
        assert!(condition.holds(&scope).unwrap(), "the benchmark measures the long way");
        group.bench_function(format!("evaluate {label}"), |bencher| {
            bencher.iter(|| condition.holds(black_box(&scope)).unwrap());
        });
    }
    group.finish();
}

/// A self-signed CA.
fn authority(name: &str) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

fn bundles(criterion: &mut Criterion) {
    const CERTIFICATES: usize = 100;
    let pem: String = (0..CERTIFICATES)
        .map(|number| authority(&format!("ca-{number}")))
        .collect();
    let members = ca::parse(pem.as_bytes()).certificates;
    assert_eq!(members.len(), CERTIFICATES);
    let now = Timestamp::UNIX_EPOCH;
    let mut group = criterion.benchmark_group("CA bundle of 100");
    group.bench_function("parse", |bencher| bencher.iter(|| ca::parse(black_box(pem.as_bytes()))));
    group.bench_function("unite", |bencher| {
        bencher.iter(|| ca::unite(black_box(&members), black_box(&members), &BTreeSet::new(), now));
    });
    group.finish();
}

criterion_group!(engine, envelopes, expressions, bundles);
criterion_main!(engine);
