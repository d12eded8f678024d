//! The log of a process that serves: lines with times, on a standard error that may have stopped being read.

use std::io::{self, IsTerminal, Write};
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// How many lines wait for a reader that is slow, before further ones are dropped.
const WAITING_LINES: usize = 4096;

/// The form of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A line of text for each event.
    #[default]
    Text,
    /// A JSON object on a line for each event.
    Json,
}

impl LogFormat {
    /// All names, for help and completion.
    pub const NAMES: [&str; 2] = ["text", "json"];
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("write one of {}", Self::NAMES.join(", "))),
        }
    }
}

/// A log that never blocks: a thread writes its lines to standard error, and those that do not fit its queue are dropped
/// and counted.
#[derive(Clone)]
pub struct Log {
    format: LogFormat,
    writer: NonBlocking,
    dropped: ErrorCounter,
    /// A terminal shows lines to somebody who sees when they come.
    timed: bool,
}

impl Log {
    /// Starts the thread. When the guard is dropped, what waits is written, for a second at most.
    pub fn start(format: LogFormat) -> (Self, WorkerGuard) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES);
        let (writer, guard) = builder.thread_name("log").finish(io::stderr());
        let dropped = writer.error_counter();
        (Self { format, writer, dropped, timed: !io::stderr().is_terminal() }, guard)
    }

    /// The form of its lines.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Where its lines go.
    pub fn writer(&self) -> NonBlocking {
        self.writer.clone()
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }

    /// Writes a line. `shown` is what people see of the message.
    pub(super) fn line(&self, level: &'static str, shown: &str, message: &str) {
        let mut line = Vec::new();
        let time = format!("{:.3}", Timestamp::now());
        // Writing to memory cannot fail.
        let _ = match self.format {
            LogFormat::Text if self.timed => writeln!(line, "{time} {shown}"),
            LogFormat::Text => writeln!(line, "{shown}"),
            LogFormat::Json => {
                serde_json::to_writer(&mut line, &LogLine { timestamp: time, level, fields: LogFields { message } })
                    .map_err(io::Error::from)
                    .and_then(|()| writeln!(line))
            }
        };
        // A line that is dropped is counted.
        let _ = self.writer.clone().write_all(&line);
    }
}

/// A line in the form that events of `tracing` have as JSON.
#[derive(Serialize)]
struct LogLine<'a> {
    timestamp: String,
    level: &'static str,
    fields: LogFields<'a>,
}

#[derive(Serialize)]
struct LogFields<'a> {
    message: &'a str,
}

/// Writes the time as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct LogTime;

impl FormatTime for LogTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.3}", Timestamp::now())
    }
}
