//! jq: an expression over JSON, for `--jq` and for the filters of targets. It can be wrong, recurse or build without end,
//! and takes nothing down: each runs on a thread of its own, where every step is paid for.

mod meter;
mod program;

use std::any::Any;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jaq_core::{Ctx, Filter, ValT, Vars};
use jaq_json::Val;

use self::meter::{Exceeded, Jq, Meter, Metered, STACK};
use self::program::Mistake;
use super::event::repaired;
use crate::error::{Error, ErrorKind};

/// What an expression may cost, and how errors name it.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    name: &'static str,
    /// How the expression is given.
    example: &'static str,
    steps: u64,
    steps_per_byte: u64,
    time: Option<Duration>,
}

/// `--jq`: some seconds for a small input, more for a large one.
const OF_OUTPUT: Allowance =
    Allowance { name: "--jq", example: "--jq '.[].hook_id'", steps: 20_000_000, steps_per_byte: 2_000, time: None };

/// A filter delays what is forwarded: some milliseconds for an event, and a second at most.
const OF_EVENTS: Allowance = Allowance {
    name: "filter",
    example: r#"filter = '.type == "crash"'"#,
    steps: 500_000,
    steps_per_byte: 100,
    time: Some(Duration::from_secs(1)),
};

/// A compiled expression.
pub struct JqFilter {
    program: Arc<Filter<Jq>>,
    limits: Allowance,
    worker: Mutex<Option<Evaluator>>,
}

impl std::fmt::Debug for JqFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JqFilter")
    }
}

impl JqFilter {
    /// Compiles an expression over events, which [`Self::matches`] is asked about.
    ///
    /// # Errors
    /// A usage error for an invalid expression or an unknown filter.
    pub fn compile(expression: &str) -> Result<Self, Error> {
        Self::with_limits(expression, OF_EVENTS)
    }

    /// Compiles an expression over the output of a command: `--jq`.
    ///
    /// # Errors
    /// A usage error for an invalid expression or an unknown filter.
    pub fn for_output(expression: &str) -> Result<Self, Error> {
        Self::with_limits(expression, OF_OUTPUT)
    }

    fn with_limits(expression: &str, limits: Allowance) -> Result<Self, Error> {
        let name = limits.name;
        let compiled = thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(STACK);
            let compiling = builder.spawn_scoped(scope, || program::compile(expression));
            compiling.map_err(no_thread).map(|compiling| compiling.join().unwrap_or(Err(Mistake::Invalid)))
        })?;
        let program = compiled.map_err(|mistake| match mistake {
            Mistake::Invalid => {
                Error::usage(format!("{name}: `{}` is not a valid jq expression", shortened(expression)))
                    .hint(format!("for example {}; see https://jqlang.org/manual for the language", limits.example))
            }
            Mistake::Unknown(kind, unknown) => Error::usage(format!("{name}: there is no {kind} `{unknown}`")),
        })?;
        Ok(Self { program: Arc::new(program), limits, worker: Mutex::default() })
    }

    /// Runs the expression on one JSON document and returns its results: strings raw, everything else as JSON.
    ///
    /// # Errors
    /// When the input is not JSON, or the expression fails. A usage error when it hits a limit.
    pub fn run(&self, json: &[u8]) -> Result<Vec<String>, Error> {
        self.ask(Evaluation { json: json.to_vec(), until_true: false })
    }

    /// Whether any result over an event is neither `false` nor `null`. Waits for two seconds at most.
    ///
    /// # Errors
    /// When the event is not JSON, the expression fails or hits a limit, or the one before has still not ended.
    pub fn matches(&self, event_json: &[u8]) -> Result<bool, Error> {
        Ok(!self.ask(Evaluation { json: event_json.to_vec(), until_true: true })?.is_empty())
    }

    fn ask(&self, job: Evaluation) -> Result<Vec<String>, Error> {
        let mut slot = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match slot.take() {
            Some(mut worker) if worker.is_busy => match worker.results.try_recv() {
                // No second one is started beside one that is stuck, so that there is only one.
                Err(TryRecvError::Empty) => {
                    *slot = Some(worker);
                    return Err(self.exceeded(Exceeded::Work));
                }
                Err(TryRecvError::Disconnected) => self.start()?,
                Ok(_) => {
                    worker.is_busy = false;
                    worker
                }
            },
            Some(worker) => worker,
            None => self.start()?,
        };
        // A worker that has ended is noticed below.
        let _ = worker.jobs.send(job);
        let result = match self.limits.time {
            Some(time) => worker.results.recv_timeout(time * 2),
            None => worker.results.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match result {
            Ok(result) => {
                *slot = Some(worker);
                result
            }
            Err(RecvTimeoutError::Timeout) => {
                *slot = Some(Evaluator { is_busy: true, ..worker });
                Err(self.exceeded(Exceeded::Work))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.failure(worker.thread.join().err())),
        }
    }

    /// Starts a thread that evaluates until the filter is dropped, or a limit is hit.
    fn start(&self) -> Result<Evaluator, Error> {
        let (jobs, next_job) = channel::<Evaluation>();
        let (answer, results) = channel();
        let (program, limits) = (Arc::clone(&self.program), self.limits);
        let work = move || {
            for job in next_job {
                if answer.send(evaluate(&program, limits, &job)).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name("jq".to_owned()).stack_size(STACK).spawn(work).map_err(no_thread)?;
        Ok(Evaluator { jobs, results, thread, is_busy: false })
    }

    fn failure(&self, payload: Option<Box<dyn Any + Send>>) -> Error {
        match payload.and_then(|payload| payload.downcast::<Exceeded>().ok()) {
            Some(limit) => self.exceeded(*limit),
            None => Error::new(ErrorKind::Other, format!("{}: the expression cannot be evaluated", self.limits.name)),
        }
    }

    fn exceeded(&self, limit: Exceeded) -> Error {
        Error::usage(format!("{}: {}", self.limits.name, limit.as_str()))
    }
}

/// A thread that evaluates one document at a time.
struct Evaluator {
    jobs: Sender<Evaluation>,
    results: Receiver<Result<Vec<String>, Error>>,
    thread: JoinHandle<()>,
    /// Whether nobody waits for its result any more.
    is_busy: bool,
}

struct Evaluation {
    json: Vec<u8>,
    /// Whether to end with the first result that is neither `false` nor `null`, and to leave the others out.
    until_true: bool,
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, format!("no thread can be started: {error}")).source(error)
}

fn evaluate(program: &Filter<Jq>, limits: Allowance, job: &Evaluation) -> Result<Vec<String>, Error> {
    let failed = |error: String| Error::new(ErrorKind::Other, format!("{}: {}", limits.name, shortened(&error)));
    let text = str::from_utf8(&job.json).map(repaired).unwrap_or_default();
    let input = jaq_json::read::parse_single(&job.json).or_else(|_| jaq_json::read::parse_single(text.as_bytes()));
    let input = input.map_err(|error| failed(error.to_string()))?;
    let steps = limits.steps_per_byte.saturating_mul(job.json.len() as u64).saturating_add(limits.steps);
    let meter = Meter::new(steps, limits.time);
    let context = Ctx::<Jq>::new(Metered { lut: &program.lut, meter: &meter }, Vars::new([]));
    let mut results = Vec::new();
    for result in program.id.run((context, input)) {
        let value = match result {
            Ok(value) => value,
            Err(exception) => match exception.get_err() {
                Ok(error) => return Err(failed(error.to_string())),
                // `halt` and the like end the results.
                Err(_) => break,
            },
        };
        if job.until_true && !value.as_bool() {
            continue;
        }
        meter.pay(&value);
        results.push(match value {
            Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
            value => value.to_string(),
        });
        if job.until_true {
            break;
        }
    }
    Ok(results)
}

/// The beginning and the end of an error, which may quote all of the input.
fn shortened(error: &str) -> String {
    const SHOWN: usize = 60;
    let cut = |from_end: bool| {
        let mut places = error.char_indices().map(|(place, _)| place);
        if from_end { places.nth_back(SHOWN - 1) } else { places.nth(SHOWN) }
    };
    match (cut(false), cut(true)) {
        (Some(start), Some(end)) if start < end => format!("{} … {}", &error[..start], &error[end..]),
        _ => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jq(expression: &str, input: &str) -> Vec<String> {
        JqFilter::for_output(expression).unwrap().run(input.as_bytes()).unwrap()
    }

    #[test]
    fn an_error_does_not_repeat_the_input() {
        let input = format!("[{}1]", "{\"título\":\"é\"},".repeat(1000));
        let error = JqFilter::for_output(".name").unwrap().run(input.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("--jq: cannot index [{") && error.ends_with("with \"name\""), "{error}");
        assert_eq!(error.chars().count(), "--jq: ".len() + 60 + " … ".chars().count() + 60);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn rows_are_written_as_in_jq() {
        let rows = r#"[["a \"b\"", 1.50, true, null, "x\ty\\z\n"], []]"#;
        assert_eq!(jq(".[] | @csv", rows), [r#""a ""b""",1.50,true,,"x	y\z"#.to_owned() + "\n\"", String::new()]);
        assert_eq!(jq(".[] | @tsv", rows), ["a \"b\"\t1.50\ttrue\t\tx\\ty\\\\z\\n", ""]);
        assert!(JqFilter::for_output("@csv").unwrap().run(b"[[1]]").is_err());
    }

    #[test]
    fn filters_run_as_in_jq() {
        let input = r#"[{"hook_id":7,"event":"new_crash"},{"hook_id":null,"event":"x"}]"#;
        assert_eq!(jq(".[].hook_id", input), ["7", "null"]);
        assert_eq!(jq(".[0].event", input), ["new_crash"]);
        assert_eq!(jq("map(select(.hook_id)) | length", input), ["1"]);
        assert_eq!(jq(".[0]", input), [r#"{"hook_id":7,"event":"new_crash"}"#]);
        assert_eq!(jq("1, halt, 2", input), ["1"]);
    }

    #[test]
    fn mistakes_are_told_apart() {
        assert_eq!(JqFilter::for_output(".[").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(JqFilter::for_output("nope").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(JqFilter::for_output("env").unwrap_err().kind(), ErrorKind::Usage);
        let failing = JqFilter::for_output(".[0] | keys").unwrap();
        assert_eq!(failing.run(b"[3]").unwrap_err().kind(), ErrorKind::Other);
    }

    /// Fails with a usage error and takes nothing down.
    const ENDLESS: [&str; 16] = [
        "def f: f; f",
        "def f: [f]; f",
        "def f: 1 + f; f",
        "def f(g): f(g | .); f(.)",
        "[repeat(1)]",
        "last(repeat(1))",
        "repeat(false)",
        "[range(1e12)] | length",
        "last(range(1e12))",
        "\"x\" * 1000000000000 | false",
        "reduce range(100) as $i (\"x\"; . + .) | false",
        "reduce range(100) as $i (\"x\"; \"\\(.)\\(.)\") | false",
        "reduce range(100) as $i (\"\\\"\"; tojson) | false",
        "reduce range(100) as $i ([0]; [.[], .[]]) | false",
        "reduce range(100) as $i (0; [., .]) | tojson | false",
        "reduce range(1000000) as $i (0; [.]) | false",
    ];

    #[test]
    fn an_endless_expression_is_an_error() {
        for expression in ENDLESS {
            let filter = JqFilter::compile(expression).unwrap();
            for _ in 0..2 {
                let error = filter.matches(b"{}").unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Usage, "{expression}: {error}");
            }
        }
        for expression in ["def f: [f]; f", "def f: f + 1; f", "[recurse([.])] | length"] {
            let error = JqFilter::for_output(expression).unwrap().run(b"[1]").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{expression}: {error}");
        }
    }

    #[test]
    fn deep_json_and_expressions_are_errors() {
        let deep = format!("\"{}\"", "[".repeat(1_000_000));
        assert!(JqFilter::for_output("fromjson").unwrap().run(deep.as_bytes()).is_err());
        for expression in ["(".repeat(9_000), "1|".repeat(9_000) + "1"] {
            assert_eq!(JqFilter::compile(&expression).unwrap_err().kind(), ErrorKind::Usage);
        }
        for expression in ["1|".repeat(4_000) + "1", "-".repeat(9_999) + "1", format!("{:(>4999}1{:)>4999}", "", "")] {
            assert!(JqFilter::compile(&expression).unwrap().matches(b"0").unwrap());
        }
    }

    #[test]
    fn an_event_matches_if_a_result_is_true() {
        let event = br#"{"type":"crash","title":"half \ud83d","n":1e400,"app":{"id":7}}"#;
        for (expression, matches) in [
            (r#".type == "crash""#, true),
            (r#".type == "issue""#, false),
            ("select(.app.id == 7)", true),
            ("select(.app.id == 8)", false),
            (".none", false),
            (".type, error", true),
            (".none.none, false, .app", true),
            (r#".title | startswith("half")"#, true),
            (r#".title | test("^h.lf")"#, true),
        ] {
            let filter = JqFilter::compile(expression).unwrap();
            assert_eq!(filter.matches(event).unwrap(), matches, "{expression}");
            assert_eq!(filter.matches(event).unwrap(), matches, "{expression}");
        }
        let failing = JqFilter::compile(".app | test(1)").unwrap();
        assert_eq!(failing.matches(event).unwrap_err().kind(), ErrorKind::Other);
        assert!(failing.matches(b"{").is_err());
    }

    #[test]
    fn values_are_the_same_although_they_are_paid_for() {
        for (expression, result) in [
            ("[range(3)], [range(5; 0; -2)], [range(0; 1; 0.5)]", "[0,1,2]|[5,3,1]|[0,0.5]"),
            (".a += 1 | .b *= 2 | .d -= .a | .c //= [1]", r#"{"a":2,"b":4,"d":1,"c":[1]}"#),
            (r#""\(.a)-\(.b * 3)" * 2"#, "1-61-6"),
            ("[.[] | . * 2], (.[] |= . + 1), ([..] | length)", r#"[2,4,6]|{"a":2,"b":3,"d":4}|4"#),
            (r#"{a, "b": .b, ("c" + "d"): [.a, .d]}"#, r#"{"a":1,"b":2,"cd":[1,3]}"#),
            ("path(..), path(first(.[])), ([paths] | length)", r#"[]|["a"]|["b"]|["d"]|["a"]|3"#),
            ("to_entries | map(select(.value > 1).key) | join(\"+\")", "b+d"),
            ("[limit(3; repeat(.a))], [.a, .b | ., 5] | add", "3|13"),
            (". as {a: $x, b: $y} | [$x, $y] | @csv", "1,2"),
            (r#"[.a, .b] | tojson | fromjson | .[1] * {"1": 1}.["1"]"#, "2"),
            ("reduce .[] as $x (0; . + $x), [foreach .[] as $x (0; . + $x)]", "6|[1,3,6]"),
        ] {
            let results = jq(expression, r#"{"a":1,"b":2,"d":3}"#).join("|");
            assert_eq!(results, result, "{expression}");
        }
    }
}
