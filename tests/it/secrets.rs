//! No secret in any output, log, process list or file that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Home, SandboxServer, wait_until};

const TOKEN: &str = "s3cret-token-0123456789";
const PASSWORD: &str = "s3cret-passw0rd";

/// Everything in a directory that is not for its owner alone, and all file contents that hold `needle`.
fn check_files(dir: &Path, needle: &str) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            check_files(&path, needle);
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(needle) {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
    }
}

#[test]
fn secrets_stay_where_they_belong() {
    let options = bugfender_hooks::sandbox::Options {
        token: Some(TOKEN.to_owned()),
        faults: ["subscribe=500x1", "subscribe=403x1", "unsubscribe=dropx1", "me=429x1"]
            .map(|fault| fault.parse().unwrap())
            .into(),
        ..bugfender_hooks::sandbox::Options::default()
    };
    let sandbox = SandboxServer::with(options);
    let home = Home::new().set("BUGFENDER_API_URL", &sandbox.url);
    let url = format!("https://user:{PASSWORD}@hooks.example.com/bf");
    fs::write(home.path().join("url"), &url).unwrap();
    fs::set_permissions(home.path().join("url"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut shown = home.run_with_input(&["auth", "login", "--with-token", "-vvv"], TOKEN).to_string();
    let subscribe = ["subscribe", "--app-id", "1", "--event", "all", "--target-url", "@url"];
    for format in ["table", "json", "ndjson", "csv"] {
        for args in [
            &subscribe[..],
            &[&subscribe[..], &["--dry-run", "--force"]].concat(),
            &["list", "--all"],
            &["list", "--jq", "tostring"],
            &["import", "1", "--app-id", "1", "--event", "new_crash", "--target-url", "@url"],
            &["doctor"],
            &["auth", "status"],
            &["unsubscribe", "2", "77"],
            &["unsubscribe", "--all", "--yes", "--dry-run"],
            &["forget", "3", "--dry-run"],
        ] {
            let args = if args.contains(&"--jq") { args.to_vec() } else { [args, &["--output", format]].concat() };
            shown.push_str(&home.run(args.iter().chain(&["-vvv"])).to_string());
        }
    }
    for secret in [TOKEN, PASSWORD] {
        assert!(!shown.contains(secret), "{secret} is in:\n{shown}");
        check_files(home.path(), secret);
    }
    assert!(shown.contains("hooks.example.com") && shown.contains("TRACE") || shown.contains("DEBUG"), "{shown}");
}

#[test]
fn the_process_list_shows_no_secret() {
    let options = bugfender_hooks::sandbox::Options {
        token: Some(TOKEN.to_owned()),
        faults: vec!["subscribe=hang".parse().unwrap()],
        ..bugfender_hooks::sandbox::Options::default()
    };
    let sandbox = SandboxServer::with(options);
    let home = Home::of(&sandbox);
    fs::write(home.path().join("url"), format!("https://user:{PASSWORD}@hooks.example.com/bf")).unwrap();
    let mut child = home.spawn(&["subscribe", "--app-id", "1", "--event", "all", "--target-url", "@url"]);
    wait_until("the request is there", || !sandbox.requests("POST").is_empty());
    let line = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("subscribe") && !line.contains(PASSWORD) && !line.contains(TOKEN), "{line}");
}
