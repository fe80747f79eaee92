//! See `holobooth::link::fuzz::sealed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::fuzz::sealed(data));
