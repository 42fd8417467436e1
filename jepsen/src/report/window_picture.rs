//! Draws a failing window: a close view of the contradiction with every operation labelled, and
//! below it two seconds around it.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::ids::{OpId, ProcessId};
use crate::history::op::Op;

use super::markup::{Markup, Px};
use super::op_words::{describe, label};
use super::outcome::{Came, ended_ns};
use super::picture::{LEFT, Picture, RIGHT, TIME_AXIS_HEIGHT, line, text, text_width, time_axis};
use super::quantity::{Count, Duration, Things};
use super::scale::TimeScale;
use super::window::{BARS_MAX, Panel, Window};

/// How a panel is laid out.
#[derive(Clone, Copy)]
struct Layout {
    /// Height of the row of a worker.
    row: f64,
    /// Height of a bar.
    bar: f64,
    /// Whether bars say what they are, or only their index.
    in_full: bool,
}

const CLOSE: Layout = Layout { row: 40.0, bar: 14.0, in_full: true };
const WIDE: Layout = Layout { row: 26.0, bar: 10.0, in_full: false };
/// Narrower bars would not be seen.
const MIN_BAR: f64 = 1.5;
/// A panel of many workers has lower rows.
const MANY_ROWS: usize = 16;

/// A panel whose places are known.
struct Drawing<'a> {
    name: &'a str,
    panel: &'a Panel<'a>,
    time: TimeScale,
    layout: Layout,
    top: f64,
    culprits: &'a [&'a Op],
    end_ns: u64,
}

/// Draws it.
pub(super) fn draw<'w>(window: &'w Window<'w>, number: usize, end_ns: u64) -> Picture {
    let name = format!("window-{number}");
    let mut svg = Markup::default();
    let drawing = |panel: &'w Panel<'w>, layout: Layout, top| Drawing {
        name: &name,
        panel,
        time: TimeScale::of_spans(&panel.spans, LEFT, RIGHT),
        layout: layout.for_rows(panel.rows.len()),
        top,
        culprits: &window.culprits,
        end_ns,
    };
    let close = drawing(&window.close, CLOSE, 30.0);
    let wide = drawing(&window.wide, WIDE, close.bottom() + TIME_AXIS_HEIGHT + 40.0);
    text(&mut svg, 10.0, 16.0, "label strong", "The contradiction");
    close.draw(&mut svg);
    text(&mut svg, 10.0, wide.top - 14.0, "label strong", "Two seconds before and after it");
    for &(from_ns, to_ns) in &window.close.spans {
        wide.draw_zoomed(&mut svg, from_ns, to_ns);
    }
    wide.draw(&mut svg);
    let legend_top = wide.bottom() + TIME_AXIS_HEIGHT + 16.0;
    legend(&mut svg, legend_top);
    Picture {
        title: format!("{}: {}", window.violation.law, title_of(window)),
        notes: notes(window),
        height: legend_top + 12.0,
        body: svg,
        name,
    }
}

fn title_of(window: &Window<'_>) -> String {
    match &window.secret {
        Some(secret) => format!("operations on secret {secret}"),
        None => "all operations".to_owned(),
    }
}

fn notes(window: &Window<'_>) -> Vec<String> {
    let mut notes = vec![
        "A bar lasts from the request to its answer; numbers behind @ and above bars are the log \
         index of the answer. An arrow joins the operations that contradict each other, the \
         earlier one first."
            .to_owned(),
    ];
    for (panel, which) in [(&window.close, "first"), (&window.wide, "second")] {
        if panel.left_out > 0 {
            notes.push(format!(
                "The {which} view leaves out {}: it shows those nearest to the contradiction, \
                 of {} at most and {} bars at most.",
                Things(panel.left_out, "operation"),
                Things(panel.rows.len(), "worker"),
                Count(BARS_MAX as u64)
            ));
        }
    }
    notes
}

impl Layout {
    const fn for_rows(self, rows: usize) -> Self {
        if rows > MANY_ROWS && !self.in_full { Self { row: 15.0, bar: 9.0, ..self } } else { self }
    }
}

impl Drawing<'_> {
    fn bottom(&self) -> f64 {
        self.top + self.layout.row * self.panel.rows.len() as f64 + 6.0
    }

    /// Where the bar of a worker begins, from above.
    fn bar_top(&self, process: ProcessId) -> f64 {
        let row = self.panel.rows.keys().position(|&other| other == process).unwrap_or(0);
        self.top + self.layout.row * (row + 1) as f64 - self.layout.bar - 3.0
    }

    fn draw(&self, svg: &mut Markup) {
        time_axis(svg, &self.time, self.top, self.bottom());
        self.draw_cuts(svg);
        for (&process, ops) in &self.panel.rows {
            let bar_top = self.bar_top(process);
            let name = format!("worker {process}");
            let middle = bar_top + self.layout.bar / 2.0;
            text(svg, LEFT - 8.0, middle + 4.0, "label end", name);
            line(svg, "row", (LEFT, middle), (RIGHT, middle));
            for op in ops {
                self.draw_bar(svg, op, bar_top);
            }
        }
        for pair in self.culprits.windows(2) {
            self.draw_arrow(svg, pair[0], pair[1]);
        }
        let mut free = BTreeMap::new();
        let culprits: BTreeSet<OpId> = self.culprits.iter().map(|op| op.id).collect();
        // The contradiction is labelled first, and others where room is left.
        for wanted in [true, false] {
            for (&process, ops) in &self.panel.rows {
                let taken: &mut Vec<(f64, f64)> = free.entry(process).or_default();
                for op in ops.iter().filter(|op| culprits.contains(&op.id) == wanted) {
                    self.draw_label(svg, op, wanted, taken);
                }
            }
        }
    }

    fn draw_bar(&self, svg: &mut Markup, op: &Op, top: f64) {
        let came = Came::of(op);
        let to_ns = ended_ns(op).unwrap_or(self.end_ns);
        let kind = if op.asked.call.is_mutation() { "write" } else { "read" };
        let culprit = self.culprits.iter().any(|other| other.id == op.id);
        let class = format!("op {kind} {}{}", came.name(), if culprit { " culprit" } else { "" });
        for (left, right) in self.time.parts(op.invoked.ns, to_ns) {
            let width = (right - left).max(MIN_BAR);
            svg.with_title(
                "rect",
                &[
                    ("x", &Px(left)),
                    ("y", &Px(top)),
                    ("width", &Px(width)),
                    ("height", &Px(self.layout.bar)),
                    ("class", &class),
                ],
                describe(op, self.end_ns),
            );
        }
        if op.is_uncertain() {
            // It may still take effect, at any later time.
            let middle = top + self.layout.bar / 2.0;
            for (left, right) in self.time.parts(to_ns, u64::MAX) {
                line(svg, "op-open", (left, middle), (right, middle));
            }
        }
    }

    /// Writes what an operation is above its bar, if there is room or it must be there.
    fn draw_label(&self, svg: &mut Markup, op: &Op, must: bool, taken: &mut Vec<(f64, f64)>) {
        let words = if self.layout.in_full {
            label(op)
        } else {
            match op.reply() {
                Some(reply) => reply.index.to_string(),
                None => return,
            }
        };
        let size = if self.layout.in_full { 12.0 } else { 11.0 };
        if self.layout.row < size + self.layout.bar && !must {
            return;
        }
        let width = text_width(&words, size);
        let to_ns = ended_ns(op).unwrap_or(self.end_ns);
        let Some((from, to)) = self.time.parts(op.invoked.ns, to_ns).next() else { return };
        // Above the middle of a narrow bar, from the left of a wide one, inside of the picture.
        let left = if to - from < width { f64::midpoint(from, to) - width / 2.0 } else { from };
        let left = left.clamp(LEFT, RIGHT - width);
        let (from, to) = (left - 4.0, left + width + 4.0);
        let overlaps =
            taken.iter().any(|&(other_from, other_to)| from < other_to && other_from < to);
        if overlaps && !must {
            return;
        }
        taken.push((from, to));
        let class = match (self.layout.in_full, must) {
            (true, true) => "label halo culprit-label",
            (true, false) => "label halo",
            (false, true) => "small halo culprit-label",
            (false, false) => "small halo soft",
        };
        text(svg, left, self.bar_top(op.asked.process) - 4.0, class, words);
    }

    /// Joins the end of the earlier operation with the beginning of the later one.
    fn draw_arrow(&self, svg: &mut Markup, earlier: &Op, later: &Op) {
        let half = self.layout.bar / 2.0;
        let ended = ended_ns(earlier).unwrap_or(self.end_ns);
        let from = (self.time.x(ended), self.bar_top(earlier.asked.process) + half);
        let to = (self.time.x(later.invoked.ns), self.bar_top(later.asked.process) + half);
        let arrow = format!("url(#{}-arrow)", self.name);
        // It leaves and arrives along the rows, below the labels of both bars.
        let middle = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
        let path = format!(
            "M{} {}C{} {} {} {} {} {}",
            Px(from.0),
            Px(from.1),
            Px(middle.0),
            Px(from.1),
            Px(middle.0),
            Px(to.1),
            Px(to.0),
            Px(to.1)
        );
        svg.leaf("path", &[("d", &path), ("class", &"arrow"), ("marker-end", &arrow)]);
        if self.layout.in_full {
            let words = match later.invoked.ns.checked_sub(ended) {
                Some(between) => format!("{} later", Duration(between)),
                None => "they overlap".to_owned(),
            };
            if (from.1 - to.1).abs() < 1.0 {
                text(svg, middle.0, middle.1 - 6.0, "breach-label middle", words);
            } else {
                // On the side of the curve that it bends away from.
                let y = if to.1 > from.1 { -3.0 } else { 12.0 };
                text(svg, middle.0 + 12.0, middle.1 + y, "breach-label", words);
            }
        }
    }

    /// Zigzags where moments are left out.
    fn draw_cuts(&self, svg: &mut Markup) {
        for pair in self.time.pieces.windows(2) {
            let (from, to) = (pair[0].right, pair[1].left);
            let middle = f64::midpoint(from, to);
            let bottom = self.bottom();
            for x in [middle - 4.0, middle + 4.0] {
                let path = format!("M{} {}l-3 6l6-6l-3 6", Px(x), Px(bottom - 3.0));
                svg.leaf("path", &[("d", &path), ("class", &"cut")]);
                line(svg, "phase", (x, self.top), (x, bottom - 6.0));
            }
            let words = format!("{} cut", Duration(pair[1].from_ns - pair[0].to_ns));
            text(svg, middle, self.top - 4.0, "small soft middle", words);
        }
    }

    /// Shades the moments that the close view shows.
    fn draw_zoomed(&self, svg: &mut Markup, from_ns: u64, to_ns: u64) {
        for (left, right) in self.time.parts(from_ns, to_ns) {
            let place: [(&str, &dyn std::fmt::Display); 4] = [
                ("x", &Px(left)),
                ("y", &Px(self.top)),
                ("width", &Px((right - left).max(1.0))),
                ("height", &Px(self.bottom() - self.top)),
            ];
            for class in ["zoomed", "zoomed-edge"] {
                svg.leaf("rect", &[place[0], place[1], place[2], place[3], ("class", &class)]);
            }
        }
    }
}

fn legend(svg: &mut Markup, y: f64) {
    let entries = [
        ("op read ok", "read"),
        ("op write ok", "write"),
        ("op write fail", "fail: certainly not done"),
        ("op write info", "info: perhaps done, now or later"),
        ("op read ok culprit", "contradicts"),
    ];
    let mut x = LEFT;
    for (class, words) in entries {
        svg.leaf(
            "rect",
            &[
                ("x", &Px(x)),
                ("y", &Px(y - 9.0)),
                ("width", &24),
                ("height", &10),
                ("class", &class),
            ],
        );
        text(svg, x + 30.0, y, "label", words);
        x += 60.0 + text_width(words, 12.0);
    }
}
