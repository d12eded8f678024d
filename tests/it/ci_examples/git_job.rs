//! The job of `contrib/git`, in a shell that stops at no failure by itself.

use std::fs;
use std::process::Command;

use super::{MANIFEST, repository, run_with_binary, runner};
use crate::support::{Home, Run, SandboxServer, have};

/// The shell blocks of its README: how the file is made, and the job.
fn blocks() -> [String; 2] {
    let text = fs::read_to_string(repository().join("contrib/git/README.md")).unwrap();
    let mut blocks = text.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
    [blocks.next().unwrap(), blocks.next().unwrap()]
}

/// A machine with a copy of the repository, and no registry.
fn machine(sandbox: &SandboxServer, origin: &Home) -> Home {
    let home = runner(sandbox, "sqlite:registry.db").set("HOME", origin.path().to_str().unwrap());
    let clone = run_with_binary(&home, &format!("git clone -q '{}' work", origin.path().join("origin").display()));
    assert_eq!(clone.code, 0, "{clone}");
    home
}

fn job(home: &Home, job: &str) -> Run {
    fs::write(home.path().join("job.sh"), job).unwrap();
    run_with_binary(home, "export BUGFENDER_HOOKS_STORE=sqlite:$PWD/registry.db; cd work && bash ../job.sh")
}

/// The file in the repository, and how many commits there are.
fn state(home: &Home) -> (String, String) {
    let log = Command::new("git").args(["-C", "work", "rev-list", "--count", "HEAD"]).current_dir(home.path()).output();
    let file = fs::read_to_string(home.path().join("work/hooks.registry.json")).unwrap();
    (file, Run::of(log.unwrap()).stdout)
}

#[test]
fn a_job_that_cannot_import_changes_nothing() {
    if !have("git") {
        return;
    }
    let [once, steps] = blocks();
    let sandbox = SandboxServer::start();
    let origin = Home::new();
    fs::write(origin.path().join(".gitconfig"), "[user]\nname = tests\nemail = tests@example.com\n").unwrap();
    fs::create_dir(origin.path().join("origin")).unwrap();
    fs::write(origin.path().join("origin/hooks.toml"), MANIFEST).unwrap();
    let first = runner(&sandbox, "sqlite:registry.db").set("HOME", origin.path().to_str().unwrap());
    let set_up = format!(
        "cd '{}' && git init -q -b main && {once} git add . && git commit -qm first && git config receive.denyCurrentBranch ignore",
        origin.path().join("origin").display()
    );
    let run = run_with_binary(&first, &set_up);
    assert_eq!(run.code, 0, "{run}");
    // Without --initial nothing is made, and the file is as it was.
    let home = machine(&sandbox, &origin);
    let before = state(&home);
    assert_eq!((job(&home, &steps).code, state(&home)), (2, before));
    let run = job(&home, &steps.replace("--yes", "--yes --initial"));
    assert_eq!((run.code, state(&home).1.trim()), (0, "2"), "{run}");
    assert_eq!(state(&home).0.matches("\"hook_id\"").count(), 2);
    let push = run_with_binary(&home, "cd work && git push -q origin HEAD:main");
    assert_eq!(push.code, 0, "{push}");
    // A fresh machine has the hooks; one whose file is damaged, or gone, does nothing.
    let home = machine(&sandbox, &origin);
    let before = state(&home);
    assert_eq!((job(&home, &steps).code, state(&home)), (0, before));
    let home = machine(&sandbox, &origin);
    let file = home.path().join("work/hooks.registry.json");
    let damaged = fs::read_to_string(&file).unwrap().replacen('[', "", 1);
    fs::write(&file, &damaged).unwrap();
    for initial in ["--yes", "--yes --initial"] {
        assert_eq!(job(&home, &steps.replace("--yes", initial)).code, 2);
        assert_eq!(state(&home), (damaged.clone(), "2\n".to_owned()));
    }
    fs::remove_file(&file).unwrap();
    assert_eq!((job(&home, &steps).code, file.exists()), (2, false));
    assert_eq!(sandbox.requests("POST /api/hook").len(), 2);
}

#[test]
fn an_export_without_hooks_replaces_no_file_that_has_some() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let path = home.path().join("hooks.registry.json");
    let export = |home: &Home| home.run(["registry", "export", path.to_str().unwrap()]);
    // A new file, and one without hooks, may be written.
    let empty = Home::of(&sandbox);
    assert_eq!((export(&empty).code, export(&empty).code), (0, 0));
    home.subscribe("1", "new_crash", "https://hooks.example.com/bf");
    assert_eq!(export(&home).code, 0);
    let text = fs::read_to_string(&path).unwrap();
    // Without a registry, and with one that is as empty.
    for _ in 0..2 {
        let run = export(&empty);
        assert_eq!(run.code, 9, "{run}");
        assert!(
            run.stderr.contains("there are no hooks to export, and ") && run.stderr.contains("registry import"),
            "{run}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        empty.json(&["registry", "import", "/dev/null"]);
        assert!(empty.registry().exists());
    }
    // Nor one of which it cannot be said.
    fs::write(&path, "{").unwrap();
    assert_eq!((export(&empty).code, fs::read_to_string(&path).unwrap().as_str()), (9, "{"));
    assert_eq!(export(&home).code, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
