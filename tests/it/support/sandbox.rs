//! A sandbox in a thread of its own.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use bugfender_hooks::sandbox::{Sandbox, SandboxOptions};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{http_get, http_post, http_request};

pub struct SandboxServer {
    pub url: String,
    pub token: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SandboxServer {
    pub fn start() -> Self {
        Self::with_faults(&[])
    }

    pub fn with_faults(faults: &[&str]) -> Self {
        let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        Self::with(SandboxOptions { faults, ..SandboxOptions::default() })
    }

    /// A sandbox whose answers take at least this many milliseconds.
    pub fn slow(milliseconds: u64) -> Self {
        Self::with(SandboxOptions { latency: Duration::from_millis(milliseconds), ..SandboxOptions::default() })
    }

    pub fn with(options: SandboxOptions) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
                let sandbox = Sandbox::bind(address, options).await.unwrap();
                ready.send((sandbox.url(), sandbox.token())).unwrap();
                sandbox.serve(async { drop(stopped.await) }).await;
            });
        });
        let (url, token) = is_ready.recv().unwrap();
        Self { url, token, stop: Some(stop), thread: Some(thread) }
    }

    fn get(&self, what: &str) -> Vec<Value> {
        let body = http_get(&format!("{}/sandbox/{what}", self.url));
        serde_json::from_str(&body).unwrap()
    }

    pub fn hooks(&self) -> Vec<Value> {
        self.get("hooks")
    }

    pub fn deliveries(&self) -> Vec<Value> {
        self.get("deliveries")
    }

    /// The API requests so far that begin so, such as `POST /api/hook`.
    pub fn requests(&self, start: &str) -> Vec<Value> {
        let line = |request: &Value| format!("{} {}", request["method"], request["path"]).replace('"', "");
        self.get("requests").into_iter().filter(|request| line(request).starts_with(start)).collect()
    }

    /// Status, head and body of an answer of the API to a signed-in GET.
    pub fn api(&self, path: &str) -> (u16, String, Value) {
        let authorization = format!("authorization: Bearer {}", self.token);
        let response = http_request("GET", &format!("{}{path}", self.url), &[&authorization], "");
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap())
    }

    /// The status of the answer to an order about a hook: `deactivate` or `forget`.
    pub fn order(&self, hook: &str, what: &str) -> u16 {
        let response = http_request("POST", &format!("{}/sandbox/hooks/{hook}/{what}", self.url), &[], "");
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn emit(&self, body: &Value) -> Value {
        serde_json::from_str(&http_post(&format!("{}/sandbox/emit", self.url), &body.to_string())).unwrap()
    }
}

impl Drop for SandboxServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
