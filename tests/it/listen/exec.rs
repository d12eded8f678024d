//! Handing on to commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Receiver, events};
use crate::support::{Home, wait_until};

/// A home whose runs find the usual programs.
fn home() -> Home {
    Home::new().set("PATH", "/usr/bin:/bin")
}

/// A script in the home that the command is.
fn script(home: &Home, text: &str) -> String {
    let path = home.path().join("hook script.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    format!("'{}'", path.display())
}

fn wait_for_file(path: &Path) -> String {
    let mut text = String::new();
    wait_until(&format!("{} is there", path.display()), || {
        text = fs::read_to_string(path).unwrap_or_default();
        !text.is_empty()
    });
    text
}

fn wait_for_all(home: &Home) {
    wait_until("everything is handed on", || super::pending(home) == 0);
}

#[test]
fn commands_are_started_in_the_order_of_arrival() {
    let home = home();
    // Process ids are given in order, until they begin anew.
    let command = script(&home, "echo $$ $BUGFENDER_EVENT_ID >> started");
    let receiver = Receiver::start(&home, &["--exec", &command]);
    let ids: Vec<String> = (10..34).map(|id| id.to_string()).collect();
    for some in ids.chunks(8) {
        let events: Vec<String> = some.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        assert_eq!(receiver.post(format!("[{}]", events.join(","))).status, 200);
    }
    wait_for_all(&home);
    let started = fs::read_to_string(home.path().join("started")).unwrap();
    let mut started: Vec<(u32, &str)> =
        started.lines().map(|line| line.split_once(' ').unwrap()).map(|(pid, id)| (pid.parse().unwrap(), id)).collect();
    let newest = started.iter().map(|(pid, _)| *pid).max().unwrap();
    started.sort_unstable_by_key(|(pid, _)| (newest - pid > 10_000, *pid));
    assert_eq!(started.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids);
}

#[test]
fn a_command_has_ended_when_it_has_though_its_input_is_open() {
    let home = home();
    let command = script(&home, "sleep 20 <&0 >/dev/null 2>&1 &");
    let receiver = Receiver::start(&home, &["--exec", &command, "--exec-timeout", "10"]);
    assert_eq!(receiver.post(format!(r#"[{{"id":"1","text":"{}"}}]"#, "x".repeat(500_000))).status, 200);
    wait_for_all(&home);
    assert_eq!(events(&home)[0].attempts, 1);
}

#[test]
fn a_command_gets_the_event_and_the_facts() {
    let home = home().set("BUGFENDER_HOOKS_INSTABUG_SECRET", "secretOfInstabug1").set("PGPASSWORD", "hunter2");
    let command = script(
        &home,
        "cat > in.$BUGFENDER_EVENT_ID; env > env.$BUGFENDER_EVENT_ID; printf %s \"$*\" > args; echo printed",
    );
    let exec = format!("{command} 'two words' $HOME *");
    let receiver = Receiver::start(&home, &["--exec", &exec, "--max-in-flight", "1"]);
    let event =
        "{\"id\":\"a1\", \"type\":\"crash\",\"title\":\"b\\u0000\\u00fc\\n=x\",\"app\":{\"id\":7},\"n\":1.0e400}";
    assert_eq!(receiver.post(format!("[ {event} ,{{\"id\":\"a2\"}}]")).status, 200);
    wait_for_all(&home);
    assert_eq!(fs::read_to_string(home.path().join("in.a1")).unwrap(), event);
    assert_eq!(fs::read_to_string(home.path().join("in.a2")).unwrap(), "{\"id\":\"a2\"}");
    // Words are split, and that is all.
    assert_eq!(fs::read_to_string(home.path().join("args")).unwrap(), "two words $HOME *");
    let facts = fs::read_to_string(home.path().join("env.a1")).unwrap();
    for fact in ["ID=a1", "SOURCE=bugfender", "TYPE=crash", "APP_ID=7", "ATTEMPT=1", "TITLE=b\u{fffd}ü =x"] {
        assert!(facts.lines().any(|line| line == format!("BUGFENDER_EVENT_{fact}")), "{fact}: {facts}");
    }
    assert!(facts.contains("BUGFENDER_EVENT_RECEIVED_AT=20"), "{facts}");
    assert!(!facts.contains("secretOfInstabug1") && !facts.contains("hunter2"), "{facts}");
    let others = fs::read_to_string(home.path().join("env.a2")).unwrap();
    assert!(!others.contains("EVENT_TYPE") && !others.contains("EVENT_TITLE"), "{others}");
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("printed"), "{log}");
    assert_eq!(fs::read_to_string(home.path().join("listen.out")).unwrap(), "");
}

#[test]
fn a_command_that_fails_is_run_again() {
    let home = home();
    let command = script(&home, "echo x >> tries; test \"$BUGFENDER_EVENT_ATTEMPT\" -ge 3");
    let receiver = Receiver::start(&home, &["--exec", &command, "--retry-wait", "0.02"]);
    receiver.event("1");
    wait_for_all(&home);
    assert_eq!(fs::read_to_string(home.path().join("tries")).unwrap().lines().count(), 3);
    assert_eq!(receiver.end().0, 0);
    assert_eq!((events(&home)[0].attempts, events(&home)[0].state.as_str()), (3, "forwarded"));
}

#[test]
fn a_command_that_cannot_be_run() {
    let home = home();
    for program in ["no-such-program --x", "./nowhere", "/etc/passwd", "''"] {
        let run = home.run(["listen", "--listen", "127.0.0.1:0", "--exec", program]);
        assert!(run.code == 2 && run.stderr.contains("can't be run"), "{program}: {run}");
    }
    // One that goes later is tried again, and the log has the reason.
    let program = home.path().join("there");
    fs::copy("/bin/true", &program).unwrap();
    let receiver = Receiver::start(&home, &["--exec", "./there", "--retry-wait", "0.02"]);
    fs::remove_file(program).unwrap();
    receiver.event("2");
    wait_until("it was tried", || events(&home)[0].attempts > 0);
    let error = events(&home)[0].error.clone().unwrap();
    assert!(error.contains("./there can't be run"), "{error}");
    wait_until("it is paused", || receiver.log().contains("paused for"));
    assert!(receiver.log().contains("./there can't be run: No such file"), "{}", receiver.log());
    assert_eq!(receiver.end().0, 0);
}

fn is_alive(pid: &str) -> bool {
    // A zombie that nobody has buried yet is dead.
    let status = fs::read_to_string(PathBuf::from("/proc").join(pid.trim()).join("status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_it_started() {
    let home = home();
    let command = script(&home, "sleep 300 & echo $! > child; echo $$ > self; wait");
    let args = ["--exec", &command, "--exec-timeout", "0.5", "--retry-wait", "3600"];
    let receiver = Receiver::start(&home, &args);
    receiver.event("1");
    let (child, own) = (wait_for_file(&home.path().join("child")), wait_for_file(&home.path().join("self")));
    wait_until("the command and its child are killed", || !is_alive(&child) && !is_alive(&own));
    wait_until("it is noted", || events(&home)[0].attempts == 1);
    let error = events(&home)[0].error.clone().unwrap();
    assert!(error.contains("longer than 0.5 s"), "{error}");
    assert_eq!(receiver.end().0, 0);
}

/// What is cut off at the end leaves nothing behind either.
#[test]
fn a_command_that_outlasts_the_end_is_killed_with_all_it_started() {
    let home = home();
    let command = script(&home, "sleep 300 & echo $! > child; echo $$ > self; wait");
    let receiver = Receiver::start(&home, &["--exec", &command, "--drain-timeout", "0.2"]);
    receiver.event("1");
    let (child, own) = (wait_for_file(&home.path().join("child")), wait_for_file(&home.path().join("self")));
    let (code, log) = receiver.end();
    assert!(code == 1 && log.contains("1 forwards"), "{log}");
    wait_until("the command is killed", || !is_alive(&own));
    wait_until("its child is killed", || !is_alive(&child));
}

#[test]
fn a_shell_runs_only_when_asked_for() {
    let home = home();
    let line = "cat >/dev/null; echo \"$BUGFENDER_EVENT_ID\" | tr a-z A-Z > out; exit 0";
    let receiver = Receiver::start(&home, &["--exec", line, "--shell", "--retry-wait", "0.05"]);
    receiver.event("abc");
    wait_for_all(&home);
    assert_eq!(fs::read_to_string(home.path().join("out")).unwrap(), "ABC\n");
    // What is in an event is never part of a command.
    receiver.event("$(touch hacked)");
    wait_for_all(&home);
    assert!(!home.path().join("hacked").exists());
    assert_eq!(receiver.end().0, 0);
    assert_eq!(super::refused(&home, &["--exec", "echo 'open"]).code, 2);
    assert_eq!(super::refused(&home, &["--shell"]).code, 2);
}

#[test]
fn a_command_need_not_read_and_may_print_much() {
    let home = home();
    let receiver = Receiver::start(&home, &["--exec", "true", "--exec", "seq 1 50000", "--retry-wait", "0.05"]);
    let large = format!(r#"[{{"id":"1","text":"{}"}}]"#, "x".repeat(1_000_000));
    assert_eq!(receiver.post(large).status, 200);
    wait_for_all(&home);
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("\n50000\n"), "{code}");
    assert_eq!(events(&home)[0].state.as_str(), "forwarded");
}

/// What holds the secrets is closed to the commands, which are ordinary processes themselves.
#[cfg(target_os = "linux")]
#[test]
fn a_command_cannot_look_into_the_receiver() {
    use std::os::unix::fs::{MetadataExt, chown};
    use std::os::unix::process::CommandExt;
    let home = home().set("BUGFENDER_HOOKS_LUCIQ_SECRET", "secretOfLuciq12345");
    let command = script(
        &home,
        "cat > in; stat -c %u /proc/$PPID/environ > owner; stat -c %u /proc/$$/environ > own; \
         cat /proc/$PPID/environ > seen 2>/dev/null; echo > done",
    );
    let mut receiver = Receiver::command(&home, &["--exec", &command]);
    // Root may look everywhere, so that it is another user who receives.
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        for path in std::iter::once(home.path().to_owned()).chain(super::files(home.path())) {
            chown(path, Some(12_345), Some(12_345)).unwrap();
        }
        receiver.uid(12_345).gid(12_345);
    }
    let receiver = Receiver::of(&home, receiver);
    receiver.event("1");
    wait_for_all(&home);
    let read = |name: &str| fs::read_to_string(home.path().join(name)).unwrap().trim().to_owned();
    // Root's is what needs more rights than a user has.
    assert_eq!((read("owner").as_str(), read("seen").as_str()), ("0", ""));
    assert_ne!(read("own"), "0");
    assert_eq!(receiver.end().0, 0);
}
