//! What the command line asks while no hub runs: done on the database itself, by what the daemon is
//! made of, and only as long as no daemon starts.

use super::lock::lock;
use super::{AppError, boot};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::control::{self, Answer, Request};
use crate::gate::Gate;
use crate::room::ClockReading;
use crate::store;

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
    let boot = boot(&clock::boot_id(), reading);
    let now = boot.start;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(AppError::Process)?;
    runtime.block_on(async {
        let (store, memory) = store::open_as_it_is(&database, boot)?;
        let gate = Gate::new(store.clone(), &memory, now.mono_ms);
        let answer = control::answer(&gate, request, now).await;
        store.close().await?;
        Ok(answer)
    })
}
