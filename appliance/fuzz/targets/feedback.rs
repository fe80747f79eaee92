//! See `holobooth::link::fuzz::feedback`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::fuzz::feedback(data));
