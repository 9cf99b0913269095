//! Counts, and compares with what was counted before: `cargo run --release -p wharfage-tests --bin counts`.
//!
//! With words, only what they name: `counts mask hints`. A count that differs by more than 5 % from the table in
//! `tests/counts/counts.toml` fails; whoever meant it renews it and says why: `counts --renew "why it changed"`. Rows that
//! stayed as they were keep their date and their reason.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot go on says where and stops")]

use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use wharfage::{Clock as _, SystemClock};
use wharfage_tests::counts::{self, Counted, INSTALL, PERCENT_MAX, RECORDED, Recorded};

fn main() -> ExitCode {
    if let Some((counted, times)) = Counted::asked(std::env::args()) {
        counted.perform(times);
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is as it was.
fn run() -> Result<bool, String> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let reason = match words.iter().position(|word| word == "--renew") {
        None => None,
        Some(at) if words.len() > at + 1 && !words[at + 1].trim().is_empty() => Some(words.drain(at..at + 2).nth(1)),
        Some(_) => return Err("Say why it changed:   counts --renew \"why it changed\"".into()),
    };
    let reason = reason.flatten();
    let is_known = |word: &str| counts::all().iter().any(|counted| counted.part.contains(word));
    if let Some(word) = words.iter().find(|word| !is_known(word.as_str())) {
        return Err(format!("No part that is counted is named {word:?}."));
    }
    if cfg!(debug_assertions) && reason.is_some() {
        return Err("The table is of release builds. Run:   cargo run --release -p wharfage-tests --bin counts -- --renew \"why\"".into());
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err(format!("valgrind counts, and it is not there. {INSTALL}"));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut recorded = counts::recorded()?;
    let compiler = compiler();
    let today = SystemClock::new().now().to_string()[..10].to_owned();
    let mut changed = 0;
    for counted in counts::all() {
        if !words.is_empty() && !words.iter().any(|word| counted.part.contains(word.as_str())) {
            continue;
        }
        let count = counted.count(&program)?;
        let (part, input, unit) = (counted.part, counted.input, counted.unit.name());
        if count == 0 {
            return Err(format!("{part}, {input}: nothing was counted, so it did not do its work"));
        }
        let known = recorded.iter_mut().find(|known| known.is_of(&counted));
        let percent = known.as_ref().map(|known| (count as f64 / known.count as f64 - 1.0) * 100.0);
        let has_changed = percent.is_none_or(|percent| percent.abs() > PERCENT_MAX) && !cfg!(debug_assertions);
        changed += usize::from(has_changed);
        let before = match (&known, percent) {
            (Some(known), Some(percent)) => {
                format!("{percent:+.1} % of {} ({}: {})", known.count, known.date, known.reason)
            }
            _ => "not recorded yet".to_owned(),
        };
        println!("{}{part:<9}{input:<62}{count:>9} {unit:<16}{before}", if has_changed { "! " } else { "  " });
        if let (Some(reason), true) = (&reason, has_changed) {
            let renewed = Recorded {
                part: part.into(),
                input: input.into(),
                unit: counted.unit,
                count,
                date: today.clone(),
                reason: reason.clone(),
                compiler: compiler.clone(),
            };
            match known {
                Some(known) => *known = renewed,
                None => recorded.push(renewed),
            }
        }
    }
    if cfg!(debug_assertions) {
        println!("A dev build, whose counts are others: nothing was compared. Compare with --release.");
        return Ok(true);
    }
    if reason.is_some() {
        // What is counted no more goes, and the order is that of the list.
        let all = counts::all();
        let place = |known: &Recorded| all.iter().position(|counted| known.is_of(counted));
        recorded.retain(|known| place(known).is_some());
        recorded.sort_by_key(place);
        std::fs::write(wharfage_tests::root().join(RECORDED), written(&recorded)).map_err(|error| error.to_string())?;
        println!("{changed} renewed in {RECORDED}");
        return Ok(true);
    }
    if changed > 0 {
        if recorded.iter().any(|known| known.compiler != compiler) {
            println!("Some were recorded with another compiler than this {compiler}.");
        }
        println!(
            "{changed} differ by more than {PERCENT_MAX} %. Whoever meant it says why:\n  \
             cargo run --release -p wharfage-tests --bin counts -- --renew \"why it changed\""
        );
    }
    Ok(changed == 0)
}

fn written(recorded: &[Recorded]) -> String {
    let mut text = String::from(
        "# What one time takes, counted by valgrind in a release build. Compared and renewed by:\n\
         #   cargo run --release -p wharfage-tests --bin counts\n\
         #   cargo run --release -p wharfage-tests --bin counts -- --renew \"why it changed\"\n",
    );
    for Recorded { part, input, unit, count, date, reason, compiler } in recorded {
        let text_of = |text: &str| toml::Value::from(text).to_string();
        let _ = write!(
            text,
            "\n[[counted]]\npart = {}\ninput = {}\nunit = {}\ncount = {count}\ndate = {}\nreason = {}\ncompiler = {}\n",
            text_of(part),
            text_of(input),
            text_of(unit.name()),
            text_of(date),
            text_of(reason),
            text_of(compiler)
        );
    }
    text
}

/// As it names itself.
fn compiler() -> String {
    let said = Command::new("rustc").arg("--version").output();
    said.map_or_else(|_| "unknown".to_owned(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
