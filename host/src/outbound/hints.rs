//! What an answer says about waiting: headers -> [`Hint`].
//!
//! Read are `Retry-After` (RFC 9110, 10.2.3), the IETF drafts' `RateLimit` and `RateLimit-Policy` (draft 11,
//! 2026-05-23, and draft 7), their older `RateLimit-Limit`, `-Remaining` and `-Reset`, and the `X-RateLimit-*` and
//! `X-Rate-Limit-*` that came before. Whatever cannot be read, lies in the past or says "wait zero" counts as not
//! said. Times are read against the answer's own `Date` where it has one, so that a provider's wrong clock does not
//! matter. Every wait is cut at a maximum that the caller gives; what to do with a long one is the caller's business.

use std::time::UNIX_EPOCH;

use crate::time::Timestamp;

/// What an answer says about waiting; a field is `None` where it says nothing usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Come back then: `Retry-After`.
    pub(crate) retry_at: Option<Timestamp>,
    /// So many units are left in the provider's window.
    pub(crate) remaining: Option<u32>,
    /// The provider's window begins anew then.
    pub(crate) reset_at: Option<Timestamp>,
    /// So many units the provider's window has.
    pub(crate) limit: Option<u32>,
}

impl Hint {
    /// When an answer that refused for its rate says to come back: `Retry-After`, else the reset of its window, unless
    /// that window has units left and so was not the one that refused.
    pub(crate) fn come_back_at(&self) -> Option<Timestamp> {
        let reset_at = self.reset_at.filter(|_| self.remaining.is_none_or(|left| left == 0));
        self.retry_at.or(reset_at)
    }
}

/// Reads the headers of an answer that came at `now`. No wait is longer than `wait_ms_max`.
pub(crate) fn read<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    now: Timestamp,
    wait_ms_max: u64,
) -> Hint {
    let seen = Seen::collect(headers);
    let clock = Against { now, provider: seen.one("date").and_then(http_date).unwrap_or(now), wait_ms_max };
    let retry_at = seen.one("retry-after").and_then(|text| match seconds(text) {
        Some(ms) => clock.after(ms),
        None => clock.at(http_date(text)?),
    });
    // One window's figures come from one family of headers: the first that says anything.
    let window = [
        structured(&seen, &clock),
        named(&seen, &clock, "ratelimit"),
        named(&seen, &clock, "x-ratelimit"),
        named(&seen, &clock, "x-rate-limit"),
    ];
    let window = window.into_iter().find(|hint| *hint != Hint::default()).unwrap_or_default();
    Hint { retry_at, ..window }
}

/// The headers that can be read as text.
struct Seen<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Seen<'a> {
    fn collect(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let text = |(name, value)| Some((name, std::str::from_utf8(value).ok()?.trim()));
        Self(headers.into_iter().filter_map(text).filter(|(_, value)| value.len() <= VALUE_BYTES_MAX).collect())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// One value; of several, the first.
    fn one(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The items of a list, which may come in several lines (RFC 9110, 5.3).
    fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|line| line.split(',')).map(str::trim).take(LIST_ITEMS_MAX)
    }
}

/// Longer values are not read.
const VALUE_BYTES_MAX: usize = 1_000;

/// Items of a list beyond this are not read.
const LIST_ITEMS_MAX: usize = 32;

/// From the provider's times to ours.
struct Against {
    now: Timestamp,
    provider: Timestamp,
    wait_ms_max: u64,
}

impl Against {
    /// So long after the answer; nothing if that is no wait.
    fn after(&self, wait_ms: u64) -> Option<Timestamp> {
        (wait_ms > 0).then(|| self.now.plus(wait_ms.min(self.wait_ms_max)))
    }

    /// At a time of the provider's clock.
    fn at(&self, time: Timestamp) -> Option<Timestamp> {
        self.after(time.since(self.provider))
    }

    /// A reset, which providers write as seconds to wait, as seconds since 1970 or as milliseconds since 1970. They are
    /// told apart by size: 31 years of waiting, or a time before 2001 or after 5138, nobody means.
    fn reset(&self, ms: u64) -> Option<Timestamp> {
        const SECONDS_SINCE_1970_FROM: u64 = 1_000_000_000;
        const MILLIS_SINCE_1970_FROM: u64 = 100_000_000_000;
        match ms / 1_000 {
            MILLIS_SINCE_1970_FROM.. => self.at(Timestamp::from_millis(ms / 1_000)),
            SECONDS_SINCE_1970_FROM.. => self.at(Timestamp::from_millis(ms)),
            _ => self.after(ms),
        }
    }
}

/// `RateLimit: "day";r=50;t=30` with `RateLimit-Policy: "day";q=100;w=60`, and draft 7's
/// `RateLimit: limit=100, remaining=50, reset=30`. Of several windows the one with the least left speaks.
fn structured(seen: &Seen<'_>, clock: &Against) -> Hint {
    let mut tightest = Hint::default();
    let mut draft7 = Hint::default();
    for item in seen.list("ratelimit") {
        match item.split_once('=') {
            Some(("limit", value)) => draft7.limit = count(value),
            Some(("remaining", value)) => draft7.remaining = count(value),
            Some(("reset", value)) => draft7.reset_at = seconds(value).and_then(|ms| clock.after(ms)),
            _ => {
                let Some(remaining) = parameter(item, "r").and_then(count) else { continue };
                if tightest.remaining.is_none_or(|least| remaining < least) {
                    let reset_at = parameter(item, "t").and_then(seconds).and_then(|ms| clock.after(ms));
                    let limit = policy_limit(seen, policy_name(item));
                    tightest = Hint { retry_at: None, remaining: Some(remaining), reset_at, limit };
                }
            }
        }
    }
    if tightest.remaining.is_some() { tightest } else { draft7 }
}

/// The `q` of the policy of that name.
fn policy_limit(seen: &Seen<'_>, name: &str) -> Option<u32> {
    let policy = seen.list("ratelimit-policy").find(|item| policy_name(item) == name)?;
    parameter(policy, "q").and_then(count)
}

fn policy_name(item: &str) -> &str {
    item.split(';').next().unwrap_or("").trim().trim_matches('"')
}

fn parameter<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    item.split(';').skip(1).filter_map(|p| p.split_once('=')).find(|(n, _)| n.trim() == name).map(|(_, v)| v)
}

/// `<family>-limit`, `-remaining`, `-reset`. Of a list (`100, 100;w=60`) the first figure counts.
fn named(seen: &Seen<'_>, clock: &Against, family: &str) -> Hint {
    let field = |suffix: &str| {
        let value = seen.one(&format!("{family}-{suffix}"))?;
        value.split([',', ';']).next().map(str::trim)
    };
    Hint {
        retry_at: None,
        remaining: field("remaining").and_then(count),
        reset_at: field("reset").and_then(seconds).and_then(|ms| clock.reset(ms)),
        limit: field("limit").and_then(count),
    }
}

/// A count; decimals and what is beyond `u32` are cut.
fn count(text: &str) -> Option<u32> {
    seconds(text).map(|thousandths| u32::try_from(thousandths / 1_000).unwrap_or(u32::MAX))
}

/// Seconds with or without decimals, as milliseconds, rounded up. No sign, no exponent.
fn seconds(text: &str) -> Option<u64> {
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) {
        return None;
    }
    // Digits only, so an error is an overflow.
    let whole_ms = whole.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000);
    let digit = |place: usize| decimals.as_bytes().get(place).map_or(0, |b| u64::from(b - b'0'));
    let is_more = decimals.bytes().skip(3).any(|b| b != b'0');
    let part_ms = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(is_more);
    Some(whole_ms.saturating_add(part_ms))
}

/// A date in one of HTTP's three forms.
fn http_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-22T08:49:37Z
    const NOW: Timestamp = Timestamp::from_millis(1_795_337_377_000);
    const DAY_MS: u64 = 86_400_000;

    fn hint(headers: &[(&str, &str)]) -> Hint {
        read(headers.iter().map(|(n, v)| (*n, v.as_bytes())), NOW, DAY_MS)
    }

    fn in_ms(ms: u64) -> Option<Timestamp> {
        Some(NOW.plus(ms))
    }

    fn window(remaining: u32, reset_at: Option<Timestamp>, limit: Option<u32>) -> Hint {
        Hint { retry_at: None, remaining: Some(remaining), reset_at, limit }
    }

    #[test]
    fn guide_s04_retry_after_as_http_date() {
        for text in ["Sun, 22 Nov 2026 08:50:07 GMT", "Sunday, 22-Nov-26 08:50:07 GMT", "Sun Nov 22 08:50:07 2026"] {
            assert_eq!(hint(&[("Retry-After", text)]).retry_at, in_ms(30_000), "{text}");
            // The provider's clock is an hour behind: the wait is what counts.
            let slow = hint(&[("Retry-After", text), ("Date", "Sun, 22 Nov 2026 08:50:00 GMT")]);
            assert_eq!(slow.retry_at, in_ms(7_000), "{text}");
        }
        assert_eq!(hint(&[("Retry-After", "Sun, 22 Nov 2026 08:49:37 GMT")]).retry_at, None);
        assert_eq!(hint(&[("Retry-After", "Sun, 22 Nov 1926 08:49:37 GMT")]).retry_at, None);
        assert_eq!(hint(&[("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")]).retry_at, in_ms(DAY_MS));
    }

    #[test]
    fn retry_after_as_seconds() {
        for (text, wait) in [
            ("30", in_ms(30_000)),
            (" 30 ", in_ms(30_000)),
            ("1.5", in_ms(1_500)),
            ("0.0001", in_ms(1)),
            ("99999999999999999999999999", in_ms(DAY_MS)),
            ("0", None),
            ("0.0", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("inf", None),
            ("NaN", None),
            (".5", None),
            ("5.", None),
            ("", None),
            ("soon", None),
            ("١", None),
        ] {
            assert_eq!(hint(&[("retry-after", text)]).retry_at, wait, "{text}");
        }
    }

    #[test]
    fn reads_the_drafts() {
        let now = |headers: &[(&str, &str)]| hint(headers);
        assert_eq!(
            now(&[("RateLimit", "\"day\";r=50;t=30"), ("RateLimit-Policy", "\"burst\";q=5;w=1, \"day\";q=100;w=60")]),
            window(50, in_ms(30_000), Some(100))
        );
        assert_eq!(now(&[("RateLimit", "\"day\";r=50;t=30, \"burst\"; r=2; t=1")]), window(2, in_ms(1_000), None));
        assert_eq!(now(&[("RateLimit", "\"a\";r=5"), ("ratelimit", "\"b\";r=4")]), window(4, None, None));
        assert_eq!(now(&[("RateLimit", "limit=100, remaining=50, reset=5")]), window(50, in_ms(5_000), Some(100)));
        assert_eq!(
            now(&[("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "7"), ("RateLimit-Reset", "12")]),
            window(7, in_ms(12_000), Some(100))
        );
    }

    #[test]
    fn reads_a_reset_by_its_size() {
        for (text, reset) in [
            ("30", in_ms(30_000)),
            ("1795337437", in_ms(60_000)),
            ("1795337437.5", in_ms(60_500)),
            ("1795337437250", in_ms(60_250)),
            ("1795337377", None),
            ("1000000000", None),
            ("0", None),
        ] {
            for family in ["X-RateLimit", "x-rate-limit"] {
                let (left, at) = (format!("{family}-Remaining"), format!("{family}-Reset"));
                assert_eq!(hint(&[(&left, "0"), (&at, text)]), window(0, reset, None), "{text}");
            }
        }
    }

    #[test]
    fn families_are_not_mixed() {
        let mixed = hint(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "9"), ("ratelimit-remaining", "70")]);
        assert_eq!(mixed, window(70, None, None));
    }

    #[test]
    fn says_when_to_come_back() {
        let (soon, late) = (in_ms(1), in_ms(9));
        let all = Hint { retry_at: soon, remaining: Some(0), reset_at: late, limit: None };
        assert_eq!(all.come_back_at(), soon);
        assert_eq!(Hint { retry_at: None, ..all }.come_back_at(), late);
        assert_eq!(Hint { retry_at: None, remaining: None, ..all }.come_back_at(), late);
        assert_eq!(Hint { retry_at: None, remaining: Some(4), ..all }.come_back_at(), None);
    }

    fn names() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "retry-after",
            "Date",
            "RateLimit",
            "ratelimit-policy",
            "RateLimit-Limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "X-RateLimit-Reset",
            "x-rate-limit-reset",
        ])
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[0-9.,;=\" a-zA-Z:-]{0,40}".prop_map(String::into_bytes),
            "(\"[a-z]{0,3}\";[rtqw]=[0-9]{0,25}[,;]){0,4}".prop_map(String::into_bytes),
            "[0-9]{1,30}(\\.[0-9]{0,9})?".prop_map(String::into_bytes),
            "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
                .prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_or_wait_for_ever(
            headers in prop::collection::vec((names(), values()), 0..8),
            now in any::<u64>().prop_map(Timestamp::from_millis),
            wait_ms_max in any::<u64>(),
        ) {
            let hint = read(headers.iter().map(|(n, v)| (*n, v.as_slice())), now, wait_ms_max);
            for at in [hint.retry_at, hint.reset_at, hint.come_back_at()].into_iter().flatten() {
                prop_assert!(at >= now && at.since(now) <= wait_ms_max);
            }
        }

        #[test]
        fn a_wait_in_seconds_is_never_shortened(whole in 0..80_000u64, decimals in "[0-9]{1,6}") {
            let text = format!("{whole}.{decimals}");
            let exact: f64 = text.parse().unwrap();
            let wait = hint(&[("retry-after", &text)]).retry_at.map_or(0, |at| at.since(NOW));
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let wait = wait as f64 / 1_000.0;
            prop_assert!(wait >= exact - 1e-9 && wait < exact + 0.001);
        }

        #[test]
        fn every_date_waits_its_distance(ahead in 1..86_000u64) {
            let at = UNIX_EPOCH + std::time::Duration::from_millis(NOW.as_millis() + ahead * 1_000);
            prop_assert_eq!(hint(&[("retry-after", &httpdate::fmt_http_date(at))]).retry_at, in_ms(ahead * 1_000));
        }
    }
}
