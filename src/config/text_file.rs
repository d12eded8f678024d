//! Small files of text that settings and secrets are read from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::domain::without_bom;
use crate::error::{Error, Result};

/// Far more bytes than any token or URL has, and few enough to notice a file given by mistake.
pub const MAX_SECRET: u64 = 64 * 1024;

/// A file, as text. Secrets come this way.
///
/// # Errors
/// A usage error that names the file, and none of its content.
pub fn read_file(path: &Path) -> Result<String> {
    let text = File::open(path).and_then(read_text).map_err(|error| not_read(path, error))?;
    text.ok_or_else(|| {
        let path = path.display();
        Error::usage(format!("{path} is longer than {MAX_SECRET} bytes: is it the right file?"))
    })
}

/// The error of a file that could not be read.
pub fn not_read(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("{}: {error}", path.display())).source(error)
}

/// Text; `None` if it is longer than a secret may be.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub fn read_text(reader: impl Read) -> io::Result<Option<String>> {
    let Some(bytes) = read_all(reader, MAX_SECRET)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(|text| Some(without_bom(&text).to_owned()))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text (UTF-8)"))
}

/// All there is to read; `None` if that is more than `limit` bytes.
///
/// # Errors
/// When it cannot be read.
pub fn read_all(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = reader.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(u64::try_from(read).is_ok_and(|read| read <= limit).then_some(bytes))
}
