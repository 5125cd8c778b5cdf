//! Runs the sources of straps: each in a task of its own, forwarding to the room.
//!
//! A source recovers by itself and for ever (that is its contract), so there is nothing to restart
//! here; when the room has no time, the source waits. Wishes go the other way. Not here: radios
//! (`coherence_hal`).

use coherence_hal::{SourceEvent, StrapSource, Wish};
use tokio::sync::{mpsc, watch};

/// The two ends of a source: where it speaks, and what it is told.
pub struct Line {
    pub room: mpsc::Sender<(&'static str, SourceEvent)>,
    pub wishes: mpsc::UnboundedReceiver<Wish>,
}

/// Forwards everything that `source` says, until it has nothing more to say, the room is gone or
/// `stop` says so; then lets the source close.
pub async fn run(mut source: impl StrapSource, line: Line, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = forward(&mut source, line) => {}
        // The last values, not yet forwarded, are lost: the room has stopped as well.
        _ = stop.wait_for(|stop| *stop) => {}
    }
    source.close().await;
}

async fn forward(source: &mut impl StrapSource, mut line: Line) {
    let name = source.name();
    loop {
        // next_event is cancel-safe: nothing is lost when a wish comes first.
        tokio::select! {
            event = source.next_event() => match event {
                Some(event) => {
                    if line.room.send((name, event)).await.is_err() {
                        return;
                    }
                }
                None => {
                    tracing::info!(source = name, "the source is at its end");
                    return;
                }
            },
            Some(wish) = line.wishes.recv() => source.wish(&wish),
        }
    }
}
