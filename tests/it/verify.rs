//! `verify`, against signatures that somebody else's programs made.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::assert_shown;
use crate::support::{Home, Run, have};

const BODY: &str = r#"{"Exception":"NullPointerException","Number":7,"User Data":"ünïcode"}"#;

fn home() -> Home {
    let home = Home::new();
    fs::write(home.path().join("body.json"), BODY).unwrap();
    fs::write(home.path().join("secret"), "s3cretOfInstabug16\n").unwrap();
    fs::write(home.path().join("old"), "the-secret-before-it\n").unwrap();
    fs::write(home.path().join("standard"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    home
}

/// The HMAC that openssl makes, in hexadecimal.
fn hmac(dir: &Path, key: &[&str], input: &str) -> String {
    fs::write(dir.join("input"), input).unwrap();
    let args = [&["dgst", "-sha256"], key, &["input"]].concat();
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap().rsplit(' ').next().unwrap().trim().to_owned()
}

fn verify(home: &Home, secrets: &[&str], headers: &[String], more: &[&str]) -> Run {
    let mut args = vec!["verify"];
    args.extend(secrets.iter().flat_map(|secret| ["--secret-file", *secret]));
    args.extend(headers.iter().flat_map(|header| ["-H", header.as_str()]));
    args.extend(more);
    home.run(args)
}

#[test]
fn instabug() {
    if !have("openssl") {
        return;
    }
    let home = home();
    let signature = hmac(home.path(), &["-hmac", "s3cretOfInstabug16"], BODY);
    let header =
        |value: &str| vec![format!("X-IBG-Signature-256: {value}"), "content-type: application/json".to_owned()];
    assert_shown!("instabug", verify(&home, &["secret"], &header(&signature), &["body.json"]));
    let prefixed = format!("sha256={}", signature.to_uppercase());
    assert_eq!(verify(&home, &["old", "secret"], &header(&prefixed), &["body.json"]).code, 0);
    assert_shown!("instabug_wrong", verify(&home, &["old"], &header(&signature), &["body.json"]));
    fs::write(home.path().join("body.json"), format!("{BODY}\n")).unwrap();
    assert_eq!(verify(&home, &["secret"], &header(&signature), &["body.json"]).code, 1);
    let input = ["verify", "--secret-file", "secret", "-H", &header(&signature)[0]];
    assert_eq!(home.run_with_input(&input, BODY).code, 0);
}

#[test]
fn luciq_under_both_names() {
    if !have("openssl") {
        return;
    }
    let home = home();
    // With a byte order mark, as editors on Windows write it.
    fs::write(home.path().join("secret"), "\u{feff}s3cretOfInstabug16\r\n").unwrap();
    let right = hmac(home.path(), &["-hmac", "s3cretOfInstabug16"], BODY);
    let wrong = hmac(home.path(), &["-hmac", "s3cretOfInstabug16"], "other");
    let luciq = |value: &str| format!("x-lcq-signature-256: {value}");
    let instabug = |value: &str| format!("X-IBG-Signature-256: {value}");
    for (headers, code) in [
        (vec![luciq(&right)], 0),
        (vec![luciq(&right), instabug(&right)], 0),
        (vec![luciq(&wrong)], 1),
        (vec![luciq(&right), instabug(&wrong)], 1),
        (vec![luciq(&wrong), instabug(&right)], 1),
    ] {
        let run = verify(&home, &["secret"], &headers, &["body.json"]);
        assert_eq!(run.code, code, "{headers:?} {run}");
    }
}

#[test]
fn standard_webhooks() {
    if !have("openssl") || !have("python3") {
        return;
    }
    let home = home();
    let time = jiff::Timestamp::now().as_second() - 100;
    // The bytes of the secret, for openssl.
    let key = "hexkey:31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0";
    let hex = hmac(home.path(), &["-mac", "HMAC", "-macopt", key], &format!("msg_1.{time}.{BODY}"));
    let base64 = Command::new("python3")
        .args(["-c", &format!("import base64;print(base64.b64encode(bytes.fromhex('{hex}')).decode())")])
        .output()
        .unwrap();
    let signature = String::from_utf8(base64.stdout).unwrap();
    let headers = [
        "webhook-id: msg_1".to_owned(),
        format!("webhook-timestamp: {time}"),
        format!("webhook-signature: v1,AAAA v1,{}", signature.trim()),
    ];
    assert_shown!("standard", verify(&home, &["standard"], &headers, &["body.json", "--jq", "del(.signed_at)"]));
    assert_eq!(verify(&home, &["standard"], &headers, &["body.json", "--tolerance", "300"]).code, 0);
    let run = verify(&home, &["standard"], &headers, &["body.json", "--tolerance", "50", "--output", "json"]);
    assert_eq!((run.code, run.json()["valid"].as_bool()), (1, Some(false)), "{run}");
    assert!(
        run.stderr.contains("its timestamp is too old") && run.stderr.contains("allow more with --tolerance"),
        "{run}"
    );
    let mut no_time = headers.clone();
    no_time[1] = "webhook-timestamp: soon".to_owned();
    let run = verify(&home, &["standard"], &no_time, &["body.json"]);
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stderr.contains("webhook-timestamp is not a number of seconds"), "{run}");
    let mut other = headers.clone();
    other[0] = "webhook-id: msg_2".to_owned();
    assert_eq!(verify(&home, &["standard"], &other, &["body.json"]).code, 1);
    assert_shown!("incomplete", verify(&home, &["standard"], &headers[..2], &["body.json"]));
    assert_shown!("not_base64", verify(&home, &["secret"], &headers, &["body.json"]));
}

#[test]
fn mistakes_are_named() {
    let home = home();
    let header = ["x-ibg-signature-256: 00".to_owned()];
    for (secrets, headers, body, said) in [
        (&["none"][..], &header[..], "body.json", "none: "),
        (&["secret"], &header, "none.json", "none.json: "),
        (&["secret"], &["nonsense".to_owned()], "body.json", "NAME: VALUE"),
        (&[], &header, "body.json", "--secret-file"),
    ] {
        let run = verify(&home, secrets, headers, &[body]);
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains(said) && !run.stderr.contains("s3cret"), "{run}");
    }
}
