//! Long changes of the inbox, in small steps beside a receiver.

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::store::{StoreError, StoreErrorKind};

/// The least time that others have for the inbox between two steps.
const MIN_YIELD: Duration = Duration::from_millis(5);

/// How long a step is tried again while others keep the inbox locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes steps until one says that there are no more. Between them others have the inbox, and Ctrl-C is heard.
///
/// # Errors
/// That of a step, or when it is interrupted `doing` this: the steps before are done.
pub fn each_step(ctx: &Context, doing: &str, mut step: impl FnMut() -> Result<bool, StoreError>) -> Result<()> {
    let interrupted = || Error::interrupted(doing);
    // From now on an interruption is noticed by what waits.
    ctx.wait(async {})?.ok_or_else(interrupted)?;
    let mut last_done = Instant::now();
    loop {
        let started = Instant::now();
        match step() {
            Ok(false) => return Ok(()),
            Ok(true) => last_done = Instant::now(),
            Err(error) if error.kind() == StoreErrorKind::Busy && last_done.elapsed() < LOCK_TIMEOUT => {}
            Err(error) => return Err(error.into()),
        }
        // A receiver that waits for the lock gets it now.
        let rest = started.elapsed().clamp(MIN_YIELD, Duration::from_secs(1));
        ctx.wait(async { tokio::time::sleep(rest).await })?.ok_or_else(interrupted)?;
    }
}
