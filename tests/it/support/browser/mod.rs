//! A real browser: Chromium, driven through the WebDriver protocol.

mod conditions;
mod driver;
mod site;
mod watch;

pub use site::Site;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, have, is_there};
use driver::Driver;

/// The name that the protocol gives to elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a profile of its own. It reaches no other machine. Methods fail the test if what they ask for is not
/// there; selectors are CSS.
pub struct Browser {
    driver: Driver,
    /// What was reported so far, as each report comes only once.
    requests: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
}

impl Browser {
    /// Nothing where the browser, its driver or what the tests run in it are not installed (in CI that is a failure).
    pub fn start() -> Option<Self> {
        Self::with_hosts(&[])
    }

    /// A browser to which this name is this machine's, as it is in an attack by DNS rebinding.
    pub fn with_host(host: &str) -> Option<Self> {
        Self::with_hosts(&[host])
    }

    fn with_hosts(hosts: &[&str]) -> Option<Self> {
        let installed = have("chromium") && have("chromedriver");
        if !installed || !is_there(axe().exists(), "axe-core (`npm ci` in tests/browser)") {
            return None;
        }
        Some(Self { driver: Driver::start(hosts), requests: Mutex::default(), errors: Mutex::default() })
    }

    /// Where it keeps what it keeps.
    pub fn home(&self) -> &Path {
        self.driver.home.path()
    }

    fn get(&self, path: &str) -> Value {
        self.driver.call("GET", path, &Value::Null).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.driver.call("POST", path, body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    /// A command of the DevTools.
    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    fn try_execute(&self, script: &str, args: &Value) -> Result<Value, String> {
        self.driver.call("POST", "/execute/sync", &json!({ "script": script, "args": args }))
    }

    /// Runs the body of a function with these arguments; a promise that it returns is waited for.
    pub fn execute(&self, script: &str, args: &Value) -> Value {
        self.try_execute(script, args).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The value of an expression; a promise is waited for.
    pub fn eval(&self, expression: &str) -> Value {
        self.execute(&format!("return ({expression})"), &json!([]))
    }

    /// Goes to a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        string(&self.get("/url"))
    }

    pub fn title(&self) -> String {
        string(&self.get("/title"))
    }

    /// The path to the only element, or the first of several.
    fn find(&self, selector: &str) -> String {
        let found = self.post("/element", &json!({ "using": "css selector", "value": selector }));
        format!("/element/{}", string(&found[ELEMENT]))
    }

    pub fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.find(selector)), &json!({}));
    }

    /// Empties a field and types into it, key by key.
    pub fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector);
        self.post(&format!("{field}/clear"), &json!({}));
        self.post(&format!("{field}/value"), &json!({ "text": text }));
    }

    /// Presses a key, such as `a`, `Enter` or `Shift+Tab`, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let keys: Vec<String> = keys.split('+').map(key).collect();
        let action = |kind: &str, key: &String| json!({ "type": kind, "value": key });
        let down = keys.iter().map(|key| action("keyDown", key));
        let actions: Vec<Value> = down.chain(keys.iter().rev().map(|key| action("keyUp", key))).collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// The text of the first element as it is shown: none where it is hidden.
    pub fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_else(|| panic!("{selector} is not on {}", self.url()))
    }

    /// The texts of all the elements as they are shown.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = "const text = found => found.checkVisibility() ? found.innerText.trim() : '';
            return Array.from(document.querySelectorAll(arguments[0]), text)";
        self.execute(script, &json!([selector])).as_array().unwrap().iter().map(string).collect()
    }

    /// Waits until there is such an element.
    pub fn wait_for(&self, selector: &str) {
        self.wait(selector, "return document.querySelector(arguments[0]) !== null", &json!([selector]));
    }

    /// Waits until the text of one such element, as it is shown, holds this.
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let script = "const [selector, text] = arguments;
            const holds = found => found.checkVisibility() && found.innerText.includes(text);
            return Array.from(document.querySelectorAll(selector)).some(holds)";
        self.wait(&format!("{text} in {selector}"), script, &json!([selector, text]));
    }

    /// Waits until an expression is true. That it cannot be evaluated means that it is not.
    pub fn wait_until(&self, expression: &str) {
        self.wait(expression, &format!("return Boolean({expression})"), &json!([]));
    }

    fn wait(&self, what: &str, script: &str, args: &Value) {
        let start = Instant::now();
        while self.try_execute(script, args) != Ok(Value::Bool(true)) {
            let shown = || (self.url(), self.texts("body"), self.console_errors());
            assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}; there is {:?}", shown());
            // What is waited for needs the processor more than who looks.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The cookies that the page is sent, also those that its scripts do not see.
    pub fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").as_array().unwrap().clone()
    }

    /// Opens another tab and goes on there. Conditions are those of a tab: this one has none yet.
    pub fn new_window(&self) -> String {
        let window = string(&self.post("/window/new", &json!({ "type": "tab" }))["handle"]);
        self.switch(&window);
        window
    }

    /// The tab that the browser is at.
    pub fn window(&self) -> String {
        string(&self.get("/window"))
    }

    /// Every tab there is, also those that pages opened.
    pub fn windows(&self) -> Vec<String> {
        self.get("/window/handles").as_array().unwrap().iter().map(string).collect()
    }

    /// Goes on in another tab.
    pub fn switch(&self, window: &str) {
        self.post("/window", &json!({ "handle": window }));
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// How the protocol writes a key.
fn key(name: &str) -> String {
    let code = match name {
        "Backspace" => '\u{E003}',
        "Tab" => '\u{E004}',
        "Enter" => '\u{E007}',
        "Shift" => '\u{E008}',
        "Control" => '\u{E009}',
        "Alt" => '\u{E00A}',
        "Escape" => '\u{E00C}',
        "Space" => ' ',
        "PageUp" => '\u{E00E}',
        "PageDown" => '\u{E00F}',
        "End" => '\u{E010}',
        "Home" => '\u{E011}',
        "ArrowLeft" => '\u{E012}',
        "ArrowUp" => '\u{E013}',
        "ArrowRight" => '\u{E014}',
        "ArrowDown" => '\u{E015}',
        "Delete" => '\u{E017}',
        _ => name.parse().unwrap_or_else(|_| panic!("no key: {name}")),
    };
    code.to_string()
}

/// The check of accessibility, as one script.
fn axe() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/node_modules/axe-core/axe.min.js"))
}
