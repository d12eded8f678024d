//! A registry as a file, made for version control: the same hooks are the same bytes, and two changes of different hooks do
//! not touch the same lines.

mod changed;
mod conflicts;
mod duplicates;
mod lineage;
mod merge;

pub use duplicates::Duplicate;
pub use merge::{Merged, merge};

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    ApiOrigin, AppId, EventKind, HookId, HookRecord, HookStatus, Label, ManifestName, RowId, Subscription, TargetUrl,
    without_bom,
};
use crate::error::{Error, Result, TextPlace};

/// The version of the format.
const VERSION: u32 = 1;

/// All hooks of a registry, in a stable order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryFile {
    version: u32,
    /// What a merge could not decide. A file with conflicts is not imported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// The hooks.
    pub hooks: Vec<HookEntry>,
}

/// Nothing: what git gives for a file that one side did not have.
impl Default for RegistryFile {
    fn default() -> Self {
        Self { version: VERSION, conflicts: Vec::new(), hooks: Vec::new() }
    }
}

/// A hook in a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookEntry {
    /// The origin of the installation.
    pub api_url: String,
    /// The number of the hook, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_id: Option<i64>,
    /// The app.
    pub app_id: i64,
    /// The event.
    pub event: EventKind,
    /// The endpoint; its password may be redacted.
    pub target_url: String,
    /// The status.
    pub status: String,
    /// The label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The manifest that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManifestName>,
    /// The hook that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<i64>,
    /// Why the status is unknown or removing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The endpoint is shown without its password.
impl std::fmt::Debug for HookEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HookEntry({} {})", self.name(), self.status)
    }
}

impl HookEntry {
    /// The entry of a row. With `redacted`, the password in its endpoint is hidden, also where the reason repeats it.
    pub fn of(record: &HookRecord, redacted: bool) -> Self {
        let Subscription { origin, app_id, event, target_url } = &record.subscription;
        // Whoever reads the file does not know the process that is at work on it.
        let status = if record.status == HookStatus::Pending { HookStatus::Unknown } else { record.status };
        let hide =
            |text: &String| target_url.password().map_or_else(|| text.clone(), |secret| text.replace(&secret, "****"));
        Self {
            api_url: origin.to_string(),
            hook_id: record.hook_id.map(HookId::get),
            app_id: app_id.get(),
            event: *event,
            target_url: target_url.clone().into_shown(!redacted),
            status: status.to_string(),
            label: record.label.as_ref().map(Label::to_string),
            managed_by: record.managed_by.clone(),
            replaces: record.replaces.map(HookId::get),
            reason: if redacted { record.reason.as_ref().map(hide) } else { record.reason.clone() },
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }

    /// The same with its URLs as a registry has them, however they were written by hand. What is none is left, to be named.
    fn normalized(mut self) -> Self {
        if let Ok(origin) = self.api_url.parse::<ApiOrigin>() {
            self.api_url = origin.to_string();
        }
        if let Ok(target_url) = self.target_url.parse::<TargetUrl>() {
            target_url.expose().clone_into(&mut self.target_url);
        }
        self
    }

    /// The row that it stands for; its number in a registry is not known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn record(&self) -> Result<HookRecord> {
        let wrong = |what: &str| Error::usage(format!("{}: {what}", self.name()));
        let hook = |id: i64| HookId::new(id).ok_or_else(|| wrong("a hook id must be positive"));
        let origin: ApiOrigin = self.api_url.parse().map_err(|_| wrong("`api_url` is no origin of an installation"))?;
        let status: HookStatus = self.status.parse().map_err(|_| wrong("unknown `status`"))?;
        if status == HookStatus::Pending || (self.hook_id.is_none() && status != HookStatus::Unknown) {
            return Err(wrong("a hook without `hook_id` has the status `unknown`, and none is `pending`"));
        }
        let target_url: TargetUrl = self.target_url.parse().map_err(|error: Error| wrong(error.message()))?;
        let label = self.label.as_deref().map(str::parse).transpose().map_err(|error: Error| wrong(error.message()))?;
        Ok(HookRecord {
            row: RowId(0),
            hook_id: self.hook_id.map(hook).transpose()?,
            subscription: Subscription {
                origin,
                app_id: AppId::new(self.app_id).ok_or_else(|| wrong("`app_id` must be positive"))?,
                event: self.event,
                target_url,
            },
            status,
            label,
            managed_by: self.managed_by.clone(),
            replaces: self.replaces.map(hook).transpose()?,
            reason: self.reason.clone(),
            created_at: whole_seconds(self.created_at),
            updated_at: whole_seconds(self.updated_at),
        })
    }

    /// What it is called in messages, without what may be a secret.
    pub fn name(&self) -> String {
        let origin = self.api_url.parse().map_or_else(|_| NO_URL.to_owned(), |origin: ApiOrigin| origin.to_string());
        if let Some(id) = self.hook_id {
            return format!("hook {id} of {origin}");
        }
        format!("the subscription for {} of app {} to {} at {origin}", self.event, self.app_id, self.shown_target())
    }

    fn target(&self) -> TargetUrl {
        TargetUrl::from_stored(self.target_url.clone())
    }

    fn shown_target(&self) -> String {
        shown_target(&self.target_url)
    }

    /// What it is called in conflicts: of several requests for the same in doubt, when it was recorded.
    fn name_in_conflicts(&self) -> String {
        let name = self.name();
        if self.hook_id.is_some() { name } else { format!("{name}, recorded at {}", self.created_at) }
    }

    fn is_ended(&self) -> bool {
        self.status.parse().is_ok_and(HookStatus::is_ended)
    }

    /// What people say of it.
    fn settings(&self) -> impl Ord + '_ {
        (&self.label, self.managed_by.as_ref().map(ManifestName::as_str), self.replaces)
    }

    /// All of it but what it is for and when it was recorded.
    fn content(&self) -> impl Ord + '_ {
        (self.hook_id, &self.status, self.settings(), &self.reason, self.updated_at)
    }

    /// All of it, so that the same hooks have the same order.
    fn sort_key(&self) -> impl Ord + '_ {
        let wanted = (&self.api_url, self.app_id, self.event.as_str(), &self.target_url);
        (wanted, self.hook_id.is_none(), self.hook_id, self.created_at, self.content())
    }
}

impl RegistryFile {
    /// The file of these hooks.
    pub fn new(mut hooks: Vec<HookEntry>) -> Self {
        hooks.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        Self { hooks, ..Self::default() }
    }

    /// Reads one; empty text is one without hooks.
    ///
    /// # Errors
    /// A usage error that names the place in the file.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let text = without_bom(text);
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let place = |line, column| TextPlace { file: file.to_owned(), line, column };
        if let Some(at) = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")) {
            return Err(Error::usage("there are conflict markers of git in it")
                .at(place(at + 1, 1))
                .hint("merge it with `bugfender-hooks registry merge`, or let git do that: contrib/git/README.md"));
        }
        let parsed: Self = serde_json::from_str(text).map_err(|error| {
            let what = format!("this is no registry that `registry export` wrote: {}", error_text(&error));
            Error::usage(what).at(place(error.line(), error.column()))
        })?;
        if parsed.version != VERSION {
            return Err(Error::usage(format!(
                "it has the version {}, and this program knows {VERSION}",
                parsed.version
            ))
            .at(place(1, 1))
            .hint("update bugfender-hooks"));
        }
        let hooks = parsed.hooks.into_iter().map(HookEntry::normalized).collect();
        Ok(Self { conflicts: parsed.conflicts, ..Self::new(hooks) })
    }

    /// The rows that the hooks stand for.
    ///
    /// # Errors
    /// When there are conflicts, or a hook is wrong or there twice.
    pub fn records(&self, file: &str) -> Result<Vec<HookRecord>> {
        if !self.conflicts.is_empty() {
            let message = format!("{file}: a merge left {} open", count_of(self.conflicts.len(), "conflict"));
            return Err(Error::usage(message).hint("correct the hooks that `conflicts` names, and delete that list"));
        }
        let mut seen = HashSet::new();
        let twice = self
            .hooks
            .iter()
            .find(|entry| !entry.is_ended() && entry.hook_id.is_some_and(|id| !seen.insert((&entry.api_url, id))));
        if let Some(twice) = twice {
            return Err(Error::usage(format!("{file}: {} is there twice", twice.name())));
        }
        self.hooks.iter().map(|entry| entry.record().map_err(|error| error.about(file))).collect()
    }

    /// The file: JSON, indented, with a line break at the end.
    pub fn text(&self) -> String {
        // Plain fields to memory: this cannot fail.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What is shown of a URL that is none: nothing, as it may contain a password.
const NO_URL: &str = "[no URL]";

/// An endpoint without its password.
fn shown_target(text: &str) -> String {
    text.parse().map_or_else(|_| NO_URL.to_owned(), |target: TargetUrl| target.to_string())
}

/// A time as registries have them: what is below a second, written by hand, would be newer each time that it is imported.
fn whole_seconds(time: Timestamp) -> Timestamp {
    // The whole second of a time is in the range of times.
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// What is wrong with JSON. A text of the file in it is left out: it may be a URL with its password.
fn error_text(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The place is at the end, and known otherwise.
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    match (what.find(" \""), what.rfind('"')) {
        (Some(first), Some(last)) if first + 1 < last => format!("{}{}", &what[..first], &what[last + 1..]),
        _ => what.to_owned(),
    }
}

fn count_of(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
