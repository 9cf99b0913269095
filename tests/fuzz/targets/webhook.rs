//! The target `webhook` of `wharfage::fuzz`, guided by coverage.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = wharfage::fuzz::webhook(bytes);
});
