//! Bus, bluetoothd, adapter or link go away, and come back.

use super::*;

scenario! {
    async fn a_drop_that_bluez_does_not_announce_is_noticed_within_8_s(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "2 straps streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.drop_link_silently(0);
        ear.until(8, "strap 0 is down", |ear| !ear.strap(0).downs().is_empty()).await;
        let before = ear.strap(0).rr.len();
        ear.until(15, "strap 0 is back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn a_linked_but_silent_strap_is_down_and_a_new_subscription_wakes_it(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(1, 2)).await;
        fake.mute_until_subscribed(0);
        ear.until(14, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        assert_eq!(ear.strap(0).downs()[0].1, "no data for 12 s");
        let before = ear.strap(0).rr.len();
        ear.until(5, "speaking again", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert!(ear.strap(0).is_up());
        assert_eq!(fake.connects(0).len(), 1, "the link itself was kept");
    }
}

scenario! {
    async fn a_strap_that_stays_silent_is_connected_anew(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.mute(0);
        ear.until(30, "connected anew", |_| fake.connects(0).len() == 2).await;
        assert_eq!(ear.strap(0).downs().len(), 1);
        fake.unmute(0);
        let before = ear.strap(0).rr.len();
        ear.until(15, "speaking again", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn an_adapter_that_is_unplugged_and_back_brings_its_straps_back(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 2)).await;
        fake.remove_adapter();
        ear.until(8, "no adapter", |ear| ear.state() == "no_adapter").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        // BlueZ says of each link that it ended before it says that the adapter did.
        let named = |why: &str| ["the link broke", "adapter gone"].contains(&why);
        assert!(ear.straps.values().all(|s| named(s.downs()[0].1)), "{}", ear.report());
        assert_eq!(ear.codes(), ["listening", "no_adapter"]);
        fake.add_adapter();
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(20, "all back", |ear| ear.all_delivered(3, before + 2)).await;
        assert_eq!(ear.state(), "listening");
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn an_adapter_blocked_by_rfkill_is_said_and_recovers_when_released(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(1, 1)).await;
        fake.block_adapter(true);
        ear.until(5, "adapter off", |ear| ear.state() == "adapter_off").await;
        ear.until(8, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        fake.block_adapter(false);
        let before = ear.strap(0).rr.len();
        ear.until(15, "streaming again", |ear| ear.strap(0).rr.len() > before).await;
        assert_eq!(ear.codes(), ["listening", "adapter_off", "listening"]);
    }
}

scenario! {
    async fn bluetoothd_that_dies_and_returns_is_recovered_from(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 2)).await;
        fake.stop();
        ear.until(8, "recovering", |ear| ear.state() == "recovering").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        ear.until(15, "no bluetoothd", |ear| ear.state() == "no_bluetoothd").await;
        fake.resume();
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(20, "all back", |ear| ear.all_delivered(3, before + 2)).await;
        assert_eq!(ear.codes(), ["listening", "recovering", "no_bluetoothd", "listening"]);
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}

scenario! {
    async fn bluetoothd_that_dies_in_mid_connect_is_recovered_from(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.vanish(1);
        fake.set_connect_time(1, Duration::from_secs(20));
        let mut ear = Ear::hearing();
        ear.until(15, "0 streaming", |ear| ear.all_delivered(1, 1)).await;
        fake.come_back(1);
        ear.until(15, "1 in mid-connect", |_| fake.connects(1).len() == 1).await;
        fake.stop();
        ear.until(8, "recovering", |ear| ear.state() == "recovering").await;
        fake.set_connect_time(1, Duration::from_millis(100));
        fake.resume();
        ear.until(20, "both streaming", |ear| ear.all_delivered(2, 3)).await;
    }
}

scenario! {
    async fn the_bus_itself_dies_and_returns(folder) {
        let mut fake = fake_in(&folder, 3).await;
        fake.vanish(2);
        fake.set_discovery_time(2, Duration::from_secs(20));
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        fake.come_back(2);
        ear.until(15, "another is being linked", |_| fake.is_linked(2)).await;
        let killed_at = Instant::now();
        fake.kill_bus();
        ear.until(5, "recovering", |ear| ear.state() == "recovering").await;
        ear.until(8, "all down", |ear| ear.straps.values().all(|s| !s.downs().is_empty())).await;
        assert_eq!(ear.strap(0).downs()[0].1, "the D-Bus system bus is gone");
        ear.until(15, "no bus", |ear| ear.state() == "no_bus").await;
        fake.revive_bus(2);
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(25, "all back", |ear| {
            (0..2).all(|i| ear.strap(i).rr.len() > before)
        }).await;
        assert_eq!(ear.state(), "listening");
        // What was left undone on the dead bus is given up by now, and may then panic.
        ear.until(20, "nothing panicked", |_| killed_at.elapsed() > Duration::from_secs(6)).await;
    }
}

scenario! {
    async fn without_a_bus_the_source_says_so_and_waits_for_one(folder) {
        let mut ear = Ear::hearing();
        ear.until(5, "no bus", |ear| ear.state() == "no_bus").await;
        assert!(ear.states[0].1.text.contains("dbus"), "{}", ear.states[0].1.text);
        let bus = PrivateBus::start_in(&folder);
        ear.until(10, "no bluetoothd", |ear| ear.state() == "no_bluetoothd").await;
        let _fake = FakeBluez::start_on(bus, 1).await;
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 1)).await;
        assert_eq!(ear.codes(), ["no_bus", "no_bluetoothd", "listening"]);
    }
}

scenario! {
    async fn refused_connects_back_off_and_succeed_later(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.refuse_connect(0, Some("le-connection-abort-by-local"));
        let mut ear = Ear::hearing();
        ear.until(30, "4 refused connects", |_| fake.connects(0).len() == 4).await;
        let at = fake.connects(0);
        let pauses: Vec<Duration> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] >= Duration::from_millis(500) / SPEED, "{pauses:?}");
        assert!(pauses[1] >= Duration::from_secs(1) / SPEED, "{pauses:?}");
        assert!(pauses[2] >= Duration::from_secs(2) / SPEED, "{pauses:?}");
        assert!(ear.strap(0).downs()[0].1.contains("watch or phone"), "{:?}", ear.strap(0).downs());
        fake.refuse_connect(0, None);
        ear.until(15, "both streaming", |ear| ear.all_delivered(2, 1)).await;
        assert!(ear.strap(1).downs().is_empty());
    }
}

scenario! {
    async fn a_strap_forgotten_by_bluez_returns_under_the_same_id(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.vanish_and_be_forgotten(0);
        ear.until(8, "down", |ear| !ear.strap(0).downs().is_empty()).await;
        let others = ear.strap(1).rr.len();
        ear.until(30, "the other goes on", |ear| ear.strap(1).rr.len() >= others + 5).await;
        assert_eq!(fake.connects(0).len(), 1, "nobody is connected to who is not in the air");
        fake.come_back(0);
        let before = ear.strap(0).rr.len();
        ear.until(15, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert_eq!(ear.straps.len(), 2);
        ear.assert_nothing_lost(&fake, 0);
        ear.assert_nothing_lost(&fake, 1);
    }
}

scenario! {
    async fn a_scan_that_goes_silent_without_an_error_is_started_again(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        fake.deafen();
        fake.drop_link(0);
        let before = ear.strap(0).rr.len();
        ear.until(75, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        ear.assert_nothing_lost(&fake, 1);
        assert_eq!(ear.codes(), ["listening"]);
        assert!(ear.rungs().contains(&"restart_discovery"), "{:?}", ear.steps);
        assert_eq!(fake.power_cycles(0), 0, "somebody delivered");
    }
}

scenario! {
    async fn bluetoothd_that_is_killed_and_whose_scan_goes_on_in_the_kernel_is_recovered_from(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.connect_in_scan_windows();
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        fake.kill();
        ear.until(8, "recovering", |ear| ear.state() == "recovering").await;
        fake.resume();
        let before: usize = ear.straps.values().map(|s| s.rr.len()).max().unwrap();
        ear.until(20, "all back", |ear| ear.all_delivered(2, before + 2)).await;
        assert_eq!(fake.power_cycles(0), 0);
    }
}

scenario! {
    async fn a_strap_on_which_every_call_hangs_disturbs_nobody(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 2)).await;
        fake.drop_link(0);
        fake.hang(0, true);
        ear.listen(Duration::from_secs(40)).await;
        (1..3).for_each(|i| assert!(ear.strap(i).downs().is_empty(), "strap {i} was disturbed"));
        fake.hang(0, false);
        let before = ear.strap(0).rr.len();
        ear.until(30, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        (1..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
    }
}
