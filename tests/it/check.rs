//! `check`, against receivers that are good and receivers that get one thing wrong.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::assert_shown;
use crate::support::{Exchange, Home, Run, Scripted, Signal, answer, free_address, have, signal, wait_until};

const KEY: &str = "k3yThatNobodyGuesses";
const SECRET: &str = "s3cretOfInstabug16";

/// What a receiver is asked, and how often the same was asked before.
struct Call<'a> {
    exchange: &'a Exchange,
    json: Option<Value>,
    before: usize,
}

impl Call<'_> {
    /// Whether the case of this name sent it.
    fn is_of(&self, case: &str) -> bool {
        self.exchange.body.contains(&format!("[check] {case}\""))
    }
}

/// A receiver that does as it should, but where `fault` answers instead.
fn receiver(fault: impl Fn(&Call) -> Option<String> + Send + 'static) -> Scripted {
    let mut seen: Vec<String> = Vec::new();
    Scripted::start(move |_, exchange| {
        let json = serde_json::from_str(&exchange.body).ok();
        let before = seen.iter().filter(|body| **body == exchange.body).count();
        seen.push(exchange.body.clone());
        let call = Call { exchange, json, before };
        let shown = fault(&call).unwrap_or_else(|| {
            let right = call.exchange.line == format!("POST /hook/{KEY}");
            answer(
                if !right {
                    "404 Not Found"
                } else if call.json.is_none() {
                    "400 Bad Request"
                } else {
                    "204 No Content"
                },
                &[],
                "",
            )
        });
        exchange.send(shown);
    })
}

fn url(server: &Scripted) -> String {
    format!("{}/hook/{KEY}", server.url)
}

/// The rows of a run in JSON.
fn rows(run: &Run) -> Vec<Value> {
    run.json().as_array().unwrap().clone()
}

/// The row of a case.
fn row(run: &Run, case: &str) -> Value {
    rows(run).into_iter().find(|row| row["case"] == case).unwrap_or_else(|| panic!("{case}: {run}"))
}

/// The cases that ended so.
fn ended(run: &Run, outcome: &str) -> Vec<String> {
    let rows = rows(run).into_iter().filter(|row| row["outcome"] == outcome);
    rows.map(|row| row["case"].as_str().unwrap().to_owned()).collect()
}

fn check(home: &Home, url: &str, more: &[&str]) -> Run {
    home.run(["check", url, "--output", "json"].iter().chain(more))
}

/// What Python reads in a JUnit file: the suite, then each case with how it ended and the message.
fn junit(home: &Home, file: &str) -> Vec<Vec<String>> {
    let script = "import json,sys,xml.etree.ElementTree as E\nroot=E.parse(sys.argv[1]).getroot()\n\
                  print(json.dumps([[s.get('name'),s.get('tests'),s.get('failures'),s.get('errors'),s.get('skipped')] for s in root]+\
                  [[c.get('name'),*[x for k in c for x in (k.tag,k.get('message'))]] for c in root.iter('testcase')]))";
    let output = Command::new("python3").args(["-c", script, file]).current_dir(home.path()).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_good_receiver_passes() {
    let titles: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&titles);
    let server = receiver(move |call| {
        let events = call.json.iter().filter_map(Value::as_array).flatten();
        log.lock().unwrap().extend(events.map(|event| event["title"].as_str().unwrap().to_owned()));
        None
    });
    let home = Home::new();
    let run = home.run(["check", &url(&server), "--junit", "check.xml"]);
    assert_eq!(run.code, 0, "{run}");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"(?m)(\d{3}|-)( +)\d+ +expected", "$1$2[MS]  expected");
    settings.add_filter(r"MS +MESSAGE", "MS    MESSAGE");
    settings.add_filter(r"took \d+ ms \(\w+\)", "took [MS] ms ([CASE])");
    settings.bind(|| assert_shown!("good", run));
    // Each call once, the duplicates and those at the same time as many times as there are.
    assert_eq!(server.seen().len(), 12 + 7);
    let titles = titles.lock().unwrap();
    assert!(titles.len() > 20 && titles.iter().all(|title| title.starts_with("[check] ")), "{titles:?}");
    if have("python3") {
        let cases = junit(&home, "check.xml");
        assert_eq!(cases[0], [&server.url, "13", "0", "0", "0"]);
        assert_eq!((cases.len(), &cases[1][..]), (14, &["crash".to_owned()][..]));
    }
}

#[test]
fn what_is_sent_is_what_the_case_says() {
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let server = receiver(move |call| {
        log.lock().unwrap().push((call.exchange.line.clone(), call.exchange.body.clone()));
        None
    });
    let run = check(&Home::new(), &url(&server), &["--app-id", "7"]);
    assert_eq!(run.code, 0, "{run}");
    let seen = seen.lock().unwrap();
    let of = |case: &str| -> Vec<&(String, String)> {
        seen.iter().filter(|(_, body)| body.contains(&format!("[check] {case}\""))).collect()
    };
    let events = |case: &str| serde_json::from_str::<Value>(&of(case)[0].1).unwrap();
    assert_eq!((of("crash").len(), &of("crash")[0].1), (2, &of("crash")[1].1));
    assert_eq!((&events("crash")[0]["type"], &events("crash")[0]["app"]["id"]), (&"crash".into(), &7.into()));
    assert_eq!((&events("issue")[0]["type"], &events("feedback")[0]["type"]), (&"issue".into(), &"feedback".into()));
    assert!(events("older_shape")[0]["id"].is_i64());
    assert!(events("unknown_fields")[0]["check_list"].is_array());
    assert_eq!(events("batch").as_array().unwrap().len(), 3);
    let twins = events("duplicate_in_batch");
    assert_eq!((twins.as_array().unwrap().len(), &twins[0]), (2, &twins[1]));
    let large = of("large_body")[0].1.len();
    assert!((1_000_000..1_048_576).contains(&large), "{large}");
    let ids: Vec<_> = of("concurrent").iter().map(|(_, body)| body).collect();
    assert_eq!((ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len()), (8, 8));
    let (line, _) = of("wrong_path")[0];
    assert!(line.starts_with("POST /hook/") && !line.contains(KEY), "{line}");
    assert_eq!(line.len(), format!("POST /hook/{KEY}").len());
}

#[test]
fn each_mistake_fails_its_own_case() {
    type Fault = fn(&Call) -> Option<String>;
    let faults: [(&str, &str, Fault, &str); 8] = [
        (
            "duplicate",
            "500",
            |call| (call.before > 0).then(|| answer("500 Oops", &[], "")),
            "got HTTP 500: accept the same",
        ),
        (
            "large_body",
            "413",
            |call| (call.exchange.body.len() > 100_000).then(|| answer("413 Too Large", &[], "")),
            "got HTTP 413: allow bodies of 1 MB",
        ),
        (
            "older_shape",
            "400",
            |call| call.is_of("older_shape").then(|| answer("400 Bad", &[], r#"{"message":"no field `type`"}"#)),
            "got HTTP 400 (\"no field `type`\"): accept the older shape",
        ),
        (
            "malformed",
            "200",
            |call| call.json.is_none().then(|| answer("200 OK", &[], "")),
            "expected 4xx, got HTTP 200",
        ),
        (
            "malformed",
            "500",
            |call| call.json.is_none().then(|| answer("500 Oops", &[], "")),
            "expected 4xx, got HTTP 500",
        ),
        ("wrong_path", "200", |call| call.is_of("wrong_path").then(|| answer("200 OK", &[], "")), "answer 404 unless"),
        (
            "issue",
            "308",
            |call| {
                let to = format!("location: /hook/{KEY}/");
                call.is_of("issue").then(|| answer("308 Permanent Redirect", &[&to], ""))
            },
            "got HTTP 308: give the URL that it redirects to",
        ),
        (
            "feedback",
            "null",
            |call| call.is_of("feedback").then(String::new),
            "expected 2xx, got no response (http://127.0.0.1:",
        ),
    ];
    for (case, status, fault, said) in faults {
        let server = receiver(fault);
        let run = check(&Home::new(), &url(&server), &[]);
        assert_eq!((run.code, ended(&run, "failed")), (1, vec![case.to_owned()]), "{run}");
        let row = row(&run, case);
        assert_eq!(row["status"].to_string(), status, "{run}");
        assert!(row["message"].as_str().unwrap().contains(said), "{row}");
        assert!(run.error()["message"].as_str().unwrap().ends_with(&format!("1 of 13 cases failed: {case}")), "{run}");
    }
}

#[test]
fn the_slowest_answer_decides() {
    let server = receiver(|call| {
        let start = Instant::now();
        if call.is_of("batch") {
            // Slower than any other answer of a busy machine.
            wait_until("a slow answer", || start.elapsed() > Duration::from_secs(2));
        }
        None
    });
    let run = check(&Home::new(), &url(&server), &["--max-latency", "1999"]);
    assert!(ended(&run, "failed") == ["latency"] && run.code == 1, "{run}");
    let message = row(&run, "latency")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("at most 1999 ms") && message.contains("ms (batch): store"), "{message}");
}

#[test]
fn some_calls_of_many_may_fail() {
    let busy = AtomicUsize::new(0);
    let server = receiver(move |call| {
        let refuse = call.is_of("concurrent") && busy.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        refuse.then(|| answer("503 Busy", &[], ""))
    });
    let run = check(&Home::new(), &url(&server), &[]);
    let message = row(&run, "concurrent")["message"].to_string();
    assert!(message.contains("expected 2xx, got HTTP 503 for 2 of 8 requests: "), "{message}");
}

#[test]
fn a_short_path_is_no_key() {
    for path in ["", "/", "/hook", "/hook/fifteen-letters/"] {
        let server = Scripted::start(|_, exchange| {
            let good = serde_json::from_str::<Value>(&exchange.body).is_ok();
            exchange.send(answer(if good { "200 OK" } else { "400 Bad" }, &[], ""));
        });
        let run = check(&Home::new(), &format!("{}{path}", server.url), &[]);
        assert_eq!((run.code, ended(&run, "skipped")), (0, vec!["wrong_path".to_owned()]), "{run}");
        assert!(row(&run, "wrong_path")["ms"].is_null(), "{run}");
    }
}

/// A receiver of Instabug's reports, which looks at the signature by means of `verify`, or at nothing.
fn instabug(looks: bool) -> Scripted {
    Scripted::start(move |_, exchange| {
        let home = Home::new();
        fs::write(home.path().join("secret"), SECRET).unwrap();
        let header = format!("x-lcq-signature-256: {}", exchange.header("x-lcq-signature-256").unwrap_or("none"));
        let verified = home.run_with_input(&["verify", "--secret-file", "secret", "-H", &header], &exchange.body);
        let json = serde_json::from_str::<Value>(&exchange.body);
        let known = json.is_ok_and(|json| ["Exception", "Title", "title"].iter().any(|key| json[key].is_string()));
        exchange.send(match (looks && verified.code != 0, known) {
            (true, _) => answer("401 Unauthorized", &[], ""),
            (_, false) => answer("422 Unprocessable", &[], ""),
            (_, true) => answer("200 OK", &[], ""),
        });
    })
}

#[test]
fn instabugs_reports_are_signed_and_the_others_refused() {
    let home = Home::new();
    fs::write(home.path().join("secret"), SECRET).unwrap();
    let signed = ["--instabug", "--secret-file", "secret"];
    let run = check(&home, &instabug(true).url, &signed);
    assert_eq!((run.code, rows(&run).len(), ended(&run, "passed").len()), (0, 11, 11), "{run}");
    assert_eq!(row(&run, "malformed")["status"], 422, "{run}");

    let run = check(&home, &instabug(false).url, &signed);
    assert_eq!((run.code, ended(&run, "failed").join(" ")), (1, "bad_signature missing_signature".to_owned()), "{run}");
    let run = check(&home, &instabug(false).url, &["--instabug"]);
    assert_eq!(
        (run.code, ended(&run, "skipped").join(" ")),
        (0, "bad_signature missing_signature".to_owned()),
        "{run}"
    );
    let run = check(&home, &instabug(true).url, &["--instabug"]);
    assert!(run.code == 1 && row(&run, "crash")["message"].as_str().unwrap().ends_with("give --secret-file"), "{run}");
}

#[test]
fn what_the_receiver_says_breaks_no_xml_and_shows_no_secret() {
    let home = Home::new();
    fs::write(home.path().join("secret"), SECRET).unwrap();
    // What is quoted is short: each answer repeats another thing.
    let server = Scripted::start(|before, exchange| {
        let authorization = exchange.header("authorization").unwrap_or_default().to_owned();
        let echoed = [
            exchange.line.clone(),
            authorization,
            format!("{SECRET} p@ss+\"w0rd\" s3cretQuery"),
            r#"[{"a": "p@ss+\"w0rd\""}]"#.to_owned(),
        ];
        let odd = "<&\"'>\u{1}\u{1b}[31m]]>\u{fffe}\u{ffff}\u{202e}";
        let said = &echoed[before % echoed.len()];
        let body = if said.starts_with('[') { said.clone() } else { format!("it says {odd} {said}") };
        exchange.send(answer("400 Bad Request", &[], &body));
    });
    let host = server.url.strip_prefix("http://").unwrap();
    let secret_url = format!("http://someone:p%40ss+%22w0rd%22@{host}/first-of-the-keys/{KEY}?token=s3cretQuery");
    fs::write(home.path().join("url"), &secret_url).unwrap();
    let args = ["--instabug", "--secret-file", "secret", "--junit", "check.xml"];
    fs::write(home.path().join("check.xml"), "x".repeat(1_000_000)).unwrap();
    for url in ["@url", &secret_url] {
        for format in [&[][..], &["--output", "json"], &["-vvv"]] {
            let run = home.run(["check", url].iter().chain(&args).chain(format));
            assert_eq!(run.code, 1, "{run}");
            let shown = if format == ["-vvv"] { run.stdout.clone() } else { run.to_string() };
            let xml = fs::read_to_string(home.path().join("check.xml")).unwrap();
            for secret in
                [KEY, SECRET, "p@ss", "p%40ss", "w0rd", "s3cretQuery", "first-of-the-keys", "c29tZW9uZTpwQHNz"]
            {
                assert!(!shown.contains(secret) && !xml.contains(secret), "{secret}: {run}{xml}");
            }
            assert!(shown.contains("it says") && xml.contains("it says"), "{run}");
            // Something was hidden in each.
            assert!(xml.contains("POST /****/****?token=****") && xml.contains("Basic ****"), "{xml}");
        }
    }
    if have("python3") {
        let cases = junit(&home, "check.xml");
        assert_eq!(cases[0], [&server.url, "11", "7", "0", "0"]);
        assert!(cases[1][2].contains("(\"it says <&\"'> [31m]]>\u{fffd}\u{fffd} "), "{:?}", cases[1]);
    }
}

#[test]
fn where_nobody_listens_nothing_is_checked() {
    let home = Home::new();
    let to = format!("http://someone:s3cret@{}/hook/{KEY}", free_address());
    let run = home.run_with_input(&["check", "-", "--output", "json", "--junit", "check.xml"], &to);
    assert_eq!((run.code, rows(&run).len()), (7, 0), "{run}");
    assert!(run.stderr.contains("could not connect: Connection refused") && run.stderr.contains("is running"), "{run}");
    assert!(!run.stderr.contains("s3cret") && !run.stderr.contains("api-url"), "{run}");
    if have("python3") {
        let cases = junit(&home, "check.xml");
        assert_eq!((cases.len(), &cases[1][..2]), (2, &["crash".to_owned(), "error".to_owned()][..]));
    }
}

#[test]
fn ctrl_c_ends_it_with_what_there_is() {
    let home = Home::new();
    let (send, arrived) = std::sync::mpsc::channel();
    let mut held = Vec::new();
    let server = Scripted::start(move |before, exchange| {
        if before == 0 {
            return exchange.send(answer("200 OK", &[], ""));
        }
        held.push(exchange.stream.try_clone());
        let _ = send.send(());
    });
    let child = home.spawn(&["check", &url(&server), "--output", "json"]);
    arrived.recv().unwrap();
    signal(&child, Signal::INT);
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, ended(&run, "passed")), (130, vec!["crash".to_owned()]), "{run}");
}

#[test]
fn mistakes_are_named() {
    let home = Home::new();
    let to = "http://user:s3cret@127.0.0.1:9/x";
    for (args, said) in [
        (&["--secret-file", "x"][..], "--luciq"),
        (&["--instabug", "--app-id", "1"], "--app-id"),
        (&["--instabug", "--secret-file", "none"], "none: "),
        (&["--max-latency", "0"], "--max-latency"),
        (&["--junit", "-"], "not standard output"),
        (&["--junit", "."], "it is a directory"),
        (&["--junit", "none/check.xml"], "no such directory"),
    ] {
        let run = home.run(["check", to].iter().chain(args));
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(said) && !run.stderr.contains("s3cret"), "{run}");
    }
    assert!(home.run(["check", "http://user:****@127.0.0.1:9/x"]).stderr.contains("give the whole URL"));
}
