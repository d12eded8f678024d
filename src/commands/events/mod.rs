//! `events`: what was received, how far it has been forwarded, and what can be done about it.

mod delete;
mod depositing;
mod export;
mod fetch;
mod filter;
mod list;
mod pages;
mod purge;
mod replay;
mod reread;
mod retry;
mod show;
mod stats;
mod tail;

use clap::Subcommand;

use super::Report;
use super::named_targets::named_targets;
use crate::context::Context;
use crate::domain::event::Sender;
use crate::domain::excerpt;
use crate::error::{Error, ErrorKind, Result};
use crate::render::{Output, RecordSource, Row, Shape, View};
use crate::store::{EventPage, EventSelection, Inbox};

/// List, export, fetch, replay, requeue and remove events
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Subcommand)]
enum EventsCommand {
    #[command(visible_alias = "ls")]
    List(list::Args),
    Show(show::Args),
    Tail(tail::Args),
    Stats(stats::Args),
    Export(export::Args),
    Fetch(fetch::Args),
    Replay(replay::Args),
    Retry(retry::Args),
    Reread(reread::Args),
    Purge(purge::Args),
    Delete(delete::Args),
}

pub fn run(ctx: &Context, args: Args) -> Result<Report> {
    match args.command {
        EventsCommand::List(args) => list::run(ctx, &args),
        EventsCommand::Show(args) => show::run(ctx, &args),
        EventsCommand::Tail(args) => tail::run(ctx, &args),
        EventsCommand::Stats(args) => stats::run(ctx, &args),
        EventsCommand::Export(args) => export::run(ctx, &args),
        EventsCommand::Fetch(args) => fetch::run(ctx, &args),
        EventsCommand::Replay(args) => replay::run(ctx, &args),
        EventsCommand::Retry(args) => retry::run(ctx, &args),
        EventsCommand::Reread(args) => reread::run(ctx, &args),
        EventsCommand::Purge(args) => purge::run(ctx, &args),
        EventsCommand::Delete(args) => delete::run(ctx, &args),
    }
}

/// The hint shown when there is no inbox.
const RECEIVER: &str = "`bugfender-hooks listen` receives events";

/// The inbox, if there is one; otherwise a note says so.
fn inbox(ctx: &Context) -> Result<Option<Box<dyn Inbox>>> {
    Ok(or_note(ctx, ctx.existing_inbox()?))
}

/// A note if there is no inbox.
fn or_note(ctx: &Context, inbox: Option<Box<dyn Inbox>>) -> Option<Box<dyn Inbox>> {
    if inbox.is_none() {
        ctx.out().note(&format!("there is no inbox yet: {RECEIVER}"));
    }
    inbox
}

/// The same for these events, whose target must be one that the inbox knows.
fn inbox_of(ctx: &Context, selection: &EventSelection) -> Result<Option<Box<dyn Inbox>>> {
    let inbox = inbox(ctx)?;
    if let (Some(inbox), Some(name)) = (&inbox, &selection.target) {
        named_targets(&**inbox, name)?;
    }
    Ok(inbox)
}

/// A single record: a sentence for people.
struct Told<R> {
    row: R,
    text: String,
}

impl<R: Row> View for Told<R> {
    fn show(&self, out: &Output) -> Result<()> {
        if out.is_for_people() { out.raw(&format!("{}\n", self.text)) } else { out.show(self) }
    }
}

impl<R: Row> RecordSource for Told<R> {
    type Row = R;

    fn shape(&self) -> Shape {
        Shape::Single
    }

    fn each(&self, each: &mut dyn FnMut(&R) -> Result<()>) -> Result<()> {
        each(&self.row)
    }
}

/// Errors for ids that match no event.
fn unknown(inbox: Option<&dyn Inbox>, ids: &[String], sender: Option<Sender>) -> Result<Vec<Error>> {
    let mut missing: Vec<&String> = ids.iter().collect();
    if let Some(inbox) = inbox.filter(|_| !ids.is_empty()) {
        let selection = EventSelection { ids: Some(ids.to_vec()), sender, ..EventSelection::default() };
        inbox.events(&selection, EventPage::default(), &mut |event| {
            missing.retain(|id| **id != event.id);
            true
        })?;
    }
    Ok(missing.into_iter().map(|id| no_such_event(id)).collect())
}

fn not_quarantined(number: i64) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no quarantined delivery with the number {number}"))
        .hint("`bugfender-hooks events list --quarantined` shows the numbers")
}

fn no_such_event(id: &str) -> Error {
    let message = format!("there is no event with the id {} in the inbox", excerpt(id, 100));
    Error::new(ErrorKind::NotFound, message).hint("`bugfender-hooks events list` shows the ids")
}
