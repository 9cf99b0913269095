//! Numbers of an answer, exactly as they were sent.
//!
//! Etherscan writes nearly every number as a text, sometimes with a fraction, and a few as JSON numbers. Each is read
//! by its own text and never through a float: 18 digits after the point are more than a float can hold.

/// A number that counts something, in digits or in hex.
pub(crate) fn count(text: &str) -> Option<u64> {
    if text.starts_with("0x") { hex(text) } else { text.parse().ok().filter(|_| is_whole(text)) }
}

/// A number in hex, as JSON-RPC and the log of events write it. `0x` alone is zero there.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    digits.bytes().try_fold(0_u64, |sum, digit| {
        let digit = char::from(digit).to_digit(16)?;
        sum.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// Whether it is a number without a fraction, however long.
pub(crate) fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is a number, with or without a fraction.
pub(crate) fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    is_whole(whole) && is_whole(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_a_decimal_and_no_whole_number() {
        assert!(is_decimal("0.118293301") && is_decimal("610538078574759898951277"));
        assert!(is_whole("610538078574759898951277") && !is_whole("0.5"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for wrong in ["", "-1", "1e3", ".5", "5.", "0x10", "[]", "true"] {
            assert!(!is_decimal(wrong) && !is_whole(wrong), "{wrong}");
        }
        assert_eq!(["", "+7", "-7", "0.5", "18446744073709551616", "soon"].map(count), [None; 6]);
        assert_eq!(
            ["0", "007", "18446744073709551615", "0x", "0x10"].map(count),
            [Some(0), Some(7), Some(u64::MAX), Some(0), Some(16)]
        );
    }

    #[test]
    fn hex_is_read_to_its_last_digit_and_nothing_else_is() {
        let read = ["0x", "0x0", "0x10d4f", "0xffffffffffffffff", "0x0000000000000000000000006"].map(hex);
        assert_eq!(read, [Some(0), Some(0), Some(68_943), Some(u64::MAX), Some(6)]);
        assert_eq!(["", "7", "0x+1", "0x1ffffffffffffffff", "0xg"].map(hex), [None; 5]);
    }
}
