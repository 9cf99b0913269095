//! `cargo run -p wharfage-tests --bin faults`: what our path does in every fault, beside another one.
//!
//! `--write` renews the table in `tests/faults/README.md`. A name runs only the behaviours whose names hold it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a program for developers")]

use wharfage_tests::faults::{Side, list::GROUPS, run, table};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // One thread, so that the turning clock knows when nothing else happens.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match arguments.first().map(String::as_str) {
        None => println!("{}\n{}", runtime.block_on(table::table()), table::note()),
        Some("--write") => {
            let table = runtime.block_on(table::table());
            let kept = std::fs::read_to_string(table::path()).expect("the kept table");
            std::fs::write(table::path(), table::renewed(&kept, &table)).expect("the kept table");
            println!("{table}\nwritten to {}", table::path().display());
        }
        Some(part) => runtime.block_on(async {
            for fault in GROUPS.iter().flat_map(|group| group.faults).filter(|fault| fault.name.contains(part)) {
                println!("{}: {}", fault.name, fault.does);
                for (side, name) in [(Side::Ours, "wharfage"), (Side::Composed, "composed")] {
                    println!("  {name:9} {}", table::cell(fault, &run(fault, side).await));
                }
            }
        }),
    }
}
