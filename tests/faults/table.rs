//! The table as it is printed and kept: a row per behaviour, a column per client.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::list::GROUPS;
use super::rule::{broken, seconds};
use super::{Account, Ended, Fault, Side, TIMES, Task, run};

/// What came of all faults for both, as text between the markers.
pub async fn table() -> String {
    let mut out = String::new();
    let mut well = [0, 0];
    let mut all = 0;
    for group in GROUPS {
        let _ = write!(out, "\n### {}\n\n{HEAD}", group.title);
        for fault in group.faults {
            let accounts = [run(fault, Side::Ours).await, run(fault, Side::Composed).await];
            for (well, account) in well.iter_mut().zip(&accounts) {
                *well += usize::from(broken(fault.must, account).is_none());
            }
            all += 1;
            let [ours, composed] = accounts.map(|account| cell(fault, &account));
            let _ = writeln!(out, "| {} | {ours} | {composed} |", about(fault));
        }
    }
    let sum = format!("\nOf {all} behaviours wharfage does well in {}, the composed client in {}.\n", well[0], well[1]);
    sum + &out
}

const HEAD: &str = "| behaviour | a good client | wharfage | composed |\n|---|---|---|---|\n";

/// The first two columns.
fn about(fault: &Fault) -> String {
    let rule: Vec<String> = fault.must.iter().map(|must| must.text()).collect();
    format!("**{}**: {}. *{}* | {}", fault.name, fault.does, fault.who, rule.join(", "))
}

/// A client's column: the verdict by the rule, and the figures.
pub fn cell(fault: &Fault, account: &Account) -> String {
    let verdict = match broken(fault.must, account) {
        None => "good".to_owned(),
        Some(must) => format!("**poor**: {}", must.instead(account)),
    };
    let mut figures = vec![ended(account), count(account.requests, "request")];
    figures.push(match account.side {
        Side::Ours => format!("{} s", seconds(account.waited_ms)),
        Side::Composed => format!("about {} s", (account.waited_ms + 500) / 1_000),
    });
    if matches!(fault.task, Task::Write | Task::WriteWithKey) {
        figures.push(count(account.executed, "write"));
    }
    figures.push(size(account.bytes));
    if account.over_limit > 0 {
        figures.push(format!("{} beyond the limit", account.over_limit));
    }
    if account.in_trouble > 0 {
        figures.push(format!("{} in the trouble", account.in_trouble));
    }
    if account.leaks > 0 {
        figures.push("credential leaked".to_owned());
    }
    format!("{verdict} · {}", figures.join(" · "))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn ended(account: &Account) -> String {
    match account.ended.as_slice() {
        [Ended::Success { status, .. }] => status.to_string(),
        [Ended::Failure(name)] => name.clone(),
        [Ended::Success { .. }, Ended::Success { .. }] => "two pages".to_owned(),
        [Ended::Success { .. }, Ended::Failure(name)] => format!("one page, then {name}"),
        all => format!("{} of {} answered", account.answered(), all.len()),
    }
}

/// How much was sent, roughly: what lies in buffers on the way differs from run to run.
fn size(bytes: u64) -> String {
    const STEPS: [(u64, &str); 5] = [
        (1 << 10, "< 1 KiB"),
        (64 << 10, "< 64 KiB"),
        (1 << 20, "< 1 MiB"),
        (48 << 20, "< 48 MiB"),
        (100 << 20, "< 100 MiB"),
    ];
    STEPS.iter().find(|(most, _)| bytes < *most).map_or("100 MiB and more", |(_, text)| text).to_owned()
}

/// Where the table is kept.
pub fn path() -> PathBuf {
    crate::root().join("tests/faults/README.md")
}

/// Between these lines it is generated.
pub const MARKERS: [&str; 2] = ["<!-- made by --write, from here -->\n", "<!-- to here -->\n"];

/// The kept text with this table instead of the one it holds.
///
/// # Panics
/// When the markers are gone.
pub fn renewed(kept: &str, table: &str) -> String {
    let [from, to] = MARKERS;
    let (before, rest) = kept.split_once(from).expect("the marker where the table begins");
    let (_, after) = rest.split_once(to).expect("the marker where the table ends");
    format!("{before}{from}{table}\n{to}{after}")
}

/// Our column as it is kept, by the behaviour's name.
pub fn kept_column(kept: &str, name: &str) -> Option<String> {
    let row = kept.lines().find(|line| line.starts_with(&format!("| **{name}**: ")))?;
    row.split(" | ").nth(2).map(str::to_owned)
}

/// A note on how time is told, for who reads the printed table.
pub fn note() -> String {
    format!(
        "Seconds are those of the client's clock: ours is turned, the composed one's is the machine's, {TIMES} times as fast."
    )
}
