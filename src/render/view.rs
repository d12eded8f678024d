//! What a command returns, and how each kind of it is shown.

use super::output::Output;
use super::records::{One, Records, Row};
use crate::error::Result;

/// What a command returns: something that can be shown.
pub trait View {
    /// Shows it in the format that was asked for.
    ///
    /// # Errors
    /// When the output cannot be written, or the `--jq` filter fails over it.
    fn show(&self, out: &Output) -> Result<()>;
}

/// Text that is the result itself: a script, a manual page, a token.
#[derive(Debug)]
pub struct Text(pub String);

impl View for Text {
    fn show(&self, out: &Output) -> Result<()> {
        out.raw(&self.0)
    }
}

impl<T: Row> View for Records<T> {
    fn show(&self, out: &Output) -> Result<()> {
        out.show(self)
    }
}

impl<T: Row> View for One<T> {
    fn show(&self, out: &Output) -> Result<()> {
        if out.is_for_people() { out.raw(&format!("{}\n", self.0.id().unwrap_or_default())) } else { out.show(self) }
    }
}
