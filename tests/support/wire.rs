//! A line between a phone and the hub that is slow, or gone for a while, as a Wi-Fi is. It carries bytes and
//! knows nothing of what they say.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

/// A line to one address.
pub struct Wire {
    pub address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Wire {
    /// Every piece that passes is late by a time between `delay`'s ends, the same at each run.
    pub async fn to(hub: SocketAddr, delay: std::ops::Range<u64>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let whole = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&whole);
        tokio::spawn(async move {
            let mut seed = 1;
            while let Ok((phone, _)) = listener.accept().await {
                if !*state.borrow() {
                    continue; // dropped: nobody is there
                }
                seed += 1;
                let (mut cut, delay) = (state.subscribe(), delay.clone());
                tokio::spawn(async move {
                    let Ok(hub) = TcpStream::connect(hub).await else {
                        return;
                    };
                    let (phone_in, phone_out) = phone.into_split();
                    let (hub_in, hub_out) = hub.into_split();
                    tokio::select! {
                        () = carry(phone_in, hub_out, delay.clone(), seed) => {}
                        () = carry(hub_in, phone_out, delay, seed + 1000) => {}
                        _ = cut.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Wire { address, whole }
    }

    /// Breaks what is open and refuses what is new, until [`Wire::mend`].
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Carries in order, each piece with a delay of its own, like a queue in the air.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: std::ops::Range<u64>,
    mut seed: u64,
) {
    let (pieces, mut queue) = tokio::sync::mpsc::channel::<(Instant, Vec<u8>)>(64);
    let reading = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = delay.start + (seed >> 33) % (delay.end - delay.start).max(1);
            let due = Instant::now() + Duration::from_millis(late);
            if pieces.send((due, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = queue.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
