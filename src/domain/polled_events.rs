//! Events as the API lists them.

use super::event::{self, EventFacts, Malformed, Sender};
use super::json::fields;

/// Finds the events in a list of the API, which gives types by their numbers (seen).
///
/// # Errors
/// As [`event::decode`].
pub fn decode_polled(body: &[u8]) -> Result<Vec<EventFacts>, Malformed> {
    let mut events = event::decode(Sender::Bugfender, body)?;
    for event in events.iter_mut().filter(|event| event.event_type.is_none()) {
        let json = str::from_utf8(&body[event.span.clone()]).unwrap_or_default();
        let number = fields(json, ["type"]).ok().and_then(|[number]| number);
        let named = number.and_then(|number| match number.get() {
            "0" => Some("issue"),
            "1" => Some("crash"),
            "2" => Some("feedback"),
            _ => None,
        });
        event.event_type = named.map(str::to_owned);
    }
    Ok(events)
}
