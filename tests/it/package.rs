//! What is published: the crate has what it needs and no more, and says truly which Rust it needs and what changed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What cargo says, without the network.
fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(args).arg("--offline").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_crate_has_what_it_is_built_from_and_no_more() {
    let list = cargo(&["package", "--list", "--allow-dirty"]);
    let files: BTreeSet<&str> =
        list.lines().map(|file| file.split_once('/').map_or(file, |(folder, _)| folder)).collect();
    // Outside a clone there is nothing to say about a commit.
    let files: Vec<&str> = files.into_iter().filter(|file| *file != ".cargo_vcs_info.json").collect();
    let expected = [
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "completions",
        "contrib",
        "migrations",
        "src",
    ];
    assert_eq!(files, expected);
    let contrib: BTreeSet<_> =
        list.lines().filter_map(|file| file.strip_prefix("contrib/")?.split('/').next()).collect();
    assert_eq!(contrib, BTreeSet::from(["listen", "manifest"]));
}

/// A version of Rust, as numbers.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--locked", "--all-features"])).unwrap();
    let ours = numbers(env!("CARGO_PKG_RUST_VERSION"));
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if let Some(version) = package["rust_version"].as_str() {
            seen += 1;
            assert!(numbers(version)[..2] <= ours[..2], "{} needs Rust {version}", package["name"]);
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap();
    let mut versions = text.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(versions.next(), Some("[Unreleased]"));
    for (index, version) in versions.enumerate() {
        let (name, date) = version.strip_prefix('[').and_then(|rest| rest.split_once("] - ")).unwrap();
        assert!(index > 0 || name == env!("CARGO_PKG_VERSION"), "{version} is not the version in Cargo.toml");
        assert!(date.parse::<jiff::civil::Date>().is_ok(), "{version}");
    }
    for section in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"].contains(&section), "{section}");
    }
}
