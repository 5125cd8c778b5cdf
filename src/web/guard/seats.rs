//! How many connections are held: over all, and by each address. A seat is given back when it is
//! dropped, so it travels with the connection, into a WebSocket as well.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::rates::network;
use crate::telemetry::tally;

/// All seats there are.
#[derive(Debug)]
pub struct Seats {
    max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
    total: watch::Sender<usize>,
}

/// One connection's.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    network: IpAddr,
    _counted: tally::Connection,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    All,
    OfThisAddress,
}

impl Seats {
    pub fn new(max: usize) -> Self {
        Seats {
            max,
            taken: Mutex::default(),
            total: watch::Sender::new(0),
        }
    }

    /// A seat for whoever comes from there. One address may have half of all, so that one machine can't
    /// keep the room out, yet a room behind one access point has enough. This machine itself may have all.
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Result<Seat, NoSeat> {
        let network = network(from);
        let mut taken = self.taken.lock().expect("nobody panics while holding it");
        if *self.total.borrow() >= self.max {
            return Err(NoSeat::All);
        }
        let here = taken.entry(network).or_insert(0);
        if !network.is_loopback() && *here >= (self.max / 2).max(1) {
            return Err(NoSeat::OfThisAddress);
        }
        *here += 1;
        self.total.send_modify(|total| *total += 1);
        Ok(Seat {
            seats: Arc::clone(self),
            network,
            _counted: tally::Connection::opened(),
        })
    }

    /// Returns when nobody is left.
    pub async fn empty(&self) {
        let mut total = self.total.subscribe();
        // The sender lives as long as `self`.
        let _ = total.wait_for(|total| *total == 0).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self
            .seats
            .taken
            .lock()
            .expect("nobody panics while holding it");
        if let Some(here) = taken.get_mut(&self.network) {
            *here -= 1;
            if *here == 0 {
                taken.remove(&self.network);
            }
        }
        self.seats.total.send_modify(|total| *total -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_gets_half_of_the_seats_and_all_together_no_more_than_there_are() {
        let seats = Arc::new(Seats::new(10));
        let mut held: Vec<_> = (0..5).map(|_| seats.take(address(1)).unwrap()).collect();
        assert_eq!(seats.take(address(1)).err(), Some(NoSeat::OfThisAddress));
        held.extend((0..5).map(|_| seats.take(address(2)).unwrap()));
        assert_eq!(seats.take(address(3)).err(), Some(NoSeat::All));
        drop(held.remove(0));
        assert_eq!(seats.take(address(2)).err(), Some(NoSeat::OfThisAddress));
        held.push(seats.take(address(3)).unwrap());
        assert_eq!(seats.take(address(1)).err(), Some(NoSeat::All));
    }

    #[test]
    fn this_machine_itself_may_have_all_of_them() {
        let seats = Arc::new(Seats::new(10));
        let held: Vec<_> = (0..10)
            .map(|_| seats.take(IpAddr::from([127, 0, 0, 1])).unwrap())
            .collect();
        assert_eq!(seats.take(address(1)).err(), Some(NoSeat::All));
        drop(held);
        assert!(seats.taken.lock().unwrap().is_empty());
        assert_eq!(*seats.total.borrow(), 0);
    }
}
