//! Real PostgreSQL servers: one for all tests, which each have a database of their own, and others for single tests.

mod bouncer;
mod options;
pub mod warden;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, test_kill_process};

use super::{have, is_there, wait_until};
pub use bouncer::PgBouncer;
pub use options::{connect_options, store_of};
use warden::{Owner, Warden, free_port, write};

/// What a server is started with.
#[derive(Clone, Copy, Default)]
pub struct ServerSettings<'a> {
    /// More lines of `postgresql.conf`.
    pub lines: &'a [&'a str],
    /// The rules of `pg_hba.conf`; the user `postgres` gets in by the socket without any. Without rules everybody does.
    pub rules: &'a [&'a str],
    /// The names in the server's certificate, such as `DNS:localhost`; without them it has no TLS.
    pub certified: Option<&'a str>,
}

/// A server that listens on a socket and on a port of 127.0.0.1. It ends when it is dropped, or the tests end.
pub struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    owner: Owner,
    _warden: Warden,
}

/// The server of all tests. Nothing where PostgreSQL is not installed (in CI that is a failure).
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(ServerSettings::default())).as_ref()
}

impl Server {
    /// A server of a test's own. Nothing where PostgreSQL is not installed (in CI that is a failure).
    pub fn start(settings: ServerSettings) -> Option<Self> {
        let bin = newest();
        if !is_there(bin.is_some(), "PostgreSQL") || settings.certified.is_some() && !have("openssl") {
            return None;
        }
        let (bin, owner) = (bin?, Owner::find());
        let mut said = String::new();
        // Somebody may take the port in the meantime.
        for _ in 0..5 {
            let (dir, port) = (owner.dir(), free_port());
            prepare(owner, &dir, port, settings);
            let mut warden = Warden::start(owner, include_str!("server.sh"), &[&bin, &dir]);
            said = warden.line();
            if said == "ready" {
                return Some(Self { bin, dir, port, owner, _warden: warden });
            }
        }
        panic!("PostgreSQL does not start: {said}");
    }

    /// The directory of its socket.
    pub fn socket_dir(&self) -> &Path {
        &self.dir
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that its own is signed by.
    pub fn authority(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The URL of a database, for its superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    /// The URL of a database for a user.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new database, which is empty. Its name.
    pub fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs SQL as the superuser, which must succeed, and gives the rows, columns separated by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = self.psql_command(database, sql).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The command that runs SQL as the superuser, for what is to go on beside the test.
    pub fn psql_command(&self, database: &str, sql: &str) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", sql]);
        command.arg("-h").arg(&self.dir).args(["-p", &self.port.to_string()]);
        command
    }

    /// Stops it: connections end with a message of the server's.
    pub fn stop(&self) {
        self.control(&["-m", "fast", "stop"]);
    }

    /// Stops it in the middle of what it does: connections break, and at the next start it recovers.
    pub fn stop_immediately(&self) {
        self.control(&["-m", "immediate", "stop"]);
    }

    /// Starts it again after it was stopped or killed.
    pub fn resurrect(&self) {
        let log = self.dir.join("log");
        self.control(&["-l", log.to_str().unwrap(), "start"]);
    }

    /// Starts it again after it was stopped, as a standby that follows nobody and may not be read.
    pub fn restart_as_standby(&self) {
        write(&self.dir.join("data/standby.signal"), "");
        let file = self.dir.join("data/postgresql.conf");
        let settings = fs::read_to_string(&file).unwrap();
        write(&file, &format!("{settings}hot_standby = off\n"));
        let log = self.dir.join("log");
        // It is not ready before it is promoted: nobody waits for that.
        self.control(&["-W", "-l", log.to_str().unwrap(), "start"]);
        wait_until("the standby listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// Kills it and all its processes: connections break.
    pub fn kill(&self) {
        let file = fs::read_to_string(self.dir.join("data/postmaster.pid")).unwrap();
        let pid = file.lines().next().and_then(|line| Pid::from_raw(line.parse().ok()?)).unwrap();
        self.signal("-KILL");
        wait_until("the server is gone", || test_kill_process(pid).is_err());
    }

    /// Stops it in the middle of what it does: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = self.owner.command(self.bin.join("pg_ctl"));
        // Not piped, as the server would hold the pipe.
        let status = command
            .arg("-D")
            .arg(self.dir.join("data"))
            .args(["-s", "-w"])
            .args(arguments)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}: {}", self.log());
    }

    /// Sends a signal to the server, and then to its children, of which it cannot make more in between.
    fn signal(&self, signal: &str) {
        let script = "pid=$(head -n 1 \"$1\"); children=$(pgrep -P $pid); kill $2 $pid; kill $2 $children";
        let file = self.dir.join("data/postmaster.pid");
        let mut command = self.owner.command("sh");
        let status = command.args(["-c", script, "sh"]).arg(file).arg(signal).status().unwrap();
        assert!(status.success(), "kill {signal}");
    }
}

/// Writes what the server needs before it can start.
fn prepare(owner: Owner, dir: &Path, port: u16, settings: ServerSettings) {
    let mut lines = format!(
        "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 200\n\
         dynamic_shared_memory_type = mmap\n",
        dir.display()
    );
    // The tests kill processes, not machines: what the server has written is then in the system's hands.
    lines += "fsync = off\n";
    if let Some(names) = settings.certified {
        certify(owner, dir, names);
        let file = |name: &str| dir.join(name).display().to_string();
        lines.extend(["ssl = on\nssl_cert_file = '", &file("tls.pem"), "'\nssl_key_file = '", &file("tls.key"), "'\n"]);
    }
    lines += &settings.lines.join("\n");
    write(&dir.join("settings"), &format!("{lines}\n"));
    let open = ["local all all trust", "host all all 127.0.0.1/32 trust"];
    let rules = if settings.rules.is_empty() { &open } else { settings.rules };
    write(&dir.join("hba"), &format!("local all postgres trust\n{}\n", rules.join("\n")));
}

/// Makes an authority, and a certificate of the server's that it signs.
fn certify(owner: Owner, dir: &Path, names: &str) {
    write(&dir.join("names"), &format!("subjectAltName={names}"));
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for arguments in [
        format!("req -x509 -subj /CN=Authority -keyout ca.key -out ca.pem -days 2 {key}"),
        format!("req -subj /CN=server -keyout tls.key -out tls.csr {key}"),
        "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile names".to_owned(),
    ] {
        let output = owner.command("openssl").args(arguments.split(' ')).current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The programs of the newest PostgreSQL: on the path, or where Debian has them.
fn newest() -> Option<PathBuf> {
    let of_system = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |dir: &PathBuf| dir.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = of_system.map(|entry| entry.path()).filter(|dir| dir.join("bin/initdb").is_file()).max_by_key(version);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&paths).find(|dir| dir.join("initdb").is_file());
    newest.map(|dir| dir.join("bin")).or_else(on_path)
}
