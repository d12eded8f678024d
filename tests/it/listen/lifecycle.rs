//! TLS, the service manager, sockets that are handed over.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::{Receiver, events, have, ids};
use crate::support::{Home, PATIENCE, wait_until};

/// A certificate for localhost, which is its own authority.
fn certificate(dir: &Path, name: &str) {
    let args = format!(
        "req -x509 -subj /CN={name} -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout {name}.key -out {name}.pem"
    );
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Calls over TLS, trusting one certificate; gives the status, or what went wrong.
fn curl(home: &Home, trusted: &str, receiver: &Receiver, path: &str, data: Option<&str>) -> String {
    let url = format!("https://{}{path}", receiver.address);
    let mut command = Command::new("curl");
    command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20", "--cacert", trusted, &url]);
    if let Some(data) = data {
        command.args(["-H", "content-type: application/json", "--data-binary", data]);
    }
    let output = command.current_dir(home.path()).env_remove("https_proxy").env("NO_PROXY", "*").output().unwrap();
    let status = String::from_utf8(output.stdout).unwrap();
    if output.status.success() { status } else { String::from_utf8_lossy(&output.stderr).into_owned() }
}

#[test]
fn tls_is_served_and_certificates_are_read_again() {
    if !have("openssl") || !have("curl") {
        return;
    }
    let home = Home::new();
    let dir = home.path();
    certificate(dir, "first");
    certificate(dir, "second");
    let install = |name: &str| {
        // The second has a byte order mark.
        let mark = if name == "second" { &b"\xef\xbb\xbf"[..] } else { b"" };
        for kind in ["pem", "key"] {
            let text = fs::read(dir.join(format!("{name}.{kind}"))).unwrap();
            fs::write(dir.join(format!("live.{kind}")), [mark, &text].concat()).unwrap();
        }
    };
    install("first");
    let args = ["--tls-cert", "live.pem", "--tls-key", "live.key", "--header-timeout", "2"];
    let receiver = Receiver::start(&home, &args);
    assert!(receiver.ready["url"].as_str().unwrap().starts_with("https://"));
    assert_eq!(curl(&home, "first.pem", &receiver, &receiver.path, Some(r#"[{"id":"1"}]"#)), "200");
    assert!(curl(&home, "second.pem", &receiver, "/healthz", None).contains("certificate"));

    install("second");
    // Nothing changes before it is told.
    assert_eq!(curl(&home, "first.pem", &receiver, "/healthz", None), "200");
    receiver.signal(Signal::HUP);
    wait_until("the new one is read", || receiver.log().contains("reloaded the certificate"));
    assert_eq!(curl(&home, "second.pem", &receiver, "/healthz", None), "200");
    assert!(curl(&home, "first.pem", &receiver, "/healthz", None).contains("certificate"));

    fs::write(dir.join("live.pem"), "broken").unwrap();
    receiver.signal(Signal::HUP);
    wait_until("it is told", || receiver.log().contains("the certificate was not reloaded"));
    assert_eq!(curl(&home, "second.pem", &receiver, "/healthz", None), "200");
    // A key of another certificate is as broken.
    install("second");
    fs::copy(dir.join("first.key"), dir.join("live.key")).unwrap();
    receiver.signal(Signal::HUP);
    wait_until("it is told", || receiver.log().matches("the certificate was not reloaded").count() == 2);
    assert_eq!(curl(&home, "second.pem", &receiver, &receiver.path, Some(r#"[{"id":"2"}]"#)), "200");
    // Who does not speak TLS, or says nothing at all, is cut off and holds nobody up, not even at the end.
    if let Some(reply) = super::call(&receiver.address, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n") {
        assert_eq!(reply.status, 400);
    }
    let mut half = super::client::connect(&receiver.address);
    std::io::Write::write_all(&mut half, b"\x16\x03\x01").unwrap();
    assert_eq!(ids(&home), ["1", "2"]);
    let (code, log) = receiver.end();
    assert_eq!(code, 0, "{log}");
    for (cert, key) in [("none.pem", "live.key"), ("first.key", "first.key"), ("first.pem", "second.key")] {
        let run = super::refused(&home, &["--tls-cert", cert, "--tls-key", key]);
        assert_eq!(run.code, 2, "{run}");
    }
}

#[test]
fn a_hangup_holds_nothing_up() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    receiver.signal(Signal::HUP);
    receiver.event("1");
    receiver.signal(Signal::HUP);
    receiver.event("2");
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn the_ready_file_is_there_while_it_serves() {
    let home = Home::new();
    let ready = home.path().join("ready.json");
    let receiver = Receiver::start(&home, &[]);
    // Another start by mistake takes nothing away from the one that runs.
    assert_eq!(super::refused(&home, &["--ready-file", "ready.json"]).code, 9);
    assert!(ready.exists());
    receiver.signal(Signal::KILL);
    receiver.wait();
    assert!(ready.exists());
    let run = home.run(["listen", "--listen", "192.0.2.1:1", "--ready-file", "ready.json"]);
    assert!(run.code == 7 && !ready.exists(), "{run}");
    for flag in ["--ready-file", "--sign-with"] {
        let run =
            home.run(["listen", "--listen", "127.0.0.1:0", "--forward-to", "http://127.0.0.1:9/x", flag, "no/dir"]);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(&format!("{flag} no/dir: there is no such directory")), "{run}");
    }
}

#[test]
fn the_service_manager_is_told() {
    let home = Home::new();
    let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let path = home.path().join("notify").to_str().unwrap().to_owned();
    let home = home.set("NOTIFY_SOCKET", &path);
    let receiver = Receiver::start(&home, &[]);
    assert_eq!(next(), "READY=1");
    receiver.event("1");
    receiver.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1");
    assert_eq!(receiver.wait().0, 0);
    // It is not ready when it is not.
    let run = home.run(["listen", "--listen", "192.0.2.1:1"]);
    assert_ne!(run.code, 0, "{run}");
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(socket.recv(&mut [0; 10]).is_err());
}

#[test]
fn the_watchdog_is_answered() {
    let home = Home::new();
    let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = home.path().join("notify").to_str().unwrap().to_owned();
    let home = home.set("NOTIFY_SOCKET", &path).set("WATCHDOG_USEC", "100000");
    let receiver = Receiver::start(&home, &[]);
    let next = || {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let said: Vec<_> = (0..3).map(|_| next()).collect();
    assert!(
        said.contains(&"READY=1".to_owned()) && said.iter().filter(|line| *line == "WATCHDOG=1").count() == 2,
        "{said:?}"
    );
    assert_eq!(receiver.end().0, 0);
}

/// A service manager in small: opens the sockets, passes them on from the third file on, and becomes the receiver.
const MANAGER: &str = r#"
import os, socket, sys
kinds = sys.argv[1].split(",")
opened = []
for kind in kinds:
    if kind == "unix":
        one = socket.socket(socket.AF_UNIX); one.bind("unix.sock"); one.listen()
    elif kind == "udp":
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("127.0.0.1", 0))
    else:
        one = socket.create_server(("127.0.0.1", 0))
    opened.append(one)
for index, one in enumerate(opened):
    os.dup2(one.fileno(), 50 + index)
for index in range(len(opened)):
    os.dup2(50 + index, 3 + index)
    os.set_inheritable(3 + index, True)
os.closerange(3 + len(opened), 100)
open("port", "w").write(" ".join(str(s.getsockname()[1]) for s in [socket.socket(fileno=os.dup(3 + i)) for i in range(len(opened))] if s.family == socket.AF_INET))
os.environ.update(LISTEN_FDS=str(len(opened)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(kinds))
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[test]
fn all_sockets_are_served_or_the_start_is_refused() {
    if !have("python3") {
        return;
    }
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let manager = |kinds: &str, args: &[&str]| {
        let mut command = Receiver::command_of(&["python3", "-c", MANAGER, kinds], &home, args);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command
    };
    let fds = "cat >/dev/null; ls -l /proc/self/fd > fds.new; env > env; mv fds.new fds";
    let receiver = Receiver::of(&home, manager("tcp,tcp", &["--exec", fds, "--shell"]));
    let ports = fs::read_to_string(home.path().join("port")).unwrap();
    let ports: Vec<_> = ports.split(' ').collect();
    assert_eq!((ports.len(), &receiver.address), (2, &format!("127.0.0.1:{}", ports[0])));
    for (index, port) in ports.iter().enumerate() {
        let body = format!(r#"[{{"id":"{index}"}}]"#);
        let request = super::request(&format!("POST {}", receiver.path), &[], body.as_bytes());
        assert_eq!(super::call(&format!("127.0.0.1:{port}"), &request).unwrap().status, 200, "{port}");
    }
    wait_until("both are forwarded", || events(&home).iter().all(|event| event.state.as_str() == "forwarded"));
    let fds = fs::read_to_string(home.path().join("fds")).unwrap();
    assert!(!fds.contains("socket:"), "{fds}");
    assert!(!fs::read_to_string(home.path().join("env")).unwrap().contains("LISTEN_"));
    assert_eq!(receiver.end().0, 0);
    for kinds in ["tcp,unix", "udp", "tcp,udp"] {
        let run = crate::support::Run::of(manager(kinds, &[]).output().unwrap());
        assert_eq!(run.code, 2, "{kinds}: {run}");
        assert!(run.stderr.contains("socket ") && run.stderr.contains("of the service manager"), "{kinds}: {run}");
        let _ = fs::remove_file(home.path().join("unix.sock"));
    }
}

#[test]
fn a_socket_may_be_handed_over() {
    if !have("python3") {
        return;
    }
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let fds = "cat >/dev/null; ls -l /proc/self/fd > fds.new; env > env; mv fds.new fds";
    let mut command = Receiver::command_of(&["python3", "-c", MANAGER, "tcp"], &home, &["--exec", fds, "--shell"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let receiver = Receiver::of(&home, command);
    let port = fs::read_to_string(home.path().join("port")).unwrap();
    assert_eq!(receiver.address, format!("127.0.0.1:{port}"));
    receiver.event("1");
    wait_until("it is handed on", || events(&home)[0].state.as_str() == "forwarded");
    // Commands get neither the socket nor what says that there is one.
    let fds = fs::read_to_string(home.path().join("fds")).unwrap();
    let sockets = fds.lines().filter(|line| line.contains("socket:"));
    assert_eq!(sockets.count(), 0, "{fds}");
    assert!(!fs::read_to_string(home.path().join("env")).unwrap().contains("LISTEN_"));
    assert_eq!(receiver.end().0, 0);
}
