//! The handle through which everything is shown. Standard output is data, standard error is the rest.

use std::cell::RefCell;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstream::AutoStream;
use comfy_table::{Attribute, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::records::{Row, Shape, Source, Tone};
use super::style::{self, Styled};
use super::{ColorChoice, JqFilter, OutputFormat, json, sanitize};
use crate::error::{Error, Result};

/// What people asked for.
#[derive(Debug, Default)]
pub struct OutputOptions {
    /// The format of results.
    pub format: OutputFormat,
    /// A filter over their JSON.
    pub jq: Option<JqFilter>,
    /// Ids only, and no notes.
    pub quiet: bool,
    /// When to use colour.
    pub color: ColorChoice,
}

/// Standard output and standard error, with the choices about them.
pub struct Output {
    options: OutputOptions,
    color_out: bool,
    color_err: bool,
    terminal_out: bool,
    stdout: RefCell<BufWriter<Box<dyn Write>>>,
    stderr: RefCell<Box<dyn Write>>,
}

impl Output {
    /// The process's own streams.
    pub fn of_process(options: OutputOptions) -> Self {
        let wants = |auto: anstream::ColorChoice| match options.color {
            ColorChoice::Auto => auto != anstream::ColorChoice::Never,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            color_out: wants(AutoStream::choice(&io::stdout())),
            color_err: wants(AutoStream::choice(&io::stderr())),
            terminal_out: io::stdout().is_terminal(),
            stdout: RefCell::new(BufWriter::new(Box::new(io::stdout().lock()))),
            stderr: RefCell::new(Box::new(io::stderr())),
            options,
        }
    }

    /// The format of results.
    pub fn format(&self) -> OutputFormat {
        self.options.format
    }

    /// Whether results are for people to read: neither filtered, nor ids, nor another format.
    pub fn is_for_people(&self) -> bool {
        self.options.format == OutputFormat::Table && self.options.jq.is_none() && !self.options.quiet
    }

    /// Whether standard error is coloured.
    pub fn color_err(&self) -> bool {
        self.color_err
    }

    /// Shows a result.
    ///
    /// # Errors
    /// When the output cannot be written, the source fails, or the `--jq` filter fails over it.
    pub fn show<S: Source>(&self, records: &S) -> Result<()> {
        self.write(records).map_err(Error::of_output)
    }

    fn write<S: Source>(&self, records: &S) -> Result<()> {
        let mut out = self.stdout.borrow_mut();
        match (self.options.quiet, &self.options.jq, self.options.format) {
            (true, _, _) => write_ids(&mut *out, records, self.terminal_out)?,
            (_, Some(jq), format) => self.write_filtered(&mut *out, jq, format, records)?,
            (_, None, OutputFormat::Table) => self.write_table(&mut *out, records)?,
            (_, None, OutputFormat::Json) => write_json(&mut *out, records)?,
            (_, None, OutputFormat::Ndjson) => write_lines(&mut *out, records)?,
            (_, None, OutputFormat::Csv) => self.write_csv(&mut *out, records)?,
        }
        Ok(out.flush()?)
    }

    /// Writes text that is the result itself: a script, a manual page, a token.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn raw(&self, text: &str) -> Result<()> {
        let mut out = self.stdout.borrow_mut();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Error::from(error).of_output())
    }

    /// Says on standard error what was done, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.options.quiet {
            self.say(&sanitize(text));
        }
    }

    /// Warns on standard error.
    pub fn warn(&self, text: &str) {
        let word = Styled { text: "warning:", style: style::WARNING, color: self.color_err };
        self.say(&format!("{word} {}", sanitize(text)));
    }

    /// Writes a line that is safe already to standard error. There is nobody to tell if that fails.
    pub(super) fn say(&self, line: &str) {
        let mut err = self.stderr.borrow_mut();
        let _ = writeln!(err, "{line}");
        let _ = err.flush();
    }

    fn write_filtered<S: Source>(
        &self,
        out: &mut dyn Write,
        jq: &JqFilter,
        format: OutputFormat,
        records: &S,
    ) -> Result<()> {
        let mut filter = |document: &[u8]| -> Result<()> {
            for result in jq.run(document)? {
                let shown = if self.terminal_out { sanitize(&result) } else { result.as_str().into() };
                writeln!(out, "{shown}")?;
            }
            Ok(())
        };
        if format == OutputFormat::Ndjson {
            return records.each(&mut |row| filter(&serde_json::to_vec(row).map_err(io::Error::from)?));
        }
        let mut whole = Vec::new();
        write_json(&mut whole, records)?;
        filter(&whole)
    }

    fn write_table<S: Source>(&self, out: &mut dyn Write, records: &S) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // No line is broken to fit: what is broken cannot be copied.
        table.set_content_arrangement(ContentArrangement::Disabled);
        let bold = |text: &&str| comfy_table::Cell::new(text).add_attribute(Attribute::Bold);
        table.set_header(S::Row::HEADERS.iter().map(bold));
        records.each(&mut |row| {
            table.add_row(row.cells().iter().map(|cell| toned(&sanitize(&cell.text), cell.tone)));
            Ok(())
        })?;
        if table.is_empty() {
            return Ok(());
        }
        if self.color_out {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_csv<S: Source>(&self, out: &mut dyn Write, records: &S) -> Result<()> {
        let fields = S::Row::FIELDS;
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(fields).map_err(io::Error::from)?;
        records.each(&mut |row| {
            let value = serde_json::to_value(row).map_err(io::Error::from)?;
            let record = fields.iter().map(|name| csv_field(value.get(name)));
            Ok(writer.write_record(record).map_err(io::Error::from)?)
        })?;
        let bytes = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        if self.terminal_out {
            out.write_all(sanitize(&String::from_utf8_lossy(&bytes)).as_bytes())?;
        } else {
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// A field of CSV: text as it is, nothing for null, JSON for everything else.
fn csv_field(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn write_ids<S: Source>(out: &mut dyn Write, records: &S, terminal: bool) -> Result<()> {
    records.each(&mut |row| {
        if let Some(id) = row.id() {
            let shown = if terminal { sanitize(&id) } else { id.as_str().into() };
            writeln!(out, "{shown}")?;
        }
        Ok(())
    })
}

fn write_json<S: Source>(out: &mut dyn Write, records: &S) -> Result<()> {
    match records.shape() {
        Shape::Single => records.each(&mut |row| Ok(json::write_pretty(out, row)?))?,
        Shape::List => json::write_list(out, |each| records.each(each))?,
    }
    Ok(writeln!(out)?)
}

fn write_lines<S: Source>(out: &mut dyn Write, records: &S) -> Result<()> {
    json::write_lines(out, |each| records.each(each))
}

fn toned(text: &str, tone: Tone) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Caution => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Faint => cell.fg(Color::DarkGrey),
    }
}
