//! The one task that owns the `Room`, and the handle through which everybody else asks it.
//!
//! It reads the clock, feeds the room, carries windows to the compute thread and back, publishes and
//! hands rows to the store, in that order. Not here: rules (`room`), SQL (`store`), sockets (`web`).
//!
//! Full inboxes: straps wait, phones are told `busy`. When the task ends, the process ends.

mod compute;
mod published;
mod staged;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence_hal::{SourceEvent, Wish};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::room::command::{Command, Refusal, RefusalCode, Reply};
use crate::room::view::{StrapMoved, frame};
use crate::room::{
    ClockReading, GridJob, GridResult, ParticipantId, Presence, Room, Settings, StageId,
};
use crate::store::Store;
use crate::telemetry::load::Fault;
use crate::telemetry::{metric, tally};

use compute::{compute_thread, relive};
pub use published::{Frame, Published};
use published::{OfPeople, OfSession, first_look};
pub use staged::Staged;
use staged::Topics;

/// Events of straps that may wait.
const EVENTS: usize = 1_024;
/// Questions of phones that may wait.
const ASKS: usize = 1_024;
/// Presence is announced at most this often, ms.
const PRESENCE_MS: i64 = 500;
/// How often the clocks are compared, straps looked at and gauges set, ms.
const LOOK_MS: i64 = 1_000;
/// How long a phone waits for the room before it is told `busy`.
const PATIENCE: Duration = Duration::from_secs(5);

/// The line to one phone: small and bounded; what does not fit is dropped and counted.
#[derive(Clone, Debug)]
pub struct PhoneLine {
    /// Unique per socket in this process.
    pub socket: u64,
    pub outbox: mpsc::Sender<ToPhone>,
}

/// What is for one phone alone.
#[derive(Clone, Debug)]
pub enum ToPhone {
    /// A text frame, JSON.
    Text(Bytes),
    Close {
        code: u16,
        reason: &'static str,
    },
}

type Answer = Result<Reply, Refusal>;

enum Ask {
    Apply {
        command: Command,
        line: Option<PhoneLine>,
        answer: oneshot::Sender<Answer>,
    },
    Detach(u64),
    /// The stage of a named session, if it is open.
    Named(
        String,
        oneshot::Sender<Option<watch::Receiver<Arc<Staged>>>>,
    ),
    Settings(Settings, oneshot::Sender<()>),
    Ping(oneshot::Sender<()>),
}

/// Asks the room. Cheap to clone.
#[derive(Clone)]
pub struct RoomHandle {
    asks: mpsc::Sender<Ask>,
    published: watch::Receiver<Arc<Published>>,
    stage: watch::Receiver<Arc<Staged>>,
}

impl RoomHandle {
    /// Carries out a command and returns once it is published (and stored, where that is promised).
    /// A join with a `line` makes that socket the participant's; an older socket is closed (4001).
    /// Leaving with a `line` lets it go.
    ///
    /// # Errors
    /// The room's refusal; `busy` when it has too much to do; `not_stored` when what must be kept
    /// could not be.
    pub async fn apply(&self, command: Command, line: Option<PhoneLine>) -> Answer {
        let busy = || {
            Refusal::new(
                RefusalCode::Busy,
                "The hub has too much to do. Try again in a moment.",
            )
        };
        let newcomer = match &command {
            Command::Join(join) if !join.resumed => Some(join.participant),
            _ => None,
        };
        let (answer, answered) = oneshot::channel();
        self.asks
            .try_send(Ask::Apply {
                command,
                line,
                answer,
            })
            .map_err(|_| busy())?;
        let answer = match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(busy()),
        };
        if let (Some(participant), Err(refusal)) = (newcomer, &answer)
            && matches!(refusal.code, RefusalCode::NotStored | RefusalCode::Busy)
        {
            self.send_away(participant).await;
        }
        answer
    }

    /// Somebody who was told "no" after the room had let them in: nobody holds their token, and
    /// without this they would be counted and keep a strap that their next try is refused.
    async fn send_away(&self, participant: ParticipantId) {
        let (answer, _) = oneshot::channel();
        let ask = Ask::Apply {
            command: Command::Erase { participant },
            line: None,
            answer,
        };
        // Fails only when the room is gone, and then the process ends.
        let _ = self.asks.send(ask).await;
    }

    /// The socket is gone; its participant stays for two minutes.
    pub async fn detach(&self, socket: u64) {
        // Fails only when the room is gone, and then the process ends.
        let _ = self.asks.send(Ask::Detach(socket)).await;
    }

    /// New settings for the room; returns when they are in force.
    pub async fn set_settings(&self, settings: Settings) {
        let (answer, answered) = oneshot::channel();
        // Fails only when the room is gone, and then the process ends.
        if self
            .asks
            .send(Ask::Settings(settings, answer))
            .await
            .is_ok()
        {
            let _ = answered.await;
        }
    }

    /// What everybody may see; the newest only.
    pub fn published(&self) -> watch::Receiver<Arc<Published>> {
        self.published.clone()
    }

    /// The room's stage; the newest only.
    pub fn stage(&self) -> watch::Receiver<Arc<Staged>> {
        self.stage.clone()
    }

    /// The stage of a named session, if it is open; it ends when the session is freed.
    pub async fn named_stage(&self, name: String) -> Option<watch::Receiver<Arc<Staged>>> {
        let (answer, answered) = oneshot::channel();
        // Fails only when the room is gone, and then the process ends.
        self.asks.send(Ask::Named(name, answer)).await.ok()?;
        answered.await.ok()?
    }

    /// Whether the room task answers; waits as long as the caller lets it.
    pub async fn ping(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Ping(answer)).await.is_ok() && answered.await.is_ok()
    }
}

/// The task's own state.
pub struct RoomTask {
    room: Room,
    clock: Clock,
    store: Store,
    events: mpsc::Receiver<(&'static str, SourceEvent)>,
    asks: mpsc::Receiver<Ask>,
    jobs: mpsc::Sender<GridJob>,
    results: mpsc::Receiver<GridResult>,
    publisher: watch::Sender<Arc<Published>>,
    /// One for each source, which takes up what it hears at once.
    wishes: Vec<mpsc::UnboundedSender<Wish>>,
    lines: HashMap<ParticipantId, PhoneLine>,
    stages: Topics,
    /// The newest grid point that is dealt with.
    grid_done_ms: i64,
    /// The grid point whose figures have come back and are not published yet.
    grid_due_ms: Option<i64>,
    next_look_ms: i64,
    presence: Option<Presence>,
    presence_told_ms: i64,
    version: u64,
}

/// What the wiring gets: the task to run, the handle to ask, and where straps speak.
pub struct Parts {
    pub task: RoomTask,
    pub handle: RoomHandle,
    pub events: mpsc::Sender<(&'static str, SourceEvent)>,
}

/// Prepares the task. `past` are events from before now, oldest first: the demo's past beats.
pub fn prepare(
    mut room: Room,
    clock: Clock,
    store: Store,
    past: Vec<(&'static str, SourceEvent)>,
) -> Parts {
    let now_ms = clock.mono_ms();
    relive(&mut room, past, now_ms);
    let (events_in, events) = mpsc::channel(EVENTS);
    let (asks_in, asks) = mpsc::channel(ASKS);
    let (jobs, results) = compute_thread();
    let (publisher, published) = watch::channel(Arc::new(first_look(&room, now_ms)));
    let (stages, stage) = Topics::new(&room, now_ms);
    let task = RoomTask {
        stages,
        grid_done_ms: now_ms,
        grid_due_ms: None,
        next_look_ms: now_ms,
        presence: None,
        presence_told_ms: now_ms - PRESENCE_MS,
        version: 1,
        room,
        clock,
        store,
        events,
        asks,
        jobs,
        results,
        publisher,
        wishes: Vec::new(),
        lines: HashMap::new(),
    };
    Parts {
        task,
        handle: RoomHandle {
            asks: asks_in,
            published,
            stage,
        },
        events: events_in,
    }
}

impl RoomTask {
    /// What a source hears of the room's wishes, from the first on.
    pub fn wishes(&mut self) -> mpsc::UnboundedReceiver<Wish> {
        let (wishes, source) = mpsc::unbounded_channel();
        self.wishes.push(wishes);
        source
    }

    /// Runs until `stop` says so, and hands over everything that is to be kept.
    ///
    /// # Errors
    /// When the compute thread is gone: the process then ends and is started again.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), RoomTaskError> {
        self.act();
        loop {
            let now_ms = self.clock.mono_ms();
            let mut due_ms = self
                .room
                .next_deadline(now_ms)
                .min(self.room.next_grid(now_ms))
                .min(self.next_look_ms);
            if self.presence.is_some() {
                due_ms = due_ms.min(self.presence_told_ms + PRESENCE_MS);
            }
            due_ms = due_ms.min(self.stages.due_ms());
            tokio::select! {
                Some((name, event)) = self.events.recv() => self.room.source_event(name, event),
                Some(ask) = self.asks.recv() => self.answer(ask),
                result = self.results.recv() => match result {
                    Some(result) => {
                        self.grid_due_ms = Some(result.at_ms());
                        self.room.finish_grid(result);
                    }
                    None => return Err(RoomTaskError::NoCompute),
                },
                () = self.clock.sleep_until(due_ms) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            self.act();
        }
        self.room.write_down_straps();
        let rows = self.room.take_rows(self.clock.mono_ms());
        self.store.commit(rows);
        Ok(())
    }

    /// What follows from the time and from what has just come in: grid, publication, rows, log.
    fn act(&mut self) {
        let now_ms = self.clock.mono_ms();
        if now_ms >= self.next_look_ms {
            self.next_look_ms = now_ms + LOOK_MS;
            let reading = ClockReading {
                mono_ms: now_ms,
                wall_ms: self.clock.wall_ms(),
                known: self.clock.known(),
            };
            self.room.observe_clock(reading);
            self.look(now_ms);
        }
        self.room.tick(now_ms);
        // Asked anew each time: a session that has just begun may lie on another grid.
        let grid = self.room.last_grid(now_ms);
        if let Some(grid_ms) = grid.filter(|at_ms| *at_ms > self.grid_done_ms) {
            self.grid_done_ms = grid_ms;
            let job = self.room.grid_job(grid_ms);
            if self.jobs.try_send(job).is_err() {
                metrics::counter!(metric::GRID_SKIPPED).increment(1);
                tally::fault(Fault::GridPoint, 1);
                tracing::warn!("a grid point was skipped: scoring takes longer than 5 s");
            }
        }
        for (participant, beat) in self.room.take_pulses() {
            if let Some(line) = self.lines.get(&participant) {
                tell(line, ToPhone::Text(frame("beat", &beat).into()));
            }
        }
        self.publish(now_ms);
        let facts = self.room.take_facts();
        if !facts.is_empty() {
            self.store.commit(facts);
        }
        for note in self.room.take_notes() {
            told::log(note);
        }
        for wish in self.room.take_wishes() {
            // A source at its end hears nothing more.
            self.wishes
                .retain(|source| source.send(wish.clone()).is_ok());
        }
    }

    fn answer(&mut self, ask: Ask) {
        let now_ms = self.clock.mono_ms();
        match ask {
            Ask::Ping(answer) => {
                let _ = answer.send(());
            }
            Ask::Detach(socket) => {
                self.room.detach(socket, now_ms);
                self.lines.retain(|_, line| line.socket != socket);
                self.stages.let_go(socket);
            }
            Ask::Named(name, answer) => {
                let _ = answer.send(self.stages.subscribe(&StageId::Named(name)));
            }
            Ask::Settings(settings, answer) => {
                self.room.set_settings(settings, now_ms);
                self.publish(now_ms);
                let _ = answer.send(());
            }
            Ask::Apply {
                command,
                line,
                answer,
            } => {
                let hangs_up = match &command {
                    // Said over the socket itself. Said elsewhere, the socket stays theirs, and
                    // speaks again when they come back by whatever way.
                    Command::Leave { participant } if line.is_some() => Some(*participant),
                    Command::Erase { participant } => Some(*participant),
                    _ => None,
                };
                let out_of_named = match &command {
                    Command::LeaveNamed { socket } => Some(*socket),
                    _ => None,
                };
                let came_or_went = matches!(
                    command,
                    Command::Join(_) | Command::Leave { .. } | Command::Erase { .. }
                );
                let outcome = match self.room.apply(command, now_ms) {
                    Ok(outcome) => outcome,
                    Err(refusal) => {
                        let _ = answer.send(Err(refusal));
                        return;
                    }
                };
                if let Some(participant) = hangs_up {
                    self.lines.remove(&participant);
                }
                if let Some(socket) = out_of_named {
                    self.stages.let_go(socket);
                }
                let joined = outcome.joined.clone();
                if let Some((StageId::Room, participant)) = joined
                    && let Some(line) = line
                        .clone()
                        .or_else(|| self.lines.get(&participant).cloned())
                {
                    self.attach(participant, line);
                }
                if let Some((participant, label)) = &outcome.bereft
                    && let Some(line) = self.lines.get(participant)
                {
                    let moved = StrapMoved { label };
                    tell(line, ToPhone::Text(frame("strap_moved", &moved).into()));
                }
                // First the world sees it, then who asked.
                self.publish(now_ms);
                if let (Some((stage @ StageId::Named(_), participant)), Some(line)) = (joined, line)
                {
                    self.stages.hold(&stage, participant, line);
                }
                if came_or_went {
                    // Presence is told to all twice a second; who asks again at once sees it.
                    self.refresh(now_ms);
                }
                if outcome.durable.is_empty() {
                    let _ = answer.send(Ok(outcome.reply));
                    return;
                }
                self.store.commit(self.room.take_facts());
                self.store.commit_then(
                    outcome.durable,
                    Box::new(move |stored| {
                        let reply = stored.map(|()| outcome.reply).map_err(|error| {
                            Refusal::new(
                                RefusalCode::NotStored,
                                format!("The hub could not keep this: {error}"),
                            )
                        });
                        let _ = answer.send(reply);
                    }),
                );
            }
        }
    }

    fn attach(&mut self, participant: ParticipantId, line: PhoneLine) {
        self.lines.retain(|_, other| other.socket != line.socket);
        self.room.attach(participant, line.socket);
        hold(&mut self.lines, participant, line);
    }

    fn publish(&mut self, now_ms: i64) {
        let changes = self.room.take_changes();
        if changes.people.is_some() {
            self.stages.room_is_peopled();
        }
        let news = self.room.take_stage_changes();
        self.version += 1;
        self.stages.publish(&self.room, news, self.version, now_ms);
        if changes.links {
            self.refresh(now_ms);
        }
        self.presence = changes.people.or(self.presence);
        let presence = self
            .presence
            .filter(|_| now_ms - self.presence_told_ms >= PRESENCE_MS);
        if !changes.session && !changes.group && presence.is_none() {
            return;
        }
        let mut next = Published::clone(&self.publisher.borrow());
        self.version += 1;
        let version = self.version;
        next.session = self.room.session_view(now_ms);
        next.group = self.room.group_view(now_ms);
        next.offset_ms = self.room.offset_ms();
        next.clock_synced = self.room.clock_synced();
        if changes.session {
            let ended = self.room.ended_view();
            if next.ended_frame.is_none() != ended.is_none()
                || next.session.id != self.publisher.borrow().session.id
            {
                next.ended_frame = ended
                    .map(|view| Frame::of(version, "session_state", &OfSession { session: &view }));
            }
            next.session_frame = Frame::of(
                version,
                "session_state",
                &OfSession {
                    session: &next.session,
                },
            );
        }
        if changes.group {
            next.group_frame = Frame::of(version, "group_metrics_update", &next.group);
            next.group_due_ms = self.grid_due_ms.take();
        }
        if let Some(presence) = presence {
            self.presence = None;
            self.presence_told_ms = now_ms;
            next.people_frame = Some(Frame::of(
                version,
                "participant_update",
                &OfPeople::new(&next.session, presence),
            ));
        }
        self.publisher.send_replace(Arc::new(next));
        if changes.group {
            self.tell_everybody_their_own(now_ms);
            let rows = self.room.take_rows(now_ms);
            self.store.commit(rows);
        }
    }

    fn tell_everybody_their_own(&self, now_ms: i64) {
        if self.lines.is_empty() {
            return;
        }
        for (participant, view) in self.room.feedbacks(now_ms) {
            if let Some(line) = self.lines.get(&participant) {
                tell(
                    line,
                    ToPhone::Text(frame("personal_feedback", &view).into()),
                );
            }
        }
    }

    /// Refreshes what is only looked at when asked for: no socket is woken.
    fn refresh(&mut self, now_ms: i64) {
        let straps = self.room.strap_views(now_ms);
        let sources = self.room.source_views();
        let session = self.room.session_view(now_ms);
        self.publisher.send_if_modified(|published| {
            let published = Arc::make_mut(published);
            published.straps = straps;
            published.sources = sources;
            published.session = session;
            false
        });
    }

    /// Refreshes, and sets the gauges.
    fn look(&mut self, now_ms: i64) {
        self.refresh(now_ms);
        told::gauges(&self.publisher.borrow(), self.room.clock_synced());
        metrics::gauge!(metric::NAMED_SESSIONS).set(self.room.named_sessions() as f64);
        told::counts(self.room.take_counts());
    }
}

/// Why the room stopped.
#[derive(Debug, thiserror::Error)]
pub enum RoomTaskError {
    #[error("the compute thread is gone")]
    NoCompute,
}

/// The line of a participant; an older socket of theirs is closed.
fn hold(
    lines: &mut HashMap<ParticipantId, PhoneLine>,
    participant: ParticipantId,
    line: PhoneLine,
) {
    let socket = line.socket;
    let older = lines.insert(participant, line);
    if let Some(older) = older.filter(|older| older.socket != socket) {
        tell(
            &older,
            ToPhone::Close {
                code: 4001,
                reason: "this participant is on another phone now",
            },
        );
    }
}

fn tell(line: &PhoneLine, what: ToPhone) {
    if line.outbox.try_send(what).is_err() {
        metrics::counter!(metric::FRAMES_DROPPED).increment(1);
    }
}

#[cfg(test)]
mod tests;
