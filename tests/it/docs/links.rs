//! Links lead somewhere; those to other hosts are left alone.

use std::path::{Component, Path, PathBuf};

use bugfender_hooks::domain::DocTopic;

use super::pages::{DocPage, pages, root};

/// What stands for the repository's own address until it is published: `docs/build` puts it in.
const REPOSITORY: &str = "https://github.com/OWNER/bugfender-hooks/";

/// The path in the repository that a link on a page leads to, and the anchor there; nothing for other hosts.
fn leads_to(page: &DocPage, link: &str) -> Option<(PathBuf, Option<String>)> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor.to_owned())));
    if let Some(rest) = path.strip_prefix(REPOSITORY) {
        let inside = rest.strip_prefix("tree/main/").or_else(|| rest.strip_prefix("blob/main/"));
        return inside.map(|inside| (PathBuf::from(inside), anchor));
    }
    if path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    if path.is_empty() {
        return Some((PathBuf::from(&page.path), anchor));
    }
    let mut inside = Path::new(&page.path).parent().unwrap().to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => assert!(inside.pop(), "{}: {link} leaves the repository", page.path),
            part => inside.push(part),
        }
    }
    Some((inside, anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages() {
        for link in page.links() {
            let Some((path, anchor)) = leads_to(&page, &link) else { continue };
            seen += 1;
            let there = root().join(&path);
            let has = |anchor: &String| DocPage::read(&there).anchors().contains(anchor);
            if !there.exists() || anchor.as_ref().is_some_and(|anchor| there.is_file() && !has(anchor)) {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = DocPage::read(&root().join("docs/src/SUMMARY.md"));
    let listed: Vec<String> = summary.links().into_iter().map(|link| format!("docs/src/{link}")).collect();
    let of_the_book = pages().into_iter().map(|page| page.path).filter(|path| path.starts_with("docs/"));
    let missing: Vec<String> = of_the_book.filter(|path| *path != summary.path && !listed.contains(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn what_errors_name_is_there() {
    for topic in DocTopic::ALL {
        let address = topic.address();
        let (path, anchor) = address.split_once("docs/src/").unwrap().1.split_once('#').unwrap();
        assert!(DocPage::read(&root().join("docs/src").join(path)).anchors().contains(anchor), "{address}");
    }
}
