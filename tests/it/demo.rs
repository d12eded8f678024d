//! The demo plays the main job and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, kill_process_group};

use crate::assert_shown;
use crate::support::browser::Browser;
use crate::support::{Home, Signal, signal, wait_until};
use crate::ui_access::client::ask;

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

/// A demo that serves its page. It is asked to end when this is dropped, as what it has started would go on else.
struct OpenDemo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it has shown until the page was there.
    story: String,
    /// The address that signs in.
    url: String,
}

impl Drop for OpenDemo {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal(&self.child, Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

impl OpenDemo {
    /// A demo in a group of its own, as a shell at a terminal starts it.
    fn start(home: &Home) -> Self {
        let mut command = home.command(["demo", "--ui"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut demo = Self { child, stdout, story: String::new(), url: String::new() };
        while !demo.url.starts_with("http://") {
            demo.url.clear();
            assert!(demo.stdout.read_line(&mut demo.url).unwrap() > 0, "{}", demo.story);
            demo.story.push_str(&demo.url);
        }
        demo
    }

    /// Host and port, and the path with the token.
    fn address(&self) -> (&str, &str) {
        self.url.trim_end().trim_start_matches("http://").split_once('/').unwrap()
    }

    /// What else it shows, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

#[test]
fn its_page_stays_until_it_is_asked_to_end() {
    for by_terminal in [false, true] {
        let home = Home::new();
        let scratch = home.path().join("tmp");
        fs::create_dir(&scratch).unwrap();
        let home = home.set("TMPDIR", scratch.to_str().unwrap());
        let demo = OpenDemo::start(&home);
        let (address, path) = demo.address();
        assert!(demo.story.contains("\n$ bugfender-hooks ui --listen 127.0.0.1:0\n"), "{}", demo.story);
        assert!(!demo.story.contains("Everything worked"), "{}", demo.story);
        let cookie = ask(address, &format!("GET /{path}"), &[], "").cookie().unwrap();
        let show = |path: &str| ask(address, &format!("GET {path}"), &[&cookie], "").body;
        let events = show("/");
        for title in ["NullPointerException in CheckoutActivity.onResume", "OutOfMemoryError", "Thanks!", ">fetched<"] {
            assert!(events.contains(title), "{title}: {events}");
        }
        let has_row = |path: &str, title: &str| show(path).contains(&format!(">{title}</a>"));
        wait_until("events are forwarded", || has_row("/?status=forwarded", "OutOfMemoryError"));
        let issue = "Payment provider answered with an empty body";
        wait_until("issues wait", || has_row("/?target=chat&status=pending", issue));
        assert!(show("/hooks").contains("new_crash"), "{}", show("/hooks"));
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 1);

        if by_terminal {
            kill_process_group(Pid::from_child(&demo.child), Signal::INT).unwrap();
        } else {
            signal(&demo.child, Signal::TERM);
        }
        let address = address.to_owned();
        let (rest, code) = demo.end();
        assert_eq!(code, Some(0), "{rest}");
        assert!(rest.ends_with("exited with code 0\n\nEverything worked. Next: bugfender-hooks --help\n"), "{rest}");
        assert!(TcpStream::connect(&address).is_err(), "the page is still served");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }
}

/// The picture of the README is the one that this makes: `cp target/screenshots/demo-events.png docs/images/ui.png`.
#[test]
fn its_page_is_worth_a_picture() {
    let home = Home::new();
    let Some(browser) = Browser::start() else { return };
    let demo = OpenDemo::start(&home);
    browser.set_size(1280, 800);
    browser.emulate(&[("prefers-color-scheme", "light"), ("prefers-reduced-motion", "reduce")]);
    browser.open(demo.url.trim_end());
    browser.wait_for_text("#live", "Live");
    browser.wait_until("document.querySelectorAll('.state.forwarded').length === 5");
    browser.screenshot("demo-events");
    assert_eq!(browser.console_errors(), [""; 0]);
}
