//! ANT+ straps through a stick: the real source, the real hub, a real pseudo-terminal, and at its other end a
//! virtual stick.

mod bench;
mod losses;
mod stick;
