//! The bodies of responses.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{AppId, HookId};
use crate::http::{BodyProblem, HttpResponse};

/// The response to a subscription. The help page calls `app_id` a string while its example shows an integer, so only
/// `id` is read, as either.
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

/// The account that is signed in (`GET /api/me`, seen in published clients). Any field may be missing.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Account {
    /// The id of the account, as the server sends it.
    pub id: Value,
    /// The name of the person or service.
    pub name: Option<String>,
    /// The email address.
    pub email: Option<String>,
    /// The teams that the account belongs to.
    pub teams: Vec<Team>,
}

impl TryFrom<Value> for Account {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let known = ["id", "name", "email", "teams"].iter().any(|key| value.get(key).is_some());
        if !known {
            return Err("the response describes no account");
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
    /// Its id, as the server sends it.
    pub id: Value,
    /// Its name.
    pub name: Option<String>,
}

/// The applications that the account has access to (`GET /api/app/`, seen in published clients).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub struct Apps {
    /// Those with a usable id.
    pub apps: Vec<App>,
    /// How many others there were.
    pub skipped: usize,
}

impl TryFrom<Value> for Apps {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, &'static str> {
        let Value::Array(items) = value else { return Err("the response is not a list") };
        let all = items.len();
        let apps: Vec<App> = items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
        Ok(Self { skipped: all - apps.len(), apps })
    }
}

/// An application.
#[derive(Debug, Clone, Deserialize)]
pub struct App {
    /// Its id: the value for `--app-id`.
    #[serde(deserialize_with = "app_id")]
    pub id: AppId,
    /// The key with which the app initialises the SDK.
    #[serde(default, deserialize_with = "lenient")]
    pub key: Option<String>,
    /// Its name.
    #[serde(default, deserialize_with = "lenient")]
    pub name: Option<String>,
    /// Its id in the dashboard's addresses. That this field holds it is assumed; see [`App::has_public_id`].
    #[serde(default, deserialize_with = "lenient")]
    pub public_id: Option<String>,
}

impl App {
    /// Whether this is its public id. Which field holds that is assumed: `public_id`, or `key`.
    pub fn has_public_id(&self, id: &str) -> bool {
        [&self.public_id, &self.key].into_iter().flatten().any(|known| known == id)
    }
}

/// The text, or `None` for a value of another type: an undocumented field must not make the response unreadable.
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

/// The parsed body of a response, or what is wrong with it.
pub(super) fn read<T: DeserializeOwned>(response: &HttpResponse) -> Result<T, String> {
    serde_json::from_slice(body(response)?).map_err(|_| "the response has an unexpected form".to_owned())
}

fn body(response: &HttpResponse) -> Result<&[u8], String> {
    response.body.as_deref().map_err(|problem| match problem {
        BodyProblem::Cut => "the response was cut off".to_owned(),
        BodyProblem::TooLarge => "the response is too large".to_owned(),
    })
}

/// The id of the new hook, or what is wrong with the response.
pub(super) fn created_hook(response: &HttpResponse) -> Result<HookId, String> {
    let body = body(response)?;
    let created: CreatedHook =
        serde_json::from_slice(body).map_err(|_| "the response contains no hook id".to_owned())?;
    let id = match created.id {
        Number::Integer(number) => HookId::new(number),
        Number::Text(text) => text.parse().ok(),
    };
    id.ok_or_else(|| "the hook id in the response is not a positive number".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_app_is_found_by_its_public_id_wherever_that_is() {
        let list = json!([
            {"id": 3, "key": "DXtETPbMAq"},
            {"id": "30525", "key": 7, "public_id": "5X3c4veRGV"},
            {"id": "DXtETPbMAq"},
            {"id": 9, "public_id": null},
        ]);
        let apps = Apps::try_from(list).unwrap();
        let find = |id: &str| apps.apps.iter().filter(|app| app.has_public_id(id)).map(|app| app.id.get()).collect();
        let [by_key, by_public_id, none]: [Vec<i64>; 3] = [find("DXtETPbMAq"), find("5X3c4veRGV"), find("dxtetpbmaq")];
        assert_eq!((by_key, by_public_id, none, apps.skipped), (vec![3], vec![30525], vec![], 1));
    }
}
