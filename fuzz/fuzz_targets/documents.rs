//! Front matter, extraction and chunking.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trivium_fuzz::documents::check(data));
