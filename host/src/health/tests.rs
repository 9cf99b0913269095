//! Every cause with its facts, which of them decides, and what is told to whom.

#![allow(clippy::unwrap_used, reason = "what a test stands on may end it")]

use crate::error::{Error, Kind};
use crate::health::*;
use crate::observe::pulse::Pulse;

const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);

fn before(ms: u64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() - ms)
}

/// Signs with how many milliseconds ago they were given.
fn traffic(signs: &[(Sign, u64)]) -> Traffic {
    let pulse = Pulse::default();
    for (sign, ms) in signs {
        pulse.ended(before(*ms), before(*ms), Some(*sign));
    }
    pulse.read(NOW)
}

/// A connection that was seen well a second ago.
fn well() -> Facts {
    Facts {
        connection: "acme".to_owned(),
        plugin: "wares".to_owned(),
        traffic: traffic(&[(Sign::Well, 1_000)]),
        probes_with: Some("orders.list".to_owned()),
        ..Facts::default()
    }
}

fn said(signs: &[(Sign, u64)]) -> Facts {
    Facts { traffic: traffic(signs), ..well() }
}

fn secret(name: &str, age_days: u64) -> SecretState {
    SecretState::of_test(name, Some(before(age_days * DAY_MS)))
}

/// The worst cause and the state.
fn worst(facts: &Facts) -> (HealthState, Option<Cause>) {
    let health = judge(facts, NOW);
    (health.state, health.findings.first().map(|finding| finding.cause))
}

#[test]
fn what_was_seen_well_and_nothing_speaks_against_is_healthy() {
    let health = judge(&well(), NOW);
    assert_eq!((health.state, health.findings.len()), (HealthState::Healthy, 0));
    assert_eq!(health.succeeded_at, Some(before(1_000)));
}

#[test]
fn every_cause_is_found_with_its_state_and_what_to_do() {
    use HealthState::{Degraded, Healthy, NeedsConnecting, Unhealthy, Unknown};
    let needs = |why: &str| vec![("account".to_owned(), TokenState::NeedsConnecting { why: why.to_owned() })];
    let failing = vec![("account".to_owned(), TokenState::Failing { why: "down".to_owned(), retry_at: NOW })];
    let missing = SecretState { trouble: Some("it is nowhere".to_owned()), can_be_set: true, ..secret("api_key", 0) };
    let needed = BTreeMap::from([("api_key".to_owned(), true)]);
    let circuit = |state| vec![("https://api.stand-in.test".to_owned(), state)];
    let cases: Vec<(Facts, HealthState, Cause, &str)> = vec![
        (Facts { tokens: needs("nobody"), ..well() }, NeedsConnecting, Cause::NotConnected, "wharfage connect acme"),
        (Facts { tokens: failing, ..said(&[]) }, Unhealthy, Cause::TokenFailing, "wharfage connect acme"),
        (
            Facts { key: Some("api_key".to_owned()), ..said(&[(Sign::Well, 9_000), (Sign::Refused, 8_000)]) },
            NeedsConnecting,
            Cause::CredentialRefused,
            "wharfage secret set acme api_key",
        ),
        (
            Facts { secrets: vec![missing.clone()], needed: needed.clone(), ..said(&[]) },
            NeedsConnecting,
            Cause::SecretMissing,
            "wharfage secret set acme api_key",
        ),
        (
            Facts { secrets: vec![missing.clone()], needed, ..well() },
            Degraded,
            Cause::SecretMissing,
            "wharfage secret set",
        ),
        (Facts { secrets: vec![missing], ..well() }, Healthy, Cause::SecretMissing, "wharfage secret set"),
        (Facts { secrets: vec![secret("k", 90)], ..well() }, Healthy, Cause::KeyOld, "wharfage secret rotate acme k"),
        (
            Facts { secrets: vec![SecretState { max_age_days: Some(365), ..secret("k", 365) }], ..well() },
            Degraded,
            Cause::KeyOld,
            "wharfage secret rotate acme k",
        ),
        (said(&[(Sign::Well, 9), (Sign::Forbidden, 8)]), Degraded, Cause::Forbidden, "rights"),
        (said(&[(Sign::Well, 9), (Sign::Denied, 8)]), Degraded, Cause::PolicyDenied, "wharfage explain acme"),
        (said(&[(Sign::Well, 9), (Sign::Limit, 8)]), Degraded, Cause::LimitReached, "wharfage explain acme"),
        (
            Facts { circuits: circuit(CircuitState::Open { until: NOW.plus(60_000) }), ..well() },
            Unhealthy,
            Cause::BreakerOpen,
            "wharfage health acme",
        ),
        (
            Facts { circuits: circuit(CircuitState::HalfOpen), ..well() },
            Degraded,
            Cause::BreakerOpen,
            "wharfage health acme",
        ),
        (said(&[(Sign::Well, 9), (Sign::Failing, 8)]), Unhealthy, Cause::Failing, "wharfage health acme"),
        (said(&[(Sign::Failing, 9), (Sign::Well, 8)]), Degraded, Cause::Failing, "wharfage health acme"),
        (said(&[(Sign::Well, 9), (Sign::Stale, 8)]), Degraded, Cause::AnswersStale, "fall_back = false"),
        (said(&[(Sign::Well, 9), (Sign::Limited, 8)]), Degraded, Cause::RateLimited, "wharfage explain acme"),
        (said(&[(Sign::Limited, 8)]), Degraded, Cause::RateLimited, "wharfage explain acme"),
        (
            Facts { budgets: vec![("day".to_owned(), NOW.plus(1), 86_400_000)], ..well() },
            Degraded,
            Cause::QuotaExhausted,
            "wharfage explain acme",
        ),
        (
            Facts { budgets: vec![("second".to_owned(), NOW.plus(1), 1_000)], ..well() },
            Degraded,
            Cause::RateLimited,
            "wharfage explain acme",
        ),
        (said(&[(Sign::Well, 9), (Sign::Odd, 8)]), Degraded, Cause::Drift, "wharfage call acme"),
        (said(&[(Sign::Well, 9), (Sign::Defect, 8)]), Unhealthy, Cause::PluginFailing, "wharfage -vv call acme"),
        (said(&[(Sign::Defect, 9), (Sign::Well, 8)]), Degraded, Cause::PluginFailing, "wharfage -vv call acme"),
        (Facts { leaks: 1, ..well() }, Healthy, Cause::Leaks, "wharfage -v call acme"),
        (Facts { unreadable: Some("no".to_owned()), ..well() }, Unhealthy, Cause::StateUnreadable, "state folder"),
        (said(&[(Sign::Well, FRESH_MS + 1)]), Unknown, Cause::StaleReading, "wharfage health acme"),
        (said(&[]), Unknown, Cause::NoTraffic, "wharfage health acme"),
        (Facts { probes_with: None, ..said(&[]) }, Unknown, Cause::NoTraffic, "wharfage call acme"),
    ];
    for (facts, state, cause, help) in &cases {
        let health = judge(facts, NOW);
        let told: Vec<String> = health
            .findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.state, finding.cause, finding.message))
            .collect();
        assert_eq!(
            (health.state, health.findings.first().map(|finding| finding.cause)),
            (*state, Some(*cause)),
            "{told:?}"
        );
        assert!(health.findings[0].help.contains(help), "{cause}: {}", health.findings[0].help);
    }
    let seen: std::collections::BTreeSet<Cause> = cases.iter().map(|(_, _, cause, _)| *cause).collect();
    let own = |cause: &&Cause| **cause < Cause::PollFailing || **cause >= Cause::StateUnreadable;
    let left: Vec<_> =
        Cause::ALL.iter().filter(own).filter(|cause| !seen.contains(cause) && **cause != Cause::Slow).collect();
    assert!(left.is_empty(), "no case finds {left:?}");
}

/// The suggested lines grant what few need: an app's key beside a token, the secret of a webhook that nobody takes.
#[test]
fn a_secret_that_is_missing_matters_where_something_is_not_done_without_it() {
    use HealthState::{Healthy, NeedsConnecting};
    let missing = |name: &str| SecretState { trouble: Some("it is nowhere".to_owned()), ..secret(name, 0) };
    let states = |needed: &[(&str, bool)], signs: &[(Sign, u64)]| {
        let facts = Facts {
            secrets: vec![missing("app_key"), missing("token")],
            needed: needed.iter().map(|(name, is_needed)| ((*name).to_owned(), *is_needed)).collect(),
            ..said(signs)
        };
        let findings = judge(&facts, NOW).findings.into_iter();
        let mut own: Vec<Finding> = findings.filter(|finding| finding.cause == Cause::SecretMissing).collect();
        own.sort_by(|one, other| one.about.cmp(&other.about));
        assert!(own.iter().all(|finding| finding.help == "wharfage secret list acme"), "{own:?}");
        own.iter().map(|finding| finding.state).collect::<Vec<_>>()
    };
    let refused = [(Sign::Well, 9), (Sign::NoSecret, 8)];
    // An outage is not for want of a key that nobody needs.
    for signs in [&[(Sign::Well, 9)][..], &[], &[(Sign::Failing, 9)], &[(Sign::NoSecret, 9), (Sign::Well, 8)]] {
        assert_eq!(states(&[("token", false)], signs), [Healthy, Healthy], "{signs:?}");
    }
    assert_eq!(states(&[("token", false)], &refused), [Healthy, NeedsConnecting]);
    assert_eq!(states(&[("token", true)], &[(Sign::Failing, 9)]), [Healthy, NeedsConnecting]);
    assert_eq!(states(&[], &refused), [NeedsConnecting, NeedsConnecting], "it was one that the plugin chose itself");
}

#[test]
fn calls_that_take_long_are_told() {
    let pulse = Pulse::default();
    pulse.ended(before(20_000), before(9_000), Some(Sign::Well));
    assert_eq!(worst(&Facts { traffic: pulse.read(NOW), ..well() }), (HealthState::Degraded, Some(Cause::Slow)));
    for ms in 0..2 {
        pulse.ended(before(ms), before(ms), Some(Sign::Well));
    }
    assert_eq!(worst(&Facts { traffic: pulse.read(NOW), ..well() }).0, HealthState::Healthy);
}

#[test]
fn the_worst_decides_and_all_are_told() {
    let facts = Facts {
        leaks: 1,
        circuits: vec![("https://api.stand-in.test".to_owned(), CircuitState::Open { until: NOW })],
        ..said(&[(Sign::Limited, 3), (Sign::Refused, 2)])
    };
    let health = judge(&facts, NOW);
    assert_eq!(health.state, HealthState::NeedsConnecting);
    let causes: Vec<Cause> = health.findings.iter().map(|finding| finding.cause).collect();
    assert_eq!(causes, [Cause::CredentialRefused, Cause::BreakerOpen, Cause::RateLimited, Cause::Leaks]);
}

/// Who was asked too often is not down, however often it says so.
#[test]
fn guide_s38_too_many_requests_are_not_down() {
    let storm: Vec<(Sign, u64)> = (0..100).map(|ms| (Sign::Limited, ms)).collect();
    assert_eq!(worst(&said(&storm)), (HealthState::Degraded, Some(Cause::RateLimited)));
}

#[test]
fn one_failure_in_a_hundred_is_no_news() {
    let mut signs: Vec<(Sign, u64)> = (0..100).map(|ms| (Sign::Well, 1_000 + ms)).collect();
    signs.insert(0, (Sign::Failing, 5_000));
    assert_eq!(worst(&said(&signs)).0, HealthState::Healthy);
    // Another one is more than one in a hundred; three at the end are no accident.
    signs.insert(0, (Sign::Failing, 5_000));
    assert_eq!(worst(&said(&signs)).0, HealthState::Degraded);
    signs.extend([(Sign::Failing, 3), (Sign::Failing, 2), (Sign::Failing, 1)]);
    assert_eq!(worst(&said(&signs)).0, HealthState::Unhealthy);
}

#[test]
fn a_key_that_was_replaced_is_not_the_one_that_was_refused() {
    let replaced = SecretState::of_test("api_key", Some(before(1)));
    let facts = Facts { secrets: vec![replaced], ..said(&[(Sign::Refused, 2_000)]) };
    assert_eq!(worst(&facts).0, HealthState::Healthy);
    let refused = Facts { secrets: vec![secret("api_key", 3)], ..facts };
    assert_eq!(worst(&refused), (HealthState::NeedsConnecting, Some(Cause::CredentialRefused)));
}

/// A refusal does not grow old: nothing but another credential mends it.
#[test]
fn a_refusal_stays_until_something_goes_well() {
    assert_eq!(worst(&said(&[(Sign::Refused, 10 * FRESH_MS)])).0, HealthState::NeedsConnecting);
    assert_eq!(worst(&said(&[(Sign::Refused, 10_000), (Sign::Well, 1_000)])).0, HealthState::Healthy);
}

#[test]
fn words_from_elsewhere_are_one_short_line() {
    let why = format!("\u{1b}[31mno\n\n\tway\u{202e} {}", "x".repeat(10_000));
    let health = judge(&Facts { tokens: vec![("a".to_owned(), TokenState::NeedsConnecting { why })], ..well() }, NOW);
    let message = &health.findings[0].message;
    assert!(message.chars().count() <= WORDS_MAX + 1, "{message}");
    assert!(!message.contains(['\u{1b}', '\n', '\t', '\u{202e}']), "{message}");
}

#[test]
fn names_are_stable_and_told_apart() {
    let mut names: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Cause::ALL.len());
    for state in HealthState::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.name());
    }
    assert!(HealthState::ALL.is_sorted());
    let json = serde_json::to_value(judge(&said(&[]), NOW)).unwrap();
    assert_eq!(json["findings"][0]["cause"], "no-traffic");
    assert_eq!(json["at"], NOW.to_string());
    assert_eq!(json["probe"], serde_json::Value::Null);
}

#[cfg(feature = "serve")]
mod work {
    use super::*;
    use crate::health::work::{Work, lived, of_sink, ready};
    use crate::inbound::poll::PollHealth;
    use crate::inbound::sink::worker::{SinkDoing, SinkState};
    use crate::inbound::socket::{SocketState, SocketStatus};
    use crate::inbound::webhook::WebhookCounts;

    fn poll() -> PollHealth {
        PollHealth {
            succeeded_at: Some(before(60_000)),
            failed: None,
            failures: 0,
            due: NOW.plus(1),
            lag_ms: 0,
            is_behind: false,
        }
    }

    fn socket(state: SocketState, since: Timestamp) -> SocketStatus {
        SocketStatus { state, since, openings: 1, dropped: 0, given_up: 0, last_end: Some("closed: 1006".to_owned()) }
    }

    fn with(work: Work) -> Facts {
        Facts { work, ..well() }
    }

    #[test]
    fn every_cause_of_work_is_found() {
        use HealthState::{Degraded, Healthy, Unhealthy};
        let polls = |poll| with(Work { polls: vec![("orders".to_owned(), poll)], ..Work::default() });
        let sockets =
            |state, ms| with(Work { sockets: vec![("feed".to_owned(), socket(state, before(ms)))], ..Work::default() });
        let failed = PollHealth { failed: Some((before(9), "no".to_owned())), failures: 2, ..poll() };
        let counts = |proven, refused| {
            let counts = WebhookCounts { proven, refused, ..WebhookCounts::default() };
            with(Work { endpoints: vec![("hooks".to_owned(), "webhook_key".to_owned(), counts)], ..Work::default() })
        };
        let late = |lag_ms| polls(PollHealth { lag_ms, ..poll() });
        let full = |ms| with(Work { full_at: Some(before(ms)), ..Work::default() });
        for (facts, state, cause) in [
            (polls(poll()), Healthy, None),
            (polls(failed.clone()), Degraded, Some(Cause::PollFailing)),
            (
                polls(PollHealth { succeeded_at: Some(before(3_600_001)), ..failed }),
                Unhealthy,
                Some(Cause::PollFailing),
            ),
            (late(300_000), Healthy, None),
            (late(300_001), Degraded, Some(Cause::PollLate)),
            (late(3_600_001), Unhealthy, Some(Cause::PollLate)),
            (polls(PollHealth { is_behind: true, ..poll() }), Healthy, Some(Cause::PollLate)),
            (sockets(SocketState::Open, 1), Healthy, None),
            (sockets(SocketState::Connecting, 1), Healthy, None),
            (sockets(SocketState::Connecting, 61_000), Degraded, Some(Cause::SocketClosed)),
            (sockets(SocketState::Backoff(NOW.plus(5)), 1), Degraded, Some(Cause::SocketClosed)),
            (sockets(SocketState::Closed("no".to_owned()), 1), Unhealthy, Some(Cause::SocketClosed)),
            (counts(0, 3), Degraded, Some(Cause::WebhooksRefused)),
            // Strangers knock at every door.
            (counts(1, 3), Healthy, None),
            (with(Work { dead: 2, ..Work::default() }), Degraded, Some(Cause::DeadLetters)),
            (full(300_000), Degraded, Some(Cause::OutboxFull)),
            (full(300_001), Healthy, None),
        ] {
            assert_eq!(worst(&facts), (state, cause), "{:?}", facts.work);
            assert!(judge(&facts, NOW).findings.iter().all(|finding| !finding.help.is_empty()));
        }
    }

    fn sink(doing: SinkDoing) -> SinkState {
        SinkState { name: "billing".to_owned(), doing, given: 0, dead: 0, position: 0 }
    }

    #[test]
    fn a_sink_has_a_health_of_its_own() {
        use HealthState::{Degraded, Healthy, Unhealthy, Unknown};
        let why = || "no".to_owned();
        for (doing, dead, state) in [
            (Some(SinkDoing::Well), 0, Healthy),
            (Some(SinkDoing::Elsewhere), 0, Healthy),
            (Some(SinkDoing::Waiting { until: NOW, why: why() }), 0, Degraded),
            (Some(SinkDoing::Disabled { why: why() }), 0, Unhealthy),
            (Some(SinkDoing::Well), 1, Degraded),
            (None, 1, Degraded),
            (None, 0, Unknown),
        ] {
            let state_of = doing.map(sink);
            let health = of_sink("billing", state_of.as_ref(), dead, NOW);
            assert_eq!(health.state, state, "{state_of:?} {dead}");
            assert_eq!(health.subject, Subject::Sink);
        }
    }

    #[test]
    fn ready_is_the_host_and_how_connections_are_stands_beside() {
        assert_eq!(lived(NOW).0, 200);
        let ended = Error::new(Kind::CredentialUnavailable, "no key").with_details("wharfage secret set acme api_key");
        let report = HealthReport::new(NOW, vec![judge(&well(), NOW), Health::not_opening("other", &ended, NOW)]);
        for (hindrances, status) in
            [(vec![], 200), (vec![Hindrance::store(&ended)], 503), (vec![Hindrance::worker("the sink out")], 503)]
        {
            let (found, text) = ready(&report, &hindrances);
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((found, json["ready"] == true), (status, status == 200), "{text}");
            assert_eq!(json["hindrances"].as_array().map(Vec::len), Some(hindrances.len()), "{text}");
            assert_eq!((&json["state"], &json["causes"][0]["cause"]), (&"unhealthy".into(), &"not-opening".into()));
            assert_eq!(json["causes"][0]["help"], "wharfage secret set acme api_key");
        }
        assert_eq!(ready(&HealthReport::new(NOW, Vec::new()), &[]).0, 200);
        for hindrance in
            [Hindrance::starting(), Hindrance::stopping(), Hindrance::store(&ended), Hindrance::worker("x")]
        {
            let told = serde_json::to_value(&hindrance).unwrap();
            let name = told["hindrance"].as_str().unwrap();
            let text = crate::alerts::runbook(name).unwrap_or_else(|| panic!("no heading for {name}"));
            for part in ["**It means**", "**Look at**", "**Type**", "**It is over**"] {
                assert!(text.contains(part), "{name} does not say: {part}");
            }
        }
    }
}
