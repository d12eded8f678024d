//! A server that does exactly what a test says, byte by byte; and the plainest of clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came over the wire, and the connection to answer on.
pub struct Exchange {
    /// Method and path.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub stream: TcpStream,
}

impl Exchange {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A client that has left is part of many a test.
        let _ = self.stream.write_all(bytes.as_ref());
        let _ = self.stream.flush();
    }
}

/// A whole answer, after which the connection closes.
pub fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let length = format!("content-length: {}", body.len());
    let head = [&["connection: close", &length], headers].concat().join("\r\n");
    format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")
}

/// A server whose answers are a closure's, given how many requests came before. One connection, one request.
pub struct Scripted {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub fn start(mut script: impl FnMut(usize, &mut Exchange) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        // Ends with the test's process: it holds nothing that needs an orderly end.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(mut exchange) = stream.ok().and_then(read) else { continue };
                let before = {
                    let mut log = log.lock().unwrap();
                    log.push(exchange.line.clone());
                    log.len() - 1
                };
                script(before, &mut exchange);
            }
        });
        Self { url, seen }
    }

    /// Always the same answer.
    pub fn always(response: String) -> Self {
        Self::start(move |_, exchange| exchange.send(&response))
    }

    /// Method and path of every request so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// Reads one request.
pub fn read(stream: TcpStream) -> Option<Exchange> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let line = first.rsplit_once(' ')?.0.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Exchange { line, headers, body: String::from_utf8(body).ok()?, stream })
}

/// The body of an answer to GET, which must be 200.
pub fn http_get(url: &str) -> String {
    exchange(url, "GET", "")
}

/// The body of an answer to POST, which must be a success.
pub fn http_post(url: &str, body: &str) -> String {
    exchange(url, "POST", body)
}

fn exchange(url: &str, method: &str, body: &str) -> String {
    let response = http_request(method, url, &[], body);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.split(' ').nth(1).unwrap().starts_with('2'), "{response}");
    body.to_owned()
}

/// The whole answer to a request.
pub fn http_request(method: &str, url: &str, headers: &[&str], body: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let own = format!("host: {host}\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    let headers = [&[own.as_str()], headers].concat();
    write!(stream, "{method} /{path} HTTP/1.0\r\n{}\r\n\r\n{body}", headers.join("\r\n")).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
