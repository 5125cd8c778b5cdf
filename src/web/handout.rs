//! Handing out all of a person's data takes memory until the last of it is sent, so few at a time get
//! theirs, and nobody twice at once. Not here: what is handed out (`my_data`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::problem::{Code, Problem};
use crate::room::ParticipantId;

const AT_ONCE: usize = 2;
const LINE: Duration = Duration::from_secs(10);
/// After so long it is worth asking again.
const AGAIN_MS: i64 = 5_000;

/// Where it is handed out.
#[derive(Debug)]
pub struct Desk {
    turns: Arc<Semaphore>,
    /// How long somebody may stand in line.
    line: Duration,
    /// Who is served or stands in line.
    here: Mutex<HashSet<ParticipantId>>,
}

impl Default for Desk {
    fn default() -> Self {
        Desk {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            line: LINE,
            here: Mutex::default(),
        }
    }
}

/// One person's, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Place {
    desk: Arc<Desk>,
    id: ParticipantId,
}

impl Desk {
    fn enter(&self, id: ParticipantId) -> bool {
        let mut here = self.here.lock().expect("nobody panics while holding it");
        here.insert(id)
    }

    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, id: ParticipantId) -> Result<Turn, Problem> {
        if !self.enter(id) {
            let detail = "Your data is being sent to you already. Try again when it has arrived.";
            return Err(Problem::new(Code::RateLimited, detail).retry_after(AGAIN_MS));
        }
        let place = Place {
            desk: Arc::clone(self),
            id,
        };
        match timeout(self.line, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn {
                _place: place,
                _permit: permit,
            }),
            _ => {
                let detail = "Others are being sent their data. Try again in a moment.";
                Err(Problem::new(Code::Busy, detail).retry_after(AGAIN_MS))
            }
        }
    }
}

impl Turn {
    /// A body that ends the turn when it is sent, or given up.
    pub fn body(self, bytes: Vec<u8>) -> Body {
        let first = Some((Bytes::from(bytes), self));
        // The turn stays beside the bytes until more is asked for, which is when they are sent.
        Body::from_stream(stream::unfold((first, None), |(first, _turn)| async move {
            let (bytes, turn) = first?;
            Some((Ok::<_, std::convert::Infallible>(bytes), (None, Some(turn))))
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut here = self
            .desk
            .here
            .lock()
            .expect("nobody panics while holding it");
        here.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_until_all_is_sent_and_few_have_one() {
        let desk = Arc::new(Desk {
            line: Duration::from_millis(20),
            ..Desk::default()
        });
        let person = |n| ParticipantId(Uuid::from_u128(n));
        let body = desk.turn(person(1)).await.unwrap().body(b"all".to_vec());
        let again = desk.turn(person(1)).await.unwrap_err();
        assert_eq!(again.code, Code::RateLimited);
        let second = desk.turn(person(2)).await.unwrap();
        let third = desk.turn(person(3)).await.unwrap_err();
        assert_eq!(third.code, Code::Busy);
        assert_eq!(to_bytes(body, 10).await.unwrap(), "all");
        let third = desk.turn(person(3)).await.unwrap();
        drop(second);
        assert!(desk.turn(person(1)).await.is_ok());
        drop(third);
        assert!(desk.here.lock().unwrap().is_empty());
    }
}
