//! Turns the answer of [`bugfender_hooks::run`] into an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(bugfender_hooks::run(std::env::args_os()))
}
