//! See `holobooth::link::fuzz::hologram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::fuzz::hologram(data));
