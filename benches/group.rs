//! How long the whole room takes at a grid point: `cargo bench --bench group`.
//!
//! Here belongs what grows with the number of hearts: a score of each, its rhythm (of the beats that
//! were cleaned for the score), the group's index with its chance, and all pairs. 200 people are
//! 19,900 pairs.

#[path = "../tests/support/series.rs"]
mod series;

use std::hint::black_box;

use coherence_hub::signal::synchrony::{Phases, Synchrony, pairs};
use coherence_hub::signal::{Interval, Scorer, Version};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use series::{Heart, all_groups};

/// A moment at which all hearts of the groups have been heard for long enough, on their clock.
const AT_MS: f64 = 130_000.0;

/// What the room holds of a heart at that moment.
struct Window {
    intervals: Vec<Interval>,
    end_ms: f64,
}

impl Window {
    fn of(heart: &Heart) -> Self {
        let mut window = Window {
            intervals: heart.intervals.clone(),
            end_ms: heart.last_end_ms,
        };
        while window.end_ms > AT_MS
            && let Some(last) = window.intervals.pop()
        {
            window.end_ms -= last.rr_ms;
        }
        window
    }
}

fn scores(scorer: &mut Scorer, windows: &[&Window]) {
    for window in windows {
        black_box(scorer.evaluate(&window.intervals));
    }
}

fn scores_and_rhythms(scorer: &mut Scorer, windows: &[&Window]) -> Vec<Phases> {
    windows
        .iter()
        .filter_map(|window| {
            black_box(scorer.evaluate(&window.intervals));
            scorer.phases(&window.intervals, window.end_ms, AT_MS)
        })
        .collect()
}

fn room(criterion: &mut Criterion) {
    let groups = all_groups();
    let hearts = groups.iter().flat_map(|group| &group.hearts);
    let windows: Vec<Window> = hearts.map(Window::of).collect();
    let mut scorer = Scorer::new(Version::CURRENT);
    for people in [8, 64, 200] {
        let windows: Vec<&Window> = windows.iter().cycle().take(people).collect();
        let rhythms = scores_and_rhythms(&mut scorer, &windows);
        assert_eq!(rhythms.len(), people);

        let mut group = criterion.benchmark_group("group");
        let id = |part: &str| BenchmarkId::new(part, people);
        group.bench_function(id("scores"), |bencher| {
            bencher.iter(|| scores(&mut scorer, black_box(&windows)));
        });
        group.bench_function(id("scores_and_rhythms"), |bencher| {
            bencher.iter(|| scores_and_rhythms(&mut scorer, black_box(&windows)));
        });
        group.bench_function(id("index_and_chance"), |bencher| {
            bencher.iter(|| Synchrony::of(black_box(&rhythms)));
        });
        group.bench_function(id("pairs"), |bencher| {
            bencher.iter(|| pairs(black_box(&rhythms)));
        });
        group.bench_function(id("grid_point"), |bencher| {
            bencher.iter(|| {
                let rhythms = scores_and_rhythms(&mut scorer, black_box(&windows));
                (Synchrony::of(&rhythms), pairs(&rhythms))
            });
        });
        group.finish();
    }
}

criterion_group!(group, room);
criterion_main!(group);
