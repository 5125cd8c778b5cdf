#![no_main]

use std::sync::LazyLock;

use coherence_fuzz::config::Etc;

static ETC: LazyLock<Etc> = LazyLock::new(Etc::new);

libfuzzer_sys::fuzz_target!(|data: &[u8]| ETC.holds(data));
