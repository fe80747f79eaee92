//! See `holobooth::link::testkit::fuzz::feedback`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| holobooth::link::testkit::fuzz::feedback(data));
