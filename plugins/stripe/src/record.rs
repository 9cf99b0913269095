//! An object as Stripe wrote it, and the fields that are wanted of it.
//!
//! Stripe adds fields without a word, and what is not there for one object is null for another, so everything but the id
//! may be missing. What is there in another shape is told, with the place and never with the value.

use std::collections::BTreeMap;

use serde_json::Value;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Error, ErrorKind, Response, Timestamp};

use crate::currency;

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

    /// The text that must be there.
    ///
    /// # Errors
    /// `schema-violation` when it is not.
    pub(crate) fn need(&self, pointer: &str) -> Result<String, Error> {
        self.text(pointer).ok_or_else(|| self.misfit(pointer, "a text"))
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<String> {
        self.value.pointer(pointer)?.as_str().map(str::to_owned)
    }

    pub(crate) fn flag(&self, pointer: &str) -> Option<bool> {
        self.value.pointer(pointer)?.as_bool()
    }

    pub(crate) fn count(&self, pointer: &str) -> Option<u64> {
        self.value.pointer(pointer)?.as_u64()
    }

    pub(crate) fn time(&self, pointer: &str) -> Option<Timestamp> {
        self.value.pointer(pointer)?.as_i64().map(Timestamp::from_unix_s)
    }

    /// The id of an object that stands there by its id or, where somebody asked for that, whole.
    pub(crate) fn id_of(&self, pointer: &str) -> Option<String> {
        let value = self.value.pointer(pointer)?;
        value.as_str().or_else(|| value.get("id")?.as_str()).map(str::to_owned)
    }

    /// An amount in the record's own currency.
    ///
    /// # Errors
    /// `schema-violation` when it is no whole number: an amount is never guessed.
    pub(crate) fn money(&self, pointer: &str) -> Result<Option<Money>, Error> {
        self.money_in(pointer, "/currency")
    }

    /// An amount in the currency that stands at another place. Without one nobody can tell how much it is.
    ///
    /// # Errors
    /// As [`money`](Self::money).
    pub(crate) fn money_in(&self, pointer: &str, currency: &str) -> Result<Option<Money>, Error> {
        let Some(value) = self.value.pointer(pointer).filter(|value| !value.is_null()) else { return Ok(None) };
        let units = value.as_i64().ok_or_else(|| self.misfit(pointer, "a whole number"))?;
        Ok(self.value.pointer(currency).and_then(Value::as_str).map(|currency| currency::shown(units, currency)))
    }

    /// What the account's owner noted with it.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let entries = self.value.get("metadata").and_then(Value::as_object);
        let entries = entries.into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
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

    /// All of it, if it was asked for.
    pub(crate) fn raw(&self, is_wanted: bool) -> Option<Value> {
        is_wanted.then(|| self.value.clone())
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
