//! The picture `rate`: operations in each second by what came of them, one panel for each
//! outcome, since failures are few beside successes and would drown in one plot.

use super::input::Input;
use super::markup::{Markup, Px};
use super::nemesis_strip::Strip;
use super::outcome::{Came, ended_ns};
use super::picture::{LEFT, Picture, RIGHT, TIME_AXIS_HEIGHT, line, text, time_axis};
use super::quantity::{Count, SECOND};
use super::scale::{TimeScale, round_up};

/// Bars across a panel at most; in longer runs a bar stands for several seconds.
const BARS_MAX: u64 = 600;
/// Units between panels.
const GAP: f64 = 14.0;

const NAME: &str = "rate";

/// Draws it.
pub(super) fn draw(input: &Input<'_>, strip: &Strip<'_>) -> Picture {
    let end_ns = input.end_ns();
    let time = TimeScale::whole(0, end_ns, LEFT, RIGHT);
    let seconds = bar_seconds(end_ns);
    let mut svg = Markup::default();
    strip.draw(&mut svg, &time, NAME);
    let first = strip.height() + 8.0;
    let mut top = first;
    for came in Came::ALL {
        let counts = counts(input, came, seconds, end_ns);
        let total: u64 = counts.iter().sum();
        if came == Came::Unexpected && total == 0 {
            continue;
        }
        let bottom = top + if came == Came::Ok { 150.0 } else { 70.0 };
        strip.draw_bands(&mut svg, &time, top, bottom);
        panel(&mut svg, &time, (top, bottom), came, &Bars { counts, seconds });
        top = bottom + GAP;
    }
    let bottom = top - GAP;
    time_axis(&mut svg, &time, bottom, bottom);
    strip.draw_marks(&mut svg, &time, bottom);
    let each = if seconds == 1 {
        "One bar for each second".to_owned()
    } else {
        format!("One bar for {seconds} seconds, as the mean for each second")
    };
    Picture {
        name: NAME.to_owned(),
        title: "Operations per second by outcome".to_owned(),
        notes: vec![format!(
            "{each}, counted when they ended; one without an answer counts as info when the run \
             ended. Each panel has its own scale. Bands behind: faults, as in the lanes above."
        )],
        height: bottom + TIME_AXIS_HEIGHT,
        body: svg,
    }
}

struct Bars {
    counts: Vec<u64>,
    seconds: u64,
}

fn bar_seconds(end_ns: u64) -> u64 {
    let whole = end_ns.div_ceil(SECOND);
    [1, 2, 5, 10, 20, 30, 60]
        .into_iter()
        .find(|&seconds| whole.div_ceil(seconds) <= BARS_MAX)
        .unwrap_or_else(|| whole.div_ceil(BARS_MAX).next_multiple_of(60))
}

fn counts(input: &Input<'_>, came: Came, seconds: u64, end_ns: u64) -> Vec<u64> {
    let bar = seconds * SECOND;
    let mut counts = vec![0; usize::try_from(end_ns / bar).unwrap_or(0) + 1];
    for op in input.history.ops.iter().filter(|op| Came::of(op) == came) {
        let place = usize::try_from(ended_ns(op).unwrap_or(end_ns) / bar).unwrap_or(0);
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
    }
    counts
}

fn panel(svg: &mut Markup, time: &TimeScale, (top, bottom): (f64, f64), came: Came, bars: &Bars) {
    let highest = bars.counts.iter().max().copied().unwrap_or(0);
    let full = round_up(highest as f64 / bars.seconds as f64);
    let y = |rate: f64| bottom - (bottom - top) * rate / full;
    for part in [0.5, 1.0] {
        let at = y(full * part);
        line(svg, "grid", (LEFT, at), (RIGHT, at));
        let value = full * part;
        let label = if value < 10.0 { value.to_string() } else { Count(value as u64).to_string() };
        text(svg, LEFT - 8.0, at + if part == 1.0 { 9.0 } else { 4.0 }, "label end", label);
    }
    let middle = f64::midpoint(top, bottom);
    text(svg, 10.0, middle, "label strong", came.name());
    let total: u64 = bars.counts.iter().sum();
    text(svg, 10.0, middle + 15.0, "small soft", format!("{} in all", Count(total)));
    text(svg, 10.0, middle + 29.0, "small soft", "per second");
    let bar = bars.seconds * SECOND;
    for (place, &count) in bars.counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let from_ns = place as u64 * bar;
        let (left, right) = (time.x(from_ns), time.x(from_ns + bar));
        let height = (bottom - y(count as f64 / bars.seconds as f64)).max(1.0);
        svg.with_title(
            "rect",
            &[
                ("x", &Px(left)),
                ("y", &Px(bottom - height)),
                ("width", &Px((right - left - 0.3).max(0.7))),
                ("height", &Px(height)),
                ("class", &format!("rate {}", came.name())),
            ],
            format!("second {}: {} {}", from_ns / SECOND, Count(count), came.name()),
        );
    }
    line(svg, "axis", (LEFT, bottom), (RIGHT, bottom));
}
