//! `--print`: events as they are stored, and in tables the outcomes of their forwards.

use std::collections::VecDeque;
use std::time::Duration;

use super::args::Args;
use crate::commands::event_tail::Tail;
use crate::context::Context;
use crate::error::Result;
use crate::receiver::{ForwardOutcome, OutcomeFeed, OutcomeSender};
use crate::render::{Cell, Tone};
use crate::store::EventSeq;

/// What prints events and outcomes.
pub(super) struct Printer<'a> {
    tail: Tail<'a>,
    feed: OutcomeFeed,
    /// Outcomes that are printed once all events up to this one are: an event comes before its outcome.
    held: VecDeque<Vec<Cell>>,
    held_for: EventSeq,
}

/// Where outcomes are told, if they are to be printed: other formats than the table have nothing but events.
pub(super) fn feed(ctx: &Context, args: &Args) -> Option<(OutcomeSender, OutcomeFeed)> {
    (args.print && ctx.out().is_for_people()).then(OutcomeFeed::open)
}

impl<'a> Printer<'a> {
    /// What prints the events, if requested. A receiver that cannot print them still stores them.
    pub(super) fn start(ctx: &'a Context, args: &Args, feed: Option<OutcomeFeed>) -> Result<Option<Self>> {
        if !args.print {
            return Ok(None);
        }
        let tail = match Tail::from_now(ctx, ctx.store()?.inbox()?) {
            Ok(tail) => tail,
            Err(error) => {
                ctx.out().warn(&format!("events are stored but cannot be printed: {error}"));
                return Ok(None);
            }
        };
        let feed = feed.unwrap_or_else(|| OutcomeFeed::open().1);
        Ok(Some(Self { tail, feed, held: VecDeque::new(), held_for: EventSeq(0) }))
    }

    /// Prints what there is, as long as `may` says so; says whether there was anything.
    pub(super) fn step_while(&mut self, may: impl Fn() -> bool) -> Result<bool> {
        if self.held.is_empty() {
            let (outcomes, dropped) = self.feed.take();
            self.held.extend(outcomes.iter().map(line));
            if dropped > 0 {
                self.held.push_back(vec![Cell::toned(format!("… {dropped} outcomes not shown"), Tone::Faint)]);
            }
            // What they are about was stored before they were told.
            self.held_for = if self.held.is_empty() { self.held_for } else { self.tail.newest()? };
        }
        let mut printed = self.tail.step_while(&may)?;
        while self.tail.has_shown(self.held_for)
            && let Some(line) = self.held.front()
        {
            if !may() {
                return Ok(false);
            }
            self.tail.aside(line)?;
            self.held.pop_front();
            printed = true;
        }
        Ok(printed)
    }
}

/// An outcome, such as `→ crm 200 12 ms`, with the event behind it.
fn line(outcome: &ForwardOutcome) -> Vec<Cell> {
    let ForwardOutcome { target, event: (id, more), status, error, retry_after, took } = outcome;
    let result = match (error, status) {
        (None, Some(status)) => Cell::toned(status.to_string(), Tone::Good),
        (None, None) => Cell::toned("ok", Tone::Good),
        (Some(error), _) => Cell::toned(error.strip_prefix("HTTP ").unwrap_or(error), Tone::Bad),
    };
    let took = format!("{} ms", took.as_millis());
    let took = match (error, retry_after) {
        (None, _) => took,
        (Some(_), Some(wait)) => format!("{took}, retry in {}", rough(*wait)),
        (Some(_), None) => format!("{took}, dead-lettered"),
    };
    let event = if *more == 0 { id.clone() } else { format!("{id} and {more} more") };
    vec!["→".into(), target.as_str().into(), result, took.into(), Cell::toned(event, Tone::Faint)]
}

/// A duration in the unit that it is best read in.
fn rough(wait: Duration) -> String {
    match wait.as_secs() {
        0 => format!("{} ms", wait.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_a_line() {
        let ok = ForwardOutcome {
            target: "crm".to_owned(),
            event: ("a".to_owned(), 0),
            status: Some(200),
            error: None,
            retry_after: None,
            took: Duration::from_millis(12),
        };
        let failed = ForwardOutcome {
            event: ("a".to_owned(), 2),
            status: None,
            error: Some("HTTP 503".to_owned()),
            retry_after: Some(Duration::from_secs(125)),
            ..ok.clone()
        };
        let dead = ForwardOutcome { retry_after: None, error: Some("no connection".to_owned()), ..failed.clone() };
        let command = ForwardOutcome { status: None, ..ok.clone() };
        for (outcome, shown) in [
            (ok, "→ crm 200 12 ms a"),
            (command, "→ crm ok 12 ms a"),
            (failed, "→ crm 503 12 ms, retry in 2 min a and 2 more"),
            (dead, "→ crm no connection 12 ms, dead-lettered a and 2 more"),
        ] {
            assert_eq!(line(&outcome).into_iter().map(|cell| cell.text).collect::<Vec<_>>().join(" "), shown);
        }
    }
}
