//! Pseudo-terminals in the place of serial ports.
//!
//! The far end is what the test holds: dropping it is what the kernel does when a device is pulled out.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{SerialPort, SerialStream};

/// The device's end of a port. Both ends are raw, so that no byte is changed or echoed.
pub struct Device {
    wire: SerialStream,
    /// Held open: without any reader the far end could not be written to.
    _near: SerialStream,
    path: String,
}

impl Device {
    /// A device at a path of the kernel's choice; needs a tokio runtime with IO.
    pub fn new() -> Self {
        let (wire, near) = SerialStream::pair().expect("the kernel has pseudo-terminals");
        let path = near.name().expect("a pseudo-terminal has a path");
        Device {
            wire,
            _near: near,
            path,
        }
    }

    /// A device at `link`, in the place of whatever was there.
    pub fn plugged_in_at(link: &Path) -> Self {
        let device = Device::new();
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(&device.path, link).expect("the test's own folder");
        device
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.wire.write_all(bytes.as_ref()).await;
        sent.expect("the port's buffer has room");
    }

    /// The next bytes that were written to the port.
    pub async fn receive(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4_096];
        let length = self.wire.read(&mut bytes).await.expect("a port is open");
        bytes.truncate(length);
        bytes
    }
}
