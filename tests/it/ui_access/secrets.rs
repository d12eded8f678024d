//! What no page and no line of a log says.

use super::{OWN, PAGES, received};
use crate::support::Home;
use crate::ui::PageServer;

#[test]
fn secrets_are_nowhere() {
    let home = Home::at("http://127.0.0.1:9", "secret-api-token");
    let receiver = received(&home, "Boom");
    let target = "http://user:secret-password@127.0.0.1:9/secret-hook?key=secret-query";
    home.json(&[
        "import",
        "7",
        "--app-id",
        "7",
        "--event",
        "new_crash",
        "--target-url",
        &format!("http://127.0.0.1:9{}", receiver.path),
    ]);
    home.json(&[
        "import",
        "8",
        "--app-id",
        "7",
        "--event",
        "new_crash",
        "--target-url",
        &target.replace("user:secret-password@", ""),
    ]);
    let key = receiver.path.rsplit('/').next().unwrap();
    assert!(key.len() > 20, "{key}");
    let page = PageServer::start(&home, &["--allow-target", "127.0.0.1"]);
    let cookie = page.sign_in();
    for (path, form) in [("/jobs", "action=retry"), ("/events/1/retry", ""), ("/targets/1/pause", "")] {
        assert_eq!(page.post(path, &[&cookie, OWN], form).status, 303, "{path}");
    }
    for path in PAGES.iter().chain(&["/hooks/8", "/targets?note=1", "/sign-in"]) {
        let answer = page.ask(path, &[&cookie]);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        for secret in ["secret-", key, page.token()] {
            let found = answer.head.contains(secret) || answer.body.contains(secret);
            assert!(!found, "{path}: {secret}: {answer:?}");
        }
    }
    let hooks = page.ask("/hooks", &[&cookie]).body;
    assert!(hooks.contains("127.0.0.1:9"), "{hooks}");
    for secret in ["secret-", key, page.token()] {
        assert!(!page.log().contains(secret), "{}", page.log());
    }
}
