//! The table as it is printed and kept.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::list::ATTACKS;
use super::{Attack, Report, Time, alone, limits, run};

/// Calls of the neighbour that a row's 99th percentile is of, at least.
const CALLS_MIN: usize = 300;
/// For so long an attack is repeated for that, at most.
const REPEATED_MAX: Duration = Duration::from_secs(2);
/// The most that a neighbour's 99th percentile may be, on a machine that others use too.
const BESIDE_MAX: Duration = Duration::from_secs(1);
/// What waits for real may end so much later than its limit.
const LATE_MAX: Duration = Duration::from_secs(10);

/// A row, and what was wrong with it.
pub struct Row {
    /// Its line of the table.
    pub line: String,
    /// What should not have been.
    pub troubles: Vec<String>,
    /// The most that the host took while it ran, beyond what the instances had, in bytes.
    pub taken_bytes: u64,
}

/// The table's head.
pub const HEAD: &str = "| attack | ended by | its time | host memory | neighbour's p99 |\n|---|---|---:|---:|---:|";

/// The 99th percentile of a neighbour's calls where there is nobody else.
pub async fn neighbour_alone() -> Duration {
    // The first ones find caches cold.
    alone(CALLS_MIN).await;
    p99(alone(4 * CALLS_MIN).await)
}

/// What a row is when it ended in a panic of ours.
pub fn failed(attack: &Attack, why: String) -> Row {
    Row { line: format!("{}| {why} | | | |", beginning(attack)), troubles: vec![why], taken_bytes: 0 }
}

/// Attacks until there are enough calls beside it, and tells.
pub async fn row(attack: &Attack) -> Row {
    let first = run(attack).await;
    let (mut beside, mut troubles) = (first.beside.clone(), first.troubles.clone());
    let began = Instant::now();
    while beside.len() < CALLS_MIN && began.elapsed() < REPEATED_MAX {
        let report = run(attack).await;
        beside.extend(report.beside);
        troubles.extend(report.troubles);
    }
    let Report { ended, took, resident, instances_bytes, .. } = first;
    let [before, most, after] = resident.unwrap_or_default();
    let taken_bytes = most.saturating_sub(before).saturating_sub(instances_bytes);
    if taken_bytes > attack.host_bytes_max {
        troubles.push(format!("the host took {}", mebibytes(most - before)));
    }
    let call_ms = limits(attack).call_ms;
    if attack.time == Time::Real && took > Duration::from_millis(call_ms) + LATE_MAX {
        troubles.push(format!("it took {}, and the limit call_ms is {call_ms}", milliseconds(took)));
    }
    let beside = p99(beside);
    if beside > BESIDE_MAX {
        troubles.push(format!("the neighbour's p99 was {}", milliseconds(beside)));
    }
    let mut line = beginning(attack);
    let _ = write!(line, "| {} ", shown(&ended));
    let _ = write!(line, "| {}{} ", milliseconds(took), if attack.in_one_go { ", in one go" } else { "" });
    let _ =
        write!(line, "| {}, then {} ", mebibytes(most.saturating_sub(before)), mebibytes(after.saturating_sub(before)));
    let _ = write!(line, "| {} |", milliseconds(beside));
    Row { line, troubles, taken_bytes }
}

/// The rows whose names hold this.
pub fn attacks(part: &str) -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().filter(move |attack| attack.name.contains(part))
}

/// How the line of an attack begins: its name, and what it tries.
pub fn beginning(attack: &Attack) -> String {
    format!("| **{}** {} ", attack.name.trim_start_matches("hostile_").replace('_', " "), attack.tries)
}

/// The ends of all moves, each once, cut to what a cell takes.
fn shown(ended: &[String]) -> String {
    const CHARS_MAX: usize = 90;
    let mut different: Vec<&String> = Vec::new();
    for one in ended {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    let text = different.into_iter().map(|text| text.replace(['|', '\n'], " ")).collect::<Vec<_>>().join("; ");
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[expect(clippy::cast_precision_loss, reason = "a megabyte more or less does not show")]
fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Where the table is kept.
pub fn path() -> PathBuf {
    crate::root().join("tests/guests/README.md")
}
