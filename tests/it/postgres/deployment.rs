//! What `contrib/compose` says, for the tests that run it without containers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Home, have};

/// The addresses that the parts of `contrib/compose` have in a test.
pub struct Places {
    pub receivers: [SocketAddr; 2],
    pub nginx: SocketAddr,
}

/// The files of `contrib/compose`.
pub struct Deployment {
    compose: String,
    nginx: String,
}

/// The address of a receiver within its container, and where it reads its secrets.
const ADDRESS: &str = "0.0.0.0:4000";
const SECRETS: &str = "/run/secrets/";

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/compose")
}

impl Deployment {
    pub fn read() -> Self {
        let read = |name: &str| fs::read_to_string(dir().join(name)).unwrap();
        Self { compose: read("compose.yaml"), nginx: read("nginx.conf") }
    }

    /// The command line of a receiver at this address, with its secrets in this directory.
    pub fn receiver(&self, address: SocketAddr, secrets: &Path) -> Vec<String> {
        let command = self.list("x-receiver: &receiver", "command:");
        for flag in ["--store=@", "--forward-to=@"] {
            assert!(command.iter().any(|argument| argument.starts_with(&format!("{flag}{SECRETS}"))), "{command:?}");
        }
        let secrets = format!("{}/", secrets.display());
        let command = replaced(&command.join("\n"), ADDRESS, &address.to_string()).replace(SECRETS, &secrets);
        command.lines().map(str::to_owned).collect()
    }

    /// The arguments that find out whether the receiver at this address is healthy.
    pub fn health_check(&self, address: SocketAddr) -> Vec<String> {
        let test = self.list("x-receiver: &receiver", "test:");
        assert_eq!(test[..2], ["CMD", "bugfender-hooks"]);
        // By itself it asks where a receiver listens by default, as those here do.
        let port = ADDRESS.rsplit_once(':').unwrap().1;
        assert!(Home::new().run(["healthcheck", "--help"]).stdout.contains(&format!("http://127.0.0.1:{port}")));
        test[2..].iter().cloned().chain([format!("--admin={address}")]).collect()
    }

    /// nginx's settings, with other addresses.
    pub fn nginx(&self, places: &Places) -> String {
        let mut settings = replaced(&self.nginx, "listen 8080;", &format!("listen {};", places.nginx));
        let port = ADDRESS.rsplit_once(':').unwrap().1;
        for (number, address) in (1..).zip(places.receivers) {
            assert!(self.compose.contains(&format!("\n  receiver-{number}: *receiver\n")), "there is no such receiver");
            settings = replaced(&settings, &format!("receiver-{number}:{port} "), &format!("{address} "));
        }
        settings
    }

    /// The items of a list in the block form, below a key somewhere below another one that is not indented.
    fn list(&self, block: &str, key: &str) -> Vec<String> {
        let lines = self.compose.lines().skip_while(|line| *line != block).skip(1);
        let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
        let items =
            lines.skip_while(|line| line.trim() != key).skip(1).map_while(|line| line.trim().strip_prefix("- "));
        let items: Vec<String> = items.map(str::to_owned).collect();
        assert!(!items.is_empty(), "compose.yaml has no {key} in {block}");
        items
    }
}

/// Replaces what must be there once.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}

/// What the test of the topology does not look at.
#[test]
fn the_containers_fit_together() {
    let Deployment { compose, nginx } = Deployment::read();
    for line in ["    ports: [\"8080:8080\"]", "  build: ../.."] {
        assert!(compose.lines().any(|known| known == line), "{line}");
    }
    // As large as a body may be, and no idle connection is kept until a receiver closes it.
    assert!(nginx.contains("client_max_body_size 5m;") && nginx.contains("keepalive_timeout 5s;"));
}

/// The README makes each secret that is mounted, and they fit together too.
#[test]
fn the_secrets_are_made() {
    if !have("openssl") {
        return;
    }
    let Deployment { compose, .. } = Deployment::read();
    let readme = fs::read_to_string(dir().join("README.md")).unwrap();
    let script = readme.split_once("```sh\n").unwrap().1.split_once("docker compose").unwrap().0;
    let home = Home::new();
    let status = Command::new("sh").args(["-euc", script]).current_dir(home.path()).status().unwrap();
    assert!(status.success(), "{script}");
    let secret = |name: &str| fs::read_to_string(home.path().join("secrets").join(name)).unwrap();
    for name in ["store", "postgres_password", "target"] {
        assert!(compose.contains(&format!("    file: secrets/{name}\n")) && !secret(name).trim().is_empty(), "{name}");
    }
    assert_eq!(compose.matches("file: secrets/").count(), 3);
    let (user, host, database) = ("bugfender_hooks", "postgres", "bugfender_hooks");
    let password = secret("postgres_password");
    let url = format!("postgres://{user}:{}@{host}/{database}?sslmode=disable", password.trim());
    assert_eq!(secret("store").trim(), url);
    assert!(compose.contains(&format!("POSTGRES_USER: {user}\n      POSTGRES_DB: {database}\n")), "{compose}");
    assert!(compose.contains(&format!("\n  {host}:\n    image: postgres:")), "{compose}");
}
