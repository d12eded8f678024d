//! A target that is failing is known to whoever looks.

use std::net::TcpListener;

use super::*;
use crate::support::free_address;

#[test]
fn a_failing_target_is_listed_as_such_until_it_recovers() {
    World::each(|world| {
        let address = free_address();
        let to = format!("http://{address}/in");
        let receiver = world.receiver(&[], &["--forward-to", &to, "--retry-wait", "0.02"]);
        let target = || world.home.json(&["targets", "list"])[0].clone();
        assert_eq!((&target()["status"], &target()["suspended_until"]), (&json!("active"), &Value::Null));
        for id in 0..10 {
            assert_eq!(receiver.post(format!(r#"[{{"id":"{id}"}}]"#)).status, 200);
        }
        // Now and then it is tried.
        wait_until("it is failing", || {
            let target = target();
            target["status"] == "failing" && target["suspended_until"].is_string()
        });
        let sink = Sink::on(TcpListener::bind(address).unwrap(), |_, _| ("200 OK", vec![]));
        wait_until("all are forwarded", || sink.ids().len() == 10);
        wait_until("it is active", || world.inbox().target_records().unwrap()[0].suspended_until.is_none());
        assert_eq!(target()["status"], "active");
        assert_eq!(receiver.end().0, 0);
    });
}

#[test]
fn what_a_receiver_that_was_killed_found_means_nothing_to_the_next() {
    World::each(|world| {
        let sink = Sink::start(|_, _| ("429 Slow Down", vec!["retry-after: 3000"]));
        let receiver = world.receiver(&[&sink], &[]);
        assert_eq!(receiver.post(r#"[{"id":"a"}]"#).status, 200);
        wait_until("it is failing", || world.target(&sink)["status"] == "failing");
        let table = world.home.run(["targets", "list"]).stdout;
        assert!(table.contains("failing, next try at 20"), "{table}");
        // Paused by hand is what is shown.
        let name = world.name_of(&sink);
        world.home.run(["targets", "pause", &name]);
        let target = world.target(&sink);
        assert!(target["status"] == "paused" && target["suspended_until"].is_string(), "{target}");
        world.home.run(["targets", "resume", &name]);
        assert_eq!(world.target(&sink)["status"], "failing");
        // Killed: what it put on record stays.
        drop(receiver);
        assert_eq!(world.target(&sink)["status"], "failing");
        if let Some((server, database)) = &world.database {
            // It counts as one of several until it has not been heard of for long.
            server.psql(database, "DELETE FROM bugfender_hooks.roles");
        }
        let receiver = world.receiver(&[&sink], &[]);
        wait_until("it is active", || world.target(&sink)["status"] == "active");
        assert_eq!(receiver.post(r#"[{"id":"b"}]"#).status, 200);
        wait_until("it is tried", || sink.calls().len() == 2);
        drop(receiver);
    });
}
