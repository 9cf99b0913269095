//! Messages of protocol buffers (<https://protobuf.dev/programming-guides/encoding/>, read 2026-11-29), as far as OTLP needs
//! them.

use serde_json::Value;

use crate::mask::MASKED;
use crate::observe::redact::{is_secret_name, redact};
use crate::text::shown;

/// Most bytes of one text.
const TEXT_BYTES_MAX: usize = 1_024;

/// A message, written field by field.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    pub(crate) fn fixed64(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn fixed32(&mut self, field: u64, number: u32) {
        self.varint(field << 3 | 5);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A name with a value, redacted.
    pub(crate) fn attribute(&mut self, field: u64, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |any| match value {
                Value::Bool(value) => any.number(2, u64::from(*value)),
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    // A negative one is written as its two's complement.
                    (Some(number), _) => any.number(3, number as u64),
                    (None, number) => any.fixed64(4, number.unwrap_or_default().to_bits()),
                },
                Value::String(_) if is_secret_name(name) => any.bytes(1, MASKED.as_bytes()),
                Value::String(text) => any.text(1, &redact(text)),
                other => any.bytes(1, redact(&other.to_string()).as_bytes()),
            });
        });
    }

    /// A text, cut where it is too long.
    pub(crate) fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
    }

    /// Numbers of eight bytes, one after the other.
    pub(crate) fn packed64(&mut self, field: u64, numbers: impl Iterator<Item = u64>) {
        let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
        self.bytes(field, &bytes);
    }
}

/// What a receiver did not take of a message that it took otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejected {
    /// How many spans or points.
    pub(super) count: u64,
    /// Why, as it says.
    pub(super) why: String,
}

/// The `partial_success` of an answer, by the numbers of `opentelemetry/proto/collector/…/v1/…_service.proto` (1.7); nothing
/// where all was taken, or what is answered cannot be read.
pub(super) fn rejected(answer: &[u8]) -> Option<Rejected> {
    let (_, partial) = field(answer, 1)?;
    let (count, _) = field(partial, 1).filter(|(count, _)| (1..=i64::MAX as u64).contains(count))?;
    let why = field(partial, 2).map(|(_, why)| String::from_utf8_lossy(why)).unwrap_or_default();
    Some(Rejected { count, why: shown(&redact(&why)) })
}

/// The field of this number, as a number or as bytes: the last one, where there are several.
fn field(mut bytes: &[u8], wanted: u64) -> Option<(u64, &[u8])> {
    let mut found = None;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let count = match key & 7 {
            0 => 0,
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let number = if key & 7 == 0 { varint(&mut bytes)? } else { 0 };
        let (taken, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        if key >> 3 == wanted {
            found = Some((number, taken));
        }
    }
    found
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(count: u64, why: &str) -> Vec<u8> {
        let mut out = Message::default();
        out.fixed64(9, 1);
        out.message(1, |partial| {
            partial.number(1, count);
            partial.bytes(2, why.as_bytes());
        });
        out.0
    }

    #[test]
    fn what_a_receiver_rejects_is_read_and_nothing_else_is_taken_for_it() {
        let read = rejected(&answer(512, "over the limit of Bearer abc123def456\u{1b}[2J")).unwrap();
        assert_eq!((read.count, read.why.as_str()), (512, "over the limit of Bearer [masked]\u{fffd}[2J"));
        let long = rejected(&answer(1, &"é".repeat(10_000))).unwrap().why;
        assert!(long.chars().count() < 200, "{long}");
        for taken in [&answer(0, "no more of this, please"), &answer(u64::MAX, "less than none"), &Vec::new()] {
            assert_eq!(rejected(taken), None);
        }
        for other in ["words", r#"{"partialSuccess":{"rejectedSpans":"1"}}"#, "<html>", "\u{1}", "\n\u{7f}\u{8}\u{1}"] {
            assert_eq!(rejected(other.as_bytes()), None, "{other}");
        }
        let whole = answer(3, "over the limit");
        (0..whole.len()).for_each(|end| assert_eq!(rejected(&whole[..end]), None, "cut off at {end}"));
        assert_eq!(rejected(&[0xff; 64]), None);
    }
}
