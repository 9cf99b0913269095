//! How a connection or a sink is, and why: judged from its calls, circuits, budgets, secrets, tokens and polls, or asked of
//! the provider. [`Plugin::health`](crate::Plugin::health), [`Plugin::probe`](crate::Plugin::probe) and `Host::health`
//! tell it.
//!
//! Judging is pure: facts and the time go in, a [`Health`] comes out, with every cause and what to do about each. Where
//! nobody has called for a while, a probe asks the provider: one cheap read, for which the manifest's `[health]` says the
//! operation. It has 10 s, is sent at most once in 60 s, only when nothing newer is known, and gives way to whoever waits.
//! What nobody has seen for 300 s is not healthy but unknown.

mod probe;
#[cfg(feature = "serve")]
mod work;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::drift::Drifts;
use crate::outbound::session::TokenState;
use crate::text::{shown, shown_lines};
use crate::time::Timestamp;
use crate::vault::SecretState;

pub use crate::observe::pulse::Probe;
use crate::observe::pulse::{FRESH_MS, Sign, Traffic};
pub use crate::observe::states::CircuitState;
#[cfg(feature = "serve")]
pub use work::HealthReport;
#[cfg(feature = "serve")]
pub(crate) use work::{DEAD_MAX, Hindrance, Work, lived, of_sink, ready};

/// Milliseconds that a probe may take.
pub(crate) const PROBE_MS: u64 = 10_000;

/// Failures in a row, whatever went well before, that are no accident.
const ROW: u32 = 3;

/// Milliseconds for which an answer that differed from its schema is told.
const DRIFT_MS: u64 = 3_600_000;

/// Days after which a secret is old where its provider says nothing.
const KEY_AGE_DAYS: u32 = 90;
/// Days before the provider's own end of a secret from which on it is told.
const KEY_NOTICE_DAYS: u64 = 14;
const DAY_MS: u64 = 86_400_000;

/// Most characters of a sentence that came from elsewhere.
const WORDS_MAX: usize = 400;

/// How a connection or a sink is. Later ones are worse, and the worst cause decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HealthState {
    /// It was seen to work within the last 300 s, and nothing speaks against it.
    Healthy,
    /// Nobody has seen it for too long to say.
    #[default]
    Unknown,
    /// It works in part, or slower than it should.
    Degraded,
    /// It does not work.
    Unhealthy,
    /// It does not work until a person signs in or gives another key.
    NeedsConnecting,
}

impl HealthState {
    /// All there are, the best first.
    pub const ALL: &'static [Self] =
        &[Self::Healthy, Self::Unknown, Self::Degraded, Self::Unhealthy, Self::NeedsConnecting];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::NeedsConnecting => "needs-connecting",
        }
    }
}

impl std::fmt::Display for HealthState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The causes with their names and what each means: one row a cause.
macro_rules! causes {
    ($($variant:ident $name:literal $about:literal),* $(,)?) => {
        /// Why something is as it is. The names are stable, for rules and scripts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Cause {
            $(#[doc = $about] $variant,)*
        }

        impl Cause {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it is written.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }
        }
    };
}

causes! {
    NotConnected "not-connected" "Nobody has signed in, or the provider has withdrawn the consent.",
    CredentialRefused "credential-refused" "The provider did not accept the credential.",
    SecretMissing "secret-missing" "A secret cannot be had.",
    TokenFailing "token-failing" "Renewing the tokens fails; it is tried again.",
    KeyOld "key-old" "A key should be replaced.",
    Forbidden "forbidden" "The credential may not do what was asked.",
    PolicyDenied "policy-denied" "The plugin asked for something that the connection does not grant.",
    LimitReached "limit-reached" "A call reached a limit of the connection.",
    BreakerOpen "breaker-open" "An origin keeps failing, and the host has stopped asking it.",
    Failing "failing" "Calls fail, or are not answered in time.",
    Slow "slow" "Most calls take longer than 10 s.",
    AnswersStale "answers-stale" "Calls are answered with the last good answer, because the provider is in trouble.",
    RateLimited "rate-limited" "The provider said that it was asked too often.",
    QuotaExhausted "quota-exhausted" "A quota over a long time is spent.",
    Drift "drift" "Answers differ from what the plugin expects.",
    PluginFailing "plugin-failing" "The plugin broke off, or answered something that is no answer.",
    Leaks "leaks" "The provider sent a secret back; it was masked.",
    PollFailing "poll-failing" "A polled trigger fails.",
    PollLate "poll-late" "A polled trigger has been due for long, or has more to read than it may.",
    SocketClosed "socket-closed" "A socket is not open.",
    WebhooksRefused "webhooks-refused" "No delivery of a webhook was the provider's own.",
    DeadLetters "dead-letters" "Events were given up.",
    OutboxFull "outbox-full" "What is emitted finds no room, because sinks have not taken what was emitted before.",
    SinkWaiting "sink-waiting" "A sink failed and is asked again.",
    SinkDisabled "sink-disabled" "A sink is asked no more.",
    NotOpening "not-opening" "The connection cannot be opened.",
    StateUnreadable "state-unreadable" "What is kept cannot be read.",
    StaleReading "stale-reading" "What was seen last is older than 300 s.",
    NoTraffic "no-traffic" "Nothing was seen of it yet.",
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// One cause, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which one.
    pub cause: Cause,
    /// What it makes of the whole; healthy for what is only worth knowing.
    pub state: HealthState,
    /// What it is about: an origin, a budget, a credential, a secret, a poll. Empty for the whole.
    pub about: String,
    /// What was found, in a sentence. It holds no secret.
    pub message: String,
    /// What to do: most often a line to type.
    pub help: String,
    /// Until when it lasts, where that is known.
    #[serde(serialize_with = "moment")]
    pub until: Option<Timestamp>,
}

/// What a health is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Subject {
    /// A connection, with everything that is declared for it.
    #[default]
    Connection,
    /// A sink.
    Sink,
}

/// How a connection or a sink is, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// What it is about.
    pub subject: Subject,
    /// Its name.
    pub name: String,
    /// The connection's plugin.
    pub plugin: String,
    /// How it is: what the worst finding says.
    pub state: HealthState,
    /// Everything that was found, the worst first.
    pub findings: Vec<Finding>,
    /// When a call or a probe went well last.
    #[serde(serialize_with = "moment")]
    pub succeeded_at: Option<Timestamp>,
    /// When the provider was seen last, well or not.
    #[serde(serialize_with = "moment")]
    pub seen_at: Option<Timestamp>,
    /// The last probe.
    pub probe: Option<Probe>,
    /// When this was judged.
    #[serde(with = "crate::time::rfc3339")]
    pub at: Timestamp,
}

fn moment<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => to.collect_str(at),
        None => to.serialize_none(),
    }
}

/// What a connection is judged by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) connection: String,
    pub(crate) plugin: String,
    pub(crate) traffic: Traffic,
    pub(crate) probe: Option<Probe>,
    /// The operation that the manifest probes with.
    pub(crate) probes_with: Option<String>,
    /// Each origin with what its breaker does.
    pub(crate) circuits: Vec<(String, CircuitState)>,
    /// Budgets that a provider's word has stopped: until when, and how long their windows are.
    pub(crate) budgets: Vec<(String, Timestamp, u64)>,
    /// Tokens by credential.
    pub(crate) tokens: Vec<(String, TokenState)>,
    pub(crate) secrets: Vec<SecretState>,
    /// The secrets of the credentials that go on requests by themselves and of open endpoints, and whether nothing is done
    /// without.
    pub(crate) needed: BTreeMap<String, bool>,
    /// The secret that most requests carry.
    pub(crate) key: Option<String>,
    pub(crate) drifts: Drifts,
    pub(crate) leaks: u64,
    /// What could not be read.
    pub(crate) unreadable: Option<String>,
    #[cfg(feature = "serve")]
    pub(crate) work: Work,
}

/// Findings as they come together.
#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn tell(&mut self, cause: Cause, state: HealthState, about: &str, message: String, help: String) -> &mut Finding {
        let (about, message) = (shown(about), short(&message));
        self.0.push(Finding { cause, state, about, message, help, until: None });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn worst(&self) -> HealthState {
        self.0.iter().map(|finding| finding.state).max().unwrap_or(HealthState::Healthy)
    }
}

/// A sentence that may hold what a provider or a plugin said: one line, without control characters, not too long.
pub(crate) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS_MAX) {
        Some((at, _)) => shown_lines(&line[..at]) + "…",
        None => shown_lines(&line),
    }
}

/// How a connection is, by these facts.
pub(crate) fn judge(facts: &Facts, now: Timestamp) -> Health {
    let mut found = Found::default();
    if let Some(why) = &facts.unreadable {
        let help = "Look at the state folder: its owner, its room".to_owned();
        found.tell(Cause::StateUnreadable, HealthState::Unhealthy, "", why.clone(), help);
    }
    credentials(&mut found, facts, now);
    calls(&mut found, facts);
    limits(&mut found, facts, now);
    plugin(&mut found, facts, now);
    #[cfg(feature = "serve")]
    work::judge(&mut found, facts, now);
    freshness(&mut found, facts, now);
    found.0.sort_by_key(|finding| std::cmp::Reverse(finding.state));
    Health {
        subject: Subject::Connection,
        name: facts.connection.clone(),
        plugin: facts.plugin.clone(),
        state: found.worst(),
        findings: found.0,
        succeeded_at: facts.traffic.last(Sign::Well),
        seen_at: facts.traffic.seen_at(),
        probe: facts.probe.clone(),
        at: now,
    }
}

/// Whether something went well lately, and since then the provider has not refused the credential.
fn is_well(traffic: &Traffic) -> bool {
    let refused = traffic.last(Sign::Refused).max(traffic.last(Sign::NoSecret));
    traffic.count(Sign::Well) > 0 && traffic.last(Sign::Well) > refused
}

/// Whether something is not done for want of this secret: what is asked for by itself needs it, or the last call ended
/// without one and it is among those that it may have been.
fn is_wanted(facts: &Facts, name: &str) -> bool {
    let has_ended_a_call = facts.traffic.last(Sign::NoSecret) > facts.traffic.last(Sign::Well);
    match facts.needed.get(name) {
        Some(is_needed) => *is_needed || has_ended_a_call,
        None => {
            let is_it = |secret: &SecretState| secret.trouble.is_some() && facts.needed.contains_key(&secret.name);
            has_ended_a_call && !facts.secrets.iter().any(is_it)
        }
    }
}

fn credentials(found: &mut Found, facts: &Facts, now: Timestamp) {
    let Facts { connection, traffic, .. } = facts;
    for (credential, state) in &facts.tokens {
        let help = format!("wharfage connect {connection} --credential {credential}");
        match state {
            TokenState::Ready { .. } => {}
            TokenState::NeedsConnecting { why } => {
                found.tell(Cause::NotConnected, HealthState::NeedsConnecting, credential, why.clone(), help);
            }
            TokenState::Failing { why, retry_at } => {
                let state = if is_well(traffic) { HealthState::Degraded } else { HealthState::Unhealthy };
                let help = format!("It is tried again by itself; if that does not help:   {help}");
                found.tell(Cause::TokenFailing, state, credential, why.clone(), help).until = Some(*retry_at);
            }
        }
    }
    for secret in &facts.secrets {
        let name = &secret.name;
        if let Some(trouble) = &secret.trouble {
            // What goes well without it does not need it, or not everywhere.
            let state = match is_wanted(facts, name) {
                false => HealthState::Healthy,
                true if is_well(traffic) => HealthState::Degraded,
                true => HealthState::NeedsConnecting,
            };
            let help = match secret.can_be_set {
                true => format!("wharfage secret set {connection} {name}"),
                false => format!("wharfage secret list {connection}"),
            };
            found.tell(Cause::SecretMissing, state, name, trouble.clone(), help);
        } else if let Some(since) = secret.since {
            age(found, connection, secret, now.since(since) / DAY_MS);
        }
    }
    let refused = traffic.last(Sign::Refused);
    let is_refused = refused.is_some() && refused > traffic.last(Sign::Well);
    // Who was given another key since then has not been refused.
    let is_replaced = facts.secrets.iter().any(|secret| secret.since > refused);
    let is_told = found.0.iter().any(|finding| finding.cause == Cause::NotConnected);
    if is_refused && !is_replaced && !is_told {
        let (about, help) = match (&facts.tokens[..], facts.key.as_deref()) {
            ([(credential, _), ..], _) => {
                (credential.as_str(), format!("wharfage connect {connection} --credential {credential}"))
            }
            ([], Some(key)) => (key, format!("wharfage secret set {connection} {key}")),
            ([], None) => ("", format!("wharfage explain {connection}")),
        };
        let message = "the provider did not accept the credential".to_owned();
        found.tell(Cause::CredentialRefused, HealthState::NeedsConnecting, about, message, help);
    }
}

/// A secret that was given so many days ago.
fn age(found: &mut Found, connection: &str, secret: &SecretState, days: u64) {
    let name = &secret.name;
    let help = format!("Draw a new one at the provider, then:   wharfage secret rotate {connection} {name}");
    let state = match secret.max_age_days.map(u64::from) {
        Some(most) if days >= most => HealthState::Degraded,
        Some(most) if days.saturating_add(KEY_NOTICE_DAYS) >= most => HealthState::Healthy,
        None if days >= u64::from(KEY_AGE_DAYS) => HealthState::Healthy,
        _ => return,
    };
    let message = match secret.max_age_days {
        Some(most) => format!("{name} is {days} days old, and its provider says {most}"),
        None => format!("{name} is {days} days old; replace it every {KEY_AGE_DAYS}"),
    };
    found.tell(Cause::KeyOld, state, name, message, help);
}

fn calls(found: &mut Found, facts: &Facts) {
    let Facts { connection, traffic, .. } = facts;
    for (origin, state) in &facts.circuits {
        let help = format!("It is asked again by itself. To look what it says:   wharfage health {connection}");
        match state {
            CircuitState::Open { until } => {
                let message = format!("{origin} keeps failing, and is not asked until {until}");
                let told = found.tell(Cause::BreakerOpen, HealthState::Unhealthy, origin, message, help);
                told.until = Some(*until);
            }
            CircuitState::HalfOpen => {
                let message = format!("{origin} kept failing; a few requests pass, to see how it is");
                found.tell(Cause::BreakerOpen, HealthState::Degraded, origin, message, help);
            }
            CircuitState::Closed => {}
        }
    }
    let (failing, answered) = (traffic.count(Sign::Failing), traffic.answered());
    if failing > 0 && failing * 100 > answered {
        let is_down = traffic.row() >= ROW || (traffic.row() > 0 && failing * 2 >= answered);
        let state = if is_down { HealthState::Unhealthy } else { HealthState::Degraded };
        let message = format!("{failing} of {} failed in the last 5 minutes", calls_of(answered));
        let help = format!("Look at the provider's status page; then:   wharfage health {connection}");
        found.tell(Cause::Failing, state, "", message, help);
    }
    if traffic.count(Sign::Stale) > 0 {
        let count = calls_of(traffic.count(Sign::Stale));
        let message = format!("{count} in the last 5 minutes got the last good answer instead of a new one");
        let help = format!("To be told instead:   [connections.{connection}] cache = {{ fall_back = false }}");
        found.tell(Cause::AnswersStale, HealthState::Degraded, "", message, help);
    }
    let slow = traffic.count(Sign::Slow);
    if slow > 0 && slow * 2 > answered {
        let message = format!("{slow} of {} took longer than 10 s in the last 5 minutes", calls_of(answered));
        let help = format!("See what they wait for:   wharfage -v call {connection} OPERATION");
        found.tell(Cause::Slow, HealthState::Degraded, "", message, help);
    }
    let forbidden = traffic.count(Sign::Forbidden);
    if forbidden > 0 {
        let message = format!("the credential may not do what {} asked for", calls_of(forbidden));
        let help = match &facts.tokens[..] {
            [] => "Give the key more rights at the provider, or call less".to_owned(),
            [(credential, _), ..] => {
                format!(
                    "If the account asks for too few scopes:   wharfage connect {connection} --credential {credential}"
                )
            }
        };
        found.tell(Cause::Forbidden, HealthState::Degraded, "", message, help);
    }
}

fn limits(found: &mut Found, facts: &Facts, now: Timestamp) {
    let Facts { connection, traffic, .. } = facts;
    const LONG_MS: u64 = 3_600_000;
    let help = format!("Ask less, or see what it may spend:   wharfage explain {connection}");
    let stopped = || facts.budgets.iter().filter(|(_, until, _)| *until > now);
    for (budget, until, window_ms) in stopped() {
        let cause = if *window_ms >= LONG_MS { Cause::QuotaExhausted } else { Cause::RateLimited };
        let message = format!("the provider said that the budget `{budget}` is spent until {until}");
        found.tell(cause, HealthState::Degraded, budget, message, help.clone()).until = Some(*until);
    }
    for (sign, cause, words) in [
        (Sign::Limited, Cause::RateLimited, "was too many for a budget"),
        (Sign::Quota, Cause::QuotaExhausted, "found a quota spent"),
    ] {
        let count = traffic.count(sign);
        if count > 0 && !found.0.iter().any(|finding| finding.cause == cause) {
            let words = if count == 1 { words.to_owned() } else { words.replacen("was", "were", 1) };
            let message = format!("{} in the last 5 minutes {words}", calls_of(count));
            found.tell(cause, HealthState::Degraded, "", message, help.clone());
        }
    }
    for (sign, cause, words) in [
        (Sign::Denied, Cause::PolicyDenied, "asked for what the connection does not grant"),
        (Sign::Limit, Cause::LimitReached, "reached a limit of the connection"),
    ] {
        let count = traffic.count(sign);
        if count > 0 {
            let message = format!("{} in the last 5 minutes {words}", calls_of(count));
            let help = format!("See what it grants:   wharfage explain {connection}");
            found.tell(cause, HealthState::Degraded, "", message, help);
        }
    }
}

fn plugin(found: &mut Found, facts: &Facts, now: Timestamp) {
    let Facts { connection, traffic, .. } = facts;
    let lately = facts.drifts.records.iter().filter(|drift| now.since(drift.last_seen) < DRIFT_MS);
    let (drifts, odd) = (lately.count(), traffic.count(Sign::Odd));
    if drifts > 0 || odd > 0 {
        let message = match (drifts, odd) {
            (0, odd) => format!("{} in the last 5 minutes got an answer that the plugin does not know", calls_of(odd)),
            (drifts, _) => format!("answers differ from their schema in {drifts} ways"),
        };
        let help = format!("Look at one, and for a newer plugin:   wharfage call {connection} OPERATION --json");
        found.tell(Cause::Drift, HealthState::Degraded, "", message, help);
    }
    let broken = traffic.count(Sign::Defect);
    if broken > 0 {
        let is_broken = traffic.last(Sign::Defect) > traffic.last(Sign::Well);
        let state = if is_broken { HealthState::Unhealthy } else { HealthState::Degraded };
        let message = format!("{} in the last 5 minutes ended in a defect of the plugin", calls_of(broken));
        let help = format!("Look at it, and tell the plugin's author:   wharfage -vv call {connection} OPERATION");
        found.tell(Cause::PluginFailing, state, "", message, help);
    }
    if facts.leaks > 0 {
        let message = format!("{} of the provider's answers held a secret, which was masked", facts.leaks);
        let help = format!("See which, with the next one:   wharfage -v call {connection} OPERATION");
        found.tell(Cause::Leaks, HealthState::Healthy, "", message, help);
    }
}

/// Nothing is healthy that nobody has seen.
fn freshness(found: &mut Found, facts: &Facts, now: Timestamp) {
    let Facts { connection, traffic, .. } = facts;
    let why = facts.probe.as_ref().and_then(|probe| probe.message.as_deref());
    let help = match (&facts.probes_with, why) {
        (Some(operation), Some(_)) => format!("See what it needs:   wharfage call {connection} {operation}"),
        (Some(_), None) => format!("wharfage health {connection}"),
        (None, _) => {
            format!("It cannot be probed over this connection. Call it:   wharfage call {connection} OPERATION")
        }
    };
    // What is known to be broken needs nobody to look.
    if found.worst() >= HealthState::Unhealthy {
        return;
    }
    match traffic.seen_at() {
        None => {
            let message = match why {
                Some(why) => format!("the probe ended before the provider was asked: {why}"),
                None => "nobody has called it yet".to_owned(),
            };
            found.tell(Cause::NoTraffic, HealthState::Unknown, "", message, help);
        }
        Some(seen) if now.since(seen) > FRESH_MS => {
            let message = format!("the provider was seen last at {seen}");
            found.tell(Cause::StaleReading, HealthState::Unknown, "", message, help);
        }
        Some(_) => {}
    }
}

fn calls_of(count: u64) -> String {
    if count == 1 { "1 call".to_owned() } else { format!("{count} calls") }
}

#[cfg(test)]
mod tests;
