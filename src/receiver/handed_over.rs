//! Takes what other processes hand over, which may not store it themselves.

use std::time::Duration;

use super::writer::Writer;

/// How often to look whether there is something.
const INTERVAL: Duration = Duration::from_millis(250);

/// Takes it, until aborted.
pub(super) async fn run(writer: Writer) {
    loop {
        match writer.take_handed_over().await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::debug!("what another process has handed over is not stored yet: {error}"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
