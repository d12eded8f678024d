//! Files that the command line names, and standard input.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::config::text_file::{MAX_SECRET, not_read, read_all, read_text};
use crate::domain::Secret;
use crate::error::{Error, Result};

pub use crate::config::text_file::read_file;

/// The longest body that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// The secret in a file; `what` is what errors call it.
pub fn read_secret(what: &str, path: &Path) -> Result<Secret> {
    Secret::parse(what, &read_file(path)?).map_err(|error| error.about(path.display()))
}

/// All of standard input, as text. Secrets come this way.
pub fn read_stdin(what: &str) -> Result<String> {
    let text = read_text(io::stdin()).map_err(|error| {
        Error::usage(format!("{what} could not be read from standard input: {error}")).source(error)
    })?;
    text.ok_or_else(|| {
        Error::usage(format!("{what} is longer than {MAX_SECRET} bytes: is standard input the right file?"))
    })
}

/// The body of a request, from a file or, with "-", from standard input: its bytes, whatever they are.
pub fn read_body(path: &Path) -> Result<Vec<u8>> {
    let body = if path == Path::new("-") {
        read_all(io::stdin(), MAX_BODY)
    } else {
        File::open(path).and_then(|file| read_all(file, MAX_BODY))
    };
    let body = body.map_err(|error| not_read(path, error))?;
    body.ok_or_else(|| Error::usage(format!("the body is longer than {MAX_BODY} bytes")))
}

/// The error of a file that a flag names and that could not be written. It does not name the temp file on the way, which
/// nobody has given.
pub fn not_made(flag: &str, path: &Path, error: io::Error) -> Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is no such directory".to_owned(),
        kind => kind.to_string(),
    };
    Error::usage(format!("{flag} {}: {why}", path.display())).source(error)
}
