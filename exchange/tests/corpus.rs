//! Runs every file of the fuzz corpus, and ugly expressions that are generated, through the functions of the fuzz
//! targets (`fuzz/src/lib.rs`): what fuzzing has found once stays found.
// A helper outside of `#[test]` functions is test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[allow(dead_code)]
mod generator;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::{collections::BTreeMap, fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

/// The files of one target's corpus by name.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let files: BTreeMap<_, _> = files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    assert!(!files.is_empty(), "the corpus of {target} is empty");
    files
}

#[test]
fn expressions() {
    for (name, data) in corpus("expressions") {
        println!("{name}");
        targets::expressions(&data);
    }
}

#[test]
fn envelopes() {
    let opened: Vec<_> = corpus("envelopes")
        .into_iter()
        .filter_map(|(name, data)| targets::envelopes(&data).map(|content| (name, content)))
        .collect();
    let named = |expected: &str| {
        opened
            .iter()
            .any(|(name, content)| name == expected && content == b"content")
    };
    assert!(
        named("plain") && named("sealed"),
        "the seeds open, so fuzzing starts behind the header: {opened:?}"
    );
}

#[test]
fn certificates() {
    let read: BTreeMap<_, _> = corpus("certificates")
        .into_iter()
        .map(|(name, data)| (name, targets::certificates(&data)))
        .collect();
    assert_eq!(
        read.get("two"),
        Some(&2),
        "the seeds are read, so fuzzing starts behind the base64"
    );
}

#[test]
fn names() {
    for (name, data) in corpus("names") {
        println!("{name}");
        targets::names(&data);
    }
}

proptest! {
    #![proptest_config(Config {
        cases: 2000,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn ugly_expressions(text in generator::ugly()) {
        targets::expressions(text.as_bytes());
        targets::expressions(format!("${{{text}}}").as_bytes());
    }
}

/// The parser recurses: a quarter of the stack of a worker thread must do, in a build without optimisation too.
#[test]
fn the_deepest_expression_fits_into_a_small_stack() {
    const STACK: usize = 512 * 1024;
    let forms = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{'a':", "1", "}"),
        ("f(", "1", ")"),
        ("!", "true", ""),
        ("-!", "true", ""),
        ("1+", "1", ""),
        ("true&&", "true", ""),
        ("a?b:", "c", ""),
        ("", "a", ".a"),
        ("", "a", "[0]"),
        ("", "a", ".f()"),
        ("", "[1]", ".map(x,[x])"),
        ("[1].map(x,", "x", ")"),
        ("${", "", ""),
    ];
    let run = move || {
        for (before, middle, after) in forms {
            for times in [30, 100, 500, 4000] {
                let text = format!("{}{middle}{}", before.repeat(times), after.repeat(times));
                targets::expressions(text.as_bytes());
                targets::expressions(format!("${{{text}}}").as_bytes());
            }
        }
    };
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}
