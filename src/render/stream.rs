//! Results without an end: each record is shown as it arrives.

use super::output::{csv_fields, csv_line};
use super::records::{Cell, Row};
use super::style::{self, Styled};
use super::{Output, OutputFormat, json, markdown, sanitize};
use crate::error::Result;

/// A result without an end. In the JSON formats it has one record per line.
pub struct Stream<'a> {
    out: &'a Output,
    widths: &'a [usize],
}

impl<'a> Stream<'a> {
    /// Starts a stream and writes the header. Columns have these fixed widths, as later records are unknown; the last
    /// column takes the rest of the line.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn begin<R: Row>(out: &'a Output, widths: &'a [usize]) -> Result<Self> {
        let stream = Self { out, widths };
        let head = match out.format() {
            _ if out.options().quiet || out.options().jq.is_some() => return Ok(stream),
            OutputFormat::Table | OutputFormat::Github => {
                let cells = R::HEADERS.iter().zip(widths).map(|(head, width)| padded(head, *width));
                format!("{}\n", cells.collect::<String>().trim_end()).into_bytes()
            }
            OutputFormat::Csv => csv_line(R::FIELDS)?,
            OutputFormat::Json | OutputFormat::Ndjson => return Ok(stream),
            OutputFormat::Markdown => {
                let mut head = Vec::new();
                markdown::write_row(&mut head, R::HEADERS)?;
                markdown::write_rule(&mut head, R::HEADERS.len())?;
                head
            }
        };
        stream.write(&head)?;
        Ok(stream)
    }

    /// Shows a record.
    ///
    /// # Errors
    /// When the output cannot be written, or the `--jq` filter fails.
    pub fn row<R: Row>(&self, row: &R) -> Result<()> {
        self.write(&self.line(row)?)
    }

    /// Shows a line that belongs to no record, in tables only: the other formats have nothing but records.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn aside(&self, parts: &[Cell]) -> Result<()> {
        if !self.out.is_for_people() {
            return Ok(());
        }
        let parts: Vec<String> = parts.iter().map(|part| self.styled(part, 0)).collect();
        self.write(format!("{}\n", parts.join(" ")).as_bytes())
    }

    /// A cell on one line, filled up to this width.
    fn styled(&self, cell: &Cell, width: usize) -> String {
        let text = sanitize(&cell.text).replace('\n', " ");
        let gap = " ".repeat(width.saturating_sub(text.chars().count()));
        let style = style::of_tone(cell.tone);
        format!("{}{gap}", Styled { text: &text, style, color: self.out.color_out() })
    }

    fn line<R: Row>(&self, row: &R) -> Result<Vec<u8>> {
        let options = self.out.options();
        if options.quiet {
            return Ok(row.id().map(|id| format!("{id}\n").into_bytes()).unwrap_or_default());
        }
        if let Some(jq) = &options.jq {
            let record = serde_json::to_vec(row).map_err(std::io::Error::from)?;
            return Ok(jq.run(&record)?.iter().flat_map(|result| format!("{result}\n").into_bytes()).collect());
        }
        match options.format {
            OutputFormat::Csv => Ok(csv_line(csv_fields(row)?)?),
            OutputFormat::Json | OutputFormat::Ndjson => {
                let mut line = Vec::new();
                json::write_compact(&mut line, row)?;
                line.push(b'\n');
                Ok(line)
            }
            OutputFormat::Markdown => {
                let mut line = Vec::new();
                markdown::write_row(&mut line, row.cells().iter().map(|cell| &cell.text))?;
                Ok(line)
            }
            OutputFormat::Table | OutputFormat::Github => {
                let cell = |(cell, width): (&Cell, &usize)| format!("{}  ", self.styled(cell, *width));
                let line: Vec<String> = row.cells().iter().zip(self.widths).map(cell).collect();
                Ok(format!("{}\n", line.concat().trim_end()).into_bytes())
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        // A table is sanitised already, and sanitising again would remove its colours.
        if self.out.is_for_people() { self.out.write_and_flush(bytes) } else { self.out.write_text_and_flush(bytes) }
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:width$}  ")
}
