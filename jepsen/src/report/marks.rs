//! Very many marks in few bytes: one mark for each spot that is hit by a kind and an outcome,
//! stronger where it is hit more often, written as relative steps of long paths.

use std::fmt::Write;

use super::markup::Markup;
use super::outcome::{Came, Kind};
use super::quantity::quantile;

/// Marks of one picture at most. About 9 bytes each; the limit keeps a picture of any history
/// below 3 MB.
const MARKS_MAX: usize = 200_000;
/// Marks of one path; a browser draws many paths faster than a huge one.
const PATH_MARKS: usize = 2_000;

/// Where an operation is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// What came of it.
    pub(super) came: Came,
    /// What it was.
    pub(super) kind: Kind,
    /// Across, in whole units of the picture.
    pub(super) x: i32,
    /// Down, in whole units of the picture.
    pub(super) y: i32,
}

/// Spots, each with the number of operations on it.
#[derive(Debug)]
pub(super) struct Marks {
    /// The edge of a spot, in units of the picture.
    pub(super) spot_size: i32,
    /// Up to how many operations a spot that is ok is drawn faintly: the median.
    pub(super) faint_to: usize,
    /// Up to how many it is drawn half strong: nine spots of ten have no more.
    pub(super) half_to: usize,
    spots: Vec<(Spot, usize)>,
}

impl Marks {
    /// Gathers operations into spots as small as the limit allows.
    pub(super) fn gather(all: Vec<Spot>) -> Self {
        let mut spot_size = 1;
        let mut spots = join(all.into_iter().map(|spot| (spot, 1)).collect());
        while spots.len() > MARKS_MAX {
            spot_size *= 2;
            for (spot, _) in &mut spots {
                spot.x = spot.x / spot_size * spot_size + spot_size / 2;
                spot.y = spot.y / spot_size * spot_size + spot_size / 2;
            }
            spots = join(spots);
        }
        let ok = spots.iter().filter(|(spot, _)| spot.came == Came::Ok);
        let mut counts: Vec<u64> = ok.map(|&(_, count)| count as u64).collect();
        counts.sort_unstable();
        let count_at = |part| usize::try_from(quantile(&counts, part)).unwrap_or(usize::MAX);
        Self { spot_size, faint_to: count_at(0.5), half_to: count_at(0.9), spots }
    }

    /// How many marks will be drawn.
    pub(super) const fn len(&self) -> usize {
        self.spots.len()
    }

    const fn strength(&self, came: Came, count: usize) -> Strength {
        match came {
            Came::Ok if count <= self.faint_to => Strength::Few,
            Came::Ok if count <= self.half_to => Strength::Some,
            // What went wrong is drawn in full, even once.
            Came::Ok | Came::Fail | Came::Info | Came::Unexpected => Strength::Full,
        }
    }

    /// Draws them, what is rare on top.
    pub(super) fn draw(&self, svg: &mut Markup, picture: &str) {
        for came in Came::ALL {
            for strength in Strength::ALL {
                for kind in Kind::ALL {
                    let wanted = self.spots.iter().filter(|(spot, count)| {
                        spot.came == came
                            && spot.kind == kind
                            && self.strength(came, *count) == strength
                    });
                    let places: Vec<(i32, i32)> =
                        wanted.map(|(spot, _)| (spot.x, spot.y)).collect();
                    for (part, places) in places.chunks(PATH_MARKS).enumerate() {
                        draw_path(svg, picture, (came, kind, strength, part), places);
                    }
                }
            }
        }
    }
}

/// Joins what lies on one spot.
fn join(mut all: Vec<(Spot, usize)>) -> Vec<(Spot, usize)> {
    all.sort_unstable();
    all.dedup_by(|(spot, count), (kept, total)| {
        let same = spot == kept;
        if same {
            *total += *count;
        }
        same
    });
    all
}

/// How strongly a mark is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    Few,
    Some,
    Full,
}

impl Strength {
    const ALL: [Self; 3] = [Self::Few, Self::Some, Self::Full];

    const fn class(self) -> &'static str {
        match self {
            Self::Few => "few",
            Self::Some => "some",
            Self::Full => "full",
        }
    }
}

fn draw_path(
    svg: &mut Markup,
    picture: &str,
    (came, kind, strength, part): (Came, Kind, Strength, usize),
    places: &[(i32, i32)],
) {
    let mut path = String::new();
    let mut at = (0, 0);
    for &(x, y) in places {
        let offset = kind.offset();
        let to = (x + offset.0, y + offset.1);
        let (dx, dy) = (to.0 - at.0, to.1 - at.1);
        // A sign separates numbers as well as a space does.
        let space = if dy < 0 { "" } else { " " };
        let written = write!(path, "m{dx}{space}{dy}{}", kind.shape());
        assert!(written.is_ok(), "writing to a string failed");
        at = to;
    }
    let class = format!("mark {} {} {}", came.name(), kind.class(), strength.class());
    if came == Came::Fail && kind == Kind::PayloadRead {
        // A ring is a disc with a smaller disc of the colour of the paper on it.
        let id = format!("{picture}-{}-{}-{part}", came.name(), kind.class());
        svg.open("defs", &[]);
        // Without a class of its own it takes all of its style from where it is used.
        svg.leaf("path", &[("id", &id), ("d", &path)]);
        svg.close();
        svg.leaf("use", &[("href", &format!("#{id}")), ("class", &class)]);
        let hole = format!("mark hole {}", kind.class());
        svg.leaf("use", &[("href", &format!("#{id}")), ("class", &hole)]);
    } else {
        svg.leaf("path", &[("class", &class), ("d", &path)]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Came, Kind, MARKS_MAX, Marks, Markup, Spot};

    fn spot(came: Came, x: i32, y: i32) -> Spot {
        Spot { came, kind: Kind::PayloadRead, x, y }
    }

    #[test]
    fn marks_on_one_spot_are_drawn_once_and_stronger() {
        let mut svg = Markup::default();
        let spots = vec![
            spot(Came::Ok, 5, 5),
            spot(Came::Ok, 9, 2),
            spot(Came::Info, 5, 5),
            spot(Came::Ok, 5, 5),
        ];
        let marks = Marks::gather(spots);
        assert_eq!((marks.len(), marks.spot_size), (3, 1));
        marks.draw(&mut svg, "p");
        assert_eq!(
            svg.as_str(),
            "<path class=\"mark ok payload-read few\" d=\"m9 2h0\"/>\
             <path class=\"mark ok payload-read some\" d=\"m5 5h0\"/>\
             <path class=\"mark info payload-read full\" d=\"m5 5h0\"/>"
        );
    }

    #[test]
    fn too_many_marks_make_larger_spots_and_lose_no_outcome() {
        let mut spots: Vec<Spot> = (0..1_000)
            .flat_map(|x| (0..MARKS_MAX as i32 / 900).map(move |y| spot(Came::Ok, x, y)))
            .collect();
        spots.push(spot(Came::Info, 77, 77));
        let marks = Marks::gather(spots);
        assert_eq!(marks.spot_size, 2);
        assert!(marks.len() <= MARKS_MAX);
        assert_eq!(marks.spots.iter().filter(|(spot, _)| spot.came == Came::Info).count(), 1);
    }
}
