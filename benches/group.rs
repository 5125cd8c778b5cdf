//! How long the whole room takes at a grid point, beside the scores: `cargo bench --bench group`.
//!
//! Here belongs what grows with the number of hearts: a rhythm of each, the group's index with its
//! chance, and all pairs. 200 people are 19,900 pairs.

#[path = "../tests/support/series.rs"]
mod series;

use std::hint::black_box;

use coherence_hub::signal::synchrony::{Phases, Synchrony, pairs};
use coherence_hub::signal::{Scorer, Version};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use series::{Heart, all_groups};

/// A moment at which all hearts of the groups have been heard for long enough, on their clock.
const AT_MS: f64 = 130_000.0;

fn rhythms(scorer: &mut Scorer, hearts: &[&Heart]) -> Vec<Phases> {
    hearts
        .iter()
        .filter_map(|heart| scorer.phases(&heart.intervals, heart.last_end_ms, AT_MS))
        .collect()
}

fn room(criterion: &mut Criterion) {
    let groups = all_groups();
    let mut scorer = Scorer::new(Version::CURRENT);
    for people in [8, 64, 200] {
        let all = groups.iter().flat_map(|group| &group.hearts);
        let hearts: Vec<&Heart> = all.cycle().take(people).collect();
        let together = rhythms(&mut scorer, &hearts);
        assert_eq!(together.len(), people);

        let mut group = criterion.benchmark_group("group");
        let id = |part: &str| BenchmarkId::new(part, people);
        group.bench_function(id("rhythms"), |bencher| {
            bencher.iter(|| rhythms(&mut scorer, black_box(&hearts)));
        });
        group.bench_function(id("index_and_chance"), |bencher| {
            bencher.iter(|| Synchrony::of(black_box(&together)));
        });
        group.bench_function(id("pairs"), |bencher| {
            bencher.iter(|| pairs(black_box(&together)));
        });
        group.bench_function(id("whole"), |bencher| {
            bencher.iter(|| {
                let together = rhythms(&mut scorer, black_box(&hearts));
                (Synchrony::of(&together), pairs(&together))
            });
        });
        group.finish();
    }
}

criterion_group!(group, room);
criterion_main!(group);
