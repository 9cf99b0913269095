//! Numbers of an answer, exactly as they were sent.
//!
//! Etherscan writes nearly every number as a text, sometimes with a fraction, and a few as JSON numbers. Each is read
//! by its own text and never through a float: 18 digits after the point are more than a float can hold.

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};
use serde_json::value::RawValue;

/// A text, or a JSON number by its own text; `null` is the empty text.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let raw = Box::<RawValue>::deserialize(from)?;
    match raw.get().as_bytes() {
        b"null" => Ok(String::new()),
        [b'"', ..] => wharfage_sdk::json::parse(raw.get().as_bytes()).ok_or_else(|| expected("a text")),
        [b'-' | b'0'..=b'9', ..] => Ok(raw.get().to_owned()),
        _ => Err(expected("a text or a number")),
    }
}

/// A whole number of any length, as an amount of wei is.
pub(crate) fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from).and_then(|text| if is_whole(&text) { Ok(text) } else { Err(expected("a whole number")) })
}

/// A number with or without a fraction, as a gas price is.
pub(crate) fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from).and_then(|text| if is_decimal(&text) { Ok(text) } else { Err(expected("a decimal number")) })
}

/// Like [`decimal`]; `None` where nothing is written.
pub(crate) fn decimal_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match text(from)? {
        text if text.is_empty() => Ok(None),
        text if is_decimal(&text) => Ok(Some(text)),
        _ => Err(expected("a decimal number or nothing")),
    }
}

/// A number that counts something: a block, a second, a unit of gas.
pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    text(from)?.parse().map_err(|_| expected("a count"))
}

/// Like [`count`]; `None` where nothing is written, as for the nonce of a genesis row.
pub(crate) fn count_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match text(from)? {
        text if text.is_empty() => Ok(None),
        text => text.parse().map(Some).map_err(|_| expected("a count or nothing")),
    }
}

/// A number in hex, as JSON-RPC and the log of events write it. `0x` alone is zero there.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    digits.bytes().try_fold(0_u64, |sum, digit| {
        let digit = char::from(digit).to_digit(16)?;
        sum.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// Like [`hex`], of an answer.
pub(crate) fn hex_count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    hex(&text(from)?).ok_or_else(|| expected("a number in hex"))
}

/// Says what was expected and not what was there.
fn expected<E: Error>(what: &'static str) -> E {
    E::invalid_value(Unexpected::Other("a value"), &what)
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    is_whole(whole) && is_whole(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Wei(#[serde(deserialize_with = "whole")] String);

    #[derive(Deserialize)]
    struct Gwei(#[serde(deserialize_with = "decimal")] String);

    #[derive(Deserialize)]
    struct Nonce(#[serde(deserialize_with = "count_some")] Option<u64>);

    #[test]
    fn more_digits_than_a_float_holds_stay_as_they_are() {
        let wei = serde_json::from_str::<Wei>(r#""610538078574759898951277""#).map(|Wei(text)| text).ok();
        assert_eq!(wei.as_deref(), Some("610538078574759898951277"));
        let number = serde_json::from_str::<Wei>("610538078574759898951277").map(|Wei(text)| text).ok();
        assert_eq!(number, wei, "a JSON number is read by its text");
    }

    #[test]
    fn a_fraction_is_a_decimal_and_no_whole_number() {
        let gwei = serde_json::from_str::<Gwei>(r#""0.118293301""#).map(|Gwei(text)| text).ok();
        assert_eq!(gwei.as_deref(), Some("0.118293301"));
        assert!(serde_json::from_str::<Wei>(r#""0.5""#).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in [r#""""#, r#""-1""#, r#""1e3""#, r#"".5""#, r#""5.""#, r#""0x10""#, "1e3", "-1", "[]", "true"] {
            assert!(serde_json::from_str::<Gwei>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hex_is_read_to_its_last_digit_and_nothing_else_is() {
        let read = ["0x", "0x0", "0x10d4f", "0xffffffffffffffff", "0x0000000000000000000000006"].map(hex);
        assert_eq!(read, [Some(0), Some(0), Some(68_943), Some(u64::MAX), Some(6)]);
        assert_eq!(["", "7", "0x+1", "0x1ffffffffffffffff", "0xg"].map(hex), [None; 5]);
    }

    #[test]
    fn nothing_written_is_none() {
        let nonces =
            [r#""""#, "null", r#""7""#].map(|text| serde_json::from_str::<Nonce>(text).map(|Nonce(nonce)| nonce).ok());
        assert_eq!(nonces, [Some(None), Some(None), Some(Some(7))]);
    }
}
