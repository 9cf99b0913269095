//! Damaged and strange components by the thousand: each is refused, or runs inside its limits, and a neighbour on the same
//! host never notices.
//!
//! A bounded number with fixed seeds runs here. For long runs: `WHARFAGE_DAMAGED=100000 cargo test --release -p
//! wharfage-tests damaged -- --nocapture`, which begins at a number of the time. A finding says its number, from which the
//! same component is made again; what it taught becomes a test of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use wharfage::{Connection, Event, Kind, Poll, Trigger};
use wharfage_tests::component::{builder, replaced};
use wharfage_tests::damage::{Damaged, Fate, Tally, Trial, damaged, tiny, try_all, with_inside};
use wharfage_tests::{PLUGINS, Scene, TINY, guests};

/// As many as were asked for, else as many as nobody minds; and where they begin.
fn numbers(usual: u64) -> std::ops::Range<u64> {
    #[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
    let wanted: Option<u64> = std::env::var("WHARFAGE_DAMAGED").ok().and_then(|wanted| wanted.parse().ok());
    match wanted {
        None => 0..usual,
        Some(wanted) => {
            let from = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
            from..from + wanted
        }
    }
}

fn tell(what: &str, tally: &Tally) {
    println!(
        "{what}: {} damaged, {} loaded, of whose calls {} answered and {} failed",
        tally.all, tally.ran, tally.answered, tally.failed
    );
}

#[tokio::test]
async fn the_smallest_plugin_is_a_whole_one() {
    let connection = Connection::parse("imports = ['state']").unwrap();
    let plugin = builder().connect("acme", &tiny().await, &connection, None).await.unwrap();
    let echo = plugin.call::<serde_json::Value>("echo", &json!({"a": 1})).await.unwrap();
    assert_eq!(echo.output, json!({"a": 1}));
    let first = plugin.page("rows.list", "{}", None).await.unwrap();
    assert_eq!(first.output.get(), "[1,2]");
    let second = plugin.page("rows.list", "{}", first.next).await.unwrap();
    assert_eq!((second.output.get(), second.next), ("[3]", None));
    let event = Event { id: "e-1".to_owned(), trigger: Trigger::Poll(Poll::new("ticks")), cursor: None };
    let outcome = plugin.handle(event).await.unwrap();
    assert_eq!((outcome.emit[0].key.as_str(), outcome.cursor.as_deref()), ("e-1", Some("e-1")));
}

/// Found by damage: what the compiler says about a component quotes the names in it, and so wrote whatever stood there on the
/// operator's terminal.
#[tokio::test]
async fn no_name_in_a_component_acts_on_a_terminal() {
    let whole = tiny().await.to_vec();
    let connection = Connection::parse("imports = ['state']").unwrap();
    // One inside, which is found when it is compiled, and one that whoever looks at the component is shown.
    for (from, to) in [("import-type", "imp\u{1b}rt-type"), ("plugin/log@", "plugin/\u{1b}og@")] {
        let changed = replaced(whole.clone(), from, to);
        assert_ne!(changed, whole, "it has no such name");
        let error = builder().connect("acme", &changed, &connection, None).await.map(drop).unwrap_err().to_string();
        let rest = &to[to.find('\u{1b}').unwrap() + 1..];
        assert!(error.contains(rest) && !error.contains('\u{1b}'), "{error:?}");
    }
}

/// Most of these are valid, for their lengths are right: they compile and run in a few milliseconds each.
#[tokio::test]
async fn damaged_by_the_thousand_and_run() {
    let (whole, other) = (tiny().await, Scene::of(guests::OPERATIONS_ECHO).component().await);
    let trial = Arc::new(Trial::new(&whole).await);
    let tally = try_all(trial, numbers(3_000), |number| damaged(number, &whole, &[&other, TINY])).await;
    tell("the smallest plugin", &tally);
    assert!(tally.ran > tally.all / 50, "too few run for this to say much: {tally:?}");
    assert!(tally.all - tally.ran > tally.all / 5, "too few are refused: {tally:?}");
    assert!(tally.answered > 0 && tally.failed > 0, "{tally:?}");
}

/// Real ones are slow to compile, so there are fewer: guests of every capability, and a plugin as it is delivered.
#[tokio::test]
async fn damaged_guests_and_a_damaged_plugin() {
    let mut wholes = Vec::new();
    for guest in [guests::OPERATIONS_ECHO, guests::HTTP_SEND, guests::STATE_ROUNDTRIP, guests::EVENTS_KEYED] {
        wholes.push(Scene::of(guest).component().await);
    }
    let smallest = PLUGINS.iter().min_by_key(|plugin| plugin.compiled().0.len()).unwrap();
    let delivered = wharfage_tests::component::built(smallest.name, || smallest.compiled(), &smallest.manifest()).await;
    wholes.push(delivered);
    let others: Vec<&[u8]> = wholes.iter().map(|whole| whole.as_slice()).collect();
    let trial = Arc::new(Trial::new(&tiny().await).await);
    let tally = try_all(trial, numbers(150), |number| {
        let whole = &wholes[usize::try_from(number).unwrap() % wholes.len()];
        damaged(number, whole, &others)
    })
    .await;
    tell("guests and a plugin", &tally);
    assert!(tally.ran > 0 && tally.ran < tally.all, "{tally:?}");
}

/// The components that the makers of the component tools test those with: every kind of import, export, resource and
/// canonical option, the asynchronous ones, linked libraries and adapters. They are valid and none of them is a plugin. Each
/// is looked at as it is, and then inside a plugin, which makes the host compile it.
///
/// They come with the sources of the locked `wit-component` (Apache-2.0 or MIT), and are not copied.
#[tokio::test]
async fn odd_components_of_other_peoples_tests() {
    let files = odd();
    let whole = tiny().await;
    let trial = Arc::new(Trial::new(&whole).await);
    let (mut read, mut inside) = (0, Tally::default());
    for (number, file) in (0..).zip(&files) {
        // What the text format of today does not read any more is nobody's component.
        let Ok(bytes) = wat::parse_file(file) else { continue };
        read += 1;
        let name = file.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let alone = trial.of(&bytes).await;
        assert!(matches!(alone, Fate::Refused(Kind::Component)), "{name} was taken for a plugin: {alone:?}");
        let described = builder().describe(&bytes).await.unwrap_err();
        assert_eq!(*described.kind(), Kind::Component, "{name}: {described:?}");
        let make = |_| Damaged { bytes: with_inside(&whole, &bytes), done: name.clone() };
        let tally = try_all(trial.clone(), number..number + 1, make).await;
        inside.all += tally.all;
        inside.ran += tally.ran;
        inside.failed += tally.failed;
    }
    println!(
        "{read} of {} odd components read; {} run inside a plugin, {} do not",
        files.len(),
        inside.ran,
        read - inside.ran
    );
    assert!(read >= 80, "only {read} of {} were read", files.len());
    assert!(inside.ran >= read / 3 && inside.ran < read, "{} of {read} run", inside.ran);
    assert_eq!(inside.failed, 0, "what lies unused in a plugin changes what it answers");
}

/// The texts in the sources of the `wit-component` that belongs to the `wat` which reads them. wasmtime's own macros are
/// built with it, so its sources are on any machine that builds this.
fn odd() -> Vec<PathBuf> {
    let said = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let output = command.args(arguments).current_dir(wharfage_tests::root()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let about = said("rustc", &["-vV"]);
    let platform = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", platform];
    let about: serde_json::Value = serde_json::from_str(&said("cargo", &arguments)).unwrap();
    let package = |name: &str, version: &str| {
        let is_it = |package: &&serde_json::Value| {
            package["name"] == name && package["version"].as_str().unwrap().starts_with(version)
        };
        about["packages"].as_array().unwrap().iter().find(is_it).unwrap_or_else(|| panic!("no {name} {version}"))
    };
    let number = package("wat", "1.")["version"].as_str().unwrap().split('.').nth(1).unwrap();
    let package = package("wit-component", &format!("0.{number}."));
    let folder = Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("tests").join("components");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path().join("component.wat")).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files
}
