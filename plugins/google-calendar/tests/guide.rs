//! What went wrong in the guide's Google part and is data here: its defects, each as a test.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

use std::collections::BTreeSet;

const MANIFEST: &str = include_str!("../plugin.toml");

/// What is asked for: the first of the scopes that serve an operation or a poll.
fn asked() -> BTreeSet<&'static str> {
    let lists = MANIFEST.split("\nscopes = [").skip(1);
    lists.map(|list| list.split('"').find(|part| part.starts_with("https://")).unwrap()).collect()
}

// What went wrong: `calendar` and `calendar.events` were asked for together. The one holds the other, so the person at the
// consent page gave away sharing and deleting whole calendars for nothing.
#[test]
fn guide_s20_both_the_broad_and_the_narrow_scope_were_asked_for() {
    let asked = asked();
    assert!(asked.contains("https://www.googleapis.com/auth/calendar.events.readonly"), "{asked:?}");
    for broad in ["https://www.googleapis.com/auth/calendar", "https://www.googleapis.com/auth/calendar.readonly"] {
        assert!(!asked.contains(broad), "{broad} holds the others");
    }
}

// The guide, item 82: without these two Google gives no refresh token, or gives one the first time only and never again.
#[test]
fn a_refresh_token_comes_with_every_consent() {
    assert!(MANIFEST.contains(r#"access_type = "offline", prompt = "consent""#));
}
