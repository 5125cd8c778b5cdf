//! A socket and its stage: which one it looks at, what it has been sent of it, and the ticks it wants. The
//! room's stage is there for every socket, joined or not: the wall draws its breath from it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Pending, Phone, text};
use crate::access::Who;
use crate::room::command::{Command, Reply};
use crate::room::stage_view::AnchorView;
use crate::room_task::Staged;
use crate::telemetry::metric;
use crate::web::problem::{Code, Problem};
use crate::web::rest_participants::unexpected;
use crate::web::wire::ServerFrame;

/// Ticks are told to a thousandth of a ms, which is finer than any screen.
const POSITION_STEPS: f64 = 1_000.0;
/// No tick is due: the other wakes come long before.
const NEVER: Duration = Duration::from_secs(3_600);

/// The stage that a socket looks at.
pub(super) struct On {
    stage: watch::Receiver<Arc<Staged>>,
    /// The name of the session that was joined, where it is a named one.
    named: Option<String>,
    /// A facilitator's token. Asked anew each time: it expires, and a new PIN ends it.
    token: Option<String>,
    /// With names.
    as_facilitator: bool,
    sent: u64,
    sent_stats: u64,
    ticks: Option<Ticks>,
}

/// Ticks that somebody wants: the next one, and from one to the next.
struct Ticks {
    next: Instant,
    every: Duration,
}

impl On {
    pub fn room(stage: watch::Receiver<Arc<Staged>>) -> Self {
        // Who came before is no news to this phone.
        let sent_stats = stats_version(&stage.borrow());
        On {
            stage,
            named: None,
            token: None,
            as_facilitator: false,
            sent: 0,
            sent_stats,
            ticks: None,
        }
    }

    pub fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// The snapshot goes out again, whatever was sent.
    pub fn show_again(&mut self) {
        self.sent = 0;
    }

    pub fn anchor(&self) -> AnchorView {
        let staged = self.stage.borrow();
        AnchorView::of(staged.anchor, staged.offset_ms)
    }

    /// Waits for what is new; true when the stage has ended.
    pub async fn changed(&mut self) -> bool {
        self.stage.changed().await.is_err()
    }

    pub fn next_tick(&self) -> Instant {
        match &self.ticks {
            Some(ticks) => ticks.next,
            None => Instant::now() + NEVER,
        }
    }
}

impl Phone {
    /// Takes what is new on the stage.
    pub(super) fn collect_stage(&mut self) {
        let facilitator = self.is_facilitator();
        let on = &mut self.on;
        if on.as_facilitator != facilitator {
            on.as_facilitator = facilitator;
            on.sent = 0;
        }
        let staged = on.stage.borrow_and_update();
        let snapshot = match facilitator {
            true => &staged.lead_snapshot,
            false => &staged.snapshot,
        };
        if snapshot.version > on.sent {
            on.sent = snapshot.version;
            self.pending
                .push(Pending::Frame(text(snapshot.json.clone())));
        }
        if let Some(stats) = &staged.stats
            && stats.version > on.sent_stats
        {
            on.sent_stats = stats.version;
            self.pending.push(Pending::Frame(text(stats.json.clone())));
        }
    }

    pub(super) fn is_facilitator(&self) -> bool {
        let token = self.on.token.as_deref();
        let proves = |token| matches!(self.web.who(token), Ok(Who::Facilitator { .. }));
        token.is_some_and(proves)
    }

    /// This socket is a facilitator's from now on.
    pub(super) async fn facilitates(&mut self, token: String) -> Result<(), Problem> {
        self.on.token = Some(token);
        let socket = self.line.socket;
        let command = Command::Facilitates { socket };
        self.web.room.apply(command, None).await?;
        Ok(())
    }

    /// Whether this socket may come into a session: it is in one at a time.
    pub(super) fn may_enter(&self, session_id: Option<&str>) -> Result<(), Problem> {
        let running = self.web.room.published().borrow().session.id.clone();
        let wanted = session_id.filter(|id| *id != running);
        let elsewhere = match &self.on.named {
            Some(name) => wanted != Some(name),
            None => self.joined && wanted.is_some(),
        };
        if elsewhere {
            let detail =
                "This connection is in another session. Leave that first: `leave_session`.";
            return Err(Problem::new(Code::AlreadyJoined, detail));
        }
        Ok(())
    }

    /// Looks at a named session's stage from now on.
    pub(super) async fn on_named(&mut self, name: String) {
        let stage = self.web.room.named_stage(name.clone()).await;
        self.on.named = Some(name);
        // It is open while this socket is in it.
        match stage {
            Some(stage) => self.look_at(stage),
            None => self.off_stage(),
        }
    }

    /// The named session has ended, or was left: back to the room's stage.
    pub(super) fn off_stage(&mut self) {
        self.on.named = None;
        self.look_at(self.web.room.stage());
    }

    fn look_at(&mut self, stage: watch::Receiver<Arc<Staged>>) {
        self.on.sent_stats = stats_version(&stage.borrow());
        self.on.stage = stage;
        self.on.sent = 0;
    }

    pub(super) async fn leave_named(&mut self) -> Result<(), Problem> {
        let socket = self.line.socket;
        let command = Command::LeaveNamed { socket };
        self.web.room.apply(command, None).await?;
        self.off_stage();
        if self.is_facilitator() {
            let command = Command::Facilitates { socket };
            self.web.room.apply(command, None).await?;
        }
        Ok(())
    }

    /// A change of the stage: who asked for it gets the snapshot as the answer, and not once more.
    pub(super) async fn staged(
        &mut self,
        command: Command,
        facilitator: bool,
        re: Option<&Value>,
    ) -> Result<(), Problem> {
        let Reply::Stage { snapshot, seen } = self.web.room.apply(command, None).await? else {
            return Err(unexpected());
        };
        let version = match facilitator {
            true => seen,
            false => snapshot.anchor.version,
        };
        self.on.as_facilitator = facilitator;
        self.on.sent = version;
        self.tell(&ServerFrame::Snapshot(&snapshot), re);
        Ok(())
    }

    /// Ticks from now on; the first is the answer.
    pub(super) fn subscribe(&mut self, every: Duration, re: Option<&Value>) {
        let next = Instant::now() + every;
        self.on.ticks = Some(Ticks { next, every });
        self.tell_tick(re);
    }

    /// No more ticks; the last is the answer.
    pub(super) fn unsubscribe(&mut self, re: Option<&Value>) {
        self.on.ticks = None;
        self.tell_tick(re);
    }

    /// A tick, if one is due. What a slow phone missed is not made up for: the newest says it all.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(ticks) = &mut self.on.ticks else {
            return;
        };
        if now < ticks.next {
            return;
        }
        let late = now.duration_since(ticks.next);
        let skipped = late.as_micros() / ticks.every.as_micros().max(1);
        let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
        if skipped > 0 {
            metrics::counter!(metric::TICKS_SKIPPED).increment(skipped.into());
        }
        ticks.next += ticks.every * skipped.saturating_add(1);
        self.tell_tick(None);
    }

    fn tell_tick(&mut self, re: Option<&Value>) {
        let now_ms = self.web.clock.mono_ms();
        let frame = {
            let staged = self.on.stage.borrow();
            let position_ms = staged.anchor.position_at(now_ms);
            ServerFrame::ScrollTick {
                at: now_ms + staged.offset_ms,
                position_ms: (position_ms * POSITION_STEPS).round() / POSITION_STEPS,
                version: staged.anchor.version,
            }
        };
        self.tell(&frame, re);
    }
}

fn stats_version(staged: &Staged) -> u64 {
    staged.stats.as_ref().map_or(0, |stats| stats.version)
}
