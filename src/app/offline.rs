//! What the command line asks while no hub runs: done on the database itself, by what the daemon is
//! made of, and only as long as no daemon starts.

use super::lock::lock;
use super::{AppError, boot, settings};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::control::{self, Answer, Request};
use crate::gate::Gate;
use crate::room::command::{Command, Refusal, RefusalCode, Reply};
use crate::room::{ClockReading, Room};
use crate::store::{self, Store};

/// Does what is asked.
///
/// # Errors
/// The database can't be opened as it is, or a hub has just started on it.
pub fn answer(config: &Config, request: Request) -> Result<Answer, AppError> {
    let data_dir = &config.store.data_dir;
    let database = data_dir.join(store::FILE_NAME);
    let _lock = lock(data_dir)?;
    let clock = Clock::configured(&config.clock, &config.test);
    let reading = ClockReading {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
        known: clock.known(),
    };
    let boot_id = clock::boot_id();
    let boot = boot(&boot_id, reading);
    let now = boot.start;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(AppError::Process)?;
    runtime.block_on(async {
        let (store, memory) = store::open_as_it_is(&database, boot)?;
        let gate = Gate::new(store.clone(), &memory, now.mono_ms);
        // A room as the next start would find it. Nothing of its beginning is kept, only what is asked for.
        let room = Room::new(settings(config), &boot_id, reading, memory.past);
        let of_straps = |command| carry_out(room, command, now.mono_ms, &store);
        let mut answer = control::answer(&gate, of_straps, request, now).await;
        if let Answer::Straps { running, .. } = &mut answer {
            *running = false;
        }
        store.close().await?;
        Ok(answer)
    })
}

/// Carries a command out in a room that nobody is in.
async fn carry_out(
    mut room: Room,
    command: Command,
    now_ms: i64,
    store: &Store,
) -> Result<Reply, Refusal> {
    let outcome = room.apply(command, now_ms)?;
    if !outcome.durable.is_empty() {
        let (done, stored) = tokio::sync::oneshot::channel();
        let tell = move |result| drop(done.send(result));
        store.commit_then(outcome.durable, Box::new(tell));
        let stored = stored.await.unwrap_or(Err(store::StoreError::Closed));
        stored.map_err(|error| {
            Refusal::new(
                RefusalCode::NotStored,
                format!("The database could not keep this: {error}"),
            )
        })?;
    }
    Ok(outcome.reply)
}
