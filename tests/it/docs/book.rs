//! The book is built, and is searched in a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::pages::root;
use crate::support::browser::{Browser, Site};
use crate::support::{Exchange, have};

/// Builds the book with links to a repository; nothing where mdBook is not installed (in CI that is a failure).
fn built() -> Option<TempDir> {
    have("mdbook").then(|| {
        let folder = tempfile::tempdir().unwrap();
        let build = root().join("docs/build");
        let output = Command::new(build).arg(folder.path()).arg("https://github.com/a/b").output().unwrap();
        let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
        folder
    })
}

/// A server of the files of a folder.
fn serve(folder: PathBuf) -> Site {
    Site::start(move |mut exchange: Exchange| {
        let path = exchange.line.trim_start_matches("GET /").split('?').next().unwrap_or_default().to_owned();
        let path = folder.join(if path.is_empty() { "index.html" } else { &path });
        let Ok(bytes) = std::fs::read(&path) else {
            return exchange.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        };
        let kind = media_type(&path);
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            bytes.len()
        ));
        exchange.send(bytes);
    })
}

fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|kind| kind.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// Words of any page find it.
#[test]
fn search_finds_pages() {
    let Some(folder) = built() else { return };
    let site = serve(folder.path().to_owned());
    let Some(browser) = Browser::start() else { return };
    for (words, page) in [
        ("rotate the key", "how-to/rotate-key.html"),
        ("exit code 8", "reference/exit-codes.html"),
        ("subscribe --replace", "reference/commands/subscribe.html"),
        ("BUGFENDER_CLIENT_SECRET_FILE", "reference/environment.html"),
        ("quarantined_deliveries", "reference/metrics.html"),
    ] {
        browser.open(&format!("{}/index.html", site.url));
        // The index is loaded when the search is opened first.
        browser.click("#mdbook-search-toggle");
        browser.wait_until("document.activeElement.id === 'mdbook-searchbar'");
        browser.fill("#mdbook-searchbar", words);
        let link = format!("#mdbook-searchresults a[href*='{page}']");
        browser.wait_for(&link);
        browser.click(&link);
        browser.wait_until(&format!("location.pathname === '/{page}'"));
        assert!(browser.title().ends_with("- bugfender-hooks"), "{}", browser.title());
    }
    assert_eq!(browser.console_errors(), [""; 0]);
    assert!(browser.requests().iter().all(|url| url.starts_with(&site.url)), "{:?}", browser.requests());
}

/// In the built book nothing leads out of it by a path: what is not in it is in the repository.
#[test]
fn links_out_of_the_book_lead_to_the_repository() {
    let Some(folder) = built() else { return };
    let page = std::fs::read_to_string(folder.path().join("guide/monitoring.html")).unwrap();
    assert!(page.contains("href=\"https://github.com/a/b/blob/main/contrib/prometheus\""));
    let all = std::fs::read_to_string(folder.path().join("print.html")).unwrap();
    assert!(!all.contains("/contrib/\"") && !all.contains("href=\"../../../"), "a link by a path");
    assert!(!all.contains("github.com/OWNER"), "a link to nobody's repository");
}
