//! The picture `raft-lanes`: what each node was, in which term, and when it made snapshots.

use super::fault_spans::FaultSpan;
use super::input::Input;
use super::markup::{Markup, Px};
use super::nemesis_strip::Strip;
use super::picture::{LEFT, Picture, RIGHT, TIME_AXIS_HEIGHT, line, text, text_width, time_axis};
use super::quantity::{Count, Duration, Moment};
use super::raft_states::{NodeLane, NodeState, StateSpan, lanes};
use super::scale::TimeScale;

/// Height of the lane of one node with its snapshots.
const LANE: f64 = 44.0;
/// Height of the states in it.
const STATES: f64 = 24.0;
/// Units between snapshot marks, at least; those between are told by the mark before them.
const SNAPSHOT_DISTANCE: f64 = 9.0;

const NAME: &str = "raft-lanes";

/// Draws it.
pub(super) fn draw(input: &Input<'_>, faults: &[FaultSpan], strip: &Strip<'_>) -> Picture {
    let time = TimeScale::whole(0, input.end_ns(), LEFT, RIGHT);
    let lanes = lanes(input, faults);
    let top = strip.height() + 8.0;
    let bottom = top + LANE * lanes.len() as f64;
    let mut svg = Markup::default();
    strip.draw(&mut svg, &time, NAME);
    strip.draw_bands(&mut svg, &time, top, bottom);
    time_axis(&mut svg, &time, top, bottom);
    for (place, lane) in lanes.iter().enumerate() {
        let top = top + LANE * place as f64;
        text(&mut svg, LEFT - 8.0, top + 20.0, "label end strong", format!("node {}", lane.node));
        line(&mut svg, "lane", (LEFT, top + LANE), (RIGHT, top + LANE));
        for span in &lane.spans {
            draw_span(&mut svg, &time, top + 4.0, span);
        }
        draw_snapshots(&mut svg, &time, top + 4.0 + STATES + 8.0, lane);
    }
    strip.draw_marks(&mut svg, &time, bottom);
    legend(&mut svg, bottom + TIME_AXIS_HEIGHT + 14.0);
    Picture {
        name: NAME.to_owned(),
        title: "Raft roles, terms and snapshots of each node".to_owned(),
        notes: vec![
            "From what nodes said of themselves about five times in a second. Numbers are terms, \
             where there is room. Down and paused are told by the faults on the process; silent \
             is a node that gave no answer for another reason, such as a partition."
                .to_owned(),
        ],
        height: bottom + TIME_AXIS_HEIGHT + 30.0,
        body: svg,
    }
}

fn draw_span(svg: &mut Markup, time: &TimeScale, top: f64, span: &StateSpan) {
    let (left, right) = (time.x(span.from_ns), time.x(span.to_ns));
    let width = (right - left).max(0.8);
    svg.open("g", &[]);
    let term = span.term.map_or_else(String::new, |term| format!(" in term {term}"));
    let lasted = Duration(span.to_ns - span.from_ns);
    let words = format!("{}{term} from {} for {lasted}", name(span.state), Moment(span.from_ns));
    svg.element("title", &[], words);
    state_box(svg, span.state, (left, top, width));
    if let (Some(term), Some(class)) = (span.term, text_class(span.state)) {
        let label = term.to_string();
        if text_width(&label, 11.0) + 4.0 <= width {
            let class = format!("small middle {class}");
            text(svg, left + width / 2.0, top + STATES / 2.0 + 4.0, &class, label);
        }
    }
    svg.close();
}

/// The box of a state: solid for the roles that serve, patterned for the others, flat for
/// silence.
fn state_box(svg: &mut Markup, state: NodeState, (left, top, width): (f64, f64, f64)) {
    let (inset, height) = match state {
        NodeState::Silent => (STATES / 2.0 - 1.0, 2.0),
        _ => (0.0, STATES),
    };
    let place: [(&str, &dyn std::fmt::Display); 4] =
        [("x", &Px(left)), ("y", &Px(top + inset)), ("width", &Px(width)), ("height", &Px(height))];
    let class = format!("state {}", name(state));
    svg.leaf("rect", &[place[0], place[1], place[2], place[3], ("class", &class)]);
    let pattern = match state {
        NodeState::Candidate => "hatch",
        NodeState::Learner => "stripes",
        NodeState::Paused => "dots",
        NodeState::Leader | NodeState::Follower | NodeState::Down | NodeState::Silent => return,
    };
    let fill = format!("url(#{NAME}-{pattern})");
    svg.leaf("rect", &[place[0], place[1], place[2], place[3], ("fill", &fill)]);
}

fn draw_snapshots(svg: &mut Markup, time: &TimeScale, y: f64, lane: &NodeLane) {
    let mut shown: Vec<(f64, u64, u64, usize)> = Vec::new();
    for &(at_ns, index) in &lane.snapshots {
        let x = time.x(at_ns);
        match shown.last_mut() {
            Some((last, _, _, more)) if x - *last < SNAPSHOT_DISTANCE => *more += 1,
            Some(_) | None => shown.push((x, at_ns, index, 0)),
        }
    }
    for (x, at_ns, index, more) in shown {
        let mut words = format!("snapshot up to index {} at {}", Count(index), Moment(at_ns));
        if more > 0 {
            words.push_str(&format!(", and {more} more right after it"));
        }
        svg.with_title("path", &[("d", &diamond(x, y)), ("class", &"snapshot")], words);
    }
}

fn diamond(x: f64, y: f64) -> String {
    format!("M{} {}l4 4.5l-4 4.5l-4-4.5z", Px(x), Px(y - 4.5))
}

fn legend(svg: &mut Markup, top: f64) {
    let states = [
        NodeState::Leader,
        NodeState::Follower,
        NodeState::Candidate,
        NodeState::Learner,
        NodeState::Down,
        NodeState::Paused,
        NodeState::Silent,
    ];
    for (place, state) in states.into_iter().enumerate() {
        let x = LEFT + 125.0 * place as f64;
        state_box(svg, state, (x, top - STATES / 2.0 - 4.0, 30.0));
        text(svg, x + 36.0, top, "label", name(state));
    }
    let x = LEFT + 125.0 * states.len() as f64;
    svg.leaf("path", &[("d", &diamond(x + 10.0, top - 4.0)), ("class", &"snapshot")]);
    text(svg, x + 22.0, top, "label", "newer snapshot");
}

const fn name(state: NodeState) -> &'static str {
    match state {
        NodeState::Leader => "leader",
        NodeState::Candidate => "candidate",
        NodeState::Follower => "follower",
        NodeState::Learner => "learner",
        NodeState::Down => "down",
        NodeState::Paused => "paused",
        NodeState::Silent => "silent",
    }
}

const fn text_class(state: NodeState) -> Option<&'static str> {
    match state {
        NodeState::Leader => Some("on-leader"),
        NodeState::Follower => Some("on-follower"),
        NodeState::Learner | NodeState::Candidate => Some("halo"),
        NodeState::Down | NodeState::Paused | NodeState::Silent => None,
    }
}
