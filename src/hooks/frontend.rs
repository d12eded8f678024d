//! What the engines need from their caller.

use crate::error::Result;

/// The caller of an engine: runs its futures until the user interrupts, and shows notes and warnings.
pub trait Frontend {
    /// Runs a future to its end, or until the user interrupts: then `None`, and the future is dropped where it stood.
    /// After an interruption since the last wait the future is not begun.
    ///
    /// # Errors
    /// When the system cannot set up the wait.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>>;

    /// Tells the user something.
    fn note(&self, text: &str);

    /// Tells the user of something that may be a mistake.
    fn warn(&self, text: &str);
}
