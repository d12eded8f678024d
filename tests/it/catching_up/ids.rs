//! Whether the ids that the API lists are those of deliveries is found out, never trusted.

use super::*;
use crate::assert_shown;

/// A receiver got events by webhook, and missed some more.
fn received_and_missed(world: &World) -> (Vec<String>, Vec<String>) {
    let receiver = world.receiver(&[]);
    world.hooks(&receiver, &["new_crash"]);
    let brought = sorted(world.api.emit(APP, "crash", 3));
    world.end(receiver);
    (brought, sorted(world.api.emit(APP, "crash", 2)))
}

fn list_others(world: &World) {
    world.api.list_as(|issue| {
        let id = format!("other-{}", issue.event["id"].as_str().unwrap());
        issue.row["id"] = id.clone().into();
        issue.row["uid"] = id.into();
    });
}

#[test]
fn nothing_is_stored_if_no_id_is_the_same() {
    World::each(|world| {
        let (brought, _) = received_and_missed(world);
        list_others(world);
        let run = world.fetch(&[]);
        assert_eq!(run.code, 3, "{run}");
        let shown = run.to_string();
        assert!(shown.contains("other-crash-") && shown.contains("webhooks brought 3 events"), "{run}");
        if world.database.is_none() {
            assert_shown!("refused", run);
        }
        assert_eq!((world.ids(Via::Webhook), world.ids(Via::Poll)), (brought, Vec::new()));
        assert_eq!(world.cursor(APP, IssueList::Open), None);
        assert_eq!(world.fetch(&["--dry-run"]).code, 3);
        assert_eq!(world.fetched(&["--trust-ids"]), 5);
        assert_eq!(world.events().len(), 8);
    });
}

#[test]
fn some_ids_that_are_the_same_are_enough() {
    World::each(|world| {
        let (brought, missed) = received_and_missed(world);
        // Rows that have got another id meanwhile, such as those that were merged.
        let first = brought[0].clone();
        world.api.list_as(|issue| {
            if issue.event["id"] == first.as_str() {
                issue.row["id"] = "merged".into();
            }
        });
        assert_eq!(world.fetched(&[]), 3);
        assert_eq!(world.ids(Via::Poll), sorted([missed, vec!["merged".to_owned()]].concat()));
    });
}

#[test]
fn without_webhooks_there_is_nothing_to_compare_with() {
    World::each(|world| {
        world.without_receiver();
        let missed = sorted(world.api.emit(APP, "crash", 2));
        assert_eq!(world.fetched(&[]), 2);
        assert_eq!(world.ids(Via::Poll), missed);
        // Webhooks of another app or from before the window are no reason either.
        let (other, receiver) = (APP + 1, world.receiver(&[]));
        world.subscribe(other, "new_crash", &receiver);
        world.api.emit(other, "crash", 2);
        world.end(receiver);
        world.age_arrivals(HOUR * 24);
        list_others(world);
        let rows = world.home.json(&["events", "fetch", "--since", "2h", "--app-id", &other.to_string()]);
        assert_eq!(rows[0]["new"], 2, "{rows}");
    });
}

#[test]
fn an_id_is_the_same_as_a_number_and_as_a_string() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash"]);
        let mut next = 700;
        // Strings by webhook, numbers in the list; and the other way round, as with the older shape.
        for is_number_by_webhook in [false, true] {
            let mut made = Vec::new();
            for is_before in [true, false] {
                world.api.make(APP, "crash", 3, Timestamp::now());
                let mut account = world.api.account();
                let newest = account.issues.len() - 3;
                for issue in &mut account.issues[newest..] {
                    next += 1;
                    let (as_number, as_text) = (json!(next), json!(next.to_string()));
                    let (event, row) = if is_number_by_webhook { (as_number, as_text) } else { (as_text, as_number) };
                    issue.event["id"] = event;
                    issue.row["id"] = row;
                    for one in [&mut issue.event, &mut issue.row] {
                        one.as_object_mut().unwrap().remove("uid");
                    }
                    made.push((is_before, issue.event.clone()));
                }
            }
            let deliver = |is_before: bool| {
                let events: Vec<&Value> =
                    made.iter().filter(|(before, _)| *before == is_before).map(|(_, event)| event).collect();
                let reply = receiver.post(json!(events).to_string());
                assert_eq!(reply.status, 200, "{reply:?}");
                reply.json()
            };
            // Some were brought before the round, and some come after it.
            assert_eq!(deliver(true)["stored"], 3);
            assert_eq!(world.fetched(&[]), 3);
            assert_eq!(deliver(false)["duplicates"], 3);
            assert_eq!(world.fetched(&[]), 0);
        }
        assert_eq!(world.events().len(), 12);
        world.end(receiver);
    });
}

#[test]
fn an_app_that_is_described_otherwise_is_the_same() {
    World::each(|world| {
        let receiver = world.receiver(&[]);
        world.hooks(&receiver, &["new_crash"]);
        world.api.emit(APP, "crash", 1);
        world.api.account().routed_to = None;
        world.api.emit(APP, "crash", 2);
        world.api.list_as(|issue| issue.row["app"] = json!({"id": APP.to_string(), "key": "k", "name": "Other"}));
        assert_eq!(world.fetched(&[]), 2);
        // A webhook that comes late.
        let events: Vec<Value> = world.api.account().issues.iter().map(|issue| issue.event.clone()).collect();
        let reply = receiver.post(json!(events).to_string());
        assert_eq!(reply.json()["duplicates"], 3, "{reply:?}");
        assert_eq!(world.events().len(), 3);
        world.end(receiver);
    });
}

#[test]
fn ids_that_are_others_at_a_later_round_are_said_once() {
    World::each(|world| {
        let receiver = world.receiver(&["--catch-up", "1s"]);
        world.hooks(&receiver, &["new_crash"]);
        world.api.emit(APP, "crash", 3);
        wait_for_a_round(world);
        world.api.account().routed_to = None;
        world.api.emit(APP, "crash", 2);
        wait_until("it catches up", || world.events().len() == 5);
        world.api.account().routed_to = Some(receiver.address.clone());
        list_others(world);
        wait_until("it refuses", || receiver.log().contains("nothing was stored"));
        for _ in 0..3 {
            // What is said has other numbers and ids each time.
            world.api.emit(APP, "crash", 1);
            list_others(world);
            wait_for_a_round(world);
        }
        assert_eq!(receiver.log().matches("nothing was stored").count(), 1, "{}", receiver.log());
        assert_eq!((world.ids(Via::Webhook).len(), world.ids(Via::Poll).len()), (6, 2));
        world.end(receiver);
    });
}
