//! The bodies of answers.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{AppId, HookId};
use crate::http::{BodyProblem, HttpResponse, MAX_BODY};

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

/// Who is signed in (`GET /api/me`, seen in published clients, which use `teams`). Any part may be missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Account {
    /// The number of the account, in whatever form the server has it.
    pub id: Value,
    /// The person's or service's name.
    pub name: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// The teams they are in.
    pub teams: Vec<Team>,
}

impl TryFrom<Value> for Account {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let known = ["id", "name", "email", "teams"].iter().any(|key| value.get(key).is_some());
        if !known {
            return Err("it says nothing of an account");
        }
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let team = |team: &Value| {
            team.is_object().then(|| Team { id: team["id"].clone(), name: team["name"].as_str().map(str::to_owned) })
        };
        let teams = value["teams"].as_array().map(|teams| teams.iter().filter_map(team).collect());
        let (name, email) = (text("name"), text("email"));
        Ok(Self { id: value["id"].clone(), name, email, teams: teams.unwrap_or_default() })
    }
}

/// A team.
#[derive(Debug, Clone, Serialize)]
pub struct Team {
    /// Its number, in whatever form the server has it.
    pub id: Value,
    /// Its name.
    pub name: Option<String>,
}

/// The applications that the account sees (`GET /api/app/`, seen in published clients).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Apps {
    /// Those that have a number.
    pub apps: Vec<App>,
    /// How many others there were: nothing can be done with them.
    pub skipped: usize,
}

impl TryFrom<Value> for Apps {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let Value::Array(items) = value else { return Err("it is not a list") };
        let all = items.len();
        let apps: Vec<App> = items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
        Ok(Self { skipped: all - apps.len(), apps })
    }
}

/// An application.
#[derive(Debug, Clone, Deserialize)]
pub struct App {
    /// Its number: what `--app-id` takes.
    #[serde(deserialize_with = "app_id")]
    pub id: AppId,
    /// The key that the SDK in the app is given.
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    /// Its name.
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
}

/// Text, or nothing where something else stands: what is not known for sure must not stand in the way.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().map(str::to_owned))
}

fn app_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AppId, D::Error> {
    let id = match Number::deserialize(deserializer)? {
        Number::Integer(number) => AppId::new(number),
        Number::Text(text) => text.parse().ok(),
    };
    id.ok_or_else(|| serde::de::Error::custom("an app id is a positive number"))
}

/// The body of an answer to a question, or what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(answer: &HttpResponse) -> Result<T, String> {
    serde_json::from_slice(body(answer)?).map_err(|_| "the answer is not what was asked for".to_owned())
}

fn body(answer: &HttpResponse) -> Result<&[u8], String> {
    answer.body.as_deref().map_err(|problem| match problem {
        BodyProblem::Cut => "the answer broke off".to_owned(),
        BodyProblem::TooLarge => format!("the answer is larger than {MAX_BODY} bytes"),
    })
}

/// The id of a hook just made, or what is wrong with the answer.
pub(super) fn created_hook(answer: &HttpResponse) -> Result<HookId, String> {
    let body = body(answer)?;
    let created: CreatedHook = serde_json::from_slice(body).map_err(|_| "the answer holds no hook id".to_owned())?;
    let id = match created.id {
        Number::Integer(number) => HookId::new(number),
        Number::Text(text) => text.parse().ok(),
    };
    id.ok_or_else(|| "the hook id in the answer is not a positive number".to_owned())
}
