//! The handle for all output. Standard output is for data, standard error for everything else.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstream::AutoStream;
use comfy_table::{Attribute, Color, ContentArrangement, Table, presets};
use serde_json::value::RawValue;

use super::fit::GAP;
use super::records::{Cell, RecordSource, Row, Shape, Tone};
use super::style::{self, Styled};
use super::{ColorChoice, Log, OutputFormat, fit, json, markdown, sanitize, workflow};
use crate::domain::jq::JqFilter;
use crate::error::{Error, Result};

/// The output options of a run.
#[derive(Default)]
pub struct OutputOptions {
    /// The format of results.
    pub format: OutputFormat,
    /// A filter for the JSON of results.
    pub jq: Option<JqFilter>,
    /// Whether to print ids only and no notes.
    pub quiet: bool,
    /// When to use colour.
    pub color: ColorChoice,
    /// Whether errors are shown with their causes.
    pub causes: bool,
    /// The log that standard error is, for a process that serves.
    pub log: Option<Log>,
}

/// Standard output and standard error with their options.
pub struct Output {
    options: OutputOptions,
    color_out: bool,
    color_err: bool,
    terminal_out: bool,
    stdout: RefCell<BufWriter<Box<dyn Write>>>,
    stderr: RefCell<Box<dyn Write>>,
}

impl Output {
    /// The streams of the process.
    pub fn of_process(options: OutputOptions) -> Self {
        let use_color = |auto: anstream::ColorChoice| match options.color {
            ColorChoice::Auto => auto != anstream::ColorChoice::Never,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            color_out: use_color(AutoStream::choice(&io::stdout())),
            color_err: use_color(AutoStream::choice(&io::stderr())),
            terminal_out: io::stdout().is_terminal(),
            stdout: RefCell::new(BufWriter::new(results(options.format))),
            stderr: RefCell::new(Box::new(io::stderr())),
            options,
        }
    }

    /// The format of results.
    pub fn format(&self) -> OutputFormat {
        self.options.format
    }

    /// Whether results are shown as a table: no other format, no filter, no `--quiet`.
    pub fn is_for_people(&self) -> bool {
        self.options.format.is_table() && self.options.jq.is_none() && !self.options.quiet
    }

    /// Whether only ids are shown.
    pub fn is_quiet(&self) -> bool {
        self.options.quiet
    }

    /// Whether standard error is coloured.
    pub fn color_err(&self) -> bool {
        self.color_err
    }

    /// The output options.
    pub(super) fn options(&self) -> &OutputOptions {
        &self.options
    }

    /// Whether results are coloured.
    pub(super) fn color_out(&self) -> bool {
        self.color_out
    }

    /// Writes to standard output and flushes.
    pub(super) fn write_and_flush(&self, bytes: &[u8]) -> Result<()> {
        let mut out = self.stdout.borrow_mut();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        written.map_err(|error| Error::from(error).of_output())
    }

    /// Shows a result.
    ///
    /// # Errors
    /// When the output cannot be written, the source fails, or the `--jq` filter fails.
    pub fn show<S: RecordSource>(&self, records: &S) -> Result<()> {
        self.write(records, self.options.format).map_err(Error::of_output)
    }

    /// Shows a result with any number of records: as lines of JSON by default, and `--jq` filters each record.
    ///
    /// # Errors
    /// As [`Output::show`].
    pub fn show_lines<S: RecordSource>(&self, records: &S) -> Result<()> {
        let lines = self.options.jq.is_some() || self.options.format.is_table();
        let format = if lines { OutputFormat::Ndjson } else { self.options.format };
        self.write(records, format).map_err(Error::of_output)
    }

    fn write<S: RecordSource>(&self, records: &S, format: OutputFormat) -> Result<()> {
        let mut out = self.stdout.borrow_mut();
        match (self.options.quiet, &self.options.jq, format) {
            (true, _, _) => self.write_ids(&mut *out, records)?,
            (_, Some(jq), format) => self.write_filtered(&mut *out, jq, format, records)?,
            (_, None, OutputFormat::Table | OutputFormat::Github) => self.write_table(&mut *out, records)?,
            (_, None, OutputFormat::Markdown) => write_markdown(&mut *out, records)?,
            (_, None, OutputFormat::Json) => write_json(&mut *out, records)?,
            (_, None, OutputFormat::Ndjson) => write_lines(&mut *out, records)?,
            (_, None, OutputFormat::Csv) => self.write_csv(&mut *out, records)?,
        }
        Ok(out.flush()?)
    }

    /// Writes text that is itself the result: a script, a manual page, a token.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn raw(&self, text: &str) -> Result<()> {
        self.write_and_flush(text.as_bytes())
    }

    /// Writes bytes that are themselves the result: unchanged, or sanitised on a terminal.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        if self.terminal_out {
            return self.raw(&sanitize(&String::from_utf8_lossy(bytes)));
        }
        self.write_and_flush(bytes)
    }

    /// The log that standard error is, for a process that serves.
    pub fn log(&self) -> Option<&Log> {
        self.options.log.as_ref()
    }

    /// Writes a note to standard error, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.options.quiet {
            self.write_message("INFO", &sanitize(text), text);
        }
    }

    /// Writes a line of a question to standard error, with `--quiet` too: nobody can answer without it.
    pub fn prompt(&self, line: &str) {
        self.write_err_line(&sanitize(line));
    }

    /// Writes a warning to standard error.
    pub fn warn(&self, text: &str) {
        if self.options.format == OutputFormat::Github {
            return self.write_command(&workflow::plain_annotation("warning", &sanitize(text)));
        }
        let word = Styled { text: "warning:", style: style::WARNING, color: self.color_err };
        self.write_message("WARN", &format!("{word} {}", sanitize(text)), text);
    }

    /// Writes a message: what is shown of it, or, to a log in JSON, the message itself.
    pub(super) fn write_message(&self, level: &'static str, shown: &str, message: &str) {
        match &self.options.log {
            Some(log) => log.line(level, shown, message),
            None => self.write_err_line(shown),
        }
    }

    /// Writes a sanitised line to standard error, where it is no command of GitHub Actions.
    pub(super) fn write_err_line(&self, line: &str) {
        match self.options.format {
            OutputFormat::Github => self.write_command(&workflow::harmless(line)),
            _ => self.write_command(line),
        }
    }

    /// Writes a sanitised line, which may be a command of GitHub Actions, to standard error. A failure is ignored, as it
    /// could not be reported.
    pub(super) fn write_command(&self, line: &str) {
        if let Some(log) = &self.options.log {
            let _ = log.writer().write_all(format!("{line}\n").as_bytes());
            return;
        }
        let mut err = self.stderr.borrow_mut();
        let _ = writeln!(err, "{line}");
        let _ = err.flush();
    }

    fn write_filtered<S: RecordSource>(
        &self,
        out: &mut dyn Write,
        jq: &JqFilter,
        format: OutputFormat,
        records: &S,
    ) -> Result<()> {
        let mut filter = |document: &[u8]| -> Result<()> {
            for result in jq.run(document)? {
                self.write_text(out, format!("{result}\n").as_bytes())?;
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

    fn write_table<S: RecordSource>(&self, out: &mut dyn Write, records: &S) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // Lines are not wrapped, as wrapped text cannot be copied.
        table.set_content_arrangement(ContentArrangement::Disabled);
        let mut rows = Vec::new();
        records.each(&mut |row| {
            let clean = |cell: Cell| Cell { text: sanitize(&cell.text).into_owned(), ..cell };
            rows.push(row.cells().into_iter().map(clean).collect::<Vec<_>>());
            Ok(())
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut headers: Vec<Cell> = S::Row::HEADERS.iter().map(|header| Cell::from(*header)).collect();
        // Off a terminal nothing is cut.
        if let Some(width) = table.width().filter(|width| self.terminal_out && *width > 0) {
            fit_rows(&mut headers, &mut rows, usize::from(width));
        }
        let bold = |cell: &Cell| comfy_table::Cell::new(&cell.text).add_attribute(Attribute::Bold);
        table.set_header(headers.iter().map(bold));
        for row in &rows {
            table.add_row(row.iter().map(|cell| toned(&cell.text, cell.tone)));
        }
        if self.color_out {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        for line in table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn write_csv<S: RecordSource>(&self, out: &mut dyn Write, records: &S) -> Result<()> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(S::Row::FIELDS).map_err(io::Error::from)?;
        let result = records.each(&mut |row| {
            writer.write_record(csv_fields(row)?).map_err(io::Error::from)?;
            if writer.get_ref().len() >= json::BUFFER_SIZE {
                let full = std::mem::replace(&mut writer, csv::Writer::from_writer(Vec::new()));
                self.write_text(out, &written(full)?)?;
            }
            Ok(())
        });
        // The records before an error are valid and still written.
        let rest = self.write_text(out, &written(writer)?);
        result?;
        Ok(rest?)
    }

    fn write_ids<S: RecordSource>(&self, out: &mut dyn Write, records: &S) -> Result<()> {
        records.each(&mut |row| {
            let line = row.id().map(|id| format!("{id}\n"));
            Ok(line.map_or(Ok(()), |line| self.write_text(out, line.as_bytes()))?)
        })
    }

    /// Writes text from any source, sanitised on a terminal.
    fn write_text(&self, out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        if self.terminal_out {
            return out.write_all(sanitize(&String::from_utf8_lossy(bytes)).as_bytes());
        }
        out.write_all(bytes)
    }

    /// Writes text from any source to standard output and flushes.
    pub(super) fn write_text_and_flush(&self, bytes: &[u8]) -> Result<()> {
        let mut safe = Vec::new();
        self.write_text(&mut safe, bytes)?;
        self.write_and_flush(&safe)
    }
}

/// Standard output. In a log of GitHub Actions results are no commands.
fn results(format: OutputFormat) -> Box<dyn Write> {
    let out = io::stdout().lock();
    if format == OutputFormat::Github { Box::new(workflow::CommandFree::new(out)) } else { Box::new(out) }
}

/// The fields of a record in CSV.
pub(super) fn csv_fields<R: Row>(row: &R) -> io::Result<Vec<String>> {
    let json = serde_json::to_string(row)?;
    let values: HashMap<&str, &RawValue> = serde_json::from_str(&json)?;
    Ok(R::FIELDS.iter().map(|name| csv_field(values.get(name).copied())).collect())
}

/// A line of CSV.
pub(super) fn csv_line<T: AsRef<[u8]>>(fields: impl IntoIterator<Item = T>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    written(writer)
}

fn written(writer: csv::Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// A field of CSV: strings as they are, empty for null, JSON for everything else.
fn csv_field(value: Option<&RawValue>) -> String {
    match value.map(RawValue::get) {
        None | Some("null") => String::new(),
        Some(json) => serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned()),
    }
}

fn write_json<S: RecordSource>(out: &mut dyn Write, records: &S) -> Result<()> {
    match records.shape() {
        Shape::Single => records.each(&mut |row| Ok(json::write_pretty(out, row)?))?,
        Shape::List => json::write_list(out, |each| records.each(each))?,
    }
    Ok(writeln!(out)?)
}

fn write_markdown<S: RecordSource>(out: &mut dyn Write, records: &S) -> Result<()> {
    let mut is_first = true;
    records.each(&mut |row| {
        if std::mem::take(&mut is_first) {
            markdown::write_row(out, S::Row::HEADERS)?;
            markdown::write_rule(out, S::Row::HEADERS.len())?;
        }
        Ok(markdown::write_row(out, row.cells().iter().map(|cell| &cell.text))?)
    })
}

fn write_lines<S: RecordSource>(out: &mut dyn Write, records: &S) -> Result<()> {
    json::write_lines(out, |each| records.each(each))
}

/// Cuts what does not fit a terminal of this width.
fn fit_rows(headers: &mut [Cell], rows: &mut [Vec<Cell>], width: usize) {
    let mut natural: Vec<usize> = headers.iter().map(|header| fit::width_of(&header.text)).collect();
    for (widest, cell) in rows.iter().flat_map(|row| (0..row.len()).zip(row)) {
        natural[widest] = natural[widest].max(fit::width_of(&cell.text));
    }
    let widths = fit::widths(&natural, width);
    for line in rows.iter_mut().map(Vec::as_mut_slice).chain([headers]) {
        for (cell, width) in line.iter_mut().zip(&widths) {
            cell.text = fit::cut(&cell.text, *width);
        }
    }
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
