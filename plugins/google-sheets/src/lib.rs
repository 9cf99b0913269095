//! Google Sheets, API v4: ranges of cells, read and written.
//!
//! A range is written as people write it, `Sheet1!A1:D5` or `'Sheet 1'!A:D`. A cell is text, a number or a boolean; a number
//! keeps every digit it was written with.

mod cells;
mod spreadsheets;
mod values;
mod writes;

wharfage_sdk::operations! {
    /// What a spreadsheet is made of: its title, time zone, and sheets with their sizes. No cells.
    read "spreadsheets.get" => spreadsheets::find;
    /// Makes a spreadsheet, at the top of My Drive.
    write "spreadsheets.create" => spreadsheets::create;
    /// The cells of one range, row by row.
    list "values.get" => values::list;
    /// Writes cells into a range, over what is there; twice is as once.
    idempotent "values.update" => writes::update;
    /// Adds rows below the table that a range is in.
    write "values.append" => writes::append;
    /// Empties the cells of a range; their formats stay.
    idempotent "values.clear" => writes::clear;
    /// The cells of several ranges, with one request.
    list "values.batch-get" => values::batch;
    /// Writes cells into several ranges with one request, all of them or none; twice is as once.
    idempotent "values.batch-update" => writes::batch;
}

wharfage_sdk::plugin!();
