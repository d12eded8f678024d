//! The demo plays the main job and leaves nothing behind.

use crate::assert_shown;
use crate::support::Home;

#[test]
fn it_shows_every_step() {
    let home = Home::new();
    let run = home.run(["demo"]);
    assert_shown!("demo", run);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_step_that_fails_fails_the_demo() {
    // The commands of the demo inherit this: the first write of a file fails.
    let home = Home::new();
    let inner = home.command(["demo"]);
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = crate::support::Run::of(command.output().unwrap());
    assert_eq!(run.code, 1, "{run}");
    assert!(
        run.stderr
            .contains("the demo failed: `auth login --with-token --credential-store file` exited with exit status: 9"),
        "{run}"
    );
}
