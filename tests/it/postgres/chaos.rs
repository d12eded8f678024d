//! The topology of `contrib/compose`, with real processes that are killed: nginx, two receivers, PostgreSQL, a target.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::deployment::{Deployment, Places};
use super::senders::{Senders, assert_forwarded, assert_stored_once};
use crate::listen::sink::Sink;
use crate::support::nginx::Nginx;
use crate::support::postgres::{Server, ServerSettings};
use crate::support::{Home, Signal, free_address, wait_until};

const KILLS: usize = 50;
const RESTARTS: usize = 10;
const SENDERS: usize = 6;

/// A receiver that is started again whenever it ends, as its container is.
struct Supervised {
    address: SocketAddr,
    home: Home,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    child: Mutex<Option<Child>>,
    /// The processes that were killed.
    killed: Mutex<HashSet<u32>>,
}

impl Supervised {
    fn start(deployment: &Deployment, address: SocketAddr, store: &str, target: &str) -> Self {
        let home = Home::new();
        for (name, text) in [("store", store), ("target", target)] {
            fs::write(home.path().join(name), text).unwrap();
        }
        let arguments = deployment.receiver(address, home.path());
        let log = OpenOptions::new().create(true).append(true).open(home.path().join("log")).unwrap();
        let mut command = home.command(&arguments);
        command.stdout(Stdio::null()).stderr(log);
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            while !shared.over.load(Ordering::Relaxed) {
                let has_ended = |child: &mut Child| child.try_wait().unwrap().is_some();
                let mut child = shared.child.lock().unwrap();
                if child.as_mut().is_none_or(has_ended) {
                    *child = Some(command.spawn().unwrap());
                }
                drop(child);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { address, home, state, thread: Some(thread) }
    }

    fn serves(&self) -> bool {
        TcpStream::connect(self.address).is_ok()
    }

    /// Kills the process that serves, at whatever it does.
    fn kill(&self) {
        wait_until("a process that served was killed", || {
            let mut child = self.state.child.lock().unwrap();
            let Some(child) = child.as_mut().filter(|_| self.serves()) else { return false };
            let pid = child.id();
            child.kill().unwrap();
            let is_killed = child.wait().unwrap().signal() == Some(Signal::KILL.as_raw());
            is_killed && self.state.killed.lock().unwrap().insert(pid)
        });
    }

    /// How many processes were killed.
    fn killed(&self) -> usize {
        self.state.killed.lock().unwrap().len()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
        if let Some(mut child) = self.state.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All of it.
struct Scene {
    deployment: Deployment,
    places: Places,
    receivers: [Supervised; 2],
    nginx: Nginx,
    sink: Sink,
    server: Server,
    database: String,
}

impl Scene {
    fn start() -> Option<Self> {
        let server = Server::start(ServerSettings::default())?;
        let (database, deployment) = (server.new_database(), Deployment::read());
        // Slow enough that something is always being forwarded.
        let sink = Sink::start(|_, _| {
            std::thread::sleep(Duration::from_millis(20));
            ("200 OK", vec![])
        });
        let places = Places { receivers: [free_address(), free_address()], nginx: free_address() };
        let nginx = Nginx::start(&deployment.nginx(&places), places.nginx)?;
        // Both at once: one of them makes the schema.
        let store = server.url(&database);
        let receivers = places.receivers.map(|address| Supervised::start(&deployment, address, &store, &sink.url));
        let scene = Self { deployment, places, receivers, nginx, sink, server, database };
        scene.wait_for_health();
        Some(scene)
    }

    /// Waits until both receivers are healthy, by what compose.yaml asks them.
    fn wait_for_health(&self) {
        for receiver in &self.receivers {
            let check = self.deployment.health_check(receiver.address);
            wait_until("the receiver is healthy", || receiver.home.run(&check).code == 0);
        }
    }

    /// The path that Bugfender delivers to, which is the same for both receivers.
    fn path(&self) -> String {
        let Supervised { home, .. } = &self.receivers[0];
        let store: PathBuf = home.path().join("store");
        let store = format!("--store=@{}", store.display());
        let shown = home.json(&["listen", "--show-url", &store, "--public-url", "http://hooks.test"]);
        shown["url"].as_str().unwrap().strip_prefix("http://hooks.test").unwrap().to_owned()
    }

    /// Kills receivers, and restarts the server in between.
    fn rage(&self, senders: &Senders) {
        for kill in 0..KILLS {
            // Not a wait for something: the moment of death is what varies.
            std::thread::sleep(Duration::from_millis(fastrand::u64(50..600)));
            self.receivers[fastrand::usize(0..2)].kill();
            if kill % (KILLS / RESTARTS) == 0 {
                let before = senders.answered();
                self.server.stop_immediately();
                self.server.resurrect();
                wait_until("events are stored again", || senders.answered() > before);
            }
        }
    }
}

#[test]
fn kills_and_restarts_lose_nothing() {
    let start = Instant::now();
    let Some(scene) = Scene::start() else { return };
    let senders = Senders::start(SENDERS, &scene.places.nginx.to_string(), &scene.path(), Duration::from_millis(15));
    scene.rage(&senders);
    scene.wait_for_health();
    senders.wait_for_more(50);
    let sent = senders.end();
    let stored = assert_stored_once(&scene.server, &scene.database, &sent.answered);
    assert_forwarded(&scene.server, &scene.database, &scene.sink);

    // It all happened.
    let log = scene.nginx.log();
    let killed = scene.receivers.each_ref().map(Supervised::killed);
    let recoveries = scene.server.log().matches("database system was interrupted").count();
    assert!(killed[0] + killed[1] == KILLS && killed.iter().all(|killed| *killed > KILLS / 10), "{killed:?}");
    assert!(recoveries >= RESTARTS, "{recoveries}");
    assert!(stored > 2000 && sent.refusals > 0, "{stored} events, {} refusals", sent.refusals);
    // Some were killed between the answer of the target and their note of it.
    let (calls, forwards) = (scene.sink.calls().len(), "SELECT count(*) FROM bugfender_hooks.forwards");
    let forwards: usize = scene.server.psql(&scene.database, forwards).parse().unwrap();
    assert!(calls > forwards, "{calls} calls for {forwards} forwards");
    let (refusals, broken) = (sent.refusals, sent.broken);
    eprintln!(
        "{stored} events, {refusals} refusals, {broken} without an answer, {calls} calls for {forwards} forwards"
    );
    eprintln!("{killed:?} killed, {recoveries} restarts, {:?}", start.elapsed());
    for receiver in &scene.receivers {
        let address = receiver.address.to_string();
        assert!(log.lines().filter(|line| line.contains(&format!(" 200 {address} "))).count() > 100, "{log}");
        assert!(!receiver.log().contains("panicked"), "{}", receiver.log());
    }
    // nginx went on from one receiver to the other.
    let [first, second] = scene.places.receivers;
    let passed_on = |line: &&str| {
        line.contains(&format!(" 200 {first}, {second} ")) || line.contains(&format!(" 200 {second}, {first} "))
    };
    assert!(log.lines().filter(passed_on).count() > 0, "{log}");
}
