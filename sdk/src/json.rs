//! JSON in and out, with errors that say where and what was expected, and never what was there instead.

#[doc(hidden)]
pub mod input;
mod reader;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::Error;

pub(crate) use reader::{Misfit, read};

/// A value together with the JSON it was read from, so that fields nobody thought of are not lost. Read it with
/// [`Response::part`](crate::Response::part).
#[derive(Clone, Debug)]
pub struct Kept<T> {
    /// What was understood.
    pub value: T,
    /// All of it, as it stood there.
    pub raw: Box<RawValue>,
}

/// JSON that stands for a `T`: put together field by field, without the code that writes a `T`. `T` gives it its schema,
/// and that it looks like one is for whoever makes it.
#[derive(Debug)]
pub struct Picked<T>(Box<RawValue>, PhantomData<T>);

impl<T> Picked<T> {
    /// What was put together; see [`raw`].
    pub fn new(picked: Box<RawValue>) -> Self {
        Self(picked, PhantomData)
    }
}

impl<T> Serialize for Picked<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Picked<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A value of JSON text; nothing where it is none, or of another shape. An answer's body is better read with
/// [`Response::json`](crate::Response::json), which says what is wrong with it.
///
/// A component that reads JSON in no other way holds the code for it once.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    read(std::str::from_utf8(text).ok()?).ok()
}

/// Any value. It is read as a [`Value`] is, which would bring the code of another reader into a component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Any(pub Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Any;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any valid JSON value")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Any, E> {
                Ok(Any(flag.into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Any, E> {
                Ok(Any(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Any, E> {
                Ok(Any(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Any, E> {
                Ok(Any(number.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Any, E> {
                Ok(Any(text.into()))
            }

            fn visit_string<E>(self, text: String) -> Result<Any, E> {
                Ok(Any(text.into()))
            }

            fn visit_unit<E>(self) -> Result<Any, E> {
                Ok(Any(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
                let mut values = Vec::new();
                while let Some(Any(value)) = items.next_element()? {
                    values.push(value);
                }
                Ok(Any(Value::Array(values)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Any, A::Error> {
                let mut values = Map::new();
                while let Some(name) = fields.next_key::<String>()? {
                    let Any(value) = fields.next_value()?;
                    values.insert(name, value);
                }
                Ok(Any(Value::Object(values)))
            }
        }

        deserializer.deserialize_any(AnyValue)
    }
}

/// A value that is written as this text, which a component made itself; nothing where it is no JSON.
///
/// It does what `RawValue::from_string` does, without the code of another reader.
pub fn raw(text: String) -> Option<Box<RawValue>> {
    reader::raw(text)
}

/// A value as JSON text.
pub(crate) fn to_text<T: Serialize>(value: &T) -> Result<String, Error> {
    let mut text = Vec::new();
    let written = value.serialize(&mut serde_json::Serializer::new(&mut text));
    whole(text, written)
}

/// An operation's input.
pub(crate) fn parse_input<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read(text).map_err(|misfit| refusal(text, misfit))
}

#[cold]
#[inline(never)]
fn refusal(text: &str, misfit: Misfit) -> Error {
    let place = place(text.as_bytes(), &misfit);
    match misfit.expected {
        Some(expected) => Error::invalid_request(place, expected),
        None => Error::invalid_request("", "expected JSON"),
    }
}

/// Where reading stopped, as a JSON Pointer. A reader that follows the path would double the code of every type; so the
/// text is read once more, up to there.
///
/// Keys that do not look like names of fields are replaced by `*`: they may be data.
pub(crate) fn place(text: &[u8], misfit: &Misfit) -> String {
    let mut stack: Vec<Step> = Vec::new();
    let mut position = 0;
    while position < misfit.at.min(text.len()) {
        match text[position] {
            b'{' => stack.push(Step::Key(String::new())),
            b'[' => stack.push(Step::Index(0)),
            b'}' | b']' => _ = stack.pop(),
            b',' => {
                if let Some(Step::Index(index)) = stack.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                let start = position + 1;
                position = end_of_string(text, start);
                let is_key = text[position.min(text.len())..].iter().skip(1).find(|byte| !byte.is_ascii_whitespace())
                    == Some(&b':');
                if let (true, Some(Step::Key(key))) = (is_key, stack.last_mut()) {
                    *key = name_of(&text[start..position.min(text.len())]);
                }
            }
            _ => {}
        }
        position += 1;
    }
    // What is missing is missing in the object, and not in the field that came last there.
    if let (true, Some(Step::Key(key))) = (misfit.is_missing_here(), stack.last_mut()) {
        key.clear();
    }
    stack.iter().fold(String::new(), |mut path, step| {
        match step {
            Step::Key(key) if key.is_empty() => {}
            Step::Key(key) => path.extend(["/", key]),
            Step::Index(index) => path.extend(["/", &index.to_string()]),
        }
        path
    })
}

enum Step {
    Key(String),
    Index(usize),
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut position = start;
    while position < text.len() && text[position] != b'"' {
        position += if text[position] == b'\\' { 2 } else { 1 };
    }
    position
}

fn name_of(key: &[u8]) -> String {
    let looks_like_a_name =
        key.len() <= 40 && key.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if looks_like_a_name { String::from_utf8_lossy(key).into_owned() } else { "*".to_owned() }
}

/// The first `bytes_max` bytes of a body as text.
pub(crate) fn beginning(body: &[u8], bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(&body[..body.len().min(bytes_max)]).into_owned();
    if body.len() > bytes_max && text.ends_with(char::REPLACEMENT_CHARACTER) {
        text.pop();
    }
    text
}

/// What was written, if all of it was. It stands once for all types.
#[inline(never)]
fn whole(text: Vec<u8>, written: serde_json::Result<()>) -> Result<String, Error> {
    let text = written.ok().and_then(|()| String::from_utf8(text).ok());
    text.ok_or_else(|| Error::internal("a value has no JSON form"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Input {
        limit: u32,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Line {
        sku: String,
    }

    fn refusal(text: &str) -> (String, String) {
        let error = parse_input::<Input>(text).unwrap_err();
        match &error.kind {
            crate::ErrorKind::InvalidRequest(fields) => (fields[0].path.clone(), fields[0].message.clone()),
            kind => panic!("{kind:?}"),
        }
    }

    #[test]
    fn a_refusal_says_where_and_what_was_expected() {
        let refused = |text: &str, path: &str, message: &str| {
            assert_eq!(refusal(text), (path.to_owned(), message.to_owned()), "{text}");
        };
        refused(r#"{"limit": "s3cret"}"#, "/limit", "expected u32");
        refused(r#"{"limit": -1}"#, "/limit", "expected u32");
        refused(
            "{\n  \"limit\": 1,\n  \"lines\": [{\"sku\": \"a\"}, {\"sku\": 7}]}",
            "/lines/1/sku",
            "expected a string",
        );
        refused(r#"{"limit": 1, "lines": [{}]}"#, "/lines/0", "missing field `sku`");
        refused(r#"{"limit": 1, "lines": [{"sku": "a"}, {"name": 1}]}"#, "/lines/1", "missing field `sku`");
        refused(r#"{"lines": []}"#, "", "missing field `limit`");
        refused(r#"{"limt": 1}"#, "/limt", "unknown field, expected `limit` or `lines`");
        refused("{}", "", "missing field `limit`");
        refused("<html>", "", "expected JSON");
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        item: Tagged,
        number: u32,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Tagged {
        A { x: u32 },
    }

    /// It is read whole before anybody knows what belongs to it, so that reading stops behind it.
    #[test]
    fn what_a_value_with_a_tag_misses_is_missing_there() {
        for (text, message) in [
            (r#"{"item": {"type": "a"}, "number": 1}"#, "/item: missing field `x`"),
            (r#"{"number": 1, "item": {"type": "a"}}"#, "/item: missing field `x`"),
            (r#"{"number": 1, "item": {"x": 1}}"#, "/item: missing field `type`"),
            (r#"{"item": {"type": "a", "x": 1}}"#, "missing field `number`"),
        ] {
            assert_eq!(parse_input::<Outer>(text).unwrap_err().message, message, "{text}");
        }
        let error = parse_input::<Vec<Tagged>>(r#"[{"type": "a", "x": 1}, {"type": "a"}]"#).unwrap_err();
        assert_eq!(error.message, "/1: missing field `x`");
    }

    #[test]
    fn a_value_that_imitates_the_message_is_not_echoed() {
        let (_, message) = refusal(r#"{"limit": "x, expected s3cret"}"#);
        assert_eq!(message, "expected u32");
    }

    #[test]
    fn a_body_is_cut_between_characters() {
        assert_eq!(beginning("aé".as_bytes(), 2), "a");
        assert_eq!(beginning(b"abc", 500), "abc");
    }

    proptest! {
        #[test]
        fn no_input_makes_it_panic(text in ".{0,60}") {
            _ = parse_input::<Input>(&text);
            _ = parse_input::<Input>(&format!(r#"{{"limit": {text}"#));
        }
    }
}
