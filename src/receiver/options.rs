//! The configuration of a receiver.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::net::TcpListener;

use super::access::Access;
use super::alerts::Alerts;
use super::forward::{Policy, Target};
use super::health::DroppedLines;
use super::limits::Limits;
use super::maintenance::Keep;
use super::outcomes::OutcomeSender;
use super::self_check::SelfCheck;
use super::tls::TlsFiles;
use crate::domain::Redaction;
use crate::domain::delivery::DeliveryKeys;
use crate::http::ServedHosts;
use crate::store::DEDUPE_WINDOW;
use crate::ui::WebPage;

/// The configuration of a receiver.
pub struct ReceiverOptions {
    /// Who may deliver.
    pub delivery_keys: DeliveryKeys,
    /// Which addresses may deliver.
    pub access: Access,
    /// Where the paths for operators are served, if not with those for deliveries.
    pub admin: Option<TcpListener>,
    /// A page that is served with the paths for operators on their own port.
    pub page: Option<WebPage>,
    /// Under which names the paths for operators are served.
    pub admin_hosts: ServedHosts,
    /// Limits on size, time and connections.
    pub limits: Limits,
    /// What is redacted from events before they are stored.
    pub redaction: Option<Redaction>,
    /// The certificate and key to serve with.
    pub tls: Option<TlsFiles>,
    /// Where events are forwarded to.
    pub targets: Vec<Target>,
    /// How they are forwarded.
    pub policy: Policy,
    /// For how long the same report of a sender that gives no ids is the same event.
    pub dedupe_window: SignedDuration,
    /// How long events are kept, and how large the inbox may grow.
    pub keep: Keep,
    /// How long to wait for what is in flight when stopping.
    pub drain_timeout: Duration,
    /// Counts the lines of the log that were dropped, as nothing read them.
    pub dropped_lines: DroppedLines,
    /// Who is told the outcomes of forwards.
    pub outcomes: Option<OutcomeSender>,
    /// How it is checked whether deliveries arrive.
    pub self_check: Option<SelfCheck>,
    /// Where it is said what fails.
    pub alerts: Alerts,
}

impl ReceiverOptions {
    /// A receiver that accepts these keys, stores what it receives, and forwards nothing.
    pub fn new(delivery_keys: DeliveryKeys) -> Self {
        Self {
            delivery_keys,
            access: Access::default(),
            admin: None,
            page: None,
            admin_hosts: ServedHosts::default(),
            limits: Limits::default(),
            redaction: None,
            tls: None,
            targets: Vec::new(),
            policy: Policy::default(),
            dedupe_window: DEDUPE_WINDOW,
            keep: Keep::default(),
            drain_timeout: Duration::from_secs(10),
            dropped_lines: Box::new(|| 0),
            outcomes: None,
            self_check: None,
            alerts: Alerts::default(),
        }
    }
}
