//! Files that the command line names, and standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::domain::{Secret, without_bom};
use crate::error::{Error, Result};

/// Far more bytes than any token or URL has, and few enough to notice a file piped in by mistake.
const MAX_SECRET: u64 = 64 * 1024;

/// The longest body that is read, in bytes.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// A file, as text. Secrets come this way.
pub fn read_file(path: &Path) -> Result<String> {
    let text = File::open(path).and_then(read_text).map_err(|error| not_read(path, error))?;
    text.ok_or_else(|| {
        let path = path.display();
        Error::usage(format!("{path} is longer than {MAX_SECRET} bytes: is it the right file?"))
    })
}

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

fn not_read(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("{}: {error}", path.display())).source(error)
}

/// Text; `None` if it is longer than a secret may be.
fn read_text(reader: impl Read) -> io::Result<Option<String>> {
    let Some(bytes) = read_all(reader, MAX_SECRET)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(|text| Some(without_bom(&text).to_owned()))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text (UTF-8)"))
}

/// All there is to read; `None` if that is more than `limit` bytes.
fn read_all(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(u64::try_from(read).is_ok_and(|read| read <= limit).then_some(bytes))
}
