//! Reports. QuickBooks nests rows in sections of sections; here they are one list with a depth, and every cell stays the
//! text that it is, so that no amount passes a float.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharfage_sdk::{Error, ErrorKind, Timestamp};

use crate::api;

/// Most rows of a report, so that one that does not end is an error.
const ROWS_MAX: usize = 50_000;

/// Which report, about what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    header: Header,
    #[serde(default)]
    columns: Columns,
    #[serde(default)]
    rows: Rows,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Header {
    #[serde(default)]
    time: Option<Timestamp>,
    #[serde(default)]
    report_name: Option<String>,
    #[serde(default)]
    report_basis: Option<String>,
    #[serde(default)]
    start_period: Option<String>,
    #[serde(default)]
    end_period: Option<String>,
    #[serde(default)]
    currency: Option<String>,
}

#[derive(Default, Deserialize)]
struct Columns {
    #[serde(default, rename = "Column")]
    all: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    #[serde(default, rename = "ColTitle")]
    title: String,
}

#[derive(Default, Deserialize)]
struct Rows {
    #[serde(default, rename = "Row")]
    all: Vec<RowRecord>,
}

#[derive(Deserialize)]
struct RowRecord {
    #[serde(default)]
    group: Option<String>,
    #[serde(default, rename = "Header")]
    header: Option<Cells>,
    #[serde(default, rename = "ColData")]
    cells: Option<Vec<Cell>>,
    #[serde(default, rename = "Rows")]
    rows: Rows,
    #[serde(default, rename = "Summary")]
    summary: Option<Cells>,
}

#[derive(Deserialize)]
struct Cells {
    #[serde(default, rename = "ColData")]
    all: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    id: Option<String>,
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
    let Answer { header, columns, rows } = response.json()?;
    let mut flat = Vec::new();
    if !flatten(rows, 0, &mut flat) {
        let message = "the report has more rows than can be read at once; ask for a shorter period";
        return Err(response.error(ErrorKind::LimitExceeded("rows-max".to_owned()), message));
    }
    Ok(Report {
        name: header.report_name,
        basis: header.report_basis,
        currency: header.currency,
        start: header.start_period,
        end: header.end_period,
        made: header.time,
        columns: columns.all.into_iter().map(|column| column.title).collect(),
        rows: flat,
    })
}

/// Puts the rows of a section one after the other; false where there are too many.
fn flatten(rows: Rows, depth: u32, flat: &mut Vec<Row>) -> bool {
    for row in rows.all {
        if let Some(header) = row.header {
            flat.push(made(depth, "header", row.group.clone(), header.all));
        }
        if let Some(cells) = row.cells {
            flat.push(made(depth, "data", row.group.clone(), cells));
        }
        if flat.len() > ROWS_MAX || !flatten(row.rows, depth + 1, flat) {
            return false;
        }
        if let Some(summary) = row.summary {
            flat.push(made(depth, "total", row.group, summary.all));
        }
    }
    true
}

fn made(depth: u32, kind: &'static str, group: Option<String>, cells: Vec<Cell>) -> Row {
    let id = cells.first().and_then(|cell| cell.id.clone()).filter(|id| !id.is_empty());
    Row { depth, kind, group, id, cells: cells.into_iter().map(|cell| cell.value.unwrap_or_default()).collect() }
}
