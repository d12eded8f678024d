//! What GitHub's runner does with a composite action: its steps in order, their inputs by expressions, what they write to
//! files for later steps.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{repository, yaml};
use crate::support::{Home, Run};

/// The action of this repository, with inputs of a workflow and what the job's environment has.
pub struct Action {
    definition: Value,
    /// The values of expressions, such as `inputs.command`.
    known: BTreeMap<String, String>,
    /// The path of the first step.
    path: String,
}

impl Action {
    /// With these inputs; those that are not given have their defaults. `path` has no bugfender-hooks.
    pub fn new(inputs: &[(&str, &str)], path: &str) -> Self {
        let definition = yaml::read(&repository().join("action.yml"));
        let known = [("github.token", "t0ken"), ("github.action_repository", "acme/tool")];
        let known = known.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut action = Self { definition, known, path: path.to_owned() };
        let declared = action.definition["inputs"].as_object().unwrap().clone();
        for (name, input) in &declared {
            let default = action.filled(input["default"].as_str().unwrap());
            action.known.insert(format!("inputs.{name}"), default);
        }
        for (name, value) in inputs {
            assert!(declared.contains_key(*name), "the action has no input {name}");
            action.known.insert(format!("inputs.{name}"), (*value).to_owned());
        }
        action
    }

    /// Runs the steps until one fails: what they showed together, and the outputs.
    pub fn run(mut self, home: &Home) -> (Run, BTreeMap<String, String>) {
        let mut whole = Run { code: 0, stdout: String::new(), stderr: String::new() };
        assert_eq!(self.definition["runs"]["using"], "composite");
        for step in self.definition["runs"]["steps"].as_array().unwrap().clone() {
            if whole.code != 0 || step["if"].as_str().is_some_and(|condition| !self.holds(condition)) {
                continue;
            }
            let Run { code, stdout, stderr } = self.step(home, &step);
            whole = Run { code, stdout: whole.stdout + &stdout, stderr: whole.stderr + &stderr };
        }
        let outputs = self.definition["outputs"].as_object().unwrap();
        let value = |output: &Value| self.filled(output["value"].as_str().unwrap());
        (whole, outputs.iter().map(|(name, output)| (name.clone(), value(output))).collect())
    }

    fn step(&mut self, home: &Home, step: &Value) -> Run {
        assert_eq!(step["shell"], "bash");
        let added = fs::read_to_string(home.path().join("path")).unwrap();
        let path: Vec<&str> = added.lines().rev().chain([self.path.as_str()]).collect();
        let inner = home.command::<&str>([]);
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        command.env_clear().current_dir(home.path()).env("PATH", path.join(":"));
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("GITHUB_ACTION_PATH", repository());
        for (name, value) in step["env"].as_object().unwrap() {
            command.env(name, self.filled(value.as_str().unwrap()));
        }
        let run = Run::of(command.output().unwrap());
        let output = fs::read_to_string(home.path().join("output")).unwrap();
        for (name, value) in output.lines().filter_map(|line| line.split_once('=')) {
            self.known.insert(format!("steps.{}.outputs.{name}", step["id"].as_str().unwrap()), value.to_owned());
        }
        run
    }

    /// A text with its expressions replaced.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${{") {
            let (expression, after) = from.split_once("}}").unwrap();
            filled += before;
            filled += &self.value(expression);
            rest = after;
        }
        filled + rest
    }

    /// The first of several that is not empty. What is not known is empty, as on GitHub.
    fn value(&self, expression: &str) -> String {
        let of = |term: &str| match term.strip_prefix('\'') {
            Some(text) => text.trim_end_matches('\'').to_owned(),
            None => self.known.get(term).cloned().unwrap_or_default(),
        };
        expression.split("||").map(|term| of(term.trim())).find(|value| !value.is_empty()).unwrap_or_default()
    }

    fn holds(&self, condition: &str) -> bool {
        let (left, right) = condition.split_once("==").unwrap();
        self.value(left) == self.value(right)
    }
}
