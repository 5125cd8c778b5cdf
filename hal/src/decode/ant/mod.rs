//! ANT+ heart-rate straps, as a stick with a serial port tells of them.
//!
//! Here belongs the way from the port's bytes to intervals: [`Stream`] finds [`Frame`]s among whatever
//! comes, [`Message`] says what a frame means, [`HrPage`] what a strap said, and one [`AntHeart`] per
//! strap makes intervals of its pages. Not here: the port, the stick's start and its health
//! (`crate::ant`). Where the documents of record are not public, the vectors in `tests/data/vectors`
//! fix what is right.

mod beats;
mod frame;
mod message;
mod page;
mod stream;

pub use beats::{AntHeart, GapReason, Pulse, Tally};
pub use frame::{Frame, FrameError};
pub use message::{
    Capabilities, Data, Device, Extension, ExtensionError, HEART_RATE, Message, Rssi, ShortPayload,
    id,
};
pub use page::{BatteryStatus, Content, HrPage};
pub use stream::{Heard, Losses, Stream};
