//! The harness for tests in a real browser: that it does what they rely on, on pages of its own.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::browser::{Browser, Site};
use crate::support::{Exchange, answer, wait_until};

const HTML: &str = "content-type: text/html; charset=utf-8";

/// As strict as can be: nothing inline, nothing from elsewhere, no text that becomes a script.
const POLICY: &str = "content-security-policy: default-src 'none'; script-src 'self'; img-src data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; require-trusted-types-for 'script'";

/// A form whose entries come into the list of everybody who looks.
const LIST: &str = "<!doctype html><html lang='en'><head><title>A list</title><link rel='icon' href='data:,'>\
    <script src='/list.js' defer></script></head><body><main><h1>A list</h1>\
    <form><label for='entry'>Entry</label> <input id='entry'> <button>Add</button></form><ul></ul>\
    <noscript>Nothing moves here.</noscript></main></body></html>";

const SCRIPT: &str = "const list = document.querySelector('ul');
    new EventSource('/live').onopen = () => { document.body.dataset.live = 'yes'; };
    new EventSource('/live').onmessage = ({ data }) => {
        list.append(Object.assign(document.createElement('li'), { textContent: data }));
    };
    document.querySelector('form').onsubmit = event => {
        event.preventDefault();
        fetch('/add', { method: 'POST', body: document.querySelector('#entry').value });
    };";

/// A site whose page is the list.
fn list() -> Site {
    let watchers: Mutex<Vec<Exchange>> = Mutex::default();
    Site::start(move |mut exchange| match exchange.line.as_str() {
        "GET /" => exchange.send(answer("200 OK", &[HTML, POLICY, "set-cookie: seen=yes; HttpOnly"], LIST)),
        "GET /list.js" => exchange.send(answer("200 OK", &["content-type: text/javascript"], SCRIPT)),
        "GET /live" => {
            exchange.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
            watchers.lock().unwrap().push(exchange);
        }
        "POST /add" => {
            let entry = format!("data: {}\n\n", exchange.body);
            watchers.lock().unwrap().iter_mut().for_each(|watcher| watcher.send(&entry));
            exchange.send(answer("204 No Content", &[], ""));
        }
        _ => exchange.send(answer("404 Not Found", &[], "")),
    })
}

/// A site that has this page everywhere, and the `Host` and path of every request for it.
fn page(page: &str) -> (Site, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (response, log) = (answer("200 OK", &[HTML], page), Arc::clone(&seen));
    let site = Site::start(move |mut exchange| {
        let path = exchange.line.trim_start_matches("GET ");
        log.lock().unwrap().push(format!("{}{path}", exchange.header("host").unwrap_or_default()));
        exchange.send(&response);
    });
    (site, seen)
}

/// A browser at the list that is told of what comes.
fn watching(site: &Site) -> Option<Browser> {
    let browser = Browser::start()?;
    browser.open(&site.url);
    browser.wait_for("body[data-live]");
    Some(browser)
}

#[test]
fn two_browsers_see_what_is_typed_in_one() {
    let site = list();
    let (Some(one), Some(other)) = (watching(&site), watching(&site)) else { return };
    assert_eq!((one.url(), one.title()), (format!("{}/", site.url), "A list".to_owned()));
    one.fill("#entry", "first");
    one.press("Enter");
    one.wait_for("li");
    one.fill("#entry", "second <b>");
    one.click("button");
    for browser in [&one, &other] {
        browser.wait_for_text("li", "second");
        assert_eq!(browser.texts("li"), ["first", "second <b>"]);
        assert_eq!(browser.text("li"), "first");
        assert!(browser.texts("b").is_empty());
        assert_eq!(browser.console_errors(), [""; 0]);
    }
    other.press("Tab");
    other.press("Tab");
    assert_eq!(other.eval("document.activeElement.tagName"), "BUTTON");
    other.press("Shift+Tab");
    assert_eq!(other.eval("Promise.resolve(document.activeElement.id)"), "entry");
    assert_eq!(other.execute("return arguments[0] + 1", &json!([1])), 2);
}

#[test]
fn tabs_share_cookies_and_a_browser_leaves_nothing_behind() {
    let site = list();
    let Some(browser) = watching(&site) else { return };
    let cookies = browser.cookies();
    assert_eq!((cookies.len(), &cookies[0]["name"], &cookies[0]["httpOnly"]), (1, &json!("seen"), &json!(true)));
    let first = browser.window();
    let second = browser.new_window();
    browser.open(&site.url);
    assert_eq!((browser.windows(), browser.window()), (vec![first.clone(), second.clone()], second));
    assert_eq!(browser.cookies(), cookies);
    browser.switch(&first);
    assert_eq!(browser.eval("document.body.dataset.live"), "yes");
    let home = browser.home().to_owned();
    assert!(home.exists() && is_named(&home));
    drop(browser);
    assert!(!home.exists());
    wait_until("the browser ends", || !is_named(&home));
}

/// Whether a process was begun with this path.
fn is_named(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(path))
}

#[test]
fn a_page_is_in_the_conditions_that_were_asked_for() {
    let site = list();
    let Some(browser) = watching(&site) else { return };
    let media = |query: &str| browser.eval(&format!("matchMedia('({query})').matches"));
    assert_eq!(media("prefers-color-scheme: dark"), false);
    browser.set_size(360, 640);
    browser.set_timezone("Asia/Tokyo");
    browser.emulate(&[("prefers-color-scheme", "dark"), ("prefers-reduced-motion", "reduce")]);
    // They outlive the page.
    for _ in 0..2 {
        assert_eq!(browser.eval("[innerWidth, innerHeight]"), json!([360, 640]));
        assert_eq!(browser.eval("new Date(0).getHours()"), 9);
        assert_eq!((media("prefers-color-scheme: dark"), media("prefers-reduced-motion")), (json!(true), json!(true)));
        browser.open(&site.url);
    }
    browser.set_offline(true);
    assert_eq!(browser.eval("fetch('/').then(() => 'came', () => 'failed')"), "failed");
    browser.set_offline(false);
    assert_eq!(browser.eval("fetch('/').then(() => 'came', () => 'failed')"), "came");
    let file = browser.screenshot("harness-list-dark");
    let picture = std::fs::read(&file).unwrap();
    assert!(file.ends_with("target/screenshots/harness-list-dark.png") && picture.starts_with(b"\x89PNG"));
    assert_eq!((&picture[16..20], &picture[20..24]), (&360_u32.to_be_bytes()[..], &640_u32.to_be_bytes()[..]));
}

#[test]
fn a_page_without_scripts_is_read_all_the_same() {
    let site = list();
    let Some(browser) = watching(&site) else { return };
    assert_eq!(browser.text("noscript"), "");
    browser.set_scripts(false);
    browser.open(&site.url);
    assert_eq!(browser.text("noscript"), "Nothing moves here.");
    assert_eq!(browser.eval("document.body.dataset.live === undefined"), true);
    browser.set_scripts(true);
    browser.open(&site.url);
    browser.wait_for("body[data-live]");
}

#[test]
fn requests_to_another_host_are_seen_and_go_nowhere() {
    let (other, seen) = page("");
    let here = format!("http://localhost:{}/here.png", other.port);
    let elsewhere = ["http://elsewhere.example/a.png", "http://192.0.2.1/b.png", "http://[2001:db8::1]/c.png"];
    let images = elsewhere.iter().copied().chain([here.as_str()]).map(|url| format!("<img alt='' src='{url}'>"));
    let (site, _) = page(&images.collect::<String>());
    let Some(browser) = Browser::start() else { return };
    browser.open(&site.url);
    let refused = |url: &str| {
        let of_url = |error: &&String| error.starts_with(url);
        browser.console_errors().iter().filter(of_url).any(|error| error.contains("ERR_NAME_NOT_RESOLVED"))
    };
    wait_until("every request is refused", || elsewhere.iter().all(|url| refused(url)));
    wait_until("a request to this machine comes", || !seen.lock().unwrap().is_empty());
    let requests = browser.requests();
    for url in elsewhere.iter().copied().chain([here.as_str(), &format!("{}/", site.url)]) {
        assert!(requests.iter().any(|request| request == url), "{url}: {requests:#?}");
    }
    assert!(requests.iter().all(|request| request.starts_with("http://")), "{requests:#?}");
    // A policy keeps requests back; they are seen all the same.
    browser.open(&list().url);
    browser.execute("document.body.append(Object.assign(new Image(), { src: arguments[0] }))", &json!([here]));
    wait_until("the policy is broken", || browser.console_errors().iter().any(|error| error.contains("img-src")));
    assert_eq!(browser.requests().iter().filter(|request| **request == here).count(), 2);
    assert_eq!(seen.lock().unwrap().iter().filter(|path| path.ends_with("/here.png")).count(), 1);
}

#[test]
fn a_name_may_be_this_machine_and_its_page_may_ask_other_servers() {
    let (victim, seen) = page("");
    let (site, hosts) = page("<title>Evil</title>");
    let Some(browser) = Browser::with_host("evil.example") else { return };
    browser.open(&format!("http://evil.example:{}/", site.port));
    assert_eq!(browser.title(), "Evil");
    assert!(hosts.lock().unwrap().contains(&format!("evil.example:{}/", site.port)));
    let ask = "return fetch(arguments[0], { mode: 'no-cors' }).then(() => 'came', error => String(error))";
    assert_eq!(browser.execute(ask, &json!([victim.url])), "came");
    assert!(seen.lock().unwrap().contains(&format!("127.0.0.1:{}/", victim.port)));
}

#[test]
fn a_busy_page_is_seen() {
    let busy = "<script>onclick = () => { const start = performance.now(); while (performance.now() < start + 300); \
                document.title = 'done'; }</script><p>Click</p>";
    let (site, _) = page(busy);
    let Some(browser) = Browser::start() else { return };
    browser.watch_long_tasks();
    // Watched on every page, each for itself.
    for _ in 0..2 {
        browser.open(&site.url);
        let quiet = browser.longest_task_ms();
        browser.click("p");
        browser.wait_until("document.title === 'done'");
        browser.wait_until("window.longTasks.read() >= 300");
        assert!(quiet < browser.longest_task_ms());
    }
}

#[test]
fn what_shuts_people_out_is_found_under_a_strict_policy() {
    let bad = "<!doctype html><html><head><title>Bad</title><link rel='stylesheet' href='/style'></head>\
               <body><main><h1>Bad</h1><img src='data:,'><input id='field'><button></button></main></body></html>";
    let policy = format!("{POLICY}; style-src 'self'");
    let site = Site::start(move |mut exchange| match exchange.line.as_str() {
        "GET /" => exchange.send(answer("200 OK", &[HTML, &policy], bad)),
        _ => exchange.send(answer("200 OK", &["content-type: text/css"], "h1 { color: #aaa; background: #fff }")),
    });
    let Some(browser) = Browser::start() else { return };
    browser.open(&site.url);
    // The page could not do so itself.
    let inline = "const script = document.createElement('script'); script.append('document.title = 1'); \
                  document.head.append(script)";
    browser.execute(inline, &json!([]));
    assert_eq!(browser.title(), "Bad");
    let violations = browser.accessibility_violations();
    for found in [
        "html-has-lang: html: ",
        "image-alt: img: ",
        "label: #field: ",
        "button-name: button: ",
        "color-contrast: h1: ",
    ] {
        assert!(violations.iter().any(|line| line.starts_with(found)), "{found}: {violations:#?}");
    }
    browser.open(&list().url);
    assert_eq!(browser.accessibility_violations(), [""; 0]);
}
