//! When a polled trigger is due. Pure: the time of the last run makes the time of the next.
//!
//! A run that was missed is made up for once: whatever was missed, the next run is the first one after the last. Cron
//! patterns follow the wall clock of a time zone, by Vixie's rules where it is changed: a fixed time that is skipped runs
//! right after the change, one that comes twice runs the first time, and a pattern of intervals goes on with the hours
//! that pass.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;

use crate::text::shown;
use crate::time::Timestamp;

/// When runs are due.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    /// No two runs are nearer to each other.
    least_ms: u64,
    /// The share of the time between two runs by which one may be late.
    jitter: f64,
}

#[derive(Clone, Debug)]
enum Pace {
    Every { ms: u64 },
    Cron { pattern: Box<Cron>, zone: TimeZone },
}

/// Most that a run is late for jitter's sake.
const JITTER_MS_MAX: u64 = 60_000;

/// Most characters of a cron pattern.
const CRON_CHARS_MAX: usize = 256;

/// 2026-01-01T00:00:00Z, from which a pattern must come due at all.
const SOME_DAY: Timestamp = Timestamp::from_millis(1_767_225_600_000);

impl Schedule {
    /// A run every so many milliseconds.
    pub(crate) fn every(ms: u64) -> Self {
        Self { pace: Pace::Every { ms: ms.max(1) }, least_ms: 1, jitter: 0.0 }
    }

    /// Runs at the times of a cron pattern of five fields (minute, hour, day, month, weekday) in a time zone.
    ///
    /// # Errors
    /// A sentence that says what does not fit, to follow the name of what holds the pattern.
    pub(crate) fn cron(pattern: &str, zone: &str) -> Result<Self, String> {
        let written = shown(pattern);
        if pattern.len() > CRON_CHARS_MAX {
            return Err(format!("has a cron pattern of more than {CRON_CHARS_MAX} characters"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(pattern).map_err(|error| {
            format!("has the cron pattern `{written}`: {}. Write minute, hour, day, month and weekday, as cron = \"0 6 * * MON-FRI\"", shown(&error.to_string()))
        })?;
        let zone = TimeZone::get(zone).map_err(|_| {
            format!("has the timezone `{}`, which is none. Write timezone = \"Europe/Berlin\"", shown(zone))
        })?;
        let schedule = Self { pace: Pace::Cron { pattern: Box::new(pattern), zone }, least_ms: 1, jitter: 0.0 };
        match schedule.after(SOME_DAY) {
            Timestamp::MAX => Err(format!("has the cron pattern `{written}`, a time that never comes")),
            _ => Ok(schedule),
        }
    }

    /// With no two runs nearer to each other than this.
    pub(crate) fn least(mut self, ms: u64) -> Self {
        self.least_ms = ms.max(1);
        self
    }

    /// With runs that are late by up to this share of the time between two, and by no more than a minute.
    pub(crate) fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// When the run after the one at `ran` is due: always later than that, and the end of time if there is none.
    pub(crate) fn after(&self, ran: Timestamp) -> Timestamp {
        let due = match &self.pace {
            Pace::Every { ms } => ran.plus(*ms),
            Pace::Cron { pattern, zone } => occurrence(pattern, zone, ran).unwrap_or(Timestamp::MAX),
        };
        due.max(ran.plus(self.least_ms))
    }

    /// The same, late by a share that `die` says: from -1 to 1, drawn evenly.
    pub(crate) fn after_with_jitter(&self, ran: Timestamp, die: f64) -> Timestamp {
        let due = self.after(ran);
        let between = match self.pace {
            Pace::Every { ms } => ms,
            // From the due time on: the time since the last run may be a fraction of what lies between two.
            Pace::Cron { .. } => self.after(due).since(due),
        };
        due.plus(share_of(between, self.jitter * (die + 1.0) / 2.0).min(JITTER_MS_MAX))
    }
}

fn occurrence(pattern: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let after = i64::try_from(after.as_millis()).ok()?;
    let after = jiff::Timestamp::from_millisecond(after).ok()?.to_zoned(zone.clone());
    let next = pattern.find_next_occurrence(&after, false).ok()?;
    u64::try_from(next.timestamp().as_millisecond()).ok().map(Timestamp::from_millis)
}

/// This share of so many milliseconds.
fn share_of(ms: u64, share: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a delay needs no more than a double's 53 bits")]
    let scaled = (ms as f64 * share).round().max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and a cast saturates")]
    let scaled = scaled as u64;
    scaled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        // Half an hour only.
        "Australia/Lord_Howe",
        // Changes at midnight.
        "America/Havana",
        "Asia/Beirut",
        // Goes back for a month in spring.
        "Africa/Casablanca",
        "Asia/Kathmandu",
    ];

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn next(pattern: &str, zone: &str, after: &str) -> String {
        Schedule::cron(pattern, zone).unwrap().after(at(after)).to_string()
    }

    fn civil(at: Timestamp, zone: &str) -> jiff::civil::DateTime {
        let zone = TimeZone::get(zone).unwrap();
        let at = i64::try_from(at.as_millis()).unwrap();
        jiff::Timestamp::from_millisecond(at).unwrap().to_zoned(zone).datetime()
    }

    #[test]
    fn a_fixed_time_that_is_skipped_runs_right_after() {
        // Berlin's clocks go from 2:00 to 3:00 on 2026-03-29, which is 01:00 UTC.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
    }

    #[test]
    fn a_fixed_time_that_comes_twice_runs_once() {
        // Berlin's clocks go from 3:00 to 2:00 on 2026-10-25, which is 01:00 UTC.
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn a_pattern_that_makes_no_sense_is_refused() {
        for (pattern, zone, why) in [
            ("", "UTC", "minute, hour"),
            ("* * * *", "UTC", "minute, hour"),
            ("* * * * * *", "UTC", "minute, hour"),
            ("61 * * * *", "UTC", "minute, hour"),
            ("0 0 30 2 *", "UTC", "never comes"),
            ("0 6 * * *", "Mars/Olympus", "Europe/Berlin"),
            ("\u{1b}[31m * * * *", "UTC", "\u{fffd}[31m"),
        ] {
            let error = Schedule::cron(pattern, zone).unwrap_err();
            assert!(error.contains(why) && !error.contains('\u{1b}'), "{pattern}: {error}");
        }
        assert!(Schedule::cron(&"*".repeat(300), "UTC").is_err());
        assert!(Schedule::cron("0 0 29 2 *", "UTC").is_ok(), "it comes every four years");
    }

    #[test]
    fn no_run_is_nearer_than_the_least() {
        let schedule = Schedule::cron("* * * * *", "UTC").unwrap().least(90_000);
        assert_eq!(schedule.after(at("2026-01-01T00:00:00Z")), at("2026-01-01T00:01:30Z"));
    }

    #[test]
    fn the_end_of_time_is_no_trouble() {
        for schedule in [Schedule::every(1000), Schedule::cron("0 0 * * *", "Europe/Berlin").unwrap()] {
            assert_eq!(schedule.after(Timestamp::MAX), Timestamp::MAX);
            assert_eq!(schedule.jitter(0.5).after_with_jitter(Timestamp::MAX, 1.0), Timestamp::MAX);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Runs go forwards, whatever the clocks of the zone do.
        #[test]
        fn the_next_run_is_later(
            zone in 0..ZONES.len(),
            pattern in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * *", "15 */3 * * SUN", "59 23 L * *"]),
            start in 1_700_000_000_000u64..1_900_000_000_000,
        ) {
            let schedule = Schedule::cron(pattern, ZONES[zone]).unwrap();
            let mut last = Timestamp::from_millis(start);
            for _ in 0..20 {
                let next = schedule.after(last);
                prop_assert!(next > last && next < Timestamp::MAX, "{pattern} {} {last}", ZONES[zone]);
                last = next;
            }
        }

        /// A fixed time of day comes on every day, and on none twice, also where the clocks are changed.
        #[test]
        fn a_daily_run_comes_once_a_day(
            zone in 0..ZONES.len(), hour in 0..24u32, minute in 0..60u32, day in 0..700u64,
        ) {
            let zone = ZONES[zone];
            let schedule = Schedule::cron(&format!("{minute} {hour} * * *"), zone).unwrap();
            let mut last = schedule.after(at("2025-01-01T00:00:00Z").plus(day * 86_400_000));
            for _ in 0..60 {
                let next = schedule.after(last);
                let days = civil(last, zone).date().until(civil(next, zone).date()).unwrap().get_days();
                prop_assert_eq!(days, 1, "{} {}:{} from {} to {}", zone, hour, minute, last, next);
                last = next;
            }
        }

        /// Intervals go on with the time that passes: a change of the clocks neither stops nor doubles them.
        #[test]
        fn intervals_pass_through_a_change_of_the_clocks(
            zone in 0..ZONES.len(), start in 1_700_000_000_000u64..1_900_000_000_000,
        ) {
            let schedule = Schedule::cron("*/15 * * * *", ZONES[zone]).unwrap();
            let mut last = schedule.after(Timestamp::from_millis(start));
            for _ in 0..40 {
                let next = schedule.after(last);
                prop_assert_eq!(next.since(last), 900_000);
                last = next;
            }
        }

        /// Jitter makes late and never early, by no more than its share and a minute.
        #[test]
        fn jitter_stays_inside(every_s in 1u64..1_000_000, share in 0.0..1.0f64, die in -1.0..=1.0f64) {
            let ran = at("2026-01-01T00:00:00Z");
            let schedule = Schedule::every(every_s * 1000).jitter(share);
            let late = schedule.after_with_jitter(ran, die).since(schedule.after(ran));
            prop_assert!(late <= share_of(every_s * 1000, share).min(JITTER_MS_MAX));
            prop_assert_eq!(schedule.after_with_jitter(ran, -1.0), schedule.after(ran));
        }
    }
}
