//! Filters: what a caller may write as a condition on documents.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trivium_fuzz::filter::check(data));
