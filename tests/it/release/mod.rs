//! What makes a release, and what installs one: run here as far as this system goes.

mod installing;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, Run, have, is_there};

const BINARY: &str = env!("CARGO_BIN_EXE_bugfender-hooks");
const VERSION: &str = env!("CARGO_PKG_VERSION");
const TARGETS: [&str; 7] = [
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// Runs a script of the repository, with these directories first on the path.
fn script(home: &Home, name: impl AsRef<Path>, arguments: &[&str], programs: &[&Path]) -> Run {
    let inner = home.command::<&str>([]);
    let mut command = Command::new(repository().join(name));
    command.args(arguments).env_clear().current_dir(home.path());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let programs: Vec<String> = programs.iter().map(|dir| dir.display().to_string()).collect();
    command.env("PATH", [&programs[..], &["/usr/bin:/bin".to_owned()]].concat().join(":"));
    Run::of(command.output().unwrap())
}

fn program(dir: &Path, name: &str, lines: &str) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(name), format!("#!/bin/sh\n{lines}\n")).unwrap();
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn sum(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn archive_name(version: &str, target: &str) -> String {
    let kind = if target.contains("windows") { "zip" } else { "tar.gz" };
    format!("bugfender-hooks-{version}-{target}.{kind}")
}

#[test]
fn the_glibc_that_a_program_needs_is_told() {
    if !have("objdump") || !have("gcc") {
        return;
    }
    let home = Home::new();
    let floor = |arguments: &[&str]| script(&home, "contrib/release/glibc-floor", arguments, &[]);
    let run = floor(&[BINARY]);
    assert_eq!(run.code, 0, "{run}");
    let needed = run.stdout.trim().to_owned();
    // It uses what glibc has had since its first version for this architecture, and more.
    assert!(needed.starts_with("2.") && needed != "2.2.5", "{run}");
    assert_eq!(floor(&[BINARY, &needed]).code, 0);
    assert_eq!(floor(&[BINARY, "2.100"]).code, 0, "versions are compared as numbers");
    let old = floor(&[BINARY, "2.9"]);
    assert_eq!(old.code, 1, "{old}");
    assert!(old.stderr.contains(&format!("it needs glibc {needed}, which is newer than 2.9")), "{old}");
    fs::write(home.path().join("none.c"), "int main(void) { return 0; }").unwrap();
    let compile = Command::new("gcc").args(["-static", "-o", "none", "none.c"]).current_dir(home.path()).status();
    assert!(compile.unwrap().success());
    assert_eq!(floor(&["none", "2.0"]).stdout, "static\n");
    assert_ne!(floor(&["none.c"]).code, 0);
}

/// What the scripts read, in a directory of its own, with this changelog. The program is the one that was built, run by a
/// script that is small.
fn tree(home: &Home, changelog: &str) -> PathBuf {
    let tree = home.path().join("tree");
    fs::create_dir_all(tree.join("contrib")).unwrap();
    for name in [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "completions",
        "contrib/release",
        "contrib/install",
    ] {
        let copy = Command::new("cp").arg("-r").arg(repository().join(name)).arg(tree.join(name)).status().unwrap();
        assert!(copy.success(), "{name}");
    }
    fs::write(tree.join("CHANGELOG.md"), changelog).unwrap();
    program(&tree, "program", &format!("exec '{BINARY}' \"$@\""));
    tree
}

fn changelog() -> String {
    format!(
        "# Changelog\n\n## [Unreleased]\n\n- Later.\n\n## [{VERSION}] - 2026-01-02\n\n- Now.\n\n## [0.0.1] - 2026-01-01\n\n- Before.\n"
    )
}

#[test]
fn a_tag_is_that_of_the_version() {
    for (changelog, released) in [(changelog(), true), (changelog().replace(VERSION, "0.0.7"), false)] {
        let home = Home::new();
        let tree = tree(&home, &changelog);
        let check = |tag: &str| script(&home, tree.join("contrib/release/check-tag"), &[tag], &[]);
        for wrong in ["v9.9.9", VERSION, "v"] {
            assert_eq!(check(wrong).code, 1, "{wrong}");
        }
        let right = check(&format!("v{VERSION}"));
        assert_eq!(right.code == 0, released, "{right}");
    }
}

#[test]
fn a_release_is_whole() {
    if !have("python3") {
        return;
    }
    let home = Home::new();
    let tree = tree(&home, &changelog());
    let dist = home.path().join("dist");
    for target in TARGETS {
        let arguments = [target, "tree/program", "dist"];
        let run = script(&home, tree.join("contrib/release/archive"), &arguments, &[]);
        assert_eq!(
            (run.code, run.stdout.trim()),
            (0, dist.join(archive_name(VERSION, target)).to_str().unwrap()),
            "{run}"
        );
    }
    for other in ["bugfender-hooks_1_amd64.deb", "bugfender-hooks-1.x86_64.rpm", "bugfender-hooks.cdx.json"] {
        fs::write(dist.join(other), other).unwrap();
    }
    let listing = Command::new("tar").arg("-tzf").arg(dist.join(archive_name(VERSION, TARGETS[0]))).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    for name in ["bugfender-hooks", "man/bugfender-hooks-listen.1", "completions/_bugfender-hooks", "LICENSE-MIT"] {
        let path = format!("bugfender-hooks-{VERSION}-{}/{name}", TARGETS[0]);
        assert!(listing.lines().any(|line| line == path), "{path}: {listing}");
    }
    let list = ["-m", "zipfile", "-l"];
    let listing =
        Command::new("python3").args(list).arg(dist.join(archive_name(VERSION, TARGETS[6]))).output().unwrap();
    assert!(String::from_utf8_lossy(&listing.stdout).contains("msvc/bugfender-hooks.exe "), "{listing:?}");

    let run = script(&home, tree.join("contrib/release/finish"), &["acme/tool", "dist"], &[]);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(fs::read_to_string(dist.join("notes.md")).unwrap().trim(), "- Now.");
    let release = dist.join("release");
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&release);
    assert!(check.status().unwrap().success());
    let sums = fs::read_to_string(release.join("SHA256SUMS")).unwrap();
    let files = fs::read_dir(&release).unwrap().count();
    assert_eq!((sums.lines().count(), files), (TARGETS.len() + 3 + 4, TARGETS.len() + 3 + 4 + 1), "{sums}");

    let formula = fs::read_to_string(release.join("bugfender-hooks.rb")).unwrap();
    for target in TARGETS.iter().filter(|target| target.ends_with("-gnu") || target.ends_with("-darwin")) {
        let name = archive_name(VERSION, target);
        let url = format!("url \"https://github.com/acme/tool/releases/download/v{VERSION}/{name}\"\n");
        let after = formula.split_once(&url).unwrap_or_else(|| panic!("{url}: {formula}")).1;
        assert!(after.trim_start().starts_with(&format!("sha256 \"{}\"\n", sum(&release.join(&name)))), "{formula}");
    }
    let scoop: Value = serde_json::from_slice(&fs::read(release.join("bugfender-hooks.json")).unwrap()).unwrap();
    let windows = archive_name(VERSION, TARGETS[6]);
    assert_eq!(scoop["version"], VERSION);
    assert_eq!(scoop["architecture"]["64bit"]["hash"], sum(&release.join(&windows)));
    assert!(scoop["architecture"]["64bit"]["url"].as_str().unwrap().ends_with(&windows), "{scoop}");
    for name in ["bugfender-hooks.rb", "bugfender-hooks.json", "install.sh", "install.ps1"] {
        let made = fs::read_to_string(release.join(name)).unwrap();
        assert!(made.contains("acme/tool") && !made.contains("@REPOSITORY@") && !made.contains("@VERSION@"), "{made}");
    }
}

#[test]
fn no_manifest_is_made_without_every_checksum() {
    let home = Home::new();
    let lines = TARGETS[..6].iter().map(|target| format!("{:064}  {}\n", 0, archive_name("9.8.7", target)));
    fs::write(home.path().join("sums"), lines.collect::<String>()).unwrap();
    let make = |version: &str, repository: &str| {
        script(&home, "contrib/release/manifests", &[version, repository, "sums", "out"], &[])
    };
    let run = make("9.8.7", "acme/tool");
    assert!(run.code == 1 && run.stderr.contains("does not have one archive for x86_64-pc-windows-msvc"), "{run}");
    assert!(!home.path().join("out/bugfender-hooks.json").exists());
    for (version, repository) in [("9.8", "acme/tool"), ("9.8.7", "acme"), ("9.8.7", "acme/tool\"; system(\"x")] {
        assert_eq!(make(version, repository).code, 1, "{version} {repository}");
    }
}

/// `cargo binstall` looks for the archives where they are.
#[test]
fn binstall_finds_the_archives() {
    let manifest: toml_edit::DocumentMut = text("Cargo.toml").parse().unwrap();
    let binstall = &manifest["package"]["metadata"]["binstall"];
    for target in TARGETS {
        let own = binstall["overrides"].get(target);
        let of = |key: &str| own.and_then(|own| own.get(key)).unwrap_or(&binstall[key]).as_str().unwrap();
        let kind = match of("pkg-fmt") {
            "tgz" => "tar.gz",
            "zip" => "zip",
            other => panic!("{other}"),
        };
        let filled = |text: &str| text.replace("{ version }", VERSION).replace("{ target }", target);
        let url = filled(of("pkg-url"));
        assert_eq!(url, format!("{{ repo }}/releases/download/v{VERSION}/{}", archive_name(VERSION, target)));
        assert!(url.ends_with(kind), "{url}");
        assert_eq!(filled(of("bin-dir")), format!("bugfender-hooks-{VERSION}-{target}/{{ bin }}{{ binary-ext }}"));
    }
}

/// Every target is built, by actions that nobody can change, and with scripts that are tested here.
#[test]
fn the_workflow_builds_every_target() {
    let workflow = text(".github/workflows/release.yml");
    for target in TARGETS {
        assert_eq!(workflow.matches(&format!("target: {target}")).count(), 1, "{target}");
    }
    for line in workflow.lines().filter(|line| line.contains("uses: ")) {
        let (_, pinned) = line.split_once('@').unwrap();
        let (hash, version) = pinned.split_once(" # v").unwrap_or_else(|| panic!("{line}"));
        assert!(hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && !version.is_empty(), "{line}");
    }
    for name in ["check-tag", "glibc-floor", "archive", "finish"] {
        assert!(workflow.contains(&format!("contrib/release/{name} ")), "{name}");
    }
}

#[test]
fn workflows_are_clean() {
    let lint = repository().join("tests/lint");
    if !have("node") || !is_there(lint.join("node_modules/.package-lock.json").exists(), "tests/lint/node_modules") {
        return;
    }
    let check = |files: &[PathBuf]| {
        let output = Command::new("node").arg(lint.join("workflows.js")).args(files).output().unwrap();
        Run::of(output)
    };
    let workflows = fs::read_dir(repository().join(".github/workflows")).unwrap().map(|entry| entry.unwrap().path());
    let all: Vec<PathBuf> = workflows.chain([repository().join("contrib/ci/github-workflow.yml")]).collect();
    assert!(all.len() > 2);
    let run = check(&all);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{run}");
    let home = Home::new();
    let wrong = home.path().join("wrong.yml");
    fs::write(&wrong, text(".github/workflows/release.yml").replace("needs: [linux, ", "needs: [linx, ")).unwrap();
    assert_eq!(check(&[wrong]).code, 1);
}
