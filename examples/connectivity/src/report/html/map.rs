//! Shapes on paper: INE's polygons of 2012 as whole numbers, few enough for a page. Neighbours share their points, and what is
//! rounded alike stays shared: no gaps, no overlaps. Department outlines are the edges that no two districts of one share.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::geojson::walked;
use crate::place::Point;
use crate::receive::Accepted;
use crate::wire::ine::Boundary;

/// A piece of the country, laid on whole units: east to the right, south down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Canvas {
    west: i64,
    north: i64,
    /// Extent of its longer side, in 1/100,000 of a degree of latitude.
    extent: i64,
    /// Of its longer side, in units.
    longest: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// A closed line in units; its last point is not its first one again.
pub(super) type Outline = Vec<[i64; 2]>;

impl Canvas {
    /// Around these districts, its longer side so many units. None if there is nothing to show.
    pub(super) fn around<'a>(boundaries: impl Iterator<Item = &'a Boundary>, longest: i64) -> Option<Self> {
        let rings = boundaries.flat_map(|it| &it.polygons).flat_map(|it| &it.rings);
        let mut points = rings.flat_map(walked);
        let [east, north] = points.next()?;
        let (mut west, mut east, mut south, mut north) = (east, east, north, north);
        for [longitude, latitude] in points {
            (west, east) = (west.min(longitude), east.max(longitude));
            (south, north) = (south.min(latitude), north.max(latitude));
        }
        let [west, east, south, north] = [west, east, south, north].map(i64::from);
        let (across, down) = ((east - west) * NARROWER / FULL, north - south);
        let extent = across.max(down).max(1);
        let units = |length: i64| length * longest / extent + 1;
        Some(Self { west, north, extent, longest, width: units(across), height: units(down) })
    }

    /// A place on it.
    pub(super) fn at(&self, [longitude, latitude]: [i32; 2]) -> [i64; 2] {
        let across = (i64::from(longitude) - self.west) * NARROWER * self.longest;
        let down = (self.north - i64::from(latitude)) * self.longest;
        [rounded(across, self.extent * FULL), rounded(down, self.extent)]
    }

    /// A site.
    pub(super) fn at_point(&self, point: Point) -> [i64; 2] {
        self.at([point.longitude_e5, point.latitude_e5])
    }

    /// The lines of a district, as they are.
    pub(super) fn outlines(&self, boundary: &Boundary) -> Vec<Outline> {
        let rings = boundary.polygons.iter().flat_map(|polygon| &polygon.rings);
        let outline = |ring| {
            let mut outline: Outline = walked(ring).map(|point| self.at(point)).collect();
            outline.dedup();
            if outline.len() > 1 && outline.first() == outline.last() {
                outline.pop();
            }
            outline
        };
        rings.map(outline).collect()
    }
}

/// The outlines around several districts together: edges that are walked in both directions lie inside.
pub(super) fn around_all(outlines: &[Outline]) -> Vec<Outline> {
    let mut edges: BTreeMap<[i64; 2], Vec<[i64; 2]>> = BTreeMap::new();
    for (from, to) in outlines.iter().flat_map(edges_of) {
        let back =
            edges.get_mut(&to).and_then(|ends| Some((ends.iter().position(|end| *end == from)?, ends)));
        match back {
            Some((at, ends)) => {
                ends.swap_remove(at);
            }
            None => edges.entry(from).or_default().push(to),
        }
    }
    let mut all = Vec::new();
    while let Some(first) = edges.iter().find(|(_, ends)| !ends.is_empty()).map(|(from, _)| *from) {
        let (mut outline, mut here) = (Outline::new(), first);
        while let Some(next) = edges.get_mut(&here).and_then(Vec::pop) {
            outline.push(here);
            here = next;
        }
        all.push(outline);
        edges.retain(|_, ends| !ends.is_empty());
    }
    all
}

fn edges_of(outline: &Outline) -> impl Iterator<Item = ([i64; 2], [i64; 2])> + '_ {
    outline.iter().copied().zip(outline.iter().copied().cycle().skip(1))
}

/// As SVG writes it, without points that lie on the line between their neighbours.
pub(super) fn path(outlines: &[Outline]) -> String {
    let mut out = String::new();
    for outline in outlines {
        let outline = straightened(outline.clone());
        let Some((first, rest)) = outline.split_first().filter(|(_, rest)| rest.len() >= 2) else { continue };
        let _ = write!(out, "M{} {}l", first[0], first[1]);
        let mut before = *first;
        for (at, here) in rest.iter().enumerate() {
            let steps = [here[0] - before[0], here[1] - before[1]];
            for (axis, step) in steps.into_iter().enumerate() {
                // A minus parts numbers as well as a space does.
                let space = if step < 0 || (at, axis) == (0, 0) { "" } else { " " };
                let _ = write!(out, "{space}{step}");
            }
            before = *here;
        }
        out.push('z');
    }
    out
}

/// Until nothing lies on a straight line any more; a spike that goes out and back lies on one, too.
fn straightened(mut outline: Outline) -> Outline {
    loop {
        let count = outline.len();
        let bends = |at: usize| {
            let (before, here, after) =
                (outline[(at + count - 1) % count], outline[at], outline[(at + 1) % count]);
            (here[0] - before[0]) * (after[1] - here[1]) != (here[1] - before[1]) * (after[0] - here[0])
        };
        let kept: Outline = (0..count).filter(|at| bends(*at)).map(|at| outline[at]).collect();
        if kept.len() == count {
            return kept;
        }
        outline = kept;
    }
}

/// Where a label stands: the centre of the area of the largest outline. None if that has no area.
pub(super) fn centre(outlines: &[Outline]) -> Option<[i64; 2]> {
    let twice_area =
        |outline: &Outline| edges_of(outline).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<i64>();
    let largest = outlines.iter().max_by_key(|outline| twice_area(outline).abs())?;
    let area = twice_area(largest);
    let along = |axis: usize| {
        let weighted = edges_of(largest).map(|(a, b)| (a[axis] + b[axis]) * (a[0] * b[1] - b[0] * a[1]));
        weighted.sum::<i64>().checked_div(3 * area)
    };
    Some([along(0)?, along(1)?])
}

/// Left, top, right and bottom.
pub(super) fn bounds(outlines: &[Outline]) -> Option<[i64; 4]> {
    let mut points = outlines.iter().flatten();
    let first = points.next()?;
    let start = [first[0], first[1], first[0], first[1]];
    Some(points.fold(start, |[left, top, right, bottom], it| {
        [left.min(it[0]), top.min(it[1]), right.max(it[0]), bottom.max(it[1])]
    }))
}

/// Boundary groups of a department, in order: a group lies where its own district does.
pub(super) fn groups_of<'a>(
    rows: &'a Accepted,
    department: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Boundary)> {
    let inside = move |group: &str| {
        rows.districts.get(group).is_some_and(|it| it.value().department_code == department)
    };
    rows.boundaries.iter().map(|(group, it)| (group, it.value())).filter(move |(group, _)| inside(group))
}

fn rounded(part: i64, whole: i64) -> i64 {
    (part + whole / 2).div_euclid(whole)
}

/// A degree of longitude against one of latitude in the middle of the country: the cosine of 23.4°, per thousand.
const NARROWER: i64 = 918;
const FULL: i64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ine::{Polygon, Ring};

    /// Squares of a degree, side by side from west to east.
    fn square(number: i32) -> Boundary {
        let deltas_e5 = vec![number * 100_000, -2_500_000, 100_000, 0, 0, 100_000, -100_000, 0, 0, -100_000];
        Boundary {
            boundary_group: number.to_string(),
            polygons: vec![Polygon { rings: vec![Ring { deltas_e5 }] }],
        }
    }

    #[test]
    fn a_degree_is_narrower_than_high_and_points_on_a_line_go() {
        let canvas = Canvas::around([square(0), square(1)].iter(), 1_836).unwrap();
        assert_eq!((canvas.width, canvas.height), (1_837, 1_001));
        let outlines = canvas.outlines(&square(0));
        assert_eq!(path(&outlines), "M0 1000l918 0 0-1000-918 0z");
        let bent = vec![vec![[0, 0], [5, 0], [9, 0], [9, 9], [9, 12], [9, 9]]];
        assert_eq!(path(&bent), "M0 0l9 0 0 9z");
        assert_eq!(Canvas::around([].iter(), 10), None);
    }

    #[test]
    fn the_line_between_two_districts_of_one_department_is_no_outline() {
        let canvas = Canvas::around([square(0), square(1)].iter(), 1_836).unwrap();
        let both: Vec<_> = [0, 1].iter().flat_map(|at| canvas.outlines(&square(*at))).collect();
        let around = around_all(&both);
        assert_eq!(path(&around), "M0 0l0 1000 1836 0 0-1000z");
        assert_eq!(centre(&around), Some([918, 500]));
        assert_eq!(bounds(&around), Some([0, 0, 1_836, 1_000]));
    }

    #[test]
    fn lines_without_area_are_no_shape() {
        assert_eq!(path(&[vec![[1, 1]], vec![[0, 0], [3, 3]], Vec::new()]), "");
        assert_eq!(centre(&[vec![[0, 0], [3, 3]]]), None);
    }
}
