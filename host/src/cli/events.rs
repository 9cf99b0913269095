//! `wharfage events`: what arrived, how it stands, and having it done once more; and what sinks did not take.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use wharfage::Kind;
use wharfage::events::{ArrivedEvent, EventContent, EventFilter, EventLog, EventState, SinkLetter};

use super::Common;
use super::text::{self, BOLD, DIM, GREEN, one_line};

/// Rows that people are shown where nothing is said.
const ROWS: usize = 100;

/// Rows read at once.
const PAGE: u64 = 1_000;

/// Most characters of a body that people are shown.
const BODY_CHARS: usize = 10_000;

#[derive(Args)]
pub(super) struct Events {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show what arrived, and how it stands
    List(List),
    /// Show one event
    Show(Show),
    /// Have events handed to their plugin once more, or a sink given its events once more
    Replay(Replay),
    /// Show what was given up: events that no plugin handled, and events that a sink did not take
    Dead(Dead),
}

#[derive(Args)]
struct List {
    /// Only what arrived for this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Only what stands so: waiting, handled or dead
    #[arg(long, value_parser = state, value_name = "STATE")]
    state: Option<EventState>,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Args)]
struct Shown {
    /// At most so many rows, the latest; 100 on a terminal, else all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// JSON, one row a line, also on a terminal
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Show {
    /// Its id
    id: u64,
    /// Its body too; a provider may have put anything there
    #[arg(long)]
    body: bool,
    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Replay {
    /// An id, or a range of ids as 17..42
    #[arg(value_parser = range, value_name = "ID")]
    ids: Range,
    /// Of a range, only those of this connection
    #[arg(long, value_name = "NAME", conflicts_with = "sink")]
    connection: Option<String>,
    /// Of a range, only those that stand so: waiting, handled or dead
    #[arg(long, value_parser = state, value_name = "STATE", conflicts_with = "sink")]
    state: Option<EventState>,
    /// Have this sink given every emitted event from this number on, as far as it is kept: what all sinks have taken goes
    /// within ten minutes
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

#[derive(Args)]
struct Dead {
    /// Only what arrived for this connection
    #[arg(long, value_name = "NAME", conflicts_with = "sink")]
    connection: Option<String>,
    /// Only what this sink did not take
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    #[command(flatten)]
    shown: Shown,
}

/// Ids from the first to the last.
#[derive(Clone, Copy)]
struct Range {
    first: u64,
    last: u64,
    is_one: bool,
}

impl Events {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let log = common.host().build()?.event_log();
        match self.what {
            What::List(list) => list.run(&log).await,
            What::Show(show) => show.run(&log).await,
            What::Replay(replay) => replay.run(&log).await,
            What::Dead(dead) => dead.run(&log).await,
        }
    }
}

impl List {
    async fn run(self, log: &EventLog) -> anyhow::Result<()> {
        let filter = EventFilter { connection: self.connection, state: self.state, after: 0 };
        let (rows, before) = arrived(log, filter, self.shown.most()).await?;
        self.shown.print(&rows, &["id", "at", "connection", "trigger", "key", "state", "attempts", "due", "why"])?;
        told(rows.len(), before, "event");
        Ok(())
    }
}

impl Show {
    async fn run(self, log: &EventLog) -> anyhow::Result<()> {
        let (event, content) = log.event(self.id).await?;
        let mut out = anstream::stdout().lock();
        if self.json || !std::io::stdout().is_terminal() {
            let mut fields = row(&event);
            fields["order"] = json!(event.order);
            if let Some(EventContent { headers, body, .. }) = &content {
                fields["headers"] = json!(headers);
                fields["body_bytes"] = json!(body.len());
                if self.body {
                    // Text as text; what is none as a text in which every byte is one character.
                    fields["body"] = match std::str::from_utf8(body) {
                        Ok(text) => json!(text),
                        Err(_) => json!(body.iter().map(|byte| char::from(*byte)).collect::<String>()),
                    };
                    fields["body_is_text"] = json!(std::str::from_utf8(body).is_ok());
                }
            }
            writeln!(out, "{}", ascii(&fields))?;
            return Ok(());
        }
        for (name, value) in row(&event).as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if !value.is_empty() {
                writeln!(out, "{BOLD}{name:<10}{BOLD:#} {}", one_line(&value, 500))?;
            }
        }
        let Some(EventContent { headers, body, .. }) = content else {
            writeln!(out, "{DIM}its content is not kept any more{DIM:#}")?;
            return Ok(());
        };
        for (name, value) in &headers {
            writeln!(out, "{DIM}{}: {}{DIM:#}", one_line(name, 100), one_line(value, 200))?;
        }
        match self.body {
            true => writeln!(out, "\n{}", escaped(&body))?,
            false => writeln!(out, "{DIM}{}; to see them: --body{DIM:#}", text::count(body.len(), "byte"))?,
        }
        Ok(())
    }
}

impl Replay {
    async fn run(self, log: &EventLog) -> anyhow::Result<()> {
        let Range { first, last, is_one } = self.ids;
        if let Some(sink) = &self.sink {
            if !is_one {
                return Err(wrong("a sink is given everything from one number on: replay NUMBER --sink NAME").into());
            }
            log.rewind(sink, first).await?;
            let sink = one_line(sink, 100);
            note!("{GREEN}{sink} is given everything from {first} on once more{GREEN:#}, by its `wharfage serve`");
            return Ok(());
        }
        if is_one {
            log.replay(first).await?;
            note!("{GREEN}event {first} is due{GREEN:#}; whoever serves its connection hands it over");
            return Ok(());
        }
        let mut filter = EventFilter { connection: self.connection, state: self.state, after: first.saturating_sub(1) };
        let (mut due, mut left) = (0usize, 0usize);
        'pages: loop {
            let page = log.page(&filter, PAGE).await?;
            let Some(end) = page.last().map(|event| event.id) else { break };
            for event in page {
                if event.id > last {
                    break 'pages;
                }
                match log.replay(event.id).await {
                    Ok(()) => due += 1,
                    // One of many that cannot is told and does not stop the others.
                    Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {
                        left += 1;
                        note!("{DIM}{}{DIM:#}", error.message());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            filter.after = end;
        }
        note!("{GREEN}{} due{GREEN:#}, {left} left as they are", text::count(due, "event"));
        Ok(())
    }
}

impl Dead {
    async fn run(self, log: &EventLog) -> anyhow::Result<()> {
        let most = self.shown.most();
        if self.sink.is_none() {
            let filter = EventFilter { connection: self.connection.clone(), state: Some(EventState::Dead), after: 0 };
            let (rows, before) = arrived(log, filter, most).await?;
            self.shown.print(&rows, &["id", "at", "connection", "trigger", "key", "attempts", "why"])?;
            told(rows.len(), before, "event");
            if !rows.is_empty() {
                note!("{DIM}once more: wharfage events replay ID{DIM:#}");
            }
        }
        if self.connection.is_some() {
            return Ok(());
        }
        let (mut rows, mut before, mut after) = (VecDeque::new(), 0usize, 0);
        loop {
            let page = log.letters(after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for letter in page.iter().filter(|letter| self.sink.as_ref().is_none_or(|name| *name == letter.sink)) {
                rows.push_back(letter_row(letter));
                if rows.len() > most {
                    rows.pop_front();
                    before += 1;
                }
            }
        }
        self.shown.print(&rows, &["number", "at", "sink", "connection", "type", "key", "why"])?;
        told(rows.len(), before, "letter of sinks");
        if !rows.is_empty() {
            note!("{DIM}once more, with everything after it: wharfage events replay NUMBER --sink NAME{DIM:#}");
        }
        Ok(())
    }
}

impl Shown {
    fn is_for_people(&self) -> bool {
        !self.json && std::io::stdout().is_terminal()
    }

    fn most(&self) -> usize {
        self.limit.unwrap_or(if self.is_for_people() { ROWS } else { usize::MAX })
    }

    fn print(&self, rows: &VecDeque<Value>, columns: &[&str]) -> anyhow::Result<()> {
        if self.is_for_people() {
            let items: Vec<Box<RawValue>> =
                rows.iter().map(serde_json::value::to_raw_value).collect::<Result<_, _>>()?;
            let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
            text::Rows::new(&columns).print(&items)?;
        } else {
            let mut out = std::io::stdout().lock();
            rows.iter().try_for_each(|row| writeln!(out, "{}", ascii(row)))?;
        }
        Ok(())
    }
}

/// The latest rows of a list, and how many there are before them.
async fn arrived(log: &EventLog, mut filter: EventFilter, most: usize) -> anyhow::Result<(VecDeque<Value>, usize)> {
    let (mut rows, mut before) = (VecDeque::new(), 0);
    loop {
        let page = log.page(&filter, PAGE).await?;
        let Some(last) = page.last() else { return Ok((rows, before)) };
        filter.after = last.id;
        for event in &page {
            rows.push_back(row(event));
            if rows.len() > most {
                rows.pop_front();
                before += 1;
            }
        }
    }
}

fn row(event: &ArrivedEvent) -> Value {
    let is_waiting = event.state == EventState::Waiting;
    json!({
        "id": event.id, "at": event.at.to_string(), "connection": event.connection, "trigger": event.trigger,
        "key": event.key, "state": event.state.name(), "attempts": event.attempts,
        "due": if is_waiting { event.due.to_string() } else { String::new() },
        "why": event.why, "kept": event.has_content,
    })
}

fn letter_row(letter: &SinkLetter) -> Value {
    let event = letter.event.as_ref();
    json!({
        "number": letter.number, "at": letter.at.to_string(), "sink": letter.sink, "why": letter.why,
        "id": event.map(|event| &event.id), "connection": event.map(|event| &event.connection),
        "type": event.map(|event| &event.event_type), "key": event.map(|event| &event.key),
    })
}

/// What stands beside the rows.
fn told(shown: usize, before: usize, what: &str) {
    if shown == 0 {
        note!("{DIM}no {what}{DIM:#}");
    }
    if before > 0 {
        note!("{DIM}{} before these: --limit{DIM:#}", text::count(before, "row"));
    }
}

/// JSON in which nothing stands that a terminal could act on: it may be shown on one.
fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            ' '..='~' => out.push(c),
            _ => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// A body as text of several lines. What a terminal could act on is escaped.
fn escaped(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut out = String::new();
    for c in text.chars().take(BODY_CHARS) {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    if text.chars().nth(BODY_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// `17`, or `17..42` with both ends.
fn range(text: &str) -> Result<Range, String> {
    let number =
        |text: &str| text.parse::<u64>().map_err(|_| "an id is a number, and a range of ids 17..42".to_owned());
    match text.split_once("..") {
        None => number(text).map(|id| Range { first: id, last: id, is_one: true }),
        Some((first, last)) => {
            let range = Range { first: number(first)?, last: number(last)?, is_one: false };
            if range.first > range.last {
                return Err("a range begins with the lower id".to_owned());
            }
            Ok(range)
        }
    }
}

fn state(text: &str) -> Result<EventState, String> {
    EventState::ALL.iter().copied().find(|state| state.name() == text).ok_or_else(|| {
        let names: Vec<&str> = EventState::ALL.iter().map(|state| state.name()).collect();
        format!("an event is {}", names.join(", "))
    })
}

fn wrong(message: &str) -> wharfage::Error {
    wharfage::Error::new(Kind::InvalidRequest(Vec::new()), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reaches_no_terminal_with_what_one_acts_on() {
        assert_eq!(escaped(b"a\n\x1b[2J\x07\xff\t\xc2\x85"), "a\n\\u{1b}[2J\\u{7}\u{fffd}\t\\u{85}");
        assert!(escaped(&vec![b'x'; BODY_CHARS + 1]).ends_with("x…"));
        let value = json!({"a": "\u{1b}[2J \u{9b} é 😀 \n"});
        let text = ascii(&value);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn ids_are_one_or_a_range() {
        let read = |text: &str| range(text).map(|range| (range.first, range.last, range.is_one));
        assert_eq!(read("17"), Ok((17, 17, true)));
        assert_eq!(read("17..42"), Ok((17, 42, false)));
        for wrong in ["", "x", "1..", "..2", "5..2", "1..2..3", "-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(state("dead").is_ok() && state("gone").unwrap_err().contains("waiting, handled, dead"));
    }
}
