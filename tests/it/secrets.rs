//! No secret in any output, log, process list or file that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Home, OauthServer, SandboxServer, Scripted, answer, wait_until};

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
    let options = bugfender_hooks::sandbox::SandboxOptions {
        token: Some(TOKEN.to_owned()),
        faults: ["subscribe=500x1", "subscribe=403x1", "unsubscribe=dropx1", "me=429x1"]
            .map(|fault| fault.parse().unwrap())
            .into(),
        ..bugfender_hooks::sandbox::SandboxOptions::default()
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
    assert!(shown.contains("hooks.example.com") && shown.contains("DEBUG"), "{shown}");
}

/// Signs in every way there is, uses it, and looks everywhere for what must not be there.
#[test]
fn sign_ins_leave_their_secrets_nowhere() {
    let Some(server) = OauthServer::start() else { return };
    let home = Home::new().set("BUGFENDER_API_URL", &server.url);
    let mut shown = String::new();
    let mut secrets = vec!["service-secret".to_owned(), "wrong-s3cret".to_owned()];
    let look = ["whoami", "apps", "doctor", "auth status", "auth list", "auth logout --dry-run", "config show"];
    let mut look_around = |home: &Home, shown: &mut String| {
        for command in look {
            server.revoke_access();
            shown.push_str(&home.run(command.split(' ').chain(["-vvv", "--output", "json"])).to_string());
        }
        for token in files(&home.data()) {
            secrets.extend(tokens_in(&token));
        }
    };
    let service = ["auth", "login", "--client-id", "service", "--client-secret-file", "-", "-vvv"];
    shown.push_str(&home.run_with_input(&service, "wrong-s3cret").to_string());
    shown.push_str(&home.run_with_input(&service, "service-secret").to_string());
    look_around(&home, &mut shown);
    let in_ci = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "service");
    let in_ci = in_ci.set("BUGFENDER_CLIENT_SECRET", "service-secret");
    look_around(&in_ci, &mut shown);
    let in_browser = Home::new().set("BUGFENDER_API_URL", &server.url);
    shown.push_str(&crate::web::sign_in(&in_browser).to_string());
    look_around(&in_browser, &mut shown);
    assert!(secrets.len() > 6, "{}", secrets.len());
    assert!(shown.contains("DEBUG") && shown.contains("requesting a token"), "{shown}");
    for secret in &secrets {
        assert!(!shown.contains(secret.as_str()), "{secret} is in:\n{shown}");
        for home in [&home, &in_ci, &in_browser] {
            check_files(home.path(), secret);
        }
    }
}

/// The files of a directory and those below it.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
        }
    }
    found
}

/// The values of everything that is called a token or secret.
fn tokens_in(text: &str) -> Vec<String> {
    let secret = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let is_secret = ["\"access_token\"", "\"refresh_token\"", "\"client_secret\""].contains(&name);
        is_secret.then(|| value.trim_matches([',', '"']).to_owned())
    };
    text.lines().filter_map(secret).collect()
}

#[test]
fn the_process_list_shows_no_secret() {
    let options = bugfender_hooks::sandbox::SandboxOptions {
        token: Some(TOKEN.to_owned()),
        faults: vec!["subscribe=hang".parse().unwrap()],
        ..bugfender_hooks::sandbox::SandboxOptions::default()
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

#[test]
fn the_process_list_shows_no_secret_of_a_sign_in() {
    let Some(server) = OauthServer::start() else { return };
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "service");
    let home = home.set("BUGFENDER_CLIENT_SECRET", "service-secret");
    server.fault("hang");
    let mut child = home.spawn(&["auth", "login"]);
    wait_until("the request is there", || server.grants("client_credentials").len() == 1);
    let line = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("login") && !line.contains("service-secret"), "{line}");
}

#[test]
fn a_token_endpoint_that_repeats_the_request_does_not_get_secrets_shown() {
    let server = Scripted::start(|before, exchange| {
        let kind = ["content-type: application/json"];
        let body = exchange.body.replace('"', "'");
        let error = format!(r#"{{"error":"invalid_request","error_description":"you said {body}"}}"#);
        let status = if before % 2 == 0 { "400 Bad Request" } else { "500 Oops" };
        exchange.send(answer(status, &kind, &error));
    });
    let home = Home::new().set("BUGFENDER_API_URL", &server.url).set("BUGFENDER_CLIENT_ID", "service");
    let home = home.set("BUGFENDER_CLIENT_SECRET", "s3cret+with/signs");
    for _ in 0..2 {
        let run = home.run(["whoami", "-vvv"]);
        assert!(run.stderr.contains("you said"), "{run}");
        assert!(!run.stderr.contains("s3cret"), "{run}");
    }
}

#[test]
fn a_server_that_repeats_the_request_does_not_get_secrets_shown() {
    let server = Scripted::start(|_, exchange| {
        let said = format!("{} with {}", exchange.body.replace('"', "'"), exchange.header("authorization").unwrap());
        exchange.send(answer("500 Oops", &["content-type: text/plain"], &said));
    });
    let home = Home::at(&server.url, TOKEN);
    let url = format!("https://user:{PASSWORD}@hooks.example.com/bf");
    let args = ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "-", "--output", "json"];
    let run = home.run_with_input(&args, &url);
    assert!(run.stderr.contains("'target_url':'****'") && run.stderr.contains("Bearer ****"), "{run}");
    for shown in [run.to_string(), home.run(["doctor", "-vvv"]).to_string()] {
        assert!(!shown.contains(PASSWORD) && !shown.contains(TOKEN), "{shown}");
    }
}

#[test]
fn usage_errors_do_not_repeat_secrets() {
    let home = Home::new();
    let url = format!("https://user:{PASSWORD}@hooks.example.com/bf");
    for args in [
        &["auth", "login", "--with-token", TOKEN][..],
        &["auth", "login", &format!("--with-token={TOKEN}")],
        &["subscribe", &url],
        &["subscribe", "--app-id", &url],
        &["list", &format!("--label={url}"), "--nope"],
    ] {
        let run = home.run(args);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("error:"), "{run}");
        assert!(!run.stderr.contains(PASSWORD) && !run.stderr.contains(TOKEN), "{run}");
    }
}

#[test]
fn the_sandbox_logs_no_password() {
    if !crate::support::have("curl") {
        return;
    }
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let program = env!("CARGO_BIN_EXE_bugfender-hooks");
    let script = format!(
        "printf 'http://ci:{PASSWORD}@127.0.0.1:9/x' > url
         {program} subscribe --app-id 1001 --event new_crash --target-url @url
         curl -s -d '{{}}' $BUGFENDER_API_URL/sandbox/emit; curl -s $BUGFENDER_API_URL/sandbox/requests",
    );
    let run = home.run(["-vvv", "sandbox", "run", "--", "sh", "-c", &script]);
    assert!(run.stdout.contains("deliveries") && run.stderr.contains("DEBUG"), "{run}");
    assert!(!run.to_string().contains(PASSWORD), "{run}");
}
