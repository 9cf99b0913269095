//! The target `fields` of `wharfage::fuzz`, guided by coverage.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = wharfage::fuzz::fields(bytes);
});
