//! Cells that are read.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Cursor, Error, ErrorKind, Page, Request};

use crate::cells::{Cell, ValueRange};

/// Which range, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListInput {
    /// The spreadsheet's id, as it stands in its address.
    id: String,
    /// The range, as `Sheet1!A1:D5`, `Sheet1!A:D`, `Sheet1` or the name of one.
    range: String,
    /// How cells are shown.
    #[serde(default)]
    show: Show,
    /// Takes the first row as the names of the columns: each further row is then also a record.
    #[serde(default)]
    header: bool,
}

/// Which ranges, and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchInput {
    /// The spreadsheet's id.
    id: String,
    /// The ranges, as `Sheet1!A1:D5`.
    #[schemars(length(min = 1, max = 100))]
    ranges: Vec<String>,
    /// How cells are shown.
    #[serde(default)]
    show: Show,
}

/// How cells are shown.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Show {
    /// As a person sees them in the sheet: everything is text.
    #[default]
    Formatted,
    /// As they are: numbers are numbers, and a date is the number of days since 1899-12-30.
    Plain,
    /// With their formulas instead of what these come to.
    Formula,
}

/// A row of a range.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Its number in the sheet.
    row: u64,
    /// Its cells from the left; empty ones at the end are left out.
    values: Vec<Cell>,
    /// The same by the names of the columns, where the first row was taken for these.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<BTreeMap<String, Cell>>,
}

/// A range of several.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Range {
    /// Where it is; of a range without an end, as far as the sheet goes.
    range: String,
    /// Its cells, row by row; empty ones at the end are left out.
    rows: Vec<Vec<Cell>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    value_ranges: Vec<ValueRange>,
}

pub(crate) fn list(input: ListInput, _: Option<Cursor>) -> Result<Page<Row>, Error> {
    let url = url(&input.id, &input.range, "")?;
    let range: ValueRange = input.show.on(Request::get(url)).send()?.json()?;
    let first = range.first_row();
    let mut rows: Vec<Row> =
        (first..).zip(range.values).map(|(row, values)| Row { row, values, record: None }).collect();
    if input.header && !rows.is_empty() {
        let names: Vec<String> = rows.remove(0).values.iter().map(Cell::text).collect();
        for row in &mut rows {
            let named = names.iter().cloned().zip(row.values.iter().cloned());
            row.record = Some(named.filter(|(name, _)| !name.is_empty()).collect());
        }
    }
    Ok(Page::whole(rows))
}

pub(crate) fn batch(input: BatchInput, _: Option<Cursor>) -> Result<Page<Range>, Error> {
    let url = ["{api}/spreadsheets/", &segment("/id", &input.id)?, "/values:batchGet"].concat();
    let request = input.ranges.iter().fold(Request::get(url), |request, range| request.query("ranges", range));
    let response = input.show.on(request).send()?;
    let batch: Batch = response.json()?;
    if batch.value_ranges.len() != input.ranges.len() {
        return Err(response.error(ErrorKind::SchemaViolation, "another number of ranges came than was asked for"));
    }
    let ranges = batch.value_ranges.into_iter().map(|range| Range { range: range.range, rows: range.values });
    Ok(Page::whole(ranges.collect()))
}

/// Where a range is, and what is to be done with it.
pub(crate) fn url(id: &str, range: &str, act: &str) -> Result<String, Error> {
    Ok(["{api}/spreadsheets/", &segment("/id", id)?, "/values/", &segment("/range", range)?, act].concat())
}

impl Show {
    fn on(self, request: Request) -> Request {
        request.query(
            "valueRenderOption",
            match self {
                Self::Formatted => "FORMATTED_VALUE",
                Self::Plain => "UNFORMATTED_VALUE",
                Self::Formula => "FORMULA",
            },
        )
    }
}
