//! `contrib/install/install.sh`, against a server of releases on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{program, script, sum, text};
use crate::support::{Exchange, Home, Run, Scripted, answer, have};

/// A server of a release 9.8.7, whose program says so, and what was asked of it.
fn releases(home: &Home, lines: &str, sums: impl Fn(&str, &str) -> String) -> Scripted {
    let name = "bugfender-hooks-9.8.7-x86_64-unknown-linux";
    program(&home.path().join(name), "bugfender-hooks", lines);
    let pack = Command::new("tar").args(["-czf", "release.tar.gz", name]).current_dir(home.path()).status();
    assert!(pack.unwrap().success());
    let archive = fs::read(home.path().join("release.tar.gz")).unwrap();
    let sum = sum(&home.path().join("release.tar.gz"));
    let list = ["gnu", "musl"].map(|libc| sums(&sum, &format!("{name}-{libc}.tar.gz"))).concat();
    Scripted::start(move |_, exchange: &mut Exchange| {
        let path = exchange.line.split(' ').nth(1).unwrap().to_owned();
        let body = match path.as_str() {
            "/latest" => {
                let found = "HTTP/1.1 302 Found\r\nlocation: /tag/v9.8.7\r\nconnection: close\r\n";
                return exchange.send(format!("{found}content-length: 0\r\n\r\n"));
            }
            "/tag/v9.8.7" => Vec::new(),
            "/download/v9.8.7/SHA256SUMS" => list.clone().into_bytes(),
            _ if path.ends_with(".tar.gz") => archive.clone(),
            _ => return exchange.send(answer("404 Not Found", &[], "")),
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
        exchange.send(body);
    })
}

const WORKS: &str = "echo bugfender-hooks 9.8.7";

fn right(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
}

/// Runs the installer into `bin`, with these programs first on the path.
fn install(home: &Home, server: &Scripted, arguments: &[&str], programs: &[&Path]) -> Run {
    let fixed = ["--repository", "acme/tool", "--from", &server.url, "--to", "bin"];
    script(home, "contrib/install/install.sh", &[&fixed, arguments].concat(), programs)
}

fn can_install() -> bool {
    have("curl") && cfg!(target_arch = "x86_64")
}

#[test]
fn a_release_is_installed() {
    if !can_install() {
        return;
    }
    let home = Home::new();
    let server = releases(&home, WORKS, right);
    let installed = home.path().join("bin/bugfender-hooks");
    for version in [&[][..], &["--version", "9.8.7"], &["--version", "v9.8.7"]] {
        let run = install(&home, &server, version, &[]);
        assert_eq!((run.code, run.stdout.as_str()), (0, "bugfender-hooks 9.8.7\n"), "{run}");
        assert!(run.stderr.contains("the build provenance was not verified"), "{run}");
        assert!(run.stderr.contains("bin is not on your PATH"), "{run}");
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_file(&installed).unwrap();
    }
    assert!(server.seen().contains(&"HEAD /latest".to_owned()), "{:?}", server.seen());
    // An older system gets the program that needs no library.
    let old = home.path().join("old");
    program(&old, "getconf", "echo glibc 2.17");
    assert_eq!(install(&home, &server, &[], &[&old]).code, 0);
    let last = server.seen().into_iter().rfind(|line| line.contains(".tar.gz")).unwrap();
    assert_eq!(last, "GET /download/v9.8.7/bugfender-hooks-9.8.7-x86_64-unknown-linux-musl.tar.gz");
}

/// What a release's list of checksums says of an archive: its checksum, its name.
type Sums = fn(&str, &str) -> String;

#[test]
fn what_was_not_released_is_not_installed() {
    if !can_install() {
        return;
    }
    let wrong = |_: &str, name: &str| format!("{:064}  {name}\n", 0);
    let other = |sum: &str, _: &str| format!("{sum}  other.tar.gz\n");
    for (sums, lines, arguments, says) in [
        (
            wrong as Sums,
            WORKS,
            &[][..],
            "the checksum of bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz is wrong",
        ),
        (other, WORKS, &[], "SHA256SUMS does not name"),
        (right, "exit 1", &[], "the program does not run on this system"),
        (right, WORKS, &["--version", "1.2.3"], "SHA256SUMS could not be downloaded"),
        (right, WORKS, &["--version", "9.8.7/../../evil"], "there is no version"),
        (right, WORKS, &["--version", "$(touch evil)"], "there is no version"),
        (right, WORKS, &["--repository", "acme"], "give the repository"),
        (right, WORKS, &["--attestation", "always"], "the GitHub CLI is missing"),
        (right, WORKS, &["--from", "http://example.com/releases"], "has no release"),
        (right, WORKS, &["--sudo", "yes"], "there is no option --sudo"),
        (right, WORKS, &["--to"], "--to needs a value"),
    ] {
        let home = Home::new();
        let server = releases(&home, lines, sums);
        // What was there before stays as it was.
        program(&home.path().join("bin"), "bugfender-hooks", "echo before");
        let run = install(&home, &server, arguments, &[]);
        assert_eq!(run.code, 1, "{says}: {run}");
        assert!(
            run.stderr.lines().last().unwrap().starts_with("error: ") && run.stderr.contains(says),
            "{says}: {run}"
        );
        let before = fs::read_to_string(home.path().join("bin/bugfender-hooks")).unwrap();
        assert!(before.ends_with("echo before\n"), "{says}");
        assert_eq!(fs::read_dir(home.path().join("bin")).unwrap().count(), 1, "{says}");
        assert!(!home.path().join("evil").exists(), "{says}");
    }
}

#[test]
fn the_build_provenance_is_verified_where_it_can_be() {
    if !can_install() {
        return;
    }
    for (signed_in, valid, arguments, code, asked) in [
        (true, true, &[][..], 0, true),
        (true, false, &[], 1, true),
        (false, false, &[], 0, false),
        (false, false, &["--attestation", "always"], 1, true),
        (true, false, &["--attestation", "never"], 0, false),
    ] {
        let home = Home::new();
        let server = releases(&home, WORKS, right);
        let programs = home.path().join("programs");
        let log = home.path().join("gh.log");
        let lines = format!(
            "[ \"$1\" != auth ] || exit {}\necho \"$*\" >>'{}'\nexit {}",
            u8::from(!signed_in),
            log.display(),
            u8::from(!valid)
        );
        program(&programs, "gh", &lines);
        let run = install(&home, &server, arguments, &[&programs]);
        assert_eq!(run.code, code, "{signed_in} {valid} {arguments:?}: {run}");
        assert_eq!(home.path().join("bin/bugfender-hooks").exists(), code == 0);
        let archive = "bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz";
        let expected = if asked { format!("attestation verify {archive} --repo acme/tool\n") } else { String::new() };
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), expected);
    }
}

/// Piped into a shell, as people do: the whole of it installs, and a part of it does nothing.
#[test]
fn half_an_installer_does_nothing() {
    if !can_install() {
        return;
    }
    let home = Home::new();
    let server = releases(&home, WORKS, right);
    let whole = text("contrib/install/install.sh").replace("@REPOSITORY@", "acme/tool");
    let pipe = |part: &str| {
        fs::write(home.path().join("part"), part).unwrap();
        let mut command = Command::new("sh");
        command.args(["-s", "--", "--from", &server.url]).env_clear().current_dir(home.path());
        command.env("HOME", home.path()).env("PATH", "/usr/bin:/bin").env("TMPDIR", home.path());
        // Root's programs go elsewhere.
        command.args(["--to", "piped"]).stdin(fs::File::open(home.path().join("part")).unwrap());
        Run::of(command.output().unwrap())
    };
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for length in (1..lines.len() - 1).step_by(7) {
        pipe(&lines[..length].concat());
        assert!(server.seen().is_empty() && !home.path().join("piped").exists(), "{length}");
    }
    let run = pipe(&whole);
    assert_eq!((run.code, run.stdout.as_str()), (0, "bugfender-hooks 9.8.7\n"), "{run}");
    assert!(home.path().join("piped/bugfender-hooks").exists());
    let unstamped = pipe(&text("contrib/install/install.sh"));
    assert!(unstamped.code == 1 && unstamped.stderr.contains("--repository OWNER/NAME"), "{unstamped}");
}
