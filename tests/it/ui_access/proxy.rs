//! The page behind nginx, under a path of it.

use std::net::{SocketAddr, TcpListener};

use super::client::{ask, read_until, stream_at};
use super::{OWN, received};
use crate::support::browser::Browser;
use crate::support::nginx::Nginx;
use crate::support::{Home, free_address};
use crate::ui::PageServer;

/// nginx with the page below /hooks, and with these lines in its settings.
fn nginx(page: &PageServer, address: SocketAddr, lines: &str) -> Option<Nginx> {
    let settings = format!(
        "pid /tmp/nginx.pid;\nerror_log /dev/stderr warn;\nevents {{}}\nhttp {{\n\
         client_body_temp_path /tmp/client_body;\nproxy_temp_path /tmp/proxy;\nfastcgi_temp_path /tmp/fastcgi;\n\
         uwsgi_temp_path /tmp/uwsgi;\nscgi_temp_path /tmp/scgi;\naccess_log off;\n\
         server {{\nlisten {address};\nproxy_buffering on;\nproxy_http_version 1.1;\nproxy_set_header Connection \"\";\n\
         proxy_set_header Host $http_host;\nproxy_set_header X-User $http_x_remote;\n{lines}\n\
         location /hooks {{ proxy_pass http://{}; }}\n}}\n}}\n",
        page.address()
    );
    Nginx::start(&settings, address)
}

#[test]
fn the_page_is_whole_behind_a_proxy() {
    let home = Home::new();
    let receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--base-path", "/hooks"]);
    let address = free_address();
    let Some(_nginx) = nginx(&page, address, "") else { return };
    let place = address.to_string();
    let get = |path: &str, headers: &[&str]| ask(&place, &format!("GET {path}"), headers, "");
    let begun = get(&format!("/hooks/?token={}", page.token()), &[]);
    assert_eq!((begun.status, begun.header("location")), (303, Some("/hooks/")), "{begun:?}");
    let cookie = begun.cookie().unwrap();
    let list = get("/hooks/", &[&cookie]);
    assert!(list.status == 200 && list.body.contains("Boom"), "{list:?}");
    assert!(list.header("content-security-policy").is_some(), "{list:?}");
    let links = ["href=\"", "src=\"", "action=\""].map(|start| list.body.split(start).skip(1)).into_iter().flatten();
    let links: Vec<&str> = links.map(|link| link.split('"').next().unwrap()).collect();
    assert!(links.len() > 10, "{links:?}");
    for link in links.iter().filter(|link| link.starts_with('/')) {
        assert!(link.starts_with("/hooks/"), "{link}");
        let status = get(&link.replace("&#x2f;", "/").replace("&amp;", "&"), &[&cookie]).status;
        assert!(matches!(status, 200 | 405), "{link}: {status}");
    }
    let mut stream = stream_at(&place, "/hooks/events/stream?after=0", &[&cookie]).unwrap();
    read_until(&mut stream, "Boom");
    assert_eq!(receiver.post(r#"[{"id":"two","type":"crash","title":"Later"}]"#).status, 200);
    assert!(read_until(&mut stream, "Later").contains("Later"));
    let form = [cookie.as_str(), OWN, super::FORM];
    let done = ask(&place, "POST /hooks/events/1/delete", &form, "");
    assert_eq!(done.status, 303, "{done:?}");
    let location = done.header("location").unwrap();
    assert!(location.starts_with("/hooks/?note="), "{location}");
    assert!(get(location, &[&cookie]).body.contains("The event is deleted."));
    assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
}

/// A browser asks for what is new while streams are held back, and listens again once they are not.
#[test]
fn a_browser_tries_a_stream_again() {
    let home = Home::new();
    let receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--base-path", "/hooks"]);
    let address = free_address();
    // Whoever asks it for a stream hears nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = format!("location /hooks/events/stream {{ proxy_pass http://{}; }}", silent.local_addr().unwrap());
    let Some(held) = nginx(&page, address, &stream) else { return };
    let Some(browser) = Browser::start() else { return };
    // What it would try again in a minute it tries at once.
    browser
        .run_first("const later = setTimeout; window.setTimeout = (act, time) => later(act, time < 60000 ? time : 0);");
    browser.open(&format!("http://{address}/hooks/?token={}", page.token()));
    browser.wait_for_text("#live", "every 2 seconds");
    assert_eq!(receiver.post(r#"[{"id":"two","type":"crash","title":"Asked for"}]"#).status, 200);
    browser.wait_for_text("#rows", "Asked for");
    drop(held);
    let Some(_nginx) = nginx(&page, address, "") else { return };
    browser.wait_until("document.querySelector('#live').textContent === 'Live'");
    assert_eq!(receiver.post(r#"[{"id":"three","type":"crash","title":"Streamed"}]"#).status, 200);
    browser.wait_for_text("#rows", "Streamed");
    assert_eq!(browser.texts("#rows .title a"), ["Streamed", "Asked for", "Boom"]);
    assert_eq!(browser.text("#live"), "Live");
}

/// Where streams are held back, what is new is asked for; and a name that a visitor makes up does not reach the page.
#[test]
fn a_proxy_that_holds_streams_back_answers_questions() {
    let home = Home::new();
    let receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--base-path", "/hooks", "--user-header", "x-user"]);
    let address = free_address();
    let Some(_nginx) = nginx(&page, address, "proxy_ignore_headers X-Accel-Buffering;") else { return };
    let place = address.to_string();
    let get = |path: &str, headers: &[&str]| ask(&place, &format!("GET {path}"), headers, "");
    assert_eq!(get("/hooks/", &["x-user: mallory"]).status, 401);
    let alice = "x-remote: alice";
    let answer = get("/hooks/events/new?after=0", &[alice]);
    let new: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert!(new["rows"].as_str().unwrap().contains("Boom") && new["after"] == 1, "{answer:?}");
    assert_eq!(receiver.post(r#"[{"id":"two","type":"crash","title":"Later"}]"#).status, 200);
    let answer = get("/hooks/events/new?after=1", &[alice]);
    assert!(answer.body.contains("Later") && !answer.body.contains("Boom"), "{answer:?}");
}
