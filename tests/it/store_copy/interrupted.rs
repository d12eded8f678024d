//! A copy that is killed goes on when it is run again.

use std::thread;
use std::time::Duration;

use super::{copy, filled, new_database, rows_of, run_on, said_of, sqlite_url};
use crate::support::postgres::server;
use crate::support::{Run, wait_until};

#[test]
fn killed_in_the_middle_it_goes_on() {
    let Some(server) = server() else { return };
    let (home, from) = filled(4500);
    let (database, there) = new_database(server);
    assert_eq!(run_on(&home, &there, &["store", "migrate"]).code, 0);
    let locks = |condition: &str| {
        let of_table = "relation = 'bugfender_hooks.forwards'::regclass AND mode <> 'AccessShareLock'";
        let here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        server.psql(&database, &format!("SELECT count(*) FROM pg_locks WHERE {of_table} AND {here} AND {condition}"))
    };
    thread::scope(|scope| {
        // Holds up the table that comes after the events.
        let hold = "BEGIN; LOCK TABLE bugfender_hooks.forwards IN SHARE MODE; SELECT pg_sleep(600)";
        let holder = scope.spawn(|| server.psql(&database, hold));
        wait_until("the table is locked", || locks("granted") != "0");
        let mut child = home.spawn(&["--store", &from, "store", "copy", "--to", &there]);
        wait_until("the copy waits", || locks("NOT granted") != "0");
        child.kill().unwrap();
        child.wait().unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event = 'PgSleep'";
        server.psql(&database, end);
        // It fails, as it is stopped.
        let _ = holder.join();
    });
    assert_eq!(server.psql(&database, "SELECT count(*) FROM bugfender_hooks.events"), "4510");
    // It holds a part of this copy: another one may not be mixed into it.
    let (other, another) = filled(1);
    let run = run_on(&other, &another, &["store", "copy", "--to", &there]);
    assert!(run.code == 9 && run.stderr.contains("something else than a copy of that store"), "{run}");
    let parts = copy(&home, &from, &there);
    assert_eq!(said_of(&home, &there), said_of(&home, &from));
    // Again, it is compared only.
    assert_eq!(copy(&home, &from, &there), parts);
}

#[test]
fn killed_at_any_time_it_ends_the_same() {
    let (home, from) = filled(9000);
    let to = sqlite_url(&home, "copy.db");
    let args = ["--store", &from, "store", "copy", "--to", &to];
    let mut killed = 0;
    for delay in 0.. {
        let mut child = home.spawn(&args);
        thread::sleep(Duration::from_millis(5 + 25 * delay));
        if child.try_wait().unwrap().is_some() {
            let run = Run::of(child.wait_with_output().unwrap());
            assert_eq!(run.code, 0, "{run}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
    }
    assert!(killed > 2, "{killed}");
    assert_eq!(rows_of(&copy(&home, &from, &to), "events"), 9010);
    assert_eq!(said_of(&home, &to), said_of(&home, &from));
}
