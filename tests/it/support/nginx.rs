//! nginx with the settings of a test, as a user without rights.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use super::postgres::warden::{Owner, Warden, write};
use super::{have, wait_until};

/// It ends when it is dropped, or the tests end.
pub struct Nginx {
    dir: PathBuf,
    _warden: Warden,
}

impl Nginx {
    /// Starts it with the settings of a container, which keeps its files in /tmp and logs to /dev/stdout. Nothing where it
    /// is not installed (in CI that is a failure).
    pub fn start(settings: &str, address: SocketAddr) -> Option<Self> {
        if !have("nginx") {
            return None;
        }
        let owner = Owner::find();
        let dir = owner.dir();
        write(&dir.join("nginx.conf"), &settings.replace("/tmp/", &format!("{}/", dir.display())));
        let warden = Warden::start(owner, include_str!("nginx.sh"), &[&dir]);
        let nginx = Self { dir, _warden: warden };
        wait_until("nginx listens", || TcpStream::connect(address).is_ok());
        Some(nginx)
    }

    /// Requests and errors.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }
}
