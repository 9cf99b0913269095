//! The fields of a record, taken one by one.
//!
//! A type of its own for each kind of record would be read by code of its own, and a component holds all of that. Here
//! every record is read as names with their text, and a field is read when it is asked for, as what it must be. What is
//! absent or null is nothing; what has another shape is told with its place.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use wharfage_sdk::money::Money;
use wharfage_sdk::{Error, ErrorKind, Response, Timestamp};

/// Members of an object by their names.
pub(crate) type Members = BTreeMap<String, Box<RawValue>>;

/// The fields of one record of an answer.
pub(crate) struct Fields<'a> {
    response: &'a Response,
    place: String,
    members: Members,
}

/// When a record was made and changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) created: Option<Timestamp>,
    pub(crate) modified: Option<Timestamp>,
}

impl<'a> Fields<'a> {
    /// The fields of the whole answer.
    pub(crate) fn of(response: &'a Response) -> Result<Self, Error> {
        Ok(Self { response, place: String::new(), members: response.json()? })
    }

    fn at(response: &'a Response, place: String, raw: Box<RawValue>) -> Result<Self, Error> {
        let members = response.part(raw, &place)?.value;
        Ok(Self { response, place, members })
    }

    /// A field as `T`.
    fn read<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Error> {
        let Some(raw) = self.take(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
        Ok(Some(self.response.part(raw, &self.place_of(name))?.value))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.read(name)
    }

    pub(crate) fn money(&mut self, name: &str) -> Result<Option<Money>, Error> {
        self.read(name)
    }

    /// A number that counts or measures, as decimal text.
    pub(crate) fn quantity(&mut self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.money(name)?.map(|quantity| quantity.amount.to_string()))
    }

    pub(crate) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, Error> {
        self.read(name)
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Error> {
        self.read(name)
    }

    /// What every record has.
    pub(crate) fn id(&mut self) -> Result<String, Error> {
        self.text("Id")?.ok_or_else(|| self.missing("Id"))
    }

    /// Another record that this one names: its id and its name.
    pub(crate) fn reference(&mut self, name: &str) -> Result<(Option<String>, Option<String>), Error> {
        let Some(mut inner) = self.object(name)? else { return Ok((None, None)) };
        Ok((inner.text("value")?, inner.text("name")?))
    }

    pub(crate) fn times(&mut self) -> Result<Times, Error> {
        let Some(mut inner) = self.object("MetaData")? else { return Ok(Times::default()) };
        Ok(Times { created: inner.time("CreateTime")?, modified: inner.time("LastUpdatedTime")? })
    }

    /// The fields of an object within.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, Error> {
        let Some(raw) = self.take(name).filter(|raw| raw.get() != "null") else { return Ok(None) };
        Self::at(self.response, self.place_of(name), raw).map(Some)
    }

    /// The fields of each item of a list within; none where it is absent, as QuickBooks has it.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, Error> {
        let items: Vec<Box<RawValue>> = self.read(name)?.unwrap_or_default();
        let items = items.into_iter().enumerate();
        items
            .map(|(index, raw)| Self::at(self.response, [&self.place_of(name), "/", &index.to_string()].concat(), raw))
            .collect()
    }

    /// The text of each item of a list within.
    pub(crate) fn items(&mut self, name: &str) -> Result<Vec<Box<RawValue>>, Error> {
        Ok(self.read(name)?.unwrap_or_default())
    }

    /// An item of [`items`](Self::items).
    pub(crate) fn item(&self, name: &str, index: usize, raw: &RawValue) -> Result<Self, Error> {
        Self::at(self.response, [&self.place_of(name), "/", &index.to_string()].concat(), raw.to_owned())
    }

    /// Takes a member's text out, and leaves null: the code that removes a name from a map is larger than this whole file.
    pub(crate) fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.members.get_mut(name).map(|raw| std::mem::replace(raw, RawValue::NULL.to_owned()))
    }

    /// The fields of a text that was taken out.
    pub(crate) fn taken(&self, name: &str, raw: &RawValue) -> Result<Self, Error> {
        Self::at(self.response, self.place_of(name), raw.to_owned())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The error of a record that lacks what it must have.
    pub(crate) fn missing(&self, name: &str) -> Error {
        let place = if self.place.is_empty() { "its top" } else { &self.place };
        let message = ["the answer has another shape at ", place, ": missing field `", name, "`"].concat();
        self.response.error(ErrorKind::SchemaViolation, message)
    }

    fn place_of(&self, name: &str) -> String {
        [&self.place, "/", name].concat()
    }
}

/// An amount in the record's currency, where the record names one.
pub(crate) fn priced(amount: Option<Money>, currency: Option<&String>) -> Option<Money> {
    amount.map(|money| Money { currency: money.currency.or_else(|| currency.cloned()), ..money })
}
