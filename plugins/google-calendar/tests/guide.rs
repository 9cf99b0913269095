//! What went wrong in the guide's Google part and is data here: its defects, each as a test.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

const MANIFEST: &str = include_str!("../plugin.toml");

fn scopes() -> Vec<&'static str> {
    let (_, after) = MANIFEST.split_once("scopes = [").unwrap();
    let (list, _) = after.split_once(']').unwrap();
    list.split('"').filter(|part| part.starts_with("https://")).collect()
}

// What went wrong: `calendar` and `calendar.events` were asked for together. The one holds the other, so the person at the
// consent page gave away sharing and deleting whole calendars for nothing.
#[test]
fn guide_s20_both_the_broad_and_the_narrow_scope_were_asked_for() {
    let scopes = scopes();
    assert_eq!(scopes.len(), 3);
    for broad in ["https://www.googleapis.com/auth/calendar", "https://www.googleapis.com/auth/calendar.readonly"] {
        assert!(!scopes.contains(&broad), "{broad} holds the others");
    }
}

// The guide, item 82: without these two Google gives no refresh token, or gives one the first time only and never again.
#[test]
fn a_refresh_token_comes_with_every_consent() {
    assert!(MANIFEST.contains(r#"access_type = "offline", prompt = "consent""#));
}
