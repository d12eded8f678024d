//! A proxy that stands between a receiver and its server, cuts the connection where a test says, or makes the server slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::postgres::Server;
use crate::support::wait_until;

/// When a connection is cut off that sends a certain statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Before the server gets the statement.
    Before,
    /// When the server has committed it, and before its answer gets back.
    Committed,
}

#[derive(Default)]
struct Cutter {
    /// The cuts that come next, the last one first, each with a part of the statement that is waited for.
    armed: Mutex<Vec<(Cut, &'static str)>>,
    cuts: AtomicUsize,
    /// How much later answers get back.
    latency: Duration,
}

/// The proxy. It serves until the tests end.
pub struct CutProxy {
    port: u16,
    cutter: Arc<Cutter>,
}

impl CutProxy {
    pub fn start(server: &Server) -> Self {
        Self::slow(server, Duration::ZERO)
    }

    /// One behind which the server's answers come this much later.
    pub fn slow(server: &Server, latency: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, target) = (listener.local_addr().unwrap().port(), server.port());
        let cutter = Arc::new(Cutter { latency, ..Cutter::default() });
        let shared = Arc::clone(&cutter);
        // Ends with the test's process: it holds nothing that needs an orderly end.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away is one that closes the connection.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", target)) {
                    shared.serve(client, server);
                }
            }
        });
        Self { port, cutter }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next connection that sends a statement with this in it, and then those that follow.
    pub fn arm(&self, cuts: &[Cut], statement: &'static str) {
        let cuts = cuts.iter().rev().map(|cut| (*cut, statement));
        self.cutter.armed.lock().unwrap().extend(cuts);
    }

    /// Waits until it has cut off connections so often since its start.
    pub fn wait_for_cuts(&self, number: usize) {
        wait_until("a connection is cut off", || self.cutter.cuts.load(Ordering::Relaxed) >= number);
    }
}

impl Cutter {
    fn serve(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        // From now on the server's answers are kept back, until it has committed.
        let keeps_back = Arc::new(AtomicBool::new(false));
        let (cutter, kept) = (Arc::clone(self), Arc::clone(&keeps_back));
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || cutter.pass_statements(from, to, &kept));
        let cutter = Arc::clone(self);
        std::thread::spawn(move || cutter.pass_answers(server, client, &keeps_back));
    }

    fn pass_statements(&self, mut client: TcpStream, mut server: TcpStream, keeps_back: &AtomicBool) {
        // The end of what came before: a statement may come in parts.
        let mut tail = Vec::new();
        while let Some(chunk) = chunk(&mut client) {
            tail.extend_from_slice(&chunk);
            let mut armed = self.armed.lock().unwrap();
            let found = armed.pop_if(|(_, statement)| contains(&tail, statement.as_bytes()));
            drop(armed);
            tail.drain(..tail.len().saturating_sub(100));
            match found {
                Some((Cut::Before, _)) => {
                    self.cut(&client, &server);
                    return;
                }
                Some((Cut::Committed, _)) => keeps_back.store(true, Ordering::SeqCst),
                None => {}
            }
            if server.write_all(&chunk).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn pass_answers(&self, mut server: TcpStream, mut client: TcpStream, keeps_back: &AtomicBool) {
        let mut kept = Vec::new();
        while let Some(chunk) = chunk(&mut server) {
            std::thread::sleep(self.latency);
            if keeps_back.load(Ordering::SeqCst) {
                kept.extend_from_slice(&chunk);
                if contains(&kept, b"COMMIT\0") {
                    self.cut(&client, &server);
                    return;
                }
            } else if client.write_all(&chunk).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    fn cut(&self, client: &TcpStream, server: &TcpStream) {
        for stream in [client, server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

fn chunk(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 64 * 1024];
    let length = stream.read(&mut bytes).ok().filter(|length| *length > 0)?;
    bytes.truncate(length);
    Some(bytes)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
