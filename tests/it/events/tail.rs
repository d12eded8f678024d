//! `events tail`, while events come.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use bugfender_hooks::store::Store;
use serde_json::{Value, json};

use super::{filled, store};
use crate::assert_shown;
use crate::support::inbox::{bugfender, encoded};
use crate::support::{Home, Run, Signal, signal};

/// `events tail`, as somebody looks on.
struct Tail {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Tail {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = home.command([&["events", "tail"], args].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// Ends it with Ctrl-C.
    fn interrupt(self) -> Run {
        signal(&self.child, Signal::INT);
        Run::of(self.child.wait_with_output().unwrap())
    }
}

#[test]
fn a_tail_shows_what_is_there_and_what_comes() {
    let home = filled();
    let mut tail = Tail::start(&home, &["--lines", "2", "--type", "crash,issue", "--source", "bugfender"]);
    let mut shown = vec![tail.line(), tail.line(), tail.line()];
    let mut inbox = store(&home).receiver_inbox().unwrap();
    let body = r#"[{"id":"skipped","type":"feedback"},{"id":"new-1","type":"crash","title":"New"}]"#;
    inbox.commit(&encoded(&[bugfender(60, body)]), &[]).unwrap();
    shown.push(tail.line());
    inbox.commit(&encoded(&[bugfender(61, r#"[{"id":"new-2","type":"issue","app":{"id":12345}}]"#)]), &[]).unwrap();
    shown.push(tail.line());
    assert_shown!("tail", shown.join("\n"));
    let run = tail.interrupt();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run}");
}

#[test]
fn a_tail_has_the_formats_of_json_line_by_line() {
    let home = filled();
    for format in ["json", "ndjson"] {
        let mut tail = Tail::start(&home, &["--lines", "1", "--output", format]);
        let record: Value = serde_json::from_str(&tail.line()).unwrap();
        assert_eq!((&record["source"], &record["status"]), (&json!("instabug"), &json!("stored")));
        assert_eq!(tail.interrupt().code, 0);
    }
    let mut tail = Tail::start(&home, &["--jq", ".id", "--dead"]);
    assert_eq!(tail.line(), "crash-1");
    assert_eq!(tail.interrupt().code, 0);
    let mut tail = Tail::start(&home, &["-q", "--lines", "2"]);
    assert_eq!(tail.line(), "4");
    assert_eq!(tail.interrupt().code, 0);
    let mut tail = Tail::start(&home, &["--output", "csv", "--lines", "2"]);
    assert!(tail.line().starts_with("id,source,type") && tail.line().starts_with("4,bugfender,,"));
    // A closed pipe ends it, although nothing comes.
    let Tail { mut child, lines } = tail;
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tail_waits_for_the_inbox() {
    let home = Home::new();
    let mut tail = Tail::start(&home, &["-q"]);
    let mut noted = Tail::start(&home, &[]);
    assert!(noted.line().starts_with("RECEIVED"));
    let mut note = String::new();
    BufReader::new(noted.child.stderr.as_mut().unwrap()).read_line(&mut note).unwrap();
    assert!(note.contains("`bugfender-hooks listen` receives events"), "{note}");
    assert_eq!(noted.interrupt().code, 0);
    let mut inbox = store(&home).receiver_inbox().unwrap();
    inbox.commit(&encoded(&[bugfender(1, r#"[{"id":"first"}]"#)]), &[]).unwrap();
    assert_eq!(tail.line(), "first");
    assert_eq!(tail.interrupt().code, 0);
}
