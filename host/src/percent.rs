//! Percent-encoding (RFC 3986, 2.1). What needs no escape, each caller knows.

use crate::hex::unhex;

/// The bytes as text, each one escaped that does not stay.
pub(crate) fn encoded(bytes: &[u8], stays: impl Fn(u8) -> bool) -> String {
    // It may hold a secret, of which growing would leave a copy behind.
    let mut text = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        match stays(*byte) {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The bytes that a text stands for. What is no escape stands for itself.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::<u8>::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let escape = after.split_first_chunk::<2>().filter(|_| *first == b'%');
        match escape.and_then(|(digits, beyond)| Some((unhex(digits)?, beyond))) {
            Some((byte, beyond)) => {
                bytes.extend(byte);
                rest = beyond;
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all, |byte| byte.is_ascii_alphanumeric())), all);
        assert_eq!(encoded("a/ä%".as_bytes(), |byte| byte == b'a'), "a%2F%C3%A4%25");
        assert_eq!(decoded("%41%4a%4A%25%"), b"AJJ%%");
        for plain in ["%", "%4", "%4g", "%+f", "%ä", "%%4"] {
            assert_eq!(decoded(plain), plain.as_bytes());
        }
    }
}
