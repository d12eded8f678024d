//! `doctor`: checks of everything that a command depends on.

use std::time::Instant;

use serde::Serialize;

use super::Report;
use crate::auth::TokenSource;
use crate::config::directories;
use crate::context::Context;
use crate::domain::{HookRecord, HookStatus};
use crate::error::{Error, Result};
use crate::hooks::selector;
use crate::http::Roots;
use crate::render::{Block, Cell, Output, Records, Row, Tone, View};

/// Check configuration, token, API and registry, and suggest fixes
///
/// Exits with the code of the first check that failed.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum CheckStatus {
    Ok,
    Warning,
    Failed,
}

/// One check and its result.
#[derive(Serialize)]
struct Check {
    #[serde(rename = "check")]
    what: &'static str,
    status: CheckStatus,
    detail: String,
    hint: Option<String>,
}

impl Row for Check {
    const FIELDS: &'static [&'static str] = &["check", "status", "detail", "hint"];
    const HEADERS: &'static [&'static str] = &["CHECK", "STATUS", "DETAIL", "HINT"];

    fn cells(&self) -> Vec<Cell> {
        let status = match self.status {
            CheckStatus::Ok => Cell::toned("ok", Tone::Good),
            CheckStatus::Warning => Cell::toned("warning", Tone::Caution),
            CheckStatus::Failed => Cell::toned("failed", Tone::Bad),
        };
        let hint = self.hint.clone().unwrap_or_default();
        vec![self.what.into(), status, self.detail.clone().into(), hint.into()]
    }
}

/// The checks, in blocks: details and hints are sentences, which no column has room for.
struct Checks(Records<Check>);

impl View for Checks {
    fn show(&self, out: &Output) -> Result<()> {
        if !out.is_for_people() {
            return out.show(&self.0);
        }
        let blocks: Vec<Block> = self.0.rows.iter().map(Check::block).collect();
        out.blocks(&blocks)
    }
}

impl Check {
    fn block(&self) -> Block {
        let status = self.cells().swap_remove(1);
        let below = self.hint.as_ref().map(|hint| format!("hint: {hint}")).into_iter().collect();
        Block { status, name: self.what.to_owned(), detail: self.detail.clone(), below }
    }
}

/// The checks so far, and the errors among them.
#[derive(Default)]
struct Findings {
    checks: Vec<Check>,
    errors: Vec<Error>,
}

impl Findings {
    fn ok(&mut self, what: &'static str, detail: impl Into<String>) {
        self.checks.push(Check { what, status: CheckStatus::Ok, detail: detail.into(), hint: None });
    }

    fn warning(&mut self, what: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        let (detail, hint) = (detail.into(), Some(hint.into()));
        self.checks.push(Check { what, status: CheckStatus::Warning, detail, hint });
    }

    fn failed(&mut self, what: &'static str, error: Error) {
        let hint = Some(error.hints().join("; ")).filter(|hint| !hint.is_empty());
        self.checks.push(Check { what, status: CheckStatus::Failed, detail: error.to_string(), hint });
        self.errors.push(error);
    }
}

pub fn run(ctx: &Context, _args: &Args) -> Report {
    let mut findings = Findings::default();
    settings(ctx, &mut findings);
    token(ctx, &mut findings);
    registry(ctx, &mut findings);
    inbox(ctx, &mut findings);
    let checks = Checks(Records::list(findings.checks));
    Report { errors: findings.errors, ..Report::of(checks) }
}

fn settings(ctx: &Context, findings: &mut Findings) {
    let settings = ctx.settings();
    match (ctx.take_config_error(), directories::config_file()) {
        (Some(error), _) => findings.failed("config", error),
        (None, Some(path)) if path.exists() => findings.ok("config", path.display().to_string()),
        (None, Some(path)) => findings.ok("config", format!("{} (does not exist; optional)", path.display())),
        (None, None) => {}
    }
    findings.ok("profile", format!("{} ({})", settings.profile.value, settings.profile.source));
    findings.ok("api_url", format!("{} ({})", settings.api.value, settings.api.source));
    match settings.store_url() {
        Ok(store) => findings.ok("store", format!("{store} ({})", settings.store.source)),
        Err(error) => findings.failed("store", error),
    }
    authorities(ctx, findings);
    proxy(ctx, findings);
    findings.ok("timeout", format!("{} s ({})", settings.timeout.value.as_secs_f64(), settings.timeout.source));
}

/// Which certificate authorities are trusted, if they are configured.
fn authorities(ctx: &Context, findings: &mut Findings) {
    let roots = ctx.roots();
    let named = match &roots {
        Roots::System => return,
        Roots::Environment => "SSL_CERT_FILE or SSL_CERT_DIR".to_owned(),
        Roots::File(path) => format!("{} ({})", path.display(), ctx.settings().ca_file.source),
    };
    match roots.check() {
        Ok(()) => findings.ok("ca_file", named),
        Err(error) => findings.failed("ca_file", error),
    }
}

/// The proxy to the installation, if one is configured.
fn proxy(ctx: &Context, findings: &mut Findings) {
    // Invalid options are reported by the check of the API.
    let proxy = ctx.http_options().ok().and_then(|options| options.proxy_of(&ctx.origin().url([])));
    if let Some(proxy) = proxy {
        findings.ok("proxy", format!("{proxy} (environment or system)"));
    }
}

fn token(ctx: &Context, findings: &mut Findings) {
    match ctx.require_credential() {
        Ok(found) => {
            let source = match found.source {
                TokenSource::Environment(name) => name.to_owned(),
                TokenSource::File(path) => path.display().to_string(),
                TokenSource::Keyring(name) => format!("the keyring, {name}"),
            };
            findings.ok("token", format!("{} from {source}", found.kind.as_str()));
        }
        Err(error) => {
            findings.failed("token", error);
            findings.warning(
                "api",
                "not checked: there is no token",
                "sign in, then run `bugfender-hooks doctor` again",
            );
            return;
        }
    }
    let started = Instant::now();
    match ask(ctx) {
        Ok(()) => findings.ok("api", format!("responds and accepts the token ({} ms)", started.elapsed().as_millis())),
        Err(error) => findings.failed("api", error),
    }
}

fn ask(ctx: &Context) -> Result<()> {
    let api = ctx.api()?;
    let answer = ctx.wait(api.me())?.ok_or_else(|| Error::interrupted("while asking the API"))?;
    answer.map(|_| ()).map_err(|failure| failure.error)
}

fn registry(ctx: &Context, findings: &mut Findings) {
    let mut unresolved = Vec::new();
    let (mut total, mut active) = (0_usize, 0_usize);
    let checked = ctx.existing_registry().and_then(|registry| {
        let Some(registry) = registry else { return Ok(false) };
        registry.check()?;
        registry.hooks(None, &mut |record| {
            total += 1;
            match record.status {
                HookStatus::Active => active += 1,
                HookStatus::Unknown | HookStatus::Removing => unresolved.push(record),
                _ => {}
            }
        })?;
        Ok(true)
    });
    match checked {
        Ok(true) => findings.ok("registry", format!("intact; records: {total}, active hooks: {active}")),
        Ok(false) => match ctx.store().and_then(|store| Ok(store.check_creatable()?)) {
            Ok(()) => findings.ok("registry", "does not exist yet: `subscribe` and `import` create it"),
            Err(error) => findings.failed("registry", error),
        },
        Err(error) => findings.failed("registry", error),
    }
    for record in unresolved {
        intent(&record, findings);
    }
}

fn inbox(ctx: &Context, findings: &mut Findings) {
    let checked = ctx.existing_inbox().and_then(|inbox| {
        let Some(inbox) = inbox else { return Ok(None) };
        inbox.check()?;
        Ok(Some((inbox.backlog()?, inbox.quarantined(None, Some(1))?, inbox.warnings()?)))
    });
    let (backlog, quarantined, warnings) = match checked {
        // Most people have no receiver.
        Ok(None) => return,
        Ok(Some(found)) => found,
        Err(error) => return findings.failed("inbox", error),
    };
    findings.ok("inbox", format!("intact; pending forwards: {}", backlog.pending));
    for warning in warnings {
        findings.warning("inbox", warning, "switch it on in postgresql.conf, and restart the server");
    }
    if backlog.dead > 0 {
        let hint = "list them: bugfender-hooks events list --dead; requeue them: bugfender-hooks events retry --dead";
        findings.warning("inbox", format!("dead-lettered forwards: {}", backlog.dead), hint.to_owned());
    }
    if !quarantined.is_empty() {
        let hint = "list them: bugfender-hooks events list --quarantined".to_owned();
        findings.warning("inbox", "deliveries that could not be read are in quarantine".to_owned(), hint);
    }
}

/// An intent of unknown outcome, and what to do about it.
fn intent(record: &HookRecord, findings: &mut Findings) {
    let origin = &record.subscription.origin;
    let reason = record.reason.as_deref().unwrap_or("the process exited before the outcome was known");
    let detail = format!("{} at {origin} is {} since {}: {reason}", record.name(), record.status, record.updated_at);
    let hint = if let Some(id) = record.hook_id {
        format!("finish the removal: bugfender-hooks --api-url {origin} unsubscribe {id}")
    } else {
        let selector = selector(&record.subscription);
        format!(
            "look in the dashboard of {origin}; if the hook is there: bugfender-hooks --api-url {origin} import \
             HOOK_ID {selector}; if not: bugfender-hooks --api-url {origin} forget --status unknown {selector}"
        )
    };
    findings.warning("intent", detail, hint);
}
