//! The `Dockerfile`, as far as it can be read; `contrib/container/check` builds and runs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Home;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// What a build sees: the files and directories that .dockerignore lets through.
fn context() -> BTreeSet<String> {
    let ignore = text(".dockerignore");
    let mut lines = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything is left out but what follows");
    lines.map(|line| line.strip_prefix('!').unwrap().to_owned()).collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = paths.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn the_build_sees_what_it_needs_and_no_more() {
    let context = context();
    assert_eq!(
        context.iter().map(String::as_str).collect::<Vec<_>>(),
        ["Cargo.lock", "Cargo.toml", "bench/*.rs", "completions", "dist", "migrations", "src"]
    );
    // What the source includes is there.
    let mut included = 0;
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests" || part == "tests.rs");
    for path in rust_files(&repository().join("src")).iter().filter(|path| !is_test(path)) {
        let source = fs::read_to_string(path).unwrap();
        for (start, _) in source.match_indices("include_str!(\"") {
            let name = source[start..].split('"').nth(1).unwrap();
            let file = path.parent().unwrap().join(name).canonicalize().unwrap();
            let first = file.strip_prefix(repository()).unwrap().components().next().unwrap();
            assert!(context.contains(first.as_os_str().to_str().unwrap()), "{}: {name}", path.display());
            included += 1;
        }
    }
    assert!(included > 5, "{included}");
    // Cargo understands what is left.
    let home = Home::new();
    let copy = "cp -r Cargo.toml Cargo.lock completions src migrations \"$1\" && mkdir \"$1/bench\" && cp bench/*.rs \"$1/bench\"";
    let status = Command::new("sh").args(["-c", copy, "sh"]).arg(home.path()).current_dir(repository()).status();
    assert!(status.unwrap().success());
    let arguments = ["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(home.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is asked inside the image is where it listens.
#[test]
fn the_health_check_asks_the_receiver_of_the_image() {
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains(" CMD [\"bugfender-hooks\", \"healthcheck\"]\n"));
    assert!(
        dockerfile.contains("\nCMD [\"listen\", \"--listen=0.0.0.0:4000\"]\n")
            && dockerfile.contains("\nEXPOSE 4000\n")
    );
    let help = Home::new().run(["healthcheck", "--help"]).stdout;
    assert!(help.contains("[default: http://127.0.0.1:4000,"), "{help}");
}
