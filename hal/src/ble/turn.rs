//! The turn to connect on one adapter: BlueZ and most chips do one at a time. Whoever has it can see that
//! others want it.

use tokio::sync::{Mutex, MutexGuard, watch};

#[derive(Default)]
pub(super) struct Turn {
    turn: Mutex<()>,
    waiting: watch::Sender<usize>,
}

/// Held while connecting.
pub(super) struct Taken<'a> {
    _turn: MutexGuard<'a, ()>,
    waiting: watch::Receiver<usize>,
}

/// Counted as long as it lives, also when it is dropped in the middle.
struct Waiting<'a>(&'a Turn);

impl Turn {
    /// First come, first served.
    pub(super) async fn take(&self) -> Taken<'_> {
        let waiting = Waiting::new(self);
        let turn = self.turn.lock().await;
        drop(waiting);
        Taken {
            _turn: turn,
            waiting: self.waiting.subscribe(),
        }
    }
}

impl Taken<'_> {
    /// Returns once somebody else waits for the turn.
    pub(super) async fn is_wanted(&mut self) {
        let somebody = self.waiting.wait_for(|waiting| *waiting > 0).await;
        debug_assert!(somebody.is_ok(), "the turn outlives who has it");
    }
}

impl<'a> Waiting<'a> {
    fn new(turn: &'a Turn) -> Self {
        turn.waiting.send_modify(|waiting| *waiting += 1);
        Waiting(turn)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_has_the_turn_sees_that_somebody_waits_and_no_longer_waits() {
        let turn = Turn::default();
        let mut first = turn.take().now_or_never().expect("nobody has it");
        assert!(first.is_wanted().now_or_never().is_none());
        {
            let mut second = Box::pin(turn.take());
            assert!(second.as_mut().now_or_never().is_none());
            assert!(first.is_wanted().now_or_never().is_some());
        }
        assert!(first.is_wanted().now_or_never().is_none(), "it gave up");
        drop(first);
        assert!(turn.take().now_or_never().is_some());
    }
}
