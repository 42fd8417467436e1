//! The strip above the pictures over time: phases, one lane for each class of faults, and when
//! there was no majority; and the bands behind their plots.

use std::collections::BTreeSet;

use crate::history::event::{Phase, PhaseEvent};
use crate::history::fault::FaultClass;

use super::fault_spans::{FaultSpan, class_name, family};
use super::input::{Input, Violation};
use super::markup::{Markup, Px};
use super::picture::{LEFT, RIGHT, line, text, text_width};
use super::quantity::Moment;
use super::scale::TimeScale;

/// Height of a lane of faults.
const LANE: f64 = 15.0;
/// Height of the row of phases.
const PHASES: f64 = 20.0;
/// Height of the lane of violations.
const VIOLATIONS: f64 = 18.0;
/// Violations that are nearer to each other than these units share a mark.
const MARK_DISTANCE: f64 = 12.0;
/// Width of a fault that took no time, so that it can be seen.
const MIN_WIDTH: f64 = 2.5;

/// What the strip shows.
#[derive(Debug)]
pub(super) struct Strip<'a> {
    spans: &'a [FaultSpan],
    classes: Vec<FaultClass>,
    phases: &'a [PhaseEvent],
    no_majority: &'a [(u64, u64)],
    marks: Vec<(u64, &'a Violation)>,
    end_ns: u64,
}

impl<'a> Strip<'a> {
    /// The strip of a run.
    pub(super) fn of(
        input: &Input<'a>,
        spans: &'a [FaultSpan],
        no_majority: &'a [(u64, u64)],
    ) -> Self {
        let classes: BTreeSet<FaultClass> = spans.iter().map(|span| span.class).collect();
        let mut marks: Vec<(u64, &Violation)> = Vec::new();
        let moment = |violation: &Violation| {
            let last = violation.ops.last().and_then(|&op| input.op(op));
            violation.at_ns.or(last.map(|op| op.invoked.ns))
        };
        marks.extend(input.findings.violations.iter().filter_map(|v| Some((moment(v)?, v))));
        marks.sort_by_key(|&(at_ns, _)| at_ns);
        Self {
            spans,
            classes: classes.into_iter().collect(),
            phases: &input.history.phases,
            no_majority,
            marks,
            end_ns: input.end_ns(),
        }
    }

    /// How high it is.
    pub(super) fn height(&self) -> f64 {
        let lanes = self.classes.len() + usize::from(!self.no_majority.is_empty());
        let violations = if self.marks.is_empty() { 0.0 } else { VIOLATIONS };
        PHASES + LANE * lanes as f64 + 6.0 + violations
    }

    /// Draws it, with its upper edge at 0.
    pub(super) fn draw(&self, svg: &mut Markup, time: &TimeScale, picture: &str) {
        self.draw_phases(svg, time);
        for (lane, &class) in self.classes.iter().enumerate() {
            let top = PHASES + LANE * lane as f64;
            text(svg, LEFT - 8.0, top + 11.5, "label end", class_name(class));
            line(svg, "lane", (LEFT, top + LANE - 0.5), (RIGHT, top + LANE - 0.5));
            for span in self.spans.iter().filter(|span| span.class == class) {
                let (x, width) = bar(time, span.from_ns, span.to_ns);
                let place: [(&str, &dyn std::fmt::Display); 4] = [
                    ("x", &Px(x)),
                    ("y", &Px(top + 2.0)),
                    ("width", &Px(width)),
                    ("height", &Px(LANE - 4.0)),
                ];
                let class = format!("fault {}", family(span.class));
                svg.open("g", &[("class", &class)]);
                svg.element("title", &[], span.describe());
                if span.doubt.is_some() {
                    let fill = format!("url(#{picture}-hatch)");
                    svg.leaf(
                        "rect",
                        &[place[0], place[1], place[2], place[3], ("class", &"doubt")],
                    );
                    svg.leaf("rect", &[place[0], place[1], place[2], place[3], ("fill", &fill)]);
                } else {
                    svg.leaf("rect", &[place[0], place[1], place[2], place[3], ("class", &"sure")]);
                }
                svg.close();
            }
        }
        if !self.no_majority.is_empty() {
            let top = PHASES + LANE * self.classes.len() as f64;
            text(svg, LEFT - 8.0, top + 11.5, "label end strong", "no majority");
            for &(from_ns, to_ns) in self.no_majority {
                let (x, width) = bar(time, from_ns, to_ns);
                let words = format!(
                    "no majority of voters reachable from {} to {}: liveness is not owed",
                    Moment(from_ns),
                    Moment(to_ns)
                );
                svg.with_title(
                    "rect",
                    &[
                        ("x", &Px(x)),
                        ("y", &Px(top + 2.0)),
                        ("width", &Px(width)),
                        ("height", &Px(LANE - 4.0)),
                        ("class", &"no-majority"),
                    ],
                    words,
                );
            }
        }
    }

    /// Draws the bands behind a plot. Where several faults overlap, the band is darker.
    pub(super) fn draw_bands(&self, svg: &mut Markup, time: &TimeScale, top: f64, bottom: f64) {
        for span in self.spans {
            let (x, width) = bar(time, span.from_ns, span.to_ns);
            svg.leaf(
                "rect",
                &[
                    ("x", &Px(x)),
                    ("y", &Px(top)),
                    ("width", &Px(width)),
                    ("height", &Px(bottom - top)),
                    ("class", &format!("band {}", family(span.class))),
                ],
            );
        }
        for event in self.phases {
            let x = time.x(event.at.ns);
            line(svg, "phase", (x, top), (x, bottom));
        }
    }

    /// Draws the moments of violations over a plot, down from their lane in the strip.
    pub(super) fn draw_marks(&self, svg: &mut Markup, time: &TimeScale, bottom: f64) {
        let mut groups: Vec<(f64, Vec<&Violation>)> = Vec::new();
        for &(at_ns, violation) in self.marks.iter().take(VIOLATION_MARKS_MAX) {
            let x = time.x(at_ns);
            match groups.last_mut() {
                Some((first, group)) if x - *first < MARK_DISTANCE => group.push(violation),
                Some(_) | None => groups.push((x, vec![violation])),
            }
        }
        let top = self.height() - VIOLATIONS;
        let mut free_from = f64::MIN;
        for (x, group) in groups {
            let mut laws: Vec<&str> = group.iter().map(|v| v.law.as_str()).collect();
            laws.dedup();
            let words = group.iter().map(|v| format!("{}: {}", v.law, v.sentence));
            svg.open("g", &[("class", &"breach")]);
            svg.element("title", &[], words.collect::<Vec<_>>().join("; "));
            line(svg, "breach-line", (x, top + 4.0), (x, bottom));
            let head = format!("M{} {}l-5-9h10z", Px(x), Px(top + 13.0));
            svg.leaf("path", &[("d", &head), ("class", &"arrowhead")]);
            let label = format!("{} violated", laws.join(", "));
            let width = text_width(&label, 12.0) + 9.0;
            let from = if x + width > RIGHT { x - width } else { x };
            if from >= free_from {
                let place = if from < x {
                    (x - 9.0, "breach-label end")
                } else {
                    (x + 9.0, "breach-label")
                };
                text(svg, place.0, top + 13.0, place.1, label);
                free_from = from + width + 6.0;
            }
            svg.close();
        }
    }

    fn draw_phases(&self, svg: &mut Markup, time: &TimeScale) {
        for (place, event) in self.phases.iter().enumerate() {
            let next = self.phases.get(place + 1).map_or(self.end_ns, |next| next.at.ns);
            let (from, to) = (time.x(event.at.ns), time.x(next));
            let name = phase_name(event.phase);
            line(svg, "phase", (from, 0.0), (from, self.height()));
            if text_width(name, 12.0) + 6.0 <= to - from {
                text(svg, from + 5.0, 13.0, "label strong", name);
            }
        }
        text(svg, LEFT - 8.0, 13.0, "label end soft", "phase");
        if !self.marks.is_empty() {
            text(svg, LEFT - 8.0, self.height() - 5.0, "label end culprit-label", "violation");
        }
    }
}

/// More moments than that would hide the plot; the page lists all.
const VIOLATION_MARKS_MAX: usize = 20;

fn bar(time: &TimeScale, from_ns: u64, to_ns: u64) -> (f64, f64) {
    let (from, to) = (time.x(from_ns), time.x(to_ns));
    (from, (to - from).max(MIN_WIDTH))
}

const fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Quiet => "quiet",
        Phase::Faults => "faults",
        Phase::Heal => "heal",
        Phase::Final => "final",
        Phase::Done => "done",
    }
}
