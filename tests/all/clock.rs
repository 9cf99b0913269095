//! `clock`: a guest sees the host's time, and no other.

use serde_json::json;
use wharfage::{Clock, ManualClock};
use wharfage_tests::{NOW, Scene, guests};

use crate::assert_exists;

wharfage_tests::foreach_clock!(assert_exists);

#[tokio::test]
async fn clock_now() {
    let clock = ManualClock::new(NOW, 1);
    let open = Scene::of(guests::CLOCK_NOW).clock(&clock).open().await;
    assert_eq!(open.output("now", json!({})).await, json!({"host_ms": NOW.as_millis(), "std_ms": NOW.as_millis()}));
    clock.advance(86_400_000);
    let now = clock.now().as_millis();
    assert_eq!(open.output("now", json!({})).await, json!({"host_ms": now, "std_ms": now}));
}
