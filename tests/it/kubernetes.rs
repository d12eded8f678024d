//! `contrib/kubernetes`: what it says is valid, fits together, and is true of a real receiver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::listen::Receiver;
use crate::support::postgres::{Server, ServerSettings};
use crate::support::{Home, http_request, is_there, wait_until};

const SECRETS: &str = "/run/secrets/bugfender-hooks/";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/kubernetes/bugfender-hooks.yaml")
}

/// The Python that has the schemas of Kubernetes, as tests/lint/requirements.txt says.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint/venv/bin/python");
    is_there(python.exists(), "tests/lint/venv").then_some(python)
}

/// Every object of the file, by its kind.
fn objects() -> Option<Value> {
    let read =
        "import json, sys, yaml\nprint(json.dumps({o['kind']: o for o in yaml.safe_load_all(open(sys.argv[1]))}))";
    let output = Command::new(python()?).args(["-c", read]).arg(file()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn validate(python: &Path, version: &str, file: &Path) -> Output {
    let arguments = ["-m", "kubernetes_validate", "--strict", "--kubernetes-version", version];
    Command::new(python).args(arguments).arg(file).output().unwrap()
}

#[test]
fn it_is_valid_for_old_and_new_servers() {
    let Some(python) = python() else { return };
    let text = fs::read_to_string(file()).unwrap();
    let home = Home::new();
    let wrong = home.path().join("wrong.yaml");
    fs::write(&wrong, text.replace("replicas: 2", "replica: 2")).unwrap();
    for version in ["1.30", "1.37"] {
        let output = validate(&python, version, &file());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {said}");
        assert_eq!(said.matches(" passed for resource ").count(), text.matches("\nkind: ").count(), "{said}");
        assert!(!validate(&python, version, &wrong).status.success(), "{version}");
    }
}

/// The one container.
fn container(objects: &Value) -> &Value {
    let containers = objects["Deployment"]["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The value of a flag in the container's arguments.
fn flag<'a>(container: &'a Value, name: &str) -> &'a str {
    let arguments = container["args"].as_array().unwrap().iter().filter_map(Value::as_str);
    let mut found = arguments.filter_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    let value = found.next().unwrap();
    assert!(found.next().is_none(), "{name} twice");
    value
}

/// The number of a port of the container by its name.
fn port(container: &Value, name: &str) -> u64 {
    let ports = container["ports"].as_array().unwrap();
    ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
}

#[test]
fn the_objects_fit_together() {
    let Some(objects) = objects() else { return };
    let template = &objects["Deployment"]["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    for selector in [
        &objects["Deployment"]["spec"]["selector"]["matchLabels"],
        &objects["Service"]["spec"]["selector"],
        &objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        &objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = container(&objects);
    assert_eq!(flag(container, "--listen"), format!("0.0.0.0:{}", port(container, "http")));
    assert_eq!(flag(container, "--admin-listen"), format!("0.0.0.0:{}", port(container, "admin")));
    // What is for operators is in no Service, and only the paths of deliveries are outside.
    let ports = &objects["Service"]["spec"]["ports"];
    assert_eq!(ports, &json!([{"name": "http", "port": 80, "targetPort": "http"}]));
    let service = json!({"name": objects["Service"]["metadata"]["name"], "port": {"name": "http"}});
    let paths = objects["Ingress"]["spec"]["rules"][0]["http"]["paths"].as_array().unwrap();
    for path in paths {
        assert_eq!(path["backend"]["service"], service);
    }
    let paths: Vec<_> = paths.iter().map(|path| path["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/bugfender/", "/luciq", "/instabug"]);
    // One goes, one stays.
    assert_eq!(
        (&objects["Deployment"]["spec"]["replicas"], &objects["PodDisruptionBudget"]["spec"]["minAvailable"]),
        (&2.into(), &1.into())
    );
    for name in ["--store", "--forward-to"] {
        assert!(flag(container, name).strip_prefix('@').unwrap().starts_with(SECRETS), "{name}");
    }
    assert_eq!(container["volumeMounts"][0]["mountPath"].as_str().unwrap(), SECRETS.trim_end_matches('/'));
    let grace = template["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    // The default of --drain-timeout.
    assert!(grace > pause + 10, "{grace} {pause}");
}

#[test]
fn it_runs_with_no_rights() {
    let Some(objects) = objects() else { return };
    let pod = &objects["Deployment"]["spec"]["template"]["spec"];
    let container = container(&objects);
    let user = pod["securityContext"]["runAsUser"].as_u64().unwrap();
    let dockerfile = fs::read_to_string(file().parent().unwrap().join("../../Dockerfile")).unwrap();
    assert!(dockerfile.contains(&format!("\nUSER {user}:{user}\n")) && user > 0, "{user}");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let expected = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}});
    assert_eq!(container["securityContext"], expected);
}

/// A receiver with the arguments of the Deployment is asked what the kubelet asks.
#[test]
fn the_probes_are_true_of_a_receiver() {
    let (Some(objects), Some(server)) = (objects(), Server::start(ServerSettings::default())) else { return };
    let container = container(&objects);
    let home = Home::new();
    fs::write(home.path().join("store"), server.url(&server.new_database())).unwrap();
    fs::write(home.path().join("target"), "http://127.0.0.1:9/events").unwrap();
    let secrets = format!("{}/", home.path().display());
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let arguments: Vec<String> = arguments
        .filter(|argument| *argument != "listen" && !argument.starts_with("--listen="))
        .map(|argument| argument.replace(SECRETS, &secrets))
        .map(
            |argument| {
                if argument.starts_with("--admin-listen=") { "--admin-listen=127.0.0.1:0".into() } else { argument }
            },
        )
        .collect();
    assert_eq!(arguments.len() + 2, container["args"].as_array().unwrap().len());
    let receiver = Receiver::start(&home, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let admin = receiver.ready["admin_url"].as_str().unwrap().to_owned();
    let ask = |probe: &str| {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], "admin", "{probe}");
        let url = format!("{admin}{}", get["path"].as_str().unwrap());
        let answer = http_request("GET", &url, &[], "");
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(ask(probe), 200, "{probe}");
    }
    // A database that is away makes it unready, and does not have it started again.
    server.stop_immediately();
    wait_until("it is not ready", || ask("readinessProbe") == 503);
    assert_eq!((ask("livenessProbe"), ask("startupProbe")), (200, 200));
    server.resurrect();
    wait_until("it is ready", || ask("readinessProbe") == 200);
    // Its answer comes in less time than the kubelet waits.
    assert!(container["readinessProbe"]["timeoutSeconds"].as_u64().unwrap() > 5);
    assert_eq!(receiver.end().0, 0);
}
