//! What an answer says about waiting: headers -> [`Hint`].
//!
//! Read are `Retry-After` (RFC 9110, 10.2.3) and its kin in milliseconds, the IETF drafts' `RateLimit` and
//! `RateLimit-Policy` (draft 11, 2026-05-23, and draft 7), their older `RateLimit-Limit`, `-Remaining` and `-Reset`, and
//! the `X-RateLimit-*` and `X-Rate-Limit-*` that came before, also with a window or a resource at the end of the name
//! (`X-RateLimit-Remaining-Minute`, `x-ratelimit-reset-tokens`), and whatever headers a manifest names. A time may be
//! written as seconds to wait, as seconds or milliseconds since 1970 (told apart by size), as an HTTP date, in RFC 3339,
//! or as Go writes durations (`6m0s`). Whatever cannot be read, lies in the past or says "wait zero" counts as not said.
//! Times are read against the answer's own `Date` where it has one, so that a provider's wrong clock does not matter.
//! Every wait is cut at a maximum that the caller gives; what to do with a long one is the caller's business.

use std::time::UNIX_EPOCH;

use crate::manifest::RateHeaders;
use crate::time::Timestamp;

/// What an answer says about waiting; whatever is not said, or not usably, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Come back then: `Retry-After`.
    pub(crate) retry_at: Option<Timestamp>,
    /// What it says of the provider's windows, each from one family of headers; mostly none or one.
    pub(crate) windows: Vec<Window>,
}

/// What an answer says of one window of the provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The budget it is about, where the manifest says so.
    pub(crate) bucket: Option<String>,
    /// How long the window is.
    pub(crate) length_ms: Option<u64>,
    /// So many units are left in it.
    pub(crate) remaining: Option<u32>,
    /// It begins anew then.
    pub(crate) reset_at: Option<Timestamp>,
    /// So many units it has.
    pub(crate) limit: Option<u32>,
}

impl Window {
    fn is_empty(&self) -> bool {
        self.remaining.is_none() && self.reset_at.is_none() && self.limit.is_none()
    }
}

impl Hint {
    /// When an answer that refused for its rate says to come back: `Retry-After`, else the latest reset of the windows
    /// that have no units left. A window with units left is not the one that refused.
    pub(crate) fn come_back_at(&self) -> Option<Timestamp> {
        let spent = self.windows.iter().filter(|window| window.remaining.is_none_or(|left| left == 0));
        self.retry_at.or_else(|| spent.filter_map(|window| window.reset_at).max())
    }
}

/// Reads the headers of an answer that came at `now`. No wait is longer than `wait_ms_max`. `named` are the headers that
/// the manifest says to read; they come before all others.
pub(crate) fn read<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    named: &[RateHeaders],
    now: Timestamp,
    wait_ms_max: u64,
) -> Hint {
    let seen = Seen::collect(headers, named);
    if seen.0.is_empty() {
        return Hint::default();
    }
    let clock = Against { now, provider: seen.one("date").and_then(http_date).unwrap_or(now), wait_ms_max };
    let own: Vec<Window> = named.iter().map(|named| clock.named(&seen, named)).filter(|own| !own.is_empty()).collect();
    let retry_at = RETRY_AFTER.iter().find_map(|name| clock.time(seen.one(name)?));
    let retry_at =
        retry_at.or_else(|| RETRY_AFTER_MS.iter().find_map(|name| clock.after(seconds(seen.one(name)?)? / 1_000)));
    // One window's figures come from one family of headers: the first that says anything.
    let mut windows = own;
    if windows.is_empty() {
        windows = structured(&seen, &clock);
    }
    for family in ["ratelimit-", "x-ratelimit-", "x-rate-limit-"] {
        if windows.is_empty() {
            windows = prefixed(&seen, &clock, family);
        }
    }
    Hint { retry_at, windows }
}

/// Headers that say when to come back, first one first.
const RETRY_AFTER: [&str; 2] = ["retry-after", "x-retry-after"];
/// Headers that say it in milliseconds.
const RETRY_AFTER_MS: [&str; 2] = ["retry-after-ms", "x-ms-retry-after-ms"];

/// The headers that matter here and can be read as text; names in lower case.
struct Seen<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Seen<'a> {
    fn collect(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>, named: &[RateHeaders]) -> Self {
        let is_about_time = |name: &str| {
            let starts = |start: &str| name.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
            starts("ratelimit")
                || starts("x-ratelimit-")
                || starts("x-rate-limit-")
                || name.eq_ignore_ascii_case("date")
                || RETRY_AFTER.iter().chain(&RETRY_AFTER_MS).any(|own| name.eq_ignore_ascii_case(own))
                || named.iter().any(|named| named.names().any(|own| name.eq_ignore_ascii_case(own)))
        };
        let text = |(name, value)| Some((name, std::str::from_utf8(value).ok()?.trim()));
        let kept = headers.into_iter().filter(|(name, _)| is_about_time(name)).filter_map(text);
        Self(kept.filter(|(_, value)| value.len() <= VALUE_BYTES_MAX).take(HEADERS_MAX).collect())
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

/// Headers beyond these are not read.
const HEADERS_MAX: usize = 64;

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

    /// A number, which providers write as seconds to wait, as seconds since 1970 or as milliseconds since 1970. They are
    /// told apart by size: 31 years of waiting, or a time before 2001 or after 5138, nobody means.
    fn number(&self, ms: u64) -> Option<Timestamp> {
        const SECONDS_SINCE_1970_FROM: u64 = 1_000_000_000;
        const MILLIS_SINCE_1970_FROM: u64 = 100_000_000_000;
        match ms / 1_000 {
            MILLIS_SINCE_1970_FROM.. => self.at(Timestamp::from_millis(ms / 1_000)),
            SECONDS_SINCE_1970_FROM.. => self.at(Timestamp::from_millis(ms)),
            _ => self.after(ms),
        }
    }

    /// A time in any of the forms that providers write.
    fn time(&self, text: &str) -> Option<Timestamp> {
        if let Some(ms) = seconds(text) {
            return self.number(ms);
        }
        if let Some(ms) = go_duration(text) {
            return self.after(ms);
        }
        self.at(http_date(text).or_else(|| Timestamp::parse(text))?)
    }

    /// The headers that a manifest names.
    fn named(&self, seen: &Seen<'_>, named: &RateHeaders) -> Window {
        let field = |name: &Option<String>| name.as_deref().and_then(|name| seen.one(name));
        Window {
            bucket: named.bucket.clone(),
            length_ms: None,
            remaining: field(&named.remaining).and_then(count),
            reset_at: field(&named.reset).and_then(|text| self.time(text)),
            limit: field(&named.limit).and_then(count),
        }
    }
}

/// When the text of a body says to come back: a number, a date, a duration, or a sentence that holds a date in RFC 3339
/// ("Retry after 2026-11-22T09:15:00.000Z"). `date` is that of the answer, which came at `now`.
pub(crate) fn time_in_body(text: &str, date: Option<&str>, now: Timestamp, wait_ms_max: u64) -> Option<Timestamp> {
    let clock = Against { now, provider: date.and_then(http_date).unwrap_or(now), wait_ms_max };
    let text = text.get(..VALUE_BYTES_MAX).unwrap_or(text).trim();
    if text.len() > VALUE_BYTES_MAX {
        return None;
    }
    clock.time(text).or_else(|| {
        let is_of_time = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+');
        let words = text.split(|c| !is_of_time(c)).map(|word| word.trim_end_matches(['.', ':']));
        words.filter_map(Timestamp::parse).find_map(|time| clock.at(time))
    })
}

/// `RateLimit: "day";r=50;t=30` with `RateLimit-Policy: "day";q=100;w=60`, and draft 7's
/// `RateLimit: limit=100, remaining=50, reset=30`.
fn structured(seen: &Seen<'_>, clock: &Against) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut draft7 = Window::default();
    for item in seen.list("ratelimit") {
        match item.split_once('=') {
            Some(("limit", value)) => draft7.limit = count(value),
            Some(("remaining", value)) => draft7.remaining = count(value),
            Some(("reset", value)) => draft7.reset_at = seconds(value).and_then(|ms| clock.after(ms)),
            _ => {
                let Some(remaining) = parameter(item, "r").and_then(count) else { continue };
                let policy = seen.list("ratelimit-policy").find(|policy| policy_name(policy) == policy_name(item));
                let reset_at = parameter(item, "t").and_then(seconds).and_then(|ms| clock.after(ms));
                let unit = policy.and_then(|policy| parameter(policy, "qu"));
                let counts_requests = unit.is_none_or(|unit| unit.trim().trim_matches('"') == "requests");
                // What counts something else says nothing of requests but when to come back, once nothing is left of it.
                if !counts_requests && (remaining > 0 || reset_at.is_none()) {
                    continue;
                }
                let limit = policy.filter(|_| counts_requests).and_then(|policy| parameter(policy, "q"));
                windows.push(Window {
                    bucket: None,
                    length_ms: policy.and_then(|policy| parameter(policy, "w")).and_then(seconds),
                    remaining: Some(remaining),
                    reset_at,
                    limit: limit.and_then(count),
                });
            }
        }
    }
    if windows.is_empty() && !draft7.is_empty() {
        draft7.length_ms = seen.list("ratelimit-policy").find_map(|policy| parameter(policy, "w")).and_then(seconds);
        windows.push(draft7);
    }
    windows
}

fn policy_name(item: &str) -> &str {
    item.split(';').next().unwrap_or("").trim().trim_matches('"')
}

fn parameter<'a>(item: &'a str, name: &str) -> Option<&'a str> {
    item.split(';').skip(1).filter_map(|p| p.split_once('=')).find(|(n, _)| n.trim() == name).map(|(_, v)| v)
}

/// `<family>limit`, `remaining` and `reset`, each of them also with an ending: a window's length or a resource's name. Of
/// a list (`100, 100;w=60`) the first figure counts.
fn prefixed(seen: &Seen<'_>, clock: &Against, family: &str) -> Vec<Window> {
    let mut windows: Vec<(String, Window)> = Vec::new();
    for (name, value) in &seen.0 {
        let Some(rest) = name.get(..family.len()).filter(|start| start.eq_ignore_ascii_case(family)) else { continue };
        let rest = name[rest.len()..].to_ascii_lowercase();
        let Some((what, ending)) = ["limit", "remaining", "reset-after", "reset"].iter().find_map(|what| {
            let ending = rest.strip_prefix(what)?;
            (ending.is_empty() || ending.starts_with('-')).then(|| (*what, ending.trim_start_matches('-').to_owned()))
        }) else {
            continue;
        };
        let first = value.split([',', ';']).next().unwrap_or_default().trim();
        let place = windows.iter().position(|(known, _)| *known == ending).unwrap_or_else(|| {
            let length_ms = LENGTHS_MS.iter().find(|(name, _)| *name == ending).map(|(_, ms)| *ms);
            windows.push((ending, Window { length_ms, ..Window::default() }));
            windows.len() - 1
        });
        let window = &mut windows[place].1;
        match what {
            "limit" => window.limit = window.limit.or_else(|| count(first)),
            "remaining" => window.remaining = window.remaining.or_else(|| count(first)),
            "reset-after" => {
                window.reset_at =
                    window.reset_at.or_else(|| clock.after(seconds(first).or_else(|| go_duration(first))?));
            }
            // A date has a comma in it.
            _ => window.reset_at = window.reset_at.or_else(|| clock.time(first).or_else(|| clock.time(value))),
        }
    }
    windows.into_iter().map(|(_, window)| window).filter(|window| !window.is_empty()).collect()
}

/// Endings of header names that say how long the window is.
const LENGTHS_MS: [(&str, u64); 8] = [
    ("second", 1_000),
    ("minute", 60_000),
    ("min", 60_000),
    ("hour", 3_600_000),
    ("hourly", 3_600_000),
    ("day", 86_400_000),
    ("daily", 86_400_000),
    ("month", 2_592_000_000),
];

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

/// A duration as Go prints one (`1h2m3.5s`, `20ms`), in milliseconds, rounded up.
fn go_duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total_ms = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let figure = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let thousandths = seconds(&rest[..figure])?;
        let after = &rest[figure..];
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let part_ms = match &after[..unit_end] {
            "h" => thousandths.saturating_mul(3_600),
            "m" => thousandths.saturating_mul(60),
            "s" => thousandths,
            "ms" => thousandths.div_ceil(1_000),
            "us" | "µs" | "ns" => u64::from(thousandths > 0),
            _ => return None,
        };
        total_ms = total_ms.saturating_add(part_ms);
        rest = &after[unit_end..];
    }
    Some(total_ms)
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
        read(headers.iter().map(|(n, v)| (*n, v.as_bytes())), &[], NOW, DAY_MS)
    }

    fn in_ms(ms: u64) -> Option<Timestamp> {
        Some(NOW.plus(ms))
    }

    fn window(remaining: u32, reset_at: Option<Timestamp>, limit: Option<u32>) -> Hint {
        of(vec![Window { remaining: Some(remaining), reset_at, limit, ..Window::default() }])
    }

    fn of(windows: Vec<Window>) -> Hint {
        Hint { retry_at: None, windows }
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
        let told = |remaining, reset_at, limit, length_ms| Window {
            bucket: None,
            remaining: Some(remaining),
            reset_at,
            limit,
            length_ms,
        };
        assert_eq!(
            hint(&[("RateLimit", "\"day\";r=50;t=30"), ("RateLimit-Policy", "\"burst\";q=5;w=1, \"day\";q=100;w=60")]),
            of(vec![told(50, in_ms(30_000), Some(100), Some(60_000))])
        );
        assert_eq!(
            hint(&[("RateLimit", "\"day\";r=50;t=30, \"burst\"; r=2; t=1")]),
            of(vec![told(50, in_ms(30_000), None, None), told(2, in_ms(1_000), None, None)])
        );
        assert_eq!(
            hint(&[("RateLimit", "\"a\";r=5"), ("ratelimit", "\"b\";r=4")]),
            of(vec![told(5, None, None, None), told(4, None, None, None)])
        );
        assert_eq!(
            hint(&[("RateLimit", "limit=100, remaining=50, reset=5"), ("RateLimit-Policy", "100;w=60")]),
            of(vec![told(50, in_ms(5_000), Some(100), Some(60_000))])
        );
        assert_eq!(
            hint(&[("RateLimit-Limit", "100, 100;w=60"), ("RateLimit-Remaining", "7"), ("RateLimit-Reset", "12")]),
            window(7, in_ms(12_000), Some(100))
        );
    }

    /// Bytes and what is under way were taken for requests.
    #[test]
    fn reads_figures_of_something_else_only_where_nothing_is_left() {
        let policy = "\"minute\";q=1000;w=60;qu=\"requests\", \"conc\";q=10;qu=\"concurrent-requests\", \
                      \"bytes\";q=500;w=60;qu=\"content-bytes\"";
        let read = |told| hint(&[("RateLimit", told), ("RateLimit-Policy", policy)]);
        let (length_ms, reset_at) = (Some(60_000), in_ms(50_000));
        let minute = Window { length_ms, reset_at, remaining: Some(990), limit: Some(1_000), ..Window::default() };
        assert_eq!(read("\"minute\";r=990;t=50, \"conc\";r=3, \"bytes\";r=9;t=7"), of(vec![minute]));
        let bytes = Window { length_ms, reset_at, remaining: Some(0), ..Window::default() };
        assert_eq!(read("\"conc\";r=0, \"bytes\";r=0;t=50"), of(vec![bytes]));
    }

    #[test]
    fn reads_windows_and_resources_at_the_end_of_a_name() {
        let told = hint(&[
            ("X-RateLimit-Limit-Minute", "300"),
            ("X-RateLimit-Remaining-Minute", "0"),
            ("X-RateLimit-Remaining-Second", "5"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("x-ratelimit-reset-after", "0.25"),
            ("x-ratelimit-resource", "core"),
            ("x-ratelimit-used", "3"),
        ]);
        let window =
            |length_ms, limit, remaining, reset_at| Window { bucket: None, length_ms, remaining, reset_at, limit };
        assert_eq!(
            told,
            of(vec![
                window(Some(60_000), Some(300), Some(0), None),
                window(Some(1_000), None, Some(5), None),
                window(None, None, None, in_ms(360_000)),
                window(None, None, None, in_ms(250)),
            ])
        );
    }

    #[test]
    fn reads_a_time_in_every_form() {
        for (text, wait) in [
            ("2026-11-22T08:50:07Z", in_ms(30_000)),
            ("2026-11-22T09:50:07.250+01:00", in_ms(30_250)),
            ("Sun, 22 Nov 2026 08:50:07 GMT", in_ms(30_000)),
            ("20ms", in_ms(20)),
            ("1h2m3.5s", in_ms(3_723_500)),
            ("500us", in_ms(1)),
            ("0s", None),
            ("6m-1s", None),
            ("5 minutes", None),
            ("h", None),
            ("2026-13-22T08:50:07Z", None),
        ] {
            let told = hint(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", text)]);
            assert_eq!(told, window(0, wait, None), "{text}");
        }
        // Seconds since 1970, where seconds to wait should stand, are what they look like.
        assert_eq!(hint(&[("retry-after", "1795337437")]).retry_at, in_ms(60_000));
        assert_eq!(hint(&[("retry-after", "1795337437250")]).retry_at, in_ms(60_250));
        assert_eq!(hint(&[("retry-after-ms", "1500")]).retry_at, in_ms(1_500));
    }

    #[test]
    fn reads_what_a_manifest_names_first() {
        let named: RateHeaders =
            toml::from_str("bucket='units'\nremaining='X-Units-Left'\nreset='X-Units-Back'\nsource='s'\ndate='d'")
                .unwrap();
        let headers: [(&str, &[u8]); 3] =
            [("x-units-left", b"3"), ("X-UNITS-BACK", b"9"), ("x-ratelimit-remaining", b"70")];
        let told = read(headers, &[named], NOW, DAY_MS);
        let units =
            Window { bucket: Some("units".into()), remaining: Some(3), reset_at: in_ms(9_000), ..Window::default() };
        assert_eq!(told, of(vec![units]));
    }

    #[test]
    fn reads_the_time_in_a_sentence() {
        let read = |text: &str| time_in_body(text, None, NOW, DAY_MS);
        assert_eq!(read("User-rate limit exceeded.  Retry after 2026-11-22T08:54:37.000Z"), in_ms(300_000));
        assert_eq!(read("(until 2026-11-22T08:54:37Z.)"), in_ms(300_000));
        assert_eq!(read("12"), in_ms(12_000));
        assert_eq!(read("wait 12 minutes"), None);
        assert_eq!(read(&("x".repeat(1_000) + " 2026-11-22T08:54:37Z")), None);
        assert_eq!(read("2025-11-22T08:54:37Z"), None);
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
        let left = |remaining, reset_at| Window { remaining, reset_at, ..Window::default() };
        assert_eq!(Hint { retry_at: soon, windows: vec![left(Some(0), late)] }.come_back_at(), soon);
        assert_eq!(of(vec![left(Some(0), late)]).come_back_at(), late);
        assert_eq!(of(vec![left(None, late)]).come_back_at(), late);
        assert_eq!(of(vec![left(Some(4), late)]).come_back_at(), None);
        assert_eq!(of(vec![left(Some(4), late), left(Some(0), soon)]).come_back_at(), soon);
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
            "x-ratelimit-reset-tokens",
            "x-ratelimit-remaining-minute",
            "retry-after-ms",
        ])
    }

    fn values() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[0-9.,;=\" a-zA-Z:-]{0,40}".prop_map(String::into_bytes),
            "(\"[a-z]{0,3}\";[rtqw]=[0-9]{0,25}[,;]){0,4}".prop_map(String::into_bytes),
            "[0-9]{1,30}(\\.[0-9]{0,9})?".prop_map(String::into_bytes),
            "([0-9]{1,25}(h|m|s|ms|us|ns)){1,4}".prop_map(String::into_bytes),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?(Z|[+-][0-9]{2}:[0-9]{2})"
                .prop_map(String::into_bytes),
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
            let hint = read(headers.iter().map(|(n, v)| (*n, v.as_slice())), &[], now, wait_ms_max);
            let resets = hint.windows.iter().map(|window| window.reset_at);
            for at in resets.chain([hint.retry_at, hint.come_back_at()]).flatten() {
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
