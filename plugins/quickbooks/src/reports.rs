//! Reports. QuickBooks nests rows in sections of sections; here they are one list with a depth, and every cell stays the
//! text that it is, so that no amount passes a float.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, ErrorKind, Timestamp};

use crate::api;
use crate::fields::Fields;

/// Most rows of a report, so that one that does not end is an error.
const ROWS_MAX: usize = 50_000;

/// Most sections within sections.
const DEPTH_MAX: u32 = 50;

wharfage_sdk::input! {
    /// Which report, about what.
    pub(crate) struct FindInput {
        /// Its name: `ProfitAndLoss`, `ProfitAndLossDetail`, `BalanceSheet`, `CashFlow`, `TrialBalance`, `GeneralLedger`,
        /// `TransactionList`, `AgedReceivables`, `AgedReceivableDetail`, `AgedPayables`, `AgedPayableDetail`,
        /// `CustomerBalance`, `CustomerIncome`, `CustomerSales`, `ItemSales`, `VendorBalance`, `VendorExpenses`,
        /// `InventoryValuationSummary`, `AccountList` or another that QuickBooks knows.
        name: String,
        /// Its first day, as 2026-11-01; with it goes `end_date`.
        #[serde(default)]
        start_date: Option<String>,
        /// Its last day.
        #[serde(default)]
        end_date: Option<String>,
        /// The day that a report of ages or balances is about.
        #[serde(default)]
        report_date: Option<String>,
        /// A period by its name instead, as `This Month` or `Last Fiscal Year`.
        #[serde(default)]
        period: Option<String>,
        /// The way of accounting; the company's own where it is left out.
        #[serde(default)]
        basis: Option<Basis>,
        /// What columns are made of, as `Month`, `Customers` or `Total`.
        #[serde(default)]
        columns_by: Option<String>,
        /// Only these customers, by their ids.
        #[serde(default)]
        #[schemars(length(max = 100))]
        customer_ids: Vec<String>,
    }
}

/// A way of accounting.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Basis {
    /// When money moves.
    Cash,
    /// When it is owed.
    Accrual,
}

/// A report.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Report {
    /// Its name.
    name: Option<String>,
    /// `Cash` or `Accrual`.
    basis: Option<String>,
    /// The currency of its amounts.
    currency: Option<String>,
    /// Its first day.
    start: Option<String>,
    /// Its last day.
    end: Option<String>,
    /// When it was made.
    made: Option<Timestamp>,
    /// What its columns are called; the first often has no name.
    columns: Vec<String>,
    /// Its rows in their order.
    rows: Vec<Row>,
}

/// A row of a report.
#[derive(Serialize, JsonSchema)]
struct Row {
    /// In how many sections it lies.
    depth: u32,
    /// `header` of a section, `data`, or `total` of a section.
    kind: &'static str,
    /// What QuickBooks calls the section, as `NetIncome`.
    group: Option<String>,
    /// What the row is about, by QuickBooks' id.
    id: Option<String>,
    /// Its cells as text, one for each column.
    cells: Vec<String>,
}

pub(crate) fn find(input: FindInput) -> Result<Report, Error> {
    if input.name.is_empty() || !input.name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Error::invalid_request("/name", "expected the name of a report, as ProfitAndLoss"));
    }
    let basis = input.basis.map(|basis| match basis {
        Basis::Cash => "Cash",
        Basis::Accrual => "Accrual",
    });
    let customers = (!input.customer_ids.is_empty()).then(|| input.customer_ids.join(","));
    let request = api::get(&["/reports/", &input.name].concat())
        .query_some("start_date", api::day("/start_date", input.start_date)?)
        .query_some("end_date", api::day("/end_date", input.end_date)?)
        .query_some("report_date", api::day("/report_date", input.report_date)?)
        .query_some("date_macro", input.period)
        .query_some("accounting_method", basis)
        .query_some("summarize_column_by", input.columns_by)
        .query_some("customer", customers);
    let response = api::send(request)?;
    let mut answer = Fields::of(&response)?;
    let mut header = answer.object("Header")?.ok_or_else(|| answer.missing("Header"))?;
    let mut columns = Vec::new();
    if let Some(mut all) = answer.object("Columns")? {
        for mut column in all.objects("Column")? {
            columns.push(column.text("ColTitle")?.unwrap_or_default());
        }
    }
    let mut rows = Vec::new();
    flatten(answer.object("Rows")?, 0, &mut rows)?;
    Ok(Report {
        name: header.text("ReportName")?,
        basis: header.text("ReportBasis")?,
        currency: header.text("Currency")?,
        start: header.text("StartPeriod")?,
        end: header.text("EndPeriod")?,
        made: header.time("Time")?,
        columns,
        rows,
    })
}

/// Puts the rows of a section one after the other.
fn flatten(rows: Option<Fields<'_>>, depth: u32, flat: &mut Vec<Row>) -> Result<(), Error> {
    let Some(mut rows) = rows else { return Ok(()) };
    if depth > DEPTH_MAX {
        return Err(rows.missing("an end"));
    }
    for mut row in rows.objects("Row")? {
        let group = row.text("group")?;
        if let Some(mut header) = row.object("Header")? {
            flat.push(made(depth, "header", group.clone(), &mut header)?);
        }
        if row.has("ColData") {
            flat.push(made(depth, "data", group.clone(), &mut row)?);
        }
        if flat.len() > ROWS_MAX {
            let message = "the report has more rows than can be read at once; ask for a shorter period";
            return Err(Error::new(ErrorKind::LimitExceeded("rows-max".to_owned()), message));
        }
        flatten(row.object("Rows")?, depth + 1, flat)?;
        if let Some(mut summary) = row.object("Summary")? {
            flat.push(made(depth, "total", group, &mut summary)?);
        }
    }
    Ok(())
}

fn made(depth: u32, kind: &'static str, group: Option<String>, record: &mut Fields<'_>) -> Result<Row, Error> {
    let mut row = Row { depth, kind, group, id: None, cells: Vec::new() };
    for mut cell in record.objects("ColData")? {
        if row.cells.is_empty() {
            row.id = cell.text("id")?.filter(|id| !id.is_empty());
        }
        row.cells.push(cell.text("value")?.unwrap_or_default());
    }
    Ok(row)
}
