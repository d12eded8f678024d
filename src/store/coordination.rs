//! What the receivers of one store know of each other.

use jiff::Timestamp;

use super::StoreError;
use super::queue::TargetId;

/// The receivers of a store, as one of them sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attendance {
    /// How many there are, with this one.
    pub receivers: u32,
    /// Whether this one has been there the longest: what one of them does for all, it does.
    pub is_first: bool,
}

/// Alone.
impl Default for Attendance {
    fn default() -> Self {
        Self { receivers: 1, is_first: true }
    }
}

/// What receivers of one store tell each other and whoever looks. Where a backend allows one receiver only, there are no
/// others to tell.
pub trait Coordination: Send {
    /// Says that this receiver is there, for the next 45 seconds, and who else is.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn attend(&mut self) -> Result<Attendance, StoreError> {
        Ok(Attendance::default())
    }

    /// Keeps all receivers from claiming forwards to a target that is failing until then, or lets them again. It is on record
    /// as [`TargetRecord::suspended_until`](super::TargetRecord::suspended_until).
    ///
    /// # Errors
    /// When the store cannot be written.
    fn hold(&mut self, target: TargetId, until: Option<Timestamp>) -> Result<(), StoreError> {
        let _ = (target, until);
        Ok(())
    }
}
