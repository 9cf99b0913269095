//! An object as Stripe wrote it, and what comes out of it: beside what a field means stands where it comes from.
//!
//! Stripe adds fields without a word, and what is not there for one object is null for another, so everything but the id
//! may be missing. What is there in another shape is told, with the place and never with the value. A table says where a
//! field stands in a few bytes; a struct for each kind of object would be more code than all the rest of this plugin.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
pub(crate) use wharfage_sdk::json::Picked;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Error, ErrorKind, Response, Timestamp};

use crate::currency;

/// A field of what comes out.
pub(crate) struct Field {
    /// Its name; `r#` in front of it belongs to Rust.
    pub(crate) name: &'static str,
    /// Where it is found, as a JSON Pointer. `?` in front of it: only where somebody asks for it by name.
    pub(crate) at: &'static str,
    pub(crate) kind: Kind,
}

/// What a field can be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A text that must be there.
    Needed,
    /// A text.
    Text,
    /// The id of an object that stands there by its id or, where somebody asked for that, whole.
    Id,
    Flag,
    /// What is not there is `false`.
    Yes,
    Count,
    Time,
    /// An amount in the currency that stands beside it.
    Money,
    /// What the account's owner noted with it.
    Notes,
    Records(&'static [Field]),
    /// Whatever it is.
    Whole,
}

/// What a type of a field is in an answer.
pub(crate) trait Shaped {
    const KIND: Kind;
}

macro_rules! shaped {
    ($($type:ty: $kind:ident,)+) => {
        $(impl Shaped for $type {
            const KIND: Kind = Kind::$kind;
        })+
    };
}

shaped! {
    String: Needed,
    Option<String>: Text,
    Option<Id>: Id,
    Option<bool>: Flag,
    bool: Yes,
    Option<u64>: Count,
    Option<Timestamp>: Time,
    Option<Money>: Money,
    std::collections::BTreeMap<String, String>: Notes,
    Option<Value>: Whole,
}

impl<T: Table> Shaped for Vec<T> {
    const KIND: Kind = Kind::Records(T::FIELDS);
}

/// The id of another object. It is there for its schema, which is that of a text.
pub(crate) enum Id {}

impl JsonSchema for Id {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// What comes out: a type that is there for its schema, and its table.
pub(crate) trait Table: JsonSchema {
    const FIELDS: &'static [Field];
}

/// Makes a table of fields: `field: type = "where it is found"`.
macro_rules! record {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[$doc:meta])+ $field:ident: $type:ty = $at:literal,)+
    }) => {
        $(#[doc = $about])+
        #[derive(schemars::JsonSchema)]
        #[allow(dead_code)] // it is there for its schema
        pub(crate) struct $name {
            $($(#[$doc])+ $field: $type,)+
        }

        impl $crate::record::Table for $name {
            const FIELDS: &'static [$crate::record::Field] = &[$($crate::record::Field {
                name: stringify!($field),
                at: $at,
                kind: <$type as $crate::record::Shaped>::KIND,
            }),+];
        }
    };
}
pub(crate) use record;

/// What asks for the whole object, where that is wanted.
pub(crate) fn raw(is_wanted: bool) -> &'static str {
    if is_wanted { "raw" } else { "" }
}

/// Picks what comes out of the whole answer. `asked` names the field that somebody asked for.
///
/// # Errors
/// As [`Record::whole`] and [`Record::pick`].
pub(crate) fn picked<T: Table>(response: &Response, asked: &str) -> Result<Picked<T>, Error> {
    Record::whole(response)?.pick(T::FIELDS, asked).map(Picked::new)
}

/// An object of an answer.
pub(crate) struct Record<'a> {
    response: &'a Response,
    /// Where it stands in the answer, as a JSON Pointer.
    place: String,
    value: Value,
}

impl<'a> Record<'a> {
    /// # Errors
    /// `schema-violation` when it is no object.
    pub(crate) fn new(response: &'a Response, place: String, value: Value) -> Result<Self, Error> {
        let record = Self { response, place, value };
        if record.value.is_object() { Ok(record) } else { Err(record.misfit("", "an object")) }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// As [`Response::json`], and when it is no object.
    pub(crate) fn whole(response: &'a Response) -> Result<Self, Error> {
        Self::new(response, String::new(), response.json()?)
    }

    /// Its fields as JSON text, with the one that somebody `asked` for.
    ///
    /// # Errors
    /// `schema-violation` when a field that must be there is not, and when an amount is no whole number: it is never guessed.
    pub(crate) fn pick(&self, fields: &[Field], asked: &str) -> Result<Box<RawValue>, Error> {
        let mut out = String::new();
        self.write(&mut out, fields, asked)?;
        wharfage_sdk::json::raw(out).ok_or_else(|| Error::internal("a record has no JSON form"))
    }

    fn write(&self, out: &mut String, fields: &[Field], asked: &str) -> Result<(), Error> {
        let mut before = "{\"";
        for field in fields {
            let (at, is_asked_for) = match field.at.strip_prefix('?') {
                Some(at) => (at, true),
                None => (field.at, false),
            };
            if is_asked_for && field.name != asked {
                continue;
            }
            let found = self.value.pointer(at).filter(|found| !found.is_null());
            let text = match field.kind {
                Kind::Needed => Some(json(&self.need(at)?)),
                Kind::Text => found.and_then(Value::as_str).map(json),
                Kind::Id => {
                    let id = found.and_then(|found| found.as_str().or_else(|| found.get("id")?.as_str()));
                    id.map(json)
                }
                Kind::Flag => found.and_then(Value::as_bool).map(|flag| flag.to_string()),
                Kind::Yes => Some(found.and_then(Value::as_bool).unwrap_or(false).to_string()),
                Kind::Count => found.and_then(Value::as_u64).map(|count| count.to_string()),
                Kind::Time => {
                    let time = found.and_then(Value::as_i64).map(Timestamp::from_unix_s);
                    time.map(|time| json(&time.to_string()))
                }
                Kind::Money => self.money(at)?.map(|money| json(&money)),
                Kind::Notes => {
                    let notes = found.and_then(Value::as_object).into_iter().flatten();
                    let mut text = String::from("{");
                    for (name, note) in notes.filter(|(_, note)| note.is_string()) {
                        let comma = if text.len() > 1 { "," } else { "" };
                        text.extend([comma, &json(name), ":", &json(note)]);
                    }
                    text.push('}');
                    Some(text)
                }
                Kind::Records(fields) => {
                    let mut text = String::from("[");
                    for record in self.all(at)? {
                        if text.len() > 1 {
                            text.push(',');
                        }
                        record.write(&mut text, fields, "")?;
                    }
                    text.push(']');
                    Some(text)
                }
                Kind::Whole => found.map(json),
            };
            if is_asked_for && text.is_none() {
                continue;
            }
            let name = field.name.trim_start_matches("r#");
            out.extend([before, name, "\":", text.as_deref().unwrap_or("null")]);
            before = ",\"";
        }
        out.push('}');
        Ok(())
    }

    /// The text that must be there.
    ///
    /// # Errors
    /// `schema-violation` when it is not.
    pub(crate) fn need(&self, pointer: &str) -> Result<String, Error> {
        let text = self.value.pointer(pointer).and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| self.misfit(pointer, "a text"))
    }

    pub(crate) fn flag(&self, pointer: &str) -> Option<bool> {
        self.value.pointer(pointer)?.as_bool()
    }

    /// An amount in the currency that stands beside it. Without one nobody can tell how much it is.
    ///
    /// # Errors
    /// `schema-violation` when it is no whole number: an amount is never guessed.
    pub(crate) fn money(&self, pointer: &str) -> Result<Option<Money>, Error> {
        let Some(value) = self.value.pointer(pointer).filter(|value| !value.is_null()) else { return Ok(None) };
        let units = value.as_i64().ok_or_else(|| self.misfit(pointer, "a whole number"))?;
        let beside = pointer.rfind('/').and_then(|end| pointer.get(..end)).unwrap_or_default();
        let currency = self.value.pointer(&[beside, "/currency"].concat()).and_then(Value::as_str);
        Ok(currency.map(|currency| currency::shown(units, currency)))
    }

    /// The objects of a list that stands there; none where there is no list.
    ///
    /// # Errors
    /// `schema-violation` when one of them is no object.
    pub(crate) fn all(&self, pointer: &str) -> Result<Vec<Record<'a>>, Error> {
        let items = self.value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let at = |index: usize| [&self.place, pointer, "/", &index.to_string()].concat();
        items.enumerate().map(|(index, item)| Record::new(self.response, at(index), item.clone())).collect()
    }

    fn misfit(&self, pointer: &str, expected: &str) -> Error {
        let place = match [&self.place, pointer].concat() {
            top if top.is_empty() => "its top".to_owned(),
            place => place,
        };
        let message = ["the answer has another shape at ", &place, ": expected ", expected].concat();
        self.response.error(ErrorKind::SchemaViolation, message)
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
