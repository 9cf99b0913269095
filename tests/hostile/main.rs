//! `cargo run --release -p wharfage-tests --bin hostile`: what each attack comes to, as a table.
//!
//! A name runs only the attacks whose names hold it, `--write` renews the table in `tests/guests/README.md`. It ends with 1
//! where one was not bounded as its row says, and with 2 where what is asked for makes no sense.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a program for developers")]

use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt as _;
use wharfage::{Clock as _, SystemClock};
use wharfage_tests::faults::table::renewed;
use wharfage_tests::hostile::table::{HEAD, attacks, failed, neighbour_alone, path, row};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_written = arguments.iter().any(|argument| argument == "--write");
    let part: &str = match arguments.as_slice() {
        [] => "",
        [_] if is_written => "",
        [part] if !part.starts_with("--") && attacks(part).next().is_some() => part,
        _ => {
            eprintln!("hostile [PART OF AN ATTACK'S NAME | --write], and not {arguments:?}");
            return ExitCode::from(2);
        }
    };
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let alone = neighbour_alone().await.as_secs_f64() * 1e3;
    let today = SystemClock::new().now().to_string()[..10].to_owned();
    let alone =
        format!("Taken on {today} from a {build} build. A neighbour's p99 with nobody beside it: {alone:.1} ms.\n");
    println!("{alone}\n{HEAD}");
    let (mut table, mut wrong, mut count) = (format!("\n{alone}\n{HEAD}\n"), 0, 0);
    for attack in attacks(part) {
        let row = AssertUnwindSafe(row(attack)).catch_unwind().await;
        let row = row.unwrap_or_else(|_| failed(attack, "a panic of ours".to_owned()));
        println!("{}", row.line);
        let _ = writeln!(table, "{}", row.line);
        for trouble in &row.troubles {
            println!("  {}: {trouble}", attack.name);
        }
        wrong += usize::from(!row.troubles.is_empty());
        count += 1;
    }
    println!("\n{count} attacks, {wrong} of them not bounded as they should be");
    if is_written {
        let kept = std::fs::read_to_string(path()).expect("the kept table");
        std::fs::write(path(), renewed(&kept, &table)).expect("the kept table");
    }
    ExitCode::from(u8::from(wrong > 0))
}
