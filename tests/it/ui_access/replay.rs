//! Replays to a URL: only where whoever started the page allows it, and nowhere else from there.

use super::{OWN, received};
use crate::support::{Home, Scripted, answer, wait_until};
use crate::ui::PageServer;

fn form(url: &str) -> String {
    format!("url={}", url::form_urlencoded::byte_serialize(url.as_bytes()).collect::<String>())
}

#[test]
fn only_what_is_allowed_is_reached() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let other = Scripted::always(answer("200 OK", &[], "reached"));
    let allowed = Scripted::always(answer("201 Created", &[], "hello <b>there</b>"));
    let host = allowed.url.strip_prefix("http://").unwrap();
    let elsewhere = other.url.replace("127.0.0.1", "localhost");
    let page = PageServer::start(&home, &["--allow-target", host]);
    let cookie = page.sign_in();
    for refused in [
        other.url.clone(),
        elsewhere,
        allowed.url.replace("127.0.0.1", "localhost"),
        format!("http://{host}@{}/", other.url.strip_prefix("http://").unwrap()),
        format!("{}/#@{host}/", other.url),
        format!("{}\\@{host}/", other.url),
        "http://127.0.0.1:9/".to_owned(),
        "http://127.1/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1/".to_owned(),
        "javascript:alert(1)".to_owned(),
        host.to_owned(),
        format!("//{host}/"),
    ] {
        let answer = page.post("/events/1/replay", &[&cookie, OWN], &form(&refused));
        assert_eq!(answer.status, 422, "{refused}: {answer:?}");
        assert!(answer.body.contains("role=\"alert\""), "{refused}: {answer:?}");
    }
    assert!(other.seen().is_empty() && allowed.seen().is_empty(), "{:?} {:?}", other.seen(), allowed.seen());
    let secret = format!("http://user:secret-password@{host}/secret-path?key=secret-query#secret-part");
    let answer = page.post("/events/1/replay", &[&cookie, OWN], &form(&secret));
    assert_eq!((answer.status, allowed.seen().len()), (303, 1), "{answer:?}");
    assert_eq!(allowed.seen()[0], "POST /secret-path?key=secret-query");
    assert!(!answer.head.contains("secret"), "{answer:?}");
    let shown = page.ask(answer.header("location").unwrap(), &[&cookie]);
    assert!(shown.body.contains("answered with 201") && shown.body.contains("hello &lt;b&gt;"), "{shown:?}");
    assert!(!shown.body.contains("secret") && !shown.body.contains("<b>there"), "{shown:?}");
    wait_until("it is logged", || page.log().contains("replayed event 1 to "));
    assert!(!page.log().contains("secret"), "{}", page.log());
    // A notice is shown once.
    let again = page.ask(answer.header("location").unwrap(), &[&cookie]);
    assert!(!again.body.contains("answered with 201"), "{again:?}");
}

#[test]
fn nothing_is_allowed_unless_it_is_named() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let server = Scripted::always(answer("200 OK", &[], ""));
    let page = PageServer::start(&home, &[]);
    let cookie = page.sign_in();
    let answer = page.post("/events/1/replay", &[&cookie, OWN], &form(&server.url));
    assert!(answer.status == 422 && answer.body.contains("--allow-target 127.0.0.1"), "{answer:?}");
    assert!(server.seen().is_empty());
    for wrong in ["http://127.0.0.1", "user@127.0.0.1", "127.0.0.1/x", "127.0.0.1:99999", "", "*"] {
        let run = home.run(["ui", "--listen", "127.0.0.1:0", "--allow-target", wrong, "--open=x"]);
        assert_eq!(run.code, 2, "{wrong}: {run}");
    }
}

#[test]
fn a_redirect_leads_nowhere_else() {
    let home = Home::new();
    let _receiver = received(&home, "Boom");
    let other = Scripted::always(answer("200 OK", &[], "reached"));
    let location = format!("location: {}/secret-path?key=secret-query", other.url);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let allowed = Scripted::always(answer(status, &[&location], ""));
        let page = PageServer::start(&home, &["--allow-target", allowed.url.strip_prefix("http://").unwrap()]);
        let cookie = page.sign_in();
        let answer = page.post("/events/1/replay", &[&cookie, OWN], &form(&format!("{}/in", allowed.url)));
        assert_eq!((answer.status, allowed.seen().len()), (303, 1), "{status}: {answer:?}");
        let shown = page.ask(answer.header("location").unwrap(), &[&cookie]);
        assert!(shown.body.contains("which is not followed"), "{status}: {shown:?}");
        assert!(!shown.body.contains("secret-path?") && !shown.body.contains("secret-query"), "{shown:?}");
        assert!(!page.log().contains("secret"), "{}", page.log());
    }
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}
