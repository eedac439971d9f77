//! Messages of the contract, and the checks at the door.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| trivium_fuzz::requests::check(data));
