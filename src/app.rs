//! WIRING: the only file that sees everything. It opens what the hub is made of, joins the parts,
//! runs them until one of them fails or somebody says stop, and saves.
//!
//! Supervision is systemd's: the first part that ends takes the others with it, the process ends,
//! the service manager starts it again and the state is read back. Not here: what any part does.

mod demo;
pub mod files;
mod house;
mod lock;
mod offline;
mod reload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coherence_hal::StrapId;
use coherence_hal::replay::{self, Recording};
use coherence_hal::script::{Cue, Scripted, together};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{self, Clock};
use crate::config::{Config, Overrides, Trust};
use crate::control;
use crate::gate::Gate;
use crate::room::rows::Stamp;
use crate::room::{ClockReading, Room, SessionPlan, Settings, StageRules, Suppression};
use crate::room_task::{self, Parts, RoomTaskError};
use crate::store::{self, Boot, Memory, StoreError};
use crate::telemetry::{self, LogLevel, Report, TelemetryError};
use crate::uplink::{self, Uplink};
use crate::web::{self, Guard, Rules, TlsError, WebState};
use crate::{sources, systemd};
use house::House;
use lock::lock;
use reload::Reload;

pub use offline::answer as answer_offline;

/// How long the parts get to end by themselves.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How much past the demo brings along, ms.
const DEMO_PAST_MS: i64 = 90_000;

/// Why the hub ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(
        "the data directory {}: {error}; make it, owned by the hub's user, or name another with \
         --data-dir or store.data_dir",
        path.display()
    )]
    DataDir {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("another hub is running on {}; stop it first, or choose another --data-dir", path.display())]
    InUse { path: PathBuf },
    #[error("the recording {}: {why}", path.display())]
    Recording { path: PathBuf, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot serve on {address}: {error}{}", hint(error))]
    Listen {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("the store ended by itself; the log says why")]
    StoreEnded,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the room ended: {0}")]
    Room(#[from] RoomTaskError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("the process can't be set up: {0}")]
    Process(std::io::Error),
    #[error("a part of the hub ended unexpectedly: {0}")]
    Part(#[from] tokio::task::JoinError),
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another program uses that port: stop it, or choose another with --listen or web.listen"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one"
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: `ip address` shows those it has; 0.0.0.0 stands for all (--listen or web.listen)"
        }
        _ => "",
    }
}

impl AppError {
    /// Whether starting again can't help before a person has acted.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            AppError::Recording { .. }
                | AppError::DataDir { .. }
                | AppError::Store(StoreError::NewerSchema { .. })
                | AppError::Tls(_)
        )
    }
}

/// What a demo is asked for.
#[derive(Clone, Debug)]
pub struct Demo {
    pub listen: SocketAddr,
    pub people: usize,
    pub seed: u64,
    /// Divides a day.
    pub session_min: u32,
    pub data_dir: Option<PathBuf>,
}

/// The daemon. `overrides` are those that `config` was loaded with: a reload loads it again.
///
/// # Errors
/// When a part can't be opened or ends by itself; never because a radio is missing.
pub fn run(config: Config, overrides: Overrides) -> Result<(), AppError> {
    start(config, Kind::Hub(overrides))
}

/// The daemon with a virtual room in place of radios.
///
/// # Errors
/// As [`run`].
pub fn demo(demo: Demo) -> Result<(), AppError> {
    let throw_away = match &demo.data_dir {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(AppError::Process)?),
    };
    let data_dir = throw_away
        .as_ref()
        .map(|dir| dir.path().to_owned())
        .or_else(|| demo.data_dir.clone());
    let mut config = Config::default();
    config.web.listen = demo.listen;
    config.session.length_min = demo.session_min;
    if demo.session_min < 5 {
        (config.session.preparation_s, config.session.integration_s) = (5, 10);
    }
    config.straps.ble = false;
    config.clock.trust = Trust::Always;
    config.store.data_dir = data_dir.unwrap_or_default();
    start(config, Kind::Demo(demo))
}

/// What is to be run.
enum Kind {
    Hub(Overrides),
    Demo(Demo),
}

fn start(config: Config, kind: Kind) -> Result<(), AppError> {
    let log = telemetry::install_log(&config.log.level)?;
    let metrics = telemetry::install_metrics()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(AppError::Process)?;
    runtime.block_on(serve(config, kind, log, metrics))
}

async fn serve(
    config: Config,
    kind: Kind,
    log: LogLevel,
    metrics: telemetry::PrometheusHandle,
) -> Result<(), AppError> {
    // Whoever says stop while the hub is still starting is heard as well.
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Process)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Process)?;
    let hangup = signal(SignalKind::hangup()).map_err(AppError::Process)?;
    let (demo, overrides) = match kind {
        Kind::Demo(demo) => (Some(demo), None),
        Kind::Hub(overrides) => (None, Some(overrides)),
    };

    let rules = Rules::of(&config.web)?;
    let (in_force, live) = watch::channel(Arc::new(config.clone()));
    let clock = Clock::configured(&config.clock, &config.test);
    let data_dir = &config.store.data_dir;
    let _lock = lock(data_dir)?;
    let boot_id = clock::boot_id();
    let reading = ClockReading {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
        known: clock.known(),
    };
    let (store, memory) = store::open(&data_dir.join(store::FILE_NAME), boot(&boot_id, reading))?;
    tell_start(&memory, &config);

    let (hub_id, boot_no) = (memory.hub_id, memory.boot_no);
    let gate = Arc::new(Gate::new(store.clone(), &memory, reading.mono_ms));
    let has_past = !memory.past.recent_rr.is_empty();
    let settings = settings(&config);
    let mut room = Room::new(settings, &boot_id, reading, memory.past);
    let mut past = Vec::new();
    let mut virtual_room = None;
    #[cfg(feature = "serial")]
    let mut virtual_stick = None;
    if let Some(demo) = &demo {
        let imagined = demo::imagine(demo, &clock, has_past).await?;
        for source in imagined.names() {
            room.expect_source(source);
        }
        past = imagined.past;
        virtual_room = Some(imagined.room);
        #[cfg(feature = "serial")]
        {
            virtual_stick = Some(imagined.stick);
        }
    }
    let replayed = recordings(&config.straps.replay)?;
    if !replayed.is_empty() {
        room.expect_source("replay");
    }
    if config.straps.ble {
        room.expect_source("ble");
    }
    if !config.serial.is_empty() {
        room.expect_source("text");
    }
    if !config.ant.port.is_empty() {
        room.expect_source("ant");
    }

    let Parts {
        mut task,
        handle,
        events,
    } = room_task::prepare(room, clock.clone(), store.clone(), past);
    let (stop, stopped) = watch::channel(false);
    let address = config.web.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| AppError::Listen { address, error })?;
    let address = listener
        .local_addr()
        .map_err(|error| AppError::Listen { address, error })?;

    let mut parts: JoinSet<Result<(), AppError>> = JoinSet::new();
    let uplink = watch::Sender::new(uplink::off());
    let load = watch::Sender::new(Report::ok("Everything is on time."));
    let guard = Arc::new(Guard::new(rules, config.web.max_connections));
    let state = WebState {
        room: handle.clone(),
        store: store.clone(),
        clock: clock.clone(),
        hub_id,
        gate: Arc::clone(&gate),
        metrics: metrics.clone(),
        started_mono_ms: reading.mono_ms,
        version: env!("CARGO_PKG_VERSION"),
        config: live.clone(),
        uplink: uplink.subscribe(),
        load: load.subscribe(),
        live: Arc::default(),
        guard: Arc::clone(&guard),
    };
    let web_stop = stopped.clone();
    parts.spawn(async move {
        web::serve(listener, state, web_stop).await;
        Ok(())
    });

    let way_up = Uplink {
        store: store.clone(),
        clock: clock.clone(),
        hub_id: hub_id.to_string(),
        boot_no,
        version: env!("CARGO_PKG_VERSION"),
        report: uplink,
    };
    let uplink_stop = stopped.clone();
    let uplink_config = live.clone();
    parts.spawn(async move {
        way_up.run(uplink_config, uplink_stop).await;
        Ok(())
    });

    let mut line = || sources::Line {
        room: events.clone(),
        wishes: task.wishes(),
    };
    // Sources, the control socket and housekeeping may end without ending the hub.
    let mut hearing = JoinSet::new();
    let mut helpers = JoinSet::new();
    if let Some(source) = virtual_room {
        hearing.spawn(sources::run(source, line(), stopped.clone()));
    }
    if !replayed.is_empty() {
        let text = format!("Playing {} recordings.", replayed.len());
        let script = together(replayed);
        let source = Scripted::new(
            "replay",
            script,
            clock.mono_ms(),
            clock.source_clock(),
            text,
        );
        hearing.spawn(sources::run(source, line(), stopped.clone()));
    }
    #[cfg(feature = "serial")]
    let _plugged = virtual_stick.map(
        |demo::Stick {
             plug,
             source,
             place,
         }| {
            hearing.spawn(sources::run(source, line(), stopped.clone()));
            (plug, place)
        },
    );
    #[cfg(feature = "serial")]
    if !config.ant.port.is_empty() {
        let options = coherence_hal::ant::AntOptions {
            port: config.ant.port.clone(),
            baud: config.ant.baud,
            key: files::ant_key(&config),
        };
        let source = coherence_hal::ant::AntSource::new(clock.source_clock(), options);
        hearing.spawn(sources::run(source, line(), stopped.clone()));
    }
    #[cfg(feature = "serial")]
    if !config.serial.is_empty() {
        let ports = config.serial.iter().map(text_port).collect();
        let source = coherence_hal::text::TextSource::new(clock.source_clock(), ports);
        hearing.spawn(sources::run(source, line(), stopped.clone()));
    }
    #[cfg(feature = "ble")]
    if config.straps.ble {
        let options = coherence_hal::ble::BleOptions {
            adapters: config.straps.adapters.clone(),
            max_links: config.straps.max_links as usize,
        };
        let source = coherence_hal::ble::BleSource::new(clock.source_clock(), options);
        hearing.spawn(sources::run(source, line(), stopped.clone()));
    }
    // Now that every source hears its wishes.
    let room_stop = stopped.clone();
    parts.spawn(async move { task.run(room_stop).await.map_err(AppError::Room) });
    match control::listen(&control::socket_path(data_dir)) {
        Ok(listener) => {
            let (clock, room) = (clock.clone(), handle.clone());
            let published = room.published();
            let now = move || published.borrow().stamp(clock.mono_ms());
            let ask = move |command| {
                let room = room.clone();
                async move { room.apply(command, None).await }
            };
            helpers.spawn(control::serve(listener, gate, ask, now));
        }
        Err(error) => {
            tracing::warn!(%error, "the command line can't talk to this hub: its socket can't be made")
        }
    }
    if let Some(interval) = systemd::watchdog_interval() {
        let (room, load) = (handle.clone(), load.subscribe());
        helpers.spawn(house::feed_watchdog(
            interval,
            room,
            store.clone(),
            load,
            address,
        ));
    }
    let house = House {
        store: store.clone(),
        clock: clock.clone(),
        room: handle.clone(),
        recorder: metrics,
        config: live,
        load,
    };
    helpers.spawn(house.keep());
    let reload = Reload {
        overrides,
        config: in_force,
        room: handle,
        guard,
        log,
    };
    helpers.spawn(reload.run(hangup));

    tracing::info!(%address, "serving");
    systemd::ready(&format!("Serving on {address}"));
    if let Some(demo) = &demo {
        demo::greet(demo, address);
    }

    let end = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = parts.join_next() => ended.map_err(AppError::Part).flatten(),
        () = store.ended() => Err(AppError::StoreEnded),
    };
    if end.is_ok() {
        tracing::info!("stopping: saving what has come in");
    }
    systemd::stopping();
    helpers.abort_all();
    stop.send_replace(true);
    let last_words_end = tokio::time::Instant::now() + LAST_WORDS;
    let ended = tokio::time::timeout_at(last_words_end, async {
        while parts.join_next().await.is_some() {}
    });
    if ended.await.is_err() {
        tracing::warn!("some parts did not end in time");
        parts.abort_all();
    }
    // What has come in is safe before the straps are waited for, which takes BlueZ seconds.
    let saved = store.close().await;
    let let_go = tokio::time::timeout_at(last_words_end, async {
        while hearing.join_next().await.is_some() {}
    });
    if let_go.await.is_err() {
        tracing::warn!("the radio did not let go of the straps in time");
    }
    let _ = std::fs::remove_file(control::socket_path(data_dir));
    // Why it ended says more than what that led to.
    end?;
    Ok(saved?)
}

fn tell_start(memory: &Memory, config: &Config) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        hub_id = %memory.hub_id,
        data_dir = %config.store.data_dir.display(),
        "starting"
    );
    if memory.first_start {
        tracing::info!(pin = %memory.pin, "first start: this is the facilitator's PIN (coherence-hub pin shows it again)");
    }
    if let Some(aside) = memory.aside_in_words() {
        tracing::error!(file = %aside, "the database was damaged: it was set aside, and a new one begins");
    }
}

fn boot(boot_id: &str, reading: ClockReading) -> Boot {
    let ClockReading {
        mono_ms,
        wall_ms,
        known,
    } = reading;
    Boot {
        boot_id: boot_id.to_owned(),
        start: Stamp {
            mono_ms,
            wall_ms,
            synced: known,
        },
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        plan: SessionPlan {
            length_ms: i64::from(config.session.length_min) * 60_000,
            preparation_ms: i64::from(config.session.preparation_s) * 1_000,
            integration_ms: i64::from(config.session.integration_s) * 1_000,
        },
        suppression: Suppression {
            min_group: config.privacy.min_group_live,
            min_distribution: config.privacy.min_distribution_live,
        },
        max_participants: config.room.max_participants,
        keep_ms: keep_ms(config.privacy.keep_days),
        stage: StageRules {
            room: config.stage.room_leader,
            named: config.stage.named_leader,
            leaves: config.stage.leader_leaves,
            named_max: config.stage.named_max,
        },
    }
}

fn keep_ms(keep_days: u32) -> i64 {
    i64::from(keep_days) * 86_400_000
}

/// Each recording as the script of one strap, named after its file.
fn recordings(
    files: &[PathBuf],
) -> Result<Vec<impl Iterator<Item = Cue> + Send + 'static>, AppError> {
    let read = |path: &PathBuf| {
        let fail = |why: String| AppError::Recording {
            path: path.clone(),
            why,
        };
        let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let recording = Recording::parse(&text).map_err(|error| fail(error.to_string()))?;
        let name = path
            .file_name()
            .map_or_else(|| "recording".into(), |name| name.to_string_lossy());
        let name = name.split('.').next().unwrap_or_default();
        Ok(replay::cues(recording, StrapId::new("replay", name)))
    };
    files.iter().map(read).collect()
}

#[cfg(feature = "serial")]
fn text_port(serial: &crate::config::Serial) -> coherence_hal::text::TextPort {
    coherence_hal::text::TextPort {
        name: serial.name.clone(),
        path: serial.port.clone(),
        baud: serial.baud,
        profile: serial
            .profile
            .parse()
            .expect("the configuration was checked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_machine_is_told_as_such() {
        let address = SocketAddr::from(([192, 0, 2, 1], 8080));
        let error = std::net::TcpListener::bind(address).expect_err("that is for documents only");
        let told = AppError::Listen { address, error }.to_string();
        assert!(told.contains("this machine has no such address"), "{told}");
    }
}
