//! Attacks: each is a row of `tests/hostile/list.rs` and a test here, and ends as its row says while a neighbour goes on as
//! if nothing had been. What a row cannot say stands below.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharfage::{Kind, ManualClock, Timestamp};
use wharfage_tests::hostile::list::ATTACKS;
use wharfage_tests::hostile::run;
use wharfage_tests::{API_KEY, Provider, Reply, Scene, guests};

use crate::log::Logged;

/// A test of each attack's name. What has no row fails.
macro_rules! attack {
    ($name:ident) => {
        #[tokio::test]
        async fn $name() {
            holds(stringify!($name)).await;
        }
    };
}

wharfage_tests::foreach_hostile!(attack);
wharfage_tests::foreach_forged!(attack);

async fn holds(name: &str) {
    let attack = ATTACKS.iter().find(|attack| attack.name == name);
    let report = run(attack.expect("each attack has a row in tests/hostile/list.rs")).await;
    assert!(report.troubles.is_empty(), "{}\nIt ended: {:?}", report.troubles.join("\n"), report.ended);
}

/// Nothing is told of an attack that no component makes, and nothing twice.
#[test]
fn each_attack_is_one_component() {
    let mut names = BTreeSet::new();
    macro_rules! name {
        ($name:ident) => {
            assert!(names.insert(stringify!($name)), "{} is there twice", stringify!($name));
        };
    }
    wharfage_tests::foreach_hostile!(name);
    wharfage_tests::foreach_forged!(name);
    let rows: Vec<&str> = ATTACKS.iter().map(|attack| attack.name).collect();
    assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), names);
    assert_eq!(rows.len(), names.len(), "an attack has two rows");
    assert!(rows.len() >= 60, "there are to be at least 60 attacks");
}

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

/// Sixteen that compute for ever on one thread do not keep a neighbour from answering.
#[tokio::test]
async fn computing_gives_way() {
    let open = Scene::of(guests::HOSTILE_SPIN).grant(|connection| connection.limits.compute_ms = 200).open().await;
    let spinning = futures_util::future::join_all((0..16).map(|_| open.error("spin", json!({}))));
    let (spun, idle) = tokio::join!(spinning, open.output("idle", json!({})));
    assert!(spun.iter().all(|error| *error.kind() == limit("compute_ms")));
    assert_eq!(idle, json!({}));
}

#[tokio::test]
async fn a_flood_of_one_call_is_cut_and_told_once() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    let open = Scene::of(guests::HOSTILE_FLOOD_LOG)
        .grant(|connection| {
            connection.limits.log_lines = 20;
            connection.limits.log_bytes = 8_000;
        })
        .open()
        .await;
    open.output("flood", json!({})).await;
    let text = logged.text();
    let lines = text.lines().filter(|line| line.contains("flood flood") && !line.contains("printed")).count();
    assert!(lines <= 20, "{lines} lines");
    assert!(text.len() < 64_000, "{} bytes", text.len());
    assert_eq!(text.matches("are dropped").count(), 1, "dropping is told once:\n{text:.2000}");
}

/// A plugin that logs a megabyte a second over many calls: it is bounded, and what was dropped is counted and told.
#[tokio::test]
async fn a_flood_over_many_calls_is_bounded_second_by_second() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=info");
    let clock = ManualClock::new(Timestamp::from_millis(1_000_000), 1);
    let scene = Scene::of(guests::HOSTILE_FLOOD_LOG).clock(&clock);
    let open = scene.grant(|connection| connection.limits.log_second_bytes = 100_000).open().await;
    let mut before = 0;
    for second in 1..=3_u64 {
        for _ in 0..10 {
            open.output("flood", json!({})).await;
        }
        let text = logged.text();
        let lines = text.lines().filter(|line| line.contains("flood flood")).count();
        assert_eq!(lines - before, 100_000 / 600, "of 600 bytes each, in second {second}");
        before = lines;
        assert_eq!(open.plugin.dropped_lines(), 200_000 * second - lines as u64);
        assert!(text.contains("log_bytes 65536 is reached") && text.contains("log_second_bytes 100000 is reached"));
        // Of 20,000 lines of 600 bytes, 109 fit into a call.
        let counted = |line: &str| line.contains("lines were dropped") && line.contains("lines=19891 bytes=11934600");
        assert!(text.lines().any(counted), "how many it was is not told:\n{text:.3000}");
        clock.advance(1_000);
    }
    let told = logged.text().matches("dropped").count();
    assert!(told <= 3 * 4, "{told} lines about lines");
}

/// More than the host lets through at once ends the call before it is copied.
#[tokio::test]
async fn an_output_beyond_everything_is_refused_too() {
    let open = Scene::of(guests::HOSTILE_BIG_OUTPUT)
        .grant(|connection| {
            connection.limits.output_bytes = 1 << 20;
            connection.limits.hostcall_bytes = 2 << 20;
        })
        .open()
        .await;
    let error = open.error("output", json!({})).await;
    assert!(matches!(error.kind(), Kind::LimitExceeded(_)), "{error:?}");
}

/// R9: each answer that is left open holds a place of its call, and gives it back when the call is over.
#[tokio::test]
async fn r9_an_answer_that_nobody_reads_is_not_taken_off_the_socket() {
    let provider = Provider::scripted([Reply::endless()]).await;
    let open = Scene::of(guests::HOSTILE_STREAM_HOARD).with(&provider).open().await;
    let mut last = None;
    for _ in 0..4 {
        last = Some(open.error("hoard", json!({})).await);
    }
    let error = last.unwrap();
    assert_eq!(provider.count(), 4 * 4, "the next one is refused before it is sent");
    assert!(error.details().unwrap().contains("limits.streams"), "it does not say how to allow more: {error}");
    // More than the sockets hold is not taken for somebody who does not read.
    assert!(provider.bytes_written() < 4 * 4 * (16 << 20), "{}", provider.bytes_written());
}

#[tokio::test]
async fn no_header_of_the_hosts_comes_from_a_guest() {
    let provider = Provider::scripted([Reply::status(200)]).await;
    let open = Scene::of(guests::HOSTILE_SETS_CREDENTIAL_HEADER).with(&provider).open().await;
    let owned = [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Proxy-Authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Connection",
        "Keep-Alive",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "Via",
        "Range",
        "Referer",
        "Origin",
        "User-Agent",
        "Idempotency-Key",
        "HTTP2-Settings",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ];
    let broken = [
        ("", "a"),
        ("a b", "c"),
        ("a:b", "c"),
        ("a\r\nb", "c"),
        ("a\0", "b"),
        ("ä", "b"),
        (":path", "/x"),
        ("x-a", "b\r\nx-b: c"),
        ("x-a", "b\nc"),
        ("x-a", "b\0c"),
        ("x-a", "ä"),
        ("x-a", "\u{7f}"),
    ];
    let mut headers: Vec<Value> = owned.iter().map(|name| json!([name, "x"])).collect();
    headers.extend(broken.iter().map(|(name, value)| json!([name, value])));
    headers.push(json!(["x-harmless", "a value\twith a tab"]));
    let passed = open.output("try", json!({"headers": headers})).await;
    assert_eq!(passed, json!([["x-harmless", "a value\twith a tab"]]));
    let seen = provider.seen();
    assert_eq!(seen.len(), 1, "what is refused is not sent");
    assert_eq!(seen[0].header("authorization"), Some(&*format!("App {API_KEY}")));
    assert_eq!(seen[0].header("x-harmless"), Some("a value\twith a tab"));
}

/// What a guest logs and prints stays on its line and moves no cursor.
#[tokio::test]
async fn what_is_logged_stays_a_line() {
    let logged = Logged::default();
    let _listening = logged.listen("wharfage=trace");
    let open = Scene::of(guests::HOSTILE_LOG_ESCAPES).open().await;
    open.output("attack", json!({})).await;
    let text = logged.text();
    let is_odd = |c: char| c.is_control() && c != '\n' || ['\u{202e}', '\u{2028}', '\u{feff}'].contains(&c);
    assert!(!text.chars().any(is_odd), "{text:.4000}");
    let forged = |line: &str| line.starts_with("two") || line.starts_with("2026-11-22T00:00:00Z ERROR");
    assert!(!text.lines().any(forged), "a line of the guest's looks like one of the host's:\n{text:.4000}");
    assert!(text.contains("forged"), "nothing was logged:\n{text:.4000}");
    assert!(text.len() < 64 << 10, "{} bytes", text.len());
}

/// A thousand calls that each end badly leave the host as it was.
#[tokio::test]
async fn nothing_is_used_up_by_calls_that_fail() {
    let open = Scene::of(guests::OPERATIONS_PANICS).open().await;
    for _ in 0..20 {
        let errors = futures_util::future::join_all((0..50).map(|_| open.error("panic", json!({})))).await;
        assert!(errors.iter().all(|error| matches!(error.kind(), Kind::Internal(_))));
    }
}
