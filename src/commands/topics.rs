//! Help topics that are tables: exit codes and environment variables.

use serde::Serialize;

use super::Report;
use crate::config::environment;
use crate::context::Context;
use crate::error::EXIT_CODES;
use crate::render::{Cell, Row};

/// What stands behind the table of exit codes, there and in the README.
const FINDINGS: &str = "With 10, `plan --detailed-exitcode` says that something is to be done, or is unknown, and `drift` that \
                        a hook may not deliver any more: neither is an error.";

/// Explain the exit codes
#[derive(clap::Args)]
#[command(long_about = exit_codes_text())]
pub struct ExitCodesArgs {}

/// Explain the environment variables
#[derive(clap::Args)]
#[command(long_about = environment_text())]
pub struct EnvironmentArgs {}

#[derive(Serialize)]
struct ExitCodeRow {
    code: u8,
    category: &'static str,
    meaning: &'static str,
}

impl Row for ExitCodeRow {
    const FIELDS: &'static [&'static str] = &["code", "category", "meaning"];
    const HEADERS: &'static [&'static str] = &["CODE", "CATEGORY", "MEANING"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.code.to_string().into(), self.category.into(), self.meaning.into()]
    }
}

#[derive(Serialize)]
struct VariableRow {
    name: &'static str,
    meaning: &'static str,
}

impl Row for VariableRow {
    const FIELDS: &'static [&'static str] = &["name", "meaning"];
    const HEADERS: &'static [&'static str] = &["NAME", "MEANING"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.name.into(), self.meaning.into()]
    }
}

pub fn exit_codes(ctx: &Context, _args: &ExitCodesArgs) -> Report {
    ctx.out().note(FINDINGS);
    let row =
        |row: &crate::error::ExitCode| ExitCodeRow { code: row.code, category: row.category, meaning: row.meaning };
    Report::list(EXIT_CODES.iter().map(row).collect(), Vec::new())
}

pub fn environment(_args: &EnvironmentArgs) -> Report {
    let row = |variable: &environment::Variable| VariableRow { name: variable.name, meaning: variable.meaning };
    Report::list(environment::ALL.iter().map(row).collect(), Vec::new())
}

fn exit_codes_text() -> String {
    let line = |row: &crate::error::ExitCode| format!("  {:<4} {:<16} {}\n", row.code, row.category, row.meaning);
    format!("What the exit codes mean:\n\n{}\n\n{FINDINGS}", EXIT_CODES.iter().map(line).collect::<String>().trim_end())
}

fn environment_text() -> String {
    let width = environment::ALL.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
    let line = |variable: &environment::Variable| format!("  {:<width$}  {}\n", variable.name, variable.meaning);
    let lines: String = environment::ALL.iter().map(line).collect();
    format!("The environment variables, which a flag of the same meaning overrides:\n\n{}", lines.trim_end())
}
