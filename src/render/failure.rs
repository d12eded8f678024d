//! Errors, for people and for programs.

use serde::Serialize;

use super::style::{self, Styled};
use super::{LogFormat, Output, OutputFormat, json, sanitize, workflow};
use crate::domain::excerpt;
use crate::error::Error;

/// The most characters that are shown of a cause.
const LONGEST_CAUSE: usize = 500;

/// The machine-readable form of errors. The keys are part of the public interface.
#[derive(Serialize)]
struct ErrorReport<'a> {
    /// The first, whose code is that of the process.
    error: ErrorBody<'a>,
    /// All of them, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorBody<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    category: &'static str,
    code: u8,
    message: String,
    hint: Option<String>,
    hints: &'a [String],
    http_status: Option<u16>,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
}

impl Output {
    /// Shows errors on standard error, with their hints and, if they are wanted, their causes. In the JSON formats, the
    /// last line is the first error as JSON, beside it all of them if there are several.
    pub fn fail(&self, errors: &[&Error]) {
        let log = self.options().log.as_ref().filter(|log| log.format() == LogFormat::Json);
        for error in errors {
            if let Some(log) = log {
                let parts: Vec<_> = [error.to_string()].into_iter().chain(error.hints().iter().cloned()).collect();
                log.line("ERROR", "", &parts.join("; "));
                continue;
            }
            if self.format() == OutputFormat::Github {
                let shown = error.rewritten(|text| sanitize(text).into_owned());
                self.write_command(&workflow::annotation("error", &shown));
            } else {
                self.explain_briefly(error);
            }
            if self.options().causes {
                self.explain(error);
            }
        }
        self.fail_for_programs(errors);
    }

    /// Writes a warning about a place in a file to standard error.
    pub fn warn_of(&self, warning: &Error) {
        if self.format() == OutputFormat::Github {
            let shown = warning.rewritten(|text| sanitize(text).into_owned());
            return self.write_command(&workflow::annotation("warning", &shown));
        }
        self.warn(&warning.to_string());
    }

    /// What is wrong, and what to do about it.
    fn explain_briefly(&self, error: &Error) {
        let word = Styled { text: "error:", style: style::ERROR, color: self.color_err() };
        self.write_err_line(&format!("{word} {}", sanitize(&error.to_string())));
        for hint in error.hints() {
            let word = Styled { text: "hint:", style: style::HINT, color: self.color_err() };
            self.write_err_line(&format!("  {word} {}", sanitize(hint)));
        }
    }

    /// What caused an error, and where.
    fn explain(&self, error: &Error) {
        let mut above = error.to_string();
        for cause in error.causes() {
            // Some errors say no more than their cause does.
            let text = cause.to_string();
            if text != above {
                let word = Styled { text: "caused by:", style: style::HINT, color: self.color_err() };
                self.write_err_line(&format!("  {word} {}", excerpt(&text, LONGEST_CAUSE)));
            }
            above = text;
        }
        if let Some(backtrace) = error.backtrace() {
            self.write_err_line("  backtrace:");
            for line in backtrace.to_string().lines() {
                self.write_err_line(&format!("  {}", sanitize(line)));
            }
        }
    }

    /// Shows an error that people were shown already: as a line of JSON in the JSON formats, as an annotation in GitHub
    /// Actions.
    pub fn fail_again(&self, error: &Error) {
        match self.format() {
            OutputFormat::Github => self.fail(&[error]),
            _ => self.fail_for_programs(&[error]),
        }
    }

    /// In the JSON formats, writes the errors as a line of JSON.
    fn fail_for_programs(&self, errors: &[&Error]) {
        if let ([first, rest @ ..], true) = (errors, self.format().is_json()) {
            let all: &[&Error] = if rest.is_empty() { &[] } else { errors };
            self.write_err_line(&machine_line(first, all));
        }
    }
}

/// An error on one line of JSON, and all that there are.
fn machine_line(first: &Error, all: &[&Error]) -> String {
    let report = ErrorReport { error: body(first), errors: all.iter().map(|error| body(error)).collect() };
    let mut line = Vec::new();
    // Serialising plain fields to memory cannot fail.
    let _ = json::write_compact(&mut line, &report);
    String::from_utf8_lossy(&line).into_owned()
}

fn body(error: &Error) -> ErrorBody<'_> {
    let row = error.kind().exit_code();
    ErrorBody {
        category: row.category,
        code: row.code,
        message: error.to_string(),
        hint: Some(error.hints().join("\n")).filter(|hint| !hint.is_empty()),
        hints: error.hints(),
        http_status: error.http_status(),
        retryable: error.retryable(),
        file: error.place().map(|place| place.file.as_str()),
        line: error.place().map(|place| place.line),
        column: error.place().map(|place| place.column),
    }
}
