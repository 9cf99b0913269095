//! What GitHub answers, picked field by field: beside what a field means stands where it comes from.
//!
//! GitHub's records have a hundred members, mostly links, and what is wanted often stands nested. A table says it in a few
//! bytes a field, where a struct for each would be more code than all the rest of this plugin.

use schemars::JsonSchema;
use serde_json::Value;
use serde_json::value::RawValue;
pub(crate) use wharfage_sdk::json::Picked;
use wharfage_sdk::{Error, ErrorKind, Response, Timestamp, json};

/// A field of a record.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Where it is found: members, with `/` between them. Of several, with `|` between them, the first that is there. `*`
    /// stands for every item; `?` at the end asks whether it is there, `#` there for the first line of a text.
    pub(crate) from: &'static str,
    pub(crate) shape: Shape,
}

/// What a field can be.
pub(crate) struct Shape {
    kind: Kind,
    is_required: bool,
}

enum Kind {
    Text,
    Number,
    /// What is not there is `false`.
    Flag,
    MaybeFlag,
    Time,
    Texts,
    Records(&'static [Field]),
}

/// What a type of a field is in an answer.
pub(crate) trait Shaped {
    const SHAPE: Shape;
}

/// A record: a type that is there for its schema, and its table.
pub(crate) trait Record: JsonSchema {
    const FIELDS: &'static [Field];
}

macro_rules! shaped {
    ($($type:ty: $kind:ident $is_required:literal,)+) => {
        $(impl Shaped for $type {
            const SHAPE: Shape = Shape { kind: Kind::$kind, is_required: $is_required };
        })+
    };
}

shaped! {
    String: Text true,
    Option<String>: Text false,
    u64: Number true,
    Option<u64>: Number false,
    bool: Flag false,
    Option<bool>: MaybeFlag false,
    Option<Timestamp>: Time false,
    Vec<String>: Texts true,
}

impl<T: Record> Shaped for Vec<T> {
    const SHAPE: Shape = Shape { kind: Kind::Records(T::FIELDS), is_required: true };
}

impl<T: Record> Shaped for Option<Vec<T>> {
    const SHAPE: Shape = Shape { kind: Kind::Records(T::FIELDS), is_required: false };
}

/// Makes a record of its fields: `field: type = "where it is found"`.
macro_rules! record {
    ($(#[$about:meta])+ $name:ident { $($(#[$doc:meta])+ $field:ident: $type:ty = $from:literal,)+ }) => {
        $(#[$about])+
        #[derive(schemars::JsonSchema)]
        #[allow(dead_code)] // it is there for its schema
        pub(crate) struct $name {
            $($(#[$doc])+ $field: $type,)+
        }

        impl $crate::record::Record for $name {
            const FIELDS: &'static [$crate::record::Field] = &[$($crate::record::Field {
                name: stringify!($field),
                from: $from,
                shape: <$type as $crate::record::Shaped>::SHAPE,
            }),+];
        }
    };
}
pub(crate) use record;

/// Picks a record of an answer.
pub(crate) fn pick<T: Record>(response: &Response, value: &Value) -> Result<Picked<T>, Error> {
    text(response, value, T::FIELDS, "").map(Picked::new)
}

/// Picks every record of an answer that is a list of them.
pub(crate) fn pick_all<T: Record>(response: &Response, value: &Value) -> Result<Vec<Picked<T>>, Error> {
    let texts = texts(response, value, T::FIELDS)?;
    Ok(texts.into_iter().map(Picked::new).collect())
}

fn texts(response: &Response, value: &Value, fields: &[Field]) -> Result<Vec<Box<RawValue>>, Error> {
    let items = value.as_array().ok_or_else(|| unlike(response, "", "a list"))?;
    let item = |(index, item): (usize, &Value)| text(response, item, fields, &["/", &index.to_string()].concat());
    items.iter().enumerate().map(item).collect()
}

fn text(response: &Response, value: &Value, fields: &[Field], place: &str) -> Result<Box<RawValue>, Error> {
    let mut out = String::new();
    write(response, &mut out, value, fields, place)?;
    json::raw(out).ok_or_else(|| Error::internal("a record has no JSON form"))
}

fn write(response: &Response, out: &mut String, value: &Value, fields: &[Field], place: &str) -> Result<(), Error> {
    if !value.is_object() {
        return Err(unlike(response, place, "a record"));
    }
    for (index, field) in fields.iter().enumerate() {
        out.push_str(if index == 0 { "{\"" } else { ",\"" });
        out.push_str(field.name);
        out.push_str("\":");
        let place = [place, "/", field.from].concat();
        let found = find(value, field.from);
        let expected = match (&field.shape.kind, &found) {
            (Kind::Flag, Value::Bool(_)) | (Kind::MaybeFlag, Value::Bool(_) | Value::Null) => "",
            (Kind::Flag, Value::Null) => {
                out.push_str("false");
                continue;
            }
            (Kind::Records(fields), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    write(response, out, item, fields, &[place.as_str(), "/", &index.to_string()].concat())?;
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
                continue;
            }
            (Kind::Texts | Kind::Records(_), Value::Null) if field.shape.is_required => {
                out.push_str("[]");
                continue;
            }
            (_, Value::Null) if !field.shape.is_required => "",
            (Kind::Text, Value::String(_)) | (Kind::Texts, Value::Array(_)) => "",
            (Kind::Number, Value::Number(number)) if number.is_u64() => "",
            (Kind::Time, Value::String(text)) => {
                let time = Timestamp::parse(text).ok_or_else(|| unlike(response, &place, "a time (RFC 3339)"))?;
                out.push_str(&["\"", &time.to_string(), "\""].concat());
                continue;
            }
            (Kind::Text, _) => "a text",
            (Kind::Number, _) => "a number",
            (Kind::Flag | Kind::MaybeFlag, _) => "true or false",
            (Kind::Time, _) => "a time (RFC 3339)",
            (Kind::Texts | Kind::Records(_), _) => "a list",
        };
        if !expected.is_empty() {
            return Err(unlike(response, &place, expected));
        }
        out.push_str(&found.to_string());
    }
    out.push('}');
    Ok(())
}

fn unlike(response: &Response, place: &str, expected: &str) -> Error {
    let place = if place.is_empty() { "its top" } else { place };
    let message = ["the answer has another shape at ", place, ": expected ", expected].concat();
    response.error(ErrorKind::SchemaViolation, message)
}

/// What stands there; null where nothing does.
pub(crate) fn find(value: &Value, from: &str) -> Value {
    if let Some(from) = from.strip_suffix('?') {
        return Value::Bool(!at(value, from).is_null());
    }
    if let Some(from) = from.strip_suffix('#') {
        let first = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        return at(value, from).as_str().map_or(Value::Null, |text| Value::String(first(text)));
    }
    if let Some((list, member)) = from.split_once("/*/") {
        let Value::Array(items) = at(value, list) else { return at(value, list).clone() };
        // A label is a text now and then.
        let name = |item: &Value| if item.is_string() { item.clone() } else { at(item, member).clone() };
        return items.iter().map(name).filter(Value::is_string).collect();
    }
    from.split('|').map(|from| at(value, from)).find(|found| !found.is_null()).cloned().unwrap_or_default()
}

/// The same for members alone.
pub(crate) fn at<'a>(value: &'a Value, from: &str) -> &'a Value {
    from.split('/')
        .filter(|member| !member.is_empty())
        .fold(value, |value, member| value.get(member).unwrap_or(&Value::Null))
}
