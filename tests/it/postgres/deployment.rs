//! What `contrib/compose` says, for the tests that run it without containers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

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

impl Deployment {
    pub fn read() -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/compose");
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
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

    /// The command that finds out whether the receiver at this address is healthy.
    pub fn health_check(&self, address: SocketAddr) -> Vec<String> {
        let test = self.list("x-receiver: &receiver", "test:");
        assert_eq!(test[0], "CMD");
        let port = ADDRESS.rsplit_once(':').unwrap().1;
        test[1..].iter().map(|word| word.replace(&format!("127.0.0.1:{port}"), &address.to_string())).collect()
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
    for port in ["ports: [\"8080:8080\"]", "http://127.0.0.1:4000/readyz"] {
        assert!(compose.contains(port), "{port}");
    }
    // Each secret that is mounted is a file that the README makes, and no other is.
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/compose/README.md")).unwrap();
    for secret in ["store", "postgres_password", "target"] {
        assert!(
            compose.contains(&format!("file: secrets/{secret}")) && readme.contains(&format!(">secrets/{secret}\n"))
        );
    }
    assert_eq!(compose.matches("file: secrets/").count(), 3);
    // As large as a body may be, and no idle connection is kept until a receiver closes it.
    assert!(nginx.contains("client_max_body_size 5m;") && nginx.contains("keepalive_timeout 5s;"));
}
