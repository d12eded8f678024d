//! Filters over events, and how times are written.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap_complete::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::commands::hook_args::Trimmed;
use crate::commands::suggest;
use crate::commands::units::{duration, event_type};
use crate::domain::event::{EVENT_TYPES, Sender};
use crate::domain::{AppId, EventKind, EventSearch};
use crate::store::{EventSelection, EventState};

/// Filters: an event must meet all that are given.
#[derive(clap::Args)]
pub struct EventFilterArgs {
    /// Only events received since: a duration such as 90s, 2h, 3d or 1w ago, or a time such as 2026-11-21T08:00:00Z (UTC if no zone is given)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<Timestamp>,

    /// Only events received before: a duration ago, or a time
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<Timestamp>,

    /// Only events of these apps: repeat, or separate with commas
    #[arg(long = "app-id", value_name = "ID", value_delimiter = ',', add = ArgValueCompleter::new(suggest::app_ids))]
    app_ids: Vec<AppId>,

    /// Only events of these types: crash, issue, feedback, bug, apm or another; repeat, or separate with commas
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = event_type,
          add = ArgValueCandidates::new(types))]
    types: Vec<String>,

    /// Only events from these senders: repeat, or separate with commas
    #[arg(long = "source", value_name = "SOURCE", value_delimiter = ',', value_parser = source_parser())]
    sources: Vec<Sender>,

    /// Only events that go to the target with this name; the next three flags are about this target alone then
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// Only events that a target has not accepted: pending or dead-lettered
    #[arg(long)]
    undelivered: bool,

    /// Only events that are dead-lettered for a target
    #[arg(long)]
    dead: bool,

    /// Only events with this status: stored (no target), pending, forwarded (to every target) or dead (pending for none)
    #[arg(long, value_parser = status_parser(), conflicts_with_all = ["undelivered", "dead"])]
    status: Option<EventState>,

    /// Only events with these words in a string or number of their JSON: "quoted words" as one, field:word, field=value
    #[arg(long, value_name = "TEXT", value_parser = search)]
    search: Option<EventSearch>,
}

/// The flags above, for commands that need one of them.
pub const FILTERS: [&str; 10] =
    ["since", "until", "app_ids", "types", "sources", "target", "undelivered", "dead", "status", "search"];

impl EventFilterArgs {
    /// The selection they make.
    pub fn selection(&self) -> EventSelection {
        EventSelection {
            since: self.since,
            until: self.until,
            app_ids: self.app_ids.iter().map(|app| app.get()).collect(),
            types: self.types.clone(),
            sender: self.sender(),
            target: self.target.clone(),
            undelivered: self.undelivered,
            dead: self.dead,
            state: self.status,
            search: self.search.clone(),
            ..EventSelection::default()
        }
    }

    /// The only sender, if it is one: of two, all are meant.
    fn sender(&self) -> Option<Sender> {
        let first = self.sources.first().copied();
        first.filter(|first| self.sources.iter().all(|sender| sender == first))
    }
}

/// Events by ids or by filters: one is required, so that no flag never means every event.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(FILTERS).args(["ids", "all"])))]
pub struct WhichArgs {
    /// The events: their ids, separated by spaces or commas
    #[arg(value_name = "ID", value_delimiter = ',', value_parser = event_id)]
    pub ids: Vec<String>,

    #[command(flatten)]
    filter: EventFilterArgs,

    /// All events
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

impl WhichArgs {
    /// The selection they make: of these ids if there is one.
    pub fn selection(&self) -> EventSelection {
        let ids = (!self.ids.is_empty()).then(|| self.ids.clone());
        EventSelection { ids, ..self.filter.selection() }
    }
}

/// The name that Instabug has now. What is stored, and shown, has the former one.
const LUCIQ: &str = "luciq";

/// Reads an event's id.
fn event_id(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() { Err("an event id must not be empty".to_owned()) } else { Ok(id.to_owned()) }
}

/// Reads a sender's name.
pub fn source_parser() -> impl TypedValueParser<Value = Sender> {
    let names = Sender::ALL.map(|sender| match sender {
        Sender::Bugfender => PossibleValue::new(sender.as_str()),
        Sender::Instabug => PossibleValue::new(sender.as_str()).alias(LUCIQ),
    });
    Trimmed(PossibleValuesParser::new(names)).map(|name| {
        let is_it = |sender: &Sender| sender.as_str() == name || *sender == Sender::Instabug && name == LUCIQ;
        Sender::ALL.into_iter().find(is_it).unwrap_or(Sender::Bugfender)
    })
}

/// Reads what is looked for.
fn search(text: &str) -> Result<EventSearch, String> {
    EventSearch::parse(text).ok_or_else(|| "write at least one word to look for".to_owned())
}

/// Reads the name of a status.
fn status_parser() -> impl TypedValueParser<Value = EventState> {
    Trimmed(PossibleValuesParser::new(EventState::ALL.map(EventState::as_str))).map(|name| {
        let state = EventState::ALL.into_iter().find(|state| state.as_str() == name);
        state.unwrap_or(EventState::Stored)
    })
}

fn types() -> Vec<CompletionCandidate> {
    EVENT_TYPES.into_iter().chain(EventKind::ALL.map(EventKind::as_str)).map(CompletionCandidate::new).collect()
}

/// A time: a duration before now, or a point in time, in UTC if it names no zone.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    // The parser would ignore the zone and read the time as UTC.
    if text.contains('[') {
        return Err("write the offset in place of the zone, such as 2026-11-21T08:00:00+01:00".to_owned());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Some(time) = text.parse::<DateTime>().ok().and_then(|time| Offset::UTC.to_timestamp(time).ok()) {
        return Ok(time);
    }
    let wrong = |_| "write a duration such as 90s, 2h, 3d or 1w, or a time such as 2026-11-21T08:00:00Z".to_owned();
    let age = duration(text).map_err(wrong)?;
    Timestamp::now().checked_sub(age).map_err(|_| "that is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn times_are_read_in_utc_unless_they_say() {
        let read = |text: &str| moment(text).unwrap().to_string();
        assert_eq!(read("2026-11-21"), "2026-11-21T00:00:00Z");
        assert_eq!(read("2026-11-21T08:30:00+02:00"), "2026-11-21T06:30:00Z");
        assert_eq!(read("2026-11-21T08:30"), "2026-11-21T08:30:00Z");
        assert!(moment("1d").unwrap() < Timestamp::now() - SignedDuration::from_hours(23));
        for wrong in [
            "yesterday",
            "12:30:00",
            "2026-11-21T08:30[Europe/Berlin]",
            "2026-11-21T08:30+01:00[+01:00]",
            "[Europe/Berlin]",
        ] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
