//! What an app has had: its issues, and the groups that they are in. No help page documents these calls; published clients
//! make them (seen).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::calls::{GroupQuery, IssuePageQuery};
use super::{AuthenticatedApi, AuthenticatedResponse, Effect, Failure, calls, status, wire};
use crate::http::{BodyProblem, Request};

/// A page of issues, as they came.
#[derive(Debug, Deserialize)]
pub struct IssuePage {
    /// Those on the page. That they are shaped as delivered events are is assumed.
    pub issues: Vec<Box<RawValue>>,
    /// How many pages there are.
    #[serde(default)]
    pub total_pages: Option<u64>,
    /// How many issues there are on all pages.
    #[serde(default)]
    pub item_count: Option<u64>,
}

/// How many groups of issues there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupSummary {
    /// How many groups.
    pub groups: u64,
    /// How many rows, of whatever kind, have fallen out of Bugfender's retention; at least 1 if it says that some have.
    pub out_of_retention: u64,
}

/// Why a page was not read.
#[derive(Debug)]
pub struct PageFailure {
    /// The failure.
    pub failure: Failure,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the page is too large to be read: a smaller one may do.
    pub is_too_large: bool,
}

impl From<Failure> for PageFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None, is_too_large: false }
    }
}

impl AuthenticatedApi {
    /// A page of issues. It is asked for once: whoever reads many pages knows how long to wait.
    ///
    /// # Errors
    /// According to the status of the response.
    pub async fn issues(&self, query: &IssuePageQuery) -> Result<IssuePage, PageFailure> {
        let doing = format!("could not read the issues of app {}", query.app);
        self.page(&calls::issues(&self.origin, query), &doing).await
    }

    /// How many groups of issues there are. It is asked for once.
    ///
    /// # Errors
    /// According to the status of the response.
    pub async fn issue_groups(&self, query: &GroupQuery) -> Result<GroupSummary, PageFailure> {
        let doing = format!("could not read the groups of issues of app {}", query.app);
        let answer: Value = self.page(&calls::issue_groups(&self.origin, query), &doing).await?;
        Ok(GroupSummary::of(&answer))
    }

    async fn page<T: serde::de::DeserializeOwned>(&self, request: &Request, doing: &str) -> Result<T, PageFailure> {
        let AuthenticatedResponse { response, token } = self.send(request, doing).await?;
        if !response.status.is_success() {
            let failure = status::failure(doing, &response, Effect::Reads, &[token.expose()]);
            return Err(PageFailure { failure, retry_after: response.retry_after, is_too_large: false });
        }
        if response.is_html() {
            return Err(status::web_page(doing, &response).into());
        }
        let is_cut = matches!(response.body, Err(BodyProblem::Cut));
        let is_too_large = matches!(response.body, Err(BodyProblem::TooLarge));
        wire::read(&response).map_err(|problem| {
            let failure = status::unexpected(doing, &response, &problem);
            PageFailure { failure: Failure { transient: is_cut, ..failure }, retry_after: None, is_too_large }
        })
    }
}

impl GroupSummary {
    /// Reads what is known of the answer: `data`, `pagination` and `out_of_retention_period` (seen). Whether the last is a
    /// flag or a number is not, so that either is understood.
    fn of(answer: &Value) -> Self {
        let rows = answer["data"].as_array().map_or(&[][..], Vec::as_slice);
        let groups = answer["pagination"]["total_items"].as_u64().unwrap_or(rows.len() as u64);
        let flags = std::iter::once(answer).chain(rows).map(|value| match &value["out_of_retention_period"] {
            Value::Bool(is_out) => u64::from(*is_out),
            Value::Number(number) => number.as_u64().unwrap_or(0),
            Value::Array(list) => list.len() as u64,
            _ => 0,
        });
        Self { groups, out_of_retention: flags.sum() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn summaries_are_read_in_whatever_form() {
        let of = |answer: Value| {
            let GroupSummary { groups, out_of_retention } = GroupSummary::of(&answer);
            (groups, out_of_retention)
        };
        assert_eq!(of(json!({"data": [{}, {}], "pagination": {"total_items": 7}})), (7, 0));
        assert_eq!(of(json!({"data": [{}, {}], "out_of_retention_period": true})), (2, 1));
        assert_eq!(of(json!({"data": [], "out_of_retention_period": 4})), (0, 4));
        assert_eq!(of(json!({"data": [{"out_of_retention_period": true}], "out_of_retention_period": false})), (1, 1));
        assert_eq!(of(json!({"data": null, "out_of_retention_period": [1, 2], "pagination": null})), (0, 2));
        assert_eq!([of(json!([])), of(json!(null))], [(0, 0); 2]);
    }
}
