//! A record of Distru's, read field by field.
//!
//! Distru's records have up to fifty fields, which come and go with its releases, and hold records of other kinds. What is
//! needed is picked by name; the rest is kept as it stood. A field that is there and of another shape is refused with its
//! place in the answer; one that is missing or null is nothing.

use std::collections::BTreeMap;

use serde::de::Deserializer;
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::money::{self, Decimal, Money};
use wharfage_sdk::{Error, Timestamp};

/// The fields of an object, each with its own text.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

/// An object and its place in the answer, a JSON Pointer.
pub(crate) struct Record {
    place: String,
    raw: Box<RawValue>,
    fields: Fields,
}

impl Record {
    /// Reads an object.
    pub(crate) fn read(raw: Box<RawValue>, place: String) -> Result<Self, Error> {
        match serde_json::from_str(raw.get()) {
            Ok(fields) => Ok(Self { place, raw, fields }),
            Err(_) => Err(misfit(&place, "", "an object")),
        }
    }

    /// The object as it stood there, where that is wanted.
    pub(crate) fn raw(&self, is_wanted: bool) -> Option<Box<RawValue>> {
        is_wanted.then(|| self.raw.clone())
    }

    /// A text, or a number's own text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(raw) = self.field(name) else { return Ok(None) };
        let text = match raw.get().as_bytes() {
            [b'"', ..] => serde_json::from_str(raw.get()).ok(),
            [b'0'..=b'9' | b'-', ..] => Some(raw.get().to_owned()),
            _ => None,
        };
        text.map(Some).ok_or_else(|| misfit(&self.place, name, "a string"))
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| misfit(&self.place, name, "a string, and there is none"))
    }

    /// The first of these texts that is there; fields of Distru's change their names.
    pub(crate) fn first_text(&self, names: [&str; 2]) -> Result<Option<String>, Error> {
        Ok(self.text(names[0])?.or(self.text(names[1])?))
    }

    /// A time.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Timestamp::parse(&text).map(Some).ok_or_else(|| misfit(&self.place, name, "an RFC 3339 time"))
    }

    /// An amount. Distru names no currency: it is the company's own.
    pub(crate) fn money(&self, name: &str) -> Result<Option<Money>, Error> {
        let Some(raw) = self.field(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| misfit(&self.place, name, "an amount"))
    }

    /// Yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.field(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(misfit(&self.place, name, "true or false")),
        }
    }

    /// An object inside.
    pub(crate) fn part(&self, name: &str) -> Result<Option<Self>, Error> {
        self.field(name).map(|raw| Self::read(raw.to_owned(), self.at(name))).transpose()
    }

    /// A text of an object inside, as the name of the company of an order.
    pub(crate) fn text_of(&self, part: &str, name: &str) -> Result<Option<String>, Error> {
        self.part(part)?.map_or(Ok(None), |part| part.text(name))
    }

    /// The objects of a list inside; an object that stands alone is a list of one.
    pub(crate) fn parts(&self, name: &str) -> Result<Vec<Self>, Error> {
        let Some(raw) = self.field(name) else { return Ok(Vec::new()) };
        if raw.get().starts_with('{') {
            return Ok(vec![Self::read(raw.to_owned(), self.at(name))?]);
        }
        let items = self.items(name)?;
        let items = items.into_iter().enumerate();
        items.map(|(index, raw)| Self::read(raw, format!("{}/{index}", self.at(name)))).collect()
    }

    /// The texts of a list inside.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let Some(raw) = self.field(name) else { return Ok(Vec::new()) };
        serde_json::from_str(raw.get()).map_err(|_| misfit(&self.place, name, "a list of strings"))
    }

    /// The steps of a path: texts and numbers, or one text. What is neither is no path.
    pub(crate) fn path(&self, name: &str) -> Vec<String> {
        let steps = self.items(name).unwrap_or_default();
        let step = |raw: &Box<RawValue>| serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        let one = || self.text(name).ok().flatten();
        if steps.is_empty() { one().into_iter().collect() } else { steps.iter().map(step).collect() }
    }

    /// The names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.fields.keys()
    }

    /// Whether there is a field of that name, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn items(&self, name: &str) -> Result<Vec<Box<RawValue>>, Error> {
        let Some(raw) = self.field(name) else { return Ok(Vec::new()) };
        serde_json::from_str(raw.get()).map_err(|_| misfit(&self.place, name, "a list"))
    }

    fn field(&self, name: &str) -> Option<&RawValue> {
        self.fields.get(name).map(|raw| &**raw).filter(|raw| raw.get() != "null")
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

/// What is in the answer is another thing than what is read there. It repeats nothing of the answer.
pub(crate) fn misfit(place: &str, name: &str, expected: &str) -> Error {
    let slash = if name.is_empty() { "" } else { "/" };
    Error::schema_violation(format!("the answer has another shape at {place}{slash}{name}: expected {expected}"))
}

/// A number that a caller writes as decimal text and that Distru takes as a JSON number, with every digit kept.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) Decimal);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        money::decimal::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::read(RawValue::from_string(text.to_owned()).unwrap(), "/data/3".to_owned()).unwrap()
    }

    #[test]
    fn what_is_missing_is_nothing_and_what_does_not_fit_says_where() {
        let record = record(
            r#"{"id": 12345678901234567890, "name": null, "total": "25.000000", "company": {"name": "Green Door"},
                "items": [{"id": "1"}, 7], "is_sample": "no"}"#,
        );
        assert_eq!(record.needed("id").unwrap(), "12345678901234567890");
        assert_eq!((record.text("name").unwrap(), record.time("nowhere").unwrap()), (None, None));
        assert_eq!(record.money("total").unwrap().unwrap().to_string(), "25.000000");
        assert_eq!(record.text_of("company", "name").unwrap().as_deref(), Some("Green Door"));
        let message = |error: Option<Error>| error.unwrap().message.clone();
        assert_eq!(
            message(record.parts("items").err()),
            "the answer has another shape at /data/3/items/1: expected an object"
        );
        assert_eq!(
            message(record.flag("is_sample").err()),
            "the answer has another shape at /data/3/is_sample: expected true or false"
        );
        assert_eq!(
            message(record.needed("name").err()),
            "the answer has another shape at /data/3/name: expected a string, and there is none"
        );
    }

    #[test]
    fn no_digit_is_lost_on_the_way_out() {
        for (read, sent) in
            [("\"-12.50\"", "-12.50"), ("0.1", "0.1"), ("\"99999999999999.123456789\"", "99999999999999.123456789")]
        {
            let number: Number = serde_json::from_str(read).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), sent);
        }
    }
}
