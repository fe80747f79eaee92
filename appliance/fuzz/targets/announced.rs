//! See `holobooth::link::fuzz::announced`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::fuzz::announced(data));
