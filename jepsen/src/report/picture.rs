//! A picture: markup of SVG with a size, a title and a note, and the marks that several
//! pictures share: time axis, texts, patterns.

use super::markup::{Markup, Px};
use super::palette;
use super::scale::TimeScale;

/// Width of every picture, in its own units.
pub(super) const WIDTH: f64 = 1_200.0;
/// Where the plots of pictures over time begin; left of it are labels of lanes and values.
pub(super) const LEFT: f64 = 140.0;
/// Where they end.
pub(super) const RIGHT: f64 = 1_180.0;

/// A finished picture.
#[derive(Debug)]
pub(super) struct Picture {
    /// Name of its file, without ending; unique in a report.
    pub(super) name: String,
    /// What it shows.
    pub(super) title: String,
    /// How to read it, and what it leaves out; a sentence each.
    pub(super) notes: Vec<String>,
    /// Its height; its width is [`WIDTH`].
    pub(super) height: f64,
    /// What is drawn.
    pub(super) body: Markup,
}

impl Picture {
    /// The picture as part of a page that has the style sheet.
    pub(super) fn inline(&self) -> Markup {
        self.svg(None, "")
    }

    /// The picture as a file of its own, with its title and its notes in it.
    pub(super) fn document(&self) -> String {
        self.svg(Some(palette::PICTURE), "http://www.w3.org/2000/svg")
            .document("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
    }

    fn svg(&self, sheet: Option<&'static str>, namespace: &'static str) -> Markup {
        // A page shows title and notes as its own text; a file has to carry them.
        let alone = sheet.is_some();
        let head = if alone { 34.0 } else { 0.0 };
        let notes: Vec<String> = if alone {
            self.notes.iter().flat_map(|note| wrap(note)).collect()
        } else {
            Vec::new()
        };
        let foot = 18.0 * notes.len() as f64 + if alone { 8.0 } else { 0.0 };
        let height = self.height + head + foot;
        let view = format!("0 {} {} {}", Px(-head), Px(WIDTH), Px(height));
        let mut svg = Markup::default();
        if alone {
            svg.open("svg", &[("xmlns", &namespace), ("viewBox", &view), ("class", &"picture")]);
        } else {
            svg.open("svg", &[("viewBox", &view), ("class", &"picture"), ("role", &"img")]);
        }
        svg.element("title", &[], &self.title);
        if let Some(sheet) = sheet {
            svg.style(sheet);
            let size: [(&str, &dyn std::fmt::Display); 2] =
                [("width", &Px(WIDTH)), ("height", &Px(height))];
            svg.leaf("rect", &[("y", &Px(-head)), size[0], size[1], ("class", &"paper")]);
            text(&mut svg, 10.0, -10.0, "heading", &self.title);
        }
        patterns(&mut svg, &self.name);
        svg.append(&self.body);
        for (line, note) in notes.iter().enumerate() {
            text(&mut svg, 10.0, self.height + 16.0 + 18.0 * line as f64, "label soft", note);
        }
        svg.close();
        svg
    }
}

/// Writes a text at a place. The class says how it looks and which end of it lies there.
pub(super) fn text(svg: &mut Markup, x: f64, y: f64, class: &str, text: impl std::fmt::Display) {
    svg.element("text", &[("x", &Px(x)), ("y", &Px(y)), ("class", &class)], text);
}

/// How wide a text will be at a size, about, even when bold; what would not fit is left out by it.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.62
}

/// A text in lines that fit into a picture.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, 12.0) + text_width(word, 12.0) < WIDTH - 30.0 => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A straight line.
pub(super) fn line(svg: &mut Markup, class: &str, from: (f64, f64), to: (f64, f64)) {
    svg.leaf(
        "line",
        &[
            ("x1", &Px(from.0)),
            ("y1", &Px(from.1)),
            ("x2", &Px(to.0)),
            ("y2", &Px(to.1)),
            ("class", &class),
        ],
    );
}

/// Lines at the labelled moments from `top` to `bottom`, their labels below, and the name of the
/// axis.
pub(super) fn time_axis(svg: &mut Markup, time: &TimeScale, top: f64, bottom: f64) {
    let (ticks, unit) = time.ticks();
    for (x, label) in ticks {
        line(svg, "grid", (x, top), (x, bottom));
        text(svg, x, bottom + 16.0, "label middle", label);
    }
    for piece in &time.pieces {
        line(svg, "axis", (piece.left, bottom), (piece.right, bottom));
    }
    let ends = time.pieces.first().zip(time.pieces.last());
    let middle = ends.map_or(WIDTH / 2.0, |(a, b)| f64::midpoint(a.left, b.right));
    let words = format!("time since the run began, {unit}");
    text(svg, middle, bottom + 33.0, "label middle soft", words);
}

/// Height of what [`time_axis`] writes below the plot.
pub(super) const TIME_AXIS_HEIGHT: f64 = 40.0;

/// The patterns that tell areas apart without colour: `NAME-hatch`, `NAME-dots`, `NAME-stripes`.
fn patterns(svg: &mut Markup, name: &str) {
    svg.open("defs", &[]);
    for (pattern, size, path) in [
        ("hatch", 6, "M0 6L6 0M-1 1L1 -1M5 7L7 5"),
        ("dots", 5, "M2.5 2.5h.01"),
        ("stripes", 5, "M0 2.5h5"),
    ] {
        let id = format!("{name}-{pattern}");
        svg.open(
            "pattern",
            &[
                ("id", &id),
                ("width", &size),
                ("height", &size),
                ("patternUnits", &"userSpaceOnUse"),
            ],
        );
        svg.leaf("path", &[("d", &path), ("class", &format!("pattern {pattern}"))]);
        svg.close();
    }
    svg.open(
        "marker",
        &[
            ("id", &format!("{name}-arrow")),
            ("viewBox", &"0 0 10 10"),
            ("refX", &9),
            ("refY", &5),
            ("markerWidth", &9),
            ("markerHeight", &9),
            ("markerUnits", &"userSpaceOnUse"),
            ("orient", &"auto-start-reverse"),
        ],
    );
    svg.leaf("path", &[("d", &"M0 0L10 5L0 10z"), ("class", &"arrowhead")]);
    svg.close();
    svg.close();
}
