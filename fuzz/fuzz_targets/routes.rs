//! The policy file, and decisions by it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trivium_fuzz::routes::check(data));
