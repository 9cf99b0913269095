//! A record of Distru's, read field by field.
//!
//! Distru's records have up to fifty fields, which come and go with its releases, and hold records of other kinds. What is
//! needed is picked by name; the rest is kept as it stood. A field that is there and of another shape is refused with its
//! place in the answer; one that is missing or null is nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Error, Timestamp, json};

/// The fields of an object, each with its own text.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

/// An object and its place in the answer, a JSON Pointer.
///
/// Each field is read by itself, and the first that does not fit is remembered until [`settle`](Self::settle): a branch after
/// each of fifteen fields would cost a component more than all the reading.
pub(crate) struct Record {
    place: String,
    raw: Box<RawValue>,
    fields: Fields,
    trouble: RefCell<Option<Error>>,
}

impl Record {
    /// Reads an object.
    pub(crate) fn read(raw: Box<RawValue>, place: String) -> Result<Self, Error> {
        match parse(&raw) {
            Some(fields) => Ok(Self { place, raw, fields, trouble: RefCell::new(None) }),
            None => Err(misfit(&place, "", "an object")),
        }
    }

    /// What was made of the fields, if all of them did fit.
    pub(crate) fn settle<T>(&self, value: T) -> Result<T, Error> {
        self.trouble.take().map_or(Ok(value), Err)
    }

    /// The object as it stood there, where that is wanted.
    pub(crate) fn raw(&self, is_wanted: bool) -> Option<Box<RawValue>> {
        is_wanted.then(|| self.raw.clone())
    }

    /// A text, or a number's own text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let raw = self.field(name)?;
        let text = match raw.get().as_bytes() {
            [b'"', ..] => parse(raw),
            [b'0'..=b'9' | b'-', ..] => Some(raw.get().to_owned()),
            _ => None,
        };
        self.fits(text, name, "a string")
    }

    /// A text that must be there.
    pub(crate) fn needed(&self, name: &str) -> String {
        let text = self.text(name);
        self.fits(text, name, "a string, and there is none").unwrap_or_default()
    }

    /// The first of these texts that is there; fields of Distru's change their names.
    pub(crate) fn first_text(&self, names: [&str; 2]) -> Option<String> {
        names.into_iter().find_map(|name| self.text(name))
    }

    /// A time.
    pub(crate) fn time(&self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        self.fits(Timestamp::parse(&text), name, "an RFC 3339 time")
    }

    /// An amount. Distru names no currency: it is the company's own.
    pub(crate) fn money(&self, name: &str) -> Option<Money> {
        let raw = self.field(name)?;
        self.fits(parse(raw), name, "an amount")
    }

    /// Yes or no.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let raw = self.field(name)?;
        self.fits(raw.get().parse().ok(), name, "true or false")
    }

    /// An object inside.
    pub(crate) fn part(&self, name: &str) -> Option<Self> {
        let raw = self.field(name)?;
        self.fits(Self::read(raw.to_owned(), self.at(name)).ok(), name, "an object")
    }

    /// A text of an object inside, as the name of the company of an order.
    pub(crate) fn text_of(&self, part: &str, name: &str) -> Option<String> {
        let part = self.part(part)?;
        let text = part.text(name);
        if let Some(error) = part.trouble.take() {
            self.note(error);
        }
        text
    }

    /// The objects of a list inside; an object that stands alone is a list of one.
    pub(crate) fn parts(&self, name: &str) -> Vec<Self> {
        let alone = self.field(name).filter(|raw| raw.get().starts_with('{'));
        if alone.is_some() {
            return self.part(name).into_iter().collect();
        }
        let mut parts = Vec::new();
        for (index, raw) in self.items(name).into_iter().enumerate() {
            match Self::read(raw, format!("{}/{index}", self.at(name))) {
                Ok(part) => parts.push(part),
                Err(error) => self.note(error),
            }
        }
        parts
    }

    /// The texts of a list inside.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let Some(raw) = self.field(name) else { return Vec::new() };
        self.fits(parse(raw), name, "a list of strings").unwrap_or_default()
    }

    /// The steps of a path: texts and numbers, or one text.
    pub(crate) fn path(&self, name: &str) -> Vec<String> {
        let is_list = self.field(name).is_some_and(|raw| raw.get().starts_with('['));
        if !is_list {
            return self.text(name).into_iter().collect();
        }
        let step = |raw: Box<RawValue>| parse(&raw).unwrap_or_else(|| raw.get().to_owned());
        self.items(name).into_iter().map(step).collect()
    }

    /// The names of all fields.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.fields.keys()
    }

    /// Whether there is a field of that name, be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn items(&self, name: &str) -> Vec<Box<RawValue>> {
        let Some(raw) = self.field(name) else { return Vec::new() };
        self.fits(parse(raw), name, "a list").unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&RawValue> {
        self.fields.get(name).map(|raw| &**raw).filter(|raw| raw.get() != "null")
    }

    fn fits<T>(&self, value: Option<T>, name: &str, expected: &str) -> Option<T> {
        if value.is_none() {
            self.note(misfit(&self.place, name, expected));
        }
        value
    }

    fn note(&self, error: Error) {
        self.trouble.borrow_mut().get_or_insert(error);
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }
}

fn parse<T: DeserializeOwned>(raw: &RawValue) -> Option<T> {
    json::parse(raw.get().as_bytes())
}

/// What is in the answer is another thing than what is read there. It repeats nothing of the answer.
pub(crate) fn misfit(place: &str, name: &str, expected: &str) -> Error {
    let slash = if name.is_empty() { "" } else { "/" };
    Error::schema_violation(format!("the answer has another shape at {place}{slash}{name}: expected {expected}"))
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
            r#"{"id": 12345678901234567890, "name": null, "total": "25.000000", "company": {"name": "Green Door", "id": []},
                "items": [{"id": "1"}, 7], "is_sample": "no"}"#,
        );
        assert_eq!(record.needed("id"), "12345678901234567890");
        assert_eq!((record.text("name"), record.time("nowhere")), (None, None));
        assert_eq!(record.money("total").unwrap().to_string(), "25.000000");
        assert_eq!(record.text_of("company", "name").as_deref(), Some("Green Door"));
        assert!(record.settle(()).is_ok());
        let trouble = || record.settle(()).unwrap_err().message.clone();
        assert_eq!(record.parts("items").len(), 1);
        assert_eq!(trouble(), "the answer has another shape at /data/3/items/1: expected an object");
        assert_eq!(record.flag("is_sample"), None);
        assert_eq!(trouble(), "the answer has another shape at /data/3/is_sample: expected true or false");
        assert_eq!(record.text_of("company", "id"), None);
        assert_eq!(trouble(), "the answer has another shape at /data/3/company/id: expected a string");
        assert_eq!((record.needed("name").as_str(), record.time("id")), ("", None));
        assert_eq!(trouble(), "the answer has another shape at /data/3/name: expected a string, and there is none");
    }
}
