//! The guard in front of the web: who may connect, how fast, under which name and from which page.
//! What somebody may do once let in is decided where it is done.

use std::net::{IpAddr, SocketAddr};

/// The other end of a connection: `ConnectInfo<Peer>` in every handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether what is said is encrypted.
    pub tls: bool,
}

impl Peer {
    /// One spelling of an address: IPv4 written as IPv6 is IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }

    /// Nobody between here and there can read along.
    pub fn is_private(&self) -> bool {
        self.tls || self.ip().is_loopback()
    }
}
