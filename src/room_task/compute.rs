//! From windows to scores: the thread that computes them, and the past events of a demo, scored before anybody
//! looks. When a grid point is due is the task's business.

use coherence_hal::SourceEvent;
use tokio::sync::mpsc;

use super::told;
use crate::room::{GridJob, GridResult, Note, Room};
use crate::signal::{Scorer, Version};
use crate::telemetry::tally;

/// Feeds past events to the room and scores its last grid point, so that figures are there at once.
pub(super) fn relive(room: &mut Room, past: Vec<(&'static str, SourceEvent)>, now_ms: i64) {
    if past.is_empty() {
        return;
    }
    let grid = room.last_grid(now_ms);
    let at = |event: &SourceEvent| match event {
        SourceEvent::Strap(event) => event.at_ms,
        SourceEvent::State(_)
        | SourceEvent::Step(_)
        | SourceEvent::Counted { .. }
        | SourceEvent::Links(_) => i64::MIN,
    };
    let mut past = past.into_iter().peekable();
    if let Some(grid_ms) = grid {
        while let Some((name, event)) = past.next_if(|(_, event)| at(event) <= grid_ms) {
            room.source_event(name, event);
        }
        room.tick(grid_ms);
        let job = room.grid_job(grid_ms);
        room.finish_grid(job.compute(&mut Scorer::new(Version::CURRENT)));
    }
    for (name, event) in past {
        room.source_event(name, event);
    }
    room.tick(now_ms);
    room.straps_are_no_news(now_ms);
    // That straps were met and beat is no news when it happened before the hub was there.
    room.take_notes()
        .into_iter()
        .filter(|note| !matches!(note, Note::StrapNew { .. } | Note::StrapStreaming { .. }))
        .for_each(told::log);
}

/// One thread scores all windows, so that neither phones nor straps wait for arithmetic.
pub(super) fn compute_thread() -> (mpsc::Sender<GridJob>, mpsc::Receiver<GridResult>) {
    let (jobs_in, mut jobs) = mpsc::channel::<GridJob>(2);
    let (results_in, results) = mpsc::channel(2);
    std::thread::Builder::new()
        .name("compute".into())
        .spawn(move || {
            let mut scorer = Scorer::new(Version::CURRENT);
            while let Some(job) = jobs.blocking_recv() {
                let begin = std::time::Instant::now();
                let result = job.compute(&mut scorer);
                tally::computed(begin.elapsed());
                if results_in.blocking_send(result).is_err() {
                    break;
                }
            }
        })
        .expect("a thread can be started at the start of the process");
    (jobs_in, results)
}
