//! `rate-limit`: pacing that a plugin asks for, of its own account.

use serde_json::{Value, json};
use wharfage::{Host, Kind, ManualClock};
use wharfage_tests::scene::account;
use wharfage_tests::{NOW, Open, Scene, compiled_code, guests, skipping};

use crate::assert_exists;

wharfage_tests::foreach_rate_limit!(assert_exists);

const BUDGET: &str = r#"
[budgets.credits]
limit = 10
window_s = 60
source = "made up for the tests"
date = "2026-11-22"
"#;

async fn scene(clock: &ManualClock) -> Open {
    Scene::of(guests::RATE_LIMIT_ACQUIRE_REPORT).manifest(BUDGET).clock(clock).open().await
}

/// Milliseconds since the test began when the call came back.
async fn elapsed_ms(open: &Open, operation: &str, input: Value) -> u64 {
    open.output(operation, input).await["now"].as_u64().unwrap() - NOW.as_millis()
}

#[tokio::test]
async fn rate_limit_acquire_report() {
    let open = scene(&skipping()).await;
    let take = |units: u32| json!({"bucket": "credits", "units": units});
    assert_eq!(elapsed_ms(&open, "acquire", take(6)).await, 0);
    assert_eq!(elapsed_ms(&open, "acquire", take(4)).await, 0);
    // R7: what was taken ages from then on, and 0.1 s more.
    assert_eq!(elapsed_ms(&open, "acquire", take(10)).await, 60_100);
    let blocked_until = NOW.as_millis() + 90_000;
    open.output("report", json!({"bucket": "credits", "blocked_until": blocked_until})).await;
    assert!(elapsed_ms(&open, "acquire", take(1)).await >= 90_000);
}

#[tokio::test]
async fn a_report_lowers_what_is_left_and_never_raises_it() {
    let open = scene(&skipping()).await;
    open.output("acquire", json!({"bucket": "credits", "units": 8})).await;
    open.output("report", json!({"bucket": "credits", "remaining": 1_000_000})).await;
    assert_eq!(elapsed_ms(&open, "acquire", json!({"bucket": "credits", "units": 2})).await, 0);
    assert!(elapsed_ms(&open, "acquire", json!({"bucket": "credits"})).await >= 60_000);

    let open = scene(&skipping()).await;
    open.output("report", json!({"bucket": "credits", "remaining": 0})).await;
    assert!(elapsed_ms(&open, "acquire", json!({"bucket": "credits"})).await > 0);
}

/// A lie about the year 3000 stops nobody for longer than `block_ms`; meanwhile nobody is kept waiting for it.
#[tokio::test]
async fn a_block_is_capped() {
    let open = scene(&skipping()).await;
    open.output("report", json!({"blocked_until": u64::MAX})).await;
    let error = open.error("acquire", json!({"bucket": "credits"})).await;
    assert_eq!((error.kind(), error.retry_at()), (&Kind::RateLimited, Some(NOW.plus(3_600_000))));

    let open = Scene::of(guests::RATE_LIMIT_ACQUIRE_REPORT)
        .manifest(BUDGET)
        .grant(|connection| connection.limits.block_ms = 50_000)
        .clock(&skipping())
        .open()
        .await;
    open.output("report", json!({"blocked_until": u64::MAX})).await;
    assert_eq!(elapsed_ms(&open, "acquire", json!({"bucket": "credits"})).await, 50_000);
}

#[tokio::test]
async fn what_can_never_be_is_refused_at_once() {
    let open = scene(&skipping()).await;
    let error = open.error("acquire", json!({"bucket": "credits", "units": 11})).await;
    assert!(matches!(error.kind(), Kind::LimitExceeded(_)), "{error:?}");
    assert!(error.details().is_some_and(|details| details.contains("budgets.credits on the account")), "{error:?}");
    let error = open.error("acquire", json!({"bucket": "credits", "units": u32::MAX})).await;
    assert!(matches!(error.kind(), Kind::LimitExceeded(_)), "{error:?}");
    for operation in ["acquire", "report"] {
        let error = open.error(operation, json!({"bucket": "no-such"})).await;
        assert!(matches!(error.kind(), Kind::InvalidRequest(_)), "{error:?}");
    }
}

/// Who would wait longer than its call may last hears at once when to come back.
#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let clock = ManualClock::new(NOW, 1);
    let open = Scene::of(guests::RATE_LIMIT_ACQUIRE_REPORT)
        .manifest(BUDGET)
        .grant(|connection| connection.limits.call_ms = 30_000)
        .clock(&clock)
        .open()
        .await;
    open.output("acquire", json!({"bucket": "credits", "units": 10})).await;
    let error = open.error("acquire", json!({"bucket": "credits"})).await;
    assert_eq!(*error.kind(), Kind::RateLimited, "{error:?}");
    assert_eq!(error.retry_at(), Some(NOW.plus(60_100)));
}

/// R11: what a plugin says about its limits touches its own account and nobody else's.
#[tokio::test]
async fn r11_a_report_stays_in_its_account() {
    let clock = skipping();
    let scene = Scene::of(guests::RATE_LIMIT_ACQUIRE_REPORT).manifest(BUDGET).clock(&clock);
    let bytes = scene.component().await;
    let open = scene.open().await;
    open.output("report", json!({"blocked_until": NOW.as_millis() + 50_000})).await;
    let mut connection = wharfage::Connection::parse("plugin = 'x'").unwrap();
    connection.imports = wharfage_tests::scene::imports(&bytes).unwrap();
    let neighbour = open.host.connect("other", &bytes, &connection, None).await.unwrap();
    let answer = neighbour.call::<Value>("acquire", &json!({"bucket": "credits"})).await.unwrap();
    assert_eq!(answer.output["now"], json!(NOW.as_millis()));
}

/// R11: so it is with a budget that accounts share, unless the report names it.
#[tokio::test]
async fn r11_a_report_about_no_bucket_leaves_alone_what_accounts_share() {
    for (scope, shared) in [("project", "project = 'harbour'"), ("plugin", ""), ("user", "user = 'ada'")] {
        let budget = format!("{BUDGET}scope = '{scope}'\n");
        let scene = || Scene::of(guests::RATE_LIMIT_ACQUIRE_REPORT).manifest(&budget);
        let host = Host::builder().code_dir(compiled_code()).clock(skipping()).build().unwrap();
        let one = scene().connect_as("one", &host, &account(shared)).await.unwrap();
        let two = scene().connect_as("two", &host, &account(shared)).await.unwrap();
        let until = NOW.as_millis() + 50_000;
        for (report, is_blocked) in
            [(json!({"blocked_until": until}), false), (json!({"bucket": "credits", "blocked_until": until}), true)]
        {
            one.call::<Value>("report", &report).await.unwrap();
            let answer = two.call::<Value>("acquire", &json!({"bucket": "credits"})).await.unwrap();
            assert_eq!(answer.output["now"].as_u64().unwrap() >= until, is_blocked, "{scope}: {report}");
        }
    }
}
