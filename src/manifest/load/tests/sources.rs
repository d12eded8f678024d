//! Where files are found, and what need not be there.

use super::*;

#[test]
fn directories_are_read_and_a_file_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let none = load(&[dir.path().to_owned(), dir.path().join("none.toml")], &variable).unwrap_err();
    assert!(none.len() == 2 && none[0].message().contains("no manifest in this directory"), "{none:?}");
    assert!(none[1].message().contains("none.toml: No such file"), "{none:?}");
    write("a.toml", "name = 'mobile'\n");
    write("b.yml", "hook: [{app_id: 1, events: all, target_url: '@url.txt'}]\n");
    write("url.txt", "https://h.example/\n");
    write(".hidden.toml", "=");
    write("hooks.schema.json", "=");
    write("notes.md", "=");
    fs::create_dir(dir.path().join("more.toml")).unwrap();
    let sources = [dir.path().to_owned(), dir.path().join("b.yml"), dir.path().join("./a.toml")];
    let loaded = load(&sources, &variable).unwrap_or_else(|errors| panic!("{}", shown(&errors)));
    assert_eq!(loaded.manifest.hooks.len(), 3);
    let files = check(&sources, &variable, true).unwrap().files;
    assert_eq!(files.len(), 2);
}

#[test]
fn what_cannot_be_read_in_a_directory_is_not_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.toml"), "name = 'mobile'\n").unwrap();
    for (name, target) in [("gone.yaml", "nowhere"), ("loop.json", "loop.json"), ("linked.toml", ".")] {
        let made = std::process::Command::new("ln").args(["-s", target]).arg(path(name)).status().unwrap();
        assert!(made.success());
    }
    let made = std::process::Command::new("mkfifo").arg(path("pipe.toml")).status().unwrap();
    assert!(made.success());
    let said = shown(&load(&[dir.path().to_owned()], &variable).unwrap_err());
    let said: Vec<&str> = said.lines().map(|line| line.rsplit_once('/').unwrap().1).collect();
    let no_file = "this has the name of a manifest, and is no file";
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with("gone.yaml: No such file"), "{said:?}");
    assert_eq!(said[1], format!("linked.toml: {no_file}"));
    assert!(said[2].starts_with("loop.json: "), "{said:?}");
    assert_eq!(said[3], format!("pipe.toml: {no_file}"));
}

#[test]
fn what_is_missing_is_tolerated_by_a_check_unless_it_is_strict() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    let hook = |url: &str| format!("[[hook]]\napp_id = 1\nevents = 'new_crash'\ntarget_url = '{url}'\n");
    let urls = ["https://h.example/${UNSET}", "https://h.example/${UNSET}/x", "@none.txt"];
    fs::write(&path, format!("name = 'a'\n{}", urls.map(hook).concat())).unwrap();
    let checked = check(std::slice::from_ref(&path), &variable, false).unwrap();
    let shown: Vec<&str> = checked.hooks.iter().map(|hook| hook.shown_target.as_str()).collect();
    assert_eq!(shown, urls);
    // The variable is named once.
    assert_eq!(checked.warnings.len(), 2, "{:?}", checked.warnings);
    assert_eq!(check(std::slice::from_ref(&path), &variable, true).unwrap_err().len(), 2);
    fs::write(&path, format!("name = 'a'\n{}", [urls[0]; 2].map(hook).concat())).unwrap();
    let twice = check(&[path], &variable, false).unwrap_err();
    assert!(twice.len() == 1 && twice[0].message().contains("already"), "{twice:?}");
}
