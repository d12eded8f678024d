//! A site of pages that a test writes itself.

use std::net::TcpListener;
use std::sync::Arc;

use super::super::{Exchange, read};

/// A server for browsers: they open connections ahead of need, so that each has a thread here.
pub struct Site {
    pub port: u16,
    pub url: String,
}

impl Site {
    /// `serve` answers a request; the connection closes as it returns, unless it keeps the stream.
    pub fn start(serve: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = Arc::new(serve);
        // Ends with the test's process: it holds nothing that needs an orderly end.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || read(stream).map(|exchange| serve(exchange)));
            }
        });
        Self { port: address.port(), url: format!("http://{address}") }
    }
}
