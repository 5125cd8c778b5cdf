//! A scorer that has seen a window of every size asks for no more memory, whatever comes: counted by
//! the allocator of this test binary.

#[path = "support/series.rs"]
mod series;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use coherence_hub::signal::{Interval, Scorer, Version};
use series::all_series;

thread_local! {
    /// Requests of this thread alone: the test harness has threads of its own.
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every request is handed to the system's allocator as it came.
#[allow(unsafe_code)] // an allocator can't be written without
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.set(REQUESTS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.set(REQUESTS.get() + 1);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests for memory while every window is scored once.
fn requests(scorer: &mut Scorer, windows: &[&[Interval]]) -> u64 {
    let before = REQUESTS.get();
    for window in windows {
        black_box(scorer.evaluate(window));
    }
    REQUESTS.get() - before
}

#[test]
fn a_score_asks_for_no_memory_once_its_scorer_has_met_the_longest_window() {
    let all = all_series();
    let whole = |rr_ms: f64| vec![Interval { rr_ms, gap_ms: 0.0 }; 1_000];
    // More beats than any heart has, and lengths that the cleaner wants to split and merge.
    let noise: Vec<Interval> = [400.0, 420.0, 1_650.0, 390.0, 95.0, 40.0, f64::NAN, 2_400.0]
        .into_iter()
        .cycle()
        .take(2_000)
        .map(|rr_ms| Interval { rr_ms, gap_ms: 0.0 })
        .collect();
    let (short, possible) = (whole(1.0), whole(300.0));
    let mut windows: Vec<&[Interval]> = vec![&[], &short, &possible, &noise];
    for series in &all {
        windows.extend(
            (0..series.intervals.len())
                .step_by(7)
                .map(|n| &series.intervals[..n]),
        );
    }

    for version in [Version::One, Version::Two] {
        let mut scorer = Scorer::new(version);
        assert!(requests(&mut scorer, &windows) > 0, "the counter counts");
        assert_eq!(
            requests(&mut scorer, &windows),
            0,
            "{version:?}, {} windows",
            windows.len()
        );
    }
}
