//! PgBouncer in front of a server, with a transaction at a time for a connection.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use super::Server;
use super::warden::{Owner, Warden, free_port, write};
use crate::support::{have, wait_until};

/// A pooler of its own for a test.
pub struct PgBouncer {
    port: u16,
    dir: PathBuf,
    _warden: Warden,
}

impl PgBouncer {
    /// Nothing where it is not installed (in CI that is a failure).
    pub fn start(server: &Server) -> Option<Self> {
        Self::with(server, &[])
    }

    /// The same with more lines for the section `pgbouncer` of its settings.
    pub fn with(server: &Server, lines: &[&str]) -> Option<Self> {
        if !have("pgbouncer") {
            return None;
        }
        let owner = Owner::find();
        let (dir, port) = (owner.dir(), free_port());
        let users = dir.join("users");
        // Whom it lets in: without a password, as the server does.
        write(&users, "\"postgres\" \"\"\n");
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n{}\n",
            server.socket_dir().display(),
            server.port(),
            users.display(),
            lines.join("\n")
        );
        write(&dir.join("settings"), &settings);
        let warden = Warden::start(owner, include_str!("bouncer.sh"), &[&dir]);
        wait_until("PgBouncer listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { port, dir, _warden: warden })
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }
}
