//! Who is asking, and who is guessing. PURE: time and randomness are handed in, nothing waits or
//! touches a disk. What somebody may do is decided where it is done; here it is only proved who they
//! are. The living state behind it (the PIN, the counts, the tokens) is in `gate`.
//!
//! - `token`: what participants and facilitators show, proved by the hub's key
//! - `scoped`: what programs show, made by the admin, kept as a hash
//! - `guess`: wrong tries, and how long those who guess must wait

pub mod guess;
pub mod scoped;
pub mod token;

pub use guess::{Door, Guard, Refusal, Tries};
pub use scoped::{Scope, Scoped};
pub use token::Who;
