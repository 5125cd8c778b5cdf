//! One stage: what a session plays. The position is kept as an anchor (where it was at one moment, and
//! how fast it goes) and computed from it; nothing is counted. Who may change it is `roles`' business, whose
//! stage it is `stages`'.
//!
//! **Position and tempo.** A stage goes in turns: breaths of the room's pacer, beats of a band. A turn is
//! a fixed stretch of position ([`Kind::turn_ms`]), and the tempo (turns per minute) is how fast position
//! passes: `rate = tempo · turn_ms / 60,000`. So a change of tempo moves neither the position nor the
//! place within the breath, and whoever knows the anchor knows both: `positionMs / turnMs` are the turns so
//! far.
//!
//! **A new tempo waits for the next turn**: a breath that has begun is breathed to its end. Until then
//! the snapshot shows the new tempo beside the old rate; when it takes effect, the anchor lies on the
//! beginning of that turn.

use serde::Serialize;
use utoipa::ToSchema;

use super::command::{Refusal, RefusalCode};

/// Changes of one stage at once, and per second in the long run: each is told to all who look on.
const CHANGES_AT_ONCE: f64 = 20.0;
const CHANGES_PER_SECOND: f64 = 10.0;

/// What a stage counts in. Tempos are turns per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    /// One turn, ms of position. At rate 1, position passes as time does.
    pub turn_ms: f64,
    pub tempo_min: f64,
    pub tempo_max: f64,
    /// Until somebody chooses another.
    pub tempo: f64,
    turns: &'static str,
}

impl Kind {
    /// The room's: slow breathing, 4 to 8 breaths a minute. At 6 the rate is 1.
    pub const PACER: Kind = Kind {
        turn_ms: 10_000.0,
        tempo_min: 4.0,
        tempo_max: 8.0,
        tempo: 6.0,
        turns: "breaths",
    };
    /// A named session's: from the slowest breath to more than any score asks for (prestissimo is about 200).
    /// At 60 the rate is 1.
    pub const NAMED: Kind = Kind {
        turn_ms: 1_000.0,
        tempo_min: 4.0,
        tempo_max: 300.0,
        tempo: 60.0,
        turns: "beats",
    };

    fn rate(&self, tempo: f64) -> f64 {
        tempo * self.turn_ms / 60_000.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Playing,
    Paused,
}

/// What is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scene {
    /// The stage itself.
    Stage,
    /// The resting scene: everybody breathes as they like.
    Rest,
}

/// Where the stage is: all that is needed to compute the position at any moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    pub state: State,
    pub position_ms: f64,
    /// Ms of position per ms; while paused the rate at which it will go on.
    pub rate: f64,
    /// Monotonic.
    pub at_ms: i64,
    /// Higher with every change of the stage.
    pub version: u64,
}

impl Anchor {
    pub fn position_at(&self, now_ms: i64) -> f64 {
        match self.state {
            State::Playing => self.position_ms + (now_ms - self.at_ms) as f64 * self.rate,
            State::Paused => self.position_ms,
        }
    }
}

/// What a leader asks of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum StageWish {
    /// Turns per minute.
    Tempo(f64),
    Play,
    Pause(Scene),
    /// Ms of position.
    Seek(f64),
    /// None clears it.
    Message(Option<String>),
}

/// The message to the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    /// Hub time; it stays as it was said when the clock is set right.
    pub at_ms: i64,
}

/// One stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    kind: Kind,
    anchor: Anchor,
    tempo: f64,
    scene: Scene,
    message: Option<Message>,
    /// Where the next turn begins, with which the tempo takes effect; monotonic.
    turns_at_ms: Option<i64>,
    /// How many changes may be asked for, and as of when.
    allowed: (f64, i64),
}

impl Stage {
    /// A stage that plays from its beginning.
    pub fn new(kind: Kind, at_ms: i64) -> Self {
        Stage {
            kind,
            anchor: Anchor {
                state: State::Playing,
                position_ms: 0.0,
                rate: kind.rate(kind.tempo),
                at_ms,
                version: 1,
            },
            tempo: kind.tempo,
            scene: Scene::Stage,
            message: None,
            turns_at_ms: None,
            allowed: (CHANGES_AT_ONCE, at_ms),
        }
    }

    /// A stage that waits at its beginning: what a band opens with.
    pub fn waiting(kind: Kind, at_ms: i64) -> Self {
        let mut stage = Stage::new(kind, at_ms);
        stage.anchor.state = State::Paused;
        stage
    }

    /// As a restart finds it. A tempo that is out of bounds (kept by a hub with others) is the usual one.
    pub fn remembered(
        kind: Kind,
        anchor: Anchor,
        tempo: f64,
        scene: Scene,
        message: Option<Message>,
        now_ms: i64,
    ) -> Self {
        let right = (kind.tempo_min..=kind.tempo_max).contains(&tempo);
        let mut stage = Stage {
            anchor,
            tempo: if right { tempo } else { kind.tempo },
            scene,
            message,
            ..Stage::new(kind, now_ms)
        };
        stage.take_up_tempo(now_ms);
        stage
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn anchor(&self) -> Anchor {
        self.anchor
    }

    pub fn tempo(&self) -> f64 {
        self.tempo
    }

    pub fn scene(&self) -> Scene {
        self.scene
    }

    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// Whether another change may be asked for now: without this one phone could keep all others busy.
    pub fn may_change(&mut self, now_ms: i64) -> bool {
        let (left, as_of_ms) = self.allowed;
        let since_s = (now_ms - as_of_ms).max(0) as f64 / 1_000.0;
        let left = (left + since_s * CHANGES_PER_SECOND).min(CHANGES_AT_ONCE) - 1.0;
        if left >= 0.0 {
            self.allowed = (left, now_ms);
        }
        left >= 0.0
    }

    /// Does what the leader asks. `offset_ms`: hub time minus monotonic time.
    ///
    /// # Errors
    /// A value that this stage can't have.
    pub fn change(
        &mut self,
        wish: StageWish,
        now_ms: i64,
        offset_ms: i64,
    ) -> Result<bool, Refusal> {
        let changed = match wish {
            StageWish::Tempo(tempo) => {
                let Kind {
                    tempo_min,
                    tempo_max,
                    turns,
                    ..
                } = self.kind;
                if !(tempo_min..=tempo_max).contains(&tempo) {
                    return Err(Refusal::new(
                        RefusalCode::BadValue,
                        format!(
                            "`tempo` must be from {tempo_min} to {tempo_max} {turns} per minute."
                        ),
                    ));
                }
                let changed = tempo != self.tempo;
                self.tempo = tempo;
                self.take_up_tempo(now_ms);
                changed
            }
            StageWish::Play => {
                let changed = self.anchor.state == State::Paused || self.scene != Scene::Stage;
                if self.anchor.state == State::Paused {
                    self.anchor.state = State::Playing;
                    self.anchor.at_ms = now_ms;
                }
                self.scene = Scene::Stage;
                changed
            }
            StageWish::Pause(scene) => {
                let changed = self.anchor.state == State::Playing || self.scene != scene;
                if self.anchor.state == State::Playing {
                    self.anchor_at(now_ms);
                    self.anchor.state = State::Paused;
                    self.take_up_tempo(now_ms);
                }
                self.scene = scene;
                changed
            }
            StageWish::Seek(position_ms) => {
                self.anchor.position_ms = position_ms;
                self.anchor.at_ms = now_ms;
                self.take_up_tempo(now_ms);
                true
            }
            StageWish::Message(text) => {
                let said = self.message.as_ref().map(|message| &message.text);
                let changed = said != text.as_ref();
                if changed {
                    let at_ms = now_ms + offset_ms;
                    self.message = text.map(|text| Message { text, at_ms });
                }
                changed
            }
        };
        if changed {
            self.raise_version();
        }
        Ok(changed)
    }

    /// When the tempo takes effect, if it still has to.
    pub fn due_ms(&self) -> Option<i64> {
        self.turns_at_ms
    }

    /// What time alone brings; whether that was anything.
    pub fn tick(&mut self, now_ms: i64) -> bool {
        let Some(at_ms) = self.turns_at_ms.filter(|at_ms| *at_ms <= now_ms) else {
            return false;
        };
        self.anchor_at(at_ms);
        self.anchor.rate = self.kind.rate(self.tempo);
        self.turns_at_ms = None;
        self.raise_version();
        true
    }

    /// A new session began. What plays goes on: an unbroken breath is the calmest, nobody is told to breathe
    /// while a session ends, and who does so all the same is not thrown off. What rests or is paused starts
    /// anew, with a breath in: sessions begin by themselves, also when whoever paused has gone home.
    pub fn begin_session(&mut self, at_ms: i64) {
        if self.anchor.state == State::Paused {
            self.anchor.state = State::Playing;
            self.anchor.position_ms = 0.0;
            self.anchor.at_ms = at_ms;
            self.scene = Scene::Stage;
        }
        self.raise_version();
    }

    pub fn raise_version(&mut self) {
        self.anchor.version += 1;
    }

    pub fn raise_version_above(&mut self, version: u64) {
        self.anchor.version = self.anchor.version.max(version + 1);
    }

    /// Lays the anchor to a moment; the position is nowhere another than before.
    fn anchor_at(&mut self, at_ms: i64) {
        self.anchor.position_ms = self.anchor.position_at(at_ms);
        self.anchor.at_ms = at_ms;
    }

    /// At once where nothing moves, else with the next turn.
    fn take_up_tempo(&mut self, now_ms: i64) {
        let rate = self.kind.rate(self.tempo);
        self.turns_at_ms = None;
        if self.anchor.state == State::Paused {
            self.anchor.rate = rate;
        } else if rate != self.anchor.rate {
            let position_ms = self.anchor.position_at(now_ms);
            let left_ms = self.kind.turn_ms - position_ms.rem_euclid(self.kind.turn_ms);
            let wait_ms = (left_ms / self.anchor.rate).ceil();
            self.turns_at_ms = Some(now_ms + wait_ms as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFSET: i64 = 1_000_000;

    fn pacer() -> Stage {
        Stage::new(Kind::PACER, 0)
    }

    fn done(stage: &mut Stage, wish: StageWish, now_ms: i64) -> bool {
        stage.change(wish, now_ms, OFFSET).expect("an allowed wish")
    }

    #[test]
    fn at_six_breaths_a_minute_a_breath_takes_ten_seconds() {
        let anchor = pacer().anchor();
        assert_eq!(anchor.rate, 1.0);
        assert_eq!(anchor.position_at(25_000), 25_000.0);
        assert_eq!(anchor.position_at(25_000) / Kind::PACER.turn_ms, 2.5);
    }

    #[test]
    fn a_new_tempo_takes_effect_at_the_next_breath_in() {
        let mut stage = pacer();
        assert!(done(&mut stage, StageWish::Tempo(4.0), 13_000));
        assert_eq!((stage.tempo(), stage.anchor().rate), (4.0, 1.0));
        assert_eq!(stage.due_ms(), Some(20_000));
        assert!(!stage.tick(19_999));
        // Late, as a busy hub is: the anchor lies where the breath began all the same.
        assert!(stage.tick(20_040));
        let anchor = stage.anchor();
        assert_eq!((anchor.at_ms, anchor.position_ms), (20_000, 20_000.0));
        assert_eq!(anchor.rate, 4.0 / 6.0);
        assert_eq!(anchor.version, 3);
        // The breath of 15 s.
        assert_eq!(anchor.position_at(35_000), 30_000.0);
    }

    #[test]
    fn a_tempo_that_is_taken_back_before_the_breath_ends_changes_nothing() {
        let mut stage = pacer();
        done(&mut stage, StageWish::Tempo(4.0), 13_000);
        done(&mut stage, StageWish::Tempo(6.0), 14_000);
        assert_eq!(stage.due_ms(), None);
        assert_eq!(stage.anchor().position_at(40_000), 40_000.0);
    }

    #[test]
    fn while_paused_a_new_tempo_waits_for_nothing() {
        let mut stage = pacer();
        done(&mut stage, StageWish::Pause(Scene::Stage), 5_000);
        done(&mut stage, StageWish::Tempo(8.0), 6_000);
        done(&mut stage, StageWish::Play, 10_000);
        assert_eq!(stage.anchor().position_at(10_000), 5_000.0);
        assert_eq!(stage.anchor().position_at(16_000), 13_000.0);
    }

    #[test]
    fn bounds_of_the_tempo_are_told_in_the_words_of_the_stage() {
        let mut stage = pacer();
        for tempo in [3.9, 8.1, 0.0, -6.0, 1e9, f64::NAN] {
            let no = stage.change(StageWish::Tempo(tempo), 1, OFFSET);
            let no = no.expect_err("out of bounds");
            assert_eq!(no.code, RefusalCode::BadValue);
            assert_eq!(
                no.message,
                "`tempo` must be from 4 to 8 breaths per minute."
            );
        }
        assert_eq!(stage, pacer());
        let mut band = Stage::waiting(Kind::NAMED, 0);
        assert!(done(&mut band, StageWish::Tempo(120.0), 0));
        assert!(band.change(StageWish::Tempo(301.0), 0, OFFSET).is_err());
        done(&mut band, StageWish::Play, 0);
        // Two beats a second.
        assert_eq!(band.anchor().position_at(1_000) / Kind::NAMED.turn_ms, 2.0);
    }

    #[test]
    fn what_changes_nothing_raises_no_version() {
        let mut stage = pacer();
        for wish in [
            StageWish::Tempo(6.0),
            StageWish::Play,
            StageWish::Message(None),
        ] {
            assert!(!done(&mut stage, wish, 1_000));
        }
        assert_eq!(stage.anchor().version, 1);
        done(&mut stage, StageWish::Message(Some("Rest.".into())), 1_000);
        assert!(!done(
            &mut stage,
            StageWish::Message(Some("Rest.".into())),
            2_000
        ));
        let at = stage.message().map(|message| message.at_ms);
        assert_eq!(at, Some(OFFSET + 1_000), "since it was said first");
    }

    #[test]
    fn to_rest_is_a_pause_with_another_scene_and_playing_ends_both() {
        let mut stage = pacer();
        assert!(done(&mut stage, StageWish::Pause(Scene::Stage), 1_000));
        assert!(done(&mut stage, StageWish::Pause(Scene::Rest), 2_000));
        let resting = stage.anchor();
        assert!(!done(&mut stage, StageWish::Pause(Scene::Rest), 3_000));
        assert_eq!(stage.anchor(), resting, "not even the anchor is laid anew");
        assert_eq!(stage.anchor().position_at(9_000), 1_000.0);
        assert!(done(&mut stage, StageWish::Play, 4_000));
        assert_eq!(stage.scene(), Scene::Stage);
    }

    #[test]
    fn a_new_session_breaks_no_breath_and_wakes_a_stage_that_rests() {
        let mut stage = pacer();
        stage.begin_session(12_345);
        assert_eq!(stage.anchor().position_at(12_345), 12_345.0);
        done(&mut stage, StageWish::Tempo(5.0), 12_345);
        done(&mut stage, StageWish::Pause(Scene::Rest), 13_000);
        stage.begin_session(20_000);
        let anchor = stage.anchor();
        assert_eq!(
            (anchor.state, stage.scene()),
            (State::Playing, Scene::Stage)
        );
        assert_eq!(anchor.position_at(20_000), 0.0);
        assert_eq!(stage.tempo(), 5.0, "the tempo is kept");
    }

    #[test]
    fn changes_are_taken_as_fast_as_fingers_are_and_no_faster() {
        let mut stage = pacer();
        let taken = (0..100).filter(|_| stage.may_change(0)).count();
        assert_eq!(taken, 20);
        assert!(!stage.may_change(50));
        assert!(stage.may_change(200));
    }

    #[test]
    fn a_stage_is_remembered_with_a_tempo_that_still_waits() {
        let mut stage = pacer();
        done(&mut stage, StageWish::Tempo(4.0), 13_000);
        let anchor = stage.anchor();
        let again = Stage::remembered(Kind::PACER, anchor, 4.0, Scene::Stage, None, 31_000);
        assert_eq!(
            again.due_ms(),
            Some(40_000),
            "phones went on at the old tempo"
        );
        assert_eq!(again.anchor(), anchor);
    }

    fn wish() -> impl Strategy<Value = StageWish> {
        prop_oneof![
            (4.0..=8.0_f64).prop_map(StageWish::Tempo),
            Just(StageWish::Play),
            Just(StageWish::Pause(Scene::Stage)),
            Just(StageWish::Pause(Scene::Rest)),
            (0.0..1e9_f64).prop_map(StageWish::Seek),
            Just(StageWish::Message(Some("Slower.".into()))),
        ]
    }

    proptest! {
        #[test]
        fn no_change_makes_the_position_jump_and_each_raises_the_version(
            wishes in prop::collection::vec((wish(), 0_i64..20_000), 1..60),
        ) {
            let mut stage = pacer();
            let mut now_ms = 0;
            for (wish, wait_ms) in wishes {
                let end_ms = now_ms + wait_ms;
                // What time brings first: the position is the same on both sides of it.
                if let Some(at_ms) = stage.due_ms().filter(|at_ms| *at_ms <= end_ms) {
                    let before = stage.anchor();
                    prop_assert!(stage.tick(end_ms));
                    let (there, then) = (stage.anchor().position_at(at_ms), before.position_at(at_ms));
                    prop_assert!((there - then).abs() < 1e-6, "{then} {there}");
                    // It is the beginning of a breath, to the ms.
                    let into_ms = (there + 1e-6).rem_euclid(Kind::PACER.turn_ms);
                    prop_assert!(into_ms <= stage.anchor().rate.max(before.rate) + 1e-3, "{into_ms}");
                    prop_assert!(stage.anchor().version > before.version);
                }
                now_ms = end_ms;
                let before = stage.anchor();
                let changed = stage.change(wish.clone(), now_ms, OFFSET).expect("an allowed wish");
                let after = stage.anchor();
                prop_assert_eq!(after.version, before.version + u64::from(changed));
                let there = after.position_at(now_ms);
                match wish {
                    StageWish::Seek(position_ms) => prop_assert_eq!(there, position_ms),
                    _ => {
                        let then = before.position_at(now_ms);
                        prop_assert!((there - then).abs() < 1e-6, "{then} {there}");
                    }
                }
            }
        }
    }
}
