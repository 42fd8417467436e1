//! From nanoseconds to places in a picture: a time axis that may leave parts out, a logarithmic
//! axis for latencies, and the round numbers to label them with.

use super::quantity::{MS, SECOND};

/// Units between two pieces of a time axis.
const CUT: f64 = 44.0;

/// A piece of a time axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    /// Its first moment.
    pub(super) from_ns: u64,
    /// Its last moment; later than the first.
    pub(super) to_ns: u64,
    /// Where it begins.
    pub(super) left: f64,
    /// Where it ends.
    pub(super) right: f64,
}

impl Piece {
    /// Where a moment lies; moments outside lie at the edges.
    pub(super) fn x(&self, ns: u64) -> f64 {
        let part = ns.clamp(self.from_ns, self.to_ns) - self.from_ns;
        let whole = (self.to_ns - self.from_ns) as f64;
        self.left + (self.right - self.left) * part as f64 / whole
    }

    /// Whether any of a span lies in it.
    pub(super) const fn meets(&self, from_ns: u64, to_ns: u64) -> bool {
        from_ns <= self.to_ns && to_ns >= self.from_ns
    }
}

/// A time axis: one piece, or several with nothing between them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimeScale {
    /// Its pieces from left to right.
    pub(super) pieces: Vec<Piece>,
}

impl TimeScale {
    /// An axis without cuts.
    pub(super) fn whole(from_ns: u64, to_ns: u64, left: f64, right: f64) -> Self {
        Self::of_spans(&[(from_ns, to_ns)], left, right)
    }

    /// An axis that shows the spans alone, each with the same length for a second. The spans are
    /// in order and don't meet.
    pub(super) fn of_spans(spans: &[(u64, u64)], left: f64, right: f64) -> Self {
        let lengths = spans.iter().map(|&(from, to)| to.saturating_sub(from).max(1));
        let total: u64 = lengths.clone().sum();
        let cuts = CUT * spans.len().saturating_sub(1) as f64;
        let scale = (right - left - cuts) / total as f64;
        let mut x = left;
        let pieces = spans.iter().zip(lengths).map(|(&(from_ns, _), length)| {
            let piece = Piece {
                from_ns,
                to_ns: from_ns + length,
                left: x,
                right: x + length as f64 * scale,
            };
            x = piece.right + CUT;
            piece
        });
        Self { pieces: pieces.collect() }
    }

    /// Where a moment lies. One that is left out lies at the end of the piece before it.
    pub(super) fn x(&self, ns: u64) -> f64 {
        let before = self.pieces.iter().rev().find(|piece| piece.from_ns <= ns);
        before.or(self.pieces.first()).map_or(0.0, |piece| piece.x(ns))
    }

    /// The parts of a span that are shown, as left and right ends.
    pub(super) fn parts(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = (f64, f64)> {
        let meeting = self.pieces.iter().filter(move |piece| piece.meets(from_ns, to_ns));
        meeting.map(move |piece| (piece.x(from_ns), piece.x(to_ns)))
    }

    /// Moments to label, their labels, and the unit of these: seconds, or minutes on a long axis.
    pub(super) fn ticks(&self) -> (Vec<(f64, String)>, &'static str) {
        let total: u64 = self.pieces.iter().map(|piece| piece.to_ns - piece.from_ns).sum();
        let length: f64 = self.pieces.iter().map(|piece| piece.right - piece.left).sum();
        let step = time_step((total as f64 * MIN_TICK_DISTANCE / length) as u64);
        let mut ticks = Vec::new();
        for piece in &self.pieces {
            let mut at = piece.from_ns.div_ceil(step) * step;
            while at <= piece.to_ns {
                ticks.push((piece.x(at), time_label(at, step)));
                at += step;
            }
        }
        (ticks, if step >= MINUTES_FROM { "minutes" } else { "seconds" })
    }
}

/// Steps from which on an axis counts in minutes.
const MINUTES_FROM: u64 = 60 * SECOND;

/// Units between two labels, at least.
const MIN_TICK_DISTANCE: f64 = 70.0;

/// The round step that is at least as long.
fn time_step(at_least: u64) -> u64 {
    let long = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600];
    let mut short = 1_000;
    while short < SECOND {
        for step in [short, short * 2, short * 5] {
            if step >= at_least {
                return step;
            }
        }
        short *= 10;
    }
    let longest = at_least.next_multiple_of(3_600 * SECOND).max(SECOND);
    long.into_iter().map(|seconds| seconds * SECOND).find(|&s| s >= at_least).unwrap_or(longest)
}

/// Labels a moment of an axis with that step.
fn time_label(ns: u64, step: u64) -> String {
    if step >= MINUTES_FROM {
        return (ns / (60 * SECOND)).to_string();
    }
    let mut decimals = 0;
    let mut unit = SECOND;
    while !step.is_multiple_of(unit) && decimals < 6 {
        unit /= 10;
        decimals += 1;
    }
    format!("{:.decimals$}", ns as f64 / SECOND as f64)
}

/// A logarithmic axis that ends at powers of ten.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LogScale {
    low: i32,
    high: i32,
    bottom: f64,
    top: f64,
}

impl LogScale {
    /// An axis for values between two, in nanoseconds, drawn from `bottom` to `top`.
    pub(super) fn over(lowest_ns: u64, highest_ns: u64, bottom: f64, top: f64) -> Self {
        let low = (lowest_ns.max(1_000) as f64).log10().floor() as i32;
        let high = (highest_ns.max(1) as f64).log10().ceil() as i32;
        Self { low, high: high.max(low + 1), bottom, top }
    }

    /// Where a value lies; values outside lie at the edges.
    pub(super) fn y(&self, ns: u64) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let place = (ns.max(1) as f64).log10().clamp(low, high);
        self.bottom + (self.top - self.bottom) * (place - low) / (high - low)
    }

    /// The powers of ten, with labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        (self.low..=self.high)
            .map(|power| {
                let ns = 10_u64.pow(power.unsigned_abs());
                let label = match ns {
                    ns if ns >= SECOND => format!("{} s", ns / SECOND),
                    ns if ns >= MS => format!("{} ms", ns / MS),
                    ns => format!("{} µs", ns / 1_000),
                };
                (self.y(ns), label)
            })
            .collect()
    }

    /// Two and five times the powers of ten.
    pub(super) fn minor(&self) -> Vec<f64> {
        let powers = (self.low..self.high).map(|power| 10_u64.pow(power.unsigned_abs()));
        powers.flat_map(|ns| [self.y(2 * ns), self.y(5 * ns)]).collect()
    }
}

/// The round number (one digit and zeros, or 15 and zeros) that is at least as large.
pub(super) fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.into_iter().map(|step| step * power).find(|&round| round >= value).unwrap_or(power * 10.0)
}

#[cfg(test)]
mod tests {
    use super::{LogScale, MS, SECOND, TimeScale, round_up, time_label, time_step};

    #[test]
    fn a_cut_axis_leaves_out_what_lies_between() {
        let spans = [(SECOND, 2 * SECOND), (60 * SECOND, 61 * SECOND)];
        let scale = TimeScale::of_spans(&spans, 0.0, 244.0);
        assert_eq!(scale.x(2 * SECOND), 100.0);
        assert_eq!(scale.x(30 * SECOND), 100.0);
        assert_eq!(scale.x(60 * SECOND), 144.0);
        assert_eq!(scale.x(70 * SECOND), 244.0);
        assert_eq!(scale.x(0), 0.0);
        let parts: Vec<(f64, f64)> = scale.parts(SECOND * 3 / 2, SECOND * 121 / 2).collect();
        assert_eq!(parts, [(50.0, 100.0), (144.0, 194.0)]);
    }

    #[test]
    fn steps_are_round_and_labels_are_as_fine_as_the_step() {
        assert_eq!(time_step(3 * MS), 5 * MS);
        assert_eq!(time_step(7 * SECOND), 10 * SECOND);
        assert_eq!(time_step(5_000 * SECOND), 7_200 * SECOND);
        assert_eq!(time_label(83_120 * MS, 20 * MS), "83.12");
        assert_eq!(time_label(120 * SECOND, 20 * SECOND), "120");
        assert_eq!(time_label(600 * SECOND, 300 * SECOND), "10");
    }

    #[test]
    fn a_logarithmic_axis_ends_at_powers_of_ten() {
        let scale = LogScale::over(3 * MS, 700 * MS, 300.0, 0.0);
        let labels: Vec<String> = scale.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["1 ms", "10 ms", "100 ms", "1 s"]);
        assert_eq!(scale.y(MS), 300.0);
        assert_eq!(scale.y(SECOND), 0.0);
        assert!((scale.y(100 * MS) - 100.0).abs() < 1e-6);
    }

    #[test]
    fn tops_of_axes_are_round() {
        assert_eq!(round_up(0.0), 1.0);
        assert_eq!(round_up(312.0), 400.0);
        assert_eq!(round_up(500.0), 500.0);
        assert_eq!(round_up(810.0), 1_000.0);
        assert_eq!(round_up(12.0), 15.0);
    }
}
