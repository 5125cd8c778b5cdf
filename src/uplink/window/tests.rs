//! The window against an outbox, a broker and a collector that are a few lines each.

use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The world around a window.
struct World {
    now_ms: i64,
    window: Window,
    outbox: BTreeMap<i64, Stream>,
    last_seq: i64,
    /// What the broker has been given and not answered, oldest first.
    given: VecDeque<i64>,
    /// What the collector applied, and how often each came.
    applied: BTreeMap<i64, u32>,
    /// And up to which number it has everything.
    upto: i64,
    /// Every publication: when and what.
    published: Vec<(i64, i64)>,
    /// A stream that the broker refuses.
    refuses: Option<Stream>,
}

impl World {
    fn new() -> Self {
        World {
            now_ms: 1_000_000,
            window: Window::new(),
            outbox: BTreeMap::new(),
            last_seq: 0,
            given: VecDeque::new(),
            applied: BTreeMap::new(),
            upto: 0,
            published: Vec::new(),
            refuses: None,
        }
    }

    fn with(messages: usize) -> Self {
        let mut world = World::new();
        world.fill(messages, Stream::Rr);
        world
    }

    fn fill(&mut self, messages: usize, stream: Stream) {
        for _ in 0..messages {
            self.last_seq += 1;
            self.outbox.insert(self.last_seq, stream);
        }
        self.window.filled();
    }

    fn connect(&mut self) {
        self.window.connected(100, self.now_ms);
    }

    fn disconnect(&mut self) {
        self.given.clear();
        self.window.disconnected(self.now_ms);
    }

    /// Publishes whatever the window wants now; until when it then wants nothing.
    fn pump(&mut self) -> i64 {
        for _ in 0..100_000 {
            match self.window.want(self.now_ms) {
                Want::Wait { until_ms } => {
                    assert!(until_ms > self.now_ms || self.window.stalled(self.now_ms));
                    return until_ms;
                }
                Want::Read { after, limit, why } => {
                    assert!((1..=IN_FLIGHT).contains(&limit));
                    let read: Vec<_> = self
                        .outbox
                        .range(after + 1..)
                        .take(limit)
                        .map(|(seq, stream)| (*seq, *stream))
                        .collect();
                    for seq in self.window.choose((after, limit, why), &read, self.now_ms) {
                        assert!(read.iter().any(|(there, _)| *there == seq));
                        assert!(!self.given.contains(&seq), "{seq} is on its way already");
                        self.given.push_back(seq);
                        self.published.push((self.now_ms, seq));
                    }
                    assert!(self.given.len() <= IN_FLIGHT);
                    assert!(self.window.unanswered.len() <= UNANSWERED);
                }
            }
        }
        panic!("the window never comes to rest");
    }

    /// The broker answers the oldest: it takes it, and hands it on or loses it.
    fn answer(&mut self, hands_on: bool) {
        let Some(seq) = self.given.pop_front() else {
            return;
        };
        if self.refuses.is_some() && self.outbox.get(&seq).copied() == self.refuses {
            self.window.refused(seq, self.now_ms);
            return;
        }
        if hands_on {
            *self.applied.entry(seq).or_insert(0) += 1;
        }
        self.window.taken(seq, true, self.now_ms);
    }

    /// The collector acknowledges all that it has.
    fn acknowledge(&mut self) -> Option<i64> {
        while self.applied.contains_key(&(self.upto + 1)) {
            self.upto += 1;
        }
        let upto = self.upto;
        let also: BTreeSet<i64> = self
            .applied
            .range(upto + 1..)
            .map(|(seq, _)| *seq)
            .collect();
        self.outbox
            .retain(|seq, _| *seq > upto && !also.contains(seq));
        self.window.acknowledged(upto, also, self.now_ms)
    }

    /// Goes on until `until`, with a broker that answers at once and a collector that acknowledges
    /// everything if it is there.
    fn live(&mut self, until: i64, hands_on: bool, collector: bool) {
        while self.now_ms < until {
            let mut wake_ms = self.pump();
            while !self.given.is_empty() {
                self.answer(hands_on);
                wake_ms = self.now_ms + 100;
            }
            if collector {
                self.acknowledge();
            }
            self.now_ms = wake_ms.clamp(self.now_ms + 1, until.max(self.now_ms + 1));
        }
    }

    fn published_between(&self, from_ms: i64, until_ms: i64) -> usize {
        let inside = |(at, _): &&(i64, i64)| (from_ms..until_ms).contains(at);
        self.published.iter().filter(inside).count()
    }
}

#[test]
fn without_a_connection_nothing_is_wanted() {
    let mut world = World::with(5);
    assert_eq!(world.window.want(0), Want::Wait { until_ms: i64::MAX });
}

#[test]
fn a_backlog_leaves_in_order_at_the_pace_and_no_faster() {
    let mut world = World::with(1_000);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 60_000, true, true);
    assert!(world.outbox.is_empty());
    let order: Vec<i64> = world.published.iter().map(|(_, seq)| *seq).collect();
    assert_eq!(
        order,
        (1..=1_000).collect::<Vec<_>>(),
        "each once, in order"
    );
    for second in 0..20 {
        let from_ms = begin_ms + second * 1_000;
        let sent = world.published_between(from_ms, from_ms + 1_000);
        assert!(
            sent <= PER_SECOND as usize + IN_FLIGHT,
            "{sent} in a second"
        );
    }
    let took_ms = world.published[999].0 - begin_ms;
    assert!((19_000..=21_000).contains(&took_ms), "{took_ms} ms");
}

#[test]
fn the_window_waits_for_the_oldest_so_that_packet_ids_never_meet() {
    let mut world = World::with(100);
    world.connect();
    world.now_ms += 10_000;
    world.pump();
    assert_eq!(world.given.len(), IN_FLIGHT);
    // All but the oldest are taken: there is still no room.
    for seq in 2..=16 {
        world.window.taken(seq, true, world.now_ms);
    }
    world.now_ms += 10_000;
    world.pump();
    assert_eq!(world.published.len(), IN_FLIGHT);
    world.window.taken(1, true, world.now_ms);
    world.given.clear();
    world.pump();
    assert_eq!(world.published.len(), 2 * IN_FLIGHT);
}

#[test]
fn a_broker_that_takes_nothing_is_dead_after_ninety_seconds() {
    let mut world = World::with(1);
    world.connect();
    world.now_ms += 300_000;
    assert!(!world.window.stalled(world.now_ms), "it was given nothing");
    let given_ms = world.now_ms;
    world.pump();
    assert!(!world.window.stalled(given_ms + STALLED_MS - 1));
    assert!(world.window.stalled(given_ms + STALLED_MS));
    assert!(world.window.moves(given_ms + 1_000) && !world.window.moves(given_ms + STALLED_MS / 3));
    world.answer(true);
    assert!(!world.window.stalled(given_ms + STALLED_MS));
}

#[test]
fn what_the_broker_lost_goes_again_with_growing_patience() {
    let mut world = World::with(1);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 48 * HOUR_MS, false, true);
    let at: Vec<i64> = world
        .published
        .iter()
        .map(|(at_ms, _)| (at_ms - begin_ms) / MINUTE_MS)
        .collect();
    // 15 min, then 30, 60, 120, 240, and from then on every 6 h.
    assert_eq!(at[..8], [0, 15, 45, 105, 225, 465, 825, 1185]);
}

#[test]
fn what_nobody_listened_to_goes_again_after_a_minute_and_not_much_faster() {
    let mut world = World::with(1);
    world.connect();
    let begin_ms = world.now_ms;
    while world.now_ms < begin_ms + HOUR_MS {
        let wake_ms = world.pump();
        if let Some(seq) = world.given.pop_front() {
            world.window.taken(seq, false, world.now_ms);
        } else {
            world.now_ms = wake_ms;
        }
    }
    let at: Vec<i64> = world
        .published
        .iter()
        .map(|(at_ms, _)| (at_ms - begin_ms) / MINUTE_MS)
        .collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 30, 45]);
}

#[test]
fn a_dead_collector_costs_a_bounded_number_of_messages() {
    let mut world = World::with(6_000);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 24 * HOUR_MS, false, false);
    let sent = world.published.len();
    // 2,000 of them, eight times in a day.
    assert!((UNANSWERED..=9 * UNANSWERED).contains(&sent), "{sent}");
    assert!(world.window.silent_since(world.now_ms).is_some());
    // It comes back, and everything goes.
    world.live(begin_ms + 60 * HOUR_MS, true, true);
    assert!(world.outbox.is_empty(), "{} left", world.outbox.len());
    assert_eq!(world.window.silent_since(world.now_ms), None);
}

#[test]
fn a_collector_that_comes_back_gets_what_its_broker_dropped_within_minutes() {
    let mut world = World::with(100);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 30 * HOUR_MS, false, false);
    let sent = world.published.len();
    // Its broker kept the first three, and it acknowledges those.
    (1..=3).for_each(|seq| {
        world.applied.insert(seq, 1);
    });
    world.acknowledge();
    let back_ms = world.now_ms;
    world.live(back_ms + 2 * MINUTE_MS, true, true);
    assert!(world.outbox.is_empty(), "{} left", world.outbox.len());
    assert_eq!(world.published.len() - sent, 97);
}

#[test]
fn what_the_collector_passed_over_is_lost_and_goes_again_at_once() {
    let mut world = World::with(5);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 5_000, false, true);
    world.now_ms += 2 * MINUTE_MS;
    world.fill(1, Stream::Rr);
    let new_ms = world.now_ms;
    world.live(new_ms + 5_000, true, true);
    assert!(world.outbox.is_empty(), "left: {:?}", world.outbox);
}

#[test]
fn a_new_connection_begins_with_the_first_that_is_not_acknowledged() {
    let mut world = World::with(40);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 5_000, true, false);
    for seq in 1..=10 {
        world.outbox.remove(&seq);
    }
    world.window.acknowledged(10, [], world.now_ms);
    world.disconnect();
    let before = world.published.len();
    world.connect();
    let again_ms = world.now_ms;
    world.live(again_ms + 5_000, true, false);
    let order: Vec<i64> = world.published[before..]
        .iter()
        .map(|(_, seq)| *seq)
        .collect();
    assert_eq!(order, (11..=40).collect::<Vec<_>>());
}

#[test]
fn a_denied_stream_rests_and_is_probed_while_the_others_go_on() {
    let mut world = World::new();
    world.fill(20, Stream::Rr);
    world.fill(3, Stream::Session);
    world.fill(20, Stream::Rr);
    world.fill(3, Stream::Session);
    world.refuses = Some(Stream::Rr);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 30_000, true, true);
    assert!(world.outbox.values().all(|stream| *stream == Stream::Rr));
    assert_eq!(world.outbox.len(), 40, "nothing that was denied is lost");
    assert!(world.window.is_denied(Stream::Rr));
    let sent = world.published.len();
    world.live(begin_ms + 2 * HOUR_MS, true, true);
    // After 1, 2, 4, 8, 16, 30, 30 … minutes, one message each.
    let probes = world.published.len() - sent;
    assert!((5..=8).contains(&probes), "{probes}");
    world.refuses = None;
    world.live(begin_ms + 3 * HOUR_MS, true, true);
    assert!(world.outbox.is_empty());
    assert!(!world.window.is_denied(Stream::Rr));
}

#[test]
fn a_probe_whose_message_has_vanished_does_not_keep_the_stream_waiting() {
    let mut world = World::new();
    world.fill(3, Stream::Rr);
    world.refuses = Some(Stream::Rr);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 5_000, true, true);
    world.outbox.remove(&1); // thinned, say
    world.refuses = None;
    world.live(begin_ms + 10 * MINUTE_MS, true, true);
    assert!(world.outbox.is_empty());
}

#[test]
fn a_message_that_ends_every_connection_is_set_aside_and_the_rest_gets_through() {
    let mut world = World::with(30);
    const POISON: i64 = 7;
    let mut connections = 0;
    while world.outbox.len() > 1 {
        connections += 1;
        assert!(connections < 20, "the poison blocks the queue");
        world.connect();
        for _ in 0..200 {
            world.pump();
            if world.given.front() == Some(&POISON) {
                break;
            }
            world.answer(true);
            world.acknowledge();
            world.now_ms += 100;
        }
        world.disconnect();
        world.now_ms += 1_000;
    }
    assert!(
        connections <= 7,
        "{connections} connections were spent on it"
    );
    assert_eq!(world.outbox.keys().copied().collect::<Vec<_>>(), [POISON]);
    assert_eq!(world.window.set_aside_seq(), Some(POISON));
    // It rests for a while, then is tried again, and this time it goes.
    let sent = world.published.len();
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + HOUR_MS, true, true);
    assert_eq!(
        world.published[sent..]
            .iter()
            .map(|(_, seq)| *seq)
            .collect::<Vec<_>>(),
        [POISON]
    );
    assert!(world.outbox.is_empty());
    assert_eq!(world.window.set_aside_seq(), None);
    world.fill(40, Stream::Rr);
    let begin_ms = world.now_ms;
    world.live(begin_ms + 10_000, true, true);
    assert!(world.outbox.is_empty(), "and the window is whole again");
}

#[test]
fn a_connection_that_ends_over_a_message_sends_one_at_a_time_until_it_is_found() {
    let mut world = World::with(10);
    world.connect();
    world.now_ms += 10_000;
    world.pump();
    assert_eq!(world.window.culprit(), None, "one of ten");
    world.disconnect();
    world.connect();
    world.now_ms += 10_000;
    world.pump();
    assert_eq!(world.given, [1]);
    assert_eq!(world.window.culprit(), Some(1));
    world.disconnect();
    world.outbox.remove(&1);
    world.window.withdrawn(1);
    world.connect();
    world.now_ms += 10_000;
    world.pump();
    assert_eq!(world.given.len(), 9, "and then as before");
}

#[test]
fn an_acknowledgement_may_overtake_the_brokers_own() {
    let mut world = World::with(1);
    world.connect();
    world.pump();
    world.now_ms += 250;
    world.applied.insert(1, 1);
    assert_eq!(
        world.acknowledge(),
        Some(250),
        "from here to there and back"
    );
    world.answer(false);
    let begin_ms = world.now_ms;
    world.live(begin_ms + 48 * HOUR_MS, true, true);
    assert_eq!(world.published.len(), 1);
}

#[test]
fn an_older_acknowledgement_changes_nothing() {
    let mut world = World::with(10);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 1_000, true, true);
    assert_eq!(world.window.acknowledged(3, [2], world.now_ms), None);
    assert_eq!(world.window.silent_since(world.now_ms + HOUR_MS), None);
}

#[test]
fn a_new_epoch_sends_everything_once_more() {
    let mut world = World::with(10);
    world.connect();
    let begin_ms = world.now_ms;
    world.live(begin_ms + 1_000, true, false);
    assert_eq!(world.published.len(), 10);
    world.window.new_epoch();
    world.applied.clear();
    world.upto = 0;
    let begin_ms = world.now_ms;
    world.live(begin_ms + 5_000, true, true);
    assert_eq!(world.published.len(), 20);
    assert!(world.outbox.is_empty());
}

#[derive(Clone, Debug)]
enum Turn {
    Fill(usize, bool),
    Wait(i64),
    Answer(usize, bool),
    Acknowledge,
    Break,
    Connect,
    Refuse(bool),
    /// A message goes another way: a withdrawal, or too much waits.
    Vanish(usize),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        (1_usize..40, any::<bool>()).prop_map(|(n, rr)| Turn::Fill(n, rr)),
        prop_oneof![1_i64..2_000, 1_i64..10 * HOUR_MS].prop_map(Turn::Wait),
        (1_usize..20, any::<bool>()).prop_map(|(n, kept)| Turn::Answer(n, kept)),
        Just(Turn::Acknowledge),
        Just(Turn::Break),
        Just(Turn::Connect),
        any::<bool>().prop_map(Turn::Refuse),
        (0_usize..100).prop_map(Turn::Vanish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever goes wrong in whatever order: when all is well again, everything that still waits gets
    /// through, and the window was never overfilled on the way (`pump` looks).
    #[test]
    fn no_order_of_failures_loses_or_blocks_anything(turns in prop::collection::vec(turn(), 1..80)) {
        let mut world = World::new();
        let mut connected = false;
        for turn in turns {
            match turn {
                Turn::Fill(n, rr) => world.fill(n, if rr { Stream::Rr } else { Stream::Consent }),
                Turn::Wait(ms) => world.now_ms += ms,
                Turn::Answer(n, kept) => (0..n).for_each(|_| world.answer(kept)),
                Turn::Acknowledge => {
                    world.acknowledge();
                }
                Turn::Break => {
                    world.disconnect();
                    connected = false;
                }
                Turn::Connect if !connected => {
                    world.connect();
                    connected = true;
                }
                Turn::Connect => {}
                Turn::Refuse(refuses) => world.refuses = refuses.then_some(Stream::Rr),
                Turn::Vanish(n) => {
                    if let Some(seq) = world.outbox.keys().nth(n).copied() {
                        world.outbox.remove(&seq);
                        // The collector is told of it.
                        world.applied.entry(seq).or_insert(0);
                    }
                }
            }
            world.pump();
        }
        world.refuses = None;
        if !connected {
            world.connect();
        }
        let begin_ms = world.now_ms;
        world.live(begin_ms + 14 * HOUR_MS, true, true);
        prop_assert!(world.outbox.is_empty(), "left behind: {:?}", world.outbox);
    }
}
