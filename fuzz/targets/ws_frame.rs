#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coherence_fuzz::ws_frame::holds(data));
