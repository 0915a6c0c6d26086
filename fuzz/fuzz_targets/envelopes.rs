//! Fuzzes `exchange_fuzz::envelopes`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = exchange_fuzz::envelopes(data);
});
