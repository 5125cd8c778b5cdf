//! How long scoring takes: `cargo bench --bench scoring`.
//!
//! Here belongs what the compute thread does at a grid point. Figures in ns differ from one machine
//! and one minute to the next: `benches/instructions` counts instead, `benches/against_python`
//! compares.

#[path = "../tests/support/series.rs"]
mod series;
#[path = "support/windows.rs"]
mod windows;

use std::hint::black_box;

use coherence_hub::signal::{Scorer, Version};
use criterion::{Criterion, criterion_group, criterion_main};

/// One person's full chain: buffer, cleaner, spline, spectrum, score, heart-rate variability.
fn one_person(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one_person");
    for (case, windows) in windows::cases() {
        let mut scorer = Scorer::new(Version::CURRENT);
        let mut next = windows.iter().cycle();
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                let window = next.next().expect("a cycle has no end");
                scorer.evaluate(black_box(window))
            });
        });
    }
    group.finish();
}

criterion_group!(scoring, one_person);
criterion_main!(scoring);
