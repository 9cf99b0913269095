//! Spreadsheets as a whole: what they are made of, and new ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharfage_sdk::http::segment;
use wharfage_sdk::{Error, Request};

/// What is read of a spreadsheet: no cells, which would be all of it.
const FIELDS: &str = "spreadsheetId,spreadsheetUrl,properties(title,locale,timeZone),sheets/properties(sheetId,title,index,hidden,gridProperties(rowCount,columnCount))";

/// Which spreadsheet.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindInput {
    /// Its id, as it stands in its address.
    id: String,
}

/// What to make.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateInput {
    /// Its title.
    title: String,
    /// The names of its sheets; one of Google's choice where there are none.
    #[serde(default)]
    sheets: Vec<String>,
}

/// A spreadsheet.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Spreadsheet {
    /// Its id.
    id: String,
    /// Its title.
    title: Option<String>,
    /// The language and country by which numbers and dates are written, as `en_US`.
    locale: Option<String>,
    /// The time zone of its dates, as `America/Anchorage`.
    time_zone: Option<String>,
    /// Where a person opens it.
    link: Option<String>,
    /// Its sheets, from left to right.
    sheets: Vec<Sheet>,
}

/// A sheet of a spreadsheet.
#[derive(Serialize, JsonSchema)]
struct Sheet {
    /// Its number, the `gid` of its address.
    id: u64,
    /// Its name, as ranges begin with it.
    title: Option<String>,
    /// How many rows it has, empty ones too; null for a sheet that is a chart.
    rows: Option<u64>,
    /// How many columns it has.
    columns: Option<u64>,
    /// Whether it is hidden.
    hidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    spreadsheet_id: String,
    #[serde(default)]
    spreadsheet_url: Option<String>,
    #[serde(default)]
    properties: Properties,
    #[serde(default)]
    sheets: Vec<SheetRecord>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    locale: Option<String>,
    #[serde(default)]
    time_zone: Option<String>,
}

#[derive(Deserialize)]
struct SheetRecord {
    properties: SheetProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SheetProperties {
    #[serde(default)]
    sheet_id: u64,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    grid_properties: Grid,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Grid {
    #[serde(default)]
    row_count: Option<u64>,
    #[serde(default)]
    column_count: Option<u64>,
}

pub(crate) fn find(input: FindInput) -> Result<Spreadsheet, Error> {
    let url = ["{api}/spreadsheets/", &segment("/id", &input.id)?].concat();
    let record: Record = Request::get(url).query("fields", FIELDS).send()?.json()?;
    Ok(record.spreadsheet())
}

pub(crate) fn create(input: CreateInput) -> Result<Spreadsheet, Error> {
    let mut body = json!({"properties": {"title": input.title}});
    if !input.sheets.is_empty() {
        let sheets: Vec<Value> = input.sheets.iter().map(|title| json!({"properties": {"title": title}})).collect();
        body["sheets"] = sheets.into();
    }
    let record: Record = Request::post("{api}/spreadsheets").query("fields", FIELDS).json(&body)?.send()?.json()?;
    Ok(record.spreadsheet())
}

impl Record {
    fn spreadsheet(self) -> Spreadsheet {
        let Properties { title, locale, time_zone } = self.properties;
        let sheets = self.sheets.into_iter().map(|sheet| {
            let SheetProperties { sheet_id: id, title, hidden, grid_properties } = sheet.properties;
            Sheet { id, title, rows: grid_properties.row_count, columns: grid_properties.column_count, hidden }
        });
        let sheets = sheets.collect();
        Spreadsheet { id: self.spreadsheet_id, title, locale, time_zone, link: self.spreadsheet_url, sheets }
    }
}
