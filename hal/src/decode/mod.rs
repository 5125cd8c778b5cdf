//! Pure decoders: bytes in, values or a named error out. They neither drop nor repair a value.

pub mod ant;
pub mod ble;
