//! Apps that the command line names by number or by public id.

use super::app_cache;
use crate::api::App;
use crate::context::Context;
use crate::domain::{AppId, AppName};
use crate::error::{Error, Result};

/// The app that is given, or that of the profile. Only for a public id is the account asked.
///
/// # Errors
/// A usage error when there is none, or the account sees no app with that public id.
pub fn app_id(ctx: &Context, given: Option<&AppName>) -> Result<AppId> {
    given.map_or_else(|| of_profile(ctx), |name| Known::default().find(ctx, name))
}

/// The apps that are given, each once, or that of the profile.
///
/// # Errors
/// As [`app_id`].
pub fn app_ids(ctx: &Context, given: &[AppName]) -> Result<Vec<AppId>> {
    if given.is_empty() {
        return Ok(vec![of_profile(ctx)?]);
    }
    let (mut known, mut ids) = (Known::default(), Vec::new());
    for name in given {
        let id = known.find(ctx, name)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn of_profile(ctx: &Context) -> Result<AppId> {
    ctx.settings().app_id.ok_or_else(|| missing("--app-id", "app_id", "ID"))
}

/// The apps that the account sees, once they were asked for.
#[derive(Default)]
struct Known(Option<Vec<App>>);

impl Known {
    fn find(&mut self, ctx: &Context, name: &AppName) -> Result<AppId> {
        let public_id = match name {
            AppName::Number(id) => return Ok(*id),
            AppName::PublicId(id) => id,
        };
        let apps = match &mut self.0 {
            Some(apps) => apps,
            unknown => unknown.insert(list(ctx)?),
        };
        apps.iter().find(|app| app.has_public_id(public_id)).map(|app| app.id).ok_or_else(|| {
            Error::usage(format!("the account sees no app with the public id {public_id}"))
                .hint("`bugfender-hooks apps` lists the apps with their numbers: give the number")
        })
    }
}

fn list(ctx: &Context) -> Result<Vec<App>> {
    let api = ctx.api()?;
    let answer = ctx.wait(api.apps())?.ok_or_else(|| Error::interrupted("while asking for the apps"))?;
    let apps = answer.map_err(|failure| failure.error)?.apps;
    app_cache::remember(ctx.settings(), &apps);
    Ok(apps)
}

/// A value that a command cannot do without.
pub struct Needed {
    /// The flag that gives it.
    pub flag: &'static str,
    /// What stands for it in help texts.
    pub value: &'static str,
    /// The key of its default in a profile, if it has one.
    pub key: Option<&'static str>,
    /// Whether it is given, or has a default.
    pub given: bool,
}

/// Checks that all of these are given.
///
/// # Errors
/// A usage error that names all that are not.
pub fn require(needed: &[Needed]) -> Result<()> {
    let absent: Vec<&Needed> = needed.iter().filter(|needed| !needed.given).collect();
    let (last, others) = match absent.split_last() {
        None => return Ok(()),
        Some((Needed { flag, value, key: Some(key), .. }, [])) => return Err(missing(flag, key, value)),
        Some((last, others)) => (last, others),
    };
    let flags: Vec<&str> = others.iter().map(|needed| needed.flag).collect();
    let message = match flags.join(", ") {
        flags if flags.is_empty() => format!("{} is missing", last.flag),
        flags => format!("{flags} and {} are missing", last.flag),
    };
    let give: Vec<String> = absent.iter().map(|needed| format!("{} {}", needed.flag, needed.value)).collect();
    let error = Error::usage(message).hint(format!("give {}", give.join(" ")));
    let defaults = absent.iter().filter_map(|needed| needed.key.map(|key| (key, needed.value)));
    let defaults: Vec<String> =
        defaults.map(|(key, value)| format!("bugfender-hooks config set {key} {value}")).collect();
    Err(if defaults.is_empty() { error } else { error.hint(format!("or set defaults: {}", defaults.join("; "))) })
}

/// The error of a value that neither the command line nor the profile gives.
pub fn missing(flag: &str, key: &str, value: &str) -> Error {
    Error::usage(format!("{flag} is missing, and the profile has no default for it"))
        .hint(format!("give {flag} {value}, or set the default: bugfender-hooks config set {key} {value}"))
}
