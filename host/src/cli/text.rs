//! What people read: failures, tables, counts.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::presets;
use comfy_table::{ColumnConstraint, Table, Width};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Longest text of a cell.
const CELL_CHARS_MAX: usize = 60;

/// Prints a failure: the sentence, what is known, what would help.
pub(super) fn failure(error: &anyhow::Error) {
    match error.downcast_ref::<wharfage::Error>() {
        Some(known) => {
            anstream::eprintln!("{RED}{}{RED:#}: {known}", known.kind().name());
            // What the host found stands in its details; a plugin's fields stand nowhere else.
            if let (wharfage::Kind::InvalidRequest(fields), None) = (known.kind(), known.details()) {
                for field in fields {
                    let place = if field.path.is_empty() { "(input)" } else { &field.path };
                    anstream::eprintln!("{}: {}", one_line(place, 200), one_line(&field.message, 500));
                }
            }
            if let Some(at) = known.retry_at() {
                anstream::eprintln!("{DIM}trying again can help from {at} on{DIM:#}");
            }
            if let Some(code) = known.provider_code() {
                anstream::eprintln!("{DIM}the provider's code: {code}{DIM:#}");
            }
            if let Some(body) = known.body().filter(|body| !body.trim().is_empty()) {
                anstream::eprintln!("{DIM}the provider said: {}{DIM:#}", one_line(body, 500));
            }
        }
        None => anstream::eprintln!("{RED}failed{RED:#}: {error:#}"),
    }
}

/// Untrusted text on one line, without control characters.
pub(super) fn one_line(text: &str, chars_max: usize) -> String {
    let mut out: String = text
        .chars()
        .map(|c| {
            if c.is_whitespace() {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .take(chars_max)
        .collect();
    if text.chars().nth(chars_max).is_some() {
        out.push('…');
    }
    out
}

/// A JSON object's fields in their order, each with its text as written.
pub(super) struct Fields(pub(super) Vec<(String, Box<RawValue>)>);

impl Fields {
    /// The fields of an object; nothing for any other value.
    pub(super) fn of(value: &RawValue) -> Option<Self> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        serde_json::Deserializer::from_str(value.get()).deserialize_map(InOrder).ok()
    }

    /// The text at a dotted path.
    fn at(&self, path: &str) -> String {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let Some((_, value)) = self.0.iter().find(|(field, _)| field == name) else { return String::new() };
        if rest.is_empty() {
            return cell(value);
        }
        Self::of(value).map_or_else(String::new, |inner| inner.at(rest))
    }
}

/// A value as a cell shows it: text without quotes, the rest as it is written.
fn cell(value: &RawValue) -> String {
    let text = match value.get() {
        "null" => String::new(),
        quoted if quoted.starts_with('"') => serde_json::from_str(quoted).unwrap_or_default(),
        other => other.to_owned(),
    };
    one_line(&text, CELL_CHARS_MAX)
}

/// Items as rows, page by page under one head.
pub(super) struct Rows {
    columns: Vec<String>,
    widths: Vec<u16>,
}

impl Rows {
    /// With these columns; the first item's own fields where there are none.
    pub(super) fn new(columns: &[String]) -> Self {
        Self { columns: columns.to_vec(), widths: Vec::new() }
    }

    /// Prints one page.
    pub(super) fn print(&mut self, items: &[Box<RawValue>]) -> std::io::Result<()> {
        let Some(first) = items.first() else { return Ok(()) };
        if self.columns.is_empty() {
            self.columns = match Fields::of(first) {
                Some(fields) => fields.0.into_iter().map(|(name, _)| name).take(8).collect(),
                None => vec!["value".to_owned()],
            };
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let is_first = self.widths.is_empty();
        if is_first {
            table.set_header(self.columns.iter().map(|column| column.to_uppercase()));
        }
        for item in items {
            table.add_row(match Fields::of(item) {
                Some(fields) => self.columns.iter().map(|column| fields.at(column)).collect(),
                None => vec![cell(item)],
            });
        }
        if is_first {
            self.widths = table.column_max_content_widths().iter().map(|width| width + 2).collect();
        }
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
        }
        let mut out = anstream::stdout().lock();
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `1 request`, `3 requests`.
pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
