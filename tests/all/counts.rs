//! The table of counts: every part that is counted is in it, and it says when, why and by which compiler.
//!
//! Whether the counts still hold, a program finds out that takes a release build and valgrind: `tests/counts`, which the
//! workflow's job `counts` runs.

use std::process::Command;

use wharfage_tests::counts::{BODY_BYTES, BODY_COPIES_MAX, Unit, all, carried, recorded};

/// What the issue of speed names.
const PARTS: [&str; 7] = ["buckets", "hints", "scope", "mask", "classify", "path", "call"];

#[test]
fn every_part_is_counted_and_recorded() {
    let (all, recorded) = (all(), recorded().unwrap());
    for part in PARTS {
        assert!(all.iter().any(|counted| counted.part == part), "nothing of {part} is counted");
    }
    for counted in &all {
        let rows = recorded.iter().filter(|row| row.is_of(counted)).count();
        let (part, input) = (counted.part, counted.input);
        assert_eq!(
            rows, 1,
            "{part}, {input}: run: cargo run --release -p wharfage-tests --bin counts -- --renew \"new\""
        );
    }
    assert_eq!(recorded.len(), all.len(), "the table holds what nobody counts");
}

#[test]
fn a_row_says_when_why_and_by_which_compiler() {
    for row in recorded().unwrap() {
        let is_date = row.date.len() == 10
            && row
                .date
                .bytes()
                .enumerate()
                .all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
        assert!(is_date && row.count > 0 && !row.reason.trim().is_empty(), "{row:?}");
        assert!(row.compiler.starts_with("rustc 1."), "{row:?}");
    }
}

/// Else a typing error would compare nothing, and all would be as it was.
#[test]
fn what_nobody_counts_is_no_success() {
    let program = crate::cli::program().with_file_name("counts");
    for arguments in [&["msak"][..], &["mask", "--renw", "why"]] {
        let output = Command::new(&program).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && told.contains("is named"), "{arguments:?}: {told}");
    }
}

/// A piece of work does what it says: it can be done once, and none panics.
#[test]
fn what_is_counted_can_be_done() {
    for counted in all().iter().filter(|counted| counted.is_pure()) {
        counted.perform(2);
    }
}

/// Out of the transport's buffer and into the guest.
#[test]
fn a_body_is_copied_once_beyond_what_the_component_model_needs() {
    let recorded = recorded().unwrap();
    let copied = recorded.iter().find(|row| row.is_of(&carried(Unit::BytesCopied))).unwrap().count;
    let times = copied as f64 / BODY_BYTES as f64;
    assert!((1.0..=BODY_COPIES_MAX).contains(&times), "a body of {BODY_BYTES} bytes is copied {times:.2} times");
}
