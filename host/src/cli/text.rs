//! What people read: failures, tables, counts.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::presets;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Longest text of a cell.
const CELL_CHARS_MAX: usize = 60;

/// Longest line of one record.
const LINE_CHARS_MAX: usize = 2_000;

/// Prints a failure: the sentence, what is known, what would help.
pub(super) fn failure(error: &anyhow::Error) {
    match error.downcast_ref::<wharfage::Error>() {
        Some(known) => {
            note!("{RED}{}{RED:#}: {known}", known.kind().name());
            // What the host found stands in its details; a plugin's fields stand nowhere else.
            if let (wharfage::Kind::InvalidRequest(fields), None) = (known.kind(), known.details()) {
                for field in fields.iter().filter(|field| !is_said(field, known.message())) {
                    let place = if field.path.is_empty() { "(input)" } else { &field.path };
                    note!("{}: {}", one_line(place, 200), one_line(&field.message, 500));
                }
            }
            if let Some(at) = known.retry_at() {
                note!("{DIM}trying again can help from {at} on{DIM:#}");
            }
            if let Some(code) = known.provider_code() {
                note!("{DIM}the provider's code: {}{DIM:#}", one_line(code, 200));
            }
            if let Some(body) = known.body().filter(|body| !body.trim().is_empty()) {
                note!("{DIM}the provider said: {}{DIM:#}", one_line(body, 500));
            }
        }
        None => note!("{RED}failed{RED:#}: {error:#}"),
    }
}

/// Whether the sentence says already what is wrong with a field.
fn is_said(field: &wharfage::FieldError, sentence: &str) -> bool {
    sentence == field.message
        || sentence.strip_prefix(&field.path).and_then(|rest| rest.strip_prefix(": ")) == Some(field.message.as_str())
}

/// What shows that something goes on, where a person looks at it.
pub(super) fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let progress = ProgressBar::new_spinner().with_style(style);
    progress.enable_steady_tick(std::time::Duration::from_millis(120));
    progress
}

/// How much of a file has gone through, where a person looks at it.
pub(super) fn bytes(what: &str, total: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match total {
        Some(_) => "{msg} {bytes} of {total_bytes} {bytes_per_sec} {eta}",
        None => "{msg} {bytes} {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let progress = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    progress.with_style(style).with_message(what.to_owned())
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
            return one_line(&shown(value), CELL_CHARS_MAX);
        }
        Self::of(value).map_or_else(String::new, |inner| inner.at(rest))
    }
}

/// A value as people read it: text without quotes, a time to the second, money with its currency, a list of words with
/// commas. What is none of these is shown as it is written; no digit of a number is lost.
pub(super) fn shown(value: &RawValue) -> String {
    match value.get() {
        "null" => String::new(),
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        quoted if quoted.starts_with('"') => {
            let text: String = serde_json::from_str(quoted).unwrap_or_default();
            time(&text).unwrap_or(text)
        }
        object if object.starts_with('{') => {
            Fields::of(value).and_then(|fields| money(&fields)).unwrap_or_else(|| object.to_owned())
        }
        list if list.starts_with('[') => words(list).map_or_else(
            || list.to_owned(),
            |words| words.iter().map(|word| shown(word)).collect::<Vec<_>>().join(", "),
        ),
        other => other.to_owned(),
    }
}

/// A moment as RFC 3339 writes it (`2026-02-03T21:22:18.494Z`), to the second: `2026-02-03 21:22:18 UTC`.
fn time(text: &str) -> Option<String> {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let (moment, rest) = text.split_at_checked(FORM.len())?;
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    let fraction = rest.strip_prefix('.').map_or(0, |rest| 1 + rest.bytes().take_while(u8::is_ascii_digit).count());
    let zone = match &rest[fraction..] {
        "Z" | "+00:00" => "UTC",
        offset if offset.len() == 6 && offset.starts_with(['+', '-']) => offset,
        _ => return None,
    };
    moment.bytes().zip(FORM).all(fits).then(|| format!("{} {} {zone}", &moment[..10], &moment[11..]))
}

/// An amount with its currency, `4250.50 USD`. Tenths are filled up to hundredths, as people write them.
fn money(fields: &Fields) -> Option<String> {
    let field = |name: &str| fields.0.iter().find(|(field, _)| field == name).map(|(_, value)| shown(value));
    let (amount, currency) = (field("amount")?, field("currency")?);
    let is_amount = !amount.is_empty() && amount.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
    let missing = if amount.split_once('.').is_some_and(|(_, fraction)| fraction.len() == 1) { "0" } else { "" };
    (fields.0.len() == 2 && is_amount).then(|| format!("{amount}{missing} {currency}").trim_end().to_owned())
}

/// The items of a list, if each is a word or a number.
fn words(list: &str) -> Option<Vec<Box<RawValue>>> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(list).ok()?;
    items.iter().all(|item| !item.get().starts_with(['{', '['])).then_some(items)
}

/// The items of a list, if each is an object.
pub(super) fn records(value: &RawValue) -> Option<Vec<Box<RawValue>>> {
    let items: Vec<Box<RawValue>> = serde_json::from_str(value.get()).ok()?;
    (!items.is_empty() && items.iter().all(|item| item.get().starts_with('{'))).then_some(items)
}

/// Prints one record: a line for each field, and below them what needs more room, lists of records as tables and texts of
/// several lines as they are.
pub(super) fn print_fields(fields: Fields) -> std::io::Result<()> {
    let is_long = |(_, value): &(String, Box<RawValue>)| records(value).is_some() || shown(value).trim().contains('\n');
    let (long, short): (Vec<_>, Vec<_>) = fields.0.into_iter().partition(is_long);
    let width = short.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = anstream::stdout().lock();
    for (name, value) in short {
        writeln!(out, "{name:<width$}  {}", one_line(&shown(&value), LINE_CHARS_MAX))?;
    }
    drop(out);
    for (name, value) in long {
        say!("\n{BOLD}{name}{BOLD:#}");
        match records(&value) {
            Some(records) => Rows::new(&[]).print(&records)?,
            None => {
                for line in shown(&value).lines() {
                    say!("{}", one_line(line, LINE_CHARS_MAX));
                }
            }
        }
    }
    Ok(())
}

/// Whether a cell holds a figure: those stand right-aligned, so that their digits stand one below the other.
fn is_figure(cell: &str) -> bool {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let is_unit = unit.len() <= 5 && unit.bytes().all(|byte| byte.is_ascii_uppercase());
    let starts = number.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    let has_one_point = number.matches('.').count() <= 1;
    is_unit
        && starts
        && has_one_point
        && number.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte))
        && number.rfind('-').is_none_or(|at| at == 0)
}

/// Items as rows, page by page under one head.
pub(super) struct Rows {
    columns: Vec<String>,
    widths: Vec<u16>,
    figures: Vec<bool>,
}

impl Rows {
    /// With these columns; the first item's own fields where there are none.
    pub(super) fn new(columns: &[String]) -> Self {
        Self { columns: columns.to_vec(), widths: Vec::new(), figures: Vec::new() }
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
            table.set_header(self.columns.iter().map(|column| column.to_uppercase().replace('_', " ")));
        }
        let cells: Vec<Vec<String>> = items
            .iter()
            .map(|item| match Fields::of(item) {
                Some(fields) => self.columns.iter().map(|column| fields.at(column)).collect(),
                None => vec![one_line(&shown(item), CELL_CHARS_MAX)],
            })
            .collect();
        if is_first {
            let filled = |column: usize| {
                cells.iter().filter_map(move |row| row.get(column)).filter(|cell: &&String| !cell.is_empty())
            };
            let columns = 0..self.columns.len();
            self.figures = columns
                .map(|column| filled(column).count() > 0 && filled(column).all(|cell| is_figure(cell)))
                .collect();
        }
        table.add_rows(cells);
        if is_first {
            self.widths = table.column_max_content_widths().iter().map(|width| width + 2).collect();
        }
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
        }
        for (column, _) in table.column_iter_mut().zip(&self.figures).filter(|(_, is_figure)| **is_figure) {
            column.set_cell_alignment(CellAlignment::Right);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> String {
        shown(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn what_the_sentence_says_is_not_said_again() {
        let field = |path: &str| wharfage::FieldError::new(path, "expected a name");
        assert!(is_said(&field(""), "expected a name") && is_said(&field("/name"), "/name: expected a name"));
        assert!(!is_said(&field("/name"), "orders.list: the input does not fit"));
        assert!(!is_said(&field("/name"), "/other: expected a name"));
    }

    #[test]
    fn values_are_shown_as_people_read_them() {
        for (json, text) in [
            (r#""2026-02-03T21:22:18.494Z""#, "2026-02-03 21:22:18 UTC"),
            (r#""2026-02-03T14:22:18-07:00""#, "2026-02-03 14:22:18 -07:00"),
            (r#""2026-02-03""#, "2026-02-03"),
            (r#""2026-02-03T21:22:18é""#, "2026-02-03T21:22:18é"),
            (r#""2026-02-03T21:22:1é.5Z""#, "2026-02-03T21:22:1é.5Z"),
            (r#"{"amount": "4250.5", "currency": "USD"}"#, "4250.50 USD"),
            (r#"{"amount": "-0.0075", "currency": "USD"}"#, "-0.0075 USD"),
            (r#"{"amount": "500", "currency": "JPY"}"#, "500 JPY"),
            (r#"{"amount": "1.10", "currency": null}"#, "1.10"),
            (r#"{"amount": "many", "currency": "USD"}"#, r#"{"amount": "many", "currency": "USD"}"#),
            (r#"["INBOX", "UNREAD"]"#, "INBOX, UNREAD"),
            ("[]", ""),
            (r#"[{"a": 1}]"#, r#"[{"a": 1}]"#),
            ("18446744073709551616.10", "18446744073709551616.10"),
            ("true", "yes"),
            ("null", ""),
        ] {
            assert_eq!(read(json), text, "{json}");
        }
    }

    #[test]
    fn figures_are_known() {
        for figure in ["1", "-4250.50 USD", "0.1", "500 JPY"] {
            assert!(is_figure(figure), "{figure}");
        }
        for word in ["", "2026-02-03", "10.0.0.1", "1 of 2", "0x10", "10.0.0.1 x", "-", "12 orders"] {
            assert!(!is_figure(word), "{word}");
        }
    }
}
