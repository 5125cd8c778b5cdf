//! Runs the sources of straps: each in a task of its own, forwarding to the room.
//!
//! A source recovers by itself and for ever (that is its contract), so there is nothing to restart
//! here; when the room has no time, the source waits. Not here: radios (`coherence_hal`).

use coherence_hal::{SourceEvent, StrapSource};
use tokio::sync::mpsc;

/// Forwards everything that `source` says, until it has nothing more to say or the room is gone.
pub async fn run(mut source: impl StrapSource, room: mpsc::Sender<(&'static str, SourceEvent)>) {
    let name = source.name();
    while let Some(event) = source.next_event().await {
        if room.send((name, event)).await.is_err() {
            return;
        }
    }
    tracing::info!(source = name, "the source is at its end");
}
