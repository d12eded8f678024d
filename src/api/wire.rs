//! The bodies of answers.

use serde::Deserialize;

use crate::domain::HookId;
use crate::http::{Answer, BodyProblem, MAX_BODY};

/// The answer to a subscription. The page calls `app_id` a string while its example shows an integer, so that
/// nothing but `id` is relied on, and that is taken in both forms.
#[derive(Debug, Deserialize)]
struct CreatedHook {
    id: Number,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Integer(i64),
    Text(String),
}

/// The id of a hook just made, or what is wrong with the answer.
pub(super) fn created_hook(answer: &Answer) -> Result<HookId, String> {
    let body = answer.body.as_deref().map_err(|problem| match problem {
        BodyProblem::Cut => "the answer broke off".to_owned(),
        BodyProblem::TooLarge => format!("the answer is larger than {MAX_BODY} bytes"),
    })?;
    let created: CreatedHook = serde_json::from_slice(body).map_err(|_| "the answer holds no hook id".to_owned())?;
    let id = match created.id {
        Number::Integer(number) => HookId::new(number),
        Number::Text(text) => text.parse().ok(),
    };
    id.ok_or_else(|| "the hook id in the answer is not a positive number".to_owned())
}
