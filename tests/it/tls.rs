//! TLS: a test authority signs a server, which is trusted with that authority's certificate and not without.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::{Home, have};

const SUBSCRIBE: [&str; 7] =
    ["subscribe", "--app-id", "1", "--event", "new_crash", "--target-url", "https://hooks.example.com/bf"];

/// An https server of Python's, with a certificate for localhost by an authority of its own.
pub(crate) struct TlsServer {
    child: Child,
    pub(crate) url: String,
    authority: PathBuf,
    _dir: TempDir,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"id": 5}'
        self.send_response(201)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
if sys.argv[3] == "old":
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;

fn openssl(dir: &Path, args: &[&str]) {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn start(versions: &str) -> Option<TlsServer> {
    if !have("openssl") || !have("python3") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-subj", "/CN=Test Authority", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2"];
    openssl(dir.path(), &[&authority[..], &key].concat());
    let request = ["req", "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"];
    openssl(dir.path(), &[&request[..], &key].concat());
    fs::write(dir.path().join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    let sign =
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names";
    openssl(dir.path(), &sign.split(' ').collect::<Vec<_>>());
    let (certificate, key) = if versions == "authority" { ("ca.pem", "ca.key") } else { ("server.pem", "server.key") };
    let mut child = Command::new("python3")
        .args(["-c", SERVER, certificate, key, versions])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("https://localhost:{}", port.trim());
    Some(TlsServer { child, url, authority: dir.path().join("ca.pem"), _dir: dir })
}

#[test]
fn a_named_authority_is_trusted_and_no_other() {
    let Some(server) = start("new") else { return };
    let home = Home::at(&server.url, "t");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("invalid peer certificate") && run.stderr.contains("SSL_CERT_FILE"), "{run}");
    assert!(home.statuses().is_empty());

    let home = home.set("SSL_CERT_FILE", server.authority.to_str().unwrap());
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(home.statuses(), ["active"]);
}

#[test]
fn an_authority_may_be_named_by_a_flag_or_a_profile() {
    let Some(server) = start("new") else { return };
    let authority = server.authority.to_str().unwrap();
    let home = Home::at(&server.url, "t");
    assert_eq!(home.run(SUBSCRIBE).code, 7);
    let run = home.run(SUBSCRIBE.iter().chain(&["--ca-file", authority]));
    assert_eq!(run.code, 0, "{run}");
    let home = Home::at(&server.url, "t");
    // With a byte order mark.
    let marked = [b"\xef\xbb\xbf", &*fs::read(authority).unwrap()].concat();
    fs::write(home.path().join("marked.pem"), marked).unwrap();
    assert_eq!(home.run(["config", "set", "ca_file", "marked.pem"]).code, 0);
    assert_eq!(home.run(SUBSCRIBE).code, 0);
    // It is that authority and no other: a flag for another one wins, and the server is not trusted.
    let Some(other) = start("new") else { return };
    let other = other.authority.to_str().unwrap();
    let refused = ["--ca-file", other, "--force"];
    assert_eq!(home.run(SUBSCRIBE.iter().chain(&refused)).code, 7);
}

#[test]
fn a_file_that_holds_no_authority_is_an_error() {
    let Some(server) = start("new") else { return };
    let home = Home::at("https://bf.invalid", "t");
    std::fs::copy(server.authority.with_file_name("ca.key"), home.path().join("key.pem")).unwrap();
    std::fs::write(home.path().join("text.pem"), "no certificate").unwrap();
    for file in ["key.pem", "text.pem", "none.pem", "/dev/null", ""] {
        let run = home.run(SUBSCRIBE.iter().copied().chain(["--ca-file", file]));
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("--ca-file"), "{run}");
    }
    assert!(home.statuses().is_empty());
}

#[test]
fn an_authority_is_no_server() {
    let Some(server) = start("authority") else { return };
    let home = Home::at(&server.url, "t");
    let run = home.run(SUBSCRIBE.iter().chain(&["--ca-file", server.authority.to_str().unwrap()]));
    assert_eq!(run.code, 7, "{run}");
    assert!(run.stderr.contains("presented a CA certificate") && run.stderr.contains("CA:TRUE"), "{run}");
}

#[test]
fn tls_before_1_2_is_refused() {
    let Some(server) = start("old") else { return };
    let home = Home::at(&server.url, "t").set("SSL_CERT_FILE", server.authority.to_str().unwrap());
    let run = home.run(SUBSCRIBE.iter().chain(&["--timeout", "4"]));
    assert_eq!(run.code, 7, "{run}");
    assert!(home.statuses().is_empty());
}

#[test]
fn an_authority_file_that_holds_none_is_an_error() {
    let home = Home::at("https://bf.invalid", "t").set("SSL_CERT_FILE", "/dev/null");
    let run = home.run(SUBSCRIBE);
    assert_eq!(run.code, 2, "{run}");
    assert!(run.stderr.contains("no certificate authority in SSL_CERT_FILE"), "{run}");
}
