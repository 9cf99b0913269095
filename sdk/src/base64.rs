//! Bytes as text: Base64 (RFC 4648), in the standard alphabet and in the one for URLs and names of files.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// In the standard alphabet, with `+` and `/`, and padded.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = write(bytes, STANDARD);
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

/// In the alphabet for URLs, with `-` and `_`, and without padding.
pub fn encode_url(bytes: &[u8]) -> String {
    write(bytes, FOR_URLS)
}

/// Exactly what [`encode`] makes, back again; nothing for anything else.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    decode_forgiving(text).filter(|bytes| encode(bytes) == text)
}

/// As it comes: in either alphabet, with padding or without, and with spaces and line breaks anywhere. Nothing for what is
/// no such text.
pub fn decode_forgiving(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches(|letter: char| letter == '=' || letter.is_ascii_whitespace());
    let mut bytes = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    let (mut held, mut bits) = (0u32, 0);
    for letter in bare.bytes().filter(|letter| !letter.is_ascii_whitespace()) {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    // One letter alone holds no byte.
    (bits < 6).then_some(bytes)
}

fn write(bytes: &[u8], letters: &[u8; 64]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=three.len() {
            text.push(char::from(letters[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_as_rfc_4648_has_it() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff\xef\xbe", "/+++"),
        ] {
            assert_eq!((encode(bytes).as_str(), decode(text).as_deref()), (text, Some(bytes)));
            assert_eq!(decode_forgiving(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for length in 0..20u8 {
            let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37).wrapping_add(190)).collect();
            assert_eq!(decode(&encode(&bytes)).as_ref(), Some(&bytes));
            assert_eq!(decode_forgiving(&encode_url(&bytes)).as_ref(), Some(&bytes));
        }
        assert_eq!(encode_url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn another_text_than_would_be_written_is_refused() {
        let wrong = ["Zg", "Zg=", "Zh==", "Z===", "Zm 8", "Zm9v=", "Zm9_", "-_8=", "====", "Zm9v\n", "Zm9vYg\n="];
        for wrong in wrong {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_comes_may_be_written_in_either_way() {
        for (text, bytes) in
            [("-_8", &b"\xfb\xff"[..]), ("+/8=", b"\xfb\xff"), ("Zm9v\nYmE=\n", b"fooba"), (" Zm9vYg ", b"foob")]
        {
            assert_eq!(decode_forgiving(text).as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["not base64!", "A", "Zm9vY", "Zm=8", "ü"] {
            assert_eq!(decode_forgiving(wrong), None, "{wrong}");
        }
    }
}
