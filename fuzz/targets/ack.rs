#![no_main]

use std::sync::LazyLock;

use coherence_fuzz::ack::Outbox;

static OUTBOX: LazyLock<Outbox> = LazyLock::new(Outbox::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| OUTBOX.holds(data));
