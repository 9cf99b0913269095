//! Whether anything is to be told: readings in, changes out. No clock, no lock, no store.
//!
//! A reading holds counts since the start; what lies between two of them goes into windows that forget. Each window has
//! [`SLOTS`] slots however long it is, so an operation that is called costs some kilobytes and one that is not costs
//! nothing. After a start only what was seen counts: where that is too little to judge by, an alert that was firing goes
//! on firing and nothing else begins.
//!
//! A condition must hold for a while before it fires and be over for a while before it is resolved, so that what comes and
//! goes is told once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::AddAssign;

use crate::alerts::{Alert, AlertPolicy, AlertRule, AlertState, AlertSubject, NO_ERROR, UNAVAILABLE, exact};
use crate::observe::metrics::{Histogram, Metrics, OperationMetrics};
use crate::time::Timestamp;

/// Slots of a window.
const SLOTS: u64 = 40;

/// How many times the normal latency is written down in the time that it is taken from.
const NORMALS: u64 = 144;

/// Where nobody read for so long, nobody knows what held meanwhile.
const GAP_MS: u64 = 120_000;

/// How everything stands at one time. Counts are since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// What was counted and timed.
    pub(crate) metrics: Metrics,
    /// Polled triggers.
    pub(crate) polls: Vec<PollReading>,
    /// Breakers: connection, origin, and whether it is open.
    pub(crate) circuits: Vec<(String, String, bool)>,
    /// Credentials that a person signs in for: connection, credential, and why they must.
    pub(crate) credentials: Vec<(String, String, Option<String>)>,
    /// Events that were given up, by connection.
    pub(crate) dead: Vec<(String, u64)>,
    /// Sinks.
    pub(crate) sinks: Vec<SinkReading>,
}

/// How a polled trigger stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct PollReading {
    pub(crate) connection: String,
    pub(crate) poll: String,
    pub(crate) succeeded_at: Option<Timestamp>,
    /// Whether it should have run by now, or failed when it did.
    pub(crate) is_overdue: bool,
}

/// How a sink stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct SinkReading {
    pub(crate) sink: String,
    /// Events it did not take, since the start.
    pub(crate) dead: u64,
    /// Why it is asked no more, where it is not.
    pub(crate) disabled: Option<String>,
}

/// What an alert is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) rule: AlertRule,
    /// Empty where it is about a sink.
    pub(crate) connection: String,
    pub(crate) subject: AlertSubject,
}

/// A step of an alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AlertChange {
    pub(crate) state: AlertState,
    pub(crate) alert: Alert,
}

/// Judges readings.
pub(crate) struct Evaluator {
    policy: AlertPolicy,
    began: Timestamp,
    read_at: Option<Timestamp>,
    operations: BTreeMap<(String, String), Operation>,
    circuits: BTreeMap<(String, String), Window<Share>>,
    dead: BTreeMap<(String, AlertSubject), Dead>,
    polls: BTreeMap<(String, String), Timestamp>,
    standing: BTreeMap<Key, Standing>,
}

/// How an alert stands.
#[derive(Clone, Debug)]
struct Standing {
    alert: Alert,
    /// Since when it is over, while it fires.
    over_since: Option<Timestamp>,
}

/// What a reading says about a condition.
enum Verdict {
    /// It holds.
    Holds(Measured),
    /// It does not.
    Not,
    /// Too little was seen.
    Unknown,
}

struct Measured {
    value: f64,
    threshold: f64,
    why: Option<String>,
}

impl Evaluator {
    /// With nothing seen yet.
    pub(crate) fn new(policy: AlertPolicy, now: Timestamp) -> Self {
        Self {
            policy,
            began: now,
            read_at: None,
            operations: BTreeMap::new(),
            circuits: BTreeMap::new(),
            dead: BTreeMap::new(),
            polls: BTreeMap::new(),
            standing: BTreeMap::new(),
        }
    }

    /// Goes on with another policy. What was seen stays seen; a window whose length changed begins anew, and what is not
    /// watched any more is no alert.
    pub(crate) fn set_policy(&mut self, policy: AlertPolicy) {
        self.standing.retain(|key, _| policy.is_watched(key.rule));
        self.policy = policy;
    }

    /// Takes up what was firing before the start.
    pub(crate) fn restore(&mut self, firing: impl IntoIterator<Item = Alert>) {
        for alert in firing {
            if self.policy.is_watched(alert.rule) {
                let alert = Alert { state: AlertState::Firing, ..alert };
                self.standing.insert(key_of(&alert), Standing { alert, over_since: None });
            }
        }
    }

    /// Every alert that is pending or firing, in order.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.standing.values().map(|standing| &standing.alert)
    }

    /// Looks at a reading. Answers what changed: what became pending, what fires now, and what was resolved.
    pub(crate) fn observe(&mut self, reading: &Reading, now: Timestamp) -> Vec<AlertChange> {
        if !self.policy.enabled {
            return Vec::new();
        }
        if self.read_at.is_some_and(|before| now.since(before) > GAP_MS) {
            self.standing.retain(|_, standing| standing.alert.state == AlertState::Firing);
        }
        self.read_at = Some(now);
        self.take(reading, now);
        let mut changes = Vec::new();
        let mut judged = BTreeSet::new();
        for (key, plugin, verdict) in self.verdicts(reading, now) {
            if self.policy.is_watched(key.rule) {
                changes.extend(self.step(&key, plugin, verdict, now));
                judged.insert(key);
            }
        }
        // What is not there any more is over; after a start it may still come.
        let gone: Vec<Key> = self.standing.keys().filter(|key| !judged.contains(*key)).cloned().collect();
        for key in gone {
            let verdict = self.few(key.rule, now);
            changes.extend(self.step(&key, None, verdict, now));
        }
        changes
    }

    /// Counts what lies between the last reading and this one.
    fn take(&mut self, reading: &Reading, now: Timestamp) {
        let policy = &self.policy;
        let mut there = BTreeSet::new();
        for connection in &reading.metrics.connections {
            for metrics in &connection.operations {
                let key = (connection.connection.clone(), metrics.operation.clone());
                // Where nothing was ever called, there is nothing to keep.
                if metrics.duration.count() == 0 {
                    continue;
                }
                // What was counted before the first reading lies between the start and now.
                let operation = self.operations.entry(key.clone()).or_insert_with(|| Operation::new(self.began));
                operation.plugin.clone_from(&connection.plugin);
                operation.take(metrics, policy, now);
                there.insert(key);
            }
        }
        self.operations.retain(|key, _| there.contains(key));
        let mut there = BTreeSet::new();
        for (connection, origin, is_open) in &reading.circuits {
            let key = (connection.clone(), origin.clone());
            let window = self.circuits.entry(key.clone()).or_default();
            window.add(policy.breaker_open.window_s, now, Share { all: 1, bad: u64::from(*is_open) });
            there.insert(key);
        }
        self.circuits.retain(|key, _| there.contains(key));
        let arrived =
            reading.dead.iter().map(|(connection, dead)| ((connection.clone(), AlertSubject::Arrivals), *dead));
        let sinks =
            reading.sinks.iter().map(|sink| ((String::new(), AlertSubject::Sink(sink.sink.clone())), sink.dead));
        let mut there = BTreeSet::new();
        for (key, total) in arrived.chain(sinks) {
            let dead = self.dead.entry(key.clone()).or_default();
            dead.window.add(policy.dead_letters.window_s, now, between(dead.total, total));
            dead.total = total;
            there.insert(key);
        }
        self.dead.retain(|key, _| there.contains(key));
        let polls: BTreeSet<(String, String)> =
            reading.polls.iter().map(|poll| (poll.connection.clone(), poll.poll.clone())).collect();
        self.polls.retain(|key, _| polls.contains(key));
        for key in polls {
            self.polls.entry(key).or_insert(now);
        }
    }

    fn verdicts(&self, reading: &Reading, now: Timestamp) -> Vec<(Key, Option<String>, Verdict)> {
        let mut all = Vec::new();
        for ((connection, name), operation) in &self.operations {
            let subject = AlertSubject::Operation(name.clone());
            for (rule, verdict) in operation.verdicts(&self.policy, now) {
                let key = Key { rule, connection: connection.clone(), subject: subject.clone() };
                let verdict = match (rule, verdict) {
                    (AlertRule::Latency, Verdict::Unknown) => self.against_then(&key, operation, now),
                    (_, verdict) => verdict,
                };
                all.push((key, Some(operation.plugin.clone()), verdict));
            }
        }
        for poll in &reading.polls {
            let since = self.polls.get(&(poll.connection.clone(), poll.poll.clone())).copied().unwrap_or(now);
            let age_s = now.since(poll.succeeded_at.unwrap_or(since)) / 1_000;
            let above_s = self.policy.stale.above_s;
            let verdict = holds(poll.is_overdue && age_s > above_s, age_s as f64, above_s as f64);
            let subject = AlertSubject::Poll(poll.poll.clone());
            all.push((Key { rule: AlertRule::Stale, connection: poll.connection.clone(), subject }, None, verdict));
        }
        for ((connection, origin), window) in &self.circuits {
            let rule = &self.policy.breaker_open;
            let open = window.sum(rule.window_s, now).percent();
            let subject = AlertSubject::Origin(origin.clone());
            let verdict = holds(open > rule.above_percent, open, rule.above_percent);
            all.push((Key { rule: AlertRule::BreakerOpen, connection: connection.clone(), subject }, None, verdict));
        }
        for (connection, credential, why) in &reading.credentials {
            let subject = AlertSubject::Credential(credential.clone());
            let key = Key { rule: AlertRule::NeedsConnecting, connection: connection.clone(), subject };
            all.push((key, None, said(why.as_ref())));
        }
        for ((connection, subject), dead) in &self.dead {
            let rule = &self.policy.dead_letters;
            let lately = dead.window.sum(rule.window_s, now);
            let verdict = match lately > rule.above {
                true => holds(true, lately as f64, rule.above as f64),
                false => self.few(AlertRule::DeadLetters, now),
            };
            let key = Key { rule: AlertRule::DeadLetters, connection: connection.clone(), subject: subject.clone() };
            all.push((key, None, verdict));
        }
        for sink in &reading.sinks {
            let subject = AlertSubject::Sink(sink.sink.clone());
            let key = Key { rule: AlertRule::SinkDisabled, connection: String::new(), subject };
            all.push((key, None, said(sink.disabled.as_ref())));
        }
        all
    }

    /// What a window says that holds too little: nothing, until all of it was seen.
    fn few(&self, rule: AlertRule, now: Timestamp) -> Verdict {
        let policy = &self.policy;
        let window_s = match rule {
            AlertRule::Availability => policy.availability.window_s,
            AlertRule::Latency => policy.latency.window_s,
            AlertRule::Errors => policy.errors.window_s,
            AlertRule::RateLimited => policy.rate_limited.window_s,
            AlertRule::Stale => policy.stale.above_s,
            AlertRule::DeadLetters => policy.dead_letters.window_s,
            _ => GAP_MS / 1_000,
        };
        match now.since(self.began) < window_s.saturating_mul(1_000) {
            true => Verdict::Unknown,
            false => Verdict::Not,
        }
    }

    /// A slow operation that was firing before the start is measured by what was normal then, until that is known again.
    fn against_then(&self, key: &Key, operation: &Operation, now: Timestamp) -> Verdict {
        let standing = self.standing.get(key).filter(|standing| standing.alert.state == AlertState::Firing);
        match (standing, operation.p95(&self.policy, now)) {
            (Some(standing), Some(p95)) => holds(p95 > standing.alert.threshold, p95, standing.alert.threshold),
            _ => Verdict::Unknown,
        }
    }

    fn step(&mut self, key: &Key, plugin: Option<String>, verdict: Verdict, now: Timestamp) -> Option<AlertChange> {
        let (for_ms, clear_ms) = self.policy.times_ms(key.rule);
        let change = |alert: &Alert| Some(AlertChange { state: alert.state, alert: alert.clone() });
        let standing = self.standing.get_mut(key);
        match (verdict, standing) {
            (Verdict::Holds(measured), None) => {
                let alert = Alert {
                    rule: key.rule,
                    connection: (!key.connection.is_empty()).then(|| key.connection.clone()),
                    plugin,
                    subject: key.subject.clone(),
                    state: if for_ms == 0 { AlertState::Firing } else { AlertState::Pending },
                    since: now,
                    value: measured.value,
                    threshold: measured.threshold,
                    why: measured.why,
                };
                let changed = change(&alert);
                self.standing.insert(key.clone(), Standing { alert, over_since: None });
                changed
            }
            (Verdict::Holds(measured), Some(standing)) => {
                let Standing { alert, over_since } = standing;
                *over_since = None;
                (alert.value, alert.threshold, alert.why) = (measured.value, measured.threshold, measured.why);
                alert.plugin = plugin.or(alert.plugin.take());
                let is_due = alert.state == AlertState::Pending && now.since(alert.since) >= for_ms;
                if is_due {
                    alert.state = AlertState::Firing;
                }
                change(alert).filter(|_| is_due)
            }
            (_, None) => None,
            (Verdict::Unknown, Some(standing)) if standing.alert.state == AlertState::Firing => {
                standing.over_since = None;
                None
            }
            (_, Some(standing)) if standing.alert.state == AlertState::Firing => {
                let over_since = *standing.over_since.get_or_insert(now);
                if now.since(over_since) < clear_ms {
                    return None;
                }
                let mut over = self.standing.remove(key)?;
                over.alert.state = AlertState::Resolved;
                change(&over.alert)
            }
            (_, Some(_)) => {
                self.standing.remove(key);
                None
            }
        }
    }
}

/// What is kept of an operation that was called.
struct Operation {
    plugin: String,
    since: Timestamp,
    /// What was read last, to know what came after it.
    total: Totals,
    succeeded_at: Option<Timestamp>,
    unavailable: Window<Share>,
    failed: Window<Share>,
    limited: Window<Share>,
    /// Calls that succeeded or failed.
    called: Window<u64>,
    durations: Window<Histogram>,
    /// The 95th percentile of the window before each of these times.
    normals: VecDeque<(Timestamp, u64)>,
}

#[derive(Default)]
struct Totals {
    calls: u64,
    /// Those that ended with an answer which is no success and no error.
    answers: u64,
    unavailable: u64,
    failed: u64,
    limited: u64,
    duration: Histogram,
}

impl Operation {
    fn new(since: Timestamp) -> Self {
        Self {
            plugin: String::new(),
            since,
            total: Totals::default(),
            succeeded_at: None,
            unavailable: Window::default(),
            failed: Window::default(),
            limited: Window::default(),
            called: Window::default(),
            durations: Window::default(),
            normals: VecDeque::new(),
        }
    }

    fn take(&mut self, metrics: &OperationMetrics, policy: &AlertPolicy, now: Timestamp) {
        let of = |kinds: &[&str]| -> u64 {
            metrics.failed.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, count)| count).sum()
        };
        let failed: u64 = metrics.failed.values().sum();
        let answers = of(&NO_ERROR);
        let total = Totals {
            calls: metrics.succeeded + failed,
            answers,
            unavailable: of(&UNAVAILABLE),
            failed: failed - answers,
            limited: limited(metrics),
            duration: metrics.duration.clone(),
        };
        // A connection that was opened anew counts from nothing.
        if total.calls < self.total.calls || total.duration.count() < self.total.duration.count() {
            self.total = Totals::default();
        }
        let before = &self.total;
        let calls = total.calls - before.calls;
        if calls > 0 || total.limited > before.limited {
            let share = |bad: u64, before: u64| Share { all: calls, bad: between(before, bad) };
            let bad = share(total.unavailable, before.unavailable);
            self.unavailable.add(policy.availability.window_s, now, bad);
            self.failed.add(policy.errors.window_s, now, share(total.failed, before.failed));
            self.limited.add(policy.rate_limited.window_s, now, share(total.limited, before.limited));
            let called = calls.saturating_sub(between(before.answers, total.answers));
            self.called.add(policy.stale.above_s, now, called);
            self.durations.add(policy.latency.window_s, now, total.duration.since(&before.duration));
        }
        self.total = total;
        self.succeeded_at = metrics.succeeded_at.or(self.succeeded_at);
        let every_ms = policy.latency.normal_s.saturating_mul(1_000) / NORMALS;
        if self.normals.back().is_none_or(|(at, _)| now.since(*at) >= every_ms.max(1))
            && let Some(p95) = self.p95_ms(policy, now)
        {
            self.normals.push_back((now, p95));
        }
        let kept_ms = (policy.latency.normal_s + policy.latency.window_s).saturating_mul(1_000);
        while self.normals.len() > NORMALS as usize * 2
            || self.normals.front().is_some_and(|(at, _)| now.since(*at) > kept_ms)
        {
            self.normals.pop_front();
        }
    }

    fn p95_ms(&self, policy: &AlertPolicy, now: Timestamp) -> Option<u64> {
        let durations = self.durations.sum(policy.latency.window_s, now);
        durations.quantile_ms(0.95).filter(|_| durations.count() >= policy.latency.calls_min)
    }

    fn p95(&self, policy: &AlertPolicy, now: Timestamp) -> Option<f64> {
        self.p95_ms(policy, now).map(|ms| ms as f64)
    }

    fn verdicts(&self, policy: &AlertPolicy, now: Timestamp) -> [(AlertRule, Verdict); 5] {
        let seen_ms = now.since(self.since);
        let few = |window_s: u64| match seen_ms < window_s.saturating_mul(1_000) {
            true => Verdict::Unknown,
            false => Verdict::Not,
        };
        let rule = &policy.availability;
        let share = self.unavailable.sum(rule.window_s, now);
        let availability = if share.all < rule.calls_min {
            few(rule.window_s)
        } else {
            let most = exact(100.0 - rule.below_percent);
            let measured = Measured { value: 100.0 - share.percent(), threshold: rule.below_percent, why: None };
            match share.bad >= rule.failures_min && share.percent() > most {
                true => Verdict::Holds(measured),
                false => Verdict::Not,
            }
        };
        let above = |share: Share, calls_min: u64, bad_min: u64, above_percent: f64, window_s: u64| {
            if share.all < calls_min {
                return few(window_s);
            }
            holds(share.bad >= bad_min && share.percent() > above_percent, share.percent(), above_percent)
        };
        let rule = &policy.errors;
        let share = self.failed.sum(rule.window_s, now);
        let errors = above(share, rule.calls_min, rule.failures_min, rule.above_percent, rule.window_s);
        let rule = &policy.rate_limited;
        let share = self.limited.sum(rule.window_s, now);
        let limited = above(share, rule.calls_min, rule.answers_min, rule.above_percent, rule.window_s);
        let above_s = policy.stale.above_s;
        let age_s = now.since(self.succeeded_at.unwrap_or(self.since)) / 1_000;
        let is_called = self.called.sum(above_s, now) > 0;
        let stale = holds(is_called && age_s > above_s, age_s as f64, above_s as f64);
        [
            (AlertRule::Availability, availability),
            (AlertRule::Latency, self.latency(policy, now, few(policy.latency.window_s))),
            (AlertRule::Errors, errors),
            (AlertRule::RateLimited, limited),
            (AlertRule::Stale, stale),
        ]
    }

    fn latency(&self, policy: &AlertPolicy, now: Timestamp, few: Verdict) -> Verdict {
        let rule = &policy.latency;
        let Some(p95) = self.p95(policy, now) else { return few };
        let Some(normal) = self.normal(policy, now) else { return Verdict::Unknown };
        let threshold = (normal as f64 * rule.times_normal).max(rule.least_ms as f64);
        holds(p95 > threshold, p95, threshold)
    }

    /// The median of what came before the window; nothing where too little of it was seen. An hour of trouble in a day
    /// moves it by nothing, which an average or a percentile of all calls would not hold.
    fn normal(&self, policy: &AlertPolicy, now: Timestamp) -> Option<u64> {
        let rule = &policy.latency;
        let (window_ms, normal_ms) = (rule.window_s.saturating_mul(1_000), rule.normal_s.saturating_mul(1_000));
        let is_before = |at: Timestamp| (window_ms..=window_ms + normal_ms).contains(&now.since(at));
        let mut before: Vec<u64> = self.normals.iter().filter(|(at, _)| is_before(*at)).map(|(_, ms)| *ms).collect();
        let every_ms = (normal_ms / NORMALS).max(1);
        if (before.len() as u64).saturating_mul(every_ms) < rule.normal_seen_s.saturating_mul(1_000) {
            return None;
        }
        before.sort_unstable();
        before.get(before.len() / 2).copied()
    }
}

/// Answers 429 since the start, those that were tried again included.
fn limited(metrics: &OperationMetrics) -> u64 {
    metrics.rate_limited
}

/// Events that were given up.
#[derive(Default)]
struct Dead {
    total: u64,
    window: Window<u64>,
}

/// Some of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    all: u64,
    bad: u64,
}

impl Share {
    fn percent(self) -> f64 {
        match self.all {
            0 => 0.0,
            all => exact(self.bad as f64 * 100.0 / all as f64),
        }
    }
}

impl AddAssign for Share {
    fn add_assign(&mut self, more: Self) {
        self.all += more.all;
        self.bad += more.bad;
    }
}

/// What can be summed up.
trait Sum: Clone + Default {
    fn add(&mut self, more: &Self);
}

impl Sum for Share {
    fn add(&mut self, more: &Self) {
        *self += *more;
    }
}

impl Sum for u64 {
    fn add(&mut self, more: &Self) {
        *self += more;
    }
}

impl Sum for Histogram {
    fn add(&mut self, more: &Self) {
        *self = self.and(more);
    }
}

/// What came in the last so many seconds, in slots of a fortieth.
#[derive(Default)]
struct Window<T> {
    slot_ms: u64,
    slots: VecDeque<(u64, T)>,
}

impl<T: Sum> Window<T> {
    /// Adds to the slot of this time.
    fn add(&mut self, window_s: u64, now: Timestamp, more: T) {
        let slot_ms = slot_ms(window_s);
        if self.slot_ms != slot_ms {
            (self.slot_ms, self.slots) = (slot_ms, VecDeque::new());
        }
        let slot = now.as_millis() / slot_ms;
        while self.slots.front().is_some_and(|(first, _)| first + SLOTS <= slot) {
            self.slots.pop_front();
        }
        match self.slots.back_mut() {
            // A clock that was set back adds to what is there.
            Some((last, sum)) if *last >= slot => sum.add(&more),
            _ => self.slots.push_back((slot, more)),
        }
    }

    fn sum(&self, window_s: u64, now: Timestamp) -> T {
        let mut sum = T::default();
        let slot_ms = slot_ms(window_s);
        if self.slot_ms == slot_ms {
            let slot = now.as_millis() / slot_ms;
            self.slots.iter().filter(|(at, _)| at + SLOTS > slot).for_each(|(_, part)| sum.add(part));
        }
        sum
    }
}

fn slot_ms(window_s: u64) -> u64 {
    (window_s.saturating_mul(1_000) / SLOTS).max(1)
}

fn holds(is_so: bool, value: f64, threshold: f64) -> Verdict {
    match is_so {
        true => Verdict::Holds(Measured { value, threshold, why: None }),
        false => Verdict::Not,
    }
}

/// Somebody says that it is so, and why.
fn said(why: Option<&String>) -> Verdict {
    match why {
        Some(why) => Verdict::Holds(Measured { value: 1.0, threshold: 0.0, why: Some(why.clone()) }),
        None => Verdict::Not,
    }
}

/// How much came between two counts; all of it where the count began anew.
fn between(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// What an alert is known by.
pub(crate) fn key_of(alert: &Alert) -> Key {
    Key { rule: alert.rule, connection: alert.connection.clone().unwrap_or_default(), subject: alert.subject.clone() }
}

#[cfg(test)]
mod tests;
