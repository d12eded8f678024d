//! A receiver whose server fails: nothing is answered with 200 that is not stored, and it goes on by itself afterwards.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::proxy::{Cut, CutProxy};
use super::senders::{Senders, assert_forwarded, assert_refused, assert_stored_once, delivery};
use crate::listen::Receiver;
use crate::listen::client::{Reply, call};
use crate::listen::sink::Sink;
use crate::support::postgres::{Server, ServerSettings};
use crate::support::{Home, SandboxServer, have, wait_until};

/// Within this time a sender has an answer, whatever the server does: a delivery may wait for a connection that is being
/// made, and then for an answer, 5 s each.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// A receiver with a target, and senders that post to it.
struct Scene {
    server: Server,
    database: String,
    sandbox: SandboxServer,
    home: Home,
    sink: Sink,
    receiver: Receiver,
    senders: Senders,
}

impl Scene {
    fn start(server: Server) -> Self {
        let database = server.new_database();
        let url = server.url(&database);
        Self::of(server, database, &url)
    }

    /// The same, with a database that the receiver reaches by a URL.
    fn of(server: Server, database: String, url: &str) -> Self {
        let sandbox = SandboxServer::start();
        let home = Home::of(&sandbox).set("BUGFENDER_HOOKS_STORE", url);
        let sink = Sink::always("200 OK");
        let receiver = Receiver::start(&home, &["--forward-to", &sink.url, "--retry-wait", "0.05"]);
        let senders = Senders::start(4, &receiver.address, &receiver.path, Duration::from_millis(5));
        let scene = Self { server, database, sandbox, home, sink, receiver, senders };
        scene.senders.wait_for_more(50);
        scene
    }

    fn post(&self, id: &str) -> Reply {
        let start = Instant::now();
        let reply = call(&self.receiver.address, &delivery(&self.receiver.path, [id])).unwrap();
        assert!(start.elapsed() < ANSWERED_WITHIN, "{:?}: {reply:?}", start.elapsed());
        reply
    }

    /// Nothing can be stored: senders and probes are told.
    fn assert_failing(&self) {
        for number in 0..3 {
            assert_refused(&self.post(&format!("refused-{number}")));
        }
        let start = Instant::now();
        wait_until("it is not ready", || self.receiver.get("/readyz").status == 503);
        assert!(start.elapsed() < ANSWERED_WITHIN, "{:?}", start.elapsed());
        assert_eq!(self.receiver.get("/healthz").status, 200);
        let rejected = self.receiver.log().matches("nothing can be stored").count();
        assert!(rejected >= 1, "{}", self.receiver.log());
    }

    /// Commands end in time, and say that it is the store, or the way to it.
    fn assert_commands_fail(&self, commands: &[&[&str]]) {
        for command in commands {
            let start = Instant::now();
            let run = self.home.run(command.iter().chain(&["--timeout", "2"]));
            assert!([7, 9].contains(&run.code), "{command:?}: {run}");
            assert!(start.elapsed() < Duration::from_secs(4), "{command:?}: {:?}: {run}", start.elapsed());
        }
        assert!(self.sandbox.hooks().is_empty());
    }

    /// It stores and forwards again, without having been restarted.
    fn recovers(&self) {
        wait_until("it is ready", || self.receiver.get("/readyz").status == 200);
        self.senders.wait_for_more(50);
    }

    /// What was answered is stored and forwarded. Gives back the server.
    fn end(self) -> Server {
        let Self { server, database, sink, receiver, senders, .. } = self;
        let sent = senders.end();
        assert_stored_once(&server, &database, &sent.answered);
        assert_forwarded(&server, &database, &sink);
        let log = receiver.log();
        assert!(log.contains("can be written again"), "{log}");
        assert!(sent.refusals + sent.broken > 0, "no sender noticed anything");
        assert_eq!(receiver.end().0, 0, "{log}");
        server
    }
}

const LIST: &[&str] = &["list"];
const EVENTS: &[&str] = &["events", "list"];
const SUBSCRIBE: &[&str] =
    &["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];

fn scene() -> Option<Scene> {
    Some(Scene::start(Server::start(ServerSettings::default())?))
}

#[test]
fn a_server_restarts_without_warning() {
    let Some(scene) = scene() else { return };
    for _ in 0..3 {
        scene.server.stop_immediately();
        scene.assert_failing();
        scene.server.resurrect();
        scene.recovers();
    }
    scene.server.stop_immediately();
    scene.assert_commands_fail(&[LIST, EVENTS, SUBSCRIBE]);
    scene.server.resurrect();
    scene.end();
}

#[test]
fn a_server_is_killed() {
    let Some(scene) = scene() else { return };
    scene.server.kill();
    scene.assert_failing();
    scene.assert_commands_fail(&[LIST, EVENTS, SUBSCRIBE]);
    scene.server.resurrect();
    scene.recovers();
    scene.end();
}

#[test]
fn a_server_hangs() {
    let Some(scene) = scene() else { return };
    scene.server.pause();
    scene.assert_failing();
    scene.assert_commands_fail(&[LIST, EVENTS, SUBSCRIBE]);
    scene.server.resume();
    scene.recovers();
    scene.end();
}

#[test]
fn a_server_allows_no_writes_any_more() {
    let Some(scene) = scene() else { return };
    let set = |value: &str| {
        scene.server.psql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        scene.server.psql("postgres", "SELECT pg_reload_conf()");
    };
    set("on");
    // Connections hear of it one by one.
    wait_until("nothing is stored", || scene.post("last").status == 503);
    scene.assert_failing();
    scene.assert_commands_fail(&[SUBSCRIBE]);
    for command in [LIST, EVENTS] {
        scene.home.json(command);
    }
    set("off");
    scene.recovers();
    scene.end();
}

/// A disk for a database, which only root can make.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(server: &Server, size: &str) -> Option<Self> {
        let dir = server.socket_dir().join("small");
        let owner = fs::metadata(server.socket_dir()).unwrap();
        let options = format!("size={size},mode=700,uid={},gid={}", owner.uid(), owner.gid());
        fs::create_dir(&dir).unwrap();
        let mut command = Command::new("mount");
        let output = command.args(["-t", "tmpfs", "-o", &options, "small"]).arg(&dir).output().unwrap();
        if output.status.success() {
            return Some(Self(dir));
        }
        eprintln!("skipped: no disk can be mounted: {}", String::from_utf8_lossy(&output.stderr));
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may have it open; and where it has ended, this kept it from removing its directory.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

#[test]
fn a_disk_is_full() {
    if !have("mount") {
        return;
    }
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let Some(disk) = SmallDisk::mount(&server, "32m") else { return };
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display()));
    server.psql("postgres", "CREATE DATABASE small TABLESPACE small");
    let url = server.url("small");
    let scene = Scene::of(server, "small".to_owned(), &url);
    scene.server.psql("small", "CREATE TABLE ballast (text text); ALTER TABLE ballast ALTER text SET STORAGE EXTERNAL");
    // As much as fits, and then what fits into the rest.
    let fill = "DO $$ BEGIN LOOP BEGIN INSERT INTO ballast SELECT repeat('x', 7000) FROM generate_series(1, SIZE);
                EXCEPTION WHEN disk_full THEN EXIT; END; END LOOP; END $$";
    for size in ["500", "50", "1"] {
        scene.server.psql("small", &fill.replace("SIZE", size));
    }
    // What was rolled back leaves room for a little, until that is full too.
    wait_until("nothing is stored", || {
        scene.server.psql("small", &fill.replace("SIZE", "1"));
        (0..10).all(|number| scene.post(&format!("last-{number}")).status == 503)
    });
    scene.assert_failing();
    assert!(scene.receiver.log().contains("53100"), "{}", scene.receiver.log());
    scene.server.psql("small", "DROP TABLE ballast");
    scene.recovers();
    let server = scene.end();
    drop(disk);
    assert!(server.log().contains("No space left on device"));
}

/// The statements of a receiver, by a part of each that no other has.
const INTAKE: &str = "fresh f JOIN homes h";
const CLAIM: &str = "AS waiting),";
const SETTLEMENT: &str = "AS s (forward, token";

#[test]
fn a_connection_is_cut_in_the_middle_of_a_commit() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let proxy = CutProxy::start(&server);
    let database = server.new_database();
    let url = proxy.url(&database);
    let scene = Scene::of(server, database, &url);
    let mut cuts = 0;
    for _ in 0..10 {
        for statement in [INTAKE, CLAIM, SETTLEMENT] {
            for cut in [Cut::Committed, Cut::Before] {
                proxy.arm(&[cut], statement);
                cuts += 1;
                proxy.wait_for_cuts(cuts);
            }
        }
    }
    scene.senders.wait_for_more(50);
    let Scene { server, database, sink, receiver, senders, .. } = scene;
    let sent = senders.end();
    // Nobody but the receiver has sent anything twice: what it found again is no duplicate.
    if sent.refusals == 0 {
        assert_eq!(server.psql(&database, "SELECT sum(duplicates) FROM bugfender_hooks.events"), "0");
    }
    assert_stored_once(&server, &database, &sent.answered);
    assert_forwarded(&server, &database, &sink);
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn a_delivery_whose_commit_was_cut_off_is_answered() {
    let Some(server) = Server::start(ServerSettings::default()) else { return };
    let proxy = CutProxy::start(&server);
    let database = server.new_database();
    let home = Home::new().set("BUGFENDER_HOOKS_STORE", &proxy.url(&database));
    let receiver = Receiver::start(&home, &[]);
    let post = |id: &str| receiver.post(format!(r#"[{{"id":"{id}"}}]"#));
    // The receiver finds out by itself what became of it, once; if that is cut off too, it is the sender's turn.
    for (number, cuts) in [&[Cut::Committed][..], &[Cut::Before]].into_iter().enumerate() {
        proxy.arm(cuts, INTAKE);
        let reply = post(&format!("once-{number}"));
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    for cuts in [[Cut::Committed, Cut::Committed], [Cut::Before, Cut::Before], [Cut::Before, Cut::Committed]] {
        proxy.arm(&cuts, INTAKE);
        assert_refused(&post("twice"));
        assert_eq!(post("twice").status, 200);
    }
    proxy.wait_for_cuts(8);
    let rows = server.psql(&database, "SELECT event_id, duplicates FROM bugfender_hooks.events ORDER BY id");
    // One for each answer with 200: at the first, too, the event was there already.
    assert_eq!(rows, "once-0|0\nonce-1|0\ntwice|3");
    assert_eq!(receiver.end().0, 0);
}
