//! The page on the port for operators: for whoever has its address, and for no other site.

use super::{Receiver, call, refused};
use crate::support::{Home, http_get, http_request, wait_until};

/// The cookie that the address of the page is exchanged for.
fn sign_in(url: &str) -> String {
    let answer = http_request("GET", url, &[], "");
    assert!(answer.starts_with("HTTP/1.0 303") && answer.contains("location: /\r\n"), "{answer}");
    let cookie = answer.split("set-cookie: ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    format!("cookie: {}", cookie.split(';').next().unwrap())
}

#[test]
fn it_is_there_with_the_paths_for_operators() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--ui", "--admin-listen", "127.0.0.1:0"]);
    let base = receiver.ready["admin_url"].as_str().unwrap();
    let url = receiver.ready["ui_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{base}/?token=")), "{url}");
    assert!(http_get(&format!("{base}/metrics")).contains("bugfender_hooks_build_info"));
    assert_eq!(receiver.post(r#"[{"id":"7","title":"<b>Boom</b>","type":"crash"}]"#).status, 200);
    let cookie = sign_in(url);
    let page = http_request("GET", &format!("{base}/"), &[&cookie], "");
    assert!(page.contains("&lt;b&gt;Boom&lt;&#x2f;b&gt;") && !page.contains("<b>Boom"), "{page}");
    for header in
        ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "cache-control: no-store"]
    {
        assert!(page.contains(header), "{header}: {page}");
    }
    // Neither without the cookie, nor under a name that is not served.
    for (host, headers, status) in [
        ("127.0.0.1", String::new(), 401),
        ("127.0.0.1", "cookie: bugfender_hooks_0=x\r\n".to_owned(), 401),
        ("rebound.example", format!("{cookie}\r\n"), 403),
    ] {
        let address = base.strip_prefix("http://").unwrap();
        let text = format!("GET /targets HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n");
        assert_eq!(call(address, text.as_bytes()).unwrap().status, status);
    }
    let (code, log) = receiver.end();
    assert!(code == 0 && !log.contains("token="), "{log}");
}

#[test]
fn another_site_changes_nothing() {
    let home = Home::new();
    let receiver = Receiver::start(&home, &["--ui", "--admin-listen", "127.0.0.1:0"]);
    let base = receiver.ready["admin_url"].as_str().unwrap();
    assert_eq!(receiver.post(r#"[{"id":"7"}]"#).status, 200);
    let cookie = sign_in(receiver.ready["ui_url"].as_str().unwrap());
    let delete = |headers: &[&str]| {
        let form = "content-type: application/x-www-form-urlencoded";
        let answer =
            http_request("POST", &format!("{base}/events/1/delete"), &[&[&cookie, form], headers].concat(), "");
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for foreign in [&[][..], &["origin: http://evil.example"], &["origin: null"], &["sec-fetch-site: same-site"]] {
        assert_eq!(delete(foreign), "403", "{foreign:?}");
    }
    assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(delete(&["sec-fetch-site: same-origin"]), "303");
    wait_until("it is deleted", || home.json(&["events", "list"]).as_array().unwrap().is_empty());
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("deleted event 1"), "{log}");
}

#[test]
fn other_machines_do_not_get_it() {
    let run = refused(&Home::new(), &["--ui", "--admin-listen", "0.0.0.0:0"]);
    assert!(run.code == 2 && run.stderr.contains("ui --password-file"), "{run}");
}
