//! A target is tried with a sample event.

use super::*;

fn test(world: &World, name: &str, args: &[&str]) -> Run {
    world.home.run([&["targets", "test", name, "--output", "json"], args].concat())
}

#[test]
fn one_target_gets_a_sample_and_no_other() {
    World::each(|world| {
        let (tested, other) = (Sink::always("202 Accepted"), Sink::always("200 OK"));
        let receiver = world.receiver(&[&tested, &other], &[]);
        let name = world.name_of(&tested);
        let run = test(world, &name, &[]);
        let row = run.json();
        assert_eq!((run.code, &row["status"], &row["error"]), (0, &json!(202), &Value::Null), "{run}");
        assert!(run.stderr.contains("accepted the event test-"), "{run}");
        let calls = tested.calls();
        let event = &calls[0].json()[0];
        assert_eq!((calls.len(), &event["id"], &event["type"]), (1, &row["id"], &json!("issue")), "{row}");
        assert!(event["id"].as_str().unwrap().starts_with("test-"), "{event}");
        assert!(event["title"].as_str().unwrap().starts_with("[test] "), "{event}");
        // What comes later goes to both.
        assert_eq!(receiver.post(r#"[{"id":"e"}]"#).status, 200);
        wait_until("it is forwarded", || arrived(&other) == ["e"] && tested.calls().len() == 2);
        assert_eq!(receiver.end().0, 0);
        let shown = world.home.json(&["events", "show", row["id"].as_str().unwrap()]);
        assert_eq!(
            (&shown["via"], &shown["status"], &shown["source"]),
            (&json!("test"), &json!("forwarded"), &json!("bugfender"))
        );
        // It does not tell that a hook works.
        assert_eq!(world.inbox().arrivals().unwrap(), []);
    });
}

#[test]
fn what_the_target_answers_is_the_outcome() {
    World::each(|world| {
        let (busy, wrong) = (Sink::always("503 Busy"), Sink::always("404 Not Found"));
        let receiver = world.receiver(&[&busy, &wrong], &[]);
        for (sink, status, code) in [(&busy, 503, 7), (&wrong, 404, 1)] {
            let run = test(world, &world.name_of(sink), &[]);
            let row = run.json();
            assert_eq!(
                (run.code, &row["status"], &row["error"]),
                (code, &json!(status), &json!(format!("HTTP {status}"))),
                "{run}"
            );
            assert_eq!(run.error()["http_status"], status, "{run}");
        }
        assert_eq!(receiver.end().0, 0);
    });
}

#[test]
fn a_target_that_nobody_forwards_to_is_said() {
    World::each(|world| {
        let (first, second) = (Sink::always("200 OK"), Sink::always("200 OK"));
        assert_eq!(test(world, "nobody", &[]).code, 6);
        assert_eq!(world.receiver(&[&first], &[]).end().0, 0);
        let name = world.name_of(&first);
        let run = test(world, &name, &["--timeout", "1"]);
        assert!(
            run.code == 7
                && run.stderr.contains("within 1 s")
                && run.stderr.contains("is `bugfender-hooks listen` running"),
            "{run}"
        );
        // It is forwarded by the next.
        let receiver = world.receiver(&[&second, &first], &[]);
        wait_until("it is forwarded", || first.calls().len() == 1);
        assert_eq!(world.home.run(["targets", "pause", &name]).code, 0);
        let run = test(world, &name, &[]);
        assert!(run.code == 1 && run.stderr.contains("is paused"), "{run}");
        assert_eq!(receiver.end().0, 0);
        assert_eq!(world.home.run(["targets", "resume", &name]).code, 0);
        assert_eq!(world.receiver(&[&second], &[]).end().0, 0);
        let run = test(world, &name, &[]);
        assert!(run.code == 7 && run.stderr.contains("the last `listen` did not forward to"), "{run}");
        assert_eq!((first.calls().len(), second.calls().len(), world.events().len()), (1, 0, 1));
    });
}

#[test]
fn what_a_filter_leaves_out_is_said() {
    let world = World::on_sqlite();
    let sink = Sink::always("200 OK");
    let config = world.home.path().join("listen.toml");
    let target = format!("[[target]]\nname = \"crashes\"\nurl = \"{}\"\nfilter = '.type == \"crash\"'\n", sink.url);
    std::fs::write(&config, target).unwrap();
    let receiver = world.receiver(&[], &["--config", config.to_str().unwrap()]);
    let run = test(&world, "crashes", &[]);
    assert!(run.code == 1 && run.stderr.contains("the filter of crashes leaves the event"), "{run}");
    assert_eq!(receiver.end().0, 0);
    assert!(sink.calls().is_empty());
}
