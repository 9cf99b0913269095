//! `wharfage alerts`: what is watched, what fires now, the same rules for Prometheus, and what to do about each.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use wharfage::Kind;
use wharfage::alerts::{Alert, AlertPolicy, AlertRule};

use super::text::{self, DIM, GREEN, RED};
use super::{Common, programs, read_config};

#[derive(Args)]
pub(super) struct Alerts {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show what fires now, as `wharfage serve` has told it
    Firing(Firing),
    /// Show what is watched, with every threshold and its default
    List(List),
    /// Print the same rules as a rules file for Prometheus
    Rules(Rules),
    /// Print what to do about an alert, a cause of bad health, or a host that is not ready
    Runbook(Runbook),
}

#[derive(Args)]
struct Firing {
    /// JSON, one alert a line, also on a terminal
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    file: File,
    /// JSON, one threshold a line, also on a terminal
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Rules {
    #[command(flatten)]
    file: File,
}

#[derive(Args)]
struct Runbook {
    /// The name of the alert, the cause or the hindrance; all of the runbook where nothing is said
    name: Option<String>,
}

#[derive(Args)]
struct File {
    /// The file whose [alerts] hold; by default the wharfage.toml here, or else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Alerts {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        match self.what {
            What::Firing(firing) => firing.run(common).await,
            What::List(list) => list.run(),
            What::Rules(rules) => rules.run(),
            What::Runbook(runbook) => runbook.run(),
        }
    }
}

impl Firing {
    async fn run(self, common: &Common) -> anyhow::Result<()> {
        common.check_state_folder()?;
        let alerts = common.host().build()?.alerts().await?;
        let row = |alert: &Alert| {
            json!({
                "since": alert.since.to_string(), "severity": alert.rule.severity().name(), "rule": alert.rule.name(),
                "connection": alert.connection, "summary": alert.summary(), "runbook": alert.rule.runbook(),
            })
        };
        if self.json || !std::io::stdout().is_terminal() {
            return print(&alerts.iter().map(row).collect::<Vec<_>>(), &[], self.json);
        }
        for alert in &alerts {
            let (severity, summary) = (alert.rule.severity().name(), text::one_line(&alert.summary(), 500));
            say!("{RED}{severity}{RED:#}  {summary}  {DIM}since {}{DIM:#}", alert.since);
        }
        if alerts.is_empty() {
            note!("{GREEN}nothing fires{GREEN:#} {DIM}as far as `wharfage serve` has told{DIM:#}");
        } else {
            note!("{DIM}what to do:   wharfage alerts runbook {}{DIM:#}", alerts[0].rule.name());
        }
        Ok(())
    }
}

impl List {
    fn run(self) -> anyhow::Result<()> {
        let policy = self.file.policy()?;
        let row = |limit: &wharfage::alerts::AlertLimit| {
            let about = match policy.is_watched(limit.rule) {
                true => limit.about.to_owned(),
                false => format!("{} (not watched)", limit.about),
            };
            json!({
                "rule": limit.rule.name(), "key": limit.name, "value": figure(limit.value), "default": figure(limit.default),
                "sink": policy.sink_of(limit.rule), "about": about,
            })
        };
        let rows: Vec<serde_json::Value> = policy.all().iter().map(row).collect();
        print(&rows, &["rule", "key", "value", "default", "sink", "about"], self.json)?;
        if policy.sink.is_none() && AlertRule::ALL.iter().all(|rule| policy.sink_of(*rule).is_none()) {
            note!(
                "{DIM}nobody is told but the log. To tell a sink of [sinks], set in [alerts] of wharfage.toml:   sink = \"NAME\"{DIM:#}"
            );
        }
        Ok(())
    }
}

impl Rules {
    fn run(self) -> anyhow::Result<()> {
        write!(anstream::stdout(), "{}", wharfage::alerts::prometheus_rules(&self.file.policy()?))?;
        Ok(())
    }
}

impl Runbook {
    fn run(self) -> anyhow::Result<()> {
        let text = match &self.name {
            None => wharfage::alerts::RUNBOOK.trim_end(),
            Some(name) => wharfage::alerts::runbook(name).ok_or_else(|| {
                let name = text::one_line(name, 100);
                let message = format!("the runbook has no heading for `{name}`");
                wharfage::Error::new(Kind::NotFound, message).with_details("See what it has:   wharfage alerts runbook")
            })?,
        };
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
    }
}

impl File {
    /// The policy of the file, or else of the one that lies here, or else the defaults.
    fn policy(&self) -> anyhow::Result<AlertPolicy> {
        let found = Path::new(programs::FOUND);
        Ok(match &self.config {
            Some(path) => read_config(path)?.alerts,
            None if found.exists() => read_config(found)?.alerts,
            None => AlertPolicy::default(),
        })
    }
}

/// A whole number without a point.
fn figure(value: f64) -> serde_json::Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}

/// A table for people, and lines of JSON for programs.
fn print(rows: &[serde_json::Value], columns: &[&str], is_json: bool) -> anyhow::Result<()> {
    if is_json || !std::io::stdout().is_terminal() {
        let mut out = std::io::stdout().lock();
        rows.iter().try_for_each(|row| writeln!(out, "{row}"))?;
        return Ok(());
    }
    if !rows.is_empty() {
        let items: Vec<Box<RawValue>> = rows.iter().map(to_raw_value).collect::<Result<_, _>>()?;
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        text::Rows::new(&columns).print(&items)?;
    }
    Ok(())
}
