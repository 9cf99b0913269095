//! Statements of QuickBooks' query language, and reading a list by them.
//!
//! A statement is put together from names that are checked and values that are quoted: a quote or a backslash in a value
//! is escaped with a backslash (Intuit, "Query operations and syntax", 2026-11-24), so a value never becomes a part of the
//! statement. There is no `OR`, no projection of more than whole records, and at most 1000 rows at once.
//!
//! A list goes on in one of two ways. Newest first it counts (`STARTPOSITION`), which is good for looking at: a change
//! meanwhile moves a record to the front and shifts the rest. Oldest first it begins again at the last change seen, so that
//! nothing is missed while others write.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::page::{Keyset, Offset};
use wharfage_sdk::{Cursor, Error, Page, Response, Timestamp};

use crate::api;
use crate::fields::Fields;

/// A record as it was written, with its number on the page.
type Numbered = (usize, Box<RawValue>);

/// How many records QuickBooks gives at once, at most.
const LIMIT_MAX: u32 = 1000;

pub(crate) fn limit() -> u32 {
    100
}

/// Which way a list is read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// The last change first: to look at.
    #[default]
    Newest,
    /// The last change last: to keep in step with; a record that changes while the list is read comes again.
    Oldest,
}

/// A statement about one kind of record.
pub(crate) struct Select {
    kind: String,
    since: Option<String>,
    conditions: Vec<String>,
    order: Order,
    limit: u32,
}

/// Where a list stands.
#[derive(Serialize, Deserialize)]
enum Place {
    #[serde(rename = "n")]
    Newest(Offset),
    #[serde(rename = "o")]
    Oldest(Keyset),
}

wharfage_sdk::input! {
    /// A list of names: customers, or items.
    pub(crate) struct NamesInput {
        /// Only those changed at or after this time.
        #[serde(default)]
        pub(crate) since: Option<Timestamp>,
        /// Only the one of exactly this name.
        #[serde(default)]
        pub(crate) name: Option<String>,
        /// Also inactive ones.
        #[serde(default)]
        pub(crate) inactive: bool,
        /// Newest or oldest change first.
        #[serde(default)]
        pub(crate) order: Order,
        /// How many to a page.
        #[schemars(range(min = 1, max = 1000))]
        pub(crate) limit: u32 = limit(),
        /// Also the whole record as QuickBooks wrote it; it may hold addresses, phone numbers and e-mail.
        #[serde(default)]
        pub(crate) raw: bool,
    }
}

/// A record that was found: its text, its id and the time of its last change.
struct Row {
    raw: Box<RawValue>,
    id: String,
    modified: String,
}

impl Select {
    pub(crate) fn of(kind: &str, order: Order, limit: u32) -> Self {
        Self { kind: kind.to_owned(), since: None, conditions: Vec::new(), order, limit: limit.clamp(1, LIMIT_MAX) }
    }

    /// With a condition on a field; `operator` is one of ours.
    pub(crate) fn with(mut self, field: &str, operator: &str, value: &str) -> Self {
        self.conditions.push([field, " ", operator, " ", &quoted(value)].concat());
        self
    }

    /// With a condition, if there is a value.
    pub(crate) fn with_some(self, field: &str, operator: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(field, operator, value),
            None => self,
        }
    }

    /// Only what changed at or after this time.
    pub(crate) fn since(self, since: Option<Timestamp>) -> Self {
        Self { since: since.map(|since| since.to_string()), ..self }
    }

    /// Inactive records too, which QuickBooks leaves out of name lists unless it is asked.
    pub(crate) fn with_inactive(mut self, wanted: bool) -> Self {
        if wanted {
            self.conditions.push("Active IN (true, false)".to_owned());
        }
        self
    }

    fn statement(&self, after: Option<&str>, skip: u64) -> String {
        let mut text = ["select * from ", &self.kind].concat();
        let after = after.or(self.since.as_deref());
        let after = after.map(|after| ["MetaData.LastUpdatedTime >= ", &quoted(after)].concat());
        for (index, condition) in after.iter().chain(&self.conditions).enumerate() {
            text.push_str(if index == 0 { " where " } else { " and " });
            text.push_str(condition);
        }
        text.push_str(" ORDERBY MetaData.LastUpdatedTime");
        text.push_str(if self.order == Order::Newest { " DESC" } else { " ASC" });
        text.push_str(" STARTPOSITION ");
        text.push_str(&(skip + 1).to_string());
        text.push_str(" MAXRESULTS ");
        text.push_str(&self.limit.to_string());
        text
    }

    /// Reads one page, and makes something of each record: of its fields and its text.
    pub(crate) fn page<T>(
        &self,
        cursor: Option<Cursor>,
        make: impl Fn(Fields<'_>, Box<RawValue>) -> Result<T, Error>,
    ) -> Result<Page<T>, Error> {
        let place = self.resume(cursor)?;
        let response = api::send(api::get("/query").query("query", self.statement_at(&place)))?;
        let mut found = found(&response)?;
        let (rows, next) = self.rows(&place, &mut found)?;
        let made = rows.into_iter().map(|(index, raw)| make(found.item(&self.kind, index, &raw)?, raw));
        Page::new(made.collect::<Result<_, _>>()?, next.as_ref())
    }

    fn resume(&self, cursor: Option<Cursor>) -> Result<Place, Error> {
        match (cursor, self.order) {
            (Some(cursor), _) => cursor.decode(),
            (None, Order::Newest) => Ok(Place::Newest(Offset::resume(None, self.limit)?)),
            (None, Order::Oldest) => Ok(Place::Oldest(Keyset::resume(None)?)),
        }
    }

    fn statement_at(&self, place: &Place) -> String {
        match place {
            Place::Newest(at) => self.statement(None, at.offset()),
            Place::Oldest(at) => self.statement(at.after(), at.skip()),
        }
    }

    /// The records of an answer that did not come before, each with its index, and where the list goes on.
    fn rows(&self, place: &Place, found: &mut Fields<'_>) -> Result<(Vec<Numbered>, Option<Place>), Error> {
        let items = found.items(&self.kind)?;
        let is_full = items.len() as u64 >= u64::from(self.limit);
        match place {
            Place::Newest(at) => {
                let next = at.advance(items.len(), None)?.map(Place::Newest);
                Ok((items.into_iter().enumerate().collect(), next))
            }
            Place::Oldest(at) => {
                let mut rows = Vec::with_capacity(items.len());
                for (index, raw) in items.into_iter().enumerate() {
                    let mut fields = found.item(&self.kind, index, &raw)?;
                    let id = fields.text("Id")?.unwrap_or_default();
                    let modified = fields.times()?.modified.map(|at| at.to_string()).unwrap_or_default();
                    rows.push(Row { raw, id, modified });
                }
                let seen = rows.iter().map(|row| (row.modified.as_str(), row.id.as_str()));
                let next = at.advance(seen, is_full)?.map(Place::Oldest);
                let rows = rows.into_iter().enumerate();
                let new = rows.filter(|(_, row)| at.is_new(&row.modified, &row.id));
                Ok((new.map(|(index, row)| (index, row.raw)).collect(), next))
            }
        }
    }
}

/// What was found, by kind of record.
pub(crate) fn found<'a>(response: &'a Response) -> Result<Fields<'a>, Error> {
    let mut answer = Fields::of(response)?;
    answer.object("QueryResponse")?.ok_or_else(|| answer.missing("QueryResponse"))
}

/// A value as a statement holds it.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('\'');
    for letter in value.chars() {
        if matches!(letter, '\'' | '\\') {
            text.push('\\');
        }
        text.push(letter);
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_put_together() {
        let all = Select::of("Invoice", Order::Newest, 5000);
        assert_eq!(
            all.statement(None, 0),
            "select * from Invoice ORDERBY MetaData.LastUpdatedTime DESC STARTPOSITION 1 MAXRESULTS 1000"
        );
        let some = Select::of("Customer", Order::Oldest, 2)
            .since(Some(Timestamp::from_unix_s(0)))
            .with_inactive(true)
            .with_some("DisplayName", "=", Some("Ann"))
            .with_some("CompanyName", "=", None);
        assert_eq!(
            some.statement(Some("1970-01-02T00:00:00Z"), 4),
            "select * from Customer where MetaData.LastUpdatedTime >= '1970-01-02T00:00:00Z' and Active IN (true, \
             false) and DisplayName = 'Ann' ORDERBY MetaData.LastUpdatedTime ASC STARTPOSITION 5 MAXRESULTS 2"
        );
    }

    /// No value ends its quotes: what is inside, read as QuickBooks reads it, is the value again.
    #[test]
    fn a_quote_does_not_end_a_value() {
        for value in ["Amy's", "a\\", "' or Id = '1", "\\'", "''", "%", "é"] {
            let text = quoted(value);
            let inside = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap();
            let mut read = String::new();
            let mut letters = inside.chars();
            while let Some(letter) = letters.next() {
                assert_ne!(letter, '\'', "{value}: a quote that is not escaped");
                read.push(if letter == '\\' { letters.next().unwrap() } else { letter });
            }
            assert_eq!(read, value);
        }
    }
}
