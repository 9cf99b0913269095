//! What the outbound path does in every behaviour of the fault server, against the table that is kept of it.
//!
//! The comparison itself is a program (`cargo run -p wharfage-tests --bin faults`); here only our column is seen again, so
//! that what `tests/faults/README.md` tells of us cannot go stale.

use std::fmt::Write as _;

use wharfage_tests::faults::list::GROUPS;
use wharfage_tests::faults::{Side, run, table};

/// One thread: the clock goes on when nothing else happens.
#[tokio::test]
async fn our_column_of_the_table_is_what_happens() {
    let kept = std::fs::read_to_string(table::path()).unwrap();
    let mut wrong = String::new();
    for fault in GROUPS.iter().flat_map(|group| group.faults) {
        let now = table::cell(fault, &run(fault, Side::Ours).await);
        let then = table::kept_column(&kept, fault.name);
        if then.as_deref() != Some(&now) {
            let then = then.as_deref().unwrap_or("nothing");
            let _ = writeln!(wrong, "{}: the table says\n  {then}\nand now it is\n  {now}", fault.name);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}If that is better: cargo run -p wharfage-tests --bin faults -- --write");
}
