//! The turn to connect on one adapter: BlueZ and most chips do one at a time. Who was tried less often goes
//! first: a strap that answers at once does not wait for those that don't. Whoever has the turn can see that
//! others want it.

use std::collections::BTreeSet;

use tokio::sync::watch;

/// Who waits: how often they were tried in vain, then who came first.
type Ticket = (u32, u64);

#[derive(Default)]
pub(super) struct Turn {
    queue: watch::Sender<Queue>,
}

#[derive(Default)]
struct Queue {
    taken: bool,
    waiting: BTreeSet<Ticket>,
    tickets: u64,
}

/// Held while connecting.
pub(super) struct Taken<'a>(&'a Turn);

/// Waits as long as it lives, also when it is dropped in the middle.
struct Waiting<'a> {
    turn: &'a Turn,
    ticket: Ticket,
}

impl Turn {
    /// `tries`: how often this strap was tried in vain since it last answered.
    pub(super) async fn take(&self, tries: u32) -> Taken<'_> {
        let waiting = Waiting::new(self, tries);
        let mut queue = self.queue.subscribe();
        loop {
            // What it returns holds a lock.
            let free = queue
                .wait_for(|queue| queue.is_next(waiting.ticket))
                .await
                .is_ok();
            debug_assert!(free, "the turn outlives who waits for it");
            let taken = self.queue.send_if_modified(|queue| {
                let next = queue.is_next(waiting.ticket);
                queue.taken |= next;
                next
            });
            if taken {
                return Taken(self);
            }
        }
    }
}

impl Queue {
    fn is_next(&self, ticket: Ticket) -> bool {
        !self.taken && self.waiting.first() == Some(&ticket)
    }
}

impl Taken<'_> {
    /// Returns once somebody else waits for the turn.
    pub(super) async fn is_wanted(&self) {
        let mut queue = self.0.queue.subscribe();
        let somebody = queue
            .wait_for(|queue| !queue.waiting.is_empty())
            .await
            .is_ok();
        debug_assert!(somebody, "the turn outlives who has it");
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.queue.send_modify(|queue| queue.taken = false);
    }
}

impl<'a> Waiting<'a> {
    fn new(turn: &'a Turn, tries: u32) -> Self {
        let mut ticket = (tries, 0);
        turn.queue.send_modify(|queue| {
            queue.tickets += 1;
            ticket.1 = queue.tickets;
            queue.waiting.insert(ticket);
        });
        Waiting { turn, ticket }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turn
            .queue
            .send_modify(|queue| _ = queue.waiting.remove(&self.ticket));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_has_the_turn_sees_that_somebody_waits_and_no_longer_waits() {
        let turn = Turn::default();
        let first = turn.take(0).now_or_never().expect("nobody has it");
        assert!(first.is_wanted().now_or_never().is_none());
        {
            let mut second = Box::pin(turn.take(0));
            assert!(second.as_mut().now_or_never().is_none());
            assert!(first.is_wanted().now_or_never().is_some());
        }
        assert!(first.is_wanted().now_or_never().is_none(), "it gave up");
        drop(first);
        assert!(turn.take(0).now_or_never().is_some());
    }

    #[test]
    fn who_was_tried_less_often_goes_first_and_of_several_who_came_first() {
        let turn = Turn::default();
        let first = turn.take(0).now_or_never().expect("nobody has it");
        let mut waiting: Vec<_> = [2, 0, 1, 0]
            .into_iter()
            .map(|tries| Box::pin(turn.take(tries)))
            .collect();
        for taking in &mut waiting {
            assert!(taking.as_mut().now_or_never().is_none());
        }
        drop(first);
        let mut order = Vec::new();
        for _ in 0..4 {
            let next = (0..4)
                .find(|i| !order.contains(i) && waiting[*i].as_mut().now_or_never().is_some());
            order.push(next.expect("somebody is next")); // what was taken is dropped at once
        }
        assert_eq!(order, [1, 3, 2, 0]);
    }
}
