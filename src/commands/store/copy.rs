//! `store copy`: all of the store, copied into another one.

use serde::Serialize;

use crate::commands::Report;
use crate::commands::progress::progress_bar;
use crate::config::StoreUrl;
use crate::context::Context;
use crate::error::Result;
use crate::render::{Cell, Row};
use crate::store::{CopiedPart, copy_store};

/// Copy the store into another one, such as from SQLite to PostgreSQL
///
/// Copies registry, history, events, forwards, attempts, targets and the receiver's key; events keep their order, their ids
/// and what they are known by to targets, and forwards that are pending stay so. In the end both sides are compared. Stop all
/// receivers before. A copy that was interrupted goes on when the same command is run again. The store stays as it is.
// These comments are help texts for a terminal, not Markdown.
#[allow(clippy::doc_markdown)]
#[derive(clap::Args)]
pub(super) struct CopyArgs {
    /// The store to copy to, which does not exist or is empty: sqlite:PATH, postgres://USER@HOST/DATABASE, or @FILE with such a URL
    #[arg(long, value_name = "URL")]
    to: String,
}

/// A part that was copied.
#[derive(Serialize)]
struct CopiedPartRow {
    part: &'static str,
    rows: u64,
    sha256: String,
}

impl From<CopiedPart> for CopiedPartRow {
    fn from(CopiedPart { name, rows, sha256 }: CopiedPart) -> Self {
        Self { part: name, rows, sha256 }
    }
}

impl Row for CopiedPartRow {
    const FIELDS: &'static [&'static str] = &["part", "rows", "sha256"];
    const HEADERS: &'static [&'static str] = &["PART", "ROWS", "SHA256"];

    fn cells(&self) -> Vec<Cell> {
        vec![self.part.into(), Cell::maybe(Some(self.rows)), self.sha256.as_str().into()]
    }
}

pub(super) fn run(ctx: &Context, args: &CopyArgs) -> Result<Report> {
    let (from, to) = (ctx.store()?, ctx.store_at(&StoreUrl::of_command_line(&args.to)?)?);
    let bar = progress_bar(ctx, 0);
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let copied = copy_store(&*from, &*to, &mut progress);
    bar.finish_and_clear();
    let parts = copied?;
    ctx.out().note(&format!("copied the store to {}, and compared the two", to.registry_place()));
    Ok(Report::list(parts.into_iter().map(CopiedPartRow::from).collect(), Vec::new()))
}
