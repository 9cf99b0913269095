//! Base64 (RFC 4648): Gmail writes bodies in the alphabet for URLs, mails theirs in the other.

/// The alphabet of URLs, without padding.
pub(crate) fn for_url(bytes: &[u8]) -> String {
    encode(bytes, b'-', b'_')
}

/// The alphabet of mail, with padding.
pub(crate) fn for_mail(bytes: &[u8]) -> String {
    let mut text = encode(bytes, b'+', b'/');
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn encode(bytes: &[u8], plus: u8, slash: u8) -> String {
    let letter = |six: u32| match (six & 63) as u8 {
        n @ 0..=25 => b'A' + n,
        n @ 26..=51 => b'a' + n - 26,
        n @ 52..=61 => b'0' + n - 52,
        62 => plus,
        _ => slash,
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(letter(bits >> (18 - 6 * place))));
        }
    }
    text
}

/// Either alphabet, with or without padding. Nothing else is taken.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    // One letter alone holds no byte.
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for length in 0..20u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37).wrapping_add(190)).collect();
            assert_eq!(decode(&for_url(&bytes)).as_ref(), Some(&bytes));
            assert_eq!(decode(&for_mail(&bytes)).as_ref(), Some(&bytes));
        }
    }

    #[test]
    fn it_is_what_rfc_4648_says() {
        assert_eq!(for_mail(b"foob"), "Zm9vYg==");
        assert_eq!(for_url(&[0xfb, 0xff]), "-_8");
        assert_eq!(decode("not base64!"), None);
        assert_eq!(decode("A"), None);
    }
}
