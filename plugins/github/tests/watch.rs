//! The poll `releases`: what is told, once, and what is not lost.

use serde_json::{Value, json};
use wharfage_github::handle;
use wharfage_sdk::events::{Event, Outcome, Poll, Start, Trigger};
use wharfage_sdk::{Error, Timestamp, testing};

#[allow(clippy::result_large_err)]
fn poll(input: Value, start: Start, cursor: Option<String>, exchanges: Vec<Value>) -> Result<Outcome, Error> {
    let poll = Poll { name: "releases".into(), input: input.to_string(), start };
    let event = Event { id: "1".into(), trigger: Trigger::Poll(poll), cursor };
    testing::handle(include_str!("../plugin.toml"), handle, event, &Value::from(exchanges).to_string())
}

fn one() -> Value {
    json!({"repositories": ["rust-lang/rust"]})
}

fn release(id: u64, published_at: &str) -> Value {
    json!({
        "id": id, "tag_name": format!("v{id}"), "name": null, "draft": false, "prerelease": false,
        "created_at": "2026-01-01T00:00:00Z", "published_at": published_at, "html_url": "https://github.com/x",
    })
}

fn with(mut release: Value, field: &str, value: Value) -> Value {
    release[field] = value;
    release
}

/// The answer to the first request for a repository's releases; with another page behind it where `next` says so.
fn page(name: &str, releases: Vec<Value>, next: Option<u32>) -> Value {
    answered(&format!("{{api}}/repos/{name}/releases?per_page=100"), releases, next)
}

fn answered(url: &str, releases: Vec<Value>, next: Option<u32>) -> Value {
    let mut headers = json!({});
    if let Some(next) = next {
        headers["link"] = json!(format!("<{{api}}/repositories/7/releases?per_page=100&page={next}>; rel=\"next\""));
    }
    json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "headers": headers, "json": releases}})
}

fn refused(name: &str, status: u16) -> Value {
    let url = format!("{{api}}/repos/{name}/releases?per_page=100");
    json!({"request": {"method": "GET", "url": url}, "response": {"status": status, "json": {"message": "No"}}})
}

fn prerelease(id: u64, published_at: &str) -> Value {
    with(release(id, published_at), "prerelease", json!(true))
}

/// A page behind the first.
fn next(number: u32, releases: Vec<Value>, next: Option<u32>) -> Value {
    answered(&format!("{{api}}/repositories/7/releases?per_page=100&page={number}"), releases, next)
}

fn ids(outcome: &Outcome) -> Vec<u64> {
    outcome.emit.iter().filter_map(|emission| emission.data["id"].as_u64()).collect()
}

#[test]
fn what_was_there_before_is_not_told_and_what_comes_is() {
    let old = || release(1, "2026-11-01T00:00:00Z");
    let first = poll(one(), Start::FromNow, None, vec![page("rust-lang/rust", vec![old()], Some(2))]).unwrap();
    assert_eq!((ids(&first), first.more), (vec![], false), "and what is behind it is not read");
    let new = release(2, "2026-11-02T00:00:00Z");
    let exchanges = vec![page("rust-lang/rust", vec![new.clone(), old()], None)];
    let second = poll(one(), Start::FromNow, first.cursor, exchanges).unwrap();
    assert_eq!(second.emit[0].event_type, "release.published");
    assert_eq!(second.emit[0].key, "release 2 2026-11-02T00:00:00Z");
    let expected = json!({
        "repository": "rust-lang/rust", "id": 2, "tag": "v2", "name": null, "prerelease": false,
        "published_at": "2026-11-02T00:00:00Z", "url": "https://github.com/x",
    });
    assert_eq!(second.emit[0].data, expected);
    let exchanges = vec![page("rust-lang/rust", vec![new, old()], None)];
    let third = poll(one(), Start::FromNow, second.cursor.clone(), exchanges).unwrap();
    assert_eq!((ids(&third), third.cursor), (vec![], second.cursor), "a quiet run leaves the cursor as it was");
}

/// Lists are sorted by the age of the commit: a release from an old commit stands below others and is new all the same.
#[test]
fn a_release_of_an_old_commit_is_told() {
    let known = || release(9, "2026-11-01T00:00:00Z");
    let first = poll(one(), Start::FromNow, None, vec![page("rust-lang/rust", vec![known()], None)]).unwrap();
    let late = release(3, "2026-11-05T00:00:00Z");
    let draft = with(release(4, "2026-11-05T00:00:00Z"), "draft", json!(true));
    let exchanges = vec![page("rust-lang/rust", vec![known(), draft, late], None)];
    assert_eq!(ids(&poll(one(), Start::FromNow, first.cursor, exchanges).unwrap()), [3]);
}

/// Of two that come out together the one that shows up later is not lost, and none is told twice.
#[test]
fn one_that_shows_up_late_is_told() {
    let first = poll(one(), Start::All, None, vec![page("rust-lang/rust", vec![], None)]).unwrap();
    let (early, late) = (release(1, "2026-11-05T00:00:00Z"), release(2, "2026-11-05T00:00:10Z"));
    let second = poll(one(), Start::All, first.cursor, vec![page("rust-lang/rust", vec![late.clone()], None)]).unwrap();
    assert_eq!(ids(&second), [2]);
    let third = poll(one(), Start::All, second.cursor, vec![page("rust-lang/rust", vec![late, early], None)]).unwrap();
    assert_eq!(ids(&third), [1]);
}

#[test]
fn prereleases_count_if_asked_for_and_when_they_become_releases() {
    let pre = || prerelease(1, "2026-11-01T00:00:00Z");
    let wanted = json!({"repositories": ["rust-lang/rust"], "prereleases": true});
    let all = poll(wanted, Start::All, None, vec![page("rust-lang/rust", vec![pre()], None)]).unwrap();
    assert_eq!(ids(&all), [1]);
    let newer = || release(2, "2026-11-03T00:00:00Z");
    let first = poll(one(), Start::All, None, vec![page("rust-lang/rust", vec![newer(), pre()], None)]).unwrap();
    assert_eq!(ids(&first), [2]);
    let promoted = || release(1, "2026-11-01T00:00:00Z");
    let exchanges = || vec![page("rust-lang/rust", vec![newer(), promoted()], None)];
    let second = poll(one(), Start::All, first.cursor, exchanges()).unwrap();
    assert_eq!(ids(&second), [1]);
    assert_eq!(ids(&poll(one(), Start::All, second.cursor, exchanges()).unwrap()), Vec::<u64>::new());
}

#[test]
fn everything_is_read_to_the_end_and_a_backfill_only_as_far_as_asked() {
    let (a, b, c) =
        (release(3, "2026-03-01T00:00:00Z"), release(2, "2026-02-01T00:00:00Z"), release(1, "2026-01-01T00:00:00Z"));
    let first = || page("rust-lang/rust", vec![a.clone()], Some(2));
    let exchanges = vec![first(), next(2, vec![b.clone()], Some(3)), next(3, vec![c], None)];
    assert_eq!(ids(&poll(one(), Start::All, None, exchanges).unwrap()), [3, 2, 1]);
    let exchanges = vec![first(), next(2, vec![b], Some(3))];
    assert_eq!(ids(&poll(one(), Start::Backfill(2), None, exchanges).unwrap()), [3, 2]);
}

/// A call that has asked enough hands back in the middle, and goes on there.
#[test]
fn a_long_list_is_read_over_several_calls() {
    let mut exchanges = vec![page("rust-lang/rust", vec![release(100, "2026-03-01T00:00:00Z")], Some(2))];
    for number in 2..=21_u32 {
        let url = format!("{{api}}/repositories/7/releases?per_page=100&page={number}");
        let release = release(u64::from(100 - number), "2026-02-01T00:00:00Z");
        exchanges.push(answered(&url, vec![release], (number < 21).then_some(number + 1)));
    }
    let rest = exchanges.split_off(20);
    let first = poll(one(), Start::All, None, exchanges).unwrap();
    assert_eq!((first.emit.len(), first.more), (20, true));
    let second = poll(one(), Start::All, first.cursor, rest).unwrap();
    assert_eq!((ids(&second), second.more), (vec![79], false));
}

/// The host takes so many events at once and no more: a call that tells enough hands back as well.
#[test]
fn many_releases_are_told_over_several_calls() {
    let names: Vec<String> = (10..21).map(|number| format!("a/{number}")).collect();
    let full = |name: &String| page(name, (0..100).map(|id| release(id, "2026-03-01T00:00:00Z")).collect(), None);
    let (mut cursor, mut told) = (None, Vec::new());
    for some in names.chunks(5) {
        let exchanges = some.iter().map(full).collect();
        let outcome = poll(json!({"repositories": names}), Start::All, cursor, exchanges).unwrap();
        told.push((outcome.emit.len(), outcome.more));
        cursor = outcome.cursor;
    }
    assert_eq!(told, [(500, true), (500, true), (100, false)]);
}

/// The kit refuses a cursor that the host would refuse.
#[test]
fn fifty_repositories_fit_into_a_cursor_whatever_they_hold() {
    let names: Vec<String> = (10..60).map(|number| format!("somebody-{number}/with-a-name-that-is-long")).collect();
    let full = |name: &String, promoted: Option<u64>| {
        let old = (1_234_567_001..1_234_567_100_u64).map(|id| match promoted == Some(id) {
            true => release(id, "2026-10-01T00:00:00Z"),
            false => prerelease(id, "2026-10-01T00:00:00Z"),
        });
        // Many at once, as of a repository with many packages.
        let new = (1_000_000_000..1_000_000_050_u64).map(|id| {
            let minute = id % 60;
            release(id, &format!("2026-11-01T00:{minute:02}:00Z"))
        });
        page(name, new.chain(old).collect(), None)
    };
    let mut cursor = None;
    for some in names.chunks(20) {
        let exchanges = some.iter().map(|name| full(name, None)).collect();
        cursor = poll(json!({"repositories": names}), Start::FromNow, cursor, exchanges).unwrap().cursor;
    }
    // Of what was passed over the newest are remembered.
    let exchanges = names.iter().take(20).map(|name| full(name, Some(1_234_567_003))).collect();
    let outcome = poll(json!({"repositories": names}), Start::FromNow, cursor, exchanges).unwrap();
    assert_eq!(ids(&outcome), [1_234_567_003; 20]);
}

/// What was kept while there was more room for each is cut before it is kept again.
#[test]
fn repositories_that_are_added_make_room_for_themselves() {
    let names = |letter: char, number: u32| (0..number).map(move |n| format!("{letter}-owner-{n:02}/nightly-repo"));
    let full = |name: &String| {
        let nightlies = (123_456_000..123_456_099_u64).map(|id| prerelease(id, "2026-10-01T00:00:00Z"));
        let stable = release(123_456_789, "2026-11-01T00:00:00Z");
        page(name, std::iter::once(stable).chain(nightlies).collect(), None)
    };
    let few: Vec<String> = names('z', 10).collect();
    let exchanges = few.iter().map(full).collect();
    let mut cursor = poll(json!({"repositories": few}), Start::FromNow, None, exchanges).unwrap().cursor;
    let all: Vec<String> = names('a', 40).chain(few).collect();
    for some in all.chunks(20) {
        let exchanges = some.iter().map(full).collect();
        let outcome = poll(json!({"repositories": all}), Start::FromNow, cursor, exchanges).unwrap();
        assert!(outcome.emit.is_empty());
        cursor = outcome.cursor;
    }
}

/// The version before kept the time of the newest, and took what came out in the hour before it for news.
#[test]
fn a_cursor_of_before_hides_nothing_that_came_out_shortly_before_the_newest() {
    let newest = "2026-11-05T11:59:50Z";
    let newest_ms = Timestamp::parse(newest).unwrap().as_ms();
    let cursor = json!({"lanes": {"rust-lang/rust": {"until_ms": newest_ms, "near": [[2, newest_ms]]}}}).to_string();
    let releases = vec![release(2, newest), release(1, "2026-11-05T11:59:40Z"), release(3, "2026-11-05T10:59:50Z")];
    let exchanges = || vec![page("rust-lang/rust", releases.clone(), None)];
    let first = poll(one(), Start::FromNow, Some(cursor), exchanges()).unwrap();
    assert_eq!(ids(&first), [1]);
    assert_eq!(ids(&poll(one(), Start::FromNow, first.cursor, exchanges()).unwrap()), Vec::<u64>::new());
}

/// A prerelease that is new does not push out one that is older and becomes a release in the same run.
#[test]
fn a_promotion_is_told_beside_new_prereleases() {
    let newest = || release(1000, "2026-11-05T00:00:00Z");
    let old = |id| prerelease(id, "2026-10-01T00:00:00Z");
    let releases = std::iter::once(newest()).chain((1..=100).rev().map(old)).collect();
    let first = poll(one(), Start::FromNow, None, vec![page("rust-lang/rust", releases, None)]).unwrap();
    let promoted = release(2, "2026-10-01T00:00:00Z");
    let releases = std::iter::once(newest()).chain((3..=101).rev().map(old)).chain([promoted]).collect();
    let second = poll(one(), Start::FromNow, first.cursor, vec![page("rust-lang/rust", releases, None)]).unwrap();
    assert_eq!(ids(&second), [2]);
}

/// The first page may hold nothing but prereleases.
#[test]
fn what_stands_behind_prereleases_is_found_at_first_and_is_no_news_later() {
    let nightly = || prerelease(9, "2026-11-01T00:00:00Z");
    let stable = || release(1, "2020-01-01T00:00:00Z");
    for start in [Start::All, Start::Backfill(5)] {
        let pages = vec![page("rust-lang/rust", vec![nightly()], Some(2)), next(2, vec![stable()], None)];
        assert_eq!(ids(&poll(one(), start, None, pages).unwrap()), [1], "{start:?}");
    }
    let first = page("rust-lang/rust", vec![nightly()], Some(2));
    let first = poll(one(), Start::FromNow, None, vec![first]).unwrap();
    assert_eq!((ids(&first), first.more), (vec![], false));
    // The nightly is deleted, so that the page ends with what stood behind it.
    let new = release(10, "2026-11-02T00:00:00Z");
    let second = page("rust-lang/rust", vec![new, stable()], None);
    assert_eq!(ids(&poll(one(), Start::FromNow, first.cursor, vec![second]).unwrap()), [10]);
}

#[test]
fn one_that_is_gone_or_blocked_does_not_keep_the_others_from_being_read() {
    for (status, kind) in [(404, "not-found"), (403, "forbidden"), (451, "forbidden")] {
        let both = json!({"repositories": ["a/gone", "Rust-Lang/Rust"]});
        let there = page("rust-lang/rust", vec![release(1, "2026-03-01T00:00:00Z")], None);
        assert_eq!(ids(&poll(both, Start::All, None, vec![refused("a/gone", status), there]).unwrap()), [1]);
        let alone = json!({"repositories": ["a/gone"]});
        let error = poll(alone, Start::All, None, vec![refused("a/gone", status)]).unwrap_err();
        assert_eq!(error.kind.name(), kind);
    }
}

/// A run that ends in a later call is one run all the same, so all are asked in one as long as each is refused.
#[test]
fn a_run_fails_where_all_of_many_are_refused() {
    let names: Vec<String> = (10..31).map(|number| format!("a/{number}")).collect();
    let mut exchanges: Vec<Value> = names.iter().map(|name| refused(name, 403)).collect();
    let error = poll(json!({"repositories": names}), Start::All, None, exchanges.clone()).unwrap_err();
    assert_eq!(error.kind.name(), "forbidden");
    exchanges[20] = page("a/30", vec![release(1, "2026-03-01T00:00:00Z")], None);
    let outcome = poll(json!({"repositories": names}), Start::All, None, exchanges).unwrap();
    assert_eq!((ids(&outcome), outcome.more), (vec![1], false));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let many: Vec<String> = (0..51).map(|number| format!("a/{number}")).collect();
    for input in [
        json!({}),
        json!({"repositories": []}),
        json!({"repositories": ["rust"]}),
        json!({"repositories": many}),
        json!({"repository": "a/b"}),
    ] {
        let error = poll(input.clone(), Start::FromNow, None, Vec::new()).unwrap_err();
        assert_eq!(error.kind.name(), "invalid-request", "{input}");
    }
    let error = poll(one(), Start::FromNow, Some("of long ago".into()), Vec::new()).unwrap_err();
    assert_eq!(error.kind.name(), "cursor-invalid");
}
