//! What was used, and what it costs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::money::Money;
use wharfage_sdk::{Cursor, Error, Page, Timestamp};

use crate::listing::{self, limit};
use crate::read;

/// Which usage.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The account's id: `AC…`. State it once as a default of the connection.
    account: String,
    /// One record for each of these.
    #[serde(default)]
    by: By,
    /// Only this category, as `sms`, `calls` or `totalprice`. Categories hold each other: do not add all of them up.
    #[serde(default)]
    category: Option<String>,
    /// From this day on, in UTC: `2026-11-01`, or `-30days`.
    #[serde(default)]
    start: Option<String>,
    /// To this day, in UTC: `2026-11-30`.
    #[serde(default)]
    end: Option<String>,
    /// Without the subaccounts of the account.
    #[serde(default)]
    without_subaccounts: bool,
    /// How many to a page.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
}

/// How usage is cut.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum By {
    /// Each category, over all the time asked for.
    #[default]
    Category,
    /// Each category and day.
    Day,
    /// Each category and month.
    Month,
    /// Each category and year.
    Year,
    /// Each category, today.
    Today,
    /// Each category, this month.
    ThisMonth,
    /// Each category, last month.
    LastMonth,
}

impl By {
    fn place(self) -> &'static str {
        match self {
            Self::Category => "Usage/Records.json",
            Self::Day => "Usage/Records/Daily.json",
            Self::Month => "Usage/Records/Monthly.json",
            Self::Year => "Usage/Records/Yearly.json",
            Self::Today => "Usage/Records/Today.json",
            Self::ThisMonth => "Usage/Records/ThisMonth.json",
            Self::LastMonth => "Usage/Records/LastMonth.json",
        }
    }
}

/// How much of a category was used, and what it costs.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Usage {
    /// The category, as `sms-outbound`.
    category: String,
    /// What that is.
    #[serde(default)]
    description: Option<String>,
    /// The first day, in UTC.
    #[serde(default, rename(deserialize = "start_date"))]
    start: Option<String>,
    /// The last day, in UTC.
    #[serde(default, rename(deserialize = "end_date"))]
    end: Option<String>,
    /// How many; decimal text.
    #[serde(default)]
    count: Option<String>,
    /// Of what, as `messages`.
    #[serde(default)]
    count_unit: Option<String>,
    /// How much of what is paid for; decimal text.
    #[serde(default)]
    usage: Option<String>,
    /// Measured in this, as `minutes`.
    #[serde(default)]
    usage_unit: Option<String>,
    /// What it costs: positive here, negative at messages and calls.
    #[serde(default)]
    price: Option<Money>,
    #[serde(default, skip_serializing)]
    #[schemars(skip)]
    price_unit: Option<String>,
    /// Up to when it is counted.
    #[serde(default, deserialize_with = "read::moment")]
    as_of: Option<Timestamp>,
}

pub(crate) fn list(input: ListInput, cursor: Option<Cursor>) -> Result<Page<Usage>, Error> {
    let ListInput { account, by, category, start, end, without_subaccounts, limit } = input;
    let page: Page<Usage> = listing::list(&account, by.place(), limit, cursor, |request| {
        request
            .query_some("Category", category)
            .query_some("StartDate", start)
            .query_some("EndDate", end)
            .query_some("IncludeSubaccounts", without_subaccounts.then_some(false))
    })?;
    let settled = |mut usage: Usage| {
        let unit = usage.price_unit.take();
        read::priced(&mut usage.price, unit);
        usage
    };
    Ok(Page { items: page.items.into_iter().map(settled).collect(), next: page.next })
}
