//! Fuzzes `exchange_fuzz::certificates`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| exchange_fuzz::certificates(data));
