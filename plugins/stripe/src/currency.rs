//! Amounts as people read them, made of the whole numbers that Stripe writes and made into them again. Exactly: a digit
//! too many is refused, and none is rounded.
//!
//! How many digits stand behind the point is Stripe's own list, which is not ISO 4217's: of the króna and the shilling
//! there are no parts, and still Stripe counts in hundredths of them.
//! <https://docs.stripe.com/currencies>, read 2026-11-24 in a copy of 2026-09-03.

use wharfage_sdk::Error;
use wharfage_sdk::money::{Decimal, Money, smallest_units};

/// One unit is the smallest there is.
const WHOLE: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];

/// One unit has a thousand parts, and the last digit must be 0.
const IN_THOUSANDTHS: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];

/// Counted in hundredths that must be 0.
const WHOLE_IN_HUNDREDTHS: &[&str] = &["ISK", "UGX"];

/// Digits behind the point of what Stripe writes.
fn decimals(currency: &str) -> u8 {
    match currency {
        whole if WHOLE.contains(&whole) => 0,
        fine if IN_THOUSANDTHS.contains(&fine) => 3,
        _ => 2,
    }
}

/// Digits behind the point that an amount may have.
fn decimals_allowed(currency: &str) -> u8 {
    if WHOLE_IN_HUNDREDTHS.contains(&currency) { 0 } else { decimals(currency).min(2) }
}

/// So many smallest units of a currency, whose name Stripe writes in small letters.
pub(crate) fn shown(units: i64, currency: &str) -> Money {
    let currency = currency.to_ascii_uppercase();
    Money { amount: Decimal::new(units, u32::from(decimals(&currency))), currency: Some(currency) }
}

/// An amount and a currency of an input, as Stripe wants them: smallest units, and the name in small letters.
///
/// # Errors
/// `invalid-request` without a currency, for less than nothing, and for an amount with more digits than there are.
pub(crate) fn sent(field: &str, money: &Money) -> Result<(String, String), Error> {
    let at = |name: &str| [field, name].concat();
    let currency = money.currency.as_deref().unwrap_or_default();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Error::invalid_request(at("/currency"), "expected a currency of three letters, as EUR"));
    }
    let currency = currency.to_ascii_uppercase();
    if money.amount.is_sign_negative() {
        return Err(Error::invalid_request(at("/amount"), "expected an amount that is not negative"));
    }
    let text = money.amount.to_string();
    if smallest_units(&text, decimals_allowed(&currency)).is_err() {
        let message = match decimals_allowed(&currency) {
            0 => "expected a whole amount: this currency has no smaller unit at Stripe",
            _ => "expected an amount with at most two digits behind the point",
        };
        return Err(Error::invalid_request(at("/amount"), message));
    }
    let units = smallest_units(&text, decimals(&currency))?;
    Ok((units, currency.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> Money {
        serde_json::from_value(serde_json::json!({"amount": amount, "currency": currency})).unwrap()
    }

    #[test]
    fn amounts_are_shown_as_people_read_them() {
        for (units, currency, text) in [
            (1099, "usd", "10.99 USD"),
            (1000, "eur", "10.00 EUR"),
            (500, "jpy", "500 JPY"),
            (5120, "kwd", "5.120 KWD"),
            (500, "isk", "5.00 ISK"),
            (500, "ugx", "5.00 UGX"),
            (1045, "huf", "10.45 HUF"),
            (-250, "gbp", "-2.50 GBP"),
            (0, "usd", "0.00 USD"),
            (i64::MAX, "usd", "92233720368547758.07 USD"),
        ] {
            assert_eq!(shown(units, currency).to_string(), text);
        }
    }

    #[test]
    fn amounts_are_sent_in_the_smallest_unit() {
        for (amount, currency, units) in [
            ("10.99", "USD", "1099"),
            ("10", "usd", "1000"),
            ("0.5", "EUR", "50"),
            ("500", "JPY", "500"),
            ("500.0", "JPY", "500"),
            ("5.12", "KWD", "5120"),
            ("5", "ISK", "500"),
            ("5", "UGX", "500"),
            ("99999999999999.99", "IDR", "9999999999999999"),
        ] {
            let (sent_units, sent_currency) = sent("/amount", &money(amount, currency)).unwrap();
            assert_eq!(sent_units, units, "{amount} {currency}");
            assert_eq!(sent_currency, currency.to_ascii_lowercase());
        }
    }

    // A digit that Stripe does not count would be cut or, worse, be read as a hundred times the amount.
    #[test]
    fn nothing_is_rounded() {
        for (amount, currency) in
            [("10.999", "USD"), ("500.5", "JPY"), ("5.123", "KWD"), ("5.50", "ISK"), ("-1", "USD")]
        {
            assert_eq!(
                sent("/amount", &money(amount, currency)).unwrap_err().kind.name(),
                "invalid-request",
                "{amount}"
            );
        }
        for currency in ["", "EURO", "e1r"] {
            let error = sent("/amount", &money("1", currency)).unwrap_err();
            assert!(error.message.starts_with("/amount/currency: "), "{error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_sent() {
        for (units, currency) in [(1099, "usd"), (7, "jpy"), (5120, "bhd"), (700, "isk"), (10, "tnd")] {
            let (text, name) = sent("", &shown(units, currency)).unwrap();
            assert_eq!((text, name.as_str()), (units.to_string(), currency));
        }
    }
}
