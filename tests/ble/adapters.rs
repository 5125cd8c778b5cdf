//! Budgets of links, and several adapters.

use super::*;

scenario! {
    async fn a_strap_beyond_the_link_budget_is_told_once_and_served_when_a_place_is_free(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::with_links(2);
        let full = "it waits for a link: every adapter that hears it is full";
        let told = |ear: &Ear| ear.straps.values().flat_map(Heard::downs).filter(|d| d.1 == full).count();
        ear.until(15, "one is told, two stream", |ear| {
            told(ear) == 1 && ear.straps.values().filter(|s| s.rr.len() >= 3).count() == 2
        }).await;
        let queued = (0..3).find(|&i| !ear.strap(i).is_up()).unwrap();
        fake.vanish((queued + 1) % 3);
        ear.until(80, "the queued one is served", |ear| ear.strap(queued).rr.len() >= 2).await;
        assert_eq!(told(&ear), 1);
    }
}

scenario! {
    async fn an_adapter_that_is_not_there_is_named(folder) {
        let _fake = fake_in(&folder, 1).await;
        let mut ear = Ear::new(BleOptions { adapters: vec!["hci7".into()], max_links: 16 });
        ear.until(5, "no adapter", |ear| ear.state() == "no_adapter").await;
        assert!(ear.states[0].1.text.contains("hci7"));
    }
}

scenario! {
    async fn a_strap_heard_by_two_adapters_is_one_strap_linked_by_the_one_that_hears_it_best(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.plug(1);
        fake.set_rssi(0, 0, Some(-85));
        fake.set_rssi(0, 1, Some(-50));
        fake.set_rssi(1, 1, Some(-90));
        let mut ear = Ear::hearing();
        ear.until(20, "both streaming", |ear| ear.all_delivered(2, 4)).await;
        assert_eq!((fake.linked_by(0), fake.linked_by(1)), (Some(1), Some(0)));
        assert_eq!(ear.straps.len(), 2);
        assert_eq!(ear.text(), "Listening for straps on hci0 and hci1.");
        (0..2).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn an_adapter_plugged_in_later_carries_who_waited_and_its_loss_disturbs_nobody_else(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::with_links(2);
        ear.until(20, "one waits", |ear| ear.text().ends_with("2 of 3 carried, 1 waiting: hci0 full.")).await;
        assert_eq!(ear.links.waiting.len(), 1);
        fake.plug(1);
        ear.until(20, "all stream", |ear| ear.all_delivered(3, 2)).await;
        assert!(ear.links.waiting.is_empty());
        let moved = (0..3).find(|i| fake.linked_by(*i) == Some(1)).unwrap();
        fake.unplug(1);
        ear.until(20, "it is down", |ear| !ear.is_up(moved)).await;
        ear.until(20, "one waits again", |ear| ear.links.waiting == [id(moved)]).await;
        for i in (0..3).filter(|i| *i != moved) {
            assert!(ear.strap(i).downs().is_empty(), "strap {i} was disturbed");
            ear.assert_nothing_lost(&fake, i);
        }
    }
}

scenario! {
    async fn only_the_adapters_asked_for_are_used_by_name_or_address(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.plug(1);
        fake.plug(2);
        let adapters = vec!["hci1".into(), "00:1b:dc:00:00:03".into()];
        let mut ear = Ear::new(BleOptions { adapters, max_links: 5 });
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 1)).await;
        ear.until(20, "both listen", |ear| ear.text() == "Listening for straps on hci1 and hci2.").await;
        assert!(fake.linked_by(0) != Some(0) && !fake.is_scanning());
    }
}
