//! Alerts: one message when something fails, and one when it is good again.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bugfender_hooks::domain::Secret;
use bugfender_hooks::domain::delivery::DeliveryKeys;
use bugfender_hooks::http::{Client, ClientOptions, HeaderMap, Peer, Roots};
use bugfender_hooks::platform;
use bugfender_hooks::receiver::{
    self, AlertEndpoint, AlertTiming, Alerts, HttpTarget, Policy, ReceiverOptions, Target, TargetKind,
};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{EventSelection, TargetName};
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::oneshot;

use super::client::{call, request};
use super::store::on_a_small_disk;
use super::{Call, Receiver, Sink, inbox, pending};
use crate::assert_shown;
use crate::support::inbox::requeue;
use crate::support::{Home, free_address, wait_until};

const KEY: &str = "kkkkkkkkkkkkkkkkkkkkkkkkkkk";

fn client() -> Client {
    Client::new(ClientOptions {
        attempt_timeout: Duration::from_secs(10),
        total_timeout: None,
        tls: false,
        proxy: false,
        loopback_only: true,
        roots: Roots::System,
        peer: Peer::Endpoint,
    })
    .unwrap()
}

/// A receiver in this process, which tells soon what the command tells after a minute.
struct Hasty {
    runtime: tokio::runtime::Runtime,
    address: String,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<receiver::Drained>,
}

impl Hasty {
    fn start(home: &Home, target: &Sink, alerts: &Sink, max_age: SignedDuration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let policy = Policy { max_age, first_wait: Duration::from_millis(10), ..Policy::default() };
        let http = HttpTarget::new(client(), target.url.parse().unwrap(), None, None, HeaderMap::new()).unwrap();
        let name = TargetName { key: "crm".to_owned(), shown: "crm".to_owned() };
        let kind = TargetKind::Http(Box::new(http));
        let targets = vec![Target { name, types: Vec::new(), filter: None, policy: policy.clone(), kind }];
        let soon = Duration::from_millis(50);
        let timing = AlertTiming { hold: soon, look: soon, ..AlertTiming::default() };
        let alerts = Alerts::to(AlertEndpoint::new(client(), alerts.url.parse().unwrap(), None), timing);
        let keys = DeliveryKeys::new(&Secret::parse("the key", KEY).unwrap(), Vec::new()).unwrap();
        let options = ReceiverOptions { targets, policy, alerts, ..ReceiverOptions::new(keys) };
        let listener = runtime.block_on(receiver::bind("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::fs::create_dir_all(home.data()).unwrap();
        let receiver = {
            let _within = runtime.enter();
            receiver::Receiver::open(&SqliteStore::at(&home.registry()), options).unwrap()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(receiver.serve(vec![listener], async { drop(stopped.await) }));
        Self { runtime, address, stop, serving }
    }

    fn event(&self, id: usize) {
        let (what, body) = (format!("POST /bugfender/{KEY}"), format!(r#"[{{"id":"{id}"}}]"#));
        let reply = call(&self.address, &request(&what, &["content-type: application/json"], body.as_bytes()));
        assert_eq!(reply.unwrap().status, 200);
    }

    fn end(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.serving).unwrap();
    }
}

/// Answers 503 until it is well.
fn sick(status: &'static str) -> (Sink, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let answer = move |_, _: &Call| if is_well.load(Ordering::Relaxed) { ("200 OK", vec![]) } else { (status, vec![]) };
    (Sink::start(answer), well)
}

fn text<'a>(alert: &'a Value, field: &str) -> &'a str {
    alert[field].as_str().unwrap_or_else(|| panic!("no {field}: {alert}"))
}

fn told(alerts: &Sink) -> Vec<(String, String, String)> {
    let fields = |call: &Call| {
        let alert = call.json();
        let text = |field| text(&alert, field).to_owned();
        (text("alert"), text("state"), text("summary"))
    };
    alerts.calls().iter().map(fields).collect()
}

#[test]
fn a_target_that_fails_and_recovers_is_told_twice() {
    let home = Home::new();
    let ((target, well), alerts) = (sick("503 Busy"), Sink::always("204 No Content"));
    let receiver = Hasty::start(&home, &target, &alerts, SignedDuration::from_hours(72));
    (0..30).for_each(|id| receiver.event(id));
    alerts.wait_for(1);
    // It is tried again and again.
    target.wait_for(7);
    well.store(true, Ordering::Relaxed);
    wait_until("everything is forwarded", || pending(&home) == 0);
    let calls = alerts.wait_for(2);
    receiver.end();
    let expected = [("firing", "crm is failing: HTTP 503"), ("resolved", "crm has recovered")];
    let expected = expected.map(|(state, what)| ("target_failing".to_owned(), state.to_owned(), what.to_owned()));
    assert_eq!(told(&alerts), expected);
    let [first, second] = [calls[0].json(), calls[1].json()];
    assert_eq!((text(&first, "subject"), first["receiver"].as_str()), ("crm", platform::host_name().as_deref()));
    let since = |alert: &Value| text(alert, "since").parse::<Timestamp>().unwrap();
    assert!(since(&first) <= since(&second) && Timestamp::now().duration_since(since(&first)).as_secs() < 120);
    assert_ne!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
}

#[test]
fn dead_letters_are_told_when_there_are_some_and_when_none_are_left() {
    let home = Home::new();
    let ((target, well), alerts) = (sick("400 No"), Sink::always("200 OK"));
    let receiver = Hasty::start(&home, &target, &alerts, SignedDuration::from_millis(200));
    receiver.event(0);
    let first = alerts.wait_for(1)[0].json();
    assert_eq!((text(&first, "alert"), text(&first, "subject"), &first["count"]), ("dead_letters", "crm", &1.into()));
    // That there are more is told after an hour.
    receiver.event(1);
    receiver.event(2);
    wait_until("there are more", || inbox(&home).backlog().unwrap().dead == 3);
    well.store(true, Ordering::Relaxed);
    let selection = EventSelection { dead: true, ..EventSelection::default() };
    assert_eq!(requeue(&mut *inbox(&home), &selection, Timestamp::now()), 3);
    alerts.wait_for(2);
    receiver.end();
    let states: Vec<_> = told(&alerts).into_iter().map(|(alert, state, _)| (alert, state)).collect();
    assert_eq!(states, ["firing", "resolved"].map(|state| ("dead_letters".to_owned(), state.to_owned())));
}

#[test]
fn dead_letters_of_before_are_no_news() {
    let home = Home::new();
    let ((target, _), alerts) = (sick("400 No"), Sink::always("200 OK"));
    let receiver = Hasty::start(&home, &target, &alerts, SignedDuration::from_millis(200));
    receiver.event(0);
    alerts.wait_for(1);
    receiver.end();
    // Long enough that it has looked before there is another.
    let receiver = Hasty::start(&home, &target, &alerts, SignedDuration::from_secs(2));
    receiver.event(1);
    let second = alerts.wait_for(2)[1].json();
    receiver.end();
    assert_eq!((alerts.calls().len(), &second["count"]), (2, &2.into()));
}

/// The arguments of a receiver with a target that is not there.
fn failing_to<'a>(target: &'a str, alert: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--forward-to", target, "--retry-wait", "0.01", "--alert", alert], more].concat()
}

#[test]
fn an_endpoint_that_was_away_is_told_once_how_things_are_then() {
    let home = Home::new();
    let (target, address) = (format!("http://{}/in", free_address()), free_address());
    let url = format!("http://{address}/services/s3cr3t?token=s3cr3t");
    let receiver = Receiver::start(&home, &failing_to(&target, &url, &["-vvv"]));
    (0..10).for_each(|id| receiver.event(id));
    wait_until("it could not be told", || receiver.log().contains("does not accept an alert, which is retried"));
    let alerts = Sink::on(TcpListener::bind(address).unwrap(), |_, _| ("200 OK", vec![]));
    let alert = alerts.wait_for(1)[0].json();
    assert_eq!((text(&alert, "alert"), text(&alert, "state")), ("target_failing", "firing"));
    wait_until("it is said", || receiver.log().contains("accepts alerts again"));
    let (code, log) = receiver.end();
    assert_eq!((code, alerts.calls().len()), (0, 1), "{log}");
    assert_eq!(log.matches("which is retried").count(), 1, "{log}");
    assert!(log.contains("sent an alert to http://127.") && !log.contains("s3cr3t"), "{log}");
}

#[test]
fn the_url_is_read_again_and_an_alert_that_is_not_taken_delays_no_shutdown() {
    let home = Home::new();
    let (deaf, alerts) = (Sink::always("404 Not Found"), Sink::always("200 OK"));
    let target = format!("http://{}/in", free_address());
    let file = home.path().join("alert-url");
    std::fs::write(&file, &deaf.url).unwrap();
    let receiver = Receiver::start(&home, &failing_to(&target, "@alert-url", &[]));
    (0..10).for_each(|id| receiver.event(id));
    deaf.wait_for(1);
    std::fs::write(&file, &alerts.url).unwrap();
    receiver.signal(Signal::HUP);
    alerts.wait_for(1);
    assert_eq!(receiver.end().0, 0);
    let slow = Sink::start(|_, _| {
        loop {
            std::thread::park();
        }
    });
    let receiver = Receiver::start(&home, &failing_to(&target, &slow.url, &["--drain-timeout", "0.5"]));
    slow.wait_for(1);
    let (code, log) = receiver.end();
    assert!(code == 0 && log.contains("alerts that could not be sent: 1"), "{log}");
}

#[test]
fn a_chat_service_gets_a_message() {
    let home = Home::new();
    let mut messages = Vec::new();
    let target = format!("http://{}/in", free_address());
    for template in ["slack", "discord", "teams"] {
        let alerts = Sink::always("200 OK");
        let receiver = Receiver::start(&home, &failing_to(&target, &alerts.url, &["--alert-template", template]));
        (0..10).for_each(|id| receiver.event(format!("{template}-{id}")));
        let call = alerts.wait_for(1).remove(0);
        assert_eq!((receiver.end().0, call.header("content-type")), (0, "application/json"));
        messages.push(format!("{template}: {:#}", call.json()));
    }
    let all = messages.join("\n");
    let origin = target.trim_end_matches("/in");
    let name = all.split(&format!("{origin}/#")).nth(1).unwrap()[..8].to_owned();
    let all = all.replace(origin, "http://TARGET").replace(&name, "MARK");
    let escaped = origin.replace('_', "\\_");
    let host = platform::host_name().unwrap_or_default();
    assert_shown!("chat", all.replace(&escaped, "http://TARGET").replace(&host, "HOST"));
}

#[test]
fn a_disk_that_is_full_is_told() {
    let home = Home::new();
    let alerts = Sink::always("200 OK");
    let args = ["--max-body", "600kB", "--reserve", "0", "--alert", &alerts.url];
    let Some((receiver, disk)) = on_a_small_disk(&home, &args) else { return };
    receiver.event("first");
    let _ = std::fs::write(disk.join("ballast"), vec![0; 8 * 1024 * 1024]);
    // Nothing arrives, and nobody asks.
    let alert = alerts.wait_for(1)[0].json();
    assert_eq!((text(&alert, "alert"), text(&alert, "state"), text(&alert, "subject")), ("storage", "firing", "inbox"));
    assert_eq!((receiver.end().0, alerts.calls().len()), (0, 1));
}

#[test]
fn a_wrong_template_or_url_is_refused_at_the_start() {
    let home = Home::new();
    std::fs::write(home.path().join("wrong.json"), r#"{"text": {{ summary }}, "n": {{ count.x.y + 1 }} }"#).unwrap();
    std::fs::write(home.path().join("targets.toml"), "[[target]]\nname = \"crm\"\nurl = \"http://127.0.0.1:9/\"\n")
        .unwrap();
    let checked = |more: &[&str]| home.run([&["listen", "--config", "targets.toml", "--check"], more].concat());
    let url = ["--alert", "http://127.0.0.1:9/s3cr3t", "--alert-template"];
    assert_eq!(checked(&[&url[..], &["slack"]].concat()).code, 0);
    for (args, said) in [
        (&[&url[..], &["wrong.json"]].concat()[..], "--alert-template: the template wrong.json fails over an alert"),
        (&[&url[..], &["none"]].concat()[..], "--alert-template: the template none"),
        (&["--alert", "ftp://127.0.0.1/s3cr3t"][..], "--alert: the target URL"),
        (&["--alert-template", "slack"][..], "--alert <URL>"),
    ] {
        let run = checked(args);
        assert!(run.code == 2 && run.stderr.contains(said) && !run.stderr.contains("s3cr3t"), "{run}");
    }
}
