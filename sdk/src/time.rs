//! Times as providers write them: RFC 3339 text to milliseconds and back, without a calendar library.
//!
//! A time without an offset is refused: nobody knows when it was.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z, between the years 0 and 9999. In JSON it is RFC 3339 text in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

const MS_PER_DAY: i64 = 86_400_000;
const MS_MIN: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00Z
const MS_MAX: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

impl Timestamp {
    /// The moment this many milliseconds after 1970 began; clamped to the years 0 to 9999.
    pub const fn from_ms(ms: i64) -> Self {
        if ms < MS_MIN {
            Self(MS_MIN)
        } else if ms > MS_MAX {
            Self(MS_MAX)
        } else {
            Self(ms)
        }
    }

    /// The moment this many seconds after 1970 began, as many APIs count.
    pub const fn from_unix_s(seconds: i64) -> Self {
        Self::from_ms(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970 began.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// This many milliseconds later; earlier when negative.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_ms(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339 text. A fraction is cut to milliseconds; a leap second counts as the second after it.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |from: usize, to: usize| -> Option<i64> {
            let part = bytes.get(from..to)?;
            part.iter().all(u8::is_ascii_digit).then(|| part.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
        };
        let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));

        let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
        let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
        let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
        let in_range = (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !separators || !in_range {
            return None;
        }

        let mut at = 19;
        let mut fraction_ms = 0;
        if is(at, b".") {
            let end = (at + 1..bytes.len()).find(|i| !bytes[*i].is_ascii_digit()).unwrap_or(bytes.len());
            if end == at + 1 {
                return None;
            }
            for (digit, weight) in bytes[at + 1..end].iter().zip([100, 10, 1]) {
                fraction_ms += i64::from(digit - b'0') * weight;
            }
            at = end;
        }
        let offset_min = match bytes.get(at)? {
            b'Z' | b'z' if bytes.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if bytes.len() == at + 6 && is(at + 3, b":") => {
                let (hours, minutes) = (digits(at + 1, at + 3)?, digits(at + 4, at + 6)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
            }
            _ => return None,
        };

        let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_min;
        let ms = (minutes * 60 + second) * 1000 + fraction_ms;
        (MS_MIN..=MS_MAX).contains(&ms).then_some(Self(ms))
    }

    pub(crate) fn from_wire(ms: u64) -> Self {
        Self::from_ms(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// The contract counts from 1970 on; what is before it becomes its beginning.
    pub(crate) fn to_wire(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        Self::parse(text).ok_or(NotATime)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(MS_PER_DAY));
        let ms = self.0.rem_euclid(MS_PER_DAY);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms % 1000 != 0 {
            write!(f, ".{:03}", ms % 1000)?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an RFC 3339 time with an offset, as 2026-02-03T04:05:06Z")
    }
}

impl std::error::Error for NotATime {}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time with an offset")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments() {
        let known = |text: &str, ms: i64| assert_eq!(Timestamp::parse(text).map(Timestamp::as_ms), Some(ms), "{text}");
        known("1970-01-01T00:00:00Z", 0);
        known("2000-02-29T12:00:00Z", 951_825_600_000);
        known("2020-06-10T15:15:03.776119-06:00", 1_591_823_703_776);
        known("2026-02-03 04:05:06.5+00:00", 1_770_091_506_500);
        known("1969-12-31T23:59:59.999Z", -1);
        known("2016-12-31T23:59:60Z", 1_483_228_800_000);
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "2026-02-03",
            "2026-02-03T04:05:06",
            "2026-02-30T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-03T24:00:00Z",
            "2026-02-03T04:05:06.Z",
            "2026-02-03T04:05:06+0100",
            "2026-02-03T04:05:06Z ",
            "+026-02-03T04:05:06Z",
            "0000-01-01T00:00:00+01:00",
            "2026-02-03T04:05:06é",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_ends_of_time_have_text() {
        assert_eq!(Timestamp::from_ms(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_ms(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn text_and_moment_agree(ms in MS_MIN..=MS_MAX) {
            let moment = Timestamp::from_ms(ms);
            prop_assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
        }

        #[test]
        fn text_order_is_time_order(a in MS_MIN / 1000..MS_MAX / 1000, b in MS_MIN / 1000..MS_MAX / 1000) {
            let (a, b) = (Timestamp::from_unix_s(a), Timestamp::from_unix_s(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn an_offset_moves_the_clock_and_not_the_moment(s in 0i64..4_000_000_000, minutes in 0i64..1440) {
            let local = Timestamp::from_unix_s(s + minutes * 60).to_string();
            let text = format!("{}+{:02}:{:02}", local.trim_end_matches('Z'), minutes / 60, minutes % 60);
            prop_assert_eq!(Timestamp::parse(&text), Some(Timestamp::from_unix_s(s)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            _ = Timestamp::parse(&text);
        }
    }
}
