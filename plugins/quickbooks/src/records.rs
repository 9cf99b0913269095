//! Records of any kind, as QuickBooks writes them: vendors, bills, estimates and all the others that have no operation of
//! their own here. Kind and fields are names, which are checked; values are quoted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::select::{Order, Select, limit};

wharfage_sdk::input! {
    /// What is looked for.
    pub(crate) struct SearchInput {
        /// The kind of record, as `Vendor`, `Bill` or `Estimate`; capitals count.
        entity: String,
        /// What must hold, all of it.
        #[serde(default)]
        conditions: Vec<Condition>,
        /// Only those changed at or after this time.
        #[serde(default)]
        since: Option<Timestamp>,
        /// Also inactive ones, of kinds that know that.
        #[serde(default)]
        inactive: bool,
        /// Newest or oldest change first.
        #[serde(default)]
        order: Order,
        /// How many to a page.
        #[schemars(range(min = 1, max = 1000))]
        limit: u32 = limit(),
    }
}

wharfage_sdk::input! {
    /// One condition.
    struct Condition {
        /// The field, as `DisplayName` or `MetaData.CreateTime`; QuickBooks filters by some of them only.
        field: String,
        /// How it is compared.
        operator: Operator,
        /// With what. In `like`, `%` stands for anything.
        value: String,
    }
}

/// How a field is compared.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Operator {
    /// It is this.
    Equal,
    /// It is less.
    Less,
    /// It is this or less.
    AtMost,
    /// It is more.
    More,
    /// It is this or more.
    AtLeast,
    /// It looks like this.
    Like,
}

/// A record.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Record {
    /// The kind of record.
    entity: String,
    /// QuickBooks' id.
    id: Option<String>,
    /// The last change.
    modified: Option<Timestamp>,
    /// The record as QuickBooks wrote it.
    #[schemars(with = "serde_json::Value")]
    record: Box<RawValue>,
}

impl Operator {
    fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Like => "LIKE",
        }
    }
}

pub(crate) fn search(input: SearchInput, cursor: Option<Cursor>) -> Result<Page<Record>, Error> {
    if !is_name(&input.entity, false) {
        return Err(Error::invalid_request("/entity", "expected the name of a kind of record, as Vendor"));
    }
    let mut select = Select::of(&input.entity, input.order, input.limit).since(input.since);
    for (index, condition) in input.conditions.iter().enumerate() {
        if !is_name(&condition.field, true) {
            let place = ["/conditions/", &index.to_string(), "/field"].concat();
            return Err(Error::invalid_request(place, "expected the name of a field, as DisplayName"));
        }
        select = select.with(&condition.field, condition.operator.text(), &condition.value);
    }
    let entity = &input.entity;
    select.with_inactive(input.inactive).page(cursor, |mut fields, record| {
        let modified = fields.times()?.modified;
        Ok(Record { entity: entity.clone(), id: fields.text("Id")?, modified, record })
    })
}

/// Letters and digits; in fields, parts with dots between.
fn is_name(text: &str, has_parts: bool) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 100 && if has_parts { text.split('.').all(is_word) } else { is_word(text) }
}
