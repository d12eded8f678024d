//! The installation of a release, and the whole action after it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::action::Action;
use super::{run, runner, step};
use crate::support::{Exchange, Home, SandboxServer, Scripted, have};

/// A server of releases, with this archive and this list of checksums.
fn releases(archive: Vec<u8>, sums: impl Fn(&str) -> String + Send + 'static) -> Scripted {
    Scripted::start(move |_, exchange: &mut Exchange| {
        let path = exchange.line.split(' ').nth(1).unwrap().to_owned();
        let name = path.rsplit('/').next().unwrap();
        let body = match name {
            "latest" => {
                let found = "HTTP/1.1 302 Found\r\nlocation: /acme/tool/releases/tag/v9.8.7\r\nconnection: close\r\n";
                return exchange.send(format!("{found}content-length: 0\r\n\r\n"));
            }
            "v9.8.7" => Vec::new(),
            "SHA256SUMS" => sums("bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz").into_bytes(),
            _ => archive.clone(),
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
        exchange.send(body);
    })
}

/// An archive of a release, and its checksum.
fn archive(home: &Home) -> (Vec<u8>, String) {
    let program = home.path().join("bugfender-hooks");
    fs::write(&program, "#!/bin/sh\necho bugfender-hooks 9.8.7\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pack = "tar -czf release.tar.gz bugfender-hooks && sha256sum release.tar.gz && rm bugfender-hooks";
    let output = Command::new("sh").args(["-c", pack]).current_dir(home.path()).output().unwrap();
    let sum = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
    (fs::read(home.path().join("release.tar.gz")).unwrap(), sum)
}

/// A GitHub CLI that verifies so.
pub fn with_gh(home: &Home, says: &str) -> PathBuf {
    let programs = home.path().join("programs");
    fs::create_dir_all(&programs).unwrap();
    let log = home.path().join("gh.log").display().to_string();
    fs::write(programs.join("gh"), format!("#!/bin/sh\necho \"$*\" >> '{log}'\n{says}\n")).unwrap();
    fs::set_permissions(programs.join("gh"), fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

#[test]
fn a_release_is_installed_if_it_is_what_was_built() {
    if !have("curl") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let sandbox = SandboxServer::start();
    let installing = |sums: &dyn Fn(&str, &str) -> String, gh: &str, version: &str| {
        let home = runner(&sandbox, "sqlite:registry.db");
        let (archive, sum) = archive(&home);
        let list = sums(&sum, "bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz");
        let server = releases(archive, move |_| list.clone());
        let home = home.set("GITHUB_SERVER_URL", &server.url).set("BFH_REPOSITORY", "acme/tool");
        let home = home.set("BFH_VERSION", version);
        let programs = with_gh(&home, gh);
        let run = run(&home, &step("install.sh"), &programs);
        let path = fs::read_to_string(home.path().join("path")).unwrap();
        (home, run, path)
    };
    let right = |sum: &str, name: &str| format!("{:064}  other.tar.gz\n{sum}  {name}\n", 0);
    for version in ["latest", "v9.8.7", "9.8.7"] {
        let (home, run, path) = installing(&right, "exit 0", version);
        assert_eq!((run.code, run.stdout.as_str()), (0, "bugfender-hooks 9.8.7\n"), "{run}");
        assert!(Path::new(path.trim()).join("bugfender-hooks").is_file(), "{path}");
        let asked = fs::read_to_string(home.path().join("gh.log")).unwrap();
        let archive = "bugfender-hooks-9.8.7-x86_64-unknown-linux-gnu.tar.gz";
        assert_eq!(asked, format!("attestation verify {archive} --repo acme/tool\n"));
    }
    for (wrong, says) in [
        (installing(&|_, name| format!("{:064}  {name}\n", 0), "exit 0", "latest"), "the checksum of"),
        (installing(&|sum, _| format!("{sum}  other.tar.gz\n"), "exit 0", "latest"), "SHA256SUMS does not name"),
        (installing(&right, "exit 1", "latest"), "the build provenance of"),
        (installing(&right, "exit 0", "9.8.7/../../evil"), "there is no version"),
        (installing(&right, "exit 0", "$(touch evil)"), "there is no version"),
    ] {
        let (_home, run, path) = wrong;
        assert!(run.code == 1 && run.stderr.contains(says), "{says}: {run}");
        assert_eq!(path, "", "{says}");
    }
}

/// What is wrong with the inputs is one annotation, whatever they say.
#[test]
fn wrong_inputs_are_one_annotation() {
    let sandbox = SandboxServer::start();
    for (name, value, says) in [
        ("BFH_COMMAND", "x\r::error::a%\nb", "the command is plan, apply or none, not x%0D::error::a%25%0Ab"),
        ("BFH_REPOSITORY", "", "the repository with the releases is unknown: set the input 'repository' to OWNER/NAME"),
    ] {
        let home = runner(&sandbox, "sqlite:registry.db").set(name, value);
        let run = run(&home, &step("install.sh"), home.path());
        assert_eq!((run.code, run.stderr), (1, format!("::error title=bugfender-hooks::{says}\n")));
    }
}

/// A release of this version, of the program that was built.
fn release(home: &Home) -> Scripted {
    let pack = "tar -C \"$1\" -cf - bugfender-hooks | gzip -1 > release.tar.gz && sha256sum release.tar.gz";
    let built = Path::new(env!("CARGO_BIN_EXE_bugfender-hooks")).parent().unwrap();
    let output = Command::new("sh").args(["-c", pack, "sh"]).arg(built).current_dir(home.path()).output().unwrap();
    let sum = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
    let name = format!("bugfender-hooks-{}-x86_64-unknown-linux-gnu.tar.gz", env!("CARGO_PKG_VERSION"));
    releases(fs::read(home.path().join("release.tar.gz")).unwrap(), move |_| format!("{sum}  {name}\n"))
}

#[test]
fn the_action_installs_plans_and_applies() {
    if !have("curl") || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let sandbox = SandboxServer::start();
    // What the runs share: the registry, and the release.
    let shared = Home::new();
    let server = release(&shared);
    let store = format!("sqlite:{}", shared.path().join("registry.db").display());
    let act = |inputs: &[(&str, &str)], store: &str, gh: &str| {
        let home = runner(&sandbox, store).set("GITHUB_SERVER_URL", &server.url);
        let programs = with_gh(&home, gh);
        let path = format!("{}:/usr/bin:/bin", programs.display());
        let (run, outputs) = Action::new(inputs, &path).run(&home);
        (home, run, outputs)
    };
    let (home, run, outputs) = act(&[], &store, "exit 0");
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(outputs["changes"], "true", "{outputs:?}");
    let comment = fs::read_to_string(&outputs["plan"]).unwrap();
    assert!(Path::new(&outputs["plan"]).starts_with(home.path()), "{outputs:?}");
    assert!(comment.ends_with(&format!("\nChecksum: `{}`\n", outputs["checksum"])), "{comment}");
    // That of the source the action is in, whatever is the latest.
    let name = format!("/acme/tool/releases/download/v{}/SHA256SUMS", env!("CARGO_PKG_VERSION"));
    assert!(server.seen().iter().any(|line| line.ends_with(&name)), "{:?}", server.seen());

    let reviewed = format!("--initial\n--checksum\n{}\n\n", outputs["checksum"]);
    let (_home, run, _) = act(&[("command", "apply"), ("args", &reviewed)], &store, "exit 0");
    assert_eq!(run.code, 0, "{run}");
    // The store that is given counts, not the one of the job.
    let (_home, run, outputs) = act(&[("store", &store), ("comment-file", "c.md")], "sqlite:other.db", "exit 0");
    assert_eq!((run.code, outputs["changes"].as_str(), outputs["plan"].as_str()), (0, "false", "c.md"), "{run}");
    let (_home, run, _) = act(&[("command", "none"), ("verify-attestation", "false")], &store, "exit 1");
    assert_eq!(run.code, 0, "{run}");
    for (inputs, gh, says) in [
        (&[("command", "aply")][..], "exit 0", "::error title=bugfender-hooks::the command is plan, apply or none"),
        (&[("command", "apply")][..], "exit 1", "the build provenance of"),
        (&[("manifest", "no.toml")][..], "exit 0", "::error"),
    ] {
        let (home, run, outputs) = act(inputs, &store, gh);
        assert!(run.code != 0 && run.stderr.contains(says), "{inputs:?}: {run}");
        assert_eq!((outputs["plan"].as_str(), outputs["checksum"].as_str()), ("", ""), "{inputs:?}");
        assert_eq!(fs::read_to_string(home.path().join("summary")).unwrap(), "", "{inputs:?}");
    }
    assert_eq!(sandbox.hooks().len(), 2);
}
