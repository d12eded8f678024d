//! Other names, and other sites: what they make a browser send is refused.

use super::client::{ask, send, stream};
use super::{CHANGES, OWN, received};
use crate::support::Home;
use crate::ui::PageServer;

#[test]
fn only_names_that_are_served_are_answered() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--host", "page.internal"]);
    let port = page.address().rsplit_once(':').unwrap().1;
    let cookies: Vec<String> = [port, "0", "80"]
        .map(|port| {
            page.sign_in().replace(&format!("_{}=", page.address().rsplit_once(':').unwrap().1), &format!("_{port}="))
        })
        .into();
    let cookies = cookies.iter().map(String::as_str).collect::<Vec<_>>();
    for host in ["page.internal", "PAGE.internal.", "localhost", "127.0.0.1", "[::1]", "10.1.2.3"] {
        for host in [host.to_owned(), format!("{host}:{port}"), format!("{host}:80")] {
            let answer = page.ask("/", &[&[format!("host: {host}").as_str()], &cookies[..]].concat());
            assert!(answer.status == 200 && answer.body.contains("Boom"), "{host}: {answer:?}");
        }
    }
    let evil =
        ["evil.example", "page.internal.evil.example", "127.0.0.1.nip.example", "x.page.internal", "a@127.0.0.1"];
    for host in evil {
        for host in [format!("host: {host}"), format!("host: {host}:{port}")] {
            for path in [
                "/",
                "/events/1",
                "/events/stream",
                "/sign-in",
                "/assets/page.js",
                "/nothing",
                &format!("/?token={}", page.token()),
            ] {
                let answer = page.ask(path, &[&[host.as_str()], &cookies[..]].concat());
                assert!(answer.status == 403 && !answer.body.contains("Boom"), "{host} {path}: {answer:?}");
                assert_eq!(answer.header("set-cookie"), None, "{host} {path}");
            }
            for (path, form) in CHANGES {
                let answer = page.post(path, &[&[host.as_str(), OWN], &cookies[..]].concat(), form);
                assert_eq!(answer.status, 403, "{host} {path}: {answer:?}");
            }
        }
    }
    // A second one does not hide behind the first, nor one in the target of the request behind the header.
    let own = format!("host: {}", page.address());
    for odd in [
        format!("GET / HTTP/1.1\r\n{own}\r\nhost: evil.example\r\n"),
        format!("GET / HTTP/1.1\r\nhost: evil.example\r\n{own}\r\n"),
        format!("GET http://evil.example/ HTTP/1.1\r\n{own}\r\n"),
        format!("GET http://{}/ HTTP/1.1\r\nhost: evil.example\r\n", page.address()),
        "GET / HTTP/1.1\r\nhost: evil.example/127.0.0.1\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: \u{e9}vil.example\r\n".to_owned(),
    ] {
        let answer = send(page.address(), format!("{odd}{}\r\nconnection: close\r\n\r\n", cookies[0]).as_bytes());
        assert!((400..500).contains(&answer.status) && !answer.body.contains("Boom"), "{odd}: {answer:?}");
    }
    assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
}

/// What another site makes a browser send that changes something.
const FOREIGN: [&[&str]; 9] = [
    &[],
    &["sec-fetch-site: cross-site"],
    &["sec-fetch-site: same-site"],
    &["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document"],
    &["origin: http://evil.example"],
    &["origin: null"],
    &["origin: https://127.0.0.1"],
    &["origin: http://127.0.0.1.evil.example"],
    &["origin: http://127.0.0.1:1"],
];

#[test]
fn another_site_changes_nothing() {
    let by_cookie = Home::new();
    let by_header = Home::new();
    for (home, args) in [(&by_cookie, &[][..]), (&by_header, &["--user-header", "x-user"])] {
        let _receiver = received(home, "Boom");
        let page = PageServer::start(home, args);
        let signed_in = if args.is_empty() { page.sign_in() } else { "x-user: alice".to_owned() };
        for foreign in FOREIGN {
            for credentials in [&[][..], &[signed_in.as_str()]] {
                for (path, form) in CHANGES.iter().chain(&[("/sign-out", ""), ("/sign-in", "password=x")]) {
                    let answer = page.post(path, &[foreign, credentials].concat(), form);
                    assert_eq!(answer.status, 403, "{path} {foreign:?} {credentials:?}: {answer:?}");
                }
            }
            // Nor by a method that no form has, nor after asking whether it may.
            for method in ["DELETE", "PUT", "OPTIONS", "PATCH"] {
                let answer =
                    ask(page.address(), &format!("{method} /events/1"), &[foreign, &[&signed_in]].concat(), "");
                assert_eq!(answer.status, 403, "{method} {foreign:?}: {answer:?}");
                assert!(!answer.head.contains("access-control"), "{answer:?}");
            }
        }
        assert_eq!(page.ask("/", &[&signed_in]).status, 200);
        assert_eq!(home.json(&["events", "list"]).as_array().unwrap().len(), 1);
        assert_eq!(home.json(&["targets", "list"])[0]["pending"], 1);
        assert!(!page.log().contains("began job") && !page.log().contains("target"), "{}", page.log());
        let own = format!("origin: http://{}", page.address());
        assert_eq!(page.post("/events/1/delete", &[&signed_in, &own], "").status, 303);
        assert!(home.json(&["events", "list"]).as_array().unwrap().is_empty());
    }
}

#[test]
fn another_site_reads_nothing_but_may_link() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let page = PageServer::start(&home, &["--user-header", "x-user"]);
    let alice = "x-user: alice";
    for site in ["sec-fetch-site: cross-site", "sec-fetch-site: same-site"] {
        for kind in [
            &["sec-fetch-mode: no-cors", "sec-fetch-dest: image"][..],
            &["sec-fetch-mode: no-cors", "sec-fetch-dest: script"],
            &["sec-fetch-mode: cors", "sec-fetch-dest: empty"],
            &["sec-fetch-mode: navigate", "sec-fetch-dest: iframe"],
            &["sec-fetch-mode: navigate", "sec-fetch-dest: object"],
            &["sec-fetch-mode: websocket"],
            &[],
        ] {
            let headers = [&[site, alice][..], kind].concat();
            for path in ["/", "/events/1", "/events/1/raw", "/events/new?after=0", "/assets/page.js"] {
                let answer = page.ask(path, &headers);
                assert!(answer.status == 403 && !answer.body.contains("Boom"), "{path} {headers:?}: {answer:?}");
            }
            assert_eq!(stream(page.address(), &headers).err(), Some(403), "{headers:?}");
        }
        let link = [site, "sec-fetch-mode: navigate", "sec-fetch-dest: document"];
        assert_eq!(page.ask("/events/1", &[&link[..], &[alice]].concat()).status, 200);
    }
    // To a browser with a cookie, none comes with the link: it is asked to sign in.
    let page = PageServer::start(&home, &[]);
    let link = ["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document"];
    let answer = page.ask("/events/1", &link);
    assert!(answer.status == 401 && answer.body.contains("Sign in"), "{answer:?}");
}
