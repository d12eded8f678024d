//! What the engines ask of whoever runs them.

use crate::error::Result;

/// Who runs an engine: waits for it, as long as the user does, and tells the user what is no result.
pub trait Frontend {
    /// Runs a future to its end, or until the user interrupts: then `None`, and the future is dropped where it stood.
    /// After an interruption since the last wait the future is not begun.
    ///
    /// # Errors
    /// When the system refuses what it takes to wait.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>>;

    /// Tells the user something.
    fn note(&self, text: &str);

    /// Tells the user of something that may be a mistake.
    fn warn(&self, text: &str);
}
