//! `wharfage status`: what a running `wharfage serve` counts and times, as a table that may stay and change in its place.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use wharfage::serving::{ConsoleAddress, ConsolePolicy};
use wharfage::{Clock, Config, Host, Kind, SystemClock, Timestamp};

use super::text::{self, DIM, YELLOW, one_line};
use super::{Common, programs, read_config};

#[derive(Args)]
pub(super) struct Status {
    /// The file that the running `wharfage serve` was started with; by default the wharfage.toml here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Stay, and show it anew every so many seconds; 2 where nothing is said
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// The whole reading as one line of JSON
    #[arg(long)]
    json: bool,
}

/// What is read of a reading. Another version may tell more, or less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reading {
    at: String,
    since: String,
    connections: Vec<Connection>,
    polls: Vec<Poll>,
    sockets: Vec<Socket>,
    sinks: Vec<Sink>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    connection: String,
    operations: Vec<Operation>,
    circuits: Vec<Circuit>,
    waiting: Option<u64>,
    dead_letters: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Operation {
    operation: String,
    succeeded: u64,
    failed: std::collections::BTreeMap<String, u64>,
    under_way: u64,
    requests: u64,
    recent: Recent,
    succeeded_at: Option<String>,
    rate_limited: u64,
    answers: Answers,
    waited_ms: Waited,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Recent {
    calls: u64,
    failed: u64,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    p99_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answers {
    live: u64,
    cache: u64,
    stale: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Waited {
    sum: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Circuit {
    state: String,
    until: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Poll {
    connection: String,
    poll: String,
    failures: u64,
    is_behind: bool,
    lag_ms: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Socket {
    connection: String,
    socket: String,
    state: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sink {
    sink: String,
    state: String,
    dead_letters: Option<u64>,
}

impl Status {
    pub(super) async fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = read_config(self.config.as_deref().unwrap_or(Path::new(programs::FOUND)))?;
        if let Some(name) = &self.connection {
            config.connection(name)?;
        }
        let (address, token) = (listens(&config, self.config.is_some())?, token(common)?);
        // Without the state folder: the one that serves has it.
        let host = Host::builder().build()?;
        let show = async |in_place| self.show(&host, address, &token, in_place).await;
        let Some(every_s) = self.watch else { return show(false).await };
        let clock = SystemClock::new();
        let in_place = !self.json && std::io::stdout().is_terminal();
        loop {
            let due = clock.now().plus(every_s * 1_000);
            match show(in_place).await {
                // It may be starting again.
                Err(error) if in_place && is_away(&error) => {
                    anstream::print!("\x1b[H\x1b[J");
                    text::failure(&error);
                }
                shown => shown?,
            }
            clock.sleep_until(due).await;
        }
    }

    async fn show(&self, host: &Host, address: SocketAddr, token: &str, in_place: bool) -> anyhow::Result<()> {
        let told = host.ask_serve(address, token, "/api/metrics").await?;
        if self.json {
            writeln!(std::io::stdout().lock(), "{}", told.get())?;
            return Ok(());
        }
        let mut reading: Reading = serde_json::from_str(told.get()).map_err(|error| {
            wharfage::Error::new(
                Kind::SchemaViolation,
                "the running `wharfage serve` told something else than a reading",
            )
            .with_details(format!("{error}\nIt may be of another version; start it again with this one"))
        })?;
        if let Some(wanted) = &self.connection {
            reading.connections.retain(|one| one.connection == *wanted);
            reading.polls.retain(|one| one.connection == *wanted);
            reading.sockets.retain(|one| one.connection == *wanted);
        }
        if in_place {
            // Home, and nothing below it: the new table stands where the one before stood.
            anstream::print!("\x1b[H\x1b[J");
        }
        let rows: Vec<Box<RawValue>> =
            reading.rows().iter().map(serde_json::value::to_raw_value).collect::<Result<_, _>>()?;
        text::Rows::new(&COLUMNS.map(str::to_owned)).print(&rows)?;
        let mut out = anstream::stdout().lock();
        for line in reading.trouble() {
            writeln!(out, "{YELLOW}{}{YELLOW:#}", one_line(&line, 200))?;
        }
        let (at, since) = (one_line(&reading.at, 30), one_line(&reading.since, 30));
        writeln!(out, "{DIM}{at}, counted since {since}; errors and percentiles are of the last 1000 calls{DIM:#}")?;
        Ok(())
    }
}

const COLUMNS: [&str; 12] = [
    "connection",
    "operation",
    "calls",
    "errors",
    "p50",
    "p95",
    "p99",
    "429s",
    "waited",
    "cache",
    "breaker",
    "last_success",
];

/// Where the private listener of this configuration is. One beyond this machine has to stand in a file that somebody
/// named: whoever wrote it chooses who is asked, and over which network the token goes.
fn listens(config: &Config, is_named: bool) -> Result<SocketAddr, wharfage::Error> {
    let console = config.serve.console.as_ref().map(|console| console.listen);
    if let Some(address) = console.filter(|address| !is_named && !address.ip().is_loopback()) {
        let file = programs::FOUND;
        let message = format!("{file} was found by looking around, and {address} is not this machine's alone");
        return Err(wharfage::Error::new(Kind::Configuration, message)
            .with_details(format!("The token is not sent there unasked. To send it, name it:   --config {file}")));
    }
    console.ok_or_else(|| {
        let message = "the wharfage.toml has no [serve.console], so nobody can be asked";
        wharfage::Error::new(Kind::Configuration, message).with_details(format!(
            "What runs is told through the private listener. Add to wharfage.toml, and start `wharfage serve` again:\n\
             [serve.console]\nlisten = \"{}\"",
            ConsolePolicy::default().listen
        ))
    })
}

/// The token that a running `wharfage serve` has put into the state folder.
fn token(common: &Common) -> Result<String, wharfage::Error> {
    let missing = |why: String| {
        wharfage::Error::new(Kind::Configuration, why).with_details(
            "A `wharfage serve` with [serve.console] puts it there. Start it:   wharfage serve\n\
             Where it runs with another state folder, say which:   wharfage status --state-dir FOLDER",
        )
    };
    let folder = common.state_folder().ok_or_else(|| missing("there is no state folder".to_owned()))?;
    let file = folder.join(ConsoleAddress::TOKEN_FILE);
    let text = std::fs::read_to_string(&file)
        .map_err(|error| missing(format!("no token of a running `wharfage serve` in {}: {error}", file.display())))?;
    Ok(text.trim().to_owned())
}

/// Whether nobody answers.
fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<wharfage::Error>().is_some_and(|error| matches!(error.kind(), Kind::Network(_)))
}

impl Reading {
    /// A row for each operation that was called, and one for a connection of which none was.
    fn rows(&self) -> Vec<serde_json::Value> {
        let now = Timestamp::parse(&self.at).unwrap_or_default();
        let mut rows = Vec::new();
        for connection in &self.connections {
            let breaker = connection.breaker();
            let called = connection
                .operations
                .iter()
                .filter(|operation| operation.calls() + operation.under_way + operation.requests > 0);
            let before = rows.len();
            rows.extend(called.map(|operation| operation.row(&connection.connection, &breaker, now)));
            if rows.len() == before {
                rows.push(
                    json!({"connection": connection.connection, "operation": "(not called)", "breaker": breaker}),
                );
            }
        }
        rows
    }

    /// What is not as it should be besides, a line each.
    fn trouble(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Connection { connection, waiting, dead_letters, .. } in &self.connections {
            if let Some(dead_letters) = dead_letters.filter(|count| *count > 0) {
                let letters = format!("{dead_letters} dead letter{}", if dead_letters == 1 { "" } else { "s" });
                lines.push(format!("{connection}: {letters}; `wharfage events list --state dead` shows them"));
            }
            if let Some(waiting) = waiting.filter(|count| *count > 0) {
                let wait = if waiting == 1 { "event waits" } else { "events wait" };
                lines.push(format!("{connection}: {waiting} {wait} to be handled"));
            }
        }
        for Poll { connection, poll, failures, is_behind, lag_ms } in &self.polls {
            if *failures > 0 {
                lines.push(format!("{connection}: the poll {poll} failed {failures} times in a row"));
            } else if *lag_ms > 60_000 {
                lines.push(format!("{connection}: the poll {poll} is behind, due for {}", span(*lag_ms)));
            } else if *is_behind {
                lines.push(format!("{connection}: the poll {poll} has more to read than one run may"));
            }
        }
        // What another process does is done.
        let is_well = |state: &str| matches!(state, "open" | "stand-by" | "well" | "elsewhere");
        for Socket { connection, socket, state } in self.sockets.iter().filter(|socket| !is_well(&socket.state)) {
            lines.push(format!("{connection}: the socket {socket} is in state {state}"));
        }
        for Sink { sink, state, dead_letters } in &self.sinks {
            if !is_well(state) {
                lines.push(format!("the sink {sink} is in state {state}"));
            }
            if let Some(dead_letters) = dead_letters.filter(|count| *count > 0) {
                lines.push(format!("the sink {sink} did not take {dead_letters}; `wharfage events dead` shows them"));
            }
        }
        lines
    }
}

impl Connection {
    /// The breaker that is worst, in a word.
    fn breaker(&self) -> String {
        let of = |state: &str| self.circuits.iter().find(|circuit| circuit.state == state);
        match (of("open"), of("half-open"), self.circuits.is_empty()) {
            (Some(Circuit { until: Some(until), .. }), ..) => {
                let time = until.get(11..19).unwrap_or(until);
                format!("open to {time}")
            }
            (Some(_), ..) => "open".to_owned(),
            (None, Some(_), _) => "half-open".to_owned(),
            (None, None, true) => String::new(),
            (None, None, false) => "closed".to_owned(),
        }
    }
}

impl Operation {
    fn calls(&self) -> u64 {
        self.succeeded + self.failed.values().sum::<u64>()
    }

    fn row(&self, connection: &str, breaker: &str, now: Timestamp) -> serde_json::Value {
        let Recent { calls, failed, p50_ms, p95_ms, p99_ms } = self.recent;
        let Answers { live, cache, stale } = self.answers;
        let last = self
            .succeeded_at
            .as_deref()
            .map(|at| Timestamp::parse(at).map_or(String::new(), |at| format!("{} ago", span(now.since(at)))));
        let ms = |ms: Option<u64>| ms.map_or(String::new(), span);
        json!({
            "connection": connection, "operation": self.operation, "calls": self.calls(),
            "errors": percent(failed, calls), "p50": ms(p50_ms), "p95": ms(p95_ms), "p99": ms(p99_ms),
            "429s": self.rate_limited, "waited": if self.waited_ms.sum == 0 { String::new() } else { span(self.waited_ms.sum) },
            "cache": percent(cache + stale, live + cache + stale), "breaker": breaker,
            "last_success": last.unwrap_or_else(|| "never".to_owned()),
        })
    }
}

/// A part of a whole, to a tenth below ten; nothing of nothing.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let tenths = (u128::from(part) * 1_000).div_ceil(u128::from(whole));
    match tenths {
        0 => "0 %".to_owned(),
        1..100 => format!("{}.{} %", tenths / 10, tenths % 10),
        _ => format!("{} %", tenths / 10),
    }
}

/// A span of time in the unit that suits it.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_becomes_rows_and_lines() {
        let reading: Reading = serde_json::from_value(json!({
            "at": "2026-11-29T14:00:00Z", "since": "2026-11-29T08:00:00Z", "more": {"of": "another version"},
            "connections": [
                {
                    "connection": "acme", "plugin": "leaf", "waiting": 2, "dead_letters": 1,
                    "circuits": [{"origin": "https://a.example", "state": "closed", "openings": 0},
                        {"origin": "https://b.example", "state": "open", "until": "2026-11-29T14:00:30Z", "openings": 4}],
                    "operations": [
                        {"operation": "orders.list", "succeeded": 1990, "failed": {"timeout": 10},
                            "recent": {"calls": 1000, "failed": 3, "p50_ms": 41, "p95_ms": 1250, "p99_ms": 61_000},
                            "succeeded_at": "2026-11-29T13:57:00Z", "rate_limited": 7, "waited_ms": {"sum": 4_200},
                            "answers": {"live": 500, "cache": 400, "stale": 100}},
                        {"operation": "orders.get", "succeeded": 0},
                        {"operation": "orders.put", "failed": {"forbidden": 1}, "recent": {"calls": 1, "failed": 1, "p50_ms": 3}}
                    ]
                },
                {"connection": "quiet", "waiting": null}
            ],
            "polls": [{"connection": "acme", "poll": "wallet", "failures": 3}],
            "sockets": [{"connection": "acme", "socket": "trades", "state": "backoff"}],
            "sinks": [{"sink": "billing", "state": "disabled", "dead_letters": 2}, {"sink": "fine", "state": "well"}]
        }))
        .unwrap();
        let rows = reading.rows();
        assert_eq!(
            rows[0],
            json!({"connection": "acme", "operation": "orders.list", "calls": 2000, "errors": "0.3 %", "p50": "41 ms",
                "p95": "1.2 s", "p99": "61 s", "429s": 7, "waited": "4.2 s", "cache": "50 %",
                "breaker": "open to 14:00:30", "last_success": "3 min ago"})
        );
        assert_eq!(
            (&rows[1]["operation"], &rows[1]["errors"], &rows[1]["last_success"]),
            (&json!("orders.put"), &json!("100 %"), &json!("never"))
        );
        assert_eq!((rows.len(), &rows[2]["operation"]), (3, &json!("(not called)")));
        assert_eq!(reading.trouble().len(), 6, "{:?}", reading.trouble());
    }

    #[test]
    fn a_part_that_is_there_is_never_nothing() {
        assert_eq!(
            [percent(0, 5), percent(1, 100_000), percent(99, 1_000), percent(1, 3), percent(0, 0)],
            ["0 %", "0.1 %", "9.9 %", "33 %", ""]
        );
        assert_eq!(
            [span(999), span(1_999), span(119_999), span(7_199_999), span(200_000_000)],
            ["999 ms", "1.9 s", "119 s", "119 min", "2 d"]
        );
    }
}
