//! How many links one adapter carries: as many as are configured, less what it refuses, asked for again in
//! time (PURE). Which straps these are is for `plan`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ms;
use crate::StrapId;

/// A chip that is full does not always say so. With at least so many links held (the smallest
/// budget that is common), and no fewer than it has ever carried, connects of several straps that fail in a
/// row mean it.
const FULL_FROM: usize = 5;
const FULL_FAILS: u32 = 3;
/// What an adapter refused once it is asked for again, late and ever more seldom.
const FIRST_RETRY: Duration = Duration::from_secs(10 * 60);
const LONGEST_RETRY: Duration = Duration::from_secs(2 * 3600);
/// That it is full was only guessed: it may have been straps at the edge of its reach.
const RETRY_OF_A_GUESS: Duration = Duration::from_secs(30);

pub(super) struct Limit {
    most: usize,
    /// Learned from refusals; at most `most`.
    said: usize,
    retry_at_ms: i64,
    retry_rest_ms: i64,
    /// Fewer, by a guess.
    guess: Option<usize>,
    guess_again_at_ms: i64,
    /// The most that were up at once.
    carried: usize,
    fails: u32,
    failed: BTreeSet<StrapId>,
    /// One more than it is known to carry is being tried.
    asked: bool,
}

impl Limit {
    pub(super) fn new(most: usize) -> Self {
        Limit {
            most,
            said: most,
            retry_at_ms: i64::MAX,
            retry_rest_ms: ms(FIRST_RETRY),
            guess: None,
            guess_again_at_ms: i64::MAX,
            carried: 0,
            fails: 0,
            failed: BTreeSet::new(),
            asked: false,
        }
    }

    pub(super) fn links(&self) -> usize {
        self.guess.map_or(self.said, |guess| guess.min(self.said))
    }

    /// The adapter comes back, and all its links are new: what it said holds, a guess does not.
    pub(super) fn begins_anew(&mut self) {
        self.guess = None;
        self.learned();
    }

    /// A link came up: so many are up now, so many places taken.
    pub(super) fn granted(&mut self, up: usize, held: usize, now_ms: i64) {
        self.fails = 0;
        self.failed.clear();
        self.carried = self.carried.max(up);
        self.said = self.said.max(up).min(self.most);
        self.guess = self.guess.map(|guess| guess.max(up));
        if std::mem::take(&mut self.asked) && held >= self.links() {
            // What was asked for again was granted: so may the next be.
            self.retry_rest_ms = ms(FIRST_RETRY);
            (self.retry_at_ms, self.guess_again_at_ms) = (now_ms, now_ms);
        }
    }

    /// It said that it carries no more than those `in_use`. Of those that connect some hold a link
    /// already; too high a number is refused again at once.
    pub(super) fn refused(&mut self, in_use: usize, now_ms: i64) {
        self.said = self.said.min(in_use.max(1));
        self.retry_at_ms = now_ms + self.retry_rest_ms;
        self.retry_rest_ms = (self.retry_rest_ms * 2).min(ms(LONGEST_RETRY));
        self.learned();
    }

    /// A connect failed while so many links were up.
    pub(super) fn failed(&mut self, id: &StrapId, up: usize, in_use: usize, now_ms: i64) {
        self.fails += 1;
        self.failed.insert(id.clone());
        // One strap that refuses, or that a phone holds, says nothing of the adapter.
        let several = self.fails >= FULL_FAILS && self.failed.len() >= 2;
        if several && up >= self.carried.max(FULL_FROM) {
            self.guess = Some(self.links().min(in_use));
            self.guess_again_at_ms = now_ms + ms(RETRY_OF_A_GUESS);
            self.learned();
        }
    }

    /// Somebody would gain by one more, and so many are held: it is tried once more in its time.
    pub(super) fn ask_again(&mut self, held: usize, now_ms: i64) {
        if held < self.links() {
            return;
        }
        if let Some(guess) = self.guess.filter(|guess| *guess < self.said) {
            if now_ms >= self.guess_again_at_ms {
                self.guess = Some(guess + 1);
                self.guess_again_at_ms = now_ms + ms(RETRY_OF_A_GUESS);
                self.asked = true;
            }
        } else if self.said < self.most && now_ms >= self.retry_at_ms {
            self.guess = None;
            self.said += 1;
            self.retry_at_ms = now_ms + self.retry_rest_ms;
            self.asked = true;
        }
    }

    /// Failures are counted from here on.
    fn learned(&mut self) {
        self.asked = false;
        self.fails = 0;
        self.failed.clear();
    }
}
