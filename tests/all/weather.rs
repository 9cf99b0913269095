//! An hour and more of a provider's weather in some seconds: well, slow, asking for less, down, lying, and back. What metrics,
//! health, alerts and the console say is held against what the provider knows of itself, and no secret is in any of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use serde_json::Value;
use wharfage::alerts::AlertState;
use wharfage::health::HealthState;
use wharfage::metrics::OperationMetrics;
use wharfage::{Host, ManualClock, Serving};
use wharfage_tests::scene::host;
use wharfage_tests::{API_KEY, NOW, Provider, Reply, drained};

use crate::alerts::lines;
use crate::sinks::{config, folder_of};

/// Seconds between two polls.
const EVERY_S: u64 = 15;

/// Polls after which a phase gives up: an hour of them.
const POLLS_MAX: u64 = 3_600 / EVERY_S;

/// How the provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Weather {
    Well,
    Slow,
    TooMany,
    Down,
    Lying,
}

/// The provider, and what it knows of itself.
#[derive(Default)]
struct Truth {
    weather: AtomicU8,
    asked: AtomicU64,
    well: AtomicU64,
    too_many: AtomicU64,
    down: AtomicU64,
    lies: AtomicU64,
}

impl Truth {
    fn is(&self, weather: Weather) -> bool {
        self.weather.load(Ordering::SeqCst) == weather as u8
    }

    fn answer(&self, clock: &ManualClock) -> Reply {
        let count = |of: &AtomicU64| of.fetch_add(1, Ordering::SeqCst);
        // It takes some, or no poll would come again before long.
        if self.is(Weather::TooMany) && count(&self.asked) % 7 == 0 {
            count(&self.too_many);
            return Reply::status(429);
        }
        if self.is(Weather::Down) {
            count(&self.down);
            return Reply::status(503);
        }
        if self.is(Weather::Lying) {
            count(&self.lies);
            return Reply::json(&serde_json::json!({"status": "error", "message": "all is well"}));
        }
        // It thinks for so long.
        clock.advance(if self.is(Weather::Slow) { 3_000 } else { 40 });
        count(&self.well);
        Reply::json(&serde_json::json!({"status": "done"}))
    }
}

struct Day {
    clock: ManualClock,
    truth: Arc<Truth>,
    provider: Provider,
    host: Host,
    serving: Serving,
    folder: tempfile::TempDir,
}

impl Day {
    async fn begin() -> Self {
        let (clock, truth) = (ManualClock::new(NOW, 1), Arc::new(Truth::default()));
        let provider = Provider::answering({
            let (clock, truth) = (clock.clone(), truth.clone());
            move |_| truth.answer(&clock)
        })
        .await;
        let manifest = format!(
            "\n[polls.things]\nevery_s = {EVERY_S}\nsource = 'made up for the tests'\ndate = '2026-11-29'\n\
             [events.\"thing.updated\"]\ndescription = 'a thing has changed'\n\
             [[answers]]\nstatus = [200]\npointer = '/status'\nequals = 'error'\nkind = 'transient'\n\
             source = 'made up for the tests'\ndate = '2026-11-29'\n"
        );
        let more = "jitter_percent = 0\n[connections.acme.limits]\nattempts = 1\n\
                    [serve]\nprobe = false\n[serve.console]\nlisten = '127.0.0.1:0'\n\
                    [sinks.ops]\nkind = 'file'\npath = 'ops.jsonl'\ntypes = ['wharfage.alert.*']\n\
                    [alerts]\nsink = 'ops'\nerrors = { calls_min = 3 }\nrate_limited = { calls_min = 3 }\n";
        let folder = folder_of(&provider, &manifest, more).await;
        let host = host(&folder.path().join("state"), clock.clone());
        let serving = host.serve(&config(folder.path())).await.unwrap();
        Self { clock, truth, provider, host, serving, folder }
    }

    fn handling(&self) -> OperationMetrics {
        let metrics = self.host.metrics();
        metrics.connections[0].operations.iter().find(|of| of.operation == "(handle)").unwrap().clone()
    }

    /// Goes on to the next poll and through it. The readings that alerts are made from are taken beside.
    async fn poll(&self) {
        let before = self.handling().calls();
        while self.handling().calls() == before {
            // One that is due already is under way.
            let due = self.serving.state().await.unwrap().polls[0].2.due;
            self.clock.advance(due.since(wharfage::Clock::now(&self.clock)).min(EVERY_S * 1_000));
            tokio::task::yield_now().await;
        }
    }

    /// Every alert that fires.
    fn firing(&self) -> BTreeSet<&'static str> {
        let alerts = self.serving.alerts();
        alerts.iter().filter(|alert| alert.state == AlertState::Firing).map(|alert| alert.rule.name()).collect()
    }

    async fn health(&self) -> (HealthState, BTreeSet<&'static str>) {
        let report = self.serving.health().await;
        let acme = report.all.iter().find(|of| of.name == "acme").unwrap();
        (acme.state, acme.findings.iter().map(|finding| finding.cause.name()).collect())
    }

    /// What the console answers there.
    async fn console(&self, path: &str) -> String {
        let link = self.serving.console().await.unwrap().link();
        let (page, token) = link.split_once("#token=").unwrap();
        let asked = reqwest::Client::new().get(format!("{}{path}", page.trim_end_matches('/'))).bearer_auth(token);
        asked.send().await.unwrap().text().await.unwrap()
    }

    /// Lets the weather be so until all of it is told, and looks whether numbers are true.
    async fn pass(&self, weather: Weather, state: HealthState, causes: &[&str], alerts: &[&str]) {
        self.truth.weather.store(weather as u8, Ordering::SeqCst);
        let (mut polls, mut told, mut fired) = (0, BTreeSet::new(), BTreeSet::new());
        let mut states = BTreeSet::new();
        loop {
            self.poll().await;
            polls += 1;
            let (found, causes_now) = self.health().await;
            told.extend(causes_now);
            states.insert(found.name());
            fired.extend(self.firing());
            let all_told = causes.iter().all(|cause| told.contains(cause));
            if polls > 10 && found == state && all_told && alerts.iter().all(|rule| fired.contains(rule)) {
                break;
            }
            assert!(polls < POLLS_MAX, "{weather:?} is told as {found:?} {told:?} {fired:?}");
        }
        self.is_true(&states, &told).await;
    }

    /// Whether what is counted is what happened. The page may be behind by a moment, so it says what was so in this weather.
    async fn is_true(&self, states: &BTreeSet<&'static str>, causes: &BTreeSet<&'static str>) {
        let (truth, handling) = (&self.truth, self.handling());
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let failed = |kind: &str| handling.attempts_failed.get(kind).copied().unwrap_or(0);
        assert_eq!(handling.attempts, self.provider.count() as u64);
        assert_eq!(handling.rate_limited, of(&truth.too_many));
        assert_eq!(failed("transient"), of(&truth.down) + of(&truth.lies));
        assert_eq!(handling.attempts - handling.attempts_failed.values().sum::<u64>(), of(&truth.well));
        // The console says the same as the library.
        let state: Value = serde_json::from_str(&self.console("/api/state").await).unwrap();
        let acme = &state["state"]["connections"][0];
        assert!(states.contains(acme["health"]["state"].as_str().unwrap()), "{state:#}");
        let told = acme["health"]["causes"].as_array().unwrap().iter().map(|cause| cause["cause"].as_str().unwrap());
        let told: BTreeSet<&str> = told.collect();
        assert!(told.is_subset(causes), "{told:?} of {causes:?}");
        let shown: Value = serde_json::from_str(&self.console("/api/metrics").await).unwrap();
        let shown = shown["connections"][0]["operations"].as_array().unwrap();
        let shown = shown.iter().find(|operation| operation["operation"] == "(handle)").unwrap();
        assert_eq!(
            (&shown["attempts"], &shown["rate_limited"]),
            (&handling.attempts.into(), &handling.rate_limited.into())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_phase_is_told_for_what_it_is() {
    let day = Day::begin().await;
    // What is normal is known after an hour.
    for _ in 0..4_000 / EVERY_S {
        day.poll().await;
    }
    day.pass(Weather::Well, HealthState::Healthy, &[], &[]).await;
    assert!(day.firing().is_empty(), "{:?}", day.firing());

    day.pass(Weather::Slow, HealthState::Degraded, &["slow"], &["latency"]).await;
    day.pass(Weather::TooMany, HealthState::Degraded, &["rate-limited"], &["rate_limited", "errors"]).await;
    day.pass(Weather::Down, HealthState::Unhealthy, &["failing"], &["availability"]).await;
    day.pass(Weather::Lying, HealthState::Unhealthy, &["failing"], &["breaker_open"]).await;
    day.pass(Weather::Well, HealthState::Healthy, &[], &[]).await;
    let mut polls = 0;
    while !day.firing().is_empty() {
        day.poll().await;
        polls += 1;
        assert!(polls < POLLS_MAX, "{:?} still fire", day.firing());
    }
    let (health, causes) = day.health().await;
    day.is_true(&BTreeSet::from([health.name()]), &causes).await;

    // Each was told, and that it is over, and nothing that holds the key is anywhere.
    let serving = day.serving;
    let mut told = day.host.metrics().prometheus();
    assert!(drained(serving, &day.clock).await);
    let events = lines(&day.folder.path().join("ops.jsonl"));
    let of = |kind: &str| -> BTreeSet<String> {
        let events = events.iter().filter(|event| event["type"] == kind);
        events.map(|event| event["data"]["rule"].as_str().unwrap().to_owned()).collect()
    };
    let rules: BTreeSet<String> =
        ["latency", "rate_limited", "errors", "availability", "breaker_open"].map(str::to_owned).into();
    assert!(of("wharfage.alert.firing").is_superset(&rules), "{events:#?}");
    assert_eq!(of("wharfage.alert.firing"), of("wharfage.alert.resolved"));
    told += &serde_json::to_string(&events).unwrap();
    assert!(!told.contains(API_KEY), "{told}");
}
