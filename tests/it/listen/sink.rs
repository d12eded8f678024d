//! A target: it takes any number of calls at once and answers as the test says.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::support::{answer, read, wait_until};

/// A call that arrived.
#[derive(Debug, Clone)]
pub struct Call {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub at: Instant,
}

impl Call {
    pub fn header(&self, name: &str) -> &str {
        let known = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The id of its first event.
    pub fn id(&self) -> String {
        self.json()[0]["id"].as_str().unwrap().to_owned()
    }
}

pub struct Sink {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Sink {
    /// Answers with what the closure gives: the status line's end, and headers. It may take its time.
    pub fn start(script: impl Fn(usize, &Call) -> (&'static str, Vec<&'static str>) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub fn on(
        listener: TcpListener,
        script: impl Fn(usize, &Call) -> (&'static str, Vec<&'static str>) + Send + Sync + 'static,
    ) -> Self {
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let calls = Arc::<Mutex<Vec<Call>>>::default();
        let (log, script) = (Arc::clone(&calls), Arc::new(script));
        // Ends with the test's process: it holds nothing that needs an orderly end.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                std::thread::spawn(move || {
                    let Some(mut exchange) = read(stream) else { return };
                    let (line, headers) = (exchange.line.clone(), exchange.headers.clone());
                    let call = Call { line, headers, body: exchange.body.clone(), at: Instant::now() };
                    let before = {
                        let mut log = log.lock().unwrap();
                        log.push(call.clone());
                        log.len() - 1
                    };
                    let (status, headers) = script(before, &call);
                    exchange.send(answer(status, &headers, ""));
                });
            }
        });
        Self { url, calls }
    }

    pub fn always(status: &'static str) -> Self {
        Self::start(move |_, _| (status, Vec::new()))
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits until so many calls arrived, and gives them.
    pub fn wait_for(&self, count: usize) -> Vec<Call> {
        wait_until(&format!("{count} calls arrive"), || self.calls.lock().unwrap().len() >= count);
        self.calls()
    }

    /// The ids of the events that arrived, in the order of their arrival.
    pub fn arrivals(&self) -> Vec<String> {
        let of = |call: &Call| -> Vec<String> {
            let events = call.json();
            events.as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
        };
        self.calls.lock().unwrap().iter().flat_map(of).collect()
    }

    /// The same, each once.
    pub fn ids(&self) -> HashSet<String> {
        self.arrivals().into_iter().collect()
    }
}
