//! Messages of protocol buffers (<https://protobuf.dev/programming-guides/encoding/>, read 2026-11-29), as far as OTLP needs
//! them.

use serde_json::Value;

use crate::observe::redact::{is_secret_name, redact};
use crate::outbound::mask::MASKED;

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
