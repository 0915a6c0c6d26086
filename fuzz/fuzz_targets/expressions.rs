//! Fuzzes `exchange_fuzz::expressions`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| exchange_fuzz::expressions(data));
