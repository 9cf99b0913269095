//! `events`: what a plugin makes of something that happened, and what a second try at it repeats.

use std::collections::BTreeSet;

use wharfage::{Event, Kind, Poll, Trigger};
use wharfage_tests::{Act, Provider, Reply, Scene, SocketServer, guests};

use crate::assert_exists;

wharfage_tests::foreach_events!(assert_exists);

fn polled(id: &str) -> Event {
    Event { id: id.to_owned(), trigger: Trigger::Poll(Poll::new("things")), cursor: Some("here".to_owned()) }
}

fn keys(provider: &Provider) -> Vec<(String, String)> {
    let key = |seen: wharfage_tests::Seen| {
        (seen.target.clone(), seen.header("idempotency-key").expect("a keyed write has a key").to_owned())
    };
    provider.seen().into_iter().map(key).collect()
}

#[tokio::test]
async fn events_keyed() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::EVENTS_KEYED).with(&provider).open().await;
    let outcome = open.plugin.handle(polled("e-1")).await.unwrap();
    assert_eq!((outcome.cursor.as_deref(), outcome.send.len()), (Some("next"), 0));
    let emission = &outcome.emit[0];
    assert_eq!((emission.event_type.as_str(), emission.key.as_str()), ("thing.updated", "1"));
    assert_eq!(emission.data.get(), r#"{"from":"here","polled":"things"}"#);
    assert_eq!(provider.count(), 4);
}

/// R8: a run repeated after a kill sends the same keys, so that the provider does nothing twice; another event, another
/// request and another connection have keys of their own.
#[tokio::test]
async fn r8_a_repeated_run_repeats_no_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    // Each round is a new host over the same state folder: the one before was killed.
    for (connection, id) in [("acme", "e-1"), ("acme", "e-1"), ("acme", "e-2"), ("other", "e-1")] {
        let provider = Provider::scripted([Reply::status(200)]).await;
        let scene = Scene::of(guests::EVENTS_KEYED).with(&provider);
        let bytes = scene.component().await;
        let host = wharfage::Host::builder().state_dir(folder.path()).build().unwrap();
        let mut policy =
            wharfage::Connection::parse("private_addresses = ['127.0.0.1/32']\nsecrets = ['api_key']").unwrap();
        policy.imports = wharfage_tests::scene::imports(&bytes).unwrap();
        policy.origins = vec![provider.url()];
        policy.base.insert("api".into(), provider.url());
        let account = wharfage_tests::scene::account("");
        let plugin = host.connect(connection, &bytes, &policy, Some(&account)).await.unwrap();
        plugin.handle(polled(id)).await.unwrap();
        let mut run = keys(&provider);
        run.sort();
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1], "the second run sent other keys");
    let all: BTreeSet<&String> = runs.iter().skip(1).flatten().map(|(_, key)| key).collect();
    assert_eq!(all.len(), 12, "two writes share a key: {runs:?}");
}

#[tokio::test]
async fn a_plugin_without_triggers_says_so() {
    let open = Scene::of(guests::HTTP_SEND).open().await;
    let error = open.plugin.handle(polled("e-1")).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::UnknownOperation);
}

/// Runs `wharfage events`.
fn wharfage_events(state: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(crate::cli::program());
    command.arg("events").args(arguments).arg("--state-dir").arg(state).env("NO_COLOR", "1");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What the program says where nothing has arrived, and to what makes no sense.
#[test]
fn wharfage_events_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    for (arguments, code, told) in [
        (&["list"][..], 0, "no event"),
        (&["list", "--state", "dead", "--connection", "x", "--json"], 0, "no event"),
        (&["dead"], 0, "no letter of sinks"),
        (&["dead", "--sink", "billing"], 0, "no letter of sinks"),
        (&["list", "--state", "lost"], 2, "waiting, handled, dead"),
        (&["show", "7"], 2, "there is no event 7"),
        (&["show", "seven"], 2, "invalid value"),
        (&["replay", "7"], 2, "wharfage events list"),
        (&["replay", "7..9"], 0, "0 events due"),
        (&["replay", "9..7"], 2, "begins with the lower id"),
        (&["replay", "7", "--sink", "billing"], 2, "has not come to 7"),
        (&["replay", "7..9", "--sink", "billing"], 2, "from one number on"),
    ] {
        let (found, out, err) = wharfage_events(&state, arguments);
        assert_eq!((found, out.as_str()), (code, ""), "{arguments:?}: {err}");
        assert!(err.contains(told), "{arguments:?}: {err}");
    }
}

/// A socket as `wharfage serve` runs it: what the plugin answers leaves after its cursor and events are kept, a gap is
/// filled by REST from the cursor, and the next process goes on where this one ended.
#[tokio::test]
async fn events_socket() {
    const LINES: &str = r#"
[sockets.ticks]
origin = "api"
path = "/ws"
subscribe = ["hello"]
source = "made up for the tests"
date = "2026-11-24"

[events."thing.updated"]
description = "a thing"
"#;
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::of(guests::EVENTS_SOCKET).manifest(LINES);
    std::fs::write(folder.path().join("plugin.wasm"), scene.component().await.as_slice()).unwrap();
    let imports = wharfage_tests::scene::imports(&scene.component().await).unwrap();
    let (_secrets, accounts) = wharfage_tests::scene::secret_files("desk");

    let rest = Provider::answering(|seen| match seen.target.as_str() {
        "/after/b" => Reply::json(&serde_json::json!(["c", "d"])),
        "/after/e" => Reply::json(&serde_json::json!(["f"])),
        _ => Reply::json(&serde_json::json!([])),
    })
    .await;
    let clock = wharfage_tests::skipping();
    let say = |text: &str| Act::Say(text.to_owned());
    let server = SocketServer::scripted(
        std::sync::Arc::new(clock.clone()),
        [
            vec![Act::Until(1), say("a"), say("b"), Act::Until(3), Act::Close(1000)],
            vec![Act::Until(2), say("e"), Act::Until(3), Act::UntilClose],
            vec![Act::Until(2), say("g"), Act::Until(3), Act::UntilClose],
        ],
    )
    .await;
    let (ws, other) = (server.url(), rest.url());
    let text = format!(
        "{accounts}\n[plugins.guest]\ncomponent = 'plugin.wasm'\n[connections.acme]\nplugin = 'guest'\naccount = 'desk'\n\
         imports = {imports:?}\norigins = ['{ws}', '{other}']\nsecrets = ['api_key']\n\
         private_addresses = ['127.0.0.1/32']\n[connections.acme.base]\napi = '{ws}'\nother = '{other}'\n\
         [connections.acme.sockets.ticks]\n[sinks.log]\nkind = 'file'\npath = 'events.jsonl'\n"
    );
    let config = wharfage::Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    let host = || {
        let builder = wharfage::Host::builder().state_dir(folder.path().join("state"));
        builder.code_dir(wharfage_tests::compiled_code()).clock(clock.clone()).build().unwrap()
    };

    let serving = host().serve(&config).await.unwrap();
    assert!(serving.declared().await.contains(&"socket ticks of acme".to_owned()));
    let all = server.until("twice", |all| all.len() == 2 && all[1].messages.len() == 3).await;
    assert_eq!(all[0].texts(), ["hello", "took a", "took b"]);
    assert_eq!(all[1].texts(), ["hello", "filled", "took e"]);
    let state = serving.state().await.unwrap();
    assert_eq!((state.sockets[0].1.as_str(), state.sockets[0].2.openings), ("ticks", 2));
    assert!(serving.drain().await);
    let all = server.until("it goes away", |all| all[1].closed.is_some()).await;
    assert_eq!(all[1].closed, Some(1001));

    // The next process: it had begun, so there may be a gap at once.
    let serving = host().serve(&config).await.unwrap();
    let all = server.until("a third time", |all| all.len() == 3 && all[2].messages.len() == 3).await;
    assert_eq!(all[2].texts(), ["hello", "filled", "took g"]);
    assert!(serving.drain().await);
    assert_eq!(rest.seen().iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(), ["/after/b", "/after/e"]);
    let lines = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let key = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["key"].clone();
    let keys: Vec<serde_json::Value> = lines.lines().map(key).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e", "f", "g"]);
}
