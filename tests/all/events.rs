//! `events`: what a plugin makes of something that happened, and what a second try at it repeats.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use wharfage::events::PollStart;
use wharfage::{Clock as _, Connection, Event, Kind, Poll, Trigger};
use wharfage_tests::clocks::TurningClock;
use wharfage_tests::scene::{account, host};
use wharfage_tests::{
    Act, PLUGINS, PluginFolder, Provider, Reply, Scene, SocketServer, component, drained, guests, until,
};

use crate::assert_exists;
use crate::cli::ended;

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
        let host = wharfage::Host::builder().state_dir(folder.path()).build().unwrap();
        let plugin = scene.connect_as(connection, &host, &account("")).await.unwrap();
        plugin.handle(polled(id)).await.unwrap();
        let mut run = keys(&provider);
        run.sort();
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1], "the second run sent other keys");
    let all: BTreeSet<&String> = runs.iter().skip(1).flatten().map(|(_, key)| key).collect();
    assert_eq!(all.len(), 12, "two writes share a key: {runs:?}");
}

/// It counts in its cursor; `serve.rs` has the rest.
#[tokio::test]
async fn events_counts() {
    let open = Scene::of(guests::EVENTS_COUNTS).open().await;
    let mut cursor = None;
    for number in 0..3 {
        let trigger = Trigger::Poll(Poll::new("ticks"));
        let outcome = open.plugin.handle(Event { id: "e".into(), trigger, cursor }).await.unwrap();
        assert_eq!(outcome.emit[0].key, format!("ticks {number}"));
        cursor = outcome.cursor;
    }
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
    ended(command.arg("events").args(arguments).arg("--state-dir").arg(state))
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
        (&["replay", "7", "--sink", "billing"], 2, "there is no sink `billing`, or it is"),
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
    // It stands still but for the wait between two openings, so that nothing else is ever late.
    let clock = wharfage::ManualClock::new(wharfage_tests::NOW, 1);
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
    let host = || host(&folder.path().join("state"), clock.clone());

    let serving = host().serve(&config).await.unwrap();
    assert!(serving.declared().await.contains(&"socket ticks of acme".to_owned()));
    server.until("it was closed", |all| all.first().is_some_and(|one| one.is_over)).await;
    while server.openings().len() < 2 {
        clock.advance(50);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let all = server.until("twice", |all| all.len() == 2 && all[1].messages.len() == 3).await;
    assert_eq!(all[0].texts(), ["hello", "took a", "took b"]);
    assert_eq!(all[1].texts(), ["hello", "filled", "took e"]);
    let state = serving.state().await.unwrap();
    assert_eq!((state.sockets[0].1.as_str(), state.sockets[0].2.openings), ("ticks", 2));
    assert!(drained(serving, &clock).await);
    let all = server.until("it goes away", |all| all[1].closed.is_some()).await;
    assert_eq!(all[1].closed, Some(1001));

    // The next process: it had begun, so there may be a gap at once.
    let serving = host().serve(&config).await.unwrap();
    let all = server.until("a third time", |all| all.len() == 3 && all[2].messages.len() == 3).await;
    assert_eq!(all[2].texts(), ["hello", "filled", "took g"]);
    let path = folder.path().join("events.jsonl");
    let lines = || std::fs::read_to_string(&path).unwrap_or_default();
    until!(lines().lines().count() >= 7, "{}", lines());
    assert!(drained(serving, &clock).await);
    assert_eq!(rest.seen().iter().map(|seen| seen.target.clone()).collect::<Vec<_>>(), ["/after/b", "/after/e"]);
    let key = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["data"]["key"].clone();
    let keys: Vec<serde_json::Value> = lines().lines().map(key).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e", "f", "g"]);
}

/// A connection in this folder with a socket, whose manifest says more of it.
async fn ticking(folder: &Path, more: &str, server: &SocketServer, rest: &Provider) -> wharfage::Config {
    let lines = format!(
        "\n[sockets.ticks]\norigin = 'api'\npath = '/ws'\nsubscribe = ['hello']\nsource = 'made up for the tests'\n\
         date = '2026-11-29'\n{more}"
    );
    let bytes = Scene::of(guests::EVENTS_SOCKET).manifest(&lines).component().await;
    std::fs::write(folder.join("plugin.wasm"), bytes.as_slice()).unwrap();
    let imports = wharfage_tests::scene::imports(&bytes).unwrap();
    let text = format!(
        "[plugins.guest]\ncomponent = 'plugin.wasm'\n[accounts.desk]\n[connections.acme]\nplugin = 'guest'\n\
         account = 'desk'\nimports = {imports:?}\norigins = ['{ws}', '{other}']\nsecrets = ['api_key']\n\
         private_addresses = ['127.0.0.1/32']\nbase = {{ api = '{ws}', other = '{other}' }}\n\
         [connections.acme.sockets.ticks]\n",
        ws = server.url(),
        other = rest.url()
    );
    let mut config = wharfage::Config::parse(&text, &folder.join("wharfage.toml")).unwrap();
    config.accounts.insert("desk".to_owned(), wharfage_tests::scene::account(""));
    config
}

/// How its socket is.
async fn state(serving: &wharfage::Serving) -> &'static str {
    serving.state().await.unwrap().sockets[0].2.state.name()
}

/// Waits until its socket is so.
async fn until_it_is(serving: &wharfage::Serving, clock: &TurningClock, wanted: &str) {
    let mut is = state(serving).await;
    until!(
        {
            clock.sleep_until(clock.now().plus(1_000)).await;
            is = state(serving).await;
            is == wanted
        },
        "it is {is} and not {wanted}"
    );
}

/// Its provider may have changed its mind: whoever is told that SIGHUP starts it again is told the truth.
#[tokio::test]
async fn a_reload_opens_a_socket_that_stays_closed() {
    let folder = tempfile::tempdir().unwrap();
    let rest = Provider::scripted([Reply::json(&json!([]))]).await;
    let clock = TurningClock::default();
    let scripts = [vec![Act::Close(4003)], vec![Act::UntilClose]];
    let server = SocketServer::scripted(Arc::new(clock.clone()), scripts).await;
    let config = ticking(folder.path(), "stop_codes = [4003]\n", &server, &rest).await;
    clock
        .run(async {
            let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
            until_it_is(&serving, &clock, "closed").await;
            assert_eq!(serving.reload(&config).await.unwrap().changed, ["acme"]);
            until_it_is(&serving, &clock, "open").await;
            assert_eq!(serving.reload(&config).await.unwrap(), wharfage::serving::Reloaded::default());
            assert_eq!(server.openings().len(), 2);
            assert!(serving.drain().await);
        })
        .await;
}

/// Two processes over one state folder both opened a provider's socket, and both had every message handled.
#[tokio::test]
async fn of_several_processes_one_keeps_a_socket_open() {
    let folder = tempfile::tempdir().unwrap();
    let rest = Provider::scripted([Reply::json(&json!([]))]).await;
    let clock = TurningClock::default();
    let server = SocketServer::scripted(Arc::new(clock.clone()), [vec![Act::UntilClose]]).await;
    let config = ticking(folder.path(), "", &server, &rest).await;
    let process = async || host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
    let until = async |serving: &wharfage::Serving, wanted: &str| until_it_is(serving, &clock, wanted).await;
    clock
        .run(async {
            let one = process().await;
            until(&one, "open").await;
            let two = process().await;
            until(&two, "stand-by").await;
            // Longer than a lease holds: it is renewed.
            for _ in 0..64 {
                clock.sleep_until(clock.now().plus(1_000)).await;
                assert_eq!((state(&one).await, state(&two).await), ("open", "stand-by"));
            }
            assert_eq!(server.openings().len(), 1);
            assert_eq!(two.health().await.all[0].state.name(), "unknown", "standing by is no trouble");
            assert!(one.drain().await);
            until(&two, "open").await;
            // What came in between may be missing, and the plugin asks for it.
            let all = server.until("it fills the gap", |all| all.len() == 2 && all[1].messages.len() == 2).await;
            assert_eq!((all[0].closed, all[1].texts()), (Some(1001), vec!["hello".to_owned(), "filled".to_owned()]));
            // One that is killed holds its lease until that lapses.
            let killed_at = clock.now();
            drop(two);
            let three = process().await;
            until(&three, "open").await;
            let waited_ms = clock.now().since(killed_at);
            assert!(waited_ms >= 10_000, "{waited_ms}");
            assert!(three.drain().await);
        })
        .await;
}

/// A channel that a provider closes after some days is a cursor that says when, and a poll that mostly does nothing. Each
/// renewal is keyed by where the cursor stood, so that one that is tried again is the same to the provider.
#[tokio::test]
async fn events_renews() {
    let clock = wharfage_tests::skipping();
    let (answers, hour) = (clock.clone(), 3_600_000);
    let provider =
        Provider::answering(move |_| Reply::status(200).body((answers.now().as_millis() + 10 * hour).to_string()))
            .await;
    let open = Scene::of(guests::EVENTS_RENEWS).with(&provider).clock(&clock).open().await;
    let (mut version, mut cursor) = (0, None);
    for _ in 0..40 {
        // What the host's runner does: the id is made of the cursor's version.
        for _ in 0..2 {
            let trigger = Trigger::Poll(Poll::new("channel"));
            let event = Event { id: format!("poll acme channel {version}"), trigger, cursor: cursor.clone() };
            let outcome = open.plugin.handle(event).await.unwrap();
            if let Some(renewed) = outcome.cursor {
                (version, cursor) = (version + 1, Some(renewed));
            }
            let ends: u64 = cursor.as_deref().unwrap().parse().unwrap();
            assert!(ends > clock.now().as_millis(), "the channel has ended");
        }
        clock.advance(hour / 2);
    }
    // 20 hours, and a channel lasts for 10 of which 9 are used.
    let keys: BTreeSet<String> = keys(&provider).into_iter().map(|(_, key)| key).collect();
    assert_eq!((provider.count(), keys.len()), (3, 3));
}

/// A wallet on a chain, as a provider tells of it: rows of a list by block, oldest first.
fn wallet_rows(target: &str, head: u64) -> Value {
    let url = url::Url::parse(&format!("http://stand-in.test{target}")).unwrap();
    let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
    let number = |name: &str| asked.get(name).and_then(|text| text.parse::<u64>().ok());
    if asked["module"] == "proxy" {
        return json!({"jsonrpc": "2.0", "id": 1, "result": format!("{head:#x}")});
    }
    let (start, limit) = (number("startblock").unwrap(), number("offset").unwrap());
    // From block 100 on, seven transfers in each, all of them between the same two.
    let there = (100..=head).filter(|block| *block >= start).flat_map(|block| (0..7).map(move |nth| (block, nth)));
    let page = there.skip(((number("page").unwrap() - 1) * limit) as usize).take(limit as usize);
    let row = |(block, nth): (u64, u64)| {
        json!({
            "blockNumber": block.to_string(), "timeStamp": "1764000000", "hash": format!("0x{block}{nth}"),
            "from": "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359", "to": asked["address"].to_lowercase(),
            "contractAddress": "", "value": "1000000000000000001", "gas": "1", "gasUsed": "1", "gasPrice": "1",
            "confirmations": (head - block).to_string(),
        })
    };
    let rows: Vec<Value> = page.map(row).collect();
    match rows.is_empty() {
        true => json!({"status": "0", "message": "No transactions found", "result": []}),
        false => json!({"status": "1", "message": "OK", "result": rows}),
    }
}

/// The guide's wallet monitor (S26) as the component that is shipped: over bursts, refusals and new processes, every
/// transfer that is final comes out once, with its exact value. Whatever plugin has a poll `wallet` has to do so.
#[tokio::test]
async fn guide_s26_the_wallet_monitor_loses_nothing() {
    let has_wallet = |plugin: &&PluginFolder| plugin.manifest().contains("[polls.wallet]");
    let plugin = PLUGINS.iter().find(has_wallet).expect("a plugin with a wallet monitor");
    let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
    let head = Arc::new(AtomicU64::new(100));
    let provider = Provider::answering({
        let (head, asked) = (head.clone(), AtomicU64::new(0));
        move |seen| match asked.fetch_add(1, Ordering::SeqCst) % 5 {
            3 => Reply::status(503),
            _ => Reply::json(&wallet_rows(&seen.target, head.load(Ordering::SeqCst))),
        }
    })
    .await;

    let mut input = serde_json::Map::new();
    input.insert("addresses".into(), json!(["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]));
    let (mut cursor, mut outbox) = (None, HashMap::new());
    for blocks in [0, 3, 150, 1, 0, 40] {
        head.fetch_add(blocks, Ordering::SeqCst);
        // Each run in a process of its own, with nothing but the cursor.
        let host =
            wharfage::Host::builder().code_dir(wharfage_tests::compiled_code()).clock(wharfage_tests::skipping());
        let mut policy = Connection::parse("private_addresses = ['127.0.0.1/32']\nsecrets = ['api_key']").unwrap();
        policy.imports = wharfage_tests::scene::imports(&bytes).unwrap();
        policy.origins = vec![provider.url()];
        policy.base.insert("api".into(), provider.url());
        let account = wharfage_tests::scene::account("");
        let plugin = host.build().unwrap().connect("acme", &bytes, &policy, Some(&account)).await.unwrap();
        loop {
            let poll = Poll::new("wallet").start(PollStart::All).input(input.clone());
            let event = Event { id: "e".into(), trigger: Trigger::Poll(poll), cursor: cursor.clone() };
            let outcome = plugin.handle(event).await.unwrap();
            for emission in outcome.emit {
                assert_eq!(emission.event_type, "transfer.seen");
                let data: Value = serde_json::from_str(emission.data.get()).unwrap();
                assert_eq!((&data["direction"], &data["raw"]), (&json!("in"), &json!("1000000000000000001")));
                outbox.insert(emission.key, data);
            }
            cursor = outcome.cursor;
            if !outcome.more {
                break;
            }
        }
        let is_final = (head.load(Ordering::SeqCst) + 1).saturating_sub(100 + 12);
        // Coins, coins moved by contracts, tokens and NFTs of two kinds, of the same rows.
        assert_eq!(outbox.len() as u64, is_final * 7 * 5, "at block {head:?}");
    }
}

/// The same through everything that `wharfage serve` starts: from a `wharfage.toml` over the schedule, the component, the
/// store on a disk and a sink to a file. Processes end, by draining or by being killed, while transfers come about; in the
/// end the file holds every final one.
#[tokio::test]
async fn guide_s26_the_wallet_monitor_is_served() {
    let has_wallet = |plugin: &&PluginFolder| plugin.manifest().contains("[polls.wallet]");
    let plugin = PLUGINS.iter().find(has_wallet).expect("a plugin with a wallet monitor");
    let bytes = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
    // A block is made with every third request.
    let asked = Arc::new(AtomicU64::new(300));
    let head = |asked: &AtomicU64| asked.load(Ordering::SeqCst) / 3;
    let provider = Provider::answering({
        let asked = asked.clone();
        move |seen| match asked.fetch_add(1, Ordering::SeqCst) % 7 {
            3 => Reply::status(503),
            _ => Reply::json(&wallet_rows(&seen.target, head(&asked))),
        }
    })
    .await;

    let (folder, secrets) = wharfage_tests::scene::secret_files("me");
    std::fs::write(folder.path().join("plugin.wasm"), &*bytes).unwrap();
    let out = folder.path().join("events.jsonl");
    let url = provider.url();
    let imports = wharfage_tests::scene::imports(&bytes).unwrap();
    let text = format!(
        r#"
            [plugins.wallets]
            component = "plugin.wasm"
            {secrets}
            [connections.treasury]
            plugin = "wallets"
            account = "me"
            imports = {imports:?}
            origins = ["{url}"]
            base = {{ api = "{url}" }}
            private_addresses = ["127.0.0.1/32"]
            secrets = ["api_key"]
            [connections.treasury.polls.wallet]
            first = "all"
            [connections.treasury.polls.wallet.input]
            addresses = ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]
            [sinks.out]
            kind = "file"
            path = "{}"
            [serve.limits]
            # On a clock that skips, minutes pass while somebody blinks.
            drain_ms = 1000000000000
        "#,
        out.display()
    );
    let config = wharfage::Config::parse(&text, &folder.path().join("wharfage.toml")).unwrap();
    let clock = wharfage_tests::skipping();
    for process in 1..=6u64 {
        let serving = host(&folder.path().join("state"), clock.clone()).serve(&config).await.unwrap();
        assert_eq!(serving.declared().await, ["poll wallet of treasury", "sink out"]);
        // On this clock whoever waits is there at once, so the schedule runs as fast as it can.
        let until = asked.load(Ordering::SeqCst) + 40 + process * 7;
        until!(asked.load(Ordering::SeqCst) >= until);
        if process == 6 {
            let (_, _, health) = serving.state().await.unwrap().polls.remove(0);
            assert!(health.succeeded_at.is_some(), "{health:?}");
        }
        match process % 2 {
            0 => assert!(serving.drain().await, "it did not end by itself"),
            _ => drop(serving),
        }
    }

    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(&out).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&event["type"], &event["connection"]), (&json!("transfer.seen"), &json!("treasury")));
        let place = format!("{:05} {}", event["data"]["block_number"].as_u64().unwrap(), event["key"]);
        told.entry(place).or_default().push(event["id"].to_string());
    }
    for (place, ids) in &told {
        assert!(ids.iter().all(|id| id == &ids[0]), "{place} has two ids: {ids:?}");
    }
    // Seven of each of five kinds of transfers in each block, from the first one on, without a gap before the last block told.
    let last: u64 = told.keys().next_back().unwrap()[..5].parse().unwrap();
    let per_block = |block: u64| told.keys().filter(|place| place.starts_with(&format!("{block:05} "))).count();
    for block in 100..last {
        let lists = if block + 40 < last { 35..=35 } else { 7..=35 };
        assert!(lists.contains(&per_block(block)), "block {block} of {last}: {}", per_block(block));
    }
    assert!(last > 120 && last + 12 <= head(&asked), "{last}");
}
