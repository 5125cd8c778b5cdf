//! How many links one adapter carries: as many as are configured, less what it refuses, asked for again in
//! time (PURE). Which straps these are is for `plan`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ms;
use crate::StrapId;

/// A chip that is full does not always say so. With at least so many links held (the smallest
/// budget that is common), connects of several straps that fail in a row mean it.
const FULL_FROM: usize = 5;
const FULL_FAILS: u32 = 3;
/// What an adapter refused once it is asked for again, ever more seldom: soon where that it is full was only
/// guessed (it may have been straps at the edge of its reach), late where it said so.
const FIRST_RETRY_OF_A_GUESS: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(10 * 60);
const LONGEST_RETRY: Duration = Duration::from_secs(2 * 3600);

pub(super) struct Limit {
    most: usize,
    /// Learned from refusals; at most `most`.
    links: usize,
    fails: u32,
    failed: BTreeSet<StrapId>,
    retry_at_ms: i64,
    retry_rest_ms: i64,
    /// One more than it is known to carry is being tried.
    asked: bool,
}

impl Limit {
    pub(super) fn new(most: usize) -> Self {
        Limit {
            most,
            links: most,
            fails: 0,
            failed: BTreeSet::new(),
            retry_at_ms: i64::MAX,
            retry_rest_ms: ms(FIRST_RETRY_OF_A_GUESS),
            asked: false,
        }
    }

    pub(super) fn links(&self) -> usize {
        self.links
    }

    /// A link came up: so many are up now, so many places taken.
    pub(super) fn granted(&mut self, up: usize, held: usize, now_ms: i64) {
        self.fails = 0;
        self.failed.clear();
        self.links = self.links.max(up).min(self.most);
        if std::mem::take(&mut self.asked) && held >= self.links {
            // What was asked for again was granted: so may the next be.
            self.retry_rest_ms = ms(FIRST_RETRY_OF_A_GUESS);
            self.retry_at_ms = now_ms;
        }
    }

    /// It said that it carries no more than those `in_use`.
    pub(super) fn refused(&mut self, in_use: usize, now_ms: i64) {
        self.learn(in_use, FIRST_RETRY, now_ms);
    }

    /// A connect failed while so many links were up.
    pub(super) fn failed(&mut self, id: &StrapId, up: usize, in_use: usize, now_ms: i64) {
        self.fails += 1;
        self.failed.insert(id.clone());
        // One strap that refuses, or that a phone holds, says nothing of the adapter.
        if up >= FULL_FROM && self.fails >= FULL_FAILS && self.failed.len() >= 2 {
            self.learn(in_use, FIRST_RETRY_OF_A_GUESS, now_ms);
        }
    }

    /// Somebody would gain by one more, and so many are held: it is tried once more in its time.
    pub(super) fn ask_again(&mut self, held: usize, now_ms: i64) {
        if self.links < self.most && held >= self.links && now_ms >= self.retry_at_ms {
            self.links += 1;
            self.asked = true;
            self.retry_at_ms = now_ms + self.retry_rest_ms;
        }
    }

    /// The adapter carries what it carries, and no more for a while. Of those that connect some hold a link
    /// already; too high a guess is refused again at once.
    fn learn(&mut self, in_use: usize, first_retry: Duration, now_ms: i64) {
        self.links = self.links.min(in_use.max(1));
        self.asked = false;
        let rest_ms = self.retry_rest_ms.max(ms(first_retry));
        self.retry_at_ms = now_ms + rest_ms;
        self.retry_rest_ms = (rest_ms * 2).min(ms(LONGEST_RETRY));
        self.fails = 0;
        self.failed.clear();
    }
}
