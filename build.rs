//! Links relative relocations in their packed form where the system can load it: the tool is 0.4 MB smaller, and has that
//! much less to read whenever it starts.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if builds_for_this_system() && glibc().is_some_and(|version| version >= (2, 36)) {
        // GNU's linker ignores it where it is too old to know it.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Not for another one, whose C library is not known, and not for one that brings its own along.
fn builds_for_this_system() -> bool {
    let cfg = |name: &str| env::var(name).unwrap_or_default();
    cfg("HOST") == cfg("TARGET")
        && cfg("CARGO_CFG_TARGET_OS") == "linux"
        && cfg("CARGO_CFG_TARGET_ENV") == "gnu"
        && !cfg("CARGO_CFG_TARGET_FEATURE").split(',').any(|feature| feature == "crt-static")
}

/// The version of the system's C library: 2.36 is the first to load them, as its release notes say.
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
