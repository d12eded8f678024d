//! Sick clients and many of them; and the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::{connect, request, stream};
use super::{OWN, received};
use crate::support::{Home, Signal, signal, wait_until};
use crate::ui::PageServer;

#[test]
fn forms_and_heads_have_an_end() {
    let page = PageServer::start(&Home::new(), &[]);
    let cookie = page.sign_in();
    let large = format!("action={}", "x".repeat(100_000));
    for headers in [&[cookie.as_str(), OWN][..], &[OWN]] {
        for path in ["/jobs", "/sign-in", "/events/1/delete"] {
            let answer = page.post(path, headers, &large);
            assert!(answer.status == 413 && answer.body.contains("too large"), "{path}: {answer:?}");
        }
    }
    let answer = page.ask(&format!("/?q={}", "x".repeat(100_000)), &[&cookie]);
    assert_eq!(answer.status, 431);
    // A head that never ends, one that never begins, and a form that does not come.
    let slow: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nhost: local",
        b"",
        b"POST /sign-in HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: same-origin\r\ncontent-length: 9\r\n\r\npass",
    ];
    let mut open: Vec<TcpStream> = slow.map(|_| connect(page.address())).into();
    for (stream, bytes) in open.iter_mut().zip(slow) {
        stream.write_all(bytes).unwrap();
    }
    let ends = open.into_iter().map(|mut stream| {
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    });
    let ends: Vec<String> = ends.collect();
    assert!(ends[2].starts_with("HTTP/1.1 408") && ends[2].contains("did not come in time"), "{ends:?}");
    assert_eq!(page.ask("/", &[&cookie]).status, 200);
}

#[test]
fn many_streams_leave_pages_alone() {
    let home = Home::new();
    let page = PageServer::start(&home, &[]);
    let cookie = page.sign_in();
    let open: Vec<Result<TcpStream, u16>> = (0..210).map(|_| stream(page.address(), &[&cookie])).collect();
    let refused: Vec<u16> = open.iter().filter_map(|stream| stream.as_ref().err().copied()).collect();
    assert_eq!(refused, [503; 10]);
    for path in ["/", "/overview", "/events/new?after=0"] {
        assert_eq!(page.ask(path, &[&cookie]).status, 200, "{path}");
    }
    let receiver = received(&home, "Boom");
    assert!(page.ask("/", &[&cookie]).body.contains("Boom"));
    for mut stream in open.into_iter().flatten() {
        super::client::read_until(&mut stream, "Boom");
    }
    // Their places are free again.
    wait_until("a stream has a place", || stream(page.address(), &[&cookie]).is_ok());
    drop(receiver);
}

#[test]
fn it_ends_at_once_whatever_is_open() {
    for sent in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mut page = PageServer::start(&home, &[]);
        let cookie = page.sign_in();
        let mut streams: Vec<TcpStream> = (0..5).map(|_| stream(page.address(), &[&cookie]).unwrap()).collect();
        let mut idle = connect(page.address());
        let kept = request(page.address(), "GET /sign-in", &[], "").replace("connection: close\r\n", "");
        idle.write_all(kept.as_bytes()).unwrap();
        super::client::read_until(&mut idle, "</html>");
        let begun = Instant::now();
        signal(&page.child, sent);
        let mut status = None;
        wait_until("the page ends", || {
            status = page.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0), "{}", page.log());
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        for stream in &mut streams {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
        }
        assert!(!home.path().join("page.json").exists());
    }
}

#[test]
fn a_head_that_does_not_end_does_not_keep_it_from_ending() {
    let mut page = PageServer::start(&Home::new(), &[]);
    let mut slow = connect(page.address());
    slow.write_all(b"GET / HTTP/1.1\r\nhost: local").unwrap();
    assert_eq!(page.ask("/", &[]).status, 401);
    let begun = Instant::now();
    signal(&page.child, Signal::TERM);
    wait_until("the page ends", || page.child.try_wait().unwrap().is_some());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(page.child.try_wait().unwrap().unwrap().code(), Some(0));
}

#[test]
fn a_second_one_does_not_get_the_same_port() {
    let home = Home::new();
    let page = PageServer::start(&home, &[]);
    let run = home.run(["ui", "--listen", page.address(), "--ready-file", "second.json"]);
    assert!(run.code == 7 && run.stderr.contains("cannot be served on"), "{run}");
    assert!(run.stdout.is_empty() && run.stderr.contains("--listen") && !run.stderr.contains("token="), "{run}");
    assert!(!home.path().join("second.json").exists() && home.path().join("page.json").exists());
    assert_eq!(page.ask("/", &[&page.sign_in()]).status, 200);
}
