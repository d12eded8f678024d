//! The picture in the README is a run of today's demo.

use std::process::Command;

use super::pages::root;
use super::reference::agrees;
use crate::support::have;

#[test]
fn the_picture_is_a_run_of_the_demo() {
    if !have("python3") {
        return;
    }
    let script = root().join("docs/picture");
    let output = Command::new("python3").arg(script).arg(env!("CARGO_BIN_EXE_bugfender-hooks")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    agrees(&root().join("docs/images/demo.svg"), &String::from_utf8(output.stdout).unwrap());
}
