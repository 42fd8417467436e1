//! The picture `latency-raw`: every operation by its beginning and its latency.

use std::cmp::Reverse;

use crate::history::op::Op;

use super::input::Input;
use super::marks::{Marks, Spot};
use super::markup::{Markup, Px};
use super::nemesis_strip::Strip;
use super::op_words::describe;
use super::outcome::{Came, Kind, latency_ns};
use super::picture::{LEFT, Picture, RIGHT, TIME_AXIS_HEIGHT, line, text, text_width, time_axis};
use super::quantity::{Count, SECOND, Things};
use super::scale::{LogScale, TimeScale};

/// Height of the plot.
const PLOT: f64 = 400.0;
/// Height of the legend.
const LEGEND: f64 = 48.0;
/// Operations at most that say what they are when the pointer rests on them.
const TITLES_MAX: usize = 1_500;

/// Draws it.
pub(super) fn draw(input: &Input<'_>, strip: &Strip<'_>) -> Picture {
    let end_ns = input.end_ns();
    let time = TimeScale::whole(0, end_ns, LEFT, RIGHT);
    let top = strip.height() + 8.0;
    let bottom = top + PLOT;
    let latencies = || input.history.ops.iter().map(|op| latency_ns(op, end_ns));
    let lowest = latencies().min().unwrap_or(0);
    let scale = LogScale::over(lowest, latencies().max().unwrap_or(SECOND), bottom, top);

    let place = |op| (time.x(op_began(op)).round() as i32, scale.y(latency_ns(op, end_ns)).round());
    let spots = input.history.ops.iter().map(|op| {
        let (x, y) = place(op);
        Spot { came: Came::of(op), kind: Kind::of(&op.asked.call), x, y: y as i32 }
    });
    let marks = Marks::gather(spots.collect());

    let mut svg = Markup::default();
    strip.draw(&mut svg, &time, NAME);
    strip.draw_bands(&mut svg, &time, top, bottom);
    for y in scale.minor() {
        line(&mut svg, "minor", (LEFT, y), (RIGHT, y));
    }
    for (y, label) in scale.ticks() {
        line(&mut svg, "grid", (LEFT, y), (RIGHT, y));
        text(&mut svg, LEFT - 8.0, y + 4.0, "label end", label);
    }
    time_axis(&mut svg, &time, top, bottom);
    line(&mut svg, "axis", (LEFT, top), (LEFT, bottom));
    text(&mut svg, 10.0, top + PLOT / 2.0, "label soft", "latency");
    text(&mut svg, 10.0, top + PLOT / 2.0 + 15.0, "label soft", "(log scale)");
    marks.draw(&mut svg, NAME);
    for op in most_telling(input, end_ns) {
        let (x, y) = place(op);
        svg.with_title(
            "circle",
            &[("cx", &x), ("cy", &Px(y)), ("r", &5), ("class", &"hit")],
            describe(op, end_ns),
        );
    }
    strip.draw_marks(&mut svg, &time, bottom);
    legend(&mut svg, input, bottom + TIME_AXIS_HEIGHT + 12.0);

    Picture {
        name: NAME.to_owned(),
        title: "Latency of every operation".to_owned(),
        notes: vec![
            "Across: when it began. Up: how long it took, on a logarithmic scale; an operation \
             without an answer, until the end of the run. Bands behind: faults, as in the lanes \
             above."
                .to_owned(),
            honesty(input.history.ops.len(), &marks),
        ],
        height: bottom + TIME_AXIS_HEIGHT + LEGEND,
        body: svg,
    }
}

const NAME: &str = "latency-raw";

const fn op_began(op: &Op) -> u64 {
    op.invoked.ns
}

/// Says what the picture leaves out.
fn honesty(ops: usize, marks: &Marks) -> String {
    let size = marks.spot_size;
    let (faint, half) = (Count(marks.faint_to as u64), Count(marks.half_to as u64));
    format!(
        "{} in {}: what has the same kind and outcome and lies on the same spot ({size} × {size} \
         units of 1200) is one mark. Marks of what is ok are faint for up to {faint}, stronger \
         for up to {half} and full for more; those of the rest are always full. The pointer \
         tells about the {} with the worst outcomes and latencies.",
        Things(ops, "operation"),
        Things(marks.len(), "mark"),
        Count(ops.min(TITLES_MAX) as u64),
    )
}

/// The operations that a reader will want to point at.
fn most_telling<'a>(input: &Input<'a>, end_ns: u64) -> Vec<&'a Op> {
    let mut ops: Vec<_> = input.history.ops.iter().collect();
    let rank = |op: &&Op| (Reverse((Came::of(op), latency_ns(op, end_ns))), op.id);
    if ops.len() > TITLES_MAX {
        ops.select_nth_unstable_by_key(TITLES_MAX, rank);
        ops.truncate(TITLES_MAX);
    }
    // The worst is drawn last and so gets the pointer.
    ops.sort_unstable_by_key(|op| Reverse(rank(op)));
    ops
}

fn legend(svg: &mut Markup, input: &Input<'_>, top: f64) {
    for (place, kind) in Kind::ALL.into_iter().enumerate() {
        let x = LEFT + 150.0 * place as f64;
        let path = shape_at(kind, x, top - 4.0);
        let class = format!("mark ok {}", kind.class());
        svg.leaf("path", &[("class", &class), ("d", &path)]);
        text(svg, x + 10.0, top, "label", kind.name());
    }
    let mut x = LEFT;
    for came in Came::ALL {
        for (step, kind) in [Kind::PayloadRead, Kind::VersionWrite].into_iter().enumerate() {
            let path = shape_at(kind, x + 10.0 * step as f64, top + 18.0);
            let class = format!("mark {} {}", came.name(), kind.class());
            svg.leaf("path", &[("class", &class), ("d", &path)]);
            if came == Came::Fail && kind == Kind::PayloadRead {
                let hole = format!("mark hole {}", kind.class());
                svg.leaf("path", &[("class", &hole), ("d", &path)]);
            }
        }
        let count = input.history.ops.iter().filter(|op| Came::of(op) == came).count();
        let words = format!("{}: {}", came.meaning(), Count(count as u64));
        text(svg, x + 20.0, top + 22.0, "label", &words);
        x += 40.0 + text_width(&words, 12.0);
    }
}

fn shape_at(kind: Kind, x: f64, y: f64) -> String {
    let (dx, dy) = kind.offset();
    format!("M{} {}{}", Px(x + f64::from(dx)), Px(y + f64::from(dy)), kind.shape())
}
