//! What callers show in metadata: deadlines, traces, keys and tokens.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trivium_fuzz::callers::check(data));
