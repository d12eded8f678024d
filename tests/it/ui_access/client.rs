//! The plainest of clients: what a test says is what is sent, and an answer is read until it ends.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct PageAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl PageAnswer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The header of requests with the cookie that is set.
    pub fn cookie(&self) -> Option<String> {
        let cookie = self.header("set-cookie")?.split(';').next().unwrap();
        Some(format!("cookie: {cookie}"))
    }
}

/// A connection that is not waited on for ever.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request after which the connection is to be closed. It names the address as host unless a header does.
pub fn request(address: &str, what: &str, headers: &[&str], body: &str) -> String {
    let mut lines = vec![format!("{what} HTTP/1.1"), "connection: close".to_owned()];
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        lines.push(format!("host: {address}"));
    }
    if !body.is_empty() || what.starts_with("POST") {
        lines.push(format!("content-length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

/// The whole answer to a request.
pub fn ask(address: &str, what: &str, headers: &[&str], body: &str) -> PageAnswer {
    send(address, request(address, what, headers, body).as_bytes())
}

/// The whole answer to these bytes.
pub fn send(address: &str, bytes: &[u8]) -> PageAnswer {
    let mut stream = connect(address);
    // The answer may be there before everything is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let shown = || String::from_utf8_lossy(bytes).chars().take(300).collect::<String>();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?} {text} to {}", shown()));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    PageAnswer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A stream that has said hello, or the status of what came instead.
pub fn stream(address: &str, headers: &[&str]) -> Result<TcpStream, u16> {
    stream_at(address, "/events/stream", headers)
}

/// The same below a path.
pub fn stream_at(address: &str, path: &str, headers: &[&str]) -> Result<TcpStream, u16> {
    let mut stream = connect(address);
    stream.write_all(request(address, &format!("GET {path}"), headers, "").as_bytes()).unwrap();
    let said = read_until(&mut stream, "\r\n\r\n");
    let status = said.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 {
        return Err(status);
    }
    if !said.contains("event: hello") {
        read_until(&mut stream, "event: hello");
    }
    Ok(stream)
}

/// Reads until this has come, or all.
pub fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(text) && stream.read(&mut byte).unwrap() > 0 {
        said.push(byte[0]);
    }
    String::from_utf8_lossy(&said).into_owned()
}
