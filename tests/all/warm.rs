//! Warm instances: one stays between calls of its connection where the operator wants that, and never longer than it may.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use wharfage::metrics::ConnectionMetrics;
use wharfage::tape::{Tape, TapeMode};
use wharfage::{
    Clock as _, Connection, Event, Host, Kind, ManualClock, Needs, Plugin, Poll, SecretSource, SecretValue, Trigger,
    explain,
};
use wharfage_tests::component::with_custom;
use wharfage_tests::scene::{account, imports, secret_files};
use wharfage_tests::{API_KEY, NOW, Open, Provider, Reply, Scene, guests, until};

use crate::log::Logged;

/// A scene whose instances stay.
fn scene() -> Scene {
    Scene::of(guests::OPERATIONS_COUNTER).grant(|connection| connection.warm.instances = 4)
}

/// Which call of its instance this one was.
async fn calls(plugin: &Plugin, input: &Value) -> u64 {
    let answer = plugin.call::<Value>("count", input).await.unwrap_or_else(|error| panic!("{error:?}"));
    answer.output["calls"].as_u64().unwrap()
}

async fn called(open: &Open, input: Value) -> u64 {
    calls(&open.plugin, &input).await
}

/// What is counted of the connection.
fn counted(open: &Open) -> ConnectionMetrics {
    open.host.metrics().connections.remove(0)
}

/// Instances that were made, and calls that got one which was there.
fn made_and_reused(open: &Open) -> (u64, u64) {
    let operations = counted(open).operations;
    operations.iter().fold((0, 0), |(made, reused), of| (made + of.instances, reused + of.instances_reused))
}

/// The one reason for which an instance did not stay.
fn reason(open: &Open) -> BTreeMap<&'static str, u64> {
    counted(open).instances_retired
}

/// Until what was spawned has run.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// On one connection the guest's memory lives on; its answer is the same otherwise.
#[tokio::test]
pub(crate) async fn operations_counter() {
    let open = scene().open().await;
    for number in 1..=5 {
        assert_eq!(called(&open, json!({})).await, number);
    }
    assert_eq!(made_and_reused(&open), (1, 4));
    let of = counted(&open);
    assert_eq!((of.instances_kept, of.instances_retired.len()), (1, 0));
    assert_eq!(of.operations.iter().map(|of| of.instances_live).sum::<u64>(), 0, "no call is in it");
    let text = open.host.metrics().prometheus();
    for line in [
        r#"wharfage_instances_kept{connection="acme"} 1"#,
        r#"wharfage_instances_reused_total{plugin="operations-counter",connection="acme",operation="count"} 4"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn without_a_word_every_call_has_a_fresh_instance() {
    for scene in [
        Scene::of(guests::OPERATIONS_COUNTER),
        Scene::of(guests::OPERATIONS_COUNTER).connection("[warm]\ncalls = 5\n"),
        Scene::of(guests::OPERATIONS_COUNTER).connection("[warm]\ninstances = 0\n"),
    ] {
        let open = scene.open().await;
        for _ in 0..3 {
            assert_eq!(called(&open, json!({"word": "kept"})).await, 1);
        }
        assert_eq!((made_and_reused(&open), counted(&open).instances_kept), ((3, 0), 0));
    }
}

/// What the policy says it gives up, and what it does not: the memory of a call is seen by the next of the connection, and
/// nothing that the host holds for a call is.
#[tokio::test]
async fn memory_stays_and_what_the_host_holds_for_a_call_does_not() {
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let open = scene().with(&provider).open().await;
    let write = |word: &str| {
        json!({"word": word, "send": [
            {"method": "POST", "repeat": "keyed", "body": word, "headers": [["x-of", word]]}, {"url": "{api}/plain"}
        ]})
    };
    let first = open.output("count", write("first")).await;
    let second = open.output("count", write("second")).await;
    assert_eq!((&first["before"], &second["before"]), (&json!(null), &json!("first")));
    assert_eq!((&first["calls"], &second["calls"]), (&json!(1), &json!(2)));
    let seen = provider.seen();
    assert!(!seen[2..].iter().any(|seen| seen.text().contains("first")), "{:?}", &seen[2..]);
    let key = |at: usize| seen[at].header("idempotency-key").unwrap().to_owned();
    assert_ne!(key(0), key(2), "two writes share a key");
    // What an answer says of its own call.
    let third = open.call("count", json!({})).await.unwrap();
    assert_eq!((third.attempts, third.age_ms), (0, 0));
}

/// R13: the handle of a token that one call had made means nothing in the next one.
#[tokio::test]
async fn a_token_that_one_call_had_made_is_none_in_the_next() {
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let facts = r#"purpose = "sign"
jwt = { algorithm = "HS256", origins = ["api"], issuer = "us" }
[secrets.unused]
purpose = "sign"
algorithms = ["hmac-sha1", "hmac-sha256", "hmac-sha512"]"#;
    let scene = Scene::of(guests::SECRETS_JWT)
        .manifest_with("purpose = \"sign\"\nalgorithms = [\"hmac-sha1\", \"hmac-sha256\", \"hmac-sha512\"]", facts)
        .with(&provider)
        .grant(|connection| connection.warm.instances = 1);
    let open = scene.open().await;
    let made = open.output("make-and-send", json!({"name": "signing", "claims": {"sub": "x"}})).await;
    assert_eq!(made["handle"], "jwt:1");
    // The next call has made none, so its first one has the same name; it is another token.
    let again = open.output("make-and-send", json!({"name": "signing", "claims": {"sub": "other"}})).await;
    assert_eq!(again["handle"], "jwt:1");
    assert_eq!(made_and_reused(&open), (1, 1));
    let seen = provider.seen();
    assert_ne!(seen[0].header("authorization"), seen[1].header("authorization"));
}

/// Whoever has another connection, account or component gets another instance, and so does whoever opens again.
#[tokio::test]
async fn it_is_never_another_connections_accounts_or_components() {
    let component = scene().component().await;
    let other = with_custom(component.to_vec(), "something-else", b"1");
    let host = Host::builder().code_dir(wharfage_tests::compiled_code()).build().unwrap();
    let mut connection = Connection::parse("[warm]\ninstances = 4\n").unwrap();
    connection.imports = imports(&component).unwrap();
    let mut narrower = Connection::parse(
        "operations = ['count']
[warm]
instances = 4
",
    )
    .unwrap();
    let (one, two) = (account(""), account("").with_secret("user", SecretSource::Value(SecretValue::new("another"))));
    narrower.imports.clone_from(&connection.imports);
    let mut plugins = Vec::new();
    for (name, bytes, connection, account) in [
        ("acme", &*component, &connection, Some(&one)),
        ("other", &component, &connection, Some(&one)),
        ("acme", &component, &connection, Some(&two)),
        ("acme", &component, &connection, None),
        ("acme", &component, &narrower, Some(&one)),
        ("acme", &other, &connection, Some(&one)),
        ("acme", &component, &connection, Some(&one)),
    ] {
        plugins.push(host.connect(name, bytes, connection, account).await.unwrap());
    }
    for round in 1..=3 {
        for plugin in &plugins {
            assert_eq!(calls(plugin, &json!({"word": "mine"})).await, round);
        }
    }
    let kept = |host: &Host| host.metrics().connections.iter().map(|of| of.instances_kept).sum::<u64>();
    assert_eq!(kept(&host), 7);
    drop(plugins);
    assert_eq!(kept(&host), 0, "what is closed keeps nothing");
    let retired: u64 = host.metrics().connections.iter().filter_map(|of| of.instances_retired.get("closed")).sum();
    assert_eq!(retired, 7);
}

/// The lengths of the lives of instances that are never retired for anything else.
async fn lives(calls: u64, seed: u64, total: usize) -> Vec<u64> {
    let clock = ManualClock::new(NOW, seed);
    let open = scene().clock(&clock).grant(move |connection| connection.warm.calls = calls).open().await;
    let mut lives = vec![0];
    for _ in 0..total {
        match called(&open, json!({})).await {
            1 => lives.push(1),
            number => *lives.last_mut().unwrap() = number,
        }
    }
    // The first is a place only, and the last one goes on.
    lives.drain(1..).rev().skip(1).collect()
}

#[tokio::test]
async fn it_goes_after_a_number_of_calls_that_is_drawn() {
    let drawn = lives(10, 1, 250).await;
    assert!(drawn.len() > 25 && drawn.iter().all(|life| (5..=10).contains(life)), "{drawn:?}");
    assert!(drawn.iter().collect::<BTreeSet<_>>().len() >= 5, "hardly drawn: {drawn:?}");
    assert_eq!(drawn, lives(10, 1, 250).await, "another seed was used");
    assert_ne!(drawn, lives(10, 2, 250).await);
    assert!(lives(1, 1, 5).await.iter().all(|life| *life == 1));
    assert!(lives(2, 1, 40).await.iter().all(|life| (1..=2).contains(life)));
}

#[tokio::test]
async fn it_goes_when_it_is_old_however_busy() {
    let clock = ManualClock::new(NOW, 1);
    let open = scene().clock(&clock).grant(|connection| connection.warm.age_ms = 10_000).open().await;
    for number in 1..=10 {
        assert_eq!(called(&open, json!({})).await, number);
        clock.advance(if number < 10 { 1_000 } else { 999 });
    }
    assert_eq!(called(&open, json!({})).await, 11, "a tick before its time");
    clock.advance(1);
    assert_eq!(called(&open, json!({})).await, 1);
    assert_eq!(reason(&open), [("age", 1)].into());
}

/// It goes by itself: nobody has to call for that.
#[tokio::test]
async fn it_goes_when_nobody_wants_it() {
    let clock = ManualClock::new(NOW, 1);
    let open = scene().clock(&clock).grant(|connection| connection.warm.idle_ms = 5_000).open().await;
    called(&open, json!({})).await;
    settle().await;
    for _ in 0..4 {
        clock.advance(4_999);
        settle().await;
        assert_eq!(counted(&open).instances_kept, 1);
        assert!(called(&open, json!({})).await > 1);
        settle().await;
    }
    clock.advance(5_000);
    settle().await;
    assert_eq!((counted(&open).instances_kept, reason(&open)), (0, [("idle", 1)].into()));
    // And so does the one after it.
    assert_eq!(called(&open, json!({})).await, 1);
    settle().await;
    clock.advance(5_000);
    settle().await;
    assert_eq!((counted(&open).instances_kept, reason(&open)), (0, [("idle", 2)].into()));
    // Who calls at that very time, before anybody has looked, gets a fresh one too.
    called(&open, json!({})).await;
    settle().await;
    clock.advance(5_000);
    assert_eq!(called(&open, json!({})).await, 1);
}

#[tokio::test]
async fn it_goes_after_whatever_went_wrong() {
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/open" => Reply::json(&json!({})),
        "/missing" => Reply::status(404),
        _ => Reply::json(&json!({"fine": true})),
    })
    .await;
    let send = |times: usize| Value::from(vec![json!({"url": "{api}/x"}); times]);
    for (input, ends_well, why) in [
        (json!({"end": "trap"}), false, "error"),
        (json!({"end": "error"}), false, "error"),
        (json!({"end": "no JSON"}), false, "error"),
        (json!({"send": [{"url": "{api}/missing"}]}), false, "error"),
        (json!({"send": [{"url": "https://elsewhere.test/"}]}), false, "error"),
        (json!({"end": "spin"}), false, "limit"),
        (json!({"grow": 60 << 20}), false, "limit"),
        (json!({"word": "x".repeat(5_000)}), false, "limit"),
        (json!({"send": send(4)}), false, "limit"),
        // Limits that the plugin met and said nothing of.
        (json!({"send": send(4), "swallow": true}), true, "limit"),
        (json!({"lines": 11}), true, "limit"),
        (json!({"store": 2_000}), true, "limit"),
        (json!({"open": true}), true, "resources"),
        (json!({"grow": 10 << 20}), true, "memory"),
    ] {
        let open = scene()
            .with(&provider)
            .grant(|connection| {
                let limits = &mut connection.limits;
                (limits.compute_ms, limits.memory_bytes, limits.requests, limits.log_lines) = (500, 32 << 20, 3, 10);
                (limits.state_bytes, limits.output_bytes) = (1_000, 4_000);
            })
            .open()
            .await;
        assert_eq!(called(&open, json!({"word": "before"})).await, 1);
        if let Some(word) = input["word"].as_str() {
            // It is the next call's output that is too long.
            assert_eq!(called(&open, json!({"word": word})).await, 2);
            assert_eq!(*open.error("count", json!({})).await.kind(), Kind::LimitExceeded("output_bytes".to_owned()));
        } else {
            assert_eq!(open.call("count", input.clone()).await.is_ok(), ends_well, "{input}");
        }
        assert_eq!(reason(&open), [(why, 1)].into(), "{input}");
        let after = open.output("count", json!({})).await;
        assert_eq!((&after["calls"], &after["before"]), (&json!(1), &json!(null)), "{input}");
        assert_eq!(called(&open, json!({})).await, 2, "what came after it stays");
    }
}

/// An answer that differs from its schema, on a connection that refuses that.
#[tokio::test]
async fn it_goes_after_an_answer_that_was_refused() {
    let open = scene().connection("drift = 'strict'\n").open().await;
    called(&open, json!({})).await;
    assert_eq!(*open.error("wrong", json!({})).await.kind(), Kind::SchemaViolation);
    assert_eq!((called(&open, json!({})).await, reason(&open)), (1, [("error", 1)].into()));
}

/// A caller that goes away, or whose time is over, leaves a guest in the middle of something: nobody gets it.
#[tokio::test]
async fn it_goes_with_a_caller_that_goes_away() {
    let clock = ManualClock::new(NOW, 1);
    let provider = Provider::answering(|seen| match seen.target.as_str() {
        "/never" => Reply::never(),
        _ => Reply::json(&json!({})),
    })
    .await;
    let open = scene().with(&provider).clock(&clock).grant(|c| c.limits.call_ms = 5_000).open().await;
    let waits = json!({"send": [{"url": "{api}/never", "repeat": "never"}]});
    for round in 0..2_usize {
        assert_eq!(called(&open, json!({})).await, 1);
        assert_eq!(called(&open, json!({"word": "mine"})).await, 2);
        let (plugin, input) = (open.plugin.clone(), waits.clone());
        let waiting = tokio::spawn(async move { plugin.call::<Value>("count", &input).await.map(drop) });
        until!(provider.count() > round);
        if round == 0 {
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
        } else {
            clock.advance(5_000);
            assert!(waiting.await.unwrap().is_err());
        }
        let after = open.output("count", json!({})).await;
        assert_eq!((&after["calls"], &after["before"]), (&json!(1), &json!(null)));
        // The last one of this round makes room for the next.
        open.error("count", json!({"end": "error"})).await;
    }
    let told = reason(&open);
    let ended = told.get("interrupted").copied().unwrap_or(0);
    // A deadline that the path notices first is an error like any other.
    assert!(ended >= 1 && ended + told["error"] == 4, "{told:?}");
    assert_eq!(counted(&open).operations.iter().map(|of| of.instances_live).sum::<u64>(), 0);
}

/// Every limit of a call begins anew with each call: ten that use up all they may, in one instance.
#[tokio::test]
async fn every_limit_of_a_call_counts_anew() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    let provider = Provider::scripted([Reply::json(&json!({}))]).await;
    let open = scene()
        .with(&provider)
        .grant(|connection| {
            let limits = &mut connection.limits;
            (limits.requests, limits.log_lines, limits.log_bytes, limits.hostcall_bytes) = (3, 10, 70, 2_000);
            limits.resources = 3;
        })
        .open()
        .await;
    let body = "b".repeat(1_500);
    let send = vec![json!({"method": "POST", "url": "{api}/x", "body": body}); 3];
    for number in 1..=10 {
        let input = json!({"send": send, "lines": 10, "print": format!("printed {number}.")});
        let answer = open.call("count", input).await.unwrap();
        assert_eq!((answer.output["calls"].as_u64(), answer.attempts), (Some(number), 3));
    }
    assert_eq!((open.plugin.dropped_lines(), made_and_reused(&open)), (0, (1, 9)));
    let text = logged.text();
    assert_eq!(text.matches("counted").count(), 100);
    for number in 1..=10 {
        assert_eq!(text.matches(&format!("printed {number}.")).count(), 1, "it is told once, with its call:\n{text}");
    }
    // Over the limits is over the limits, in the tenth call as in the first.
    let error = open.error("count", json!({"send": vec![send[0].clone(); 4]})).await;
    assert_eq!(*error.kind(), Kind::LimitExceeded("requests".to_owned()));
}

/// Together they compute for longer than one of them may.
#[tokio::test]
async fn the_time_for_computing_begins_anew() {
    let open = scene().grant(|connection| connection.limits.compute_ms = 1_000).open().await;
    let began = counted(&open).operations[0].compute_ms;
    let mut number = 0;
    // However fast the machine is: until they have computed for two such times.
    while counted(&open).operations[0].compute_ms - began < 2_000 {
        number += 1;
        assert_eq!(called(&open, json!({"turns": 10_000_000})).await, number);
        assert!(number < 2_000, "nothing is counted");
    }
    assert_eq!(made_and_reused(&open), (1, number - 1));
}

/// What a call said too much of is told with that call, not when its instance ends.
#[tokio::test]
async fn dropped_lines_are_told_when_their_call_ends() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=info");
    let open = scene().grant(|connection| connection.limits.log_second_bytes = 10 * (256 + 7)).open().await;
    for number in 1..=2 {
        // A neighbour's second, not this call's limit: the instance stays.
        assert_eq!(called(&open, json!({"lines": 20})).await, number);
        assert!(logged.text().matches("lines were dropped").count() <= 1);
    }
    assert_eq!(logged.text().matches("lines were dropped").count(), 1, "{}", logged.text());
    assert_eq!(open.plugin.dropped_lines(), 30);
}

/// Sixty-four at once of which four may stay: all are right, four are kept, and the others were made for their call.
#[tokio::test]
async fn sixty_four_side_by_side() {
    let provider = Provider::answering(|seen| {
        let held = Reply::json(&json!({"of": seen.target}));
        if seen.number <= 64 { held.once_seen(64) } else { held.once_seen(128) }
    })
    .await;
    let open = scene().with(&provider).open().await;
    for round in 0..2_u64 {
        let call = |number: u64| {
            let word = format!("{round}-{number}");
            let input = json!({"word": word, "send": [{"url": format!("{{api}}/{word}")}]});
            let open = &open;
            async move {
                let output = open.output("count", input).await;
                assert_eq!(output["answers"][0]["body"], json!({"of": format!("/{word}")}).to_string());
                output["calls"].as_u64().unwrap()
            }
        };
        let numbers = join_all((0..64).map(call)).await;
        let reused = numbers.iter().filter(|number| **number == 2).count();
        assert_eq!(reused, if round == 0 { 0 } else { 4 });
        assert!(numbers.iter().all(|number| (1..=2).contains(number)));
        assert_eq!(counted(&open).instances_kept, 4);
    }
    assert_eq!((made_and_reused(&open), reason(&open)), ((124, 4), [("full", 120)].into()));
}

/// Those that wait hold places in the host. Whoever calls another connection was told that it is busy until they had been
/// idle for long enough.
#[tokio::test]
async fn those_that_wait_give_way_to_another_connections_call() {
    let engine: wharfage::EnginePolicy = toml::from_str("limits.instances_alive = 4").unwrap();
    let clock = ManualClock::new(NOW, 1);
    let host = Host::builder().code_dir(wharfage_tests::compiled_code()).clock(clock.clone()).engine(engine);
    let host = host.build().unwrap();
    let provider = Provider::answering(|seen| Reply::json(&json!({})).once_seen(seen.number.div_ceil(4) * 4)).await;
    let connect = |name: &'static str, instances: u64| {
        let scene = Scene::of(guests::OPERATIONS_COUNTER).with(&provider);
        let scene = scene.grant(move |connection| connection.warm.instances = instances);
        let (host, account) = (&host, account(""));
        async move { scene.connect_as(name, host, &account).await.unwrap() }
    };
    let (early, late, fresh) = (connect("early", 1).await, connect("late", 1).await, connect("fresh", 0).await);
    calls(&early, &json!({})).await;
    clock.advance(1_000);
    calls(&late, &json!({})).await;
    let kept = || host.metrics().connections.iter().map(|of| of.instances_kept).collect::<Vec<_>>();
    assert_eq!(kept(), [1, 0, 1], "by name: early, fresh, late");
    // Four at once are all that may live: both of those that wait have to go.
    let send = json!({"send": [{"url": "{api}/x"}]});
    let answers = join_all((0..4).map(|_| fresh.call::<Value>("count", &send))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(kept(), [0, 0, 0]);
    for of in host.metrics().connections.iter().filter(|of| of.connection != "fresh") {
        assert_eq!(of.instances_retired, [("full", 1)].into(), "{}", of.connection);
    }
    // One place is wanted: the one goes that was not wanted for longer.
    calls(&early, &json!({})).await;
    clock.advance(1_000);
    calls(&late, &json!({})).await;
    let three = join_all((0..3).map(|_| fresh.call::<Value>("count", &send)));
    let fourth = async {
        until!(provider.count() >= 7);
        assert_eq!(kept(), [0, 0, 1]);
        fresh.call::<Value>("count", &send).await
    };
    let (three, fourth) = tokio::join!(three, fourth);
    assert!(three.iter().all(Result::is_ok) && fourth.is_ok(), "{three:?} {fourth:?}");
}

/// Another key is another account's, perhaps: what was learned with the old one is gone.
#[tokio::test]
async fn it_goes_when_the_credential_changes() {
    let provider = Provider::answering(|seen| match seen.header("authorization") {
        Some(key) if key.ends_with("first") && seen.number > 2 => Reply::status(401),
        _ => Reply::json(&json!({})),
    })
    .await;
    let (folder, lines) = secret_files("acme");
    let key = folder.path().join("api_key");
    std::fs::write(&key, "the-key-that-is-first").unwrap();
    let host = Host::builder().code_dir(wharfage_tests::compiled_code()).clock(ManualClock::skipping(NOW, 1));
    let host = host.build().unwrap();
    let component = scene().component().await;
    let config = format!("{lines}[plugins.counter]\ncomponent = 'x'\n");
    let config = wharfage::Config::parse(&config, std::path::Path::new("wharfage.toml")).unwrap();
    let mut connection = Connection::parse("secrets = ['api_key']\n[warm]\ninstances = 4\n").unwrap();
    connection.imports = imports(&component).unwrap();
    connection.private_addresses = vec!["127.0.0.1/32".parse().unwrap()];
    connection.base.insert("api".to_owned(), provider.url());
    connection.origins = vec![provider.url()];
    let plugin = host.connect("acme", &component, &connection, Some(&config.accounts["acme"])).await.unwrap();
    let send = json!({"word": "of the first", "send": [{}]});
    assert_eq!((calls(&plugin, &send).await, calls(&plugin, &send).await), (1, 2));
    // The provider wants the next one, which lies there. The call in which that happens began before.
    std::fs::write(&key, "the-key-that-is-second").unwrap();
    assert_eq!(calls(&plugin, &send).await, 3);
    assert_eq!(calls(&plugin, &send).await, 1);
    assert_eq!(calls(&plugin, &send).await, 2);
    assert_eq!(host.metrics().connections[0].instances_retired, [("credential", 1)].into());
    assert!(provider.seen().last().unwrap().header("authorization").unwrap().ends_with("second"));
    assert!(!provider.seen()[0].text().contains(API_KEY));
}

/// What must come again as it was begins with a memory that has seen nothing.
#[tokio::test]
async fn events_probes_and_tapes_get_a_fresh_instance() {
    let probe = "[health]\noperation = 'count'\nsource = 'made up for the tests'\ndate = '2026-11-29'\n";
    let clock = ManualClock::skipping(NOW, 1);
    let open = scene().manifest(probe).clock(&clock).open().await;
    assert_eq!(called(&open, json!({})).await, 1);
    for _ in 0..2 {
        let trigger = Trigger::Poll(Poll::new("things"));
        let event = Event { id: "e-1".to_owned(), trigger, cursor: None };
        assert_eq!(open.plugin.handle(event).await.unwrap().cursor.as_deref(), Some("1"));
        clock.advance(1_000);
        open.plugin.probe().await;
    }
    assert_eq!(called(&open, json!({})).await, 2, "an event or a probe got the instance of calls");
    let made = made_and_reused(&open);
    assert!(made.0 >= 4 && made.1 == 1, "{made:?}");

    let folder = tempfile::tempdir().unwrap();
    let tape = Tape::open(folder.path().join("tape.json"), TapeMode::Record).unwrap();
    let host = Host::builder().code_dir(wharfage_tests::compiled_code()).clock(clock).tape(tape).build().unwrap();
    let plugin = scene().connect(&host, &account("")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(calls(&plugin, &json!({})).await, 1);
    }
}

/// The pages of a list are calls like any other.
#[tokio::test]
async fn pages_share_it() {
    let open = scene().open().await;
    let (first, cursor) = open.page("pages", json!({}), None).await.unwrap();
    let (second, _) = open.page("pages", json!({}), cursor).await.unwrap();
    assert_eq!((first, second), (json!([1]), json!([2])));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_what_holds_is_explained() {
    for key in ["calls", "age_ms", "idle_ms", "memory_bytes"] {
        let error = Connection::parse(&format!("[warm]\n{key} = 0\n")).unwrap_err();
        assert_eq!(*error.kind(), Kind::Configuration);
        assert!(
            error.message().contains(&format!("warm.{key} is 0")) && error.to_string().contains("warm.instances = 0")
        );
    }
    assert!(Connection::parse("[warm]\nminutes = 1\n").is_err());
    let component = scene().component().await;
    let needs = Needs::read(&component).unwrap();
    let mut connection = Connection::granting(&needs);
    let explained =
        |connection: &Connection| explain(&needs, &wharfage::Grant::new(&needs, "acme", connection, None).unwrap());
    assert!(explained(&connection).contains("fresh for each call"));
    connection.warm.instances = 3;
    connection.warm.calls = 101;
    let text = explained(&connection);
    for told in ["up to 3 at once", "51 to 101 calls", "300 s, and 60 s without", "8388608 bytes", "may see"] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
}

/// What a call of the simulation does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Well,
    Trap,
    Fail,
    Flood,
    /// Asks a provider that never answers, and is given up.
    GoneAway,
    Wait(u64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let one = prop_oneof![
        6 => Just(Deed::Well), 1 => Just(Deed::Trap), 1 => Just(Deed::Fail), 1 => Just(Deed::Flood),
        1 => Just(Deed::GoneAway), 1 => (1..4_000_u64).prop_map(Deed::Wait),
    ];
    prop::collection::vec(one, 1..40)
}

/// Runs what it is told, so many calls at once, and holds every answer against what must be true of it.
async fn simulate(deeds: Vec<Deed>, width: usize, instances: u64) {
    let provider = Provider::answering(|_| Reply::never()).await;
    let clock = ManualClock::new(NOW, 7);
    let open = Scene::of(guests::OPERATIONS_COUNTER)
        .with(&provider)
        .clock(&clock)
        .grant(move |connection| {
            connection.warm.instances = instances;
            (connection.warm.calls, connection.warm.age_ms, connection.warm.idle_ms) = (6, 8_000, 3_000);
            connection.limits.log_lines = 5;
        })
        .open()
        .await;
    // The word of each call that ended well, and how many calls had ended before it began and when it was over.
    let mut words: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut made = 0;
    for (number, batch) in deeds.chunks(width).enumerate() {
        let call = async |at: usize, deed: Deed| {
            let word = format!("{number}-{at}");
            let mut input = json!({"word": word});
            match deed {
                Deed::Well => {}
                Deed::Trap => input["end"] = json!("trap"),
                Deed::Fail => input["end"] = json!("error"),
                Deed::Flood => input["lines"] = json!(6),
                Deed::GoneAway => input["send"] = json!([{"url": "{api}/x"}]),
                Deed::Wait(_) => return None,
            }
            if matches!(deed, Deed::GoneAway) {
                let (plugin, before) = (open.plugin.clone(), provider.count());
                let going = tokio::spawn(async move { plugin.call::<Value>("count", &input).await.map(drop) });
                until!(provider.count() != before);
                going.abort();
                assert!(going.await.unwrap_err().is_cancelled());
                return None;
            }
            let answer = open.call("count", input).await;
            assert_eq!(answer.is_ok(), matches!(deed, Deed::Well | Deed::Flood), "{deed:?}: {answer:?}");
            Some((word, deed, answer.ok()?.output))
        };
        let answers = join_all(batch.iter().enumerate().map(|(at, deed)| call(at, *deed))).await;
        for (word, deed, output) in answers.into_iter().flatten() {
            let calls = output["calls"].as_u64().unwrap();
            assert!((1..=6).contains(&calls), "an instance had {calls} calls");
            match output["before"].as_str() {
                None => assert_eq!(calls, 1),
                Some(before) => {
                    // Only what ended well and hit no limit is ever seen again, and once.
                    let (of, _) = words.remove(before).unwrap_or_else(|| panic!("{before} should not have stayed"));
                    assert_eq!(calls, of + 1);
                }
            }
            if matches!(deed, Deed::Well) {
                words.insert(word, (calls, clock.now().as_millis()));
            }
        }
        made += batch.iter().filter(|deed| !matches!(deed, Deed::Wait(_))).count() as u64;
        let of = counted(&open);
        assert!(of.instances_kept <= instances, "{} are kept", of.instances_kept);
        assert_eq!(of.operations.iter().map(|of| of.instances_live).sum::<u64>(), 0);
        let (fresh, reused) = made_and_reused(&open);
        assert_eq!(fresh + reused, made);
        assert_eq!(fresh, of.instances_kept + of.instances_retired.values().sum::<u64>(), "one is lost: {of:?}");
        for deed in batch {
            if let Deed::Wait(ms) = deed {
                clock.advance(*ms);
                settle().await;
                let since = |at: u64| clock.now().as_millis() - at;
                words.retain(|_, (_, at)| since(*at) < 3_000);
            }
        }
    }
    let host = open.host.clone();
    drop(open);
    assert_eq!(host.metrics().connections[0].instances_kept, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_happens_nobody_sees_more_than_they_may(deeds in deeds(), width in 1..6_usize, instances in 1..4_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(simulate(deeds, width, instances));
    }
}
