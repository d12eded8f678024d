//! Which files are targets, and which are wrong.

use super::*;

fn error_of(text: &str) -> String {
    let error = parse(text, Path::new("/etc/bf/targets.toml")).err().unwrap();
    format!("{error} ({})", error.hints().join("; "))
}

#[test]
fn errors_name_the_line_the_nearest_key_and_no_secret() {
    let start = "[[target]]\nname = 'a'\n";
    for (text, said) in [
        ("", ": there is no [[target]] in it"),
        ("[[targets]]\n", ", line 1: unknown key `targets` (did you mean `target`?)"),
        ("target = 3\n", ": targets are written as [[target]]"),
        ("[[target]]\nurl = 'https://x/s3cret'\n", ", line 1: a target needs a `name`"),
        ("[[target]]\nname = 'a b'\nurl = 'https://x/s3cret'\n", ", line 2: a target needs a `name`"),
        ("+urls = 's3cret'", ", line 3: unknown key `urls` (did you mean `url`?)"),
        ("+max_inflight = 3", ", line 3: unknown key `max_inflight` (did you mean `max_in_flight`?)"),
        ("+url = 'https://x'\nfilter = '.x |'", ", line 4: `filter` is wrong"),
        ("+\"https://s3cret\" = 3", ", line 3: unknown key `…`"),
        ("+url = 3", ", line 3: `url` must be a string"),
        ("+url = 'ftp://u:s3cret@x/'", ", line 3: `url` is wrong: the target URL must start with"),
        ("+", ", line 1: a target needs one of `url`, `url_file` and `exec`"),
        ("+url = 'https://x/s3cret'\nexec = ['s3cret']", "and this has several"),
        ("+exec = 's3cret'", ", line 3: `exec` must be a list of strings"),
        ("+exec = []", ", line 3: `exec` must name a program"),
        ("+exec = ['x', 's3cret']\ntemplate = 'slack'", ", line 4: `template` is for endpoints"),
        ("+url = 'https://x'\nevents = []", ", line 4: `events` must name an event type"),
        ("+url = 'https://x'\nmax_in_flight = 0", ", line 4: `max_in_flight` must be a number from 1 to 1000"),
        ("+url = 'https://x'\nrate = 0", ", line 4: `rate` must be a number of events a second"),
        ("+url = 'https://x'\nrate = 's3cret'", ", line 4: `rate` must be a number of events a second"),
        ("+url = 'https://x'\ntimeout = -1", ", line 4: `timeout` must be seconds"),
        ("+url = 'https://x'\nmax_age = '12:30:00'", ", line 4: `max_age` is wrong"),
        (
            "+url = 'https://x'\nheaders = { Host = 's3cret' }",
            ", line 4: `headers`: host is set by bugfender-hooks itself",
        ),
        ("+url = 'https://x'\nheaders = { x = \"s3cret\\u0007\" }", "cannot stand in a header"),
        ("+url = 'https://x'\nheaders = { x = { flie = 's3cret' } }", "a value must be a string, or { file"),
        (
            "+url = 'https://x'\n[[target]]\nname = 'a'\nurl = 'https://y'",
            ", line 5: there are two targets with the name a",
        ),
    ] {
        let text = text.strip_prefix('+').map_or_else(|| text.to_owned(), |rest| format!("{start}{rest}"));
        let error = error_of(&text);
        assert!(error.starts_with("/etc/bf/targets.toml") && error.contains(said), "{text}: {error}");
        assert!(!error.contains("s3cret"), "{text}: {error}");
    }
}

#[test]
fn the_schema_has_the_keys() {
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../../contrib/listen/targets.schema.json")).unwrap();
    let properties = schema["$defs"]["target"]["properties"].as_object().unwrap();
    assert!(properties.keys().eq(&KEYS), "{properties:?}");
}

#[test]
fn all_keys_are_read_and_paths_are_beside_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), "Bearer t0ken\n").unwrap();
    fs::write(dir.path().join("url"), "https://hooks.example.com/s3cret\n").unwrap();
    let text = "[[target]]\nname = 'crm'\nurl_file = 'url'\nevents = ['new_crash', 'issue']\ntemplate = 'own.json'\n\
                sign_with = 'key'\nheaders = { Authorization = { file = 'token' }, x-a = 'b' }\nmax_in_flight = 3\n\
                rate = 2.5\ntimeout = 5\nmax_age = '3d'\n[[target]]\nname = 'run'\nexec = ['./run', 'a b']\n\
                timeout = '2m'\n[[target]]\nname = 'chat'\nurl = 'https://x.example'\ntemplate = 'slack'\n";
    let targets = parse(text, &dir.path().join("targets.toml")).unwrap();
    let [crm, run, chat] = &targets[..] else { panic!("{}", targets.len()) };
    assert!(matches!(&crm.destination, Destination::Url(url) if url.expose() == "https://hooks.example.com/s3cret"));
    assert_eq!((crm.types.join(" "), crm.max_in_flight, crm.rate), ("crash issue".to_owned(), Some(3), Some(2.5)));
    assert_eq!((crm.timeout, crm.max_age), (Some(Duration::from_secs(5)), Some(SignedDuration::from_hours(72))));
    assert_eq!(crm.template.as_deref(), dir.path().join("own.json").to_str());
    assert_eq!(crm.sign_with, Some(dir.path().join("key")));
    assert_eq!(
        (crm.headers["authorization"].as_bytes(), crm.headers["x-a"].as_bytes()),
        (&b"Bearer t0ken"[..], &b"b"[..])
    );
    assert!(!format!("{:?}", crm.headers).contains("t0ken"));
    let beside = dir.path().join("./run").to_string_lossy().into_owned();
    assert!(matches!(&run.destination, Destination::Exec(words) if *words == [beside.as_str(), "a b"]));
    assert_eq!((run.timeout, chat.template.as_deref()), (Some(Duration::from_secs(120)), Some("slack")));
}
