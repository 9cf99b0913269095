//! Attacks: each is a row of `tests/hostile/list.rs` and a test here, and ends as its row says while a neighbour goes on as
//! if nothing had been. What a row cannot say stands below.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use wharfage::{Kind, ManualClock, Timestamp};
use wharfage_tests::hostile::list::ATTACKS;
use wharfage_tests::hostile::{forms, run, table};
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

/// The kept table tells of each attack, in their order, and of nothing else.
#[test]
fn the_kept_table_has_a_row_for_each_attack() {
    let kept = std::fs::read_to_string(table::path()).unwrap();
    let rows: Vec<&str> = kept.lines().filter(|line| line.starts_with("| **")).collect();
    let renew = "renew it: cargo run --release -p wharfage-tests --bin hostile -- --write";
    assert_eq!(rows.len(), ATTACKS.len(), "{renew}");
    for (row, attack) in rows.iter().zip(ATTACKS) {
        assert!(row.starts_with(&table::beginning(attack)), "{} is not at its place; {renew}", attack.name);
    }
}

/// Else nothing would be attacked, or one row would take the place of the table.
#[test]
fn the_program_runs_what_there_is_or_says_so() {
    let program = crate::cli::program().with_file_name("hostile");
    for arguments in [&["no such attack"][..], &["--wirte"], &["spin", "--write"], &["spin", "sleeps"]] {
        let output = std::process::Command::new(&program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}

/// What is around a secret shifts its base64.
#[test]
fn a_secret_is_looked_for_in_base64_too() {
    for letters in [STANDARD, URL_SAFE_NO_PAD] {
        for around in ["", "u", "us", "user:"] {
            let text = letters.encode(format!("{around}{API_KEY}{around}"));
            assert!(forms(API_KEY).iter().any(|form| text.contains(form)), "{text}");
        }
    }
}

fn limit(name: &str) -> Kind {
    Kind::LimitExceeded(name.to_owned())
}

/// What must run before a grant finds nobody behind its imports; what nobody grants does not run.
#[tokio::test]
async fn r18_what_runs_before_a_grant_reaches_nobody() {
    for name in ["hostile_describe_calls", "hostile_ungranted"] {
        holds(name).await;
    }
}

/// Sixteen that compute for ever on one thread do not keep a neighbour from answering.
#[tokio::test]
async fn computing_gives_way() {
    let open = Scene::of(guests::HOSTILE_SPIN).grant(|connection| connection.limits.compute_ms = 200).open().await;
    let spinning = (0..16).map(|_| Box::pin(open.error("spin", json!({}))));
    let mut first = futures_util::future::select_all(spinning);
    // They are asked first in each round: without giving way, one of them comes to its limit before the other begins.
    let idle = tokio::select! {
        biased;
        _ = &mut first => panic!("nobody else got a turn"),
        idle = open.output("idle", json!({})) => idle,
    };
    assert_eq!(idle, json!({}));
    let (first, _, others) = first.await;
    let others = futures_util::future::join_all(others).await;
    assert!(std::iter::once(first).chain(others).all(|error| *error.kind() == limit("compute_ms")));
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
        assert_eq!(lines - before, 100_000 / (600 + 256), "of 600 bytes each and what is around, in second {second}");
        before = lines;
        assert_eq!(open.plugin.dropped_lines(), 200_000 * second - lines as u64);
        assert!(text.contains("log_bytes 65536 is reached") && text.contains("log_second_bytes 100000 is reached"));
        // Of 20,000 lines of 600 bytes, 109 fit into a call.
        let counted = |line: &str| line.contains("lines were dropped") && line.contains("lines=19891 bytes=11934600");
        assert!(text.lines().any(counted), "how many it was is not told:\n{text:.3000}");
        clock.advance(1_000);
    }
    let told = logged.text().matches("dropped").count();
    assert!(told <= 3 * 6, "{told} lines about lines");
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
