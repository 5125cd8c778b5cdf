//! The hub stops: every strap is let go, and nothing of it is kept.

use super::*;

/// What `StrapSource::close` may take, and a little for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_millis(4500);

async fn close(ear: &mut Ear) {
    let began = Instant::now();
    ear.source.close().await;
    println!("closed in {:?}", began.elapsed());
    assert!(began.elapsed() < CLOSED_WITHIN, "{:?}", began.elapsed());
}

scenario! {
    async fn a_source_that_closes_lets_go_of_every_strap_and_ends_the_scan(folder) {
        let fake = fake_in(&folder, 8).await;
        fake.vanish(6);
        fake.vanish(7);
        (0..8).for_each(|i| fake.set_disconnect_time(i, 2 * SPEED * Duration::from_secs(1)));
        fake.set_connect_time(6, Duration::from_secs(15));
        let mut ear = Ear::hearing();
        ear.until(30, "6 straps streaming", |ear| ear.all_delivered(6, 1)).await;
        fake.come_back(6);
        ear.until(15, "another in mid-connect", |_| fake.connects(6).len() == 1).await;
        fake.come_back(7);
        close(&mut ear).await;
        let linked = || (0..8).filter(|&i| fake.is_linked(i)).collect::<Vec<_>>();
        assert_eq!(linked(), [0; 0]);
        assert!(!fake.is_scanning());
        // Nor is anybody's address left on BlueZ's disk.
        assert!((0..6).all(|i| !fake.is_known(i)));
        // Nothing comes back by itself, and nothing that was broken off panics.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(linked(), [0; 0]);
        assert!(!fake.is_scanning());
        assert_eq!(fake.connects(7).len(), 0);
    }
}

scenario! {
    async fn a_source_whose_hub_no_longer_listens_closes_all_the_same(folder) {
        let fake = fake_in(&folder, 3).await;
        let mut ear = Ear::hearing();
        ear.until(15, "3 straps streaming", |ear| ear.all_delivered(3, 1)).await;
        for i in 0..3 {
            fake.stream(i, Duration::from_millis(1) * SPEED, |k| vec![0x16, 60, k as u8, 4]);
        }
        // More than fits between source and hub, so that every task waits for the hub.
        let sent = || (0..3).map(|i| fake.sent(i).len()).sum::<usize>();
        while sent() < 2000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        close(&mut ear).await;
        assert!((0..3).all(|i| !fake.is_linked(i)));
        assert!(!fake.is_scanning());
    }
}

scenario! {
    async fn a_source_closes_in_time_without_bluetoothd_and_without_a_bus(folder) {
        let mut ear = Ear::hearing();
        ear.until(5, "no bus", |ear| ear.state() == "no_bus").await;
        close(&mut ear).await;
        let mut fake = fake_in(&folder, 2).await;
        for bus_dies in [false, true] {
            let mut ear = Ear::hearing();
            ear.until(20, "streaming", |ear| ear.all_delivered(2, 1)).await;
            if bus_dies {
                fake.kill_bus();
            } else {
                fake.stop();
            }
            close(&mut ear).await;
            if !bus_dies {
                fake.resume();
            }
        }
    }
}

scenario! {
    async fn a_source_that_was_never_heard_closes_at_once(folder) {
        let fake = fake_in(&folder, 1).await;
        let mut ear = Ear::hearing();
        close(&mut ear).await;
        assert!(!fake.is_scanning());
    }
}

scenario! {
    async fn a_strap_that_an_admin_has_paired_stays_paired(folder) {
        let fake = fake_in(&folder, 2).await;
        fake.set_paired(1);
        let mut ear = Ear::hearing();
        ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)).await;
        close(&mut ear).await;
        assert_eq!(fake.removed(), [fake.address(0)]);
        assert!(fake.is_known(1) && !fake.is_linked(1));
    }
}

/// Streams that are dropped outside a runtime would panic in btleplug.
#[test]
fn a_source_dropped_outside_its_runtime_panics_nothing() {
    let name = concat!(
        module_path!(),
        "::a_source_dropped_outside_its_runtime_panics_nothing"
    );
    in_own_process(name, |folder| async move {
        let fake = fake_in(&folder, 2).await;
        let ear = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let mut ear = Ear::hearing();
            runtime.block_on(ear.until(15, "streaming", |ear| ear.all_delivered(2, 1)));
            drop(runtime);
            ear
        });
        drop(ear.join().unwrap());
        assert_eq!(fake.connects(0).len(), 1);
    });
}
