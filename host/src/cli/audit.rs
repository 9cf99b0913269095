//! `wharfage audit`: who used which secret, for what, when, and what came of it.
//!
//! The whole chain is followed before anything of it is believed; where it breaks, that is the answer, and the exit code
//! says that the operator must act.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::value::RawValue;
use wharfage::audit::{AuditCheck, AuditEntry, AuditRow};
use wharfage::{Kind, Timestamp};

use super::Common;
use super::text::{self, DIM, YELLOW};

/// Rows that people are shown where nothing is said.
const ROWS: usize = 100;

#[derive(Args)]
pub(super) struct Audit {
    /// Only what was done for this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Only uses of this secret
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// Only what was done since then: 2026-11-24 or 2026-11-24T15:00:00Z
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// At most so many rows, the latest; 100 on a terminal, else all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// JSON, one row a line, also on a terminal
    #[arg(long)]
    json: bool,
    /// A head that was noted earlier, as NUMBER:HASH: whether the trail still holds it
    #[arg(long, value_name = "HEAD")]
    noted: Option<String>,
}

impl Audit {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let since = self.since.as_deref().map(date).transpose()?;
        let noted = self.noted.as_deref().map(head).transpose()?;
        let is_for_people = !self.json && std::io::stdout().is_terminal();
        let most = self.limit.unwrap_or(if is_for_people { ROWS } else { usize::MAX });
        let host = common.host().build()?;
        let (mut rows, mut before, mut held) = (VecDeque::new(), 0usize, None);
        let found = host
            .audit()
            .check_each(|row| {
                if noted.as_ref().is_some_and(|(number, _)| *number == row.number) {
                    held = Some(row.hash.clone());
                }
                if !self.wants(&row, since) {
                    return;
                }
                rows.push_back(row);
                if rows.len() > most {
                    rows.pop_front();
                    before += 1;
                }
            })
            .await?;
        let printed = if is_for_people {
            table(&rows)
        } else {
            let mut out = std::io::stdout().lock();
            rows.iter().try_for_each(|row| writeln!(out, "{}", line(row))).map_err(Into::into)
        };
        // A break is told to whoever reads no further, too.
        tell(&found, before);
        if let Some((row, meaning)) = &found.broken {
            return Err(broken(format!("the audit trail breaks at row {row}: {meaning}")).into());
        }
        match noted {
            Some((number, _)) if number <= found.aged_out => {
                note!("{YELLOW}row {number} has aged out; what was noted of it proves nothing any more{YELLOW:#}");
            }
            Some((number, hash)) if held.as_deref() != Some(&*hash) => {
                let what = if held.is_some() { "is another one" } else { "is gone: the end of the trail was cut off" };
                return Err(broken(format!("the audit trail does not hold what was noted: row {number} {what}")).into());
            }
            _ => {}
        }
        printed
    }

    fn wants(&self, row: &AuditRow, since: Option<Timestamp>) -> bool {
        let Some(entry) = &row.entry else { return self.connection.is_none() && self.secret.is_none() };
        self.connection.as_ref().is_none_or(|name| *name == entry.connection)
            && self.secret.as_ref().is_none_or(|name| entry.secrets.contains(name))
            && since.is_none_or(|since| entry.at >= since)
    }
}

/// A broken trail is for the operator to look into.
fn broken(message: String) -> wharfage::Error {
    wharfage::Error::new(Kind::Configuration, message).with_details(
        "Whoever can write the state folder could have done this. Keep the folder as it is, and look at who had it; what \
         stands before the break is as it was written",
    )
}

/// What stands beside the rows.
fn tell(found: &AuditCheck, before: usize) {
    if before > 0 {
        note!("{DIM}{} before these: --limit{DIM:#}", text::count(before, "row"));
    }
    if found.aged_out > 0 {
        let number = found.aged_out;
        note!("{DIM}rows up to {number} have aged out, as the limit audit_rows says{DIM:#}");
    }
    if found.lost > 0 {
        let entries = if found.lost == 1 { "entry was".to_owned() } else { format!("{} entries were", found.lost) };
        note!("{YELLOW}{entries} lost because nothing could be written; see the rows `lost`{YELLOW:#}");
    }
    match &found.head {
        Some((number, hash)) if found.broken.is_none() => note!(
            "{DIM}the chain holds; its head, to note elsewhere and to ask for with --noted:{DIM:#} {number}:{hash}"
        ),
        Some((number, hash)) => note!("{DIM}the chain holds up to{DIM:#} {number}:{hash}"),
        None => note!("{DIM}the trail is empty{DIM:#}"),
    }
}

/// Where it went: an origin, or what was handed over once more.
fn to(entry: &AuditEntry) -> String {
    match (entry.event, entry.sink.as_str()) {
        (Some(event), "") => format!("event {event}"),
        (Some(event), sink) => format!("sink {sink}, from event {event} on"),
        (None, _) => format!("{} {}", entry.method, entry.origin).trim().to_owned(),
    }
}

/// A row as a program reads it.
fn line(row: &AuditRow) -> String {
    let entry = match serde_json::from_str::<&RawValue>(&row.text) {
        Ok(entry) => entry.get().to_owned(),
        // Somebody wrote something else there.
        Err(_) => serde_json::Value::from(row.text.as_str()).to_string(),
    };
    format!("{{\"number\":{},\"hash\":\"{}\",\"entry\":{entry}}}", row.number, row.hash)
}

fn table(rows: &VecDeque<AuditRow>) -> anyhow::Result<()> {
    let shown = |row: &AuditRow| {
        let Some(entry) = &row.entry else {
            return serde_json::json!({"row": row.number, "outcome": "unreadable"});
        };
        let status = entry.status.map(|status| status.to_string());
        let error = (!entry.error.is_empty()).then(|| entry.error.clone());
        let outcome: Vec<String> = status.into_iter().chain(error).collect();
        let outcome = if outcome.is_empty() { "done".to_owned() } else { outcome.join(" ") };
        let times = if entry.times > 1 { format!(" ×{}", entry.times) } else { String::new() };
        serde_json::json!({
            "row": row.number, "at": entry.at.to_string(), "action": format!("{}{times}", entry.action.name()),
            "connection": entry.connection, "account": entry.account, "operation": entry.operation,
            "credential": entry.credential, "secrets": entry.secrets.join(", "),
            "to": to(entry), "outcome": outcome,
        })
    };
    let items: Vec<Box<RawValue>> =
        rows.iter().map(|row| serde_json::value::to_raw_value(&shown(row))).collect::<Result<_, _>>()?;
    let columns =
        ["row", "at", "action", "connection", "account", "operation", "credential", "secrets", "to", "outcome"];
    text::Rows::new(&columns.map(str::to_owned)).print(&items)?;
    Ok(())
}

/// A day or a time.
fn date(text: &str) -> Result<Timestamp, wharfage::Error> {
    let day = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    Timestamp::parse(text).or_else(day).ok_or_else(|| {
        wharfage::Error::new(Kind::InvalidRequest(Vec::new()), format!("--since {text}: this is no date"))
            .with_details("Write 2026-11-24, or 2026-11-24T15:00:00Z")
    })
}

/// `NUMBER:HASH`.
fn head(text: &str) -> Result<(u64, String), wharfage::Error> {
    let read = text.split_once(':').and_then(|(number, hash)| Some((number.parse().ok()?, hash.to_ascii_lowercase())));
    read.ok_or_else(|| {
        wharfage::Error::new(Kind::InvalidRequest(Vec::new()), format!("--noted {text}: this is no head"))
            .with_details("Write NUMBER:HASH, as `wharfage audit` prints it")
    })
}
