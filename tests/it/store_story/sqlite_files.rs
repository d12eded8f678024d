//! What only a file can do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bugfender_hooks::domain::{HookId, HookStatus, RowId};
use bugfender_hooks::store::sqlite::SqliteStore;
use bugfender_hooks::store::{
    Action, ClaimRequest, EventSelection, KEPT_CHANGES, KeyFile, PurgeRule, Receipt, ReceiverInbox, ReceiverKeys,
    Registry, Removal, Store,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{all, all_to, claim_some, commit, ids, is_new, receiver, target, try_commit};
use crate::support::inbox::{at, bugfender, noise, of_ids, requeue};

pub(super) fn scratch() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::at(&dir.path().join("data/hooks.db"));
    (dir, store)
}

/// A store whose inbox holds an event, and the path of that.
fn filled() -> (TempDir, SqliteStore, PathBuf) {
    let (dir, store) = scratch();
    commit(&mut *receiver(&store), &[of_ids(1, &["a"])], &[]);
    let path = store.inbox_path();
    (dir, store, path)
}

#[test]
fn the_inbox_is_for_its_owner_alone() {
    let (_dir, _store, path) = filled();
    assert_eq!(path.file_name().unwrap(), "hooks.inbox.db");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_dir, store) = scratch();
    fs::create_dir_all(store.inbox_path().parent().unwrap()).unwrap();
    // An empty file that somebody else made becomes an inbox.
    fs::write(store.inbox_path(), "").unwrap();
    assert!(store.existing_inbox().unwrap().is_none());
    store.inbox().unwrap();
    assert_eq!(mode(&store.inbox_path()), 0o600);
}

/// Neither opens it, and it is as it was.
fn expect_refusal(store: &SqliteStore, said: &str) {
    let before = fs::read(store.inbox_path()).unwrap();
    for error in [store.inbox().err(), store.existing_inbox().err()] {
        let error = error.unwrap().to_string();
        assert!(error.starts_with("the inbox /") && error.contains(said), "{error}");
    }
    assert_eq!(fs::read(store.inbox_path()).unwrap(), before);
}

#[test]
fn files_that_are_no_inbox_are_left_alone() {
    let (_dir, store, path) = filled();
    fs::write(&path, "events: 1, 2, 3\n".repeat(400)).unwrap();
    expect_refusal(&store, "the file is not an inbox of bugfender-hooks");

    // SQLite would take this for an empty one.
    let (_dir, store, path) = filled();
    fs::write(&path, "x").unwrap();
    expect_refusal(&store, "the file is not an inbox of bugfender-hooks");

    let (_dir, store, path) = filled();
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    expect_refusal(&store, "the file is not an inbox of bugfender-hooks");

    // A registry is none either.
    let (_dir, store, path) = filled();
    drop(store.registry().unwrap());
    fs::copy(path.with_file_name("hooks.db"), &path).unwrap();
    expect_refusal(&store, "the file is not an inbox of bugfender-hooks");

    let (_dir, store, path) = filled();
    let version = 0x6269 << 16 | 9;
    Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
    expect_refusal(&store, "written by a newer bugfender-hooks (schema 9, this version knows 6)");
}

#[test]
fn a_damaged_inbox_is_told() {
    let (_dir, store, path) = filled();
    {
        let mut inbox = receiver(&store);
        let body = format!(r#"[{{"id":"b","text":"{}"}}]"#, noise(100_000));
        commit(&mut *inbox, &[bugfender(2, &body)], &[]);
    }
    let length = fs::metadata(&path).unwrap().len();
    let mut bytes = fs::read(&path).unwrap();
    // What is at the beginning says what is in the file: without it, the file cannot be opened.
    let end = usize::try_from(length).unwrap();
    bytes[end - 16 * 4096..end].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let inbox = store.existing_inbox().unwrap().unwrap();
    let error = inbox.check().unwrap_err().to_string();
    assert!(error.ends_with("the file is damaged"), "{error}");
    drop(inbox);
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_that_was_removed_takes_nothing_more() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).unwrap();
    let error = try_commit(&mut *inbox, &[of_ids(2, &["b"])], &[]).unwrap_err().to_string();
    assert!(error.contains("moved or removed while it was in use"), "{error}");
    assert!(inbox.probe(at(0), 0).is_err());
    // Another in its place is not taken for it.
    fs::write(&path, "").unwrap();
    assert!(try_commit(&mut *inbox, &[of_ids(2, &["b"])], &[]).is_err());
    fs::rename(&aside, &path).unwrap();
    assert_eq!(is_new(&mut *inbox, of_ids(2, &["a", "b"])), [false, true]);
}

#[test]
fn a_log_that_was_removed_is_noticed() {
    for ending in ["db-wal", "db-shm"] {
        let (_dir, store, path) = filled();
        let mut inbox = receiver(&store);
        assert_eq!(is_new(&mut *inbox, of_ids(2, &["b"])), [true]);
        let (file, aside) = (path.with_extension(ending), path.with_extension("aside"));
        fs::rename(&file, &aside).unwrap();
        let error = try_commit(&mut *inbox, &[of_ids(3, &["c"])], &[]).unwrap_err().to_string();
        assert!(error.contains("moved or removed while it was in use"), "{error}");
        assert!(inbox.probe(at(0), 0).is_err());
        fs::rename(&aside, &file).unwrap();
        assert_eq!(is_new(&mut *inbox, of_ids(3, &["c"])), [true]);
    }
}

#[test]
fn the_file_of_a_key_is_replaced_behind_its_link_and_no_other_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (link, real) = (dir.path().join("key"), dir.path().join("elsewhere"));
    KeyFile::at(real.clone()).load().unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let rotated = KeyFile::at(link.clone()).rotate(at(0), at(1)).unwrap();
    assert!(link.is_symlink() && KeyFile::at(real.clone()).load().unwrap().current == rotated.current);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    KeyFile::at(real.clone()).load().unwrap();
    assert_eq!(mode(&real), 0o600);
    // It is somebody else's.
    fs::write(&real, "no key\n").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(KeyFile::at(real.clone()).load().is_err() && mode(&real) == 0o644);
}

#[test]
fn a_store_is_backed_up_beside_its_receiver_and_restored() {
    let (dir, store, path) = filled();
    drop(store.registry().unwrap());
    let key = store.receiver_keys().load().unwrap().current;
    let mut inbox = receiver(&store);
    commit(&mut *inbox, &[of_ids(2, &["b"])], &[]);
    let backup = dir.path().join("backup");
    store.back_up(&backup).unwrap();
    assert!(store.back_up(&backup).is_err());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut names: Vec<_> = fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names, ["registry.db", "registry.inbox.db", "registry.receiver-key"].map(|name| backup.join(name)));
    assert!(mode(&backup) == 0o700 && names.iter().all(|name| mode(name) == 0o600));
    // Neither while a receiver runs, nor over what is there unless that is asked for.
    let refused = |replace| store.restore(&backup, replace).unwrap_err().to_string();
    assert!(refused(true).contains("receives into it"), "{}", refused(true));
    commit(&mut *inbox, &[of_ids(3, &["c"])], &[]);
    drop(inbox);
    assert!(refused(false).contains("it is there already"), "{}", refused(false));
    store.restore(&backup, true).unwrap();
    let mut inbox = receiver(&store);
    assert_eq!(is_new(&mut *inbox, of_ids(4, &["a", "b", "c"])), [false, false, true]);
    drop(inbox);
    // Where there was nothing, too; and a log is written as ever.
    let other = SqliteStore::at(&dir.path().join("other/registry.db"));
    other.restore(&backup, false).unwrap();
    assert!(other.receiver_keys().load().unwrap().current == key);
    let inbox = receiver(&other);
    assert!(other.inbox_path().with_extension("db-wal").exists() && mode(&other.inbox_path()) == 0o600);
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a", "b"]);
    // What is not there is not backed up, and no directory of another kind is a backup.
    let nothing = SqliteStore::at(&dir.path().join("none.db"));
    assert!(nothing.back_up(&dir.path().join("of-nothing")).unwrap_err().to_string().contains("no store to copy"));
    assert!(!dir.path().join("of-nothing").exists());
    let error = store.restore(dir.path().join("nowhere").as_path(), true).unwrap_err().to_string();
    assert!(error.contains("holds no backup"), "{error}");
    // What is no backup replaces nothing.
    fs::write(backup.join("registry.inbox.db"), "no database".repeat(100)).unwrap();
    assert!(store.restore(&backup, true).is_err());
    assert_eq!(ids(&*store.inbox().unwrap(), &EventSelection::default()), ["a", "b", "c"]);
    let info = store.info().unwrap();
    assert_eq!((info.inbox.schema, info.inbox.records), (Some(6), vec![("events", 3), ("quarantined", 0)]));
    assert_eq!((info.registry.records, info.inbox.place), (vec![("hooks", 0)], path.display().to_string()));
    assert!(info.inbox.bytes > Some(1000) && info.key.bytes > Some(20));
}

#[test]
fn a_reserve_is_kept_and_given_back() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let reserve = path.with_extension("db-reserve");
    for bytes in [100_000, 100_000, 200_000] {
        inbox.keep_reserve(bytes).unwrap();
        let file = fs::metadata(&reserve).unwrap();
        assert!(file.len() == bytes && file.blocks() * 512 >= bytes && file.mode() & 0o777 == 0o600);
    }
    assert!(inbox.keep_reserve(1 << 50).is_err() && !reserve.exists());
    inbox.keep_reserve(100_000).unwrap();
    assert_eq!([store.free_reserve().unwrap(), store.free_reserve().unwrap()], [true, false]);
    inbox.keep_reserve(100_000).unwrap();
    inbox.keep_reserve(0).unwrap();
    assert!(!reserve.exists());
}

#[test]
fn who_waits_too_long_for_the_lock_is_told() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = try_commit(&mut *inbox, &[of_ids(2, &["b"])], &[]).unwrap_err().to_string();
    assert!(error.contains("another process kept it locked for too long"), "{error}");
    // Who looks need not wait.
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a"]);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(is_new(&mut *inbox, of_ids(2, &["b"])), [true]);
}

#[test]
fn a_group_is_stored_whole_or_not_at_all() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let to = target(&mut *inbox, "x");
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON events WHEN new.event_id = 'last'
                   BEGIN SELECT RAISE(ABORT, 'no more'); END";
    let other = Connection::open(&path).unwrap();
    other.busy_timeout(Duration::from_secs(5)).unwrap();
    other.execute_batch(trigger).unwrap();
    let group = [of_ids(2, &["b", "a"]), bugfender(2, "no JSON"), of_ids(2, &["c", "last"])];
    let error = try_commit(&mut *inbox, &group, &[all_to(to)]).unwrap_err().to_string();
    assert!(error.contains("no more"), "{error}");
    assert_eq!(ids(&*inbox, &EventSelection::default()), ["a"]);
    assert_eq!(all(&*inbox)[0].duplicates, 0);
    assert!(inbox.quarantined(None, None).unwrap().is_empty());
    assert_eq!(inbox.backlog().unwrap().pending, 0);
    other.execute_batch("DROP TRIGGER full").unwrap();
    let stored: Vec<_> = commit(&mut *inbox, &group, &[all_to(to)]).iter().map(Receipt::stored).collect();
    assert_eq!(stored, [1, 0, 2]);
    assert_eq!(inbox.backlog().unwrap().pending, 2);
}

#[test]
fn a_purge_gives_the_space_back() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    for id in 0..40 {
        let body = format!(r#"[{{"id":"large-{id}","text":"{}"}}]"#, "x".repeat(1_000_000));
        commit(&mut *inbox, &[bugfender(2, &body)], &[]);
    }
    drop(inbox);
    let size = || fs::metadata(&path).unwrap().size();
    let before = size();
    assert!(before > 40_000_000, "{before}");
    let mut inbox = store.existing_inbox().unwrap().unwrap();
    let rule = PurgeRule { before: Some(at(3)), ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    drop(inbox);
    assert!(size() < 1_000_000, "{} of {before}", size());
}

#[test]
fn what_was_purged_is_gone_from_the_file() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let secret = noise(300);
    for id in 0..40 {
        let body = format!(r#"[{{"id":"{id}","title":"{secret}","text":"{secret}{}"}}]"#, noise(id * 1000));
        commit(&mut *inbox, &[bugfender(2, &body)], &[]);
    }
    commit(&mut *inbox, &[bugfender(2, &format!("no JSON {secret}"))], &[]);
    let holds = || {
        let log = path.with_extension("db-wal");
        [&path, &log]
            .map(|file| fs::read(file).is_ok_and(|bytes| memchr::memmem::find(&bytes, secret.as_bytes()).is_some()))
    };
    assert_ne!(holds(), [false, false]);
    let rule = PurgeRule { before: Some(at(3)), ..PurgeRule::default() };
    while inbox.purge(&rule).unwrap().more {}
    assert_eq!(holds(), [false, false]);
    inbox.check().unwrap();
}

#[test]
fn very_many_are_put_in_line_again_step_by_step() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let to = target(&mut *inbox, "x");
    let group: Vec<_> = (0..1200).map(|number| of_ids(2, &[&format!("b-{number}"), &format!("c-{number}")])).collect();
    commit(&mut *inbox, &group, &[all_to(to)]);
    for expired in [1000, 200] {
        assert_eq!(inbox.expire(at(9), at(9)).unwrap(), [("https://x".to_owned(), expired)]);
    }
    let other = Connection::open(&path).unwrap();
    let trigger = "CREATE TRIGGER stop BEFORE UPDATE ON forwards WHEN old.id = 1200
                   BEGIN SELECT raise(ABORT, 'stopped'); END";
    other.execute_batch(trigger).unwrap();
    let mut selection = EventSelection::default();
    let mut step = |inbox: &mut dyn ReceiverInbox| {
        let requeued = inbox.requeue(&selection, at(10));
        selection.after = requeued.as_ref().ok().and_then(|requeued| requeued.reached);
        requeued.map(|requeued| requeued.forwards).ok()
    };
    assert_eq!([step(&mut *inbox), step(&mut *inbox), step(&mut *inbox)], [Some(500), Some(499), None]);
    assert_eq!((inbox.backlog().unwrap().pending, inbox.backlog().unwrap().dead), (999, 201));
    other.execute_batch("DROP TRIGGER stop").unwrap();
    // Those that were requeued at this time are not counted again.
    assert_eq!(requeue(&mut *inbox, &EventSelection::default(), at(10)), 201);
    assert_eq!(requeue(&mut *inbox, &EventSelection::default(), at(11)), 1200);
    assert_eq!(inbox.backlog().unwrap().dead, 0);
}

#[test]
fn forwards_of_nothing_are_dropped() {
    let (_dir, store, path) = filled();
    let mut inbox = receiver(&store);
    let to = target(&mut *inbox, "x");
    for id in ["b", "c", "d"] {
        commit(&mut *inbox, &[of_ids(2, &[id])], &[all_to(to)]);
    }
    let other = Connection::open(&path).unwrap();
    other.execute_batch("DELETE FROM deliveries WHERE id = 2; DELETE FROM events WHERE event_id = 'c'").unwrap();
    let claimed = claim_some(&mut *inbox, to, 9, ClaimRequest::up_to(9));
    assert_eq!(claimed.iter().map(super::ids_of).collect::<Vec<_>>(), [["d"]]);
    assert_eq!(inbox.next_due(to, at(20)).unwrap(), None);
    assert_eq!(inbox.backlog().unwrap().pending, 1);
}

#[test]
fn one_process_receives_at_a_time() {
    let (_dir, store, _path) = filled();
    let first = receiver(&store);
    let refused = store.receiver_inbox().err().unwrap().to_string();
    assert!(refused.contains("another `bugfender-hooks listen` receives into it"), "{refused}");
    drop(first);
    receiver(&store);
}

#[test]
fn a_link_leads_to_the_same_locks() {
    let (dir, store, path) = filled();
    let linked = SqliteStore::at(&dir.path().join("hooks.db"));
    std::os::unix::fs::symlink(&path, linked.inbox_path()).unwrap();
    let first = receiver(&store);
    let error = linked.receiver_inbox().err().unwrap().to_string();
    assert!(error.contains("another `bugfender-hooks listen` receives into it"), "{error}");
    drop(first);
    receiver(&linked);
}

/// A store that version 0.1.0 wrote: two hooks, one of them removed; three events, dead-lettered for a target of that
/// version; a delivery that could not be read. Its inbox has the schema before the one with merged runs.
fn of_version_0_1_0() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/store-0.1.0");
    for name in ["hooks.db", "hooks.inbox.db"] {
        fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    let store = SqliteStore::at(&dir.path().join("hooks.db"));
    (dir, store)
}

fn row_of_hook(registry: &dyn Registry, hook: i64) -> RowId {
    let mut found = None;
    registry
        .hooks(None, &mut |record| {
            if record.hook_id == HookId::new(hook) {
                found = Some(record.row);
            }
        })
        .unwrap();
    found.unwrap()
}

#[test]
fn the_oldest_changes_make_room() {
    let (dir, store) = of_version_0_1_0();
    let registry = store.registry().unwrap();
    let row = row_of_hook(&*registry, 1);
    let other = Connection::open(dir.path().join("hooks.db")).unwrap();
    let many = "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?1)
                INSERT INTO history (number, at, actor, action, row_id, api_url, app_id, event, target_url)
                SELECT number, 1, 'ada@build-1', 'imported', 1, 'https://h.example', 1, 'new_crash', 'https://h.example/'
                FROM numbers";
    other.execute(many, [KEPT_CHANGES]).unwrap();
    let kept = || {
        let mut numbers = Vec::new();
        registry.history(None, None, None, &mut |change| numbers.push(change.number)).unwrap();
        (numbers.len(), *numbers.last().unwrap(), numbers[0])
    };
    let many = usize::try_from(KEPT_CHANGES).unwrap();
    assert_eq!(kept(), (many, 1, KEPT_CHANGES));
    registry.record_removals(&[(row, Removal::Refused)], &[row], at(1)).unwrap();
    assert_eq!(kept(), (many, 3, KEPT_CHANGES + 2));
}

#[test]
fn a_store_of_the_version_before_loses_nothing() {
    let (_dir, store) = of_version_0_1_0();
    let mut hooks = Vec::new();
    store.registry().unwrap().hooks(None, &mut |hook| hooks.push((hook.hook_id.unwrap().get(), hook.status))).unwrap();
    assert_eq!(hooks, [(1, HookStatus::Active), (2, HookStatus::Removed)]);
    // Its history begins now, with a schema that the version before refuses.
    let registry = store.registry().unwrap();
    registry.history(None, None, None, &mut |change| panic!("{change:?}")).unwrap();
    registry.forget(row_of_hook(&*registry, 2)).unwrap();
    let mut actions = Vec::new();
    registry.history(None, HookId::new(2), None, &mut |change| actions.push((change.number, change.action))).unwrap();
    assert_eq!(actions, [(1, Action::Forgotten)]);
    registry.check().unwrap();
    drop(registry);
    assert_eq!(store.info().unwrap().registry.schema, Some(3));
    let known = ["a", "b", "5e914e96e9b0317ff37e106b449e9c224595087c69d1cc31d0d8b9ff5c3147c4"];
    // Whoever only looks brings the schema up to date, too.
    let inbox = store.existing_inbox().unwrap().unwrap();
    assert_eq!(ids(&*inbox, &EventSelection::default()), known);
    drop(inbox);
    let mut inbox = receiver(&store);
    assert_eq!(all(&*inbox)[0].title.as_deref(), Some("Out of memory"));
    assert_eq!((inbox.backlog().unwrap().dead, inbox.quarantined(None, None).unwrap().len()), (2, 1));
    let again = bugfender(1, r#"[{"id":"a"},{"id":"b"},{"id":"c"}]"#);
    assert_eq!(is_new(&mut *inbox, again), [false, false, true]);
    assert_eq!(requeue(&mut *inbox, &EventSelection::default(), at(2)), 2);
    inbox.check().unwrap();
    // A sender that this version does not know can be stored by one that does.
    let connection = Connection::open(store.inbox_path()).unwrap();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'deliveries'";
    let schema: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert!(schema.contains("sender") && !schema.contains("CHECK (sender"), "{schema}");
    let insert = "INSERT INTO deliveries (id, sender, received_at, events, first_event, last_event, body)
                  VALUES (1000, 'another', 0, 0, 0, 0, x'')";
    connection.execute(insert, []).unwrap();
}
