//! What can be seen of a page from outside: its requests, its errors, how it looks, and whom it shuts out.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Browser, axe, string};

/// Keeps the longest task in a variable of the page.
const WATCH: &str = "if (!window.longTasks) {
    const keep = entries => {
        for (const { duration } of entries) window.longTasks.longest = Math.max(window.longTasks.longest, duration);
    };
    const observer = new PerformanceObserver(list => keep(list.getEntries()));
    window.longTasks = { longest: 0, read() { keep(observer.takeRecords()); return this.longest; } };
    observer.observe({ type: 'longtask', buffered: true });
}";

/// A line for every element that breaks a rule of the WCAG up to 2.2, level AA.
const CHECK: &str = "const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const options = { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] };
    const line = (rule, node) => `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary.replace(/\\s+/g, ' ')}`;
    return axe.run(document, options)
        .then(({ violations }) => violations.flatMap(rule => rule.nodes.map(node => line(rule, node))));";

impl Browser {
    fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", &json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// Every error on the consoles of the pages so far: of scripts, of the network, of a security policy.
    pub fn console_errors(&self) -> Vec<String> {
        let mut errors = self.errors.lock().unwrap();
        let new = self.log("browser");
        errors.extend(new.iter().filter(|entry| entry["level"] == "SEVERE").map(|entry| string(&entry["message"])));
        errors.clone()
    }

    /// Every URL that the pages asked for so far, whether or not the request left the browser; without `data:`, which
    /// asks nobody.
    pub fn requests(&self) -> Vec<String> {
        let mut requests = self.requests.lock().unwrap();
        for entry in self.log("performance") {
            let event: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let (method, params) = (&event["message"]["method"], &event["message"]["params"]);
            let url = match method.as_str().unwrap() {
                "Network.requestWillBeSent" => &params["request"]["url"],
                "Network.webSocketCreated" | "Network.webTransportCreated" => &params["url"],
                _ => continue,
            };
            requests.push(string(url));
        }
        // The page that a browser shows at first is its own.
        requests.retain(|url| !url.starts_with("chrome:") && !url.starts_with("data:"));
        requests.clone()
    }

    /// Watches how long the main thread is busy at a time, on this page and on those that are opened after it.
    pub fn watch_long_tasks(&self) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": WATCH }));
        self.execute(WATCH, &json!([]));
    }

    /// The longest time in milliseconds that the main thread of the page was busy; 0 if none was above 50.
    pub fn longest_task_ms(&self) -> f64 {
        self.eval("window.longTasks.read()").as_f64().expect("long tasks are not watched")
    }

    /// What on the page shuts people out, as lines of rule, element and reason.
    pub fn accessibility_violations(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(axe()).unwrap();
        let lines = self.execute(&format!("{axe}\n{CHECK}"), &json!([]));
        lines.as_array().unwrap().iter().map(string).collect()
    }

    /// Keeps a picture of what the window shows as `target/screenshots/NAME.png`, and gives where.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, BASE64_STANDARD.decode(string(&self.get("/screenshot"))).unwrap()).unwrap();
        file
    }
}
