//! The cases as JUnit XML, which CI systems read.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use url::Url;

use super::{CaseOutcome, CaseRow, Stopped};
use crate::error::{Error, ErrorKind, Result};

/// Makes sure, before anything is sent, that the file can be where it is wanted.
pub fn check_place(path: &Path) -> Result<()> {
    let wrong = |what: &str| Err(Error::usage(format!("--junit {}: {what}", path.display())));
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    if path.as_os_str() == "-" {
        return wrong("it must be a file, not standard output");
    }
    if path.is_dir() {
        return wrong("it is a directory");
    }
    if dir.is_some_and(|dir| !dir.is_dir()) {
        return wrong("there is no such directory");
    }
    Ok(())
}

/// Writes the file: the cases that were played, and the one at which they were stopped.
pub fn write(path: &Path, url: &Url, rows: &[CaseRow], stopped: Option<&Stopped>) -> Result<()> {
    // Neither user name nor path: the file is for many eyes.
    let mut suite = TestSuite::new(url.origin().ascii_serialization());
    suite.add_test_cases(rows.iter().map(test_case));
    suite.add_test_cases(stopped.map(|Stopped { case, error }| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(characters(&error.to_string()));
        named(case, status)
    }));
    let mut report = Report::new("bugfender-hooks check");
    report.add_test_suite(suite);
    let xml = report.to_string().map_err(|error| Error::new(ErrorKind::Other, error.to_string()))?;
    fs::write(path, xml).map_err(|error| Error::usage(format!("{}: {error}", path.display())).source(error))
}

fn test_case(row: &CaseRow) -> TestCase {
    let mut status = match row.outcome {
        CaseOutcome::Passed => TestCaseStatus::success(),
        CaseOutcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        CaseOutcome::Skipped => TestCaseStatus::skipped(),
    };
    status.set_message(characters(&row.message));
    let mut case = named(row.case, status);
    if let Some(ms) = row.ms {
        case.set_time(Duration::from_millis(ms));
    }
    case
}

fn named(case: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(case, status);
    case.set_classname("bugfender-hooks.check");
    case
}

/// Text without what XML cannot hold: the library leaves out controls, but not these two.
fn characters(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
