//! A sign-in on another device (RFC 8628): what a person is shown, and when the host may ask whether it is done.
//!
//! Pure: the provider's answers and the time are handed in. What a provider says about time is kept within bounds, so
//! that it can neither make the host ask without pause nor wait for ever.

use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::text::shown;
use crate::time::Timestamp;

/// Seconds between two questions where the provider does not say (RFC 8628, 3.2).
const INTERVAL_S: u64 = 5;
/// Seconds that `slow_down` adds (RFC 8628, 3.5).
const SLOW_DOWN_S: u64 = 5;
/// Most seconds between two questions.
const INTERVAL_S_MAX: u64 = 300;
/// Seconds for which a code is good where the provider does not say.
const LIFETIME_S: u64 = 600;
/// Most seconds for which the host asks.
const LIFETIME_S_MAX: u64 = 3600;

/// What a device endpoint answered. It has no `Debug`, for it holds the device's code.
pub(crate) struct DeviceAnswer {
    /// What the token endpoint wants to have.
    pub(crate) code: Zeroizing<String>,
    /// What a person types in.
    pub(crate) user_code: String,
    /// Where.
    pub(crate) address: Url,
    /// The same with the code already in it, where the provider has that.
    pub(crate) whole_address: Option<Url>,
    /// When to ask.
    pub(crate) pace: Pace,
}

/// When the token endpoint may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    interval_ms: u64,
    until: Timestamp,
}

impl DeviceAnswer {
    /// Reads what a device endpoint answered at `now`.
    ///
    /// # Errors
    /// [`Kind::SchemaViolation`] naming the field that is missing or makes no sense.
    pub(crate) fn read(answer: &Value, now: Timestamp) -> Result<Self> {
        let wrong = |field: &str| {
            Error::new(
                Kind::SchemaViolation,
                format!("the provider's device endpoint answers without a usable `{field}`"),
            )
            .with_details("Look at `device` in the plugin's manifest, and whether the client may use this flow")
        };
        let text = |field: &str| answer.get(field)?.as_str().filter(|text| !text.is_empty());
        let address = |field: &str| {
            let url = Url::parse(text(field)?).ok()?;
            // It is opened in a browser: nothing but a page.
            matches!(url.scheme(), "https" | "http").then_some(url)
        };
        let seconds = |name: &str| super::oauth2::seconds(answer.get(name)?);
        let lifetime_s = seconds("expires_in").unwrap_or(LIFETIME_S).min(LIFETIME_S_MAX);
        let interval_s = seconds("interval").unwrap_or(INTERVAL_S).clamp(1, INTERVAL_S_MAX);
        Ok(Self {
            code: Zeroizing::new(text("device_code").ok_or_else(|| wrong("device_code"))?.to_owned()),
            user_code: shown(text("user_code").ok_or_else(|| wrong("user_code"))?),
            // Written before the RFC was, some say `verification_url`.
            address: address("verification_uri")
                .or_else(|| address("verification_url"))
                .ok_or_else(|| wrong("verification_uri"))?,
            whole_address: address("verification_uri_complete"),
            pace: Pace { interval_ms: interval_s * 1000, until: now.plus(lifetime_s * 1000) },
        })
    }
}

impl Pace {
    /// When to ask next, `now` being when the last answer came; nothing when the code will have ended.
    pub(crate) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        Some(now.plus(self.interval_ms)).filter(|next| *next < self.until)
    }

    /// Whether to go on asking after this failure, and if so, from now on at which pace.
    pub(crate) fn heard(&mut self, error: &Error) -> bool {
        match error.provider_code() {
            Some("authorization_pending") => true,
            Some("slow_down") => {
                self.interval_ms = (self.interval_ms + SLOW_DOWN_S * 1000).min(INTERVAL_S_MAX * 1000);
                true
            }
            // A lost answer makes the host ask more rarely (RFC 8628, 3.5), and is no refusal.
            None if error.may_retry() => {
                self.interval_ms = (self.interval_ms * 2).min(INTERVAL_S_MAX * 1000);
                true
            }
            _ => false,
        }
    }
}

/// The end of a sign-in on another device in words, with what to do next.
pub(crate) fn ended(error: Error, again: &str) -> Error {
    let (kind, message) = match error.provider_code() {
        Some("access_denied") => (Kind::Forbidden, "the sign-in was refused on the other device"),
        Some("expired_token") => (Kind::Timeout, "the code ended before somebody typed it in"),
        _ => return error.with_details(format!("Then begin again:   {again}")),
    };
    Error::new(kind, message)
        .with_provider_code(error.provider_code().map(str::to_owned))
        .with_details(format!("Begin again:   {again}"))
}

/// The error of a code that ended while the host was waiting.
pub(crate) fn expired(again: &str) -> Error {
    Error::new(Kind::Timeout, "the code ended before somebody typed it in")
        .with_details(format!("Begin again:   {again}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn answer(more: &Value) -> Value {
        let mut answer = json!({
            "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS", "user_code": "WDJB-MJHT",
            "verification_uri": "https://example.com/device",
            "verification_uri_complete": "https://example.com/device?user_code=WDJB-MJHT",
            "expires_in": 1800, "interval": 5
        });
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        answer
    }

    fn said(code: &str) -> Error {
        Error::new(Kind::ProviderReported, "").with_provider_code(Some(code.to_owned()))
    }

    /// The example of RFC 8628, 3.2, and what providers make of it.
    #[test]
    fn reads_the_specification_and_its_dialects() {
        let read = DeviceAnswer::read(&answer(&json!({})), NOW).ok().unwrap();
        assert_eq!((read.user_code.as_str(), read.address.as_str()), ("WDJB-MJHT", "https://example.com/device"));
        assert!(read.whole_address.is_some());
        assert_eq!((read.pace.next(NOW), read.pace.until), (Some(NOW.plus(5_000)), NOW.plus(1_800_000)));
        for (more, interval_s, lifetime_s) in [
            (json!({"expires_in": "900", "interval": "7"}), 7, 900),
            (json!({"expires_in": 12.5, "interval": 1.9}), 1, 12),
            (json!({"expires_in": null, "interval": null}), 5, 600),
            (json!({"expires_in": -1, "interval": 0}), 5, 600),
            (json!({"expires_in": 1e18, "interval": "many"}), 5, 3600),
            (json!({"expires_in": u64::MAX, "interval": u64::MAX}), 300, 3600),
            (json!({"verification_uri": null, "verification_url": "https://example.com/device"}), 5, 1800),
        ] {
            let read = DeviceAnswer::read(&answer(&more), NOW).ok().unwrap();
            let wanted = Pace { interval_ms: interval_s * 1000, until: NOW.plus(lifetime_s * 1000) };
            assert_eq!(read.pace, wanted, "{more}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (more, field) in [
            (json!({"device_code": null}), "device_code"),
            (json!({"user_code": 7}), "user_code"),
            (json!({"verification_uri": "javascript:alert(1)"}), "verification_uri"),
            (json!({"verification_uri": "file:///etc/passwd"}), "verification_uri"),
        ] {
            let error = DeviceAnswer::read(&answer(&more), NOW).err().unwrap();
            assert!(error.message().contains(field), "{error}");
        }
        assert!(DeviceAnswer::read(&json!("<html>"), NOW).is_err());
    }

    #[test]
    fn slow_down_slows_down_and_the_code_s_end_ends_it() {
        let mut pace = Pace { interval_ms: 5_000, until: NOW.plus(30_000) };
        assert!(pace.heard(&said("authorization_pending")));
        assert_eq!(pace.next(NOW), Some(NOW.plus(5_000)));
        assert!(pace.heard(&said("slow_down")));
        assert_eq!(pace.next(NOW), Some(NOW.plus(10_000)));
        assert!(pace.heard(&Error::new(Kind::Timeout, "")));
        assert_eq!(pace.next(NOW), Some(NOW.plus(20_000)));
        assert_eq!(pace.next(NOW.plus(10_000)), None);
        for code in ["access_denied", "expired_token", "invalid_grant", "invalid_client"] {
            assert!(!pace.heard(&said(code)), "{code}");
            assert!(ended(said(code), "wharfage connect acme").to_string().contains("wharfage connect acme"));
        }
        assert!(!pace.heard(&Error::new(Kind::Configuration, "")));
    }

    proptest! {
        #[test]
        fn whatever_it_hears_it_neither_hurries_nor_goes_on_for_ever(
            (interval, lifetime) in (any::<i64>(), any::<i64>()),
            heard in prop::collection::vec(0..3, 0..2_000),
        ) {
            let read = DeviceAnswer::read(&answer(&json!({"interval": interval, "expires_in": lifetime})), NOW);
            let mut pace = read.ok().unwrap().pace;
            let (mut now, mut asked) = (NOW, 0);
            for code in heard {
                let error = match code {
                    0 => said("authorization_pending"),
                    1 => said("slow_down"),
                    _ => Error::new(Kind::Timeout, ""),
                };
                prop_assert!(pace.heard(&error));
                let Some(next) = pace.next(now) else { break };
                prop_assert!(next.since(now) >= 1_000 && next.since(now) <= INTERVAL_S_MAX * 1000);
                now = next;
                asked += 1;
            }
            prop_assert!(asked <= LIFETIME_S_MAX && now.since(NOW) <= LIFETIME_S_MAX * 1000);
        }
    }
}
