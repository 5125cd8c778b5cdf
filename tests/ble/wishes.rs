//! What the hub wants of the source: links passed on at a session, released, taken up, forgotten.

use coherence_hal::Wish;

use super::*;

scenario! {
    async fn a_session_gives_the_links_to_the_straps_that_are_worn(folder) {
        let fake = fake_in(&folder, 3).await;
        fake.vanish(2);
        let mut ear = Ear::with_links(2);
        ear.until(15, "two stream", |ear| ear.all_delivered(2, 2)).await;
        fake.come_back(2);
        ear.until(15, "one waits", |ear| ear.links.waiting == [id(2)]).await;
        ear.listen(Duration::from_secs(30)).await;
        assert!((0..2).all(|i| ear.strap(i).downs().is_empty()), "never without a session");
        ear.source.wish(&Wish::SessionBegins { wanted: vec![id(2), id(0)] });
        ear.until(20, "the worn ones stream", |ear| {
            ear.straps.get(&id(2)).is_some_and(|s| s.rr.len() >= 2)
        }).await;
        assert!(ear.strap(0).downs().is_empty());
        assert_eq!(ear.strap(1).downs()[0].1, "its link goes to a strap that is worn");
        ear.assert_nothing_lost(&fake, 0);
    }
}

scenario! {
    async fn a_released_strap_is_let_go_until_it_is_taken_up(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 2)).await;
        ear.source.wish(&Wish::Release(id(0)));
        ear.until(10, "let go", |_| !fake.is_linked(0)).await;
        ear.listen(Duration::from_secs(60)).await;
        assert_eq!(fake.connects(0).len(), 1);
        assert_eq!(ear.strap(0).downs()[0].1, "another radio hears this heart");
        ear.source.wish(&Wish::TakeUp(id(0)));
        let before = ear.strap(0).rr.len();
        ear.until(15, "back", |ear| ear.strap(0).rr.len() >= before + 2).await;
        assert!(ear.strap(1).downs().is_empty());
        ear.assert_nothing_lost(&fake, 1);
    }
}

scenario! {
    async fn a_forgotten_strap_is_removed_from_bluez_also_when_it_is_not_in_the_air(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(3, 1)).await;
        fake.vanish(0);
        fake.vanish(1);
        ear.until(10, "down", |ear| !ear.is_up(0) && !ear.is_up(1)).await;
        assert!(fake.is_known(0) && fake.is_known(1));
        ear.source.wish(&Wish::Forget(id(1)));
        ear.until(10, "removed", |_| !fake.is_known(1)).await;
        assert_eq!(fake.removed()[0], fake.address(1));
        assert!(fake.is_known(0) && fake.is_known(2));
        ear.assert_nothing_lost(&fake, 2);
    }
}

scenario! {
    async fn what_is_forgotten_while_bluetoothd_is_away_is_removed_when_it_is_back(folder) {
        let fake = fake_in(&folder, 2).await;
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        fake.vanish(0);
        ear.until(10, "down", |ear| !ear.is_up(0)).await;
        fake.stop();
        ear.until(30, "said", |ear| ear.codes().last() == Some(&"no_bluetoothd")).await;
        ear.source.wish(&Wish::Forget(id(0)));
        ear.listen(Duration::from_secs(15)).await; // it is tried in vain
        assert!(fake.is_known(0), "it is on the disk");
        fake.resume();
        ear.until(30, "removed", |_| !fake.is_known(0)).await;
        assert_eq!(fake.removed(), [fake.address(0)]);
        ear.until(15, "the other streams", |ear| ear.is_up(1)).await;
    }
}
