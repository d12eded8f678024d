//! A chart of events over time, as an SVG that needs neither script nor style of its own.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::row_view::kind;
use crate::domain::ShownTime;
use crate::store::EventBucket;

/// The room of the bars, in units of the SVG.
const WIDTH: u32 = 720;
const HEIGHT: u32 = 160;

/// A stretch of time that a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChartRange {
    /// Its name in addresses.
    pub(super) name: &'static str,
    /// How many bars there are.
    bars: u32,
    /// What a bar stands for, in minutes.
    minutes: u32,
}

/// The stretches, shortest first.
pub(super) const RANGES: [ChartRange; 5] = [
    ChartRange { name: "1h", bars: 60, minutes: 1 },
    ChartRange { name: "6h", bars: 72, minutes: 5 },
    ChartRange { name: "24h", bars: 72, minutes: 20 },
    ChartRange { name: "7d", bars: 84, minutes: 120 },
    ChartRange { name: "30d", bars: 60, minutes: 720 },
];

impl ChartRange {
    /// The one with this name, or of a day.
    pub(super) fn named(name: &str) -> Self {
        RANGES.into_iter().find(|range| range.name == name).unwrap_or(RANGES[2])
    }

    /// What a bar stands for.
    pub(super) fn step(self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.minutes))
    }

    /// When it begins if it ends with the bar that `now` is in. Bars begin at round times.
    pub(super) fn since(self, now: Timestamp) -> Timestamp {
        let step = i64::from(self.minutes) * 60;
        let end = now.as_second().div_euclid(step) * step + step;
        Timestamp::from_second(end - step * i64::from(self.bars)).unwrap_or(now)
    }
}

/// A part of a bar.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Segment {
    kind: &'static str,
    y: u32,
    height: u32,
}

/// A bar.
#[derive(Debug, Serialize)]
struct Bar {
    x: u32,
    width: u32,
    /// Its height does not say it all.
    label: String,
    start: ShownTime,
    end: ShownTime,
    segments: Vec<Segment>,
}

/// All that is drawn.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    width: u32,
    height: u32,
    most: u64,
    start: ShownTime,
    end: ShownTime,
    bars: Vec<Bar>,
    kinds: Vec<&'static str>,
    pub(super) events: u64,
    pub(super) duplicates: u64,
}

/// Draws what was counted.
pub(super) fn chart(range: ChartRange, since: Timestamp, buckets: &[EventBucket]) -> Chart {
    let step = range.step();
    let place = |bucket: &EventBucket| {
        let steps = bucket.start.duration_since(since).as_secs() / step.as_secs().max(1);
        u32::try_from(steps).ok().filter(|place| *place < range.bars)
    };
    let mut of_bars: Vec<Vec<(&'static str, u64)>> = vec![Vec::new(); range.bars as usize];
    let (mut events, mut duplicates, mut kinds) = (0, 0, Vec::new());
    for bucket in buckets {
        let Some(place) = place(bucket) else { continue };
        let kind = kind(bucket.event_type.as_deref());
        let bar = &mut of_bars[place as usize];
        match bar.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += bucket.events,
            None => bar.push((kind, bucket.events)),
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        events += bucket.events;
        duplicates += bucket.duplicates;
    }
    kinds.sort_unstable();
    let sum = |bar: &[(&str, u64)]| bar.iter().map(|(_, count)| count).sum::<u64>();
    let most = of_bars.iter().map(|bar| sum(bar)).max().unwrap_or(0);
    let width = WIDTH / range.bars;
    let start_of = |place| since.checked_add(step * i32::try_from(place).unwrap_or_default()).unwrap_or(since);
    let bars = (0..range.bars).zip(&of_bars).filter(|(_, bar)| !bar.is_empty()).map(|(place, bar)| {
        let (start, end) = (start_of(place), start_of(place + 1));
        let mut parts = bar.clone();
        parts.sort_unstable();
        let label = parts.iter().map(|(kind, count)| format!("{kind}: {count}")).collect::<Vec<_>>().join(", ");
        Bar {
            x: place * width,
            width: width.saturating_sub(1).max(1),
            label,
            segments: segments(&parts, most),
            start: start.into(),
            end: end.into(),
        }
    });
    Chart {
        width: width * range.bars,
        height: HEIGHT,
        most,
        start: since.into(),
        end: start_of(range.bars).into(),
        bars: bars.collect(),
        kinds,
        events,
        duplicates,
    }
}

/// The parts of a bar, one upon the other. Each is to be seen, however small it is.
fn segments(parts: &[(&'static str, u64)], most: u64) -> Vec<Segment> {
    let (mut below, mut segments) = (0, Vec::new());
    for (kind, count) in parts {
        let height = u64::from(HEIGHT) * count / most.max(1);
        let height = u32::try_from(height).unwrap_or(HEIGHT).clamp(1, HEIGHT - below.min(HEIGHT - 1));
        below += height;
        segments.push(Segment { kind, y: HEIGHT.saturating_sub(below), height });
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(start: Timestamp, event_type: &str, events: u64) -> EventBucket {
        EventBucket { start, event_type: Some(event_type.to_owned()), events, duplicates: 1 }
    }

    #[test]
    fn bars_stand_where_their_time_is() {
        let now: Timestamp = "2026-11-28T12:34:56Z".parse().unwrap();
        for range in RANGES {
            let since = range.since(now);
            assert!(since + range.step() * i32::try_from(range.bars).unwrap() > now, "{range:?}");
            let last = since + range.step() * i32::try_from(range.bars - 1).unwrap();
            let buckets = [bucket(since, "crash", 1), bucket(last, "crash", 999), bucket(last, "ISSUE", 1)];
            let chart = chart(range, since, &buckets);
            assert_eq!((chart.bars.len(), chart.events, chart.duplicates, chart.most), (2, 1001, 3, 1000));
            let (first, last) = (&chart.bars[0], &chart.bars[1]);
            assert_eq!((first.x, last.x + last.width + 1), (0, chart.width));
            assert_eq!(first.segments, [Segment { kind: "crash", y: HEIGHT - 1, height: 1 }]);
            assert!(last.segments.iter().all(|segment| segment.y + segment.height <= HEIGHT), "{last:?}");
            assert_eq!(last.label, "crash: 999, issue: 1");
        }
        assert_eq!(ChartRange::named("x"), RANGES[2]);
    }
}
