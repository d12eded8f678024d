//! Passwords: every way to give one, and nothing that shows it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{trouble, version};
use crate::support::Home;
use crate::support::postgres::{Server, ServerSettings};

#[test]
fn a_password_is_found_wherever_it_may_be() {
    for method in ["scram-sha-256", "md5", "password"] {
        let rules = [&*format!("host all all 127.0.0.1/32 {method}")];
        let encryption = if method == "md5" { "password_encryption = md5" } else { "" };
        let settings = ServerSettings { rules: &rules, lines: &[encryption], ..ServerSettings::default() };
        let Some(server) = Server::start(settings) else { return };
        server.psql("postgres", "CREATE ROLE ci LOGIN PASSWORD 'hunter2 é:/@'");
        let url = server.url_of("ci", "postgres");
        let password = ("PGPASSWORD", "hunter2 é:/@");
        assert!(version(&url, &[password]).is_ok());
        assert!(version(&url.replace("ci@", "ci:hunter2%20%C3%A9%3A%2F%40@"), &[]).is_ok());
        let file = tempfile::NamedTempFile::new().unwrap();
        let port = server.port();
        fs::write(file.path(), format!("# mine\n127.0.0.1:{port}:*:ci:hunter2 é\\:/@\n")).unwrap();
        let path = file.path().to_str().unwrap();
        assert!(version(&url, &[("PGPASSFILE", path)]).is_ok());
        assert!(version(&format!("{url}?passfile={path}"), &[]).is_ok());

        let (message, advice, may_pass) = trouble(&url, &[("PGPASSWORD", "hunter2")]);
        assert!(message.contains("SQLSTATE 28P01") && advice.contains(".pgpass") && !may_pass, "{message}");
        let (message, advice, _) = trouble(&url, &[]);
        assert!(message.contains("password missing") && advice.contains("PGPASSWORD"), "{message}");
        // Others can read it.
        fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
        let (message, ..) = trouble(&url, &[("PGPASSFILE", path)]);
        assert!(message.contains("password missing"), "{message}");
    }
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    let home = Home::new();
    let url = "postgres://ci:hunter2@127.0.0.1:1/hooks";
    for args in [&["list", "--store", url][..], &["config", "set", "store", url]] {
        let run = home.run(args);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("holds a password") && run.stderr.contains("@FILE"), "{run}");
        assert!(!run.to_string().contains("hunter2"), "{run}");
    }
}

#[test]
fn no_output_shows_the_password_of_a_file_or_a_variable() {
    let home = Home::new();
    let url = "postgres://ci:hunter2@127.0.0.1:1/hooks";
    fs::write(home.path().join("url"), format!("{url}\n")).unwrap();
    let by_variable = Home::new().set("BUGFENDER_HOOKS_STORE", url);
    let by_profile = Home::new();
    fs::write(by_profile.path().join("url"), url).unwrap();
    let run = by_profile.run(["config", "set", "store", "@url"]);
    assert_eq!(run.code, 0, "{run}");
    assert!(fs::read_to_string(by_profile.config()).unwrap().contains("hunter2"));
    fs::set_permissions(by_profile.config(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(by_profile.run(["config", "show"]).stderr.contains("contains a password"));
    assert_eq!(fs::metadata(by_profile.config()).unwrap().permissions().mode() & 0o777, 0o600);

    let file = ["--store", "@url"];
    for (home, flags) in [(&home, &file[..]), (&by_variable, &[]), (&by_profile, &[])] {
        for command in [&["doctor"][..], &["doctor", "-o", "json"], &["list", "-vvv"], &["config", "show"]] {
            let run = home.run(command.iter().chain(flags));
            assert!(!run.to_string().contains("hunter2"), "{run}");
        }
        let run = home.run(["doctor"].iter().chain(flags));
        assert!(run.stdout.contains("postgres://ci@127.0.0.1:1/hooks"), "{run}");
    }
    let run = by_profile.run(["config", "get", "store"]);
    assert!(run.stdout.contains("postgres://ci@127.0.0.1:1/hooks") && !run.to_string().contains("hunter2"), "{run}");
}
