//! A metric that is there only while it has a value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What stands for no value.
const NOTHING: i64 = i64::MIN;

/// A gauge that is left out of the metrics while its value is unknown: zero would be a value.
#[derive(Debug, Clone)]
pub(super) struct OptionalGauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    value: Arc<AtomicI64>,
}

impl OptionalGauge {
    pub(super) fn new(name: &'static str, help: &'static str, unit: Option<Unit>) -> Self {
        Self { name, help, unit, value: Arc::new(AtomicI64::new(NOTHING)) }
    }

    pub(super) fn set(&self, value: Option<i64>) {
        self.value.store(value.unwrap_or(NOTHING), Ordering::Relaxed);
    }
}

impl Collector for OptionalGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let value = self.value.load(Ordering::Relaxed);
        if value == NOTHING {
            return Ok(());
        }
        let gauge = ConstGauge::new(value);
        // As those of the registry, the help ends with a full stop.
        let help = format!("{}.", self.help);
        let encoder = encoder.encode_descriptor(self.name, &help, self.unit.as_ref(), gauge.metric_type())?;
        gauge.encode(encoder)
    }
}
