//! Metrics in the format that a client asks for: `OpenMetrics`, or the text format of Prometheus.

use std::fmt::Write;

use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// The media type of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The media type of Prometheus's own text.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type and the text of these metrics, given as `OpenMetrics`, that a client accepts.
pub(super) fn accepted(headers: &HeaderMap, open_metrics: String) -> (&'static str, String) {
    let accepts = |value: &str| value.contains("application/openmetrics-text");
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if values.any(accepts) { (OPEN_METRICS, open_metrics) } else { (PROMETHEUS, prometheus(&open_metrics)) }
}

/// The same metrics in Prometheus's text: there, the type and the help of a counter are under the name of its sample, and
/// units and the end are not marked.
fn prometheus(open_metrics: &str) -> String {
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: Vec<&str> = types.collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        if line.starts_with("# UNIT ") || line == "# EOF" {
            continue;
        }
        let mut parts = line.splitn(4, ' ');
        let line_of_counter = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => Some((kind, name, rest)),
            _ => None,
        };
        // Writing to a string cannot fail.
        let _ = match line_of_counter {
            Some((kind, name, rest)) => writeln!(text, "# {kind} {name}_total {rest}"),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_have_the_same_samples() {
        let open = "# HELP a_calls Calls.\n# TYPE a_calls counter\na_calls_total{x=\"# y\"} 1\n# HELP a_size_bytes Size.\n\
                    # TYPE a_size_bytes gauge\n# UNIT a_size_bytes bytes\na_size_bytes 2\n# EOF\n";
        let classic = "# HELP a_calls_total Calls.\n# TYPE a_calls_total counter\na_calls_total{x=\"# y\"} 1\n\
                       # HELP a_size_bytes Size.\n# TYPE a_size_bytes gauge\na_size_bytes 2\n";
        assert_eq!(accepted(&HeaderMap::new(), open.to_owned()), (PROMETHEUS, classic.to_owned()));
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        assert_eq!(accepted(&headers, open.to_owned()), (OPEN_METRICS, open.to_owned()));
    }
}
