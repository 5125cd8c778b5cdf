//! What the command line asks while no hub runs: done on the database itself, by what the daemon is
//! made of, and only as long as no daemon starts.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use super::{AppError, LOCK, boot, lock};
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
    hand_over(&data_dir.join(LOCK), &database);
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

/// A lock file that root has made would keep the daemon's own user out.
fn hand_over(file: &Path, like: &Path) {
    let owner = std::fs::metadata(like);
    // Only root can give it to another, and only for root it is another's.
    let _ = owner.and_then(|owner| chown(file, Some(owner.uid()), Some(owner.gid())));
}
