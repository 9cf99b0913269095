//! Limits: each is set, is reached, is told by its name with the line that allows more, and costs nobody else anything.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharfage::{Connection, EnginePolicy, Error, Event, Host, Kind, Limits, ManualClock, Plugin, Timestamp, Trigger};
use wharfage_tests::component::{self, module, with_instances};
use wharfage_tests::scene::{account, imports};
use wharfage_tests::{Guest, Provider, Reply, Scene, guests, skipping, until};

/// Tests that reach limits, each by its file in `tests/all` or `host/src`, and what they reach.
const REACHED: &[(&str, &str, &[&str])] = &[
    (
        "limits",
        "what_an_instance_uses_up_is_limited_by_name",
        &["compute_ms", "memory_bytes", "resources", "output_bytes", "cursor_bytes"],
    ),
    (
        "limits",
        "what_goes_through_an_import_is_limited_by_name",
        &[
            "hostcall_bytes",
            "state_bytes",
            "state_keys",
            "state_written_bytes",
            "url_bytes",
            "headers",
            "header_bytes",
            "request_body_bytes",
            "response_body_bytes",
            "stream_bytes",
            "upload_bytes",
            "requests",
            "redirects",
        ],
    ),
    ("limits", "what_comes_of_an_event_is_limited_by_name", &["emitted_events", "emitted_bytes", "message_bytes"]),
    (
        "limits",
        "what_a_component_takes_by_itself_is_limited_by_name",
        &["instances", "memories", "tables", "table_elements"],
    ),
    ("limits", "calls_wait_in_a_queue_that_has_an_end", &["calls", "calls_waiting"]),
    ("limits", "whoever_waits_for_a_place_waits_no_longer_than_a_call_may_take", &["call_ms"]),
    ("log", "log_prints", &["printed_bytes"]),
    ("hostile", "a_flood_of_one_call_is_cut_and_told_once", &["log_lines", "log_bytes"]),
    ("hostile", "a_flood_over_many_calls_is_bounded_second_by_second", &["log_second_bytes"]),
    ("hostile", "r9_an_answer_that_nobody_reads_is_not_taken_off_the_socket", &["streams"]),
    ("stream", "r9_a_stream_that_stands_still_ends", &["stream_idle_ms"]),
    ("stream", "r9_events_hold_a_permit_of_their_own", &["event_streams"]),
    ("http/side_by_side", "no_more_are_under_way_than_allowed", &["side_by_side"]),
    ("http/lost", "who_never_answers_is_left", &["attempt_ms", "attempts"]),
    ("http/statuses", "a_long_retry_after_is_handed_on", &["retry_wait_ms"]),
    ("pace", "guide_s21_retries_are_bounded_and_so_is_their_share", &["retry_percent"]),
    ("pace", "lying_headers_are_clamped_or_passed_over", &["block_ms"]),
    ("cache", "memory_is_bounded_and_the_oldest_goes", &["cache_bytes", "cache_entry_bytes"]),
    ("secrets", "r13_a_made_token_is_a_handle_of_its_call", &["claims_bytes"]),
    ("plugin/stopped", "too_much_randomness_at_once_is_told_by_the_name_of_its_limit", &["random_bytes"]),
    ("outbound/wires", "a_dial_has_its_time", &["connect_ms"]),
    ("capability/log", "a_line_says_how_many_fields_it_has_lost", &["log_fields"]),
    ("inbound/handler", "r21_what_is_emitted_is_bounded", &["messages"]),
    ("inbound/handler", "r21_who_emits_more_than_a_second_holds_waits_before_the_next", &["emitted_second_events"]),
];

/// A limit that nobody reaches may be none.
#[test]
fn each_limit_has_a_test() {
    let names: BTreeSet<&str> = Limits::default().all().iter().map(|limit| limit.name).collect();
    let reached: Vec<&str> = REACHED.iter().flat_map(|(.., names)| names.iter().copied()).collect();
    assert_eq!(reached.iter().copied().collect::<BTreeSet<_>>(), names);
    assert_eq!(reached.len(), names.len(), "one stands there twice");
    for (file, test, _) in REACHED {
        let texts = ["tests/all", "host/src"].map(|folder| {
            std::fs::read_to_string(wharfage_tests::root().join(format!("{folder}/{file}.rs"))).unwrap_or_default()
        });
        assert!(texts.iter().any(|text| text.contains(&format!("fn {test}("))), "{file} has no test {test}");
    }
}

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

/// The error names the limit, and the operator reads what to set.
fn says_which(error: &Error, name: &str) {
    let is_it = match error.kind() {
        Kind::LimitExceeded(named) => named == name,
        Kind::TooLarge => error.message().contains(name),
        _ => false,
    };
    assert!(is_it, "{name}: {error:?}");
    let line = format!("limits.{name} on the connection");
    assert!(error.details().is_some_and(|details| details.contains(&line)), "no line that allows more: {error:?}");
}

/// Sets the limit as an operator would, reaches it beside a call that does no harm, and then calls again.
async fn reach(scene: Scene, name: &str, value: u64, attack: (&str, Value), harmless: Option<(&str, Value)>) {
    let open = scene.connection(&format!("limits.{name} = {value}\n")).open().await;
    let (operation, input) = attack;
    let Some((well, good)) = harmless else { return says_which(&open.error(operation, input).await, name) };
    let (error, _) = tokio::join!(open.error(operation, input), open.output(well, good.clone()));
    says_which(&error, name);
    open.output(well, good).await;
}

#[tokio::test]
async fn what_an_instance_uses_up_is_limited_by_name() {
    let idle = || Some(("idle", json!({})));
    for (guest, name, value, operation) in [
        (guests::HOSTILE_SPIN, "compute_ms", 50, "spin"),
        (guests::HOSTILE_ALLOCATE, "memory_bytes", 8 << 20, "allocate"),
    ] {
        reach(Scene::of(guest), name, value, (operation, json!({})), idle()).await;
    }
    reach(Scene::of(guests::LOG_PRINTS), "resources", 1, ("print", json!({})), idle()).await;
    let provider = Provider::scripted([Reply::endless()]).await;
    let hoard = Scene::of(guests::HOSTILE_STREAM_HOARD).with(&provider).connection("limits.streams = 100\n");
    reach(hoard, "resources", 3, ("hoard", json!({})), idle()).await;
    reach(
        Scene::of(guests::HOSTILE_BIG_OUTPUT),
        "output_bytes",
        1 << 20,
        ("output", json!({})),
        Some(("pages", json!({}))),
    )
    .await;
    reach(Scene::of(guests::HOSTILE_HUGE_CURSOR), "cursor_bytes", 1 << 10, ("hoard", json!({})), None).await;
}

#[tokio::test]
async fn what_goes_through_an_import_is_limited_by_name() {
    let state = || Scene::of(guests::STATE_ROUNDTRIP);
    let set = |bytes: usize| ("set", json!({"key": "k", "value": "x".repeat(bytes)}));
    reach(state(), "hostcall_bytes", 100_000, set(200_000), Some(set(10))).await;
    reach(state(), "state_bytes", 100, set(101), Some(set(100))).await;
    reach(state(), "state_written_bytes", 300, set(44), Some(set(43))).await;
    let another = ("set", json!({"key": "another", "value": ""}));
    let open = state().connection("limits.state_keys = 1").open().await;
    open.output("set", set(1).1).await;
    says_which(&open.error(another.0, another.1).await, "state_keys");
    let long = open.error("get", json!({"key": "k".repeat(257)})).await;
    assert_eq!(*long.kind(), limit("state_key_bytes"), "{long:?}");
    assert!(long.details().unwrap().contains("the same on every connection"), "{long:?}");

    let provider = Provider::answering(|_| Reply::status(200).body("x".repeat(2_000))).await;
    let http = || Scene::of(guests::HTTP_SEND).with(&provider);
    let send = |more: Value| {
        let mut input = json!({"url": "{api}/"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let plain = || Some(("send", send(json!({}))));
    let headers = |count: usize| (0..count).map(|number| json!([format!("x-{number}"), "v"])).collect::<Vec<_>>();
    for (name, value, operation, input) in [
        ("url_bytes", 200, "send", json!({"url": format!("{{api}}/{}", "a".repeat(200))})),
        ("headers", 20, "send", send(json!({"headers": headers(21)}))),
        ("header_bytes", 1_000, "send", send(json!({"headers": [["x-long", "v".repeat(1_000)]]}))),
        ("request_body_bytes", 2_000, "write", send(json!({"method": "POST", "body": "x".repeat(2_001)}))),
    ] {
        reach(http(), name, value, (operation, input), plain()).await;
    }
    assert_eq!(provider.count(), 4 * 2, "only what does no harm leaves");
    reach(http(), "response_body_bytes", 1_999, plain().unwrap(), None).await;
    let streamed = || Scene::of(guests::HTTP_STREAM).with(&provider);
    reach(streamed(), "stream_bytes", 1_999, ("open", send(json!({}))), None).await;
    let up = send(json!({"method": "POST", "bytes": 101}));
    reach(streamed(), "upload_bytes", 100, ("up", up), None).await;
    reach(Scene::of(guests::HOSTILE_FLOOD_REQUESTS).with(&provider), "requests", 20, ("at-once", json!({})), None)
        .await;
    let around = Provider::answering(|_| Reply::redirect(302, "/")).await;
    reach(Scene::of(guests::HTTP_SEND).with(&around), "redirects", 2, plain().unwrap(), None).await;
}

/// However a plugin is started, by a webhook, a poll or a message: the same limits, for an embedder too.
#[tokio::test]
async fn what_comes_of_an_event_is_limited_by_name() {
    let event = |trigger| Event { id: "e".to_owned(), trigger, cursor: None };
    let webhook =
        |body: &str| event(Trigger::Webhook { endpoint: "things".into(), headers: Vec::new(), body: body.into() });
    let message = || event(Trigger::Message { socket: "things".into(), message: b"one".to_vec() });
    let counts = || Scene::of(guests::EVENTS_COUNTS);
    let socket = || Scene::of(guests::EVENTS_SOCKET);
    for (scene, name, value, attack) in [
        (counts(), "emitted_events", 1_999, webhook("flood")),
        (counts(), "emitted_bytes", 10, webhook("fine")),
        (counts(), "compute_ms", 50, webhook("loop")),
        (socket(), "message_bytes", 7, message()),
        (socket(), "cursor_bytes", 2, message()),
    ] {
        let more = if name == "emitted_events" { "" } else { "limits.emitted_events = 2000\n" };
        let open = scene.connection(&format!("limits.{name} = {value}\n{more}")).open().await;
        let error = open.plugin.handle(attack).await.unwrap_err();
        says_which(&error, name);
        open.output("idle", json!({})).await;
    }
}

async fn connected(bytes: &[u8], lines: &str) -> Result<Plugin, Error> {
    let mut connection = Connection::parse(lines)?;
    connection.imports = imports(bytes)?;
    component::builder().connect("acme", bytes, &connection, None).await
}

const GUEST: Guest = guests::OPERATIONS_ECHO;
/// Grows its table by a thousand elements until it is refused.
const GROWS_TABLE: &[u8] = b"\x03\x40\xd0\x70\x41\xe8\x07\xfc\x0f\x00\x41\x7f\x47\x0d\x00\x0b\x00";
/// The same with its memory, page by page.
const GROWS_MEMORY: &[u8] = b"\x03\x40\x41\x01\x40\x00\x41\x7f\x47\x0d\x00\x0b\x00";
/// Calls itself.
const RECURSES: &[u8] = b"\x10\x00";

/// What a component takes before any of its exports is called, or for merely being there, is refused when it is loaded,
/// by the same names.
#[tokio::test]
async fn what_a_component_takes_by_itself_is_limited_by_name() {
    let good = Scene::of(GUEST).component().await.to_vec();
    let with = |memories: &[usize], tables: &[usize], start: &[u8]| {
        with_instances(good.clone(), &module(memories, tables, start), 1)
    };
    for (name, bytes) in [
        ("instances", with_instances(good.clone(), &module(&[], &[], &[]), 40)),
        ("memories", with(&[0; 6], &[], &[])),
        ("tables", with(&[], &[0; 25], &[])),
        ("memory_bytes", with(&[2_000], &[], &[])),
        ("memory_bytes", with(&[1], &[], GROWS_MEMORY)),
        ("table_elements", with(&[], &[50_000], &[])),
        ("table_elements", with(&[], &[1], GROWS_TABLE)),
    ] {
        let error = connected(&bytes, "").await.err().unwrap_or_else(|| panic!("{name} is not limited"));
        says_which(&error, name);
        assert!(error.message().starts_with("`describe` fails"), "{error}");
    }
    let error = connected(&with(&[], &[], RECURSES), "").await.err().unwrap();
    assert_eq!(*error.kind(), limit("stack_bytes"), "{error:?}");
    // With more of each, all of them work.
    let lines = "limits.memories = 8\nlimits.tables = 40\nlimits.instances = 100\nlimits.memory_bytes = 268435456\n\
                 limits.table_elements = 100000";
    for bytes in [
        with_instances(good.clone(), &module(&[], &[], &[]), 40),
        with(&[0; 6], &[], &[]),
        with(&[], &[0; 25], &[]),
        with(&[2_000], &[], &[]),
        with(&[], &[50_000], &[]),
    ] {
        let plugin = connected(&bytes, lines).await.unwrap();
        assert_eq!(plugin.call::<Value>("echo", &json!({"a": 1})).await.unwrap().output, json!({"a": 1}));
    }
    // What is built has no connection whose limits could be set.
    let error = component::builder().describe(&with(&[2_000], &[], &[])).await.unwrap_err();
    assert_eq!(*error.kind(), Kind::Component);
    assert!(error.message().contains("memory_bytes") && error.details().is_none(), "{error}");
}

/// How deep a plugin may call itself is the engine's, for all plugins.
#[tokio::test]
async fn the_stack_is_limited_by_the_host() {
    let recurse = async |policy: &str| {
        let policy: EnginePolicy = toml::from_str(policy).unwrap();
        let host = Host::builder().clock(skipping()).engine(policy).build().unwrap();
        let plugin = Scene::of(guests::HOSTILE_RECURSE).connect(&host, &account("")).await.unwrap();
        let input = json!({});
        let (error, idle) = tokio::join!(plugin.call::<Value>("recurse", &input), plugin.call::<Value>("idle", &input));
        idle.unwrap();
        error.unwrap_err()
    };
    for (policy, value) in [("", "524288"), ("limits.stack_bytes = 65536", "65536")] {
        let error = recurse(policy).await;
        assert_eq!(*error.kind(), limit("stack_bytes"), "{error:?}");
        assert!(error.message().contains(value), "{error}");
        assert!(error.details().unwrap().contains("limits.stack_bytes in [engine] of wharfage.toml"), "{error}");
    }
}

fn busy(answers: &[Result<Value, Error>], name: &str) -> usize {
    let errors = answers.iter().filter_map(|answer| answer.as_ref().err());
    errors
        .map(|error| {
            assert_eq!(*error.kind(), Kind::Busy(name.to_owned()), "{error:?}");
            assert!(error.may_retry() && error.details().unwrap().contains(&format!("limits.{name}")), "{error}");
        })
        .count()
}

async fn side_by_side(plugin: &Plugin, calls: usize) -> Vec<Result<Value, Error>> {
    let input = json!({"url": "{api}/"});
    let all = (0..calls).map(|_| async { plugin.call::<Value>("send", &input).await.map(|answer| answer.output) });
    futures_util::future::join_all(all).await
}

/// Calls beyond those that run wait, so many of them; whoever comes then hears at once that the host is busy, and nothing is
/// sent for it.
#[tokio::test]
async fn calls_wait_in_a_queue_that_has_an_end() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let lines = "limits.calls = 1\nlimits.calls_waiting = 3\n";
    let open = Scene::of(guests::HTTP_SEND).with(&provider).connection(lines).open().await;
    for round in 1..=3 {
        let answers = side_by_side(&open.plugin, 10).await;
        assert_eq!(busy(&answers, "calls_waiting"), 6);
        assert_eq!(provider.count(), round * 4);
    }
}

/// The same for the instances of all connections together.
#[tokio::test]
async fn the_host_has_so_many_instances_and_says_when_there_is_none() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let policy: EnginePolicy = toml::from_str("limits.instances_alive = 2").unwrap();
    let host = Host::builder().clock(skipping()).engine(policy).build().unwrap();
    let connect = async || Scene::of(guests::HTTP_SEND).with(&provider).connect(&host, &account("")).await;
    let (plugin, neighbour) = (connect().await.unwrap(), connect().await.unwrap());
    for _ in 0..3 {
        let (mine, theirs) = tokio::join!(side_by_side(&plugin, 5), side_by_side(&neighbour, 1));
        assert_eq!((busy(&mine, "instances_alive"), busy(&theirs, "instances_alive")), (3, 1));
    }
    assert_eq!(busy(&side_by_side(&neighbour, 1).await, "instances_alive"), 0, "a place was not given back");
    // Memories of a pool are reserved: a component that has many of them may find too few.
    let good = Scene::of(GUEST).component().await.to_vec();
    let bytes = with_instances(good, &module(&[0; 5], &[], &[]), 1);
    let connection = Connection::parse("limits.memories = 8").unwrap();
    match host.connect("many", &bytes, &connection, None).await {
        Ok(_) => assert!(!host.is_pooled()),
        Err(error) => assert_eq!(*error.kind(), Kind::Busy("instances_alive".to_owned()), "{error:?}"),
    }
}

/// A limit at its least and at its most, each by itself and all together: the connection is refused with a sentence, or it
/// works within its limits. Nothing overflows, nothing panics, nothing hangs.
#[tokio::test]
async fn limits_at_their_extremes_are_refused_or_hold() {
    let provider = Provider::scripted([Reply::status(200).body("{\"a\": 1}")]).await;
    let host = Host::builder().clock(skipping()).code_dir(wharfage_tests::compiled_code()).build().unwrap();
    let names: Vec<(&str, u64)> = Limits::default().all().iter().map(|limit| (limit.name, limit.most)).collect();
    // TOML has no larger number.
    let most = |most: u64| most.min(i64::MAX as u64);
    let mut policies: Vec<String> = Vec::new();
    for (name, largest) in &names {
        policies.extend([1, 2, most(*largest)].map(|value| format!("limits.{name} = {value}\n")));
    }
    let all = |value: &dyn Fn(u64) -> u64| -> String {
        names.iter().map(|(name, largest)| format!("limits.{name} = {}\n", value(*largest))).collect()
    };
    policies.push(all(&|_| 1));
    policies.push(all(&most));
    // And mixed, in ways that do not change from run to run.
    for seed in 0..32_usize {
        let mixed = names.iter().enumerate().filter_map(|(at, (name, largest))| {
            let value = [0, 1, most(*largest)][(at * 7 + seed * (at + 3)) % 5 % 3];
            (value > 0).then(|| format!("limits.{name} = {value}\n"))
        });
        policies.push(mixed.collect());
    }
    let (mut worked, mut refused) = (0, 0);
    for policy in &policies {
        let scene = Scene::of(guests::HTTP_SEND).with(&provider).connection(policy);
        let plugin = match scene.connect(&host, &account("")).await {
            Ok(plugin) => plugin,
            Err(error) => {
                assert!(error.message().contains("limit"), "{policy}: {error:?}");
                refused += 1;
                continue;
            }
        };
        for (operation, input) in [
            ("send", json!({"url": "{api}/a", "headers": [["x-a", "b"]]})),
            ("write", json!({"url": "{api}/a", "method": "POST", "body": "abc"})),
            ("send", json!({"url": "{api}/a", "keep": 60})),
        ] {
            match plugin.call::<Value>(operation, &input).await {
                Ok(_) => worked += 1,
                Err(error) => {
                    let is_named = names.iter().any(|(name, _)| error.to_string().contains(name));
                    assert!(
                        is_named || matches!(error.kind(), Kind::Timeout | Kind::Deadline | Kind::Network(_)),
                        "{policy}: {error:?}"
                    );
                }
            }
        }
    }
    assert!(worked > names.len() && refused > 0, "{worked} calls worked, {refused} connections were refused");
    // In code there is no reader that would refuse it: a grant does.
    let scene = Scene::of(guests::HTTP_SEND).grant(|connection| connection.limits.instances = u64::MAX);
    assert_eq!(*scene.connect(&host, &account("")).await.err().unwrap().kind(), Kind::Configuration);
    let scene = Scene::of(guests::HTTP_SEND).grant(|connection| connection.limits.call_ms = 0);
    assert_eq!(*scene.connect(&host, &account("")).await.err().unwrap().kind(), Kind::Configuration);
    let scene = Scene::of(guests::HTTP_SEND).with(&provider).grant(|connection| {
        let limits = &mut connection.limits;
        for limit in [&mut limits.call_ms, &mut limits.compute_ms, &mut limits.calls, &mut limits.attempt_ms] {
            *limit = u64::MAX;
        }
        limits.hostcall_bytes = u64::MAX;
        limits.connect_ms = u64::MAX;
        limits.calls_waiting = u64::MAX;
        limits.resources = u64::MAX;
        limits.log_second_bytes = u64::MAX;
    });
    let plugin = scene.connect(&host, &account("")).await.unwrap();
    plugin.call::<Value>("send", &json!({"url": "{api}/a"})).await.unwrap();
}

/// On a clock that is turned by hand a call that waits for its turn is late like any other.
#[tokio::test]
async fn whoever_waits_for_a_place_waits_no_longer_than_a_call_may_take() {
    let clock = ManualClock::new(Timestamp::from_millis(1_000_000), 1);
    let provider = Provider::scripted([Reply::never()]).await;
    let lines = "limits.calls = 1\nlimits.call_ms = 5000\n";
    let open = Scene::of(guests::HTTP_SEND).clock(&clock).with(&provider).connection(lines).open().await;
    let (answers, ()) = tokio::join!(side_by_side(&open.plugin, 2), async {
        until!(provider.count() > 0);
        clock.advance(5_000);
    });
    let errors: Vec<Error> = answers.into_iter().map(Result::unwrap_err).collect();
    assert!(matches!(errors[0].kind(), Kind::Deadline | Kind::Timeout), "{:?}", errors[0]);
    assert_eq!(*errors[1].kind(), Kind::Deadline, "{:?}", errors[1]);
    assert!(errors[1].details().unwrap().contains("limits.call_ms"), "{}", errors[1]);
    assert_eq!(provider.count(), 1, "something was sent for the one that waited");
}
