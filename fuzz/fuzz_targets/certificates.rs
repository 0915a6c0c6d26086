//! Fuzzes `exchange_fuzz::certificates`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = exchange_fuzz::certificates(data);
});
