//! Bytes as text that can be compared, named and printed.

/// Two lower-case digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The bytes of two digits each, in either case; nothing for other text.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(hex(&all).as_bytes()), Some(all.clone()));
        assert_eq!(unhex(hex(&all).to_uppercase().as_bytes()), Some(all));
        assert_eq!(unhex(b""), Some(Vec::new()));
        for wrong in [&b"0"[..], b"0g", b"+1", b"0x10", b"\xff\xff", b" 1"] {
            assert_eq!(unhex(wrong), None);
        }
    }
}
