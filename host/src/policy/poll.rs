//! `[connections.<name>.polls.<poll>]`: what an operator states about a polled trigger.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::event::PollStart;
use crate::manifest::{EVERY_S_MAX, PollFacts, json_of};
#[cfg(feature = "serve")]
use crate::policy::schedule::Schedule;

/// `[connections.<name>.polls.<poll>]` of a `wharfage.toml`: this polled trigger runs.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PollPolicy {
    /// Seconds from one run to the next; what the manifest says where nothing is stated.
    pub every_s: Option<u64>,
    /// Instead: when it runs, as a cron pattern of five fields, `0 6 * * MON-FRI`.
    pub cron: Option<String>,
    /// The time zone of the pattern, as `Europe/Berlin`; UTC where nothing is stated.
    pub timezone: Option<String>,
    /// Where it begins: `"from-now"`, `{ backfill = 100 }` or `"all"`.
    pub first: PollStart,
    /// How late a run may be, in percent of the time between two, so that not everybody comes at once; a minute at most.
    pub jitter_percent: u8,
    /// How many pages one run may take to catch up. The next run goes on.
    pub pages_max: u32,
    /// What the plugin is handed with it: what to watch, in the plugin's words.
    pub input: BTreeMap<String, toml::Value>,
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            every_s: None,
            cron: None,
            timezone: None,
            first: PollStart::FromNow,
            jitter_percent: 10,
            pages_max: 100,
            input: BTreeMap::new(),
        }
    }
}

impl PollPolicy {
    /// What is wrong with it by itself, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.every_s.is_some() && self.cron.is_some() {
            return Err("has `every_s` and `cron`; one of them says when it runs".to_owned());
        }
        if self.every_s.is_some_and(|every_s| !(1..=EVERY_S_MAX).contains(&every_s)) {
            return Err(format!("has an every_s that is not of 1 to {EVERY_S_MAX}"));
        }
        if self.timezone.is_some() && self.cron.is_none() {
            return Err("has a `timezone`, which only `cron` makes use of".to_owned());
        }
        if self.jitter_percent > 100 {
            return Err("has a jitter_percent that is not of 0 to 100".to_owned());
        }
        if self.pages_max == 0 {
            return Err("has a pages_max of 0, which would let nothing pass; leave it out for the default".to_owned());
        }
        if self.first == PollStart::Backfill(0) {
            return Err("has a backfill of 0; write first = \"from-now\"".to_owned());
        }
        #[cfg(feature = "serve")]
        if let Some(pattern) = &self.cron {
            Schedule::cron(pattern, self.zone())?;
        }
        self.input_json().map(|_| ())
    }

    /// What is wrong with it for a poll of these facts, if anything is.
    pub(crate) fn check_against(&self, facts: &PollFacts) -> Result<(), String> {
        match self.every_s {
            Some(every_s) if every_s < facts.least_s => Err(format!(
                "has every_s = {every_s}; the plugin allows no less than {} seconds. Write every_s = {} or more",
                facts.least_s, facts.least_s
            )),
            _ => Ok(()),
        }
    }

    /// When it runs.
    ///
    /// # Errors
    /// A sentence that says what does not fit.
    #[cfg(feature = "serve")]
    pub(crate) fn schedule(&self, facts: &PollFacts) -> Result<Schedule, String> {
        self.check()?;
        self.check_against(facts)?;
        let schedule = match &self.cron {
            Some(pattern) => Schedule::cron(pattern, self.zone())?,
            None => Schedule::every(self.every_s.unwrap_or(facts.every_s).saturating_mul(1000)),
        };
        let least_ms = facts.least_s.saturating_mul(1000);
        Ok(schedule.least(least_ms).jitter(f64::from(self.jitter_percent) / 100.0))
    }

    /// The input as the plugin gets it.
    pub(crate) fn input_json(&self) -> Result<Map<String, Value>, String> {
        let read = |(name, value): (&String, &toml::Value)| {
            let value = json_of(value).map_err(|why| format!("has an input.{name} that is no JSON: {why}"))?;
            Ok((name.clone(), value))
        };
        self.input.iter().map(read).collect()
    }

    #[cfg(feature = "serve")]
    fn zone(&self) -> &str {
        self.timezone.as_deref().unwrap_or("UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> PollFacts {
        toml::from_str("every_s = 60\nleast_s = 30\nsource = 's'\ndate = '2026-11-24'").unwrap()
    }

    fn policy(text: &str) -> PollPolicy {
        toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn nothing_stated_is_the_plugins_pace_from_now_on() {
        let policy = policy("");
        policy.check().unwrap();
        assert_eq!((policy.first, policy.jitter_percent, policy.pages_max), (PollStart::FromNow, 10, 100));
        #[cfg(feature = "serve")]
        {
            use crate::time::Timestamp;
            let schedule = policy.schedule(&facts()).unwrap();
            assert_eq!(schedule.after(Timestamp::from_millis(5)), Timestamp::from_millis(60_005));
        }
    }

    #[test]
    fn a_beginning_is_read() {
        assert_eq!(policy("first = 'from-now'").first, PollStart::FromNow);
        assert_eq!(policy("first = { backfill = 20 }").first, PollStart::Backfill(20));
        assert_eq!(policy("first = 'all'").first, PollStart::All);
        assert!(toml::from_str::<PollPolicy>("first = 'yesterday'").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_a_sentence() {
        for (text, why) in [
            ("every_s = 60\ncron = '* * * * *'", "one of them"),
            ("every_s = 0", "every_s"),
            ("timezone = 'UTC'", "only `cron`"),
            ("jitter_percent = 101", "0 to 100"),
            ("pages_max = 0", "pages_max"),
            ("first = { backfill = 0 }", "from-now"),
        ] {
            let error = policy(text).check().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        #[cfg(feature = "serve")]
        for (text, why) in
            [("cron = 'x'", "minute, hour"), ("cron = '* * * * *'\ntimezone = 'Berlin'", "Europe/Berlin")]
        {
            let error = policy(text).check().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = policy("every_s = 10").check_against(&facts()).unwrap_err();
        assert!(error.contains("every_s = 30 or more"), "{error}");
    }

    #[test]
    fn the_input_is_json() {
        let input = policy("[input]\naddresses = ['a', 'b']\nwith = { tokens = true }").input_json().unwrap();
        assert_eq!(Value::Object(input).to_string(), r#"{"addresses":["a","b"],"with":{"tokens":true}}"#);
    }
}
