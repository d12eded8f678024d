//! What strangers write: it is shown, and nothing of it runs.

use serde_json::{Value, json};

use super::{PageServer, accepted, deliver, wait_until_live};
use crate::listen::Receiver;
use crate::support::Home;
use crate::support::browser::Browser;

/// Each would set a variable of the page's, load something from elsewhere or stand as the result of a template.
const TEXTS: [&str; 12] = [
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "</title></textarea></pre></style><img src=x onerror=\"window.pwned=1\">",
    "\"><svg onload=window.pwned=1>",
    "' autofocus onfocus='window.pwned=1' x='",
    "[click](javascript:window.pwned=1) <javascript:window.pwned=1>",
    "![beacon](https://evil.example/beacon.png)",
    "<iframe src=https://evil.example/></iframe><meta http-equiv=refresh content=0;url=https://evil.example/>",
    "{{1234*5678}} {% include \"layout.html\" %} ${7*7}",
    "<style>@import url(https://evil.example/a.css)</style><link rel=stylesheet href=https://evil.example/b.css>",
    "data: x\n\nevent: rows\ndata: <tr data-seq=99999><td><img src=x onerror=window.pwned=1></tr>",
    "<base href=https://evil.example/><form action=https://evil.example/><button>x</button>",
];

fn event(text: &str) -> Value {
    json!({
        "id": text, "title": text, "type": text, "text": text, "self": "javascript:window.pwned=1",
        "app": { "id": 7, "name": text }, "session": { text: text },
        "device": { "name": text, "user_data": { text: text } },
    })
}

/// That nothing of what is shown has become more than text.
fn assert_harmless(browser: &Browser, what: &str) {
    browser.wait_until("document.readyState === 'complete'");
    assert_eq!(browser.eval("window.pwned === undefined"), true, "{what}");
    let alien = "document.querySelectorAll('iframe, base, style, img, main svg:not(.chart, .key svg), main link, \
                 [onerror], [onload], [onfocus], a[href^=\"javascript:\" i], form[action^=http]').length";
    assert_eq!(browser.eval(alien), 0, "{what}");
    assert_eq!(browser.eval("document.scripts.length"), 1, "{what}");
}

#[test]
fn nothing_of_strangers_runs() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--forward-to", "http://127.0.0.1:9/in"]);
    let (before, live) = TEXTS.split_at(TEXTS.len() / 2);
    accepted(&receiver, &before.iter().map(|text| event(text)).collect());
    for text in TEXTS {
        assert_eq!(receiver.post(format!("{text}{{\"n\":")).status, 400);
    }
    let inbox = rusqlite::Connection::open(home.data().join("registry.inbox.db")).unwrap();
    inbox.busy_timeout(crate::support::PATIENCE).unwrap();
    inbox.execute("UPDATE targets SET shown = ?1", [TEXTS[2]]).unwrap();
    let page = PageServer::start(&home, &["--allow-target", "127.0.0.1"]);
    let Some(browser) = page.browser() else { return };
    wait_until_live(&browser);
    accepted(&receiver, &live.iter().map(|text| event(text)).collect());
    deliver(&receiver, "crash", "last");
    browser.wait_for_text("#rows", "last");
    assert_eq!(browser.texts("#rows tr").len(), TEXTS.len() + 1);
    browser.wait_for_text("#rows", "{{1234*5678}}");
    assert_harmless(&browser, "the list");
    let links = "Array.from(document.querySelectorAll('#rows a'), link => link.pathname)";
    let events: Vec<String> = serde_json::from_value(browser.eval(links)).unwrap();
    for path in events.iter().map(String::as_str).chain(["/overview", "/targets", "/quarantine", "/hooks"]) {
        page.open(&browser, path);
        assert_harmless(&browser, path);
        assert!(!browser.text("body").contains("7006652"), "{path}");
    }
    page.open(&browser, "/quarantine");
    let links = "Array.from(document.querySelectorAll('td a'), link => link.pathname)";
    let quarantined: Vec<String> = serde_json::from_value(browser.eval(links)).unwrap();
    assert_eq!(quarantined.len(), TEXTS.len());
    for path in quarantined {
        page.open(&browser, &path);
        assert_harmless(&browser, &path);
    }
    // In addresses too, and where what was typed is shown again.
    for text in TEXTS {
        let typed: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        for path in [format!("/?q={typed}&type={typed}&target={typed}&since={typed}"), format!("/{typed}")] {
            page.open(&browser, &path);
            assert_harmless(&browser, &path);
        }
    }
    page.open(&browser, &events[0]);
    browser.fill("input[name=url]", "http://evil.example/\"><svg/onload=window.pwned=1>");
    browser.press("Enter");
    browser.wait_for_text("[role=alert]", "is not allowed");
    assert_harmless(&browser, "a replay");
    let own = |url: &String| url.starts_with(&format!("{}/", page.base));
    let requests = browser.requests();
    assert!(requests.len() > TEXTS.len() && requests.iter().all(own), "{requests:#?}");
    // Answers with 404 and 422 are those of the last addresses.
    let errors: Vec<String> = browser.console_errors();
    assert!(errors.iter().all(|error| error.contains("status of 4")), "{errors:#?}");
}
