//! A plan in a file: which manifest it is of, what may be done, and the checksum of what was reviewed. It holds no secret, as
//! the manifest is read again to carry it out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commands::input::not_made;
use crate::domain::{ApiOrigin, ManifestName};
use crate::error::{Error, Result};
use crate::manifest::{Plan, PlanOptions};
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
    /// Of a plan that was made from these files.
    ///
    /// # Errors
    /// A usage error for a manifest that came by standard input, which cannot be read again.
    pub fn of(files: &[PathBuf], out: &Path, plan: &Plan) -> Result<Self> {
        if files.iter().any(|file| file == Path::new("-")) {
            return Err(Error::usage("a plan of standard input can't be saved: `apply` reads the manifest again")
                .hint("give the manifest as a file"));
        }
        let same = |file: &PathBuf| file.canonicalize().ok().zip(out.canonicalize().ok()).is_some_and(|(a, b)| a == b);
        if files.iter().any(same) {
            return Err(Error::usage(format!("--out {} is the manifest itself", out.display())));
        }
        Ok(Self {
            version: VERSION,
            name: plan.name.clone(),
            api_url: plan.origin.to_string(),
            files: files.to_vec(),
            prune: plan.options.prune,
            adopt: plan.options.adopt,
            checksum: plan.checksum(),
        })
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
