//! Readers of bytes from outside, against bytes changed at random: `wharfage::fuzz` says which, and what must hold.
//!
//! A bounded number of rounds with a fixed seed runs here. For long runs on the stable compiler:
//! `WHARFAGE_FUZZ_ROUNDS=10000000 cargo test --release -p wharfage-tests fuzz -- --nocapture`, which starts from a seed of
//! the time; with coverage, on a nightly one: `tests/fuzz`. What is found goes into the corpus, and stays.

use std::fs;

use wharfage::fuzz::TARGETS;
use wharfage_tests::{mutate, root};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("tests/fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// So many inputs of this target, in a time that nobody minds.
fn fuzz(name: &str, rounds: usize) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    #[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
    let wanted = std::env::var("WHARFAGE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let seed = match wanted {
        None => 1,
        Some(_) => std::time::UNIX_EPOCH.elapsed().map_or(2, |since| since.as_secs()),
    };
    let run = mutate::run(seed, corpus(name), wanted.unwrap_or(rounds), target);
    println!("{name}: {} inputs from seed {seed}, {} outcomes", run.rounds, run.outcomes);
    if let Some((input, said)) = run.finding {
        panic!(
            "{name}, input {} of seed {seed}: {said}\nThe input, to be kept in tests/fuzz/corpus/{name}:\n{}",
            run.rounds,
            input.escape_ascii()
        );
    }
    assert!(run.outcomes > 1, "{name} makes the same of everything");
}

#[test]
fn hints() {
    fuzz("hints", 100_000);
}

#[test]
fn tape() {
    fuzz("tape", 100_000);
}

#[test]
fn scope() {
    fuzz("scope", 60_000);
}

#[test]
fn fields() {
    fuzz("fields", 60_000);
}

#[test]
fn manifest() {
    fuzz("manifest", 10_000);
}

#[test]
fn config() {
    fuzz("config", 15_000);
}

#[test]
fn schema() {
    fuzz("schema", 15_000);
}

#[test]
fn webhook() {
    fuzz("webhook", 30_000);
}

#[test]
fn component() {
    fuzz("component", 25_000);
}

/// A target that nobody runs finds nothing: each has its corpus, its test here and its file for long runs.
#[test]
fn every_target_is_run() {
    let tests = fs::read_to_string(root().join("tests/all/fuzz.rs")).unwrap();
    for (name, _) in TARGETS {
        assert!(tests.contains(&format!("fuzz(\"{name}\", ")), "tests/all/fuzz.rs does not run {name}");
        let file = root().join(format!("tests/fuzz/targets/{name}.rs"));
        let text = fs::read_to_string(&file).unwrap_or_default();
        assert!(text.contains(&format!("wharfage::fuzz::{name}(bytes)")), "{} does not run it", file.display());
        assert!(!corpus(name).is_empty());
    }
}
