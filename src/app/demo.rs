//! The imagined room of a demo: a virtual room, a third of whose people wear straps that a virtual ANT+ stick
//! hears, and a past to compute from. Not here: how it is served.

use std::net::SocketAddr;

use coherence_hal::SourceEvent;
use coherence_hal::script::Scripted;
use coherence_hal::virtual_room::VirtualRoom;

use super::{AppError, DEMO_PAST_MS, Demo};
use crate::clock::Clock;

/// What a demo hears.
pub(super) struct Imagined {
    pub room: Scripted<VirtualRoom>,
    #[cfg(feature = "serial")]
    pub stick: Stick,
    /// What was heard before now, oldest first; nothing where the database already knows a past.
    pub past: Vec<(&'static str, SourceEvent)>,
}

/// A virtual stick in its place, and who hears it.
#[cfg(feature = "serial")]
pub(super) struct Stick {
    pub plug: coherence_hal::virtual_stick::Plug,
    pub source: coherence_hal::ant::AntSource,
    /// Where its port lies.
    pub place: tempfile::TempDir,
}

impl Imagined {
    /// The sources that are there.
    pub fn names(&self) -> &'static [&'static str] {
        match cfg!(feature = "serial") {
            true => &["virtual", "ant"],
            false => &["virtual"],
        }
    }
}

/// The room and its past of some 90 s.
pub(super) async fn imagine(
    demo: &Demo,
    clock: &Clock,
    has_past: bool,
) -> Result<Imagined, AppError> {
    let now_ms = clock.mono_ms();
    let start_ms = now_ms - DEMO_PAST_MS;
    #[cfg(feature = "serial")]
    let (script, others) = VirtualRoom::with_others(demo.people, demo.seed);
    #[cfg(not(feature = "serial"))]
    let script = VirtualRoom::new(demo.people, demo.seed);
    let text = format!(
        "A virtual room of {} people (seed {}).",
        demo.people, demo.seed
    );
    let mut room = Scripted::new("virtual", script, start_ms, clock.source_clock(), text);
    let mut past: Vec<_> = named("virtual", room.past_events(now_ms));
    #[cfg(feature = "serial")]
    let stick = {
        let (stick, heard) = plugged_in(demo.seed, others, clock, start_ms, now_ms).await?;
        past.extend(named("ant", heard));
        stick
    };
    // What is no strap's has no time of its own, and comes first.
    past.sort_by_key(|(_, event)| match event {
        SourceEvent::Strap(event) => event.at_ms,
        _ => i64::MIN,
    });
    if has_past {
        past.clear();
    }
    Ok(Imagined {
        room,
        #[cfg(feature = "serial")]
        stick,
        past,
    })
}

fn named(name: &'static str, events: Vec<SourceEvent>) -> Vec<(&'static str, SourceEvent)> {
    events.into_iter().map(|event| (name, event)).collect()
}

/// A stick behind a pseudo-terminal that hears these hearts, its source, and what that has heard until now.
#[cfg(feature = "serial")]
async fn plugged_in(
    seed: u64,
    hearts: Vec<coherence_hal::virtual_room::Beats>,
    clock: &Clock,
    start_ms: i64,
    now_ms: i64,
) -> Result<(Stick, Vec<SourceEvent>), AppError> {
    use coherence_hal::ant::{AntOptions, AntSource};
    use coherence_hal::decode::ant::NetworkKey;
    use coherence_hal::virtual_stick::{MADE_UP_KEY, Plug, VirtualStick, VirtualStrap};

    let numbers = 70_001..;
    let straps = numbers
        .zip(hearts)
        .map(|(number, beats)| VirtualStrap::new(number, beats));
    let mut stick = VirtualStick::new(start_ms, seed, straps.collect());
    // Not beside the database: its disk may be full or read-only, and the demo goes on.
    let place = tempfile::tempdir().map_err(AppError::Process)?;
    let path = place.path().join("virtual-ant-stick");
    let options = AntOptions {
        port: path.display().to_string(),
        baud: 115_200,
        key: Ok(NetworkKey::parse(MADE_UP_KEY).expect("it has 16 digits")),
    };
    let mut source = AntSource::new(clock.source_clock(), options);
    let past = stick.past_events(&mut source, now_ms);
    let mut plug = Plug::new(stick, clock.source_clock(), path);
    plug.plug_in().await.map_err(AppError::Process)?;
    let stick = Stick {
        plug,
        source,
        place,
    };
    Ok((stick, past))
}

/// What a newcomer sees.
pub(super) fn greet(demo: &Demo, address: SocketAddr) {
    let people = demo.people;
    println!(
        "coherence-hub demo: a virtual room of {people} people, seed {}",
        demo.seed
    );
    println!();
    println!("  Open   http://{address}/              a phone: join, with a strap or without");
    println!("         http://{address}/wall          the wall");
    println!("         http://{address}/lead          the facilitator (PIN: in the log)");
    println!("         http://{address}/api/straps    every strap and why it gives no score");
    println!("         http://{address}/health");
    println!();
    println!("Ctrl-C ends it.");
}
