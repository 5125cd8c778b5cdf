//! Time for everything here: the hub's monotonic clock, so that a test can hurry all of it by
//! handing in a faster one. What the system's own clock limits (the hub's end) does not use this.

use std::future::Future;
use std::time::Duration;

use super::fault::{Fault, Trouble};
use crate::SourceClock;

#[derive(Clone)]
pub(super) struct Pace(pub(super) SourceClock);

impl Pace {
    pub(super) fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    pub(super) async fn sleep(&self, time: Duration) {
        self.0.sleep_until(self.now_ms() + ms(time)).await;
    }

    /// None when `work` was not done in time.
    pub(super) async fn limit<T>(
        &self,
        time: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(time) => None,
        }
    }

    /// A call that is given up after `time`.
    pub(super) async fn within<T, E: Into<Trouble>>(
        &self,
        time: Duration,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        match self.limit(time, call).await {
            Some(result) => result.map_err(Into::into),
            None => Err(Trouble::new(
                Fault::TimedOut,
                format!("no answer for {} s", time.as_secs()),
            )),
        }
    }
}

/// Whole milliseconds.
pub(super) const fn ms(time: Duration) -> i64 {
    time.as_millis() as i64
}
