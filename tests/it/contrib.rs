//! `contrib/`: the alerts and the dashboard are right, and speak of metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Home, have, http_get, wait_until};

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path)
}

/// Every metric that a text speaks of.
fn names(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("bugfender_hooks_").map(|(start, _)| &text[start..]);
    let end = |rest: &str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
    starts.map(|rest| rest[..end(rest)].to_owned()).collect()
}

/// The metrics of a receiver that has a certificate and a target, and is not reached.
fn metrics(home: &Home) -> String {
    let certificate = "req -x509 -subj /CN=localhost -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2
        -keyout live.key -out live.pem";
    let made = Command::new("openssl").args(certificate.split_whitespace()).current_dir(home.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut receiver = home.spawn(&[
        "listen",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--ready-file",
        "ready.json",
        "--tls-cert",
        "live.pem",
        "--tls-key",
        "live.key",
        "--forward-to",
        "http://127.0.0.1:9/hook",
        "--public-url",
        "http://127.0.0.1:9",
        "--self-check",
        "10s",
    ]);
    let mut ready = Value::Null;
    wait_until("it serves", || {
        let text = fs::read(home.path().join("ready.json")).ok();
        ready = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        !ready.is_null()
    });
    let mut text = String::new();
    wait_until("it has checked itself", || {
        text = http_get(&format!("{}/metrics", ready["admin_url"].as_str().unwrap()));
        text.contains("bugfender_hooks_self_check_passing 0")
    });
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    text
}

#[test]
fn what_is_watched_is_there() {
    if !have("openssl") {
        return;
    }
    let home = Home::new();
    let metrics = metrics(&home);
    let there: BTreeSet<&str> = metrics.lines().filter_map(|line| line.split([' ', '{']).next()).collect();
    let mut watched = BTreeSet::new();
    for file in ["prometheus/alerts.yml", "prometheus/alerts_test.yml", "grafana/dashboard.json"] {
        let text = fs::read_to_string(contrib(file)).unwrap();
        for name in names(&text) {
            assert!(there.contains(name.as_str()), "{file}: {name} is not in {metrics}");
            watched.insert(name);
        }
    }
    // And what is there is watched.
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(watched.iter().any(|watched| watched.starts_with(name)), "{name} is in no alert and no panel");
    }
}

#[test]
fn alerts_fire_when_they_should() {
    if !have("promtool") {
        return;
    }
    for (kind, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let mut command = Command::new("promtool");
        let output = command.args([kind, "rules", file]).current_dir(contrib("prometheus")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    // Each alert is tested both ways.
    let tests = fs::read_to_string(contrib("prometheus/alerts_test.yml")).unwrap();
    for line in fs::read_to_string(contrib("prometheus/alerts.yml")).unwrap().lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            assert!(tests.matches(&format!("alertname: {alert}")).count() >= 2, "{alert}");
        }
    }
}

#[test]
fn the_dashboard_is_one() {
    let text = fs::read_to_string(contrib("grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let right = panel["gridPos"]["x"].as_u64().unwrap() + panel["gridPos"]["w"].as_u64().unwrap();
        assert!(right <= 24, "{panel}");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        }
    }
}
