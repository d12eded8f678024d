//! The page under a path of a proxy, and what is asked for oddly.

use super::PageServer;
use crate::support::{Home, http_request};

#[test]
fn it_is_served_under_a_path() {
    let home = Home::new();
    let page = PageServer::start(&home, &["--base-path", "/hooks/"]);
    assert!(page.url.contains("/hooks/?token="), "{}", page.url);
    let answer = http_request("GET", &page.url, &[], "");
    let cookie = answer.split("set-cookie: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(answer.contains("location: /hooks/\r\n") && cookie.contains("; Path=/hooks;"), "{answer}");
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap());
    let get = |path: &str| http_request("GET", &format!("{}{path}", page.base), &[&cookie], "");
    for path in ["", "/", "/overview", "/sign-in"] {
        let answer = get(path);
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
        for link in answer.split("href=\"").chain(answer.split("src=\"")).skip(1).filter(|link| link.starts_with('/')) {
            assert!(link.starts_with("/hooks/"), "{path}: {link}");
        }
    }
    for (path, status) in [
        ("/events/9223372036854775807", 404),
        ("/events/-9223372036854775808", 404),
        ("/events/x", 400),
        ("/?before=99999999999999999999", 400),
        ("/?since=tomorrow", 422),
        ("/events/states?from=-9223372036854775808&to=9223372036854775807", 200),
        ("/events/1/retry", 405),
        ("/nothing", 404),
    ] {
        let answer = get(path);
        assert!(answer.starts_with(&format!("HTTP/1.0 {status}")), "{path}: {answer}");
    }
}
