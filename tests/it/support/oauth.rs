//! A real OAuth 2 server (`oidc-provider`, which is not ours) in the place of Bugfender's; see `tests/oauth/`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{have, http_get, http_post, is_there};

pub struct OauthServer {
    pub url: String,
    child: Child,
}

impl Drop for OauthServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OauthServer {
    /// Nothing where Node.js or the server's packages are not installed (in CI that is a failure).
    pub fn start() -> Option<Self> {
        Self::with(&json!({}))
    }

    pub fn with(options: &Value) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth");
        let installed = folder.join("node_modules/.package-lock.json").exists();
        if !have("node") || !is_there(installed, "the OAuth server (`npm ci` in tests/oauth)") {
            return None;
        }
        let mut child = Command::new("node")
            .arg(folder.join("server.mjs"))
            .args(["--options", &options.to_string()])
            // It ends when this does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: Value = serde_json::from_str(&ready).unwrap();
        Some(Self { url: ready["url"].as_str().unwrap().to_owned(), child })
    }

    /// The requests so far to a path that begins so.
    pub fn requests(&self, path: &str) -> Vec<Value> {
        let all: Vec<Value> = serde_json::from_str(&http_get(&format!("{}/control/requests", self.url))).unwrap();
        all.into_iter().filter(|request| request["path"].as_str().unwrap().starts_with(path)).collect()
    }

    /// How the token requests of a grant were answered.
    pub fn grants(&self, grant: &str) -> Vec<i64> {
        let of_grant = |request: &Value| request["grant_type"] == grant;
        let requests = self.requests("/auth/token");
        requests
            .iter()
            .filter(|request| of_grant(request))
            .map(|request| request["status"].as_i64().unwrap_or(-1))
            .collect()
    }

    /// Ends every access token; refresh tokens stay good.
    pub fn revoke_access(&self) {
        http_post(&format!("{}/control/revoke-access", self.url), "");
    }

    /// Denies the next authorization.
    pub fn deny(&self) {
        http_post(&format!("{}/control/deny", self.url), "");
    }

    /// Makes the next token request go wrong: `503`, `drop-before`, `drop-after` or `hang`.
    pub fn fault(&self, kind: &str) {
        http_post(&format!("{}/control/token-fault", self.url), &json!({"kind": kind, "times": 1}).to_string());
    }

    /// Drops the requests that hang.
    pub fn release(&self) {
        http_post(&format!("{}/control/release", self.url), "");
    }
}
