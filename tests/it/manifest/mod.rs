//! Manifests: they are checked, written and described.

mod examples;
mod init;
mod validate;

use std::fs;

use crate::support::Home;

/// Writes a file in the directory of the runs.
fn write(home: &Home, name: &str, text: &str) {
    let path = home.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
