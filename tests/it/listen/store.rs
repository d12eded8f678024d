//! A store that is full, locked or gone: never 200, and well again without a restart.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Receiver, Reply, events, have, ids, inbox_file};
use crate::support::inbox::noise;
use crate::support::{Home, wait_until};

/// It was not stored, and the sender is told to come again.
fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

fn event(id: &str, size: usize) -> String {
    format!(r#"[{{"id":"{id}","text":"{}"}}]"#, "x".repeat(size))
}

/// A receiver whose data is on a small disk of its own, and where that is.
pub fn on_a_small_disk(home: &Home, args: &[&str]) -> Option<(Receiver, PathBuf)> {
    if !have("unshare") || !have("mount") {
        return None;
    }
    fs::create_dir_all(home.data()).unwrap();
    let script = "mount -t tmpfs -o size=4m,mode=700 small \"$DATA\" && exec \"$@\"";
    let mut command = Receiver::command_of(&["unshare", "-rm", "sh", "-c", script, "sh"], home, args);
    command.env("DATA", home.data()).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let receiver = Receiver::of(home, command);
    let data = home.data();
    let seen = PathBuf::from(format!("/proc/{}/root", receiver.ready["pid"])).join(data.strip_prefix("/").unwrap());
    Some((receiver, seen))
}

#[test]
fn a_full_disk_is_told_and_survived() {
    let home = Home::new();
    let Some((receiver, disk)) = on_a_small_disk(&home, &["--max-body", "600kB", "--reserve", "0"]) else { return };
    receiver.event("first");
    assert_eq!(receiver.get("/readyz").status, 200);
    let ballast = disk.join("ballast");
    // As much as fits.
    let _ = fs::write(&ballast, vec![0; 8 * 1024 * 1024]);
    let (mut taken, mut refused) = (vec!["first".to_owned()], None);
    for number in 0..100 {
        let id = format!("n{number}");
        let reply = receiver.post(event(&id, 50_000));
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
        taken.push(id);
    }
    assert_unavailable(&refused.unwrap());
    assert_unavailable(&receiver.post(event("large", 500_000)));
    // What cannot be read cannot be kept either, so that it is not refused for good.
    assert_unavailable(&receiver.post(event("broken", 500_000).trim_end_matches(']')));
    assert!(receiver.metric(r#"bugfender_hooks_rejected_calls_total{reason="store"}"#) >= 3);
    wait_until("it is said", || receiver.log().contains("the disk is full"));
    assert_eq!(receiver.log().matches("the disk is full").count(), 1, "{}", receiver.log());
    fs::remove_file(&ballast).unwrap();
    wait_until("it is ready", || receiver.get("/readyz").status == 200);
    assert_eq!(receiver.post(event("large", 500_000)).status, 200);
    taken.push("large".to_owned());
    assert!(receiver.log().contains("can be written again"), "{}", receiver.log());
    // Read it where it is; the disk goes with the process.
    let copy = Home::new();
    fs::create_dir_all(copy.data()).unwrap();
    for name in ["registry.inbox.db", "registry.inbox.db-wal"] {
        fs::copy(disk.join(name), copy.data().join(name)).unwrap();
    }
    let there = ids(&copy);
    assert!(taken.iter().all(|id| there.contains(id)), "{taken:?} {there:?}");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_disk_without_room_for_a_large_event_is_not_ready() {
    let home = Home::new();
    let Some((receiver, disk)) = on_a_small_disk(&home, &["--max-body", "600kB"]) else { return };
    // There is no room for the usual reserve, which is no reason not to start.
    assert!(receiver.log().contains("reserve"), "{}", receiver.log());
    receiver.event("first");
    assert_eq!(receiver.get("/readyz").status, 200);
    let (ballast, free) = (disk.join("ballast"), free_bytes(&disk));
    fs::write(&ballast, vec![0; usize::try_from(free).unwrap() - 400_000]).unwrap();
    wait_until("it is not ready", || receiver.get("/readyz").json()["store_writable"] == false);
    receiver.event("small");
    assert_unavailable(&receiver.get("/readyz"));
    fs::remove_file(&ballast).unwrap();
    wait_until("it is ready", || receiver.get("/readyz").status == 200);
    assert_eq!(receiver.log().matches("nearly full").count(), 1, "{}", receiver.log());
    assert_eq!(receiver.end().0, 0);
}

fn free_bytes(disk: &std::path::Path) -> u64 {
    let said = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(disk).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let (blocks, size) = said.trim().split_once(' ').unwrap();
    blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap()
}

#[test]
fn a_purge_on_a_full_disk_uses_the_reserve() {
    let home = Home::new();
    let args = ["--max-body", "600kB", "--reserve", "1MiB"];
    let Some((receiver, disk)) = on_a_small_disk(&home, &args) else { return };
    if !have("nsenter") {
        return;
    }
    assert_eq!(fs::metadata(disk.join("registry.inbox.db-reserve")).unwrap().len(), 1 << 20);
    for number in 0..40 {
        if receiver.post(event(&format!("n{number}"), 50_000)).status != 200 {
            break;
        }
    }
    let _ = fs::write(disk.join("ballast"), vec![0; 8 * 1024 * 1024]);
    wait_until("it is full", || receiver.post(event(&noise(20), 200_000)).status == 503);
    let pid = receiver.ready["pid"].to_string();
    let mut purge = Command::new("nsenter");
    purge.args(["-t", &pid, "-U", "-m", "--preserve-credentials"]).arg(env!("CARGO_BIN_EXE_bugfender-hooks"));
    let registry = home.data().join("registry.db");
    purge.arg("--store").arg(format!("sqlite:{}", registry.display()));
    purge.args(["events", "purge", "--max-size", "0", "--yes"]);
    let purged = purge.output().unwrap();
    assert!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
    assert!(String::from_utf8_lossy(&purged.stderr).contains("reserve"), "{purged:?}");
    receiver.event("after");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn the_inbox_is_kept_below_a_size() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    for number in 0..40 {
        assert_eq!(receiver.post(format!(r#"[{{"id":"{number}","text":"{}"}}]"#, noise(50_000))).status, 200);
    }
    assert_eq!(receiver.end().0, 0);
    let receiver = Receiver::start(&home, &["--max-size", "1MB"]);
    wait_until("the oldest are gone", || ids(&home).len() < 20);
    let left = ids(&home);
    assert!(left.len() > 10 && left[left.len() - 1] == "39", "{left:?}");
    assert_eq!(receiver.end().0, 0);
    // What is pending stays, and the log says so.
    let nobody = format!("http://{}/", crate::support::free_address());
    let receiver = Receiver::start(&home, &["--forward-to", &nobody]);
    receiver.event("waits");
    assert_eq!(receiver.end().0, 0);
    let receiver = Receiver::start(&home, &["--forward-to", &nobody, "--max-size", "1kB"]);
    wait_until("it is told", || receiver.log().contains("larger than --max-size allows"));
    assert_eq!(ids(&home), ["waits"]);
    assert_eq!(receiver.end().0, 0);
}

/// A limit on the size of files, without the signal, is a disk on which nothing fits at all, not even the log.
#[test]
fn a_store_that_cannot_grow_is_not_ready() {
    let home = Home::new();
    drop(Receiver::start(&home, &[]));
    let unsignalled = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let receiver = Receiver::of(&home, Receiver::command_of(&unsignalled, &home, &[]));
    receiver.event("before");
    let pid = receiver.ready["pid"].to_string();
    let limit = |size: &str| {
        let limit = format!("--fsize={size}:unlimited");
        assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
    };
    limit("0");
    assert_unavailable(&receiver.post(event("refused", 10)));
    let ready = receiver.get("/readyz");
    assert_unavailable(&ready);
    assert_eq!((&ready.json()["ready"], &ready.json()["store_writable"]), (&false.into(), &false.into()));
    assert_eq!(receiver.get("/healthz").status, 200);
    limit("unlimited");
    receiver.event("after");
    wait_until("it is ready", || receiver.get("/readyz").json()["ready"] == true);
    assert_eq!(ids(&home), ["before", "after"]);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_locked_database_is_waited_for_and_then_told() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.event("before");
    let other = Connection::open(inbox_file(&home)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let post = |number: u32| receiver.post(event(&format!("refused-{number}"), 10));
        let posts: Vec<_> = (0..5).map(|number| scope.spawn(move || post(number))).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    for reply in &replies {
        assert_unavailable(reply);
    }
    let took = start.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(13), "{took:?}");
    // Released in time, nobody hears of it.
    let posted = std::thread::scope(|scope| {
        let post = scope.spawn(|| receiver.post(event("waited", 10)));
        assert_eq!(receiver.get("/healthz").status, 200);
        other.execute_batch("ROLLBACK").unwrap();
        post.join().unwrap()
    });
    assert_eq!(posted.status, 200);
    receiver.event("after");
    assert_eq!(ids(&home), ["before", "waited", "after"]);
    assert_eq!(receiver.end().0, 0);
}

/// What is handed on meanwhile has nothing to do with how long a sender waits.
#[test]
fn a_locked_database_is_told_as_soon_with_forwards_under_way() {
    let home = Home::new();
    let (answers, asked) = std::sync::mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let sink = super::Sink::start(move |_, _| {
        let _ = asked.lock().unwrap().recv();
        ("200 OK", vec![])
    });
    let receiver = Receiver::start(&home, &["--forward-to", &sink.url]);
    receiver.event("1");
    sink.wait_for(1);
    let other = Connection::open(inbox_file(&home)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The outcome of the forward waits for the database first.
    drop(answers);
    wait_until("the target has it", || receiver.metric_of("forwarded_total", &sink.url) == 1);
    let start = Instant::now();
    assert_unavailable(&receiver.post(event("refused", 10)));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    other.execute_batch("ROLLBACK").unwrap();
    receiver.event("2");
    wait_until("all is noted", || super::pending(&home) == 0);
    assert_eq!(sink.calls().len(), 2);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_database_that_is_gone_is_never_taken_for_one() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.event("before");
    let (file, aside) = (inbox_file(&home), home.path().join("aside.db"));
    fs::rename(&file, &aside).unwrap();
    assert_unavailable(&receiver.post(event("lost", 10)));
    assert_unavailable(&receiver.get("/readyz"));
    // Another file in its place is not it.
    fs::write(&file, "").unwrap();
    assert_unavailable(&receiver.post(event("lost", 10)));
    fs::rename(&aside, &file).unwrap();
    receiver.event("after");
    assert_eq!(ids(&home), ["before", "after"]);
    assert_eq!(receiver.end().0, 0);
    for file in super::files(&home.data()) {
        if file.to_string_lossy().contains("inbox.db") && file != home.data().join("receiver.lock") {
            let _ = fs::remove_file(file);
        }
    }
    let receiver = Receiver::start(&home, &[]);
    receiver.event("new");
    assert_eq!(events(&home).len(), 1);
}

#[test]
fn a_damaged_inbox_is_an_error_at_the_start() {
    let home = Home::new();
    assert_eq!(Receiver::start(&home, &[]).end().0, 0);
    fs::write(inbox_file(&home), "not a database at all, but long enough to be read as one".repeat(100)).unwrap();
    let run = super::refused(&home, &[]);
    assert_eq!(run.code, 9, "{run}");
    assert!(run.stderr.contains("the inbox"), "{run}");
}

#[test]
fn one_that_cannot_be_stored_keeps_no_other_back() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.event("before");
    let other = Connection::open(inbox_file(&home)).unwrap();
    let trigger = "CREATE TRIGGER poison BEFORE INSERT ON events WHEN new.event_id = 'poison'
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch(trigger).unwrap();
    // While the first waits for the database, the others gather behind it.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let post = |id: &'static str| {
            let post = scope.spawn(|| receiver.post(event(id, 10)));
            std::thread::sleep(Duration::from_millis(200));
            post
        };
        let posts = ["first", "a", "poison", "b"].map(post);
        other.execute_batch("ROLLBACK").unwrap();
        posts.map(|post| post.join().unwrap()).into()
    });
    assert_eq!([replies[0].status, replies[1].status, replies[3].status], [200; 3], "{replies:?}");
    assert_unavailable(&replies[2]);
    assert_eq!(ids(&home), ["before", "first", "a", "b"]);
    assert_eq!(receiver.end().0, 0);
}
