//! Failures that real deployments report, one test or more for each; the number is the row of the table.

use super::*;

scenario! {
    async fn failure_03_a_link_that_comes_up_after_its_connect_failed_is_ended_and_made_anew(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.fail_then_link_late(0);
        let mut ear = Ear::hearing();
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 3)).await;
        assert_eq!(fake.connects(0).len(), 2);
        let ups = ear.strap(0).links.iter().filter(|(_, link)| *link == Link::Up);
        assert_eq!(ups.count(), 1, "no double session: {}", ear.report());
        ear.assert_nothing_lost(&fake, 0);
    }
}

scenario! {
    async fn failure_08_a_dropped_strap_is_down_at_once_and_comes_back_as_itself_while_others_lose_nothing(folder) {
        let fake = fake_in(&folder, 12).await;
        let mut ear = Ear::hearing();
        ear.until(40, "12 straps streaming", |ear| ear.all_delivered(12, 2)).await;
        fake.drop_link(4);
        let dropped = ear.began.elapsed();
        ear.until(8, "strap 4 is down", |ear| !ear.strap(4).downs().is_empty()).await;
        assert_eq!(ear.strap(4).downs()[0].1, "the link broke");
        let before = ear.strap(4).rr.len();
        ear.until(15, "strap 4 is back", |ear| ear.strap(4).rr.len() >= before + 3).await;
        println!("down after {:?}", ear.strap(4).downs()[0].0 - dropped);
        for i in 0..12 {
            ear.assert_nothing_lost(&fake, i);
            assert!(i == 4 || ear.strap(i).downs().is_empty(), "strap {i} was disturbed");
        }
        assert_eq!(ear.straps.len(), 12);
    }
}

scenario! {
    async fn failure_01_a_feed_that_halts_without_an_error_climbs_the_ladder_and_disturbs_no_other(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.plug(1);
        (0..2).for_each(|i| fake.set_rssi(i, 1, None));
        fake.set_rssi(2, 0, None);
        let mut ear = Ear::hearing();
        ear.until(20, "streaming", |ear| ear.all_delivered(3, 2)).await;
        let halted_at = ear.now();
        fake.halt(0);
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(60, "back", |ear| (0..2).all(|i| ear.strap(i).rr.len() >= before + 2)).await;
        let first = |rung: &str| {
            let step = ear.steps.iter().find(|(_, step)| step.rung == rung);
            step.unwrap_or_else(|| panic!("no {rung}: {}", ear.report())).0 - halted_at
        };
        let at = ["resubscribe", "reconnect", "restart_discovery", "power_cycle"].map(first);
        println!("{at:?}");
        // As stated: 12, 17, at most 60, at most 90 s; and what a busy machine adds.
        let limits = [20, 30, 80, 120].map(Duration::from_secs);
        assert!(at.is_sorted() && (0..4).all(|i| at[i] <= limits[i]), "{at:?}");
        assert_eq!((fake.power_cycles(0), fake.power_cycles(1)), (1, 0));
        assert!(ear.strap(2).downs().is_empty(), "the other adapter's strap was disturbed");
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn failure_02_a_scan_in_progress_for_ever_is_ended_by_a_power_cycle(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.stick_scan(0);
        let mut ear = Ear::hearing();
        ear.until(60, "streaming", |ear| ear.all_delivered(1, 2)).await;
        assert_eq!(fake.power_cycles(0), 1);
        assert!(ear.rungs().starts_with(&["restart_discovery", "power_cycle"]), "{:?}", ear.steps);
    }
}

scenario! {
    async fn failure_02_a_connect_in_progress_for_ever_is_ended_by_removing_the_device(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.stick(0);
        let mut ear = Ear::hearing();
        ear.until(40, "streaming", |ear| ear.all_delivered(2, 2)).await;
        assert_eq!(ear.rungs(), ["remove_device"]);
        assert_eq!(ear.steps[0].1.strap, Some(id(0)));
        assert_eq!(fake.removed(), [fake.address(0)]);
        assert_eq!(fake.power_cycles(0), 0);
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn failure_04_connects_of_25_s_come_one_after_the_other_and_the_others_flow_on(folder) {
        let fake = fake_in(&folder, 4).await;
        (0..2).for_each(|i| fake.vanish(i));
        (0..2).for_each(|i| fake.set_connect_time(i, Duration::from_secs(25)));
        let mut ear = Ear::hearing();
        ear.until(15, "two stream", |ear| ear.all_delivered(2, 2)).await;
        (0..2).for_each(|i| fake.come_back(i));
        ear.until(60, "all stream", |ear| ear.all_delivered(4, 2)).await;
        assert_eq!(fake.most_connects_at_once(), 1);
        (2..4).for_each(|i| assert!(ear.strap(i).downs().is_empty(), "strap {i} was disturbed"));
        (0..4).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn failure_05_a_chip_with_two_links_carries_two_and_shows_who_waits(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.set_slots(0, 2, true);
        let mut ear = Ear::with_links(5);
        ear.until(30, "one waits", |ear| ear.links.waiting.len() == 1).await;
        ear.until(10, "said", |ear| ear.text().ends_with("2 of 3 carried, 1 waiting: hci0 full.")).await;
        assert_eq!((ear.links.adapters[0].held, ear.links.adapters[0].limit), (2, 2));
        let waiting = (0..3).find(|i| ear.links.waiting == [id(*i)]).unwrap();
        let tried = fake.connects(waiting).len();
        ear.listen(Duration::from_secs(60)).await;
        assert_eq!(fake.connects(waiting).len(), tried, "the refusal was learned");
        for i in (0..3).filter(|i| *i != waiting) {
            assert!(ear.strap(i).downs().is_empty());
            ear.assert_nothing_lost(&fake, i);
        }
    }
}

scenario! {
    async fn failure_06_a_strap_that_leaves_again_and_again_comes_back_each_time_by_itself(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        for drops in 1..=4 {
            ear.listen(Duration::from_secs(15)).await;
            fake.drop_link(0);
            ear.until(8, "marked", |ear| ear.strap(0).downs().len() == drops).await;
            let before = ear.strap(0).rr.len();
            ear.until(10, "back", |ear| ear.strap(0).rr.len() > before).await;
        }
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
        assert!(ear.strap(1).downs().is_empty());
        assert_eq!(ear.rungs(), ["reconnect"; 4]);
    }
}

scenario! {
    async fn failure_07_a_strap_held_by_another_host_is_named_as_such(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.refuse_connect(0, Some("le-connection-refused"));
        fake.refuse_connect(1, Some("le-connection-abort-by-local"));
        let mut ear = Ear::hearing();
        let blamed = |ear: &Ear, i: usize| {
            let downs = ear.straps.get(&id(i)).map(Heard::downs).unwrap_or_default();
            downs.iter().any(|(_, why)| why.contains("another phone or watch holds it"))
        };
        ear.until(30, "named", |ear| blamed(ear, 0) && blamed(ear, 1)).await;
        ear.until(15, "the third streams", |ear| ear.strap(2).rr.len() >= 5).await;
        ear.assert_nothing_lost(&fake, 2);
        (0..2).for_each(|i| fake.refuse_connect(i, None));
        ear.until(30, "all stream", |ear| ear.all_delivered(3, 1)).await;
        assert_eq!(fake.power_cycles(0), 0);
    }
}

scenario! {
    async fn failure_09_a_strap_out_of_range_for_a_minute_joins_again(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.vanish_and_be_forgotten(0);
        ear.listen(Duration::from_secs(60)).await;
        assert_eq!(ear.strap(0).downs().len(), 1);
        fake.come_back(0);
        let before = ear.strap(0).rr.len();
        ear.until(15, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert!(ear.strap(1).downs().is_empty());
        (0..2).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn failure_15_a_strap_whose_address_changes_stays_itself_and_two_of_one_name_stay_two(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.change_address(0, "50:5F:B8:00:00:01");
        fake.set_name(1, "Polar H10");
        fake.set_name(2, "Polar H10");
        fake.change_address(1, "50:5F:B8:00:00:02");
        fake.change_address(2, "50:5F:B8:00:00:03");
        let named = StrapId::new("ble", "name:Polar H10 8C2F1A21");
        let mut ear = Ear::hearing();
        ear.until(20, "three stream", |ear| ear.all_delivered(3, 2)).await;
        assert!(ear.straps.contains_key(&named), "{}", ear.report());
        fake.drop_link(0);
        fake.change_address(0, "51:5F:B8:00:00:01");
        let before = ear.straps[&named].rr.len();
        ear.until(30, "back", |ear| ear.straps[&named].rr.len() >= before + 3).await;
        assert_eq!(ear.straps.len(), 3, "{}", ear.report());
    }
}
