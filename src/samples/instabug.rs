//! Sample reports of Luciq, formerly Instabug: JSON objects of three kinds, whose keys contain spaces and capitals.

use serde_json::{Value, json};

use super::{long_text, now};

/// The kinds of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// Recognised by `Exception`.
    Crash,
    /// Recognised by `Title`.
    Bug,
    /// An alert of performance monitoring. Recognised by `metric` and `trigger`.
    Apm,
}

impl ReportKind {
    /// All kinds with their names on the command line.
    pub const ALL: [(&'static str, Self); 3] = [("crash", Self::Crash), ("bug", Self::Bug), ("apm", Self::Apm)];
}

/// A report with a random number, which distinguishes it, as reports have no event id.
pub fn report(kind: ReportKind) -> Value {
    let number = fastrand::u32(1..1_000_000);
    let url = format!("https://dashboard.instabug.invalid/applications/sandbox/{number}");
    match kind {
        ReportKind::Crash => json!({
            "Exception": "java.lang.NullPointerException: CheckoutActivity.onResume",
            "Number": number, "URL": url, "Status": "New", "Email": "user@sandbox.invalid", "Reported At": now(),
            "Location": "Barcelona, Spain", "Device": "Google Pixel 9, OS Level 35", "Memory": "3.1/7.5 GB",
            "Storage": "41/118 GB", "Connectivity": "WiFi", "Battery": "72% unplugged", "App Version": "3.2.1 (321)",
            "Duration": 17, "User Data": "plan: premium", "Console Log": "E/AndroidRuntime: FATAL EXCEPTION: main",
            "Luciq Log": "", "User Steps": "Tapped “Pay”", "User Attributes": {"plan": "premium"},
            "Current View": "CheckoutActivity", "Locale": "en", "Orientation": "Portrait", "Screen Size": "1080x2424",
            "Density": "xxhdpi", "Image Attachments": [],
        }),
        ReportKind::Bug => json!({
            "Title": "The cart is empty after an update", "Reported At": now(), "Email": "user@sandbox.invalid",
            "Private URL": format!("{url}/private"), "Categories": "Checkout", "Tags": "cart",
            "App Version": "3.2.1 (321)", "Device": "Google Pixel 9, OS Level 35", "Location": "Barcelona, Spain",
            "Duration": 17, "Screen Size": "1080x2424", "Density": "xxhdpi", "User Attributes": {"plan": "premium"},
            "User Data": "plan: premium", "User Steps": "Tapped “Cart”", "Luciq Log": "", "Console Log": "",
            "Locale": "en", "Image Attachments": [], "Non Image Attachments": [], "Type": "bug", "URL": url,
        }),
        ReportKind::Apm => json!({
            "title": format!("Cold launch is slow ({number})"), "trace": "Cold App Launch", "trigger": "p95",
            "trigger_operator": "greater_than", "test_value": 2000, "duration": "1h",
            "conditions": [{"key": "app_version", "operator": "equals", "value": "3.2.1 (321)"}],
            "current_value": "2413 ms", "metric": "duration", "application": "Sandbox", "platform": "android",
            "url": url,
        }),
    }
}

/// The report with another title, or with what stands for one in a report of its kind.
pub fn with_title(kind: ReportKind, mut report: Value, title: &str) -> Value {
    let key = match kind {
        ReportKind::Crash => "Exception",
        ReportKind::Bug => "Title",
        ReportKind::Apm => "title",
    };
    report[key] = title.into();
    report
}

/// The report with fields that no documentation names.
pub fn with_unknown_fields(mut report: Value) -> Value {
    (report["Check Text"], report["Check List"]) = ("new".into(), json!([1, null, {"deep": true}]));
    report
}

/// The report with a log of 1 MB.
pub fn with_long_text(mut report: Value) -> Value {
    report["Console Log"] = long_text().into();
    report
}

/// A body that breaks off in the middle of a bug of this title: it is not JSON.
pub fn malformed(title: &str) -> Vec<u8> {
    format!("{{\"Title\": \"{title}\"").into_bytes()
}
