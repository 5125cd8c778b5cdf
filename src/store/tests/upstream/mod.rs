//! The way upstream: what waits, what leaves, and what never may.

mod consent;
mod group;
mod limits;
mod minutes;
mod owed;

use std::sync::Arc;

use super::*;
use crate::record::{
    CoherenceSeries, FacilityKey, Message, Pseudonym, Pseudonymiser, Record, RrSeries, Stream,
    Study,
};
use crate::room::Suppression;
use crate::room::rows::{ConsentRow, GroupRow, RrRow, ScoreRow, Stamp, SynchronyRow};

/// In which the samples lie, ms: the first minute of the boot.
const MINUTE_MS: i64 = 60_000;

fn rules() -> Upstream {
    Upstream {
        pseudonyms: Pseudonymiser::new(&FacilityKey([9; 32]), "default"),
        study: Study::of("default").unwrap(),
        suppression: Suppression {
            min_group: 3,
            min_distribution: 5,
        },
        outbox_bytes_max: 256 << 20,
        outbox_age_max_ms: 30 * 86_400_000,
    }
}

fn pseudonym(n: u8) -> Pseudonym {
    rules().pseudonyms.pseudonym(person(n))
}

fn research(n: u8, granted: bool, mono_ms: i64) -> Row {
    Row::Consent(ConsentRow {
        participant: person(n),
        scope: "research".to_owned(),
        granted,
        text_version: "1".to_owned(),
        at: samples::at(mono_ms),
    })
}

/// The group with its counts.
fn group_of(mono_ms: i64, scored: u32, hearts: u32) -> Row {
    let Row::Group(row) = samples::group(SESSION, mono_ms, Some(51.234)) else {
        unreachable!("that is what it makes")
    };
    Row::Group(GroupRow {
        scored,
        hearts,
        suppressed: hearts < 3,
        synchrony: row.synchrony.map(|synchrony| SynchronyRow {
            hearts,
            ..synchrony
        }),
        ..row
    })
}

impl Bench {
    /// One step.
    fn step(&self, rules: &Upstream, now_ms: i64) -> Queued {
        self.step_at(rules, samples::at(now_ms)).unwrap()
    }

    fn step_at(&self, rules: &Upstream, now: Stamp) -> Result<Queued, StoreError> {
        let rules = Arc::new(rules.clone());
        self.runtime
            .block_on(self.store.queue_closed_minute(rules, now))
    }

    /// All closed minutes.
    fn queue_all(&self, now_ms: i64) {
        while self.step(&rules(), now_ms).more {}
    }

    fn leaving(&self) -> Vec<OutboxMessage> {
        let mut all: Vec<OutboxMessage> = Vec::new();
        loop {
            let after = all.last().map_or(0, |message| message.seq);
            let next = self
                .runtime
                .block_on(self.store.outbox_after(after, 64))
                .unwrap();
            if next.is_empty() {
                return all;
            }
            all.extend(next);
        }
    }

    fn messages(&self) -> Vec<Message> {
        self.leaving()
            .iter()
            .map(|message| Message::from_gzip(&message.body).unwrap())
            .collect()
    }

    /// The records that wait, without the events.
    fn records(&self) -> Vec<Record> {
        let records = self.messages().into_iter().map(|message| message.record);
        records
            .filter(|record| record.stream() != Stream::Event)
            .collect()
    }

    fn of_stream(&self, stream: Stream) -> Vec<Record> {
        let mut records = self.records();
        records.retain(|record| record.stream() == stream);
        records
    }

    fn rr_series(&self) -> Vec<RrSeries> {
        let series = |record| match record {
            Record::Rr(record) => record.series,
            _ => Vec::new(),
        };
        self.records().into_iter().flat_map(series).collect()
    }

    fn coherence_series(&self) -> Vec<CoherenceSeries> {
        let series = |record| match record {
            Record::Coherence(record) => record.series,
            _ => Vec::new(),
        };
        self.records().into_iter().flat_map(series).collect()
    }

    /// The personal series as they lie in the database, before anybody looks at consents again.
    fn series_on_disk(&self) -> String {
        let sql = "SELECT stream, body FROM outbox WHERE stream IN ('rr', 'coherence')";
        let bodies: Vec<(String, Vec<u8>)> = self
            .on_connection(move |conn| {
                read::collect(conn, sql, &[], |r| Ok((r.get(0)?, r.get(1)?)))
            })
            .unwrap();
        let shown = bodies.iter().map(|(word, body)| {
            let stream = Stream::of_word(word).unwrap();
            format!("{:?}", crate::record::unpack(stream, body).unwrap())
        });
        shown.collect()
    }

    fn state(&self) -> OutboxState {
        self.runtime.block_on(self.store.outbox_state()).unwrap()
    }

    fn acknowledge(&self, ack: crate::record::Ack) -> Acknowledged {
        let now = samples::at(900_000);
        self.runtime
            .block_on(self.store.outbox_acknowledged(ack, now))
            .unwrap()
    }
}

/// A beat each second of a strap, from … until, with ids from `id`.
fn beats(id: i64, strap: u32, from_ms: i64, until_ms: i64) -> Vec<Row> {
    (from_ms..until_ms)
        .step_by(1_000)
        .zip(id..)
        .map(|(mono_ms, id)| samples::rr(id, strap, mono_ms))
        .collect()
}

/// The beats' arrival by what is told of them: the samples' beats end 12.5 ms before.
fn arrivals(series: &RrSeries) -> Vec<i64> {
    let arrival = |end: i64| end - samples::OFFSET_MS + 12;
    series.ends().into_iter().map(arrival).collect()
}
