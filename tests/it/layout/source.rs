//! The sources of the crate as the guards see them: modules, the paths that name other modules, and types.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names on the way from the root of the crate to a module or an item.
pub type ItemPath = Vec<String>;

/// A file of `src`, which is a module.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    /// `store/sqlite/mod.rs` and `store/sqlite.rs` are `store::sqlite`; `lib.rs` is empty.
    pub module: ItemPath,
    /// What it names of the crate; its tests aside.
    pub uses: Uses,
    /// Its structs, enums, traits and type aliases, without those of traits and tests.
    pub types: Vec<String>,
    /// Whether it has a function `run`: a command.
    pub runs: bool,
}

/// What a module names of the crate.
pub struct Uses {
    /// The parts of the house, as its paths say: what one part offers of another is its own there.
    pub parts: BTreeSet<String>,
    /// The modules whose files define what it names, itself aside.
    pub modules: BTreeSet<ItemPath>,
}

/// All of `src` but `main.rs`, which is another crate.
pub fn sources() -> Vec<Source> {
    let mut files = files(&src());
    files.retain(|(path, _)| !path.ends_with("main.rs"));
    let modules: Vec<ItemPath> = files.iter().map(|(path, _)| module_of(path)).collect();
    let scans: Vec<Scan> = files.iter().zip(&modules).map(|((_, text), module)| Scan::of(module, text)).collect();
    let crate_ = Crate { modules: &modules, exports: scans.iter().flat_map(|scan| scan.exports.clone()).collect() };
    let uses: Vec<Uses> = modules.iter().zip(&scans).map(|(module, scan)| crate_.uses(module, scan)).collect();
    let mut found = Vec::new();
    for (((path, text), scan), (module, uses)) in files.into_iter().zip(scans).zip(modules.iter().cloned().zip(uses)) {
        found.push(Source { path, text, module, uses, types: scan.types, runs: scan.runs });
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

fn module_of(path: &Path) -> ItemPath {
    let relative = path.strip_prefix(src()).unwrap().with_extension("");
    let mut names: ItemPath = relative.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    names.pop_if(|name| matches!(name.as_str(), "mod" | "lib"));
    names
}

/// What the modules of the crate are, and which items they offer in another's place.
struct Crate<'a> {
    modules: &'a [ItemPath],
    exports: BTreeMap<ItemPath, ItemPath>,
}

impl Crate<'_> {
    fn uses(&self, module: &ItemPath, scan: &Scan) -> Uses {
        let child = |path: &&ItemPath| self.modules.iter().any(|child| *child == path[..=module.len()]);
        let named: Vec<&ItemPath> = scan.absolute.iter().chain(scan.local.iter().filter(child)).collect();
        let offered = scan.exports.iter().map(|(_, target)| target);
        let part = |path: &ItemPath| self.modules.contains(&path[..1].to_vec()).then(|| path[0].clone());
        let mut modules: BTreeSet<ItemPath> = named.iter().filter_map(|path| self.home(path)).collect();
        modules.remove(module);
        Uses { parts: named.iter().copied().chain(offered).filter_map(part).collect(), modules }
    }

    /// The module whose file defines this item, however often it is offered again on the way.
    fn home(&self, path: &ItemPath) -> Option<ItemPath> {
        let mut path = path.clone();
        // A path may lead through several modules that offer it again.
        for _ in 0..8 {
            let exported = (1..=path.len()).find_map(|end| Some((end, self.exports.get(&path[..end])?)));
            let Some((end, target)) = exported else { break };
            path = target.iter().chain(&path[end..]).cloned().collect();
        }
        (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|prefix| self.modules.contains(prefix))
    }
}

/// What one file names, before it is known what of it are modules.
#[derive(Default)]
struct Scan {
    /// Paths that begin with `crate`, `super` or `self`, or with a name that was imported so.
    absolute: Vec<ItemPath>,
    /// Paths that begin with any other name, as if that were a module of this one.
    local: Vec<ItemPath>,
    /// What `pub use` offers, and what it stands for.
    exports: Vec<(ItemPath, ItemPath)>,
    /// What is imported, by its name here.
    imported: BTreeMap<String, ItemPath>,
    types: Vec<String>,
    runs: bool,
}

impl Scan {
    fn of(module: &ItemPath, text: &str) -> Self {
        let tokens: Vec<TokenTree> = text.parse::<TokenStream>().unwrap().into_iter().collect();
        let runs = tokens.windows(2).any(|pair| is(&pair[0], "fn") && is(&pair[1], "run"));
        let mut scan = Self { runs, ..Self::default() };
        scan.tokens(&tokens, module, false);
        let imported = std::mem::take(&mut scan.imported);
        let through = |path: &ItemPath| {
            let target = imported.get(&path[module.len()])?;
            Some(target.iter().chain(&path[module.len() + 1..]).cloned().collect::<ItemPath>())
        };
        let through: Vec<ItemPath> = scan.local.iter().filter_map(through).collect();
        scan.absolute.extend(through);
        scan
    }

    /// Reads tokens that stand in `module`; `associated` says that types among them belong to a trait.
    fn tokens(&mut self, tokens: &[TokenTree], module: &ItemPath, associated: bool) {
        let (mut at, mut in_trait) = (0, false);
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(word) => match (word.to_string().as_str(), tokens.get(at + 1)) {
                    ("mod", Some(TokenTree::Ident(name))) => {
                        if let Some(TokenTree::Group(body)) = tokens.get(at + 2) {
                            if name != "tests" {
                                let inner: Vec<_> = body.stream().into_iter().collect();
                                let inner_module = module.iter().cloned().chain([name.to_string()]).collect();
                                self.tokens(&inner, &inner_module, false);
                            }
                            at += 2;
                        }
                    }
                    ("use", Some(_)) => {
                        let end = at + tokens[at..].iter().take_while(|token| !is(token, ";")).count();
                        let public = at > 0 && (is(&tokens[at - 1], "pub") || at > 1 && is(&tokens[at - 2], "pub"));
                        self.imports(&tokens[at + 1..end], module, public);
                        at = end;
                    }
                    ("struct" | "enum" | "trait", Some(TokenTree::Ident(name))) => {
                        in_trait |= word == "trait";
                        self.types.push(name.to_string());
                    }
                    ("type", Some(TokenTree::Ident(name))) if !associated => self.types.push(name.to_string()),
                    // Not that of `-> impl Trait`.
                    ("impl", _) if at == 0 || ends_item(&tokens[at - 1]) => in_trait = true,
                    _ => at = self.path(tokens, at, module),
                },
                TokenTree::Group(group) => {
                    let body = group.delimiter() == Delimiter::Brace;
                    let inner: Vec<_> = group.stream().into_iter().collect();
                    self.tokens(&inner, module, body && in_trait);
                    in_trait &= !body;
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// Reads the path of an expression or a type that begins here, and returns where it ends.
    fn path(&mut self, tokens: &[TokenTree], start: usize, module: &ItemPath) -> usize {
        let (mut names, mut at) = (vec![tokens[start].to_string()], start);
        while let [colon, second, TokenTree::Ident(name), ..] = &tokens[at + 1..]
            && is(colon, ":")
            && is(second, ":")
        {
            names.push(name.to_string());
            at += 3;
        }
        if names.len() > 1 {
            match absolute(&names, module) {
                Some(path) => self.absolute.push(path),
                None => self.local.push(module.iter().cloned().chain(names).collect()),
            }
        }
        at
    }

    /// Reads what stands between `use` and the semicolon.
    fn imports(&mut self, tokens: &[TokenTree], module: &ItemPath, public: bool) {
        let mut leaves = Vec::new();
        leaves_of(tokens, &[], &mut leaves);
        for (mut path, alias) in leaves {
            path.pop_if(|name| name == "self");
            let Some(name) = alias.or_else(|| path.last().cloned()) else { continue };
            let is_ours = absolute(&path, module);
            let target = is_ours.clone().unwrap_or_else(|| module.iter().cloned().chain(path).collect());
            if public {
                // An offer alone is no use: who takes it up uses what it stands for.
                self.exports.push((module.iter().cloned().chain([name]).collect(), target));
            } else if is_ours.is_some() {
                self.imported.insert(name, target.clone());
                self.absolute.push(target);
            } else {
                self.local.push(target);
            }
        }
    }
}

/// The paths of a tree such as `a::{b, c::{self, d as e}}`, with what they are called here if that is another name.
fn leaves_of(tokens: &[TokenTree], before: &[String], leaves: &mut Vec<(ItemPath, Option<String>)>) {
    for part in tokens.split(|token| is(token, ",")) {
        let (mut path, mut alias, mut group) = (before.to_vec(), None, None);
        for token in part {
            match token {
                TokenTree::Ident(word) if word == "as" => alias = Some(String::new()),
                TokenTree::Ident(word) if alias.is_some() => alias = Some(word.to_string()),
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(inner) => group = Some(inner.stream()),
                _ => {}
            }
        }
        match group {
            Some(inner) => leaves_of(&inner.into_iter().collect::<Vec<_>>(), &path, leaves),
            None if path.len() > before.len() => leaves.push((path, alias)),
            None => {}
        }
    }
}

/// A path from the root of the crate on, if it is one into the crate.
fn absolute(names: &[String], module: &ItemPath) -> Option<ItemPath> {
    let mut from = match names.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        _ => return None,
    };
    let rest = names.iter().skip_while(|name| match name.as_str() {
        "super" => {
            from.pop();
            true
        }
        "crate" | "self" => true,
        _ => false,
    });
    let rest: Vec<String> = rest.cloned().collect();
    from.extend(rest);
    Some(from)
}

/// Whether an item can begin after this: a body, an attribute, or a semicolon.
fn ends_item(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(_)) || is(token, ";") || is(token, "unsafe")
}

fn is(token: &TokenTree, text: &str) -> bool {
    matches!(token, TokenTree::Ident(_) | TokenTree::Punct(_)) && token.to_string() == text
}

#[test]
fn what_a_file_names_is_found() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<ItemPath>();
    let modules = ["a", "a::b", "a::c", "d", "e"].map(path);
    let offers = Scan::of(&modules[0], "pub use self::b::{Type as Name, other}; pub(crate) use c::*;");
    let crate_ = Crate { modules: &modules, exports: offers.exports.into_iter().collect() };
    let uses = |text: &str| {
        let Uses { parts, modules } = crate_.uses(&modules[2], &Scan::of(&modules[2], text));
        let modules: Vec<String> = modules.iter().map(|module| module.join("::")).collect();
        format!("{}; {}", Vec::from_iter(parts).join(" "), modules.join(" "))
    };
    assert_eq!(uses("use super::Name; // crate::d"), "a; a::b");
    assert_eq!(uses("use super::{super::d::{X, self}, own};"), "a d; a d");
    assert_eq!(uses("fn f() -> crate::e::X { println!(\"crate::d {}\", crate::a::other()) }"), "a e; a::b e");
    assert_eq!(uses("use crate::a as it; fn f(x: it::Name) {}"), "a; a a::b");
    assert_eq!(uses("mod inner { use super::super::b::X; } mod tests { use crate::d::X; }"), "a; a::b");
    assert_eq!(uses("pub(super) struct S; impl T for S { type X = u8; }"), "; ");
}

#[test]
fn the_types_of_a_file_are_found() {
    let types = |text: &str| Scan::of(&Vec::new(), text).types.join(" ");
    assert_eq!(
        types("struct A; enum B<T> { C(T) } type D = A; pub trait E { type F; fn g() { struct H; } }"),
        "A B D E H"
    );
    assert_eq!(types("impl Iterator for A { type Item = B; } type I = A; mod tests { struct J; }"), "I");
    assert_eq!(types("/// struct K;\nfn f(s: &str) -> impl Fn() { type L = u8; \"enum M\" }"), "L");
}
