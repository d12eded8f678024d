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
