//! The house: imports point one way, and what is said to stand in one place stands there.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{ItemPath, Source, sources};

/// What each part may import from, from the top of the house to its foot: imports point down this list.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lib", &["cli", "commands", "context", "auth", "config", "render", "domain", "error"]),
    ("cli", &["commands", "config", "render", "domain", "error"]),
    (
        "commands",
        &[
            "context", "hooks", "manifest", "poll", "receiver", "ui", "sandbox", "samples", "api", "auth", "http",
            "store", "config", "render", "domain", "error", "platform",
        ],
    ),
    ("context", &["hooks", "api", "auth", "http", "store", "config", "render", "domain", "error", "platform"]),
    ("hooks", &["manifest", "api", "store", "domain", "error"]),
    ("manifest", &["config", "domain", "error"]),
    ("poll", &["api", "http", "store", "domain", "error"]),
    ("receiver", &["ui", "http", "store", "domain", "error", "platform"]),
    ("ui", &["http", "store", "domain", "error"]),
    ("sandbox", &["samples", "http", "domain", "error"]),
    ("samples", &["domain"]),
    ("api", &["http", "domain", "error"]),
    ("auth", &["http", "config", "domain", "error", "platform"]),
    ("http", &["domain", "error"]),
    ("store", &["config", "domain", "error", "platform"]),
    ("config", &["domain", "error", "platform"]),
    ("render", &["domain", "error"]),
    ("domain", &["error"]),
    ("error", &[]),
    ("platform", &[]),
];

/// The part of the house that a module belongs to.
fn part(module: &ItemPath) -> &str {
    module.first().map_or("lib", String::as_str)
}

fn shown(module: &ItemPath) -> String {
    module.join("::")
}

#[test]
fn imports_point_down() {
    let order: Vec<&str> = MAY_IMPORT.iter().map(|(part, _)| *part).collect();
    for (index, (part, allowed)) in MAY_IMPORT.iter().enumerate() {
        let up = allowed.iter().find(|allowed| !order[index + 1..].contains(allowed));
        assert_eq!(up, None, "{part} imports upwards");
    }
    let allowed: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let mut seen = 0;
    for source in sources() {
        let here = part(&source.module);
        let allowed = allowed.get(here).unwrap_or_else(|| panic!("{here} has no place in the house"));
        for there in &source.uses.parts {
            seen += 1;
            let may = there == here || allowed.contains(&there.as_str());
            assert!(may, "{} imports {there}", source.path.display());
        }
    }
    assert!(seen > 200);
}

/// The files and folders of one folder, a folder with all that is in it, use one another in no circle.
///
/// A folder's own `mod.rs` is none of them: it is the room in which they stand, which puts them together, and whose
/// types they share. What it only offers again (`pub use`) counts as an import of the file that defines it.
#[test]
fn files_beside_one_another_import_in_no_circle() {
    let mut folders: BTreeMap<ItemPath, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for source in sources() {
        for used in &source.uses.modules {
            let common = source.module.iter().zip(used).take_while(|(here, there)| here == there).count();
            if let (Some(here), Some(there)) = (source.module.get(common), used.get(common)) {
                let folder = folders.entry(used[..common].to_vec()).or_default();
                folder.entry(here.clone()).or_default().insert(there.clone());
            }
        }
    }
    let circles = |(folder, uses): (&ItemPath, &BTreeMap<String, BTreeSet<String>>)| {
        let circle = |start: &String| circle_through(start, uses).map(|circle| format!("{}: {circle}", shown(folder)));
        uses.keys().filter_map(circle).collect::<Vec<_>>()
    };
    let found: Vec<String> = folders.iter().flat_map(circles).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The shortest way from a file over its imports back to itself.
fn circle_through(start: &String, uses: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in uses.get(way[way.len() - 1]).into_iter().flatten() {
                if next == start {
                    let names: Vec<&str> = way.iter().chain([&start]).map(|name| name.as_str()).collect();
                    return Some(names.join(" → "));
                }
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

/// A command is a module of `commands` with a function `run`. Only what is above it, which calls it, and what is in its
/// own folder name it; what two commands share stands in a module beside them, or below `commands`.
#[test]
fn no_command_imports_another() {
    let sources = sources();
    let is_command = |source: &&Source| part(&source.module) == "commands" && source.runs;
    let commands: Vec<&ItemPath> = sources.iter().filter(is_command).map(|source| &source.module).collect();
    assert!(commands.len() > 25);
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| part(&source.module) == "commands") {
        for command in &commands {
            let apart = !source.module.starts_with(command) && !command.starts_with(&source.module);
            if apart && source.uses.modules.iter().any(|used| used.starts_with(command)) {
                found.push(format!("{} imports {}", shown(&source.module), shown(command)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// `Args` aside: the flags of a command are named by their module.
#[test]
fn a_name_names_one_type() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in &source.types {
            places.entry(name.clone()).or_default().push(shown(&source.module));
        }
    }
    assert!(places.len() > 200);
    places.remove("Args");
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}

#[test]
fn only_the_command_line_knows_clap() {
    for source in sources() {
        let top = matches!(part(&source.module), "lib" | "cli" | "commands");
        let knows = source.text.contains("clap::") || source.text.contains("clap_");
        assert!(top || !knows, "{}", source.path.display());
    }
}

#[test]
fn only_the_platform_knows_systems() {
    for source in sources() {
        let knows = source.text.contains("cfg(unix)") || source.text.contains("os::unix");
        assert!(part(&source.module) == "platform" || !knows, "{}", source.path.display());
    }
}

#[test]
fn only_the_store_knows_its_database() {
    for source in sources() {
        let here = source.module.starts_with(&["store".to_owned(), "sqlite".to_owned()]);
        assert!(here || !source.text.contains("rusqlite"), "{}", source.path.display());
    }
}

#[test]
fn every_file_says_what_it_is() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{}", source.path.display());
    }
}

#[test]
fn every_variable_is_named_in_one_file() {
    for source in sources() {
        let asks = source.text.contains("env::var(") || source.text.contains("env::var_os(");
        assert!(!asks || source.path.ends_with("config/environment.rs"), "{}", source.path.display());
    }
}
