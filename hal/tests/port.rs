//! The serial port on real pseudo-terminals: opened, read, written, taken, pulled out and put back.

#![cfg(feature = "serial")]

#[path = "support/pty.rs"]
mod pty;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use coherence_hal::SourceClock;
use coherence_hal::port::{Port, PortNews};
use pty::Device;
use tokio::time::timeout;

/// So much faster than the world do the ports of these tests live.
const SPEED: u32 = 20;
const DEADLINE: Duration = Duration::from_secs(30);

/// A fast clock, and how often it was looked at.
fn clock() -> (Arc<AtomicUsize>, SourceClock) {
    let looks = Arc::new(AtomicUsize::new(0));
    let counted = looks.clone();
    let began = Instant::now();
    let clock = SourceClock::new(
        move || {
            counted.fetch_add(1, Ordering::SeqCst);
            (began.elapsed() * SPEED).as_millis() as i64
        },
        move |at_ms| {
            let until = began + Duration::from_millis(at_ms.max(0) as u64) / SPEED;
            // The clock counts whole milliseconds.
            let until = until + Duration::from_micros(100);
            Box::pin(tokio::time::sleep_until(until.into()))
        },
    );
    (looks, clock)
}

fn port(path: &str) -> Port {
    Port::new(path, 115_200, clock().1)
}

async fn next(port: &mut Port) -> PortNews {
    timeout(DEADLINE, port.next()).await.expect("there is news")
}

/// Whether a port has nothing to say for so long, by its own clock.
async fn quiet_for(port: &mut Port, time: Duration) -> bool {
    timeout(time / SPEED, port.next()).await.is_err()
}

async fn opened(port: &mut Port) {
    let news = next(port).await;
    assert!(matches!(news, PortNews::Opened { .. }), "{news:?}");
}

async fn shut(port: &mut Port) -> &'static str {
    match next(port).await {
        PortNews::Shut { trouble, .. } => trouble.code,
        other => panic!("{other:?}"),
    }
}

/// Reads until `length` bytes have come.
async fn bytes(port: &mut Port, length: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < length {
        match next(port).await {
            PortNews::Bytes { bytes, .. } => all.extend(bytes),
            other => panic!("{other:?} after {} bytes", all.len()),
        }
    }
    all
}

#[tokio::test]
async fn every_byte_comes_unchanged_and_in_order_at_any_speed() {
    let every: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    for baud in [9_600, 74_880, 115_200, 250_000] {
        let mut device = Device::new();
        let mut port = Port::new(device.path(), baud, clock().1);
        opened(&mut port).await;
        device.send(&every).await;
        assert_eq!(bytes(&mut port, every.len()).await, every, "{baud}");
        assert!(port.write(&every[..500]).await);
        let mut back = Vec::new();
        while back.len() < 500 {
            back.extend(device.receive().await);
        }
        assert_eq!(back, every[..500], "{baud}");
    }
}

#[tokio::test]
async fn bytes_carry_the_time_at_which_they_were_read() {
    let (_, clock) = clock();
    let mut device = Device::new();
    let mut port = Port::new(device.path(), 115_200, clock.clone());
    opened(&mut port).await;
    let before_ms = clock.now_ms();
    device.send(b"x").await;
    match next(&mut port).await {
        PortNews::Bytes { at_ms, .. } => {
            assert!((before_ms..=clock.now_ms()).contains(&at_ms));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_lost_nothing() {
    let mut device = Device::new();
    let mut port = port(device.path());
    opened(&mut port).await;
    let mut heard = Vec::new();
    for k in 0..50_u8 {
        tokio::select! {
            biased;
            news = port.next() => match news {
                PortNews::Bytes { bytes, .. } => heard.extend(bytes),
                other => panic!("{other:?}"),
            },
            () = device.send([k]) => {}
        }
    }
    assert!(heard.len() < 50, "no call was ever dropped");
    device.send(b"end").await;
    while !heard.ends_with(b"end") {
        heard.extend(bytes(&mut port, 1).await);
    }
    // A send that lost the race was not begun; what was sent came once and in order.
    let counted = &heard[..heard.len() - 3];
    assert!(counted.len() > 10, "{heard:?}");
    assert!(
        counted.windows(2).all(|pair| pair[0] < pair[1]),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_once_and_opened_when_it_is_free() {
    let mut device = Device::new();
    let mut first = port(device.path());
    opened(&mut first).await;
    let mut second = port(device.path());
    assert_eq!(shut(&mut second).await, "port_in_use");
    assert!(quiet_for(&mut second, Duration::from_secs(12)).await);
    drop(first);
    opened(&mut second).await;
    device.send(b"hello").await;
    assert_eq!(bytes(&mut second, 5).await, b"hello");
}

#[tokio::test]
async fn a_file_is_no_port() {
    let mut port = port(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    assert_eq!(shut(&mut port).await, "not_a_port");
}

#[tokio::test]
async fn a_device_that_is_pulled_out_is_told_once_costs_nothing_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("sensor");
    let (looks, clock) = clock();
    let mut port = Port::new(link.to_str().unwrap(), 115_200, clock);
    assert_eq!(shut(&mut port).await, "no_port");
    for round in 0..3_u8 {
        let mut device = Device::plugged_in_at(&link);
        opened(&mut port).await;
        device.send([round]).await;
        assert_eq!(bytes(&mut port, 1).await, [round]);
        drop(device);
        assert_eq!(shut(&mut port).await, "port_gone");
        assert!(!port.is_open());
        let looked = looks.load(Ordering::SeqCst);
        assert!(quiet_for(&mut port, Duration::from_secs(20)).await);
        // Some looks for each of a dozen tries, instead of half a million.
        assert!(looks.load(Ordering::SeqCst) - looked < 200);
    }
}

#[tokio::test]
async fn writing_to_a_device_that_takes_nothing_ends_and_shuts_the_port() {
    let device = Device::new();
    let mut port = port(device.path());
    opened(&mut port).await;
    let whole = timeout(DEADLINE, port.write(&[0x55; 1_000_000])).await;
    assert_eq!(whole, Ok(false), "there is a bound");
    assert_eq!(shut(&mut port).await, "port_failed");
    assert!(!port.write(b"x").await);
}

#[tokio::test]
async fn writing_to_a_device_that_was_pulled_out_fails_and_is_told() {
    let device = Device::new();
    let mut port = port(device.path());
    opened(&mut port).await;
    drop(device);
    assert!(!port.write(b"x").await);
    assert_eq!(shut(&mut port).await, "port_gone");
}

#[tokio::test]
async fn a_port_that_is_opened_anew_by_wish_is_not_told_as_trouble() {
    let mut device = Device::new();
    let mut port = port(device.path());
    opened(&mut port).await;
    port.reopen();
    assert!(!port.is_open());
    opened(&mut port).await;
    device.send(b"again").await;
    assert_eq!(bytes(&mut port, 5).await, b"again");
}
