//! ChromeDriver in a process of its own with one Chromium, and the WebDriver protocol to it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::PATIENCE;

/// Ends with everything that it began when this process lets go of it, even if that is killed.
const UNDER_WATCH: &str = "chromedriver --port=0 </dev/null & exec >&-; read -r _; kill -KILL 0";

/// How often ChromeDriver is started until it has a port.
const ATTEMPTS: usize = 5;

/// Chromium as a test wants it: at home nowhere but on this machine, and without protections of its own that would
/// hide that a server has none.
const FLAGS: [&str; 19] = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedMode,LocalNetworkAccessChecks,MediaRouter,OptimizationHints",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--lang=en-US",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
    "--no-proxy-server",
    "--password-store=basic",
];

/// One session of ChromeDriver's.
pub struct Driver {
    process: Child,
    /// Kept open: a write to a closed pipe would end ChromeDriver.
    _output: BufReader<ChildStdout>,
    /// Where it listens.
    host: String,
    session: String,
    /// The home of all of them.
    pub home: TempDir,
}

impl Driver {
    /// A browser to which these names are this machine's, and all others nobody's.
    pub fn start(hosts: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        // It wants the same port of IPv4 and of IPv6, and ends if somebody has one of them.
        let (process, output, port) =
            (0..ATTEMPTS).find_map(|_| Self::spawn(&home)).expect("ChromeDriver did not start");
        let host = format!("127.0.0.1:{port}");
        let mut driver = Self { process, _output: output, host, session: String::new(), home };
        let session = driver.call("POST", "", &driver.wanted(hosts)).unwrap();
        driver.session = format!("/{}", session["sessionId"].as_str().unwrap());
        driver
    }

    /// Starts ChromeDriver; `None` if it ends at once.
    fn spawn(home: &TempDir) -> Option<(Child, BufReader<ChildStdout>, u16)> {
        let mut process = Command::new("sh")
            .args(["-c", UNDER_WATCH])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs([("HOME", home.path()), ("TMPDIR", home.path())])
            .envs([("LANG", "C.UTF-8"), ("TZ", "UTC")])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let port = port(&mut output);
        if port.is_none() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        port.map(|port| (process, output, port))
    }

    /// What a new session is asked to be.
    fn wanted(&self, hosts: &[&str]) -> Value {
        let mut rules: Vec<String> = hosts.iter().map(|host| format!("MAP {host} 127.0.0.1")).collect();
        rules.extend(["MAP * ~NOTFOUND", "EXCLUDE localhost", "EXCLUDE 127.*"].map(str::to_owned));
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--host-resolver-rules={}", rules.join(" , ")));
        flags.push(format!("--user-data-dir={}", self.home.path().join("profile").display()));
        // Its sandbox is not for root.
        flags.extend(rustix::process::geteuid().is_root().then(|| "--no-sandbox".to_owned()));
        let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "pageLoad": patience, "script": patience },
            "goog:chromeOptions": { "args": flags, "perfLoggingPrefs": { "enableNetwork": true, "enablePage": false } },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } })
    }

    /// The answer to a command, or what it was refused with.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.send(method, path, body).map_err(|error| format!("ChromeDriver: {error}"))?;
        let answer: Value =
            serde_json::from_str(&answer).map_err(|error| format!("ChromeDriver: {error}: {answer}"))?;
        match (&answer["value"]["error"], &answer["value"]["message"]) {
            // What follows its first line are ChromeDriver's own functions.
            (Value::String(_), Value::String(message)) => Err(message.lines().next().unwrap_or_default().to_owned()),
            _ => Ok(answer["value"].clone()),
        }
    }

    /// The body of the answer. Fails without a panic, as it is also how a test that panics takes its leave.
    fn send(&self, method: &str, path: &str, body: &Value) -> io::Result<String> {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let (host, session, length) = (&self.host, &self.session, body.len());
        let mut stream = TcpStream::connect(host)?;
        // Longer than a command may take.
        stream.set_read_timeout(Some(PATIENCE * 2))?;
        write!(stream, "{method} /session{session}{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n")?;
        write!(stream, "content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")?;
        let (mut reader, mut length) = (BufReader::new(stream), 0);
        // It does not close the connection.
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            match header.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
                None if !header.starts_with("HTTP/") => break,
                _ => {}
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        String::from_utf8(answer).map_err(io::Error::other)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The browser leaves in order, as far as it can; what is left is killed.
        let _ = self.call("DELETE", "", &Value::Null);
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The port that ChromeDriver says it was given, unless it ends.
fn port(output: &mut impl BufRead) -> Option<u16> {
    let lines = output.lines().map_while(Result::ok);
    let mut ports =
        lines.filter_map(|line| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok());
    ports.next()
}
