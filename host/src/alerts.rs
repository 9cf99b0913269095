//! Alerts: when a rule fires, what it says, what to do about it. They come from [`Config::alerts`](crate::Config::alerts)
//! and `Host::alerts`; [`prometheus_rules`] is the same for whoever alerts by metrics.
//!
//! Rules are data, with the thresholds that `[alerts]` of a `wharfage.toml` may change. The same table is watched inside
//! the host and written down as a rules file for Prometheus, so that both say the same. What to do about each stands in
//! the runbook, which the program carries.

#[cfg(feature = "serve")]
pub(crate) mod evaluate;
pub(crate) mod prometheus;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::policy::sink::SinkPolicy;
use crate::text::{shown, suggestion};
use crate::time::Timestamp;

pub use self::prometheus::prometheus_rules;

/// What to do about every alert and every cause of bad health.
pub const RUNBOOK: &str = include_str!("../RUNBOOK.md");

/// The longest time that a rule may look back or wait, in seconds.
const TIME_S_MAX: u64 = 604_800;

/// The shortest window, in seconds: a few readings.
const WINDOW_S_MIN: u64 = 60;

/// Kinds of errors after which a call was not served, whatever the caller and the operator did.
pub(crate) const UNAVAILABLE: [&str; 7] =
    ["transient", "timeout", "deadline", "network", "outcome-unknown", "circuit-open", "schema-violation"];

/// Kinds of errors that are an answer: there is no such thing, or nobody waited any more.
pub(crate) const NO_ERROR: [&str; 2] = ["not-found", "cancelled"];

/// What is watched. Each has its thresholds under its name in `[alerts]`, and its heading in the runbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertRule {
    /// Too many calls of an operation are not served.
    Availability,
    /// An operation is slower than it was.
    Latency,
    /// Too many calls of an operation fail.
    Errors,
    /// The provider says "too many requests" more than now and then.
    RateLimited,
    /// A poll, or an operation that is called, has not succeeded for too long.
    Stale,
    /// An origin is not asked, because it keeps failing.
    BreakerOpen,
    /// A person must connect an account.
    NeedsConnecting,
    /// Events were given up.
    DeadLetters,
    /// A sink is asked no more.
    SinkDisabled,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertSeverity {
    /// Somebody gets up for it.
    Critical,
    /// Somebody looks at it in the morning.
    Warning,
}

/// What an alert is about, beside its connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertSubject {
    /// An operation of the connection's plugin.
    Operation(String),
    /// A polled trigger.
    Poll(String),
    /// An origin.
    Origin(String),
    /// A credential.
    Credential(String),
    /// A sink, which has no connection.
    Sink(String),
    /// What arrived for the connection.
    Arrivals,
}

/// An alert as it stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// The rule.
    pub rule: AlertRule,
    /// The connection; nothing where it is about a sink.
    pub connection: Option<String>,
    /// The connection's plugin, where it has one.
    pub plugin: Option<String>,
    /// What of it.
    pub subject: AlertSubject,
    /// Whether it fires, or is about to.
    pub state: AlertState,
    /// Since when what it is about holds.
    pub since: Timestamp,
    /// What was measured last, in the rule's unit.
    pub value: f64,
    /// Beyond what it fires.
    pub threshold: f64,
    /// Why, where somebody said so.
    pub why: Option<String>,
}

/// How an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// What it is about holds, and not yet for as long as the rule wants.
    Pending,
    /// It is told.
    Firing,
    /// It was, and is over.
    Resolved,
}

/// A number of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct AlertLimit {
    /// The rule.
    pub rule: AlertRule,
    /// The key below the rule's name.
    pub name: &'static str,
    /// What holds.
    pub value: f64,
    /// What holds where nothing is said.
    pub default: f64,
    /// What it is.
    pub about: &'static str,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])* $field:ident $rule:ident $policy:ident {
        $($name:ident: $type:ty = $default:expr, $about:literal;)*
    })*) => {
        /// `[alerts]` of a `wharfage.toml`: what is watched while `wharfage serve` runs, and who is told.
        ///
        /// ```toml
        /// [alerts]
        /// sink = "ops"                          # of [sinks]; without one, alerts stand in the log and the console only
        /// errors = { above_percent = 2 }        # each rule has its thresholds, a window, and a time before it fires
        /// latency = { sink = "tickets" }
        /// stale = { enabled = false }
        /// ```
        #[derive(Clone, Debug, Deserialize, PartialEq)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct AlertPolicy {
            /// Whether anything is watched.
            pub enabled: bool,
            /// The sink that is told, where a rule names no other.
            pub sink: Option<String>,
            /// Alerts that are told as firing at once; what is beyond them stands in the log.
            pub firing_max: u64,
            $($(#[doc = $doc])* pub $field: $policy,)*
        }

        impl Default for AlertPolicy {
            fn default() -> Self {
                Self { enabled: true, sink: None, firing_max: FIRING_MAX, $($field: $policy::default(),)* }
            }
        }

        $(
            $(#[doc = $doc])*
            #[derive(Clone, Debug, Deserialize, PartialEq)]
            #[serde(deny_unknown_fields, default)]
            #[non_exhaustive]
            pub struct $policy {
                /// Whether it is watched.
                pub enabled: bool,
                /// The sink that is told of it.
                pub sink: Option<String>,
                $(#[doc = $about] pub $name: $type,)*
            }

            impl Default for $policy {
                fn default() -> Self {
                    Self { enabled: true, sink: None, $($name: $default,)* }
                }
            }
        )*

        impl AlertPolicy {
            /// Every number of every rule: what holds, the default, and what it is.
            #[allow(clippy::unnecessary_cast, reason = "some are floats already")]
            pub fn all(&self) -> Vec<AlertLimit> {
                let default = Self::default();
                vec![$($(AlertLimit {
                    rule: AlertRule::$rule,
                    name: stringify!($name),
                    value: self.$field.$name as f64,
                    default: default.$field.$name as f64,
                    about: $about,
                },)*)*]
            }

            /// Whether a rule is watched.
            pub fn is_watched(&self, rule: AlertRule) -> bool {
                self.enabled && match rule { $(AlertRule::$rule => self.$field.enabled,)* }
            }

            /// The sink that is told of a rule.
            pub fn sink_of(&self, rule: AlertRule) -> Option<&str> {
                let own = match rule { $(AlertRule::$rule => &self.$field.sink,)* };
                own.as_ref().or(self.sink.as_ref()).map(String::as_str)
            }

            /// How long a rule's condition must hold before it fires, and must be over before it is resolved, in
            /// milliseconds.
            pub(crate) fn times_ms(&self, rule: AlertRule) -> (u64, u64) {
                let (for_s, clear_s) = match rule { $(AlertRule::$rule => (self.$field.for_s, self.$field.clear_s),)* };
                (for_s.saturating_mul(1_000), clear_s.saturating_mul(1_000))
            }
        }

        impl AlertRule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule),*];

            /// Its name: the key in `[alerts]`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => stringify!($field),)* }
            }

            /// Its name in a rules file of Prometheus, without what all begin with.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$rule => stringify!($rule),)* }
            }
        }
    };
}

/// Alerts that are told as firing at once where nothing is said.
const FIRING_MAX: u64 = 100;

rules! {
    /// Availability: calls of an operation that were served, in percent.
    availability Availability AvailabilityAlert {
        below_percent: f64 = 99.9, "Percent of calls served, below which it fires.";
        window_s: u64 = 3_600, "Seconds that are looked at.";
        calls_min: u64 = 20, "Calls in them, below which nothing is said.";
        failures_min: u64 = 5, "Calls not served in them, below which nothing is said.";
        for_s: u64 = 60, "Seconds that it must hold before it fires.";
        clear_s: u64 = 300, "Seconds that it must be over before it is resolved.";
    }
    /// Latency: the 95th percentile of an operation against what is normal for it.
    latency Latency LatencyAlert {
        times_normal: f64 = 2.0, "Times the normal 95th percentile, beyond which it fires.";
        window_s: u64 = 600, "Seconds whose 95th percentile is looked at.";
        normal_s: u64 = 86_400, "Seconds before them whose median is normal.";
        normal_seen_s: u64 = 3_600, "Seconds of these that must have been seen.";
        calls_min: u64 = 20, "Calls in a window, below which nothing is said.";
        least_ms: u64 = 100, "Milliseconds of the 95th percentile that are never slow.";
        for_s: u64 = 300, "Seconds that it must hold before it fires.";
        clear_s: u64 = 600, "Seconds that it must be over before it is resolved.";
    }
    /// Errors: calls of an operation that failed, in percent.
    errors Errors ErrorsAlert {
        above_percent: f64 = 1.0, "Percent of calls that failed, beyond which it fires.";
        window_s: u64 = 300, "Seconds that are looked at.";
        calls_min: u64 = 20, "Calls in them, below which nothing is said.";
        failures_min: u64 = 3, "Failed calls in them, below which nothing is said.";
        for_s: u64 = 120, "Seconds that it must hold before it fires.";
        clear_s: u64 = 300, "Seconds that it must be over before it is resolved.";
    }
    /// Rate limits: answers 429 for a hundred calls of an operation.
    rate_limited RateLimited RateLimitedAlert {
        above_percent: f64 = 0.5, "Answers 429 for a hundred calls, beyond which it fires.";
        window_s: u64 = 900, "Seconds that are looked at.";
        calls_min: u64 = 20, "Calls in them, below which nothing is said.";
        answers_min: u64 = 3, "Answers 429 in them, below which nothing is said.";
        for_s: u64 = 120, "Seconds that it must hold before it fires.";
        clear_s: u64 = 600, "Seconds that it must be over before it is resolved.";
    }
    /// Freshness: how old what a poll or an operation got last may be. A poll that is not due is as fresh as it should be,
    /// and so is an operation that nobody called meanwhile.
    stale Stale StaleAlert {
        above_s: u64 = 3_600, "Seconds since the last success, beyond which it fires.";
        for_s: u64 = 300, "Seconds that it must hold before it fires.";
        clear_s: u64 = 60, "Seconds that it must be over before it is resolved.";
    }
    /// Breakers: how long an origin was not asked.
    breaker_open BreakerOpen BreakerOpenAlert {
        above_percent: f64 = 50.0, "Percent of the window that the breaker was open, beyond which it fires.";
        window_s: u64 = 300, "Seconds that are looked at.";
        for_s: u64 = 120, "Seconds that it must hold before it fires.";
        clear_s: u64 = 120, "Seconds that it must be over before it is resolved.";
    }
    /// Accounts that a person must connect.
    needs_connecting NeedsConnecting NeedsConnectingAlert {
        for_s: u64 = 60, "Seconds that it must hold before it fires.";
        clear_s: u64 = 60, "Seconds that it must be over before it is resolved.";
    }
    /// Events that were given up.
    dead_letters DeadLetters DeadLettersAlert {
        above: u64 = 0, "Events given up in the window, beyond which it fires.";
        window_s: u64 = 3_600, "Seconds that are looked at.";
        for_s: u64 = 0, "Seconds that it must hold before it fires.";
        clear_s: u64 = 0, "Seconds that it must be over before it is resolved.";
    }
    /// Sinks that are asked no more.
    sink_disabled SinkDisabled SinkDisabledAlert {
        for_s: u64 = 0, "Seconds that it must hold before it fires.";
        clear_s: u64 = 60, "Seconds that it must be over before it is resolved.";
    }
}

impl AlertRule {
    /// The rule of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// How much it matters.
    pub const fn severity(self) -> AlertSeverity {
        match self {
            Self::Availability | Self::BreakerOpen | Self::NeedsConnecting | Self::SinkDisabled => {
                AlertSeverity::Critical
            }
            _ => AlertSeverity::Warning,
        }
    }

    /// What its values are counted in.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Availability | Self::Errors | Self::RateLimited | Self::BreakerOpen => "percent",
            Self::Latency => "ms",
            Self::Stale => "s",
            Self::DeadLetters => "events",
            Self::NeedsConnecting | Self::SinkDisabled => "",
        }
    }

    /// Where the runbook says what to do.
    pub fn runbook(self) -> String {
        format!("RUNBOOK.md#alert-{}", self.name())
    }
}

impl AlertSeverity {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
        }
    }
}

impl AlertState {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl AlertSubject {
    /// What kind of thing it is, and its name.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Operation(name) => ("operation", name),
            Self::Poll(name) => ("poll", name),
            Self::Origin(name) => ("origin", name),
            Self::Credential(name) => ("credential", name),
            Self::Sink(name) => ("sink", name),
            Self::Arrivals => ("arrivals", ""),
        }
    }
}

impl Alert {
    /// In a sentence, without a full stop: what it is about, what was measured, and what it is measured by.
    pub fn summary(&self) -> String {
        let (kind, name) = self.subject.parts();
        let connection = self.connection.as_deref().map(shown).unwrap_or_default();
        let about = match &self.subject {
            AlertSubject::Operation(name) => format!("{} of {connection}", shown(name)),
            AlertSubject::Arrivals => format!("what arrives for {connection}"),
            AlertSubject::Sink(name) => format!("the sink {}", shown(name)),
            _ => format!("{kind} {} of {connection}", shown(name)),
        };
        let (value, threshold) = (number(self.value), number(self.threshold));
        let why = self.why.as_deref().map(|why| format!(": {}", shown(why))).unwrap_or_default();
        match self.rule {
            AlertRule::Availability => format!("{about}: {value} % of calls are served, less than {threshold} %"),
            AlertRule::Latency => format!("{about}: the 95th percentile is {value} ms, more than {threshold} ms"),
            AlertRule::Errors => format!("{about}: {value} % of calls fail, more than {threshold} %"),
            AlertRule::RateLimited => {
                format!("{about}: {value} answers 429 for a hundred calls, more than {threshold}")
            }
            AlertRule::Stale => format!("{about}: the last success is {value} s old, more than {threshold} s"),
            AlertRule::BreakerOpen => {
                format!("{about}: the breaker was open {value} % of the time, more than {threshold} %")
            }
            AlertRule::NeedsConnecting => format!("{about}: a person must connect the account{why}"),
            AlertRule::DeadLetters => format!("{about}: {value} events were given up, more than {threshold}"),
            AlertRule::SinkDisabled => format!("{about} is asked no more{why}"),
        }
    }
}

/// A number as people write it: at most two digits behind the point.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What keeps a threshold from its neighbour by a rounding error is not there.
fn exact(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

impl AlertPolicy {
    /// Reads the keys below `[alerts]`, as an embedder writes them.
    ///
    /// # Errors
    /// [`Kind::Configuration`](crate::Kind::Configuration) with what was expected.
    pub fn parse(text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text).map_err(|error| {
            let help = crate::text::shown_lines(&error.to_string());
            Error::configuration("the alerts cannot be read").with_details(help)
        })?;
        policy.check()?;
        Ok(policy)
    }

    /// Refuses what could never fire, or always would.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: String, right: String| {
            Err(Error::configuration(format!("alerts.{key} {why}"))
                .with_details(format!("In [alerts], write {right}, or leave it out for the default")))
        };
        if self.firing_max == 0 {
            let why = "is 0, which would let nothing pass".to_owned();
            return wrong("firing_max", why, format!("firing_max = {FIRING_MAX}"));
        }
        for AlertLimit { rule, name, value, default, .. } in self.all() {
            let rule = rule.name();
            let unit = name.rsplit('_').next().unwrap_or_default();
            let (least, most) = match (name, unit) {
                ("for_s" | "clear_s", _) => (0.0, TIME_S_MAX as f64),
                (_, "s") => (WINDOW_S_MIN as f64, TIME_S_MAX as f64),
                // Each call may be tried several times, and each try may be answered 429.
                (_, "percent") if rule == AlertRule::RateLimited.name() => (0.0, f64::MAX),
                (_, "percent") => (0.0, 100.0),
                ("times_normal", _) => (1.0, 1_000.0),
                ("above", _) => (0.0, f64::MAX),
                _ => (1.0, f64::MAX),
            };
            // What is no number is in no range.
            if !(least..=most).contains(&value) {
                let most = if most < f64::MAX { format!(" to {}", number(most)) } else { " or more".to_owned() };
                let why = format!("= {} is not of {}{most}", number(value), number(least));
                return wrong(&format!("{rule}.{name}"), why, format!("{rule} = {{ {name} = {} }}", number(default)));
            }
            // It fires beyond it, and no share is below 0 or above 100.
            let never = match name {
                "above_percent" if most == 100.0 => most,
                "below_percent" => 0.0,
                _ => continue,
            };
            if value == never {
                let why = format!("= {} could never fire", number(value));
                return wrong(&format!("{rule}.{name}"), why, format!("{rule} = {{ {name} = {} }}", number(default)));
            }
        }
        let LatencyAlert { window_s, normal_s, normal_seen_s, .. } = self.latency;
        if normal_s < window_s.saturating_mul(6) {
            let why = format!("= {normal_s} is less than six windows of {window_s} s, which is too few to be normal");
            let right = format!("latency = {{ normal_s = {} }}", window_s.saturating_mul(6));
            return wrong("latency.normal_s", why, right);
        }
        if normal_seen_s > normal_s {
            let why = format!("= {normal_seen_s} is more than normal_s = {normal_s}, so it would never be seen");
            return wrong("latency.normal_seen_s", why, format!("latency = {{ normal_seen_s = {normal_s} }}"));
        }
        Ok(())
    }

    /// Refuses a sink that is not there.
    pub(crate) fn check_sinks(&self, sinks: &BTreeMap<String, SinkPolicy>) -> Result<()> {
        let rules = AlertRule::ALL.iter().map(|rule| (format!("alerts.{}.sink", rule.name()), self.sink_of(*rule)));
        let own = (String::from("alerts.sink"), self.sink.as_deref());
        for (key, sink) in [own].into_iter().chain(rules) {
            if let Some(sink) = sink.filter(|sink| !sinks.contains_key(*sink)) {
                let names: Vec<&str> = sinks.keys().map(String::as_str).collect();
                let sink = shown(sink);
                let help = match names.is_empty() {
                    true => format!("Add it:   [sinks.{sink}] kind = \"stdout\""),
                    false => suggestion(&sink, &names),
                };
                let message = format!("{key} names the sink `{sink}`, which [sinks] does not hold");
                return Err(Error::configuration(message).with_details(help));
            }
        }
        Ok(())
    }
}

/// What the runbook says under the heading of an alert, of a cause of bad health or of what keeps a host from being ready;
/// nothing where there is none of that name.
pub fn runbook(name: &str) -> Option<&'static str> {
    let heading = |line: &str| {
        let rest =
            ["Alert", "Cause", "Hindrance"].iter().find_map(|kind| line.strip_prefix(&format!("### {kind} `")))?;
        rest.strip_suffix('`').map(ToOwned::to_owned)
    };
    let mut at = 0;
    let mut begins = None;
    for line in RUNBOOK.split_inclusive('\n') {
        let text = line.trim_end();
        match begins {
            None if heading(text).as_deref() == Some(name) => begins = Some(at),
            Some(begins) if text.starts_with("## ") || text.starts_with("### ") => {
                return Some(RUNBOOK[begins..at].trim_end());
            }
            _ => {}
        }
        at += line.len();
    }
    begins.map(|begins| RUNBOOK[begins..].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_thresholds_are_the_defaults() {
        let policy = AlertPolicy::default();
        policy.check().unwrap();
        assert_eq!(policy.availability.below_percent, 99.9);
        assert_eq!(policy.latency.times_normal, 2.0);
        assert_eq!(policy.errors.above_percent, 1.0);
        assert_eq!(policy.stale.above_s, 3_600);
        assert!(policy.rate_limited.above_percent < 1.0);
        assert_eq!(AlertPolicy::parse("").unwrap(), policy);
    }

    #[test]
    fn every_number_has_a_unit_a_default_and_a_sentence() {
        let policy = AlertPolicy::default();
        for limit in policy.all() {
            assert_eq!(limit.value, limit.default);
            assert!(limit.about.ends_with('.'), "{}.{}", limit.rule.name(), limit.name);
            let has_unit = ["_s", "_ms", "_percent", "_min", "_normal"].iter().any(|unit| limit.name.ends_with(unit));
            assert!(has_unit || limit.name == "above", "{}.{}", limit.rule.name(), limit.name);
        }
        for &rule in AlertRule::ALL {
            assert_eq!(AlertRule::named(rule.name()), Some(rule));
            assert!(policy.is_watched(rule) && policy.sink_of(rule).is_none());
            let written = serde_json::to_value(rule).unwrap();
            assert_eq!(written, rule.name(), "the store and the file have one name for it");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_line_that_would() {
        for (wrong, told, right) in [
            (
                "errors = { above_percent = 101 }",
                "alerts.errors.above_percent = 101 is not of 0 to 100",
                "above_percent = 1",
            ),
            (
                "errors = { above_percent = 100 }",
                "alerts.errors.above_percent = 100 could never fire",
                "errors = { above_percent = 1 }",
            ),
            ("breaker_open = { above_percent = 100 }", "= 100 could never fire", "above_percent = 50"),
            ("availability = { below_percent = 0 }", "= 0 could never fire", "below_percent = 99.9"),
            ("rate_limited = { above_percent = -1 }", "= -1 is not of 0 or more", "above_percent = 0.5"),
            ("errors = { above_percent = nan }", "alerts.errors.above_percent", "errors = { above_percent = 1 }"),
            ("latency = { times_normal = 0.5 }", "alerts.latency.times_normal", "times_normal = 2"),
            ("latency = { normal_s = 1200 }", "less than six windows of 600 s", "normal_s = 3600"),
            ("latency = { normal_seen_s = 604800 }", "would never be seen", "normal_seen_s = 86400"),
            ("errors = { window_s = 5 }", "is not of 60 to 604800", "window_s = 300"),
            ("errors = { calls_min = 0 }", "is not of 1 or more", "calls_min = 20"),
            ("firing_max = 0", "alerts.firing_max is 0", "firing_max = 100"),
            ("errors = { window_ms = 5 }", "cannot be read", "window_ms"),
            ("eror = {}", "cannot be read", "eror"),
        ] {
            let error = AlertPolicy::parse(wrong).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(right), "{wrong}: {error}");
        }
        // A hundred calls may be tried more than a hundred times.
        AlertPolicy::parse("rate_limited = { above_percent = 150 }").unwrap();
    }

    #[test]
    fn a_rule_may_be_off_and_tell_somebody_else() {
        let policy =
            AlertPolicy::parse("sink = 'ops'\nlatency = { sink = 'tickets' }\nstale = { enabled = false }").unwrap();
        assert_eq!(policy.sink_of(AlertRule::Errors), Some("ops"));
        assert_eq!(policy.sink_of(AlertRule::Latency), Some("tickets"));
        assert!(!policy.is_watched(AlertRule::Stale) && policy.is_watched(AlertRule::Latency));
        let off = AlertPolicy::parse("enabled = false").unwrap();
        assert!(AlertRule::ALL.iter().all(|rule| !off.is_watched(*rule)));
        let sinks = |names: &[&str]| -> BTreeMap<String, SinkPolicy> {
            names.iter().map(|name| ((*name).to_owned(), SinkPolicy::parse("kind = 'stdout'").unwrap())).collect()
        };
        policy.check_sinks(&sinks(&["ops", "tickets"])).unwrap();
        let error = policy.check_sinks(&sinks(&["ops", "ticket"])).unwrap_err().to_string();
        assert!(error.contains("alerts.latency.sink names the sink `tickets`") && error.contains("ticket?"), "{error}");
        let error = policy.check_sinks(&sinks(&[])).unwrap_err().to_string();
        assert!(error.contains("[sinks.ops] kind = \"stdout\""), "{error}");
    }

    /// What a provider or a plugin said does not act on whoever reads it.
    #[test]
    fn a_summary_shows_what_is_there() {
        let alert = Alert {
            rule: AlertRule::NeedsConnecting,
            connection: Some("acme\u{1b}[2J".into()),
            plugin: None,
            subject: AlertSubject::Credential("user".into()),
            state: AlertState::Firing,
            since: Timestamp::default(),
            value: 1.0,
            threshold: 0.0,
            why: Some("no\u{202e} consent\n".into()),
        };
        let summary = alert.summary();
        assert!(summary.starts_with("credential user of acme") && summary.contains("consent"), "{summary}");
        assert!(!summary.contains(['\u{1b}', '\u{202e}', '\n']), "{summary:?}");
        assert_eq!([number(2.0), number(12.5), number(0.126)], ["2", "12.5", "0.13"]);
    }

    #[test]
    fn every_rule_has_its_heading_in_the_runbook() {
        for rule in AlertRule::ALL {
            let text = runbook(rule.name()).unwrap_or_else(|| panic!("no heading for {}", rule.name()));
            assert!(text.starts_with(&format!("### Alert `{}`", rule.name())), "{text}");
            assert!(rule.runbook().ends_with(&format!("#alert-{}", rule.name())));
            assert_eq!(text.matches("### ").count(), 1, "{text}");
            for part in ["**It means**", "**Look at**", "**Type**", "**It is over**"] {
                assert!(text.contains(part), "{} does not say: {part}", rule.name());
            }
        }
        assert_eq!(runbook("no-such-thing"), None);
    }
}
