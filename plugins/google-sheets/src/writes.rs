//! Cells that are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::http::{Repeat, segment};
use wharfage_sdk::{Error, ErrorKind, Request};

use crate::cells::Cell;
use crate::values::url;

/// What to write, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The spreadsheet's id.
    id: String,
    /// The range, as `Sheet1!A1:D5`: to write over it, or the table below which rows are added.
    range: String,
    /// The cells, row by row. Null leaves a cell as it is, an empty text empties it.
    #[schemars(length(min = 1))]
    rows: Vec<Vec<Cell>>,
    /// Reads each text as if a person had typed it: `=SUM(A1:A9)` becomes a formula, `3/4` a date. Never for what strangers wrote.
    #[serde(default)]
    typed: bool,
}

/// What to empty.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearInput {
    /// The spreadsheet's id.
    id: String,
    /// The range, as `Sheet1!A1:D5`.
    range: String,
}

/// What to write into several ranges.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchInput {
    /// The spreadsheet's id.
    id: String,
    /// The ranges with their cells.
    #[schemars(length(min = 1))]
    data: Vec<Data>,
    /// Reads each text as if a person had typed it: `=SUM(A1:A9)` becomes a formula, `3/4` a date. Never for what strangers wrote.
    #[serde(default)]
    typed: bool,
}

/// A range with its cells, as Sheets is told of them.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Data {
    /// The range, as `Sheet1!A1:D5`.
    range: String,
    /// The cells, row by row. Null leaves a cell as it is, an empty text empties it.
    #[serde(rename(serialize = "values"))]
    rows: Vec<Vec<Cell>>,
}

/// What was written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Written {
    /// Where.
    range: String,
    /// In how many rows.
    rows: u64,
    /// How many cells.
    cells: u64,
}

/// What was emptied.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Cleared {
    /// Where.
    range: String,
}

/// What was written into several ranges.
#[derive(Serialize, JsonSchema)]
pub(crate) struct BatchWritten {
    /// Into how many.
    ranges: u64,
    /// In how many rows in all.
    rows: u64,
    /// How many cells in all.
    cells: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    updated_range: String,
    #[serde(default)]
    updated_rows: u64,
    #[serde(default)]
    updated_cells: u64,
}

#[derive(Deserialize)]
struct Append {
    updates: Update,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Clear {
    cleared_range: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    #[serde(default)]
    total_updated_rows: u64,
    #[serde(default)]
    total_updated_cells: u64,
    responses: Vec<Update>,
}

#[derive(Serialize)]
struct Rows<'a> {
    values: &'a [Vec<Cell>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchBody<'a> {
    value_input_option: &'static str,
    data: &'a [Data],
}

pub(crate) fn update(input: Input) -> Result<Written, Error> {
    let request = Request::put(url(&input.id, &input.range, "")?).query("valueInputOption", option(input.typed));
    let update: Update = request.json(&Rows { values: &input.rows })?.send()?.json()?;
    Ok(update.written())
}

pub(crate) fn append(input: Input) -> Result<Written, Error> {
    // Rows are put in between: what stands below the table moves down instead of being written over.
    let request = Request::post(url(&input.id, &input.range, ":append")?)
        .query("valueInputOption", option(input.typed))
        .query("insertDataOption", "INSERT_ROWS");
    let append: Append = request.json(&Rows { values: &input.rows })?.send()?.json()?;
    Ok(append.updates.written())
}

pub(crate) fn clear(input: ClearInput) -> Result<Cleared, Error> {
    let request = Request::post(url(&input.id, &input.range, ":clear")?).body("application/json", "{}");
    let clear: Clear = request.repeat(Repeat::Safe).send()?.json()?;
    Ok(Cleared { range: clear.cleared_range })
}

pub(crate) fn batch(input: BatchInput) -> Result<BatchWritten, Error> {
    let url = ["{api}/spreadsheets/", &segment("/id", &input.id)?, "/values:batchUpdate"].concat();
    let body = BatchBody { value_input_option: option(input.typed), data: &input.data };
    let response = Request::post(url).json(&body)?.repeat(Repeat::Safe).send()?;
    let batch: Batch = response.json()?;
    if batch.responses.len() != input.data.len() {
        return Err(response.error(ErrorKind::SchemaViolation, "another number of ranges was written than was sent"));
    }
    let ranges = batch.responses.len() as u64;
    Ok(BatchWritten { ranges, rows: batch.total_updated_rows, cells: batch.total_updated_cells })
}

fn option(typed: bool) -> &'static str {
    if typed { "USER_ENTERED" } else { "RAW" }
}

impl Update {
    fn written(self) -> Written {
        Written { range: self.updated_range, rows: self.updated_rows, cells: self.updated_cells }
    }
}
