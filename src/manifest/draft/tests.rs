//! What is written is what is read.

use std::fs;

use jiff::Timestamp;

use super::*;
use crate::domain::{RowId, Subscription};
use crate::manifest::load;

fn record(app: i64, event: EventKind, url: &str, label: Option<&str>) -> HookRecord {
    let now = Timestamp::UNIX_EPOCH;
    let subscription = Subscription {
        origin: "https://bf.example".parse().unwrap(),
        app_id: AppId::new(app).unwrap(),
        event,
        target_url: url.parse().unwrap(),
    };
    HookRecord {
        row: RowId(1),
        hook_id: None,
        subscription,
        status: HookStatus::Active,
        label: label.map(|label| label.parse().unwrap()),
        managed_by: None,
        replaces: None,
        reason: None,
        created_at: now,
        updated_at: now,
    }
}

fn records() -> Vec<HookRecord> {
    let (crash, issue, feedback) = (EventKind::NewCrash, EventKind::NewIssueSeparate, EventKind::NewUserFeedback);
    let (plain, odd) = ("https://a.example/x", "https://a.example/$x?q='%22\\\"é");
    let secret = "https://ci:s3cret@b.example/";
    let mut records = vec![
        record(2, crash, plain, Some("a \"b\" \\ 'c' # é: ${D}")),
        record(2, crash, odd, None),
        record(3, crash, plain, None),
        record(1, crash, plain, None),
        record(1, crash, "https://A.example/%78", Some("again")),
        record(1, crash, "https://c:****@d.example/", Some("1001")),
        record(4, issue, plain, Some("true")),
        HookRecord { status: HookStatus::Unknown, ..record(5, crash, plain, None) },
        HookRecord { managed_by: Some("other".parse().unwrap()), ..record(6, crash, plain, None) },
        HookRecord { managed_by: Some("mobile".parse().unwrap()), ..record(7, crash, plain, None) },
    ];
    for app in [9, 8] {
        records.extend([crash, issue, feedback].map(|event| record(app, event, secret, Some("all"))));
    }
    records
}

#[test]
fn what_is_written_asks_for_the_hooks_on_record() {
    let draft = ManifestDraft::new("mobile".parse().unwrap(), records());
    assert_eq!((draft.hooks, draft.duplicates, draft.foreign), (13, 1, 1));
    let variable = |name: &str| match name {
        "BUGFENDER_TARGET_URL_1" => Some("https://c:pw@d.example/".to_owned()),
        "BUGFENDER_TARGET_URL_2" => Some("https://ci:s3cret@b.example/".to_owned()),
        _ => None,
    };
    let dir = tempfile::tempdir().unwrap();
    let mut expected: Vec<_> =
        records().into_iter().filter(|record| ![5, 6].contains(&record.subscription.app_id.get())).collect();
    expected.retain(|record| record.label.as_ref().is_none_or(|label| label.as_str() != "again"));
    for (name, format) in
        [("a.toml", ManifestFormat::Toml), ("a.yaml", ManifestFormat::Yaml), ("a.json", ManifestFormat::Json)]
    {
        let text = draft.text(format);
        assert!(!text.contains("s3cret"), "{text}");
        insta::assert_snapshot!(name, text);
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let loaded = load(&[path], &variable).unwrap();
        assert_eq!(loaded.manifest.hooks.len(), draft.hooks);
        for record in &expected {
            let is_it = |hook: &&crate::manifest::WantedHook| {
                (hook.app_id, hook.event) == (record.subscription.app_id, record.subscription.event)
                    && hook.target_url.is_same_endpoint(&record.subscription.target_url)
            };
            let hook = loaded.manifest.hooks.iter().find(is_it).unwrap_or_else(|| panic!("{record:?}"));
            assert_eq!(hook.label, record.label);
        }
    }
}

#[test]
fn without_hooks_a_valid_starter_is_written() {
    let draft = ManifestDraft::new("web-1".parse().unwrap(), []);
    let dir = tempfile::tempdir().unwrap();
    for (name, format) in
        [("a.toml", ManifestFormat::Toml), ("a.yml", ManifestFormat::Yaml), ("a.json", ManifestFormat::Json)]
    {
        let path = dir.path().join(name);
        let starter = draft.text(format);
        fs::write(&path, &starter).unwrap();
        assert!(load(std::slice::from_ref(&path), &|_| None).unwrap().manifest.hooks.is_empty());
        // What it explains is valid too.
        let lines: Vec<&str> = starter.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
        let commented = lines.join("\n");
        fs::write(&path, commented.replace("\n#\n", "\n").replace("yaml-language-server", "# yaml")).unwrap();
        let hooks =
            load(&[path], &|_| Some("key".to_owned())).unwrap_or_else(|errors| panic!("{errors:?}")).manifest.hooks;
        assert_eq!(hooks.len(), usize::from(format != ManifestFormat::Json));
    }
}
