//! What a page finds itself in: size, preferences, time zone, scripts, network. All hold for the tab and for whatever is
//! opened in it.

use serde_json::{Value, json};

use super::Browser;

impl Browser {
    /// The size of the page in pixels; a window cannot be as narrow as that of a telephone.
    pub fn set_size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets media features, such as `prefers-color-scheme` to `dark`, and no others.
    pub fn emulate(&self, features: &[(&str, &str)]) {
        let feature = |(name, value): &(&str, &str)| json!({ "name": name, "value": value });
        let features: Vec<Value> = features.iter().map(feature).collect();
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Sets the time zone of the reader, such as `Europe/Madrid`.
    pub fn set_timezone(&self, zone: &str) {
        self.devtools("Emulation.setTimezoneOverride", &json!({ "timezoneId": zone }));
    }

    /// Whether scripts of pages run. Those of tests always do.
    pub fn set_scripts(&self, run: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !run }));
    }

    /// Has every page that is opened from now on run a script before its own.
    pub fn run_first(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": script }));
    }

    /// Cuts the page off from every server, or lets it go again.
    pub fn set_offline(&self, offline: bool) {
        let unlimited = -1;
        let network = json!({
            "offline": offline, "latency": 0, "downloadThroughput": unlimited, "uploadThroughput": unlimited,
        });
        self.devtools("Network.emulateNetworkConditions", &network);
    }
}
