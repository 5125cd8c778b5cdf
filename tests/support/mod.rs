//! What the tests of several files share. Each test binary uses a part of it.

pub mod fake_bluez;
pub mod private_bus;
