//! `--self-check`: what is between the receiver and the internet is seen to work, and to fail.

use std::fs;
use std::io::{Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Receiver, call, refused, request};
use crate::support::{Exchange, Home, Scripted, answer, free_address, have, http_get, wait_until};

const FAILS: &str = "WARN bugfender_hooks::receiver::self_check: the self-check is failing";
const RECOVERED: &str = "the self-check has recovered";

/// A tunnel to a receiver, at an address that is known before it is there.
struct Tunnel {
    address: SocketAddr,
    open: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Tunnel {
    fn closed() -> Self {
        Self { address: free_address(), open: None }
    }

    fn open(&mut self, receiver: &Receiver) {
        let (listener, target) = (TcpListener::bind(self.address).unwrap(), receiver.address.clone());
        let ends = Arc::<AtomicBool>::default();
        let told = Arc::clone(&ends);
        let serving = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                pass(client, TcpStream::connect(&target).unwrap());
            }
        });
        self.open = Some((ends, serving));
    }

    /// From now on connections to it are refused.
    fn close(&mut self) {
        let (ends, serving) = self.open.take().unwrap();
        ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address).unwrap());
        serving.join().unwrap();
    }
}

/// Passes on what both sides send.
fn pass(client: TcpStream, server: TcpStream) {
    let both = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
    for (mut from, mut to) in both {
        std::thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

/// What the receiver says of its check.
fn told(receiver: &Receiver) -> Value {
    let admin = receiver.ready["admin_url"].as_str().unwrap();
    // The answer is 200 whatever the check finds.
    let ready: Value = serde_json::from_str(&http_get(&format!("{admin}/readyz"))).unwrap();
    assert_eq!(ready["ready"], true, "{ready}");
    ready["self_check"].clone()
}

fn wait_for(receiver: &Receiver, state: &str, reason: &str) -> Value {
    let mut last = Value::Null;
    wait_until(&format!("{state}: {reason}"), || {
        last = told(receiver);
        last["state"] == state && last["reason"].as_str().unwrap_or_default().contains(reason)
    });
    last
}

/// How often something is in the log.
fn logged(receiver: &Receiver, text: &str) -> usize {
    receiver.log().matches(text).count()
}

/// Has it check again, and waits until it has.
fn check_again(receiver: &Receiver, outcome: &str) {
    let before = logged(receiver, outcome);
    receiver.signal(Signal::HUP);
    wait_until(outcome, || logged(receiver, outcome) > before);
}

#[test]
fn a_tunnel_that_ends_is_told_of_once_and_so_is_its_return() {
    let home = Home::new();
    let mut tunnel = Tunnel::closed();
    let url = format!("http://{}", tunnel.address);
    let receiver = Receiver::start(&home, &["--public-url", &url, "--self-check", "10s", "-vv"]);
    assert_eq!(told(&receiver), json!({"state": "unknown", "since": null, "reason": null}));
    let passing = || {
        receiver
            .get("/metrics")
            .body
            .lines()
            .find_map(|line| line.strip_prefix("bugfender_hooks_self_check_passing ")?.parse::<u64>().ok())
    };
    assert_eq!(passing(), None);
    let failing = wait_for(&receiver, "failing", "could not connect");
    assert!(failing["reason"].as_str().unwrap().starts_with(&format!("{url}: ")), "{failing}");
    assert_eq!(passing(), Some(0));
    // A further failure is none to be told of.
    check_again(&receiver, "a self-check failed");
    assert_eq!(told(&receiver)["since"], failing["since"]);
    assert_eq!((logged(&receiver, FAILS), logged(&receiver, RECOVERED)), (1, 0));

    tunnel.open(&receiver);
    check_again(&receiver, "a self-check passed");
    let passes = wait_for(&receiver, "passing", "");
    assert!(passes["reason"].is_null() && passes["since"].as_str().unwrap() >= failing["since"].as_str().unwrap());
    assert_eq!(passing(), Some(1));
    // A new key is the key of the next check.
    let key = home.run(["listen", "--rotate-key", "--keep-old-key", "0", "--public-url", &url]);
    assert_eq!(key.code, 0, "{key}");
    check_again(&receiver, "a self-check passed");
    assert_eq!((logged(&receiver, FAILS), logged(&receiver, RECOVERED)), (1, 1));

    tunnel.close();
    check_again(&receiver, "a self-check failed");
    wait_for(&receiver, "failing", "could not connect");
    assert_eq!(logged(&receiver, FAILS), 2);
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("check the name in DNS, and that the proxy or tunnel"), "{log}");
    for secret in [key.stdout.trim().rsplit('/').next().unwrap(), "/bugfender/", "self-check-"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

/// What a proxy does with a request.
#[derive(Clone)]
enum Conduct {
    Forward,
    Answer(String),
}

/// A proxy below whose path `/in` a receiver is.
struct Proxy {
    server: Scripted,
    conduct: Arc<Mutex<Conduct>>,
    receiver: Arc<OnceLock<String>>,
    /// The last request, as the receiver gets it.
    last: Arc<Mutex<String>>,
}

impl Proxy {
    fn start(conduct: Conduct) -> Self {
        let (conduct, receiver) = (Arc::new(Mutex::new(conduct)), Arc::<OnceLock<String>>::default());
        let last = Arc::<Mutex<String>>::default();
        let (now, to, seen) = (Arc::clone(&conduct), Arc::clone(&receiver), Arc::clone(&last));
        let server = Scripted::start(move |_, exchange| {
            let conduct = now.lock().unwrap().clone();
            match conduct {
                Conduct::Answer(answer) => exchange.send(answer),
                Conduct::Forward => {
                    let text = forwarded(exchange);
                    seen.lock().unwrap().clone_from(&text);
                    let reply = call(to.wait(), text.as_bytes()).unwrap();
                    exchange.send(reply.head + &reply.body);
                }
            }
        });
        Self { server, conduct, receiver, last }
    }

    fn url(&self) -> String {
        format!("{}/in", self.server.url)
    }
}

/// A request as a proxy passes it on.
fn forwarded(exchange: &Exchange) -> String {
    let line = exchange.line.replacen(" /in/", " /", 1);
    let headers: Vec<String> = exchange.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let headers = headers.join("\r\n");
    format!(
        "{line} HTTP/1.1\r\n{headers}\r\nconnection: close\r\nx-forwarded-for: 203.0.113.7\r\n\r\n{}",
        exchange.body
    )
}

#[test]
fn a_proxy_that_answers_by_itself_is_not_the_receiver() {
    let home = Home::new();
    let proxy = Proxy::start(Conduct::Forward);
    let args = ["--public-url", &proxy.url(), "--self-check", "10s", "--allow-from", "10.0.0.0/8", "--trust-proxy"];
    let receiver = Receiver::start(&home, &[&args[..], &["-vv"]].concat());
    proxy.receiver.set(receiver.address.clone()).unwrap();
    // Though the address is not one that deliveries are accepted from.
    wait_for(&receiver, "passing", "");
    let page = answer("200 OK", &["content-type: text/html"], "<h1>Sign in to the Wi-Fi</h1>");
    let shaped = answer("200 OK", &["content-type: application/json"], &format!(r#"{{"self_check":"{:064}"}}"#, 0));
    for (reply, reason) in [
        (answer("404 Not Found", &[], "404 page not found"), "HTTP 404 instead of"),
        (page, "something else answered in the receiver's place (HTTP 200)"),
        (shaped, "something else answered in the receiver's place (HTTP 200)"),
        (answer("502 Bad Gateway", &[], ""), "HTTP 502"),
        (
            answer("302 Found", &["location: https://sso.example/s3cret"], ""),
            "redirects to https://sso.example/… (HTTP 302)",
        ),
    ] {
        *proxy.conduct.lock().unwrap() = Conduct::Answer(reply);
        check_again(&receiver, "a self-check failed");
        wait_for(&receiver, "failing", reason);
    }
    assert_eq!((logged(&receiver, FAILS), logged(&receiver, RECOVERED)), (1, 0));
    *proxy.conduct.lock().unwrap() = Conduct::Forward;
    check_again(&receiver, "a self-check passed");
    wait_for(&receiver, "passing", "");
    let seen = proxy.server.seen();
    let start = "POST /in/bugfender/self-check-";
    assert!(seen.iter().all(|line| line.len() == start.len() + 22 && line.starts_with(start)), "{seen:?}");
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());

    // What the proxy saw proves nothing for another request.
    let request = proxy.last.lock().unwrap().clone();
    let other = request.replacen("self-check-", "self-check-A", 1);
    assert_eq!(call(&receiver.address, request.as_bytes()).unwrap().status, 200);
    assert_eq!(call(&receiver.address, other.as_bytes()).unwrap().status, 403);
    let log = receiver.end().1;
    assert_eq!((log.matches(FAILS).count(), log.matches(RECOVERED).count()), (1, 1), "{log}");
    for secret in ["/in", "/bugfender/self", "s3cret"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn who_cannot_prove_it_finds_nothing_there() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &[]);
    let path = "POST /bugfender/self-check-AAAAAAAAAAAAAAAAAAAAAA";
    let now = jiff::Timestamp::now().as_second();
    let forged = format!("x-bugfender-hooks-self-check: {now} {:064}", 0);
    let headers: [&[&str]; 4] =
        [&[], &["x-bugfender-hooks-self-check:"], &["x-bugfender-hooks-self-check: 1 00"], &[&forged]];
    let unknown = receiver.post_to("/bugfender/wrong", &[], "[]");
    for headers in headers {
        let reply = call(&receiver.address, &request(path, headers, b"[]")).unwrap();
        assert_eq!((reply.status, &reply.body), (404, &unknown.body), "{headers:?}");
    }
    assert_eq!(receiver.metric("bugfender_hooks_rejected_calls_total{reason=\"path\"}"), 5);
    assert!(receiver.get("/readyz").json().get("self_check").is_none());
    assert_eq!(receiver.end().0, 0);
}

#[test]
fn another_receiver_with_the_same_key_may_answer_and_one_with_its_own_may_not() {
    let homes = [Home::new(), Home::new(), Home::new()];
    let proxy = Proxy::start(Conduct::Forward);
    let key = homes[0].path().join("key");
    let key = key.to_str().unwrap();
    let [this, peer, stranger] = &homes;
    let peer = Receiver::start(peer, &["--key-file", key]);
    let args = ["--key-file", key, "--public-url", &proxy.url(), "--self-check", "10s", "-vv"];
    let receiver = Receiver::start(this, &args);
    proxy.receiver.set(peer.address.clone()).unwrap();
    wait_for(&receiver, "passing", "");

    let stranger = Receiver::start(stranger, &[]);
    let moved = Proxy::start(Conduct::Forward);
    moved.receiver.set(stranger.address.clone()).unwrap();
    let args = ["--key-file", key, "--public-url", &moved.url(), "--self-check", "10s"];
    assert_eq!(receiver.end().0, 0);
    let receiver = Receiver::start(this, &args);
    wait_for(&receiver, "failing", "HTTP 404 instead of");
    assert_eq!(receiver.end().0, 0);
}

fn openssl(dir: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a certificate for `names` by an authority in `ca.pem`, for so many days: for none, it has expired a second later.
fn certificate(dir: &Path, names: &str, days: u32) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    if !dir.join("ca.pem").exists() {
        openssl(dir, &format!("req -x509 -subj /CN=authority -keyout ca.key -out ca.pem -days 9 {key}"));
    }
    openssl(dir, &format!("req -subj /CN=receiver -keyout live.key -out live.csr {key}"));
    fs::File::create(dir.join("names")).unwrap().write_all(format!("subjectAltName={names}").as_bytes()).unwrap();
    let sign = "x509 -req -in live.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out live.pem -extfile names";
    openssl(dir, &format!("{sign} -days {days}"));
}

#[test]
fn a_certificate_that_senders_do_not_accept_is_a_failure() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    let mut tunnel = Tunnel::closed();
    let names = format!("IP:{}", tunnel.address.ip());
    certificate(home.path(), &names, 0);
    let url = format!("https://{}", tunnel.address);
    let fixed = ["--public-url", &url, "--self-check", "10s", "--admin-listen", "127.0.0.1:0", "-vv"];
    let tls = ["--tls-cert", "live.pem", "--tls-key", "live.key"];
    let receiver = Receiver::start(&home, &[&fixed[..], &tls, &["--ca-file", "ca.pem"]].concat());
    tunnel.open(&receiver);
    wait_for(&receiver, "failing", "certificate expired");
    certificate(home.path(), &names, 2);
    check_again(&receiver, "a self-check passed");
    wait_for(&receiver, "passing", "");
    // A certificate of another name.
    certificate(home.path(), "DNS:other.example", 2);
    check_again(&receiver, "a self-check failed");
    wait_for(&receiver, "failing", "certificate not valid for name");
    tunnel.close();
    let log = receiver.end().1;
    assert!(log.contains("; renew the certificate of the server"), "{log}");

    // By an authority that nobody knows.
    let receiver = Receiver::start(&home, &[&fixed[..], &tls].concat());
    tunnel.open(&receiver);
    wait_for(&receiver, "failing", "invalid peer certificate: UnknownIssuer");
    assert!(receiver.end().1.contains("pass its PEM file with --ca-file"));
}

#[test]
fn what_cannot_be_checked_is_refused_at_the_start() {
    let home = Home::new();
    let url = ["--public-url", "https://hooks.example.com"];
    for (args, said) in [
        (&["--self-check", "5m"][..], "--public-url"),
        (&[&url[..], &["--self-check", "9s"]].concat(), "the shortest is 10s"),
        (&[&url[..], &["--self-check", "5m", "--ca-file", "none.pem"]].concat(), "none.pem"),
    ] {
        let run = refused(&home, args);
        assert!(run.code == 2 && run.stderr.contains(said), "{run}");
    }
}
