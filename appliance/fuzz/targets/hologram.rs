//! See `holobooth::link::testkit::fuzz::hologram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::testkit::fuzz::hologram(data));
