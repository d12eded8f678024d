//! The plainest of HTTP clients: bytes out, bytes in.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A request after which the connection is to be closed.
pub fn request(what: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let (mut head, length) = (format!("{what} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"), body.len());
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if what.starts_with("POST") {
        head = format!("{head}content-length: {length}\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes; `None` when no whole answer comes.
pub fn call(address: &str, bytes: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The answer may be there before everything is sent.
    let _ = stream.write_all(bytes);
    read_reply(&mut stream)
}

/// Reads an answer; `None` when the connection ends before it is whole.
pub fn read_reply(stream: &mut impl Read) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut reply = Reply { status, head, body: String::new() };
    let mut body = vec![0; reply.header("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    reply.body = String::from_utf8(body).unwrap();
    Some(reply)
}
