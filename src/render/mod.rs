//! All output: one result with several serialisers, colour, sanitising, and errors.

mod blocks;
mod failure;
mod fit;
mod format;
mod json;
mod log;
mod markdown;
mod output;
mod records;
mod sanitize;
mod stream;
mod style;
mod view;
mod workflow;

pub use blocks::Block;
pub use format::{ColorChoice, OutputFormat};
pub use json::indented;
pub use log::{Log, LogFormat, LogTime};
pub use markdown::cell_text;
pub use output::{Output, OutputOptions};
pub use records::{Cell, One, RecordSource, Records, Row, Shape, Tone};
pub use sanitize::sanitize;
pub use stream::Stream;
pub use view::{Text, View};
