//! The pages: the README and those of the book, and what stands in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A page, by its path in the repository.
pub struct DocPage {
    pub path: String,
    pub text: String,
}

/// A block of code.
pub struct CodeBlock {
    /// What stands behind the fence: the language, and how it is run.
    pub info: String,
    /// The name in the comment above it, by which a test of its own runs it.
    pub name: Option<String>,
    pub text: String,
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of the book.
pub fn pages() -> Vec<DocPage> {
    let mut paths = vec![root().join("README.md")];
    collect(&root().join("docs/src"), &mut paths);
    assert!(paths.len() > 20);
    paths.iter().map(|path| DocPage::read(path)).collect()
}

/// The whole text of all of them.
pub fn documentation() -> String {
    pages().into_iter().map(|page| page.text).collect::<Vec<_>>().join("\n")
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.extension() {
            None if path.is_dir() => collect(&path, found),
            Some(kind) if kind == "md" => found.push(path),
            _ => {}
        }
    }
}

impl DocPage {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path: path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/"), text }
    }

    fn events(&self) -> impl Iterator<Item = Event<'_>> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES)
    }

    /// All blocks of code, in order.
    pub fn blocks(&self) -> Vec<CodeBlock> {
        let (mut blocks, mut name, mut open) = (Vec::new(), None, false);
        for event in self.events() {
            match event {
                Event::Html(html) => {
                    let comment = html.strip_prefix("<!-- ").and_then(|rest| rest.split_once(':'));
                    name = comment.map(|(name, _)| name.to_owned());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    blocks.push(CodeBlock { info: info.to_string(), name: name.take(), text: String::new() });
                    open = true;
                }
                Event::End(TagEnd::CodeBlock) => open = false,
                Event::Text(text) if open => blocks.last_mut().unwrap().text.push_str(&text),
                Event::Start(Tag::HtmlBlock) | Event::End(TagEnd::HtmlBlock) => {}
                _ => name = None,
            }
        }
        blocks
    }

    /// Where links and pictures lead.
    pub fn links(&self) -> Vec<String> {
        let link = |event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
            _ => None,
        };
        self.events().filter_map(link).collect()
    }

    /// The anchors of its headings, as GitHub and mdBook make them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let (mut anchors, mut heading) = (BTreeSet::new(), None);
        for event in self.events() {
            match (event, &mut heading) {
                (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
                (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
                (Event::End(TagEnd::Heading(_)), _) => {
                    let anchor = anchor(&heading.take().unwrap());
                    let twice = (1..).map(|number| format!("{anchor}-{number}"));
                    let free = std::iter::once(anchor.clone()).chain(twice).find(|anchor| !anchors.contains(anchor));
                    anchors.extend(free);
                }
                _ => {}
            }
        }
        anchors
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}
