//! Straps that stream: nothing is lost, nothing is invented, and who they are is told.

use super::*;

scenario! {
    async fn three_straps_stream_and_lose_no_interval(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "3 straps streaming", |ear| ear.all_delivered(3, 1)).await;
        ear.until(15, "6 intervals from each", |ear| ear.all_delivered(3, 6)).await;
        for i in 0..3 {
            ear.assert_nothing_lost(&fake, i);
            assert_eq!(ear.strap(i).batteries, [90]);
            assert!(ear.strap(i).downs().is_empty());
        }
        assert_eq!(ear.strap(0).names[0].as_deref(), Some("Polar H10 8C2F1A21"));
        assert_eq!(ear.codes(), ["listening"]);
    }
}

scenario! {
    async fn sixteen_straps_stream_and_connect_one_at_a_time(folder) {
        let fake = fake_in(&folder, 16).await;
        let mut ear = Ear::hearing();
        ear.until(40, "16 straps streaming", |ear| ear.all_delivered(16, 1)).await;
        ear.until(30, "8 intervals from each", |ear| ear.all_delivered(16, 8)).await;
        for i in 0..16 {
            ear.assert_nothing_lost(&fake, i);
        }
        assert_eq!(fake.most_connects_at_once(), 1);
    }
}

scenario! {
    async fn malformed_values_are_counted_and_bursts_arrive_whole(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.mute(0);
        let mut ear = Ear::hearing();
        ear.until(15, "linked", |ear| ear.straps.get(&id(0)).is_some_and(Heard::is_up)).await;
        assert!(fake.notify(0, &[]));
        assert!(fake.notify(0, &[0x01, 0x40]));
        for k in 0..10u8 {
            assert!(fake.notify(0, &[0x16, 60, k, 4]));
        }
        ear.until(3, "all of them", |ear| ear.strap(0).malformed == 2 && ear.strap(0).rr.len() == 10)
            .await;
        assert_eq!(ear.strap(0).rr[9], Rr::Ticks(0x409));
        assert!(ear.strap(0).downs().is_empty());
    }
}

scenario! {
    async fn a_slow_connect_does_not_stop_the_others(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.set_connect_time(1, Duration::from_secs(8));
        let mut ear = Ear::hearing();
        ear.until(30, "the slow one is up", |ear| {
            ear.straps.get(&id(1)).is_some_and(Heard::is_up)
        }).await;
        ear.until(10, "all streaming", |ear| ear.all_delivered(3, 2)).await;
        (0..3).for_each(|i| ear.assert_nothing_lost(&fake, i));
        assert_eq!(fake.most_connects_at_once(), 1);
    }
}

scenario! {
    async fn a_link_left_by_a_crash_is_ended_and_made_anew(folder) {
        let fake = fake_in(&folder, 1).await;
        fake.leave_link_behind(0);
        let mut ear = Ear::hearing();
        ear.until(20, "streaming", |ear| ear.all_delivered(1, 2)).await;
        assert_eq!(fake.connects(0).len(), 1);
    }
}

scenario! {
    async fn a_strap_says_once_per_link_who_made_it_and_where_it_is_worn(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.set_text(1, 0x2a29, b"\x1b[31mEvil\0\n Ltd\xff");
        fake.set_text(1, 0x2a24, &[b'x'; 400]);
        fake.set_text(1, 0x2a38, &[99]);
        let mut ear = Ear::hearing();
        ear.until(15, "both told", |ear| {
            (0..2).all(|i| ear.straps.get(&id(i)).is_some_and(|s| !s.abouts.is_empty()))
        }).await;
        let about = ear.strap(0).abouts[0].clone();
        assert_eq!(about.manufacturer.as_deref(), Some("Fake Straps Ltd"));
        assert_eq!(about.model.as_deref(), Some("Belt 1"));
        assert_eq!(about.serial.as_deref(), Some("SN000000"));
        assert_eq!(about.firmware.as_deref(), Some("1.2.3"));
        assert_eq!(about.location, Some("chest"));
        let bad = ear.strap(1).abouts[0].clone();
        assert_eq!(bad.manufacturer.as_deref(), Some("[31mEvil Ltd"));
        assert_eq!(bad.model.map(|model| model.len()), Some(64));
        assert_eq!(bad.location, None);
        ear.until(15, "beats beside it", |ear| ear.all_delivered(2, 5)).await;
        (0..2).for_each(|i| ear.assert_nothing_lost(&fake, i));
        assert_eq!(ear.strap(0).abouts.len(), 1);
    }
}
