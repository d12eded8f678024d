//! A plan in a file: which manifest it is of, what may be done, and the checksum of what was reviewed. It holds no secret, as
//! the manifest is read again to carry it out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commands::input::not_made;
use crate::domain::{ApiOrigin, ManifestName};
use crate::error::{Error, Result};
use crate::manifest::{Plan, PlanOptions, is_manifest_name};
use crate::platform;

/// The version of the file's format.
const VERSION: u32 = 1;

/// A plan that was saved.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedPlan {
    version: u32,
    /// The manifest.
    name: ManifestName,
    /// The installation.
    api_url: String,
    /// The files and directories of the manifest.
    pub files: Vec<PathBuf>,
    prune: bool,
    adopt: bool,
    /// The checksum of the plan.
    pub checksum: String,
}

impl SavedPlan {
    /// Refuses a place where a plan would take that of a file that it is made from, or would be read as a manifest; the plan is
    /// made from these sources, of which these files were read.
    ///
    /// # Errors
    /// A usage error that says why.
    pub fn check_place(out: &Path, sources: &[PathBuf], read: &[PathBuf]) -> Result<()> {
        if sources.iter().any(|source| source == Path::new("-")) {
            return Err(Error::usage("a plan of standard input can't be saved: `apply` reads the manifest again")
                .hint("give the manifest as a file"));
        }
        if out == Path::new("-") {
            return Err(Error::usage("--out -: a plan is saved in a file")
                .hint("--output json writes what is planned to standard output"));
        }
        // What else is wrong with it is said when it is written.
        let Some(place) = resolved(out) else { return Ok(()) };
        let is_place = |path: &Path| path.canonicalize().is_ok_and(|path| path == place);
        if read.iter().any(|file| is_place(file)) {
            let message = format!("--out {}: the plan would replace a file that it is made from", out.display());
            return Err(Error::usage(message));
        }
        let dir = place
            .parent()
            .and_then(|dir| sources.iter().find(|source| source.canonicalize().is_ok_and(|source| source == dir)));
        match dir.filter(|_| is_manifest_name(&place)) {
            None => Ok(()),
            Some(dir) => {
                let message = format!("--out {}: it would be read as a manifest of {}", out.display(), dir.display());
                Err(Error::usage(message).hint("give the plan another ending, such as .plan, or another directory"))
            }
        }
    }

    /// Of a plan that was made from these files.
    pub fn of(files: &[PathBuf], plan: &Plan) -> Self {
        Self {
            version: VERSION,
            name: plan.name.clone(),
            api_url: plan.origin.to_string(),
            files: files.to_vec(),
            prune: plan.options.prune,
            adopt: plan.options.adopt,
            checksum: plan.checksum(),
        }
    }

    /// Writes it, whole or not at all, for its owner alone.
    ///
    /// # Errors
    /// A usage error when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from)?;
        json.push(b'\n');
        platform::write_named_file(path, &json).map_err(|error| not_made("--out", path, error))
    }

    /// Reads one that was made for this installation.
    ///
    /// # Errors
    /// A usage error for a file that cannot be read, is no plan, or is for another installation.
    pub fn read(path: &Path, origin: &ApiOrigin) -> Result<Self> {
        let wrong = |what: String| Error::usage(format!("{}: {what}", path.display()));
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()).source(error))?;
        let is_manifest = |error: serde_json::Error| {
            wrong(format!("this is no plan that `plan --out` wrote: {error}"))
                .hint(format!("to apply a manifest: bugfender-hooks apply -f {}", path.display()))
        };
        let saved: Self = serde_json::from_slice(&bytes).map_err(is_manifest)?;
        if saved.version != VERSION {
            return Err(wrong(format!("it was written by another version of this tool (format {})", saved.version))
                .hint("make the plan again"));
        }
        if saved.api_url != origin.as_str() {
            return Err(wrong(format!("it is a plan for {}, not for {origin}", saved.api_url)));
        }
        Ok(saved)
    }

    /// What the plan may do.
    pub fn options(&self) -> PlanOptions {
        PlanOptions { prune: self.prune, adopt: self.adopt }
    }
}

/// The file that is written at this path, which need not exist.
fn resolved(path: &Path) -> Option<PathBuf> {
    let beside = || {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(dir.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(beside)
}
