//! Inboxes with more in them than goes through a pipe or into memory at once.

use std::io::{BufRead, BufReader, Read};

use bugfender_hooks::store::Store;
use rusqlite::Connection;

use super::store;
use crate::support::Home;
use crate::support::inbox::{encoded, of_ids};

#[test]
fn a_list_that_nobody_reads_on_keeps_nothing_open() {
    let home = Home::new();
    let mut inbox = store(&home).receiver_inbox().unwrap();
    let mut ids: Vec<String> = (0..5000).map(|number| format!("{number:0>60}")).collect();
    inbox.commit(&encoded(&[of_ids(1, &ids.iter().map(String::as_str).collect::<Vec<_>>())]), &[]).unwrap();
    let mut child = home.command(["events", "list", "--limit", "0", "-q"]).spawn().unwrap();
    let mut lines = BufReader::with_capacity(16, child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    inbox.commit(&encoded(&[of_ids(2, &["new"])]), &[]).unwrap();
    let connection = Connection::open(store(&home).inbox_path()).unwrap();
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    ids.reverse();
    assert_eq!((first + &rest).lines().collect::<Vec<_>>(), ids);
}
