//! Runs the sources of straps: each in a task of its own, forwarding to the room.
//!
//! A source recovers by itself and for ever (that is its contract), so there is nothing to restart
//! here; when the room has no time, the source waits. Not here: radios (`coherence_hal`).

use coherence_hal::{SourceEvent, StrapSource};
use tokio::sync::{mpsc, watch};

/// Forwards everything that `source` says, until it has nothing more to say, the room is gone or
/// `stop` says so; then lets the source close.
pub async fn run(
    mut source: impl StrapSource,
    room: mpsc::Sender<(&'static str, SourceEvent)>,
    mut stop: watch::Receiver<bool>,
) {
    let name = source.name();
    tokio::select! {
        () = forward(&mut source, name, room) => {}
        // The last values, not yet forwarded, are lost: the room has stopped as well.
        _ = stop.wait_for(|stop| *stop) => {}
    }
    source.close().await;
}

async fn forward(
    source: &mut impl StrapSource,
    name: &'static str,
    room: mpsc::Sender<(&'static str, SourceEvent)>,
) {
    while let Some(event) = source.next_event().await {
        if room.send((name, event)).await.is_err() {
            return;
        }
    }
    tracing::info!(source = name, "the source is at its end");
}
