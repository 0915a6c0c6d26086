//! Fuzzes `exchange_fuzz::names`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| exchange_fuzz::names(data));
