//! Trying a target with a sample event.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::Response;

use super::access::Visitor;
use super::failure::WebFailure;
use super::notices::Notice;
use super::{PageState, SharedPage};
use crate::domain::excerpt;
use crate::store::{AttemptRecord, EventSeq, FirstAttempt, Inbox, StoreError, TargetId, first_attempt};

/// How long to wait for the attempt. What takes longer is seen at the event.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is shown, in characters.
const SHOWN: usize = 2000;

/// Forwards a sample event to a target, and shows what came of it.
pub(super) async fn send(
    State(page): State<SharedPage>,
    Extension(visitor): Extension<Visitor>,
    Path(target): Path<i64>,
) -> Response<Body> {
    let name = match page.testable(TargetId(target)).await {
        Ok(Ok(name)) => name,
        Ok(Err(problem)) => return page.lead_to("/targets", Notice::bad(problem)),
        Err(failure) => return failure.response(&page),
    };
    match page.test(TargetId(target), &name).await {
        Ok((EventSeq(seq), notice)) => {
            (page.options.changes)(&format!("{} sent a test to {name}", visitor.0));
            page.lead_to(&format!("/events/{seq}"), notice)
        }
        Err(failure) => failure.response(&page),
    }
}

impl PageState {
    /// The name of a target if it can be tested, or why it cannot.
    async fn testable(&self, target: TargetId) -> Result<Result<String, String>, WebFailure> {
        let read = move |inbox: &mut (dyn Inbox + 'static)| {
            let record = inbox.target_records()?.into_iter().find(|record| record.id == target);
            Ok::<_, StoreError>((record, inbox.routes()?))
        };
        let (record, routes) = self.readers.quick.run(read).await?;
        let record = record.ok_or_else(|| WebFailure::not_found("there is no such target"))?;
        let is_in_use = record.is_routed(&routes);
        let name = record.name;
        Ok(match (record.paused_at, is_in_use) {
            (Some(_), _) => Err(format!("{name} is paused: resume it, then send a test.")),
            (None, false) => Err(format!("The last receiver did not forward to {name}: start one with this target.")),
            (None, true) => Ok(name),
        })
    }

    /// Queues a sample event for a target, and waits for the first attempt.
    async fn test(&self, target: TargetId, name: &str) -> Result<(EventSeq, Notice), WebFailure> {
        let sample = (self.options.sample)()?;
        let event = self.deposit().deposit_test(sample, target).await?;
        let notice = match first_attempt(&self.readers.quick, event, TIMEOUT).await? {
            FirstAttempt::Made(attempt) => outcome(name, &attempt),
            FirstAttempt::LeftOut => Notice::bad(format!("The filter of {name} leaves the sample event out.")),
            FirstAttempt::NotYet => Notice::bad(format!(
                "The sample event waits for {name}: no attempt was made yet. Is a receiver running?"
            )),
        };
        Ok((event, notice))
    }
}

/// What came of an attempt.
fn outcome(name: &str, attempt: &AttemptRecord) -> Notice {
    let answer = String::from_utf8_lossy(&attempt.report.answer);
    let notice = match &attempt.error {
        None => Notice::good(format!("{name} accepted a sample event in {} ms.", attempt.report.took.as_millis())),
        Some(error) => Notice::bad(format!("{name} has not accepted the sample event: {error}")),
    };
    Notice { detail: Some(excerpt(&answer, SHOWN)).filter(|answer| !answer.trim().is_empty()), ..notice }
}
