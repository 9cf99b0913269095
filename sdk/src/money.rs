//! Amounts, exactly. A binary float cannot hold 0.10, so no amount ever passes through one: not even when a provider
//! writes it as a JSON number, which is then read by its text.

use std::fmt;

use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Error;

pub use rust_decimal::Decimal;

/// An amount and its currency, where that is known.
///
/// It reads `"12.30"`, `12.30` and `{"amount": "12.30", "currency": "USD"}`, and writes
/// `{"amount": "12.30", "currency": "USD"}`. It does not read inside `#[serde(flatten)]` or an untagged enum: serde turns
/// numbers into floats there before anybody can look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Money {
    /// The amount, as decimal text.
    #[schemars(with = "String")]
    pub amount: Decimal,
    /// The currency, as ISO 4217 writes it; null where the provider names none.
    pub currency: Option<String>,
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Pair {
            #[serde(with = "decimal")]
            amount: Decimal,
            #[serde(default)]
            currency: Option<String>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get().starts_with('{') {
            let pair: Pair = crate::json::read(text.get()).map_err(|_| expected::<D::Error>())?;
            return Ok(Self { amount: pair.amount, currency: pair.currency });
        }
        Ok(Self { amount: exact(&text).ok_or_else(expected::<D::Error>)?, currency: None })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.amount)?;
        self.currency.iter().try_for_each(|currency| write!(f, " {currency}"))
    }
}

/// For `#[serde(with = "money::decimal")]`: reads a decimal from text or from a number's own text, writes text.
/// Its schema is that of a string: `#[schemars(with = "String")]`.
pub mod decimal {
    use super::*;

    /// Reads `"12.30"` or `12.30`.
    ///
    /// # Errors
    /// When it is neither, or has more than 28 digits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        exact(&text).ok_or_else(expected::<D::Error>)
    }

    /// Writes `"12.30"`.
    ///
    /// # Errors
    /// When the serializer fails.
    pub fn serialize<S: serde::Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }
}

fn expected<E: serde::de::Error>() -> E {
    E::custom("not an amount, expected decimal text")
}

fn exact(json: &RawValue) -> Option<Decimal> {
    let text = json.get();
    let text = match text.strip_prefix('"') {
        Some(_) => crate::json::read::<String>(text).ok()?,
        None => without_exponent(text)?,
    };
    Decimal::from_str_exact(&text).ok()
}

/// A JSON number without its exponent, as some encoders write even small amounts: `2.5e-1` is `0.25`.
fn without_exponent(number: &str) -> Option<String> {
    let Some((digits, exponent)) = number.split_once(['e', 'E']) else {
        return Some(number.to_owned());
    };
    let exponent: i8 = exponent.parse().ok()?;
    let (sign, digits) = signed(digits);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let places = usize::from(exponent.unsigned_abs());
    let (whole, fraction) = if exponent < 0 {
        let whole = format!("{whole:0>width$}", width = places + 1);
        let (kept, moved) = whole.split_at_checked(whole.len() - places)?;
        (kept.to_owned(), format!("{moved}{fraction}"))
    } else {
        let fraction = format!("{fraction:0<places$}");
        let (moved, kept) = fraction.split_at_checked(places)?;
        (format!("{whole}{moved}"), kept.to_owned())
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// A whole number of smallest units as decimal text: `units("1500000000000000000", 18)` is `"1.5"`.
///
/// It works on the digits, so amounts beyond 128 bits stay exact.
///
/// # Errors
/// `schema-violation` when `value` is not a whole number.
pub fn units(value: &str, decimals: u8) -> Result<String, Error> {
    let (sign, digits) = signed(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::schema_violation("expected a whole number of smallest units"));
    }
    let width = usize::from(decimals) + 1;
    let padded = format!("{:0>width$}", digits.trim_start_matches('0'));
    let (whole, fraction) = padded.split_at(padded.len() - usize::from(decimals));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if whole == "0" && fraction.is_empty() { "" } else { sign };
    Ok(format!("{sign}{whole}{point}{fraction}"))
}

/// Decimal text as a whole number of smallest units: `smallest_units("1.5", 18)` is `"1500000000000000000"`.
///
/// # Errors
/// `schema-violation` when `value` is not decimal text or has more than `decimals` digits after the point.
pub fn smallest_units(value: &str, decimals: u8) -> Result<String, Error> {
    let (sign, digits) = signed(value);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_decimal = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if !is_decimal || fraction.len() > usize::from(decimals) {
        return Err(Error::schema_violation(format!("expected decimal text with at most {decimals} decimals")));
    }
    let all = format!("{whole}{fraction:0<width$}", width = usize::from(decimals));
    match all.trim_start_matches('0') {
        "" => Ok("0".to_owned()),
        digits => Ok(format!("{sign}{digits}")),
    }
}

fn signed(value: &str) -> (&str, &str) {
    value.strip_prefix('-').map_or(("", value), |digits| ("-", digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> String {
        serde_json::from_str::<Money>(json).map_or_else(|error| error.to_string(), |money| money.to_string())
    }

    // What went wrong: totals were read as floats and printed with two decimals, so cents drifted and long amounts were
    // rounded. Reading 0.1 + 0.2 or sixteen digits back as text shows it at once.
    #[test]
    fn guide_s27_money_was_a_float() {
        assert_eq!(read(r#"{"amount": 1234567890123456.78, "currency": "USD"}"#), "1234567890123456.78 USD");
        assert_eq!(read("4250.00"), "4250.00");
        let tenth = serde_json::from_str::<Money>("0.1").unwrap().amount;
        let fifth = serde_json::from_str::<Money>(r#""0.2""#).unwrap().amount;
        assert_eq!((tenth + fifth).to_string(), "0.3");
    }

    #[test]
    fn each_form_is_read() {
        assert_eq!(read(r#""12.30""#), "12.30");
        assert_eq!(read(r#"{"amount": "12.30"}"#), "12.30");
        assert_eq!(read("594"), "594");
        assert_eq!(read("1e3"), "1000");
        assert_eq!(read("-2.5E+0"), "-2.5");
        assert_eq!(read("2.5e-1"), "0.25");
        assert_eq!(read("1.205e2"), "120.5");
        assert_eq!(read("1e-05"), "0.00001");
        assert!(read(r#""12,30""#).contains("expected decimal text"));
        assert!(read("true").contains("expected decimal text"));
        assert!(!read(r#""s3cret""#).contains("s3cret"));
    }

    #[test]
    fn it_is_written_as_text() {
        let money = Money { amount: Decimal::new(1230, 2), currency: Some("USD".into()) };
        assert_eq!(serde_json::to_string(&money).unwrap(), r#"{"amount":"12.30","currency":"USD"}"#);
    }

    #[test]
    fn wei_beyond_128_bits_stays_exact() {
        let wei = "123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(units(wei, 18).unwrap(), "123456789012345678901234567890123456789012.34567890123456789");
        assert_eq!(smallest_units(&units(wei, 18).unwrap(), 18).unwrap(), wei);
        assert_eq!(units("0", 18).unwrap(), "0");
        assert_eq!(units("-5", 1).unwrap(), "-0.5");
        assert!(units("0x10", 18).is_err());
        assert!(smallest_units("0.001", 2).is_err());
    }

    proptest! {
        #[test]
        fn units_go_there_and_back(digits in "[1-9][0-9]{0,60}", decimals in 0u8..40) {
            let text = units(&digits, decimals).unwrap();
            prop_assert_eq!(smallest_units(&text, decimals).unwrap(), digits);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}", decimals: u8) {
            _ = units(&text, decimals);
            _ = smallest_units(&text, decimals);
            _ = serde_json::from_str::<Money>(&text);
        }
    }
}
