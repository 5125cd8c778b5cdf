use super::*;

const S: i64 = 1000;

fn strap(i: usize) -> StrapId {
    StrapId::new("ble", &i.to_string())
}

/// A plan with adapters of which strap i has route 10 i + adapter.
struct Air {
    plan: Plan,
    now_ms: i64,
}

impl Air {
    fn new(adapters: usize, max_links: usize) -> Self {
        let mut plan = Plan::new(max_links);
        (0..adapters).for_each(|a| plan.adapter_came(&format!("hci{a}")));
        Air { plan, now_ms: 0 }
    }

    fn route(i: usize, adapter: usize) -> Route {
        (10 * i + adapter) as Route
    }

    fn hear(&mut self, i: usize, adapter: usize, rssi_dbm: i16) {
        let name = format!("hci{adapter}");
        let route = Self::route(i, adapter);
        self.plan
            .heard(&strap(i), route, &name, Some(rssi_dbm), self.now_ms);
    }

    fn pass(&mut self, ms: i64) {
        self.now_ms += ms;
        self.plan.settle(self.now_ms);
    }

    fn adapter_of(&self, i: usize) -> Option<usize> {
        (0..10).find(|&a| self.plan.grant(&strap(i), Self::route(i, a)).is_ok())
    }

    fn begin(&mut self, i: usize) -> usize {
        let adapter = self.adapter_of(i).expect("it has a place");
        assert!(
            self.plan
                .begin(&strap(i), Self::route(i, adapter), self.now_ms)
        );
        adapter
    }

    fn link(&mut self, i: usize) {
        let adapter = self.begin(i);
        assert!(
            self.plan
                .up(&strap(i), Self::route(i, adapter), self.now_ms)
        );
        self.beat(i, adapter);
    }

    fn beat(&mut self, i: usize, adapter: usize) {
        self.plan
            .value(&strap(i), Self::route(i, adapter), self.now_ms);
    }

    fn end(&mut self, i: usize, adapter: usize, how: Ended) {
        self.plan
            .ended(&strap(i), Self::route(i, adapter), how, self.now_ms);
        self.plan.settle(self.now_ms);
    }

    fn waiting(&self) -> Vec<StrapId> {
        self.plan.waiting(self.now_ms)
    }

    fn limit(&self, adapter: usize) -> u32 {
        self.plan.links(self.now_ms).adapters[adapter].limit
    }

    /// All of them heard by one adapter and linked as far as there is room.
    fn full_room(straps: usize, max_links: usize) -> Self {
        let mut air = Air::new(1, max_links);
        for i in 0..straps {
            air.now_ms += 1;
            air.hear(i, 0, -60);
        }
        air.pass(0);
        (0..straps.min(max_links)).for_each(|i| air.link(i));
        air
    }
}

#[test]
fn who_waits_is_said_in_a_sentence_and_as_links() {
    let air = Air::full_room(24, 23);
    assert_eq!(
        air.plan.sentence(air.now_ms).unwrap(),
        "23 of 24 carried, 1 waiting: hci0 full"
    );
    let links = air.plan.links(air.now_ms);
    assert_eq!(links.waiting, [strap(23)]);
    assert_eq!((links.adapters[0].held, links.adapters[0].limit), (23, 23));
    assert_eq!(Air::full_room(5, 5).plan.sentence(10), None);
}

#[test]
fn a_strap_is_carried_by_the_adapter_that_hears_it_best_and_has_room() {
    let mut air = Air::new(2, 1);
    for i in 0..3 {
        air.hear(i, 0, -80);
        air.hear(i, 1, -50 - i as i16);
    }
    air.pass(0);
    assert_eq!(air.adapter_of(0), None, "the others' ears are waited for");
    air.pass(2 * S);
    assert_eq!(air.adapter_of(0), Some(1));
    assert_eq!(air.adapter_of(1), Some(0));
    assert_eq!(air.waiting(), [strap(2)]);
    assert!(
        air.plan
            .sentence(air.now_ms)
            .unwrap()
            .ends_with("hci0 and hci1 full")
    );
}

#[test]
fn a_lost_strap_keeps_its_place_for_a_minute() {
    let mut air = Air::full_room(3, 2);
    air.end(0, 0, Ended::Lost);
    for _ in 0..59 {
        air.hear(2, 0, -60);
        air.pass(S);
        assert_eq!(air.waiting(), [strap(2)]);
    }
    air.pass(S);
    assert_eq!(air.adapter_of(2), Some(0));
    assert_eq!(air.adapter_of(0), None);
}

#[test]
fn only_a_session_passes_a_link_on_and_worn_straps_come_first() {
    let mut air = Air::full_room(5, 3);
    for _ in 0..100 {
        air.pass(20 * S);
        (3..5).for_each(|i| air.hear(i, 0, -40));
        (0..3).for_each(|i| assert_eq!(air.adapter_of(i), Some(0)));
    }
    // Of the linked, 1 gives beats; 4 is worn and waits.
    air.beat(1, 0);
    air.plan.session_begins(&[strap(4), strap(2)], air.now_ms);
    assert_eq!(air.adapter_of(1), Some(0), "it gives beats");
    assert_eq!(air.adapter_of(2), Some(0), "it is worn");
    assert_eq!(air.adapter_of(0), None, "it gave none");
    air.end(0, 0, Ended::Lost);
    assert_eq!(air.adapter_of(4), Some(0));
    assert_eq!(air.waiting(), [strap(3)]);
}

#[test]
fn a_worn_strap_displaces_one_that_delivers_for_nobody() {
    let mut air = Air::full_room(2, 1);
    air.plan.session_begins(&[], air.now_ms);
    assert_eq!(air.adapter_of(0), Some(0), "nobody who waits is worn");
    air.plan.session_begins(&[strap(1)], air.now_ms);
    let taken = air.plan.grant(&strap(0), 0);
    assert_eq!(taken, Err("its link goes to a strap that is worn"));
    air.end(0, 0, Ended::Lost);
    assert_eq!(air.adapter_of(1), Some(0));
}

#[test]
fn a_refusal_teaches_the_limit_and_it_is_asked_for_again_ever_more_seldom() {
    let mut air = Air::full_room(4, 3);
    air.plan.max_links = 4;
    air.plan.adapters.get_mut("hci0").unwrap().limit = Limit::new(4);
    let mut asked_at = Vec::new();
    for _ in 0..(8 * 3600) {
        air.hear(3, 0, -60);
        air.pass(S);
        if air.adapter_of(3).is_some() {
            air.begin(3);
            asked_at.push(air.now_ms / S);
            air.end(3, 0, Ended::Full);
            assert_eq!(air.limit(0), 3);
            assert_eq!(air.waiting(), [strap(3)]);
        }
    }
    let rests: Vec<i64> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(rests[..3], [600, 1200, 2400], "{rests:?}");
    assert!(rests.iter().all(|rest| *rest <= 7200));
}

/// Six are linked, and two more are heard.
fn six_and_two() -> Air {
    let mut air = Air::full_room(6, 16);
    for i in [6, 7] {
        air.hear(i, 0, -60);
    }
    air.pass(0);
    air
}

fn fail(air: &mut Air, i: usize, times: usize) {
    for _ in 0..times {
        air.begin(i);
        air.end(i, 0, Ended::Failed);
    }
}

#[test]
fn connects_of_several_straps_that_fail_beside_five_links_mean_full_but_one_that_refuses_does_not()
{
    let mut air = six_and_two();
    fail(&mut air, 7, 10);
    assert_eq!(air.limit(0), 16);
    fail(&mut air, 6, 1);
    assert_eq!(air.limit(0), 6);
}

#[test]
fn an_adapter_that_has_carried_more_is_not_full() {
    let mut air = six_and_two();
    (6..8).for_each(|i| air.link(i));
    for i in [6, 7] {
        air.end(i, 0, Ended::Lost);
    }
    fail(&mut air, 6, 2);
    fail(&mut air, 7, 2);
    assert_eq!(air.limit(0), 16);
}

/// Six are linked, two more were refused, and it is taken for full.
fn guessed_full() -> Air {
    let mut air = six_and_two();
    fail(&mut air, 6, 2);
    fail(&mut air, 7, 2);
    assert_eq!(air.limit(0), 6);
    air
}

#[test]
fn that_an_adapter_is_full_was_only_guessed_so_it_is_asked_again_soon_and_on_while_it_grants() {
    let mut air = guessed_full();
    air.pass(60 * S);
    for i in [6, 7] {
        air.hear(i, 0, -60);
    }
    air.pass(0);
    assert_eq!((air.limit(0), air.waiting()), (7, vec![strap(7)]));
    air.link(6);
    air.pass(0);
    air.link(7);
    assert_eq!(air.limit(0), 8);
}

#[test]
fn what_was_guessed_of_an_adapter_is_forgotten_when_it_comes_back_and_what_it_said_is_not() {
    let mut air = guessed_full();
    air.plan.adapter_went("hci0");
    air.plan.adapter_came("hci0");
    assert_eq!(air.limit(0), 16);

    let mut air = six_and_two();
    air.begin(6);
    air.end(6, 0, Ended::Full);
    let said = air.limit(0);
    assert!(said < 16);
    air.plan.adapter_went("hci0");
    air.plan.adapter_came("hci0");
    assert_eq!(air.limit(0), said);
}

#[test]
fn a_strap_that_takes_no_link_yields_to_one_that_waits() {
    let mut air = Air::full_room(1, 1);
    air.end(0, 0, Ended::Lost);
    air.hear(0, 0, -60);
    air.hear(1, 0, -60);
    for _ in 0..3 {
        assert_eq!(air.adapter_of(0), Some(0));
        air.begin(0);
        air.end(0, 0, Ended::Failed);
    }
    assert_eq!(air.adapter_of(1), Some(0));
    assert_eq!(air.waiting(), [strap(0)]);
}

#[test]
fn a_strap_that_one_adapter_can_not_link_is_tried_by_another() {
    let mut air = Air::new(2, 5);
    air.hear(0, 0, -50);
    air.hear(0, 1, -70);
    air.pass(2 * S);
    for _ in 0..2 {
        assert_eq!(air.begin(0), 0);
        air.hear(0, 0, -50);
        air.hear(0, 1, -70);
        air.end(0, 0, Ended::Failed);
    }
    assert_eq!(air.adapter_of(0), Some(1));
}

#[test]
fn a_released_strap_gets_no_link_until_it_is_taken_up() {
    let mut air = Air::full_room(2, 2);
    air.plan.release(&strap(0), air.now_ms);
    air.end(0, 0, Ended::Lost);
    for _ in 0..200 {
        air.hear(0, 0, -60);
        air.pass(S);
        assert_eq!(air.adapter_of(0), None);
        assert!(air.waiting().is_empty(), "it waits for nothing");
    }
    air.plan.take_up(&strap(0));
    air.pass(S);
    assert_eq!(air.adapter_of(0), Some(0));
}

#[test]
fn an_adapter_that_goes_gives_its_straps_to_the_others() {
    let mut air = Air::new(2, 5);
    air.hear(0, 0, -50);
    air.pass(2 * S);
    air.link(0);
    air.plan.adapter_went("hci0");
    air.end(0, 0, Ended::Blameless);
    assert_eq!(air.adapter_of(0), None);
    air.hear(0, 1, -70);
    air.pass(2 * S);
    assert_eq!(air.adapter_of(0), Some(1));
}

#[test]
fn a_strap_that_comes_back_under_another_address_is_linked_there() {
    let mut air = Air::full_room(1, 1);
    air.end(0, 0, Ended::Lost);
    air.now_ms += S;
    let new_route = 5;
    for _ in 0..3 {
        air.plan
            .heard(&strap(0), new_route, "hci0", Some(-60), air.now_ms);
        air.pass(S);
    }
    assert_eq!(air.plan.grant(&strap(0), new_route), Ok(()));
    assert!(air.plan.grant(&strap(0), 0).is_err());
}

#[test]
fn a_strap_that_rests_leaves_its_place_to_who_waits_and_waits_itself_when_it_has_rested() {
    let mut air = Air::full_room(2, 1);
    air.end(0, 0, Ended::Blameless);
    assert_eq!(air.adapter_of(0), Some(0), "it is its own for a minute");
    let until_ms = air.now_ms + 60 * S;
    air.plan
        .rest(&strap(0), Air::route(0, 0), until_ms, air.now_ms);
    air.pass(0);
    air.link(1);
    assert_eq!(air.waiting(), [], "nobody gains by a link for it now");
    while air.now_ms < until_ms {
        air.pass(S);
        air.hear(0, 0, -60);
        air.beat(1, 0);
    }
    air.pass(0);
    assert_eq!(air.waiting(), [strap(0)]);
}

/// A small generator, so that a failure can be repeated by its seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// Whatever happens in whatever order: no adapter holds more places than its budget was when they
/// were given, no strap waits beside a free place, and no link that is up is taken away except by
/// a session, a wish or the strap itself.
#[test]
fn whatever_happens_the_budget_holds_and_no_link_is_taken_for_nothing() {
    for seed in 1..400 {
        let mut dice = Dice(seed);
        let (adapters, straps) = (1 + dice.throw(3), 2 + dice.throw(12));
        let max_links = 1 + dice.throw(4);
        let mut air = Air::new(adapters, max_links);
        let mut up: BTreeMap<usize, usize> = BTreeMap::new();
        let mut connecting: BTreeMap<usize, usize> = BTreeMap::new();
        for _ in 0..400 {
            let (i, a) = (dice.throw(straps), dice.throw(adapters));
            let mut may_take = false;
            match dice.throw(15) {
                0..=4 => air.hear(i, a, -40 - dice.throw(60) as i16),
                5 | 6 => {
                    if let Some(a) = air.adapter_of(i)
                        && !up.contains_key(&i)
                        && !connecting.contains_key(&i)
                        && air.plan.begin(&strap(i), Air::route(i, a), air.now_ms)
                    {
                        connecting.insert(i, a);
                    }
                }
                7 | 8 => {
                    if let Some(a) = connecting.remove(&i) {
                        if air.plan.up(&strap(i), Air::route(i, a), air.now_ms) {
                            up.insert(i, a);
                        } else {
                            air.plan
                                .ended(&strap(i), Air::route(i, a), Ended::Lost, air.now_ms);
                        }
                    }
                }
                9 => {
                    if let Some(a) = connecting.remove(&i) {
                        let how = [Ended::Failed, Ended::Full, Ended::Blameless][dice.throw(3)];
                        air.plan.ended(&strap(i), Air::route(i, a), how, air.now_ms);
                    } else if let Some(a) = up.remove(&i) {
                        air.plan
                            .ended(&strap(i), Air::route(i, a), Ended::Lost, air.now_ms);
                    }
                }
                10 => up.iter().for_each(|(i, a)| air.beat(*i, *a)),
                11 => {
                    let worn: Vec<_> = (0..straps)
                        .filter(|_| dice.throw(2) == 0)
                        .map(strap)
                        .collect();
                    air.plan.session_begins(&worn, air.now_ms);
                    may_take = true;
                }
                12 if dice.throw(4) == 0 => {
                    air.plan.release(&strap(i), air.now_ms);
                    may_take = true;
                }
                12 => air.plan.take_up(&strap(i)),
                13 if !up.contains_key(&i) && !connecting.contains_key(&i) => {
                    let until_ms = air.now_ms + 60 * S;
                    air.plan
                        .rest(&strap(i), Air::route(i, a), until_ms, air.now_ms);
                }
                13 => {}
                _ => {
                    for (i, a) in std::mem::take(&mut up) {
                        air.hear(i, a, -50);
                        up.insert(i, a);
                    }
                }
            }
            air.pass(dice.throw(4000) as i64);
            if may_take {
                let kept = |(i, a): &(usize, usize)| {
                    let stays = air.plan.grant(&strap(*i), Air::route(*i, *a)).is_ok();
                    if !stays {
                        air.plan
                            .ended(&strap(*i), Air::route(*i, *a), Ended::Lost, air.now_ms);
                    }
                    stays
                };
                up = std::mem::take(&mut up).into_iter().filter(kept).collect();
                air.plan.settle(air.now_ms);
            }
            for (i, a) in &up {
                let grant = air.plan.grant(&strap(*i), Air::route(*i, *a));
                assert_eq!(grant, Ok(()), "seed {seed}: strap {i} lost its link");
            }
            for adapter in 0..adapters {
                let held = air.plan.held(&format!("hci{adapter}"));
                assert!(held <= max_links, "seed {seed}: {held} of {max_links}");
            }
            for id in air.plan.queue(air.now_ms) {
                let hearing = air.plan.hearing(&id, air.now_ms);
                let room = hearing.iter().any(|name| air.plan.has_room(name));
                assert!(!room, "seed {seed}: {id} waits beside a free place");
            }
        }
    }
}
