//! Loading: what is no plugin, or not the one it says it is, is refused with a reason, before any of its code runs.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use wharfage::{Blame, Compiling, Config, Connection, Digest, Error, Host, Kind, Needs};
use wharfage_tests::component::{
    self, CORE_MODULE, EMPTY_COMPONENT, MANIFEST, OPERATIONS, replaced, with_custom, with_hidden_component,
    with_hidden_module,
};
use wharfage_tests::scene::secret_files;
use wharfage_tests::{Guest, Scene, guests};

const GUEST: Guest = guests::OPERATIONS_ECHO;

async fn whole() -> Vec<u8> {
    Scene::of(GUEST).component().await.to_vec()
}

/// The compiler's component, with these sections.
fn made_of(sections: &[(&str, &[u8])]) -> Vec<u8> {
    sections.iter().fold(GUEST.compiled(), |bytes, (name, data)| with_custom(bytes, name, data))
}

/// What the host says to a component on a connection that grants everything.
async fn connected(bytes: &[u8]) -> Result<(), Error> {
    let host = component::builder();
    let connection = Connection::parse("imports = ['http', 'secrets', 'state', 'rate-limit']").unwrap();
    host.connect("acme", bytes, &connection, None).await.map(drop)
}

async fn refusal(bytes: &[u8]) -> Error {
    let error = connected(bytes).await.expect_err("it should have been refused");
    assert_eq!(error.kind().blame(), Blame::Operator, "{error:?}");
    error
}

async fn operations_of(guest: Guest) -> serde_json::Value {
    json!(component::builder().describe(&guest.compiled()).await.unwrap())
}

#[tokio::test]
async fn a_whole_one_is_loaded() {
    connected(&whole().await).await.unwrap();
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    for (bytes, message) in [
        (&b""[..], "not a WebAssembly component"),
        (b"<html><body>404 Not Found</body></html>", "not a WebAssembly component"),
        (b"#!/bin/sh\nexit 0\n", "not a WebAssembly component"),
        (CORE_MODULE, "core module"),
        (EMPTY_COMPONENT, "does not export"),
        (b"\0asm", "broken"),
        (b"\0asm\x0d\0\x01\0\x07\xff\xff\xff\xff\x0f", "broken"),
    ] {
        let error = refusal(bytes).await;
        assert_eq!(*error.kind(), Kind::Component);
        assert!(error.message().contains(message), "{error}");
        let built = component::builder().build(bytes, Scene::of(GUEST).manifest_text()).await.unwrap_err();
        assert_eq!(*built.kind(), Kind::Component, "{built:?}");
    }
    assert!(refusal(CORE_MODULE).await.details().unwrap().contains("wasm32-wasip2"), "it does not say what to do");
}

/// A component tool for JavaScript joins components like this. wasmtime needs two memories for the adapter between them;
/// with that proposal off it panicked while compiling, and took the host along.
#[tokio::test]
async fn components_joined_inside_one_compile_and_do_not_end_the_host() {
    let error = component::builder().describe(component::JOINED).await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (&Kind::Component, "the component does not fit the contract"));
}

#[tokio::test]
async fn what_is_cut_off_is_broken_wherever_it_was_cut() {
    let whole = whole().await;
    for part in 1..200 {
        let needs = Needs::read(&whole[..whole.len() * part / 200]);
        let error = needs.err().unwrap_or_else(|| panic!("{part}/200 of it was read"));
        assert!(matches!(error.kind(), Kind::Component | Kind::Configuration), "{part}: {error:?}");
    }
    for part in [1, 50, 100, 150, 199] {
        assert!(connected(&whole[..whole.len() * part / 200]).await.is_err(), "{part}/200 of it was loaded");
    }
}

#[tokio::test]
async fn what_is_changed_anywhere_does_no_harm() {
    let whole = whole().await;
    let step = whole.len() / 16;
    for at in (8..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        // Some changes change nothing that matters. None may end in anything but an answer.
        if let Err(error) = connected(&bytes).await {
            assert!(
                matches!(error.kind(), Kind::Component | Kind::Configuration | Kind::PolicyDenied(_)),
                "{at}: {error:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000), is_a_component in any::<bool>()) {
        let bytes = if is_a_component { [EMPTY_COMPONENT, &bytes].concat() } else { bytes };
        prop_assert!(Needs::read(&bytes).is_err());
    }

    #[test]
    fn no_manifest_makes_reading_panic(manifest in prop::collection::vec(any::<u8>(), 0..500), operations in ".{0,200}") {
        let bytes = with_custom(with_custom(GUEST.compiled(), MANIFEST, &manifest), OPERATIONS, operations.as_bytes());
        let error = Needs::read(&bytes).unwrap_err();
        prop_assert!(!format!("{error:?}").chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
}

#[tokio::test]
async fn one_that_was_not_built_says_how_to_build_it() {
    let error = refusal(&GUEST.compiled()).await;
    assert_eq!(error.message(), "the component carries no manifest");
    assert!(error.details().unwrap().contains("wharfage build"), "{error}");
    let only_a_manifest = made_of(&[(MANIFEST, Scene::of(GUEST).manifest_text().as_bytes())]);
    assert_eq!(refusal(&only_a_manifest).await.message(), "the component carries no operations");
}

/// What an operator read must be what the host enforces, so there is one of each, at the top.
#[tokio::test]
async fn two_manifests_or_a_hidden_one_are_refused() {
    let whole = whole().await;
    let other = Scene::of(GUEST).manifest_text().replace("paths = [\"/**\"]", "paths = [\"/more/**\"]");
    for (name, data) in [(MANIFEST, other.as_bytes()), (OPERATIONS, b"[]".as_slice())] {
        let twice = refusal(&with_custom(whole.clone(), name, data)).await;
        assert!(twice.message().contains("2 ") && twice.message().contains("only one"), "{twice}");
        for hidden in [with_hidden_module(whole.clone(), name, data), with_hidden_component(whole.clone(), name, data)]
        {
            let error = refusal(&hidden).await;
            assert!(error.message().contains("hidden inside"), "{error}");
        }
        // Also where it is the only one.
        let error = refusal(&with_hidden_module(GUEST.compiled(), name, data)).await;
        assert!(error.message().contains("hidden inside"), "{error}");
    }
    connected(&with_hidden_module(whole, "something else", b"1")).await.unwrap();
}

#[tokio::test]
async fn a_component_is_built_once() {
    let whole = whole().await;
    let error = component::builder().build(&whole, Scene::of(GUEST).manifest_text()).await.unwrap_err();
    assert!(error.message().contains("carries a manifest already"), "{error}");
}

#[tokio::test]
async fn another_contract_is_named_with_its_version() {
    for (version, help) in [("0.2.0", "update wharfage"), ("1.0.0", "update wharfage"), ("0.0.9", "build")] {
        let bytes = replaced(whole().await, "@0.1.0", &format!("@{version}"));
        let error = refusal(&bytes).await;
        assert!(error.message().contains(version) && error.message().contains("0.1.0"), "{error}");
        assert!(error.to_string().to_lowercase().contains(help), "it does not say what to do: {error}");
    }
}

#[tokio::test]
async fn forged_operations_are_found_out() {
    let manifest = Scene::of(GUEST).manifest_text().to_owned();
    let honest = operations_of(GUEST).await;
    let sections = |operations: &serde_json::Value| {
        made_of(&[(MANIFEST, manifest.as_bytes()), (OPERATIONS, operations.to_string().as_bytes())])
    };
    connected(&sections(&honest)).await.unwrap();
    let mut forged = Vec::new();
    let mut fewer = honest.clone();
    fewer.as_array_mut().unwrap().pop();
    forged.push(fewer);
    let mut kinder = honest.clone();
    kinder[0]["effect"] = json!("write");
    forged.push(kinder);
    let mut looser = honest.clone();
    looser[1]["input_schema"] = json!({});
    forged.push(looser);
    let mut renamed = honest.clone();
    renamed[0]["name"] = json!("ehco");
    forged.push(renamed);
    for operations in &forged {
        let error = refusal(&sections(operations)).await;
        assert!(error.message().contains("forged or old"), "{error}");
        assert!(error.details().unwrap().contains("wharfage build"), "{error}");
    }
}

/// What describes a component is the same plugin, or nothing is built.
#[tokio::test]
async fn another_plugins_description_is_refused() {
    let manifest = Scene::of(GUEST).manifest_text().to_owned();
    let (component, other) = (GUEST.compiled(), guests::HTTP_SEND.compiled());
    let error = component::builder().build_as_described(&component, &other, &manifest).await.unwrap_err();
    assert_eq!(*error.kind(), wharfage::Kind::Component, "{error:?}");
    assert!(error.details().unwrap().contains("wharfage build"), "{error}");
    let once = component::builder().build(&component, &manifest).await.unwrap();
    let twice = component::builder().build_as_described(&component, &component, &manifest).await.unwrap();
    assert!(once == twice, "the same plugin is built the same");
}

#[tokio::test]
async fn operations_that_make_no_sense_are_refused() {
    let manifest = Scene::of(GUEST).manifest_text().to_owned();
    let honest = operations_of(GUEST).await;
    let mut twice = honest.clone();
    twice[1]["name"] = twice[0]["name"].clone();
    let mut named = honest.clone();
    named[0]["name"] = json!("../\u{1b}[2J");
    let mut more = honest.clone();
    more[0]["surprise"] = json!(true);
    let many: serde_json::Value = (0..501)
        .map(|number| {
            let mut operation = honest[0].clone();
            operation["name"] = json!(format!("o{number}"));
            operation
        })
        .collect();
    for (operations, why) in [
        (twice.to_string(), "twice"),
        (named.to_string(), "operation name"),
        (more.to_string(), "cannot be read"),
        (many.to_string(), "operations_max"),
        ("{}".into(), "cannot be read"),
        ("[".into(), "cannot be read"),
        ("\u{0}".into(), "cannot be read"),
        (format!("[{}]", " ".repeat(2 << 20)), "operations_bytes_max"),
    ] {
        let bytes = made_of(&[(MANIFEST, manifest.as_bytes()), (OPERATIONS, operations.as_bytes())]);
        let error = refusal(&bytes).await;
        assert!(error.message().contains(why), "{why}: {error}");
        assert!(!format!("{error:?}").contains('\u{1b}'));
    }
}

#[tokio::test]
async fn a_manifest_that_makes_no_sense_shows_the_place() {
    let scene = Scene::of(GUEST);
    let text = scene.manifest_text().to_owned();
    for (from, to, why) in [
        ("name = \"operations-echo\"", "name = \"../echo\"", "plugin.name"),
        ("name = \"operations-echo\"", "nmae = \"operations-echo\"", "nmae"),
        ("version = \"0.1.0\"", "version = \"first\"", "first"),
        ("methods = [\"GET\", \"POST\"]", "methods = \"GET\"", "methods"),
        ("credential = \"key\"", "credential = \"quay\"", "quay"),
        ("secret = \"api_key\"\nheader", "secret = \"no-such\"\nheader", "no-such"),
        ("origins = [\"api\"]", "origins = [\"apy\"]", "apy"),
        ("date = \"2026-11-22\"", "date = \"\"", "source and date"),
        ("query = \"apikey\"", "query = \"apikey\"\nheader = \"x-key\"", "exactly one place"),
        ("scheme = \"bearer\"", "scheme = \"telepathy\"", "telepathy"),
        ("[plugin]", "[plugin", "plugin.toml"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = component::builder().build(&GUEST.compiled(), &text.replacen(from, to, 1)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Configuration | Kind::Component), "{error:?}");
        assert!(error.to_string().contains(why), "{from} -> {to}: {error}");
    }
    let more = format!("{text}\n[operations.\"no.such\"]\neffect = \"read\"\n");
    let error = component::builder().build(&GUEST.compiled(), &more).await.unwrap_err();
    assert!(error.message().contains("no.such"), "{error}");
    let other = format!("{text}\n[operations.echo]\neffect = \"write\"\n");
    let error = component::builder().build(&GUEST.compiled(), &other).await.unwrap_err();
    assert!(error.message().contains("echo"), "{error}");
}

/// R23: what is not stated is not granted, and the refusal prints the line.
#[tokio::test]
async fn r23_a_missing_import_is_refused_with_the_line_that_allows_it() {
    let bytes = Scene::of(guests::STATE_ROUNDTRIP).component().await;
    let host = component::builder();
    let error = host.connect("acme", &bytes, &Connection::default(), None).await.map(drop).unwrap_err();
    assert_eq!(*error.kind(), Kind::PolicyDenied("import".into()));
    assert_eq!(error.message(), "state-roundtrip needs the import state, which connection `acme` does not grant.");
    let details = error.details().unwrap();
    assert!(details.contains("[connections.acme]") && details.contains("imports = [\"state\"]"), "{details}");
    // The line does what it says.
    let line = details.split("   ").last().unwrap();
    host.connect("acme", &bytes, &Connection::parse(line).unwrap(), None).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_makes_no_sense_is_refused() {
    let bytes = whole().await;
    for (connection, why) in [
        ("imports = ['sockets']", "sockets"),
        ("imports = ['htpt']", "http"),
        ("origins = ['api.stand-in.test']", "no origin"),
        ("origins = ['https://api.stand-in.test/path']", "no origin"),
        ("origins = ['https://*.stand-in.test']", ""),
        ("[base]\nap = 'http://127.0.0.1:1'", "ap"),
        ("[base]\napi = 'not a URL'", "not a URL"),
        ("[base]\napi = 'ftp://127.0.0.1'", "ftp"),
        ("[[allow]]\norigin = 'https://api.stand-in.test'\nmethods = ['FETCH']\npaths = ['/**']", "FETCH"),
        ("[[allow]]\norigin = 'https://api.stand-in.test'\nmethods = ['GET']\npaths = ['orders']", "orders"),
        ("[[allow]]\norigin = 'https://api.stand-in.test'\nmethods = ['GET']\npaths = ['/**/x']", "**"),
        (
            "[[allow]]\norigin = 'https://api.stand-in.test'\nmethods = ['GET']\npaths = []",
            "origins = [\"https://api.stand-in.test\"]",
        ),
        (
            "origins = ['https://a.test', 'https://api.stand-in.test:443']\n[[allow]]\n\
             origin = 'https://api.stand-in.test'\nmethods = ['GET']\npaths = ['/orders']",
            "set:   origins = [\"https://a.test\"]",
        ),
        ("defaults = { shpo = 'one' }", "Did you mean shop?"),
        ("defaults = { shop = 2026-01-01 }", "defaults.shop is no JSON: 2026-01-01 is a date; write it as text"),
        ("polls.p.input = { since = [2026-01-01] }", "polls.p has an input.since that is no JSON: 2026-01-01"),
    ] {
        let error = match Connection::parse(connection) {
            Err(error) => error,
            Ok(parsed) => match component::builder().connect("acme", &bytes, &parsed, None).await {
                Err(error) => error,
                Ok(plugin) if why.is_empty() => {
                    assert!(plugin.grant().missing().iter().any(|missing| missing.what.contains("api.stand-in.test")));
                    continue;
                }
                Ok(_) => panic!("{connection} was taken"),
            },
        };
        assert_eq!(*error.kind(), Kind::Configuration, "{connection}: {error:?}");
        assert!(error.to_string().contains(why), "{connection}: {error}");
    }
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_shows_file_line_and_caret() {
    for (text, why) in [
        ("[connections.acme]\nplugin = 7\n", "line 2"),
        ("[conections.acme]\n", "conections"),
        ("[plugins.a]\ncomponent = 'a.wasm'\n[connections.x]\nplugin = 'a'\nlimits.memory_byte = 1", "memory_byte"),
        ("[plugins.a]\ncomponent = 'a.wasm'\n[connections.x]\nplugin = 'a'\naccount = 'no-such'", "no-such"),
        ("= = =", "line 1"),
        ("[accounts.a.secrets]\napi_key = { value = 'in the clear' }", "value"),
        ("[accounts.a.secrets]\napi_key = 'in the clear'", "line 2"),
    ] {
        let error = Config::parse(text, Path::new("wharfage.toml")).unwrap_err();
        assert_eq!(*error.kind(), Kind::Configuration);
        let shown = error.to_string();
        assert!(shown.contains("wharfage.toml") && shown.contains(why), "{text}: {shown}");
    }
}

/// R19: the digest is checked on every load, with compiled code on disk or without.
#[tokio::test]
async fn r19_a_component_that_is_not_the_pinned_one_is_refused_warm_or_cold() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = whole().await;
    let (_secrets, account) = secret_files("acme");
    let file = folder.path().join("echo.wasm");
    std::fs::write(&file, &bytes).unwrap();
    let digest = Digest::of(&bytes).to_string();
    let config = format!(
        "[plugins.echo]\ncomponent = 'echo.wasm'\ndigest = '{digest}'\n{account}\n[connections.acme]\nplugin = 'echo'\naccount = 'acme'\n"
    );
    let config = Config::parse(&config, &folder.path().join("wharfage.toml")).unwrap();
    let host = || Host::builder().state_dir(folder.path().join("state")).build().unwrap();
    host().open(&config, "acme").await.unwrap();
    host().open(&config, "acme").await.unwrap();
    let other = with_custom(bytes.clone(), "note", b"one byte more");
    std::fs::write(&file, &other).unwrap();
    let warm = host();
    let error = warm.open(&config, "acme").await.map(drop).unwrap_err();
    assert_eq!(*error.kind(), Kind::Component, "{error:?}");
    let details = error.details().unwrap();
    assert!(details.contains(&digest) && details.contains(&Digest::of(&other).to_string()), "{details}");
    std::fs::write(&file, &bytes).unwrap();
    warm.open(&config, "acme").await.unwrap();
    std::fs::write(&file, &other).unwrap();
    warm.open(&config, "acme").await.map(drop).unwrap_err();
    std::fs::remove_file(&file).unwrap();
    let error = warm.open(&config, "acme").await.map(drop).unwrap_err();
    assert!(error.to_string().contains("echo.wasm"), "{error}");
    let error = warm.open(&config, "amce").await.map(drop).unwrap_err();
    assert!(error.to_string().contains("acme"), "the nearest name is not told: {error}");
}

/// R19: compiled code that somebody else put there is not run.
#[tokio::test]
async fn r19_compiled_code_that_was_changed_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let bytes = whole().await;
    let run = async || {
        let host = Host::builder().state_dir(&state).build().unwrap();
        let plugin = host.connect("acme", &bytes, &Connection::default(), None).await.unwrap();
        plugin.call::<serde_json::Value>("echo", &json!({"a": 1})).await.unwrap().output
    };
    assert_eq!(run().await, json!({"a": 1}));
    let code = || {
        let entries = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "code")).collect::<Vec<_>>()
    };
    assert_eq!(code().len(), 1, "compiled code is kept");
    let path = &code()[0];
    let kept = std::fs::read(path).unwrap();
    for at in [0, 40, kept.len() / 2, kept.len() - 1] {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        std::fs::write(path, &changed).unwrap();
        assert_eq!(run().await, json!({"a": 1}));
        assert_ne!(std::fs::read(path).unwrap(), changed, "a changed file stayed");
    }
    std::fs::write(path, &kept[..kept.len() / 2]).unwrap();
    assert_eq!(run().await, json!({"a": 1}));
}

/// The component imports what standard libraries need and gets it empty: no environment, no arguments, no files.
#[tokio::test]
async fn what_a_component_imports_is_told() {
    let needs = Needs::read(&Scene::of(guests::HTTP_SEND).component().await).unwrap();
    assert_eq!(needs.imports.iter().map(String::as_str).collect::<Vec<_>>(), ["http"]);
    assert!(needs.foreign_imports.iter().all(|import| import.starts_with("wasi:")), "{:?}", needs.foreign_imports);
}

/// A function of some megabytes takes a compiler minutes, and one of them a core.
#[test]
fn code_beyond_the_limits_is_refused_before_it_is_compiled() {
    const NOP: u8 = 1;
    let with = |bytes: usize, count: usize| {
        let module = component::module(&[], &[], &vec![NOP; bytes]);
        (0..count).fold(EMPTY_COMPONENT.to_vec(), |whole, _| component::with_instances(whole, &module, 0))
    };
    let refused = |bytes: usize, count: usize| Needs::read(&with(bytes, count)).unwrap_err();
    for (bytes, count, why) in [
        ((256 << 10) - 2, 1, "carries no manifest"),
        (256 << 10, 1, "function_bytes_max of 262144"),
        (250 << 10, 98, "carries no manifest"),
        (250 << 10, 99, "code_bytes_max of 25165824"),
    ] {
        let error = refused(bytes, count);
        assert_eq!(*error.kind(), Kind::Component);
        assert!(error.message().contains(why) || why.starts_with("carries"), "{bytes} {count}: {error}");
        assert_eq!(error.message().contains("_bytes_max"), why.contains("_bytes_max"), "{bytes} {count}: {error}");
    }
}

/// Twenty connections of one component on one thread, which goes on meanwhile: it is compiled elsewhere, and once.
#[tokio::test]
async fn nobody_stands_still_while_a_component_is_compiled() {
    let bytes = whole().await;
    let (goes_on, wait) = std::sync::mpsc::channel();
    let (wait, told) = (std::sync::Mutex::new(wait), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let heard = told.clone();
    let host = Host::builder().compiling(move |compiling: Compiling<'_>| {
        if matches!(compiling, Compiling::Begun { .. }) {
            let went_on = wait.lock().unwrap().recv_timeout(std::time::Duration::from_secs(60)).is_ok();
            heard.lock().unwrap().push(went_on);
        }
    });
    let host = host.build().unwrap();
    let connection = Connection::parse("imports = ['http', 'secrets', 'state', 'rate-limit']").unwrap();
    let names: Vec<String> = (0..20).map(|number| format!("acme-{number}")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| host.connect(name, &bytes, &connection, None)));
    let (all, ()) = tokio::join!(all, async { goes_on.send(()).unwrap() });
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(*told.lock().unwrap(), [true], "it stood still, or compiled more than once");
}

/// Compiling takes a moment in which nothing else would be seen. It is told, and once the code is kept it is not done again.
#[tokio::test]
async fn compiling_is_told_and_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = whole().await;
    let told = || async {
        let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = told.clone();
        let listener = move |compiling: Compiling<'_>| {
            heard.lock().unwrap().push(match compiling {
                Compiling::Begun { plugin, component_bytes, .. } => format!("{plugin}, {component_bytes}"),
                Compiling::Ended { .. } => "ended".to_owned(),
                other => panic!("{other:?}"),
            });
        };
        let host = Host::builder().code_dir(folder.path().join("code")).compiling(listener).build().unwrap();
        for name in ["acme", "other"] {
            let connection = Connection::parse("imports = ['http', 'secrets', 'state', 'rate-limit']").unwrap();
            host.connect(name, &bytes, &connection, None).await.unwrap();
        }
        std::mem::take(&mut *told.lock().unwrap())
    };
    assert_eq!(told().await, [format!("operations-echo, {}", bytes.len()), "ended".to_owned()]);
    assert!(told().await.is_empty(), "kept code was compiled again");
}
