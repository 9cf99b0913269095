//! How Twilio writes values: dates as in mail, counts as text, a price beside its currency.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Error, Timestamp};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date as the API of 2010 writes it (RFC 2822, `Fri, 24 May 2019 17:18:27 +0000`) or as the newer ones do (RFC 3339).
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    if let Some(at) = Timestamp::parse(text) {
        return Some(at);
    }
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = rest.split_whitespace();
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (time, zone) = (words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let zone = match zone {
        "GMT" | "UT" | "UTC" | "Z" => "Z".to_owned(),
        zone if zone.len() == 5 && zone.is_ascii() => format!("{}:{}", &zone[..3], &zone[3..]),
        _ => return None,
    };
    Timestamp::parse(&format!("{year}-{month:02}-{day:0>2}T{time}{zone}"))
}

/// For `#[serde(deserialize_with = "read::moment")]`: a date in either form; nothing for null and for empty text.
pub(crate) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    date(&text).map(Some).ok_or_else(|| D::Error::custom("no date, expected one as in mail (RFC 2822) or RFC 3339"))
}

/// For `#[serde(deserialize_with = "read::count")]`: a count, mostly written as text; nothing for null and for empty text.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(raw) = Option::<Box<RawValue>>::deserialize(deserializer)? else { return Ok(None) };
    match raw.get().trim_matches('"') {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| D::Error::custom("no count, expected a whole number")),
    }
}

/// The price with the currency that stands beside it, in capitals: `usage` writes `usd` where messages write `USD`.
pub(crate) fn priced(price: &mut Option<Money>, unit: Option<String>) {
    if let (Some(price), Some(unit)) = (price, unit.filter(|unit| !unit.is_empty())) {
        price.currency = Some(unit.to_ascii_uppercase());
    }
}

/// Checks an id: one of these two letters and 32 hexadecimal digits. So it can stand in a path, and a mix-up is told
/// before anybody is asked.
pub(crate) fn sid<'a>(field: &str, value: &'a str, prefixes: &[&str]) -> Result<&'a str, Error> {
    let is_one = value.is_ascii()
        && value.len() == 34
        && prefixes.contains(&&value[..2])
        && value[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one {
        return Ok(value);
    }
    let message = format!("expected an id of {} and 32 hexadecimal digits", prefixes.join(" or "));
    Err(Error::invalid_request(field, message))
}

/// A URL without the user and password that may stand in it: webhooks are often protected so.
pub(crate) fn without_password(url: String) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_generations_are_read() {
        let read = |text: &str| date(text).map(|at| at.to_string());
        assert_eq!(read("Fri, 24 May 2019 17:18:27 +0000").as_deref(), Some("2019-05-24T17:18:27Z"));
        assert_eq!(read("Thu, 1 Jan 1970 01:00:00 +0100").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(read("24 May 2019 17:18:27 GMT").as_deref(), Some("2019-05-24T17:18:27Z"));
        assert_eq!(read("2015-07-30T20:00:00Z").as_deref(), Some("2015-07-30T20:00:00Z"));
        for odd in
            ["", "Fri, 24 May 2019", "Fri, 24 Mai 2019 17:18:27 +0000", "Fri, 32 May 2019 17:18:27 +0000", "é, é é"]
        {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_id_of_something_else_is_refused_before_anybody_is_asked() {
        assert!(sid("/id", "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &["SM", "MM"]).is_ok());
        for wrong in ["", "..", "CAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/a", "é"] {
            let error = sid("/id", wrong, &["SM", "MM"]).unwrap_err();
            assert_eq!(error.message, "/id: expected an id of SM or MM and 32 hexadecimal digits", "{wrong}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let shown = |url: &str| without_password(url.to_owned());
        assert_eq!(shown("https://me:s3cret@hooks.example/sms?a=b@c"), "https://hooks.example/sms?a=b@c");
        assert_eq!(shown("https://me:p@ss@hooks.example"), "https://hooks.example");
        assert_eq!(shown("https://hooks.example/a@b"), "https://hooks.example/a@b");
        assert_eq!(shown(""), "");
    }
}
