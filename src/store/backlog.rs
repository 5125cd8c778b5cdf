//! Rows that wait for the disk, or for room in the inbox: in order, bounded, each batch as it was handed in. PURE: no SQL, no
//! logging; what is lost is returned as a count.

use std::collections::VecDeque;

use crate::room::rows::Row;

/// As many rows are held while the disk takes none: at ten straps some four hours, below 100 MB.
pub(super) const HELD_ROWS_MAX: usize = 200_000;

/// Batches in the order in which they came; each is one transaction.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    batches: VecDeque<Vec<Row>>,
    rows: usize,
}

impl Backlog {
    /// Appends a batch; returns how many of the oldest rows had to go for it to fit into `rows_max`.
    pub fn push(&mut self, batch: Vec<Row>, rows_max: usize) -> usize {
        if batch.is_empty() {
            return 0;
        }
        self.rows += batch.len();
        self.batches.push_back(batch);
        let mut excess = self.rows.saturating_sub(rows_max);
        let lost = excess;
        // R-R is the bulk and the least missed; what people did and the group's figures go last.
        for is_expendable in [
            (|row| matches!(row, Row::Rr(_))) as fn(&Row) -> bool,
            |row| matches!(row, Row::Score(_) | Row::Pair(_)),
            |_| true,
        ] {
            if excess == 0 {
                break;
            }
            self.retain(|row| {
                let goes = excess > 0 && is_expendable(row);
                excess -= usize::from(goes);
                !goes
            });
        }
        lost
    }

    pub fn front(&self) -> Option<&[Row]> {
        self.batches.front().map(Vec::as_slice)
    }

    pub fn pop_front(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.rows -= batch.len();
        }
    }

    /// Keeps the rows for which `stays` says so, oldest first.
    pub fn retain(&mut self, mut stays: impl FnMut(&Row) -> bool) {
        for batch in &mut self.batches {
            batch.retain(&mut stays);
        }
        self.batches.retain(|batch| !batch.is_empty());
        self.rows = self.batches.iter().map(Vec::len).sum();
    }

    /// Takes all that waits, as one batch.
    pub fn take(&mut self) -> Vec<Row> {
        self.rows = 0;
        let mut batches = std::mem::take(&mut self.batches);
        match batches.len() {
            // The usual one is not copied.
            1 => batches.pop_front().unwrap_or_default(),
            _ => batches.into_iter().flatten().collect(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.batches.iter().flatten()
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn ids(backlog: &Backlog) -> Vec<i64> {
        backlog
            .iter()
            .filter_map(|row| {
                if let Row::Rr(rr) = row {
                    Some(rr.id)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn beyond_the_bound_the_oldest_rr_goes_and_what_people_did_stays() {
        let mut backlog = Backlog::default();
        let session = Row::Session(samples::session("20261120T0945Z", 0));
        assert_eq!(
            backlog.push(
                vec![
                    session.clone(),
                    samples::rr(1, 1, 0),
                    samples::rr(2, 1, 800)
                ],
                4
            ),
            0
        );
        assert_eq!(
            backlog.push(vec![samples::rr(3, 1, 1_600), samples::rr(4, 1, 2_400)], 4),
            1
        );
        assert_eq!(backlog.rows(), 4);
        assert_eq!(ids(&backlog), [2, 3, 4]);
        assert_eq!(backlog.front().map(|rows| rows[0].clone()), Some(session));
    }

    #[test]
    fn without_rr_the_scores_go_and_then_the_oldest_of_all() {
        let mut backlog = Backlog::default();
        let session = |id: &str| Row::Session(samples::session(id, 0));
        backlog.push(vec![session("a"), samples::score("a", 1, None, 5_000)], 2);
        assert_eq!(backlog.push(vec![session("b"), session("c")], 2), 2);
        assert_eq!(
            backlog.iter().cloned().collect::<Vec<_>>(),
            [session("b"), session("c")]
        );
    }

    #[test]
    fn an_empty_batch_is_no_batch() {
        let mut backlog = Backlog::default();
        backlog.push(Vec::new(), 10);
        assert!(backlog.is_empty());
        backlog.push(vec![samples::rr(1, 1, 0)], 10);
        backlog.retain(|_| false);
        assert!(backlog.is_empty());
        assert_eq!(backlog.rows(), 0);
    }
}
