//! The house: imports point one way, and what is said to stand in one place stands there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part may import from. What is not named may import nothing of the crate.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lib", &["cli", "commands", "config", "context", "domain", "error", "render"]),
    ("cli", &["commands", "config", "render", "domain", "error"]),
    (
        "commands",
        &[
            "context", "config", "auth", "api", "store", "receiver", "sandbox", "render", "http", "platform", "domain",
            "error",
        ],
    ),
    ("context", &["config", "auth", "api", "store", "render", "http", "platform", "domain", "error"]),
    ("config", &["platform", "domain", "error"]),
    ("auth", &["config", "http", "platform", "domain", "error"]),
    ("api", &["http", "domain", "error"]),
    ("store", &["platform", "domain", "error"]),
    ("receiver", &["store", "http", "platform", "domain", "error"]),
    ("sandbox", &["http", "domain", "error"]),
    ("render", &["domain", "error"]),
    ("http", &["domain", "error"]),
    ("domain", &["error"]),
];

fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The part of the house that a file belongs to.
fn part(path: &Path) -> String {
    let relative = path.strip_prefix(src()).unwrap();
    relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut seen = 0;
    for (path, text) in sources(&src()) {
        let part = part(&path);
        let own: &[&str] = allowed.get(part.as_str()).copied().unwrap_or_default();
        for piece in text.split("crate::").skip(1) {
            let imported: String = piece.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            seen += 1;
            assert!(imported == part || own.contains(&&*imported), "{} imports {imported}", path.display());
        }
    }
    assert!(seen > 50);
}

#[test]
fn only_the_command_line_knows_clap() {
    for (path, text) in sources(&src()) {
        let top = matches!(part(&path).as_str(), "lib" | "cli" | "commands");
        assert!(top || !text.contains("clap::") && !text.contains("clap_"), "{}", path.display());
    }
}

#[test]
fn only_the_platform_knows_systems() {
    for (path, text) in sources(&src()) {
        let here = part(&path) == "platform";
        assert!(here || !text.contains("cfg(unix)") && !text.contains("os::unix"), "{}", path.display());
    }
}

#[test]
fn only_the_store_knows_its_database() {
    for (path, text) in sources(&src()) {
        let here = path.to_string_lossy().contains("store/sqlite");
        assert!(here || !text.contains("rusqlite"), "{}", path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources(&src()) {
        assert!(text.starts_with("//!"), "{}", path.display());
    }
}

#[test]
fn every_variable_is_named_in_one_file() {
    for (path, text) in sources(&src()) {
        let asks = text.contains("env::var(") || text.contains("env::var_os(");
        assert!(!asks || path.ends_with("config/environment.rs"), "{}", path.display());
    }
}
