//! The headers of every kind of answer.

use std::io::Write;

use super::client::{PageAnswer, ask, connect, read_until, request};
use super::{OWN, PAGES, received};
use crate::support::Home;
use crate::ui::PageServer;

fn assert_safe(what: &str, answer: &PageAnswer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{what}: {answer:?}");
    }
    let policy = answer.header("content-security-policy").unwrap();
    let parts: Vec<&str> = policy.split(';').map(str::trim).collect();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(parts.contains(&part), "{what}: {policy}");
    }
    for loose in ["unsafe", "http:", "https:", "data:", "*"] {
        assert!(!policy.contains(loose), "{what}: {policy}");
    }
    for alien in ["access-control-allow-origin", "server"] {
        assert_eq!(answer.header(alien), None, "{what}: {answer:?}");
    }
    let kept = answer.header("cache-control").unwrap();
    let is_asset = what.starts_with("/assets/page-");
    assert_eq!(kept, if is_asset { "public, max-age=31536000, immutable" } else { "no-store" }, "{what}");
    // Nothing within the page runs or dresses it.
    for inline in ["<style", "style=\"", " onclick", " onload", "javascript:", "<script>"] {
        assert!(!answer.body.contains(inline), "{what}: {inline}");
    }
}

#[test]
fn every_answer_is_safe() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    for args in [&[][..], &["--base-path", "/hooks"]] {
        let page = PageServer::start(&home, args);
        let cookie = page.sign_in();
        let below = |path: &str| format!("{}{path}", args.last().unwrap_or(&""));
        let html = page.ask(&below("/"), &[&cookie]).body.replace("&#x2f;", "/");
        let assets: Vec<&str> = html.split('"').filter(|link| link.starts_with(&below("/assets/"))).collect();
        assert_eq!(assets.len(), 3, "{html}");
        for asset in assets {
            let answer = page.ask(asset, &[]);
            assert_eq!(answer.status, 200, "{asset}");
            if asset.contains("page-") {
                let path = format!("/assets/{}", asset.rsplit('/').next().unwrap());
                assert_safe(&path, &PageAnswer { body: String::new(), ..answer });
            }
        }
        for path in
            PAGES.iter().chain(&["/nothing", "/sign-in", "/events/99", "/events/x", "/?since=x", "/assets/nothing"])
        {
            assert_safe(path, &page.ask(&below(path), &[&cookie]));
            assert_safe(path, &page.ask(&below(path), &[]));
            assert_safe(path, &page.ask(&below(path), &[&cookie, "host: evil.example"]));
            assert_safe(path, &page.ask(&below(path), &[&cookie, "sec-fetch-site: cross-site"]));
            let head = ask(page.address(), &format!("HEAD {}", below(path)), &[&cookie], "");
            assert!(head.body.is_empty(), "{path}: {head:?}");
            assert_safe(path, &head);
        }
        assert_safe("outside", &page.ask("/outside/of/it", &[&cookie]));
        assert_safe("the token", &page.ask(&below(&format!("/?token={}", page.token())), &[]));
        for (path, status) in [
            ("/events/1/retry", 303),
            ("/events/x/retry", 400),
            ("/events/99/delete", 303),
            ("/overview", 405),
            ("/jobs", 422),
            ("/targets/1/explode", 400),
            ("/targets/9/pause", 404),
        ] {
            let answer = page.post(&below(path), &[&cookie, OWN], "");
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            assert_safe(path, &answer);
        }
        let wrong = page.post(&below("/overview"), &[&cookie, OWN], "");
        assert_eq!(wrong.header("allow"), Some("GET,HEAD"), "{wrong:?}");
        let mut stream = connect(page.address());
        stream
            .write_all(request(page.address(), &format!("GET {}", below("/events/stream")), &[&cookie], "").as_bytes())
            .unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        let streamed = PageAnswer { status: 200, head, body: String::new() };
        assert_safe("a stream", &streamed);
        assert_eq!(streamed.header("content-type"), Some("text/event-stream"), "{streamed:?}");
        assert_eq!(streamed.header("x-accel-buffering"), Some("no"), "{streamed:?}");
        if args.is_empty() {
            let raw = page.ask("/events/1/raw", &[&cookie]);
            assert_eq!(raw.header("content-type"), Some("application/octet-stream"));
            assert!(raw.header("content-disposition").unwrap().starts_with("attachment"), "{raw:?}");
        }
    }
}
