//! Hooks as code: a manifest, its plan, and what carrying it out does.

mod kills;
mod ownership;
mod requests;
mod reviewed;
mod together;

use serde_json::Value;

use crate::support::{Home, Run};

/// A manifest: for each entry its apps, events and target.
struct Manifest {
    name: &'static str,
    hooks: Vec<(Vec<i64>, &'static str, String)>,
}

impl Manifest {
    /// Writes it as `hooks.toml` into the home, in which runs start.
    fn write(&self, home: &Home) {
        let mut text = format!("name = \"{}\"\n", self.name);
        for (apps, events, target) in &self.hooks {
            let hook = format!("\n[[hook]]\napp_id = {apps:?}\nevents = \"{events}\"\ntarget_url = \"{target}\"\n");
            text.push_str(&hook);
        }
        std::fs::write(home.path().join("hooks.toml"), text).unwrap();
    }
}

const URL: &str = "https://hooks.example.com/bf";

/// A manifest with one hook for each of these apps.
fn for_apps(apps: std::ops::RangeInclusive<i64>) -> Manifest {
    Manifest { name: "mobile", hooks: vec![(apps.collect(), "new_crash", URL.to_owned())] }
}

fn apply(home: &Home, arguments: &[&str]) -> Run {
    home.run([&["apply", "-f", "hooks.toml"], arguments].concat())
}

fn plan(home: &Home, arguments: &[&str]) -> Run {
    home.run([&["plan", "-f", "hooks.toml"], arguments].concat())
}

/// Applies for the first time, which must succeed.
fn apply_first(home: &Home) -> Run {
    let run = apply(home, &["--yes", "--initial"]);
    assert_eq!(run.code, 0, "{run}");
    run
}

/// The hooks on record that have not ended.
fn hooks_on_record(home: &Home) -> Vec<Value> {
    home.json(&["list"]).as_array().unwrap().clone()
}

fn counts(run: &Run) -> Value {
    run.json()["counts"].clone()
}
