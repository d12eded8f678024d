//! Answers the watchdog of the service manager, as long as the receiver really works.

use super::writer::Writer;
use crate::platform::{self, ServiceState};

/// Answers until the receiver ends, if the service manager has a watchdog. When the threads of the connections or that of
/// the inbox stand still, nothing is answered, and the service manager restarts the process.
pub(super) async fn run(writer: Writer) {
    let Some(interval) = platform::watchdog_interval() else { return };
    loop {
        // Twice in each interval, as recommended.
        tokio::time::sleep(interval / 2).await;
        if writer.is_alive().await {
            platform::notify_service_manager(ServiceState::Alive);
        }
    }
}
