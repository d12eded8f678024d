//! Hooks that fall silent.

use serde_json::{Value, json};

use super::endpoint;
use crate::support::{Home, SandboxServer};

#[test]
fn a_deactivated_hook_stays_and_gets_nothing() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    let (target, arrived) = endpoint("200 OK");
    home.subscribe("1001", "new_crash", &target.url);
    sandbox.emit(&json!({}));
    assert_eq!(arrived.try_iter().count(), 1);

    assert_eq!(sandbox.order("1", "deactivate"), 204);
    assert_eq!(sandbox.order("1", "deactivate"), 204);
    let hooks = sandbox.hooks();
    assert_eq!((hooks.len(), &hooks[0]["id"], &hooks[0]["active"]), (1, &json!(1), &json!(false)));
    let missed = sandbox.emit(&json!({}));
    assert_eq!(missed["deliveries"], json!([]));
    assert!(arrived.try_recv().is_err());
    let (_, _, page) = sandbox.api("/api/app/1001/issues");
    assert!(page["issues"].as_array().unwrap().contains(&missed["events"][0]), "{page}");
    // The API does not tell that it is not active.
    assert_eq!(home.run(["unsubscribe", "1"]).code, 0);
    for unknown in ["1", "7", "x"] {
        assert_eq!((sandbox.order(unknown, "deactivate"), sandbox.order(unknown, "forget")), (404, 404), "{unknown}");
    }
}

#[test]
fn a_forgotten_hook_is_not_there_any_more() {
    let sandbox = SandboxServer::start();
    let home = Home::of(&sandbox);
    home.subscribe("1001", "new_crash", "https://h.example/x");
    home.subscribe("1001", "new_user_feedback", "https://h.example/x");
    assert_eq!(sandbox.order("1", "forget"), 204);
    assert_eq!(sandbox.order("1", "forget"), 404);
    let hooks: Vec<Value> = sandbox.hooks().into_iter().map(|hook| hook["id"].clone()).collect();
    assert_eq!(hooks, [json!(2)]);
    assert_eq!(sandbox.emit(&json!({}))["deliveries"], json!([]));
    let run = home.run(["unsubscribe", "1"]);
    assert_eq!(run.code, 6, "{run}");
    assert_eq!(sandbox.requests("DELETE /api/hook/1")[0]["status"], 404);
}

#[test]
fn both_survive_a_restart() {
    if !crate::support::have("curl") {
        return;
    }
    let home = Home::new().set("PATH", "/usr/bin:/bin");
    let run = |script: &str| {
        let run = home.run(["sandbox", "--state", "s.json", "run", "--", "sh", "-c", script]);
        assert_eq!(run.code, 0, "{run}");
        run.stdout
    };
    let program = env!("CARGO_BIN_EXE_bugfender-hooks");
    run(&format!("{program} subscribe --app-id 5 --event all --target-url https://h.example/x -q"));
    let order = |order: &str| run(&format!("curl -sf -X POST $BUGFENDER_API_URL/sandbox/hooks/{order}"));
    assert_eq!([order("1/deactivate"), order("2/forget")], ["", ""]);
    let hooks: Value = serde_json::from_str(&run("curl -sf $BUGFENDER_API_URL/sandbox/hooks")).unwrap();
    let hooks: Vec<_> =
        hooks.as_array().unwrap().iter().map(|hook| (hook["id"].clone(), hook["active"].clone())).collect();
    assert_eq!(hooks, [(json!(1), json!(false)), (json!(3), json!(true))]);
}
