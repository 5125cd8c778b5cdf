#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coherence_fuzz::ant_stream::holds(data));
