//! Maps as SVG: districts in classes, and sites as points.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::super::language::{Language, Text};
use super::map::{Canvas, Outline, around_all, bounds, centre, groups_of, path};
use super::page::{Html, Page};
use super::scale::Scale;
use crate::gap::Gap;
use crate::receive::Accepted;
use crate::site::Placed;

/// Departments on a canvas.
#[derive(Debug)]
pub(super) struct Land {
    pub(super) canvas: Canvas,
    departments: Vec<Department>,
}

#[derive(Debug)]
struct Department {
    code: String,
    /// Boundary groups and their paths.
    groups: Vec<(String, String)>,
    outlines: Vec<Outline>,
}

/// Where a map's districts lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// Each department to its page.
    Departments,
    Nowhere,
}

impl Land {
    /// These departments, the longer side so many units. None if INE gave no boundaries of them.
    pub(super) fn of<'a>(
        rows: &'a Accepted,
        departments: impl Iterator<Item = &'a str> + Clone,
        longest: i64,
    ) -> Option<Self> {
        let boundaries = departments.clone().flat_map(|code| groups_of(rows, code)).map(|(_, it)| it);
        let canvas = Canvas::around(boundaries, longest)?;
        let department = |code: &'a str| {
            let shapes: Vec<_> =
                groups_of(rows, code).map(|(group, it)| (group.to_owned(), canvas.outlines(it))).collect();
            let all: Vec<Outline> = shapes.iter().flat_map(|(_, outlines)| outlines.clone()).collect();
            let groups = shapes.into_iter().map(|(group, outlines)| (group, path(&outlines))).collect();
            Department { code: code.to_owned(), groups, outlines: around_all(&all) }
        };
        Some(Self { canvas, departments: departments.map(department).collect() })
    }

    /// Where some of its departments lie, with room around them.
    pub(super) fn frame_of(&self, codes: &[&str]) -> Option<[i64; 4]> {
        let inside = self.departments.iter().filter(|it| codes.contains(&it.code.as_str()));
        let outlines: Vec<Outline> = inside.flat_map(|it| it.outlines.clone()).collect();
        bounds(&outlines)
            .map(|[left, top, right, bottom]| [left - 6, top - 6, right - left + 12, bottom - top + 12])
    }

    /// Shapes that several maps of a page use.
    pub(super) fn shared(&self) -> String {
        let mut out = String::new();
        for department in &self.departments {
            for (group, path) in &department.groups {
                let _ = writeln!(out, "<path id=\"d{}\" d=\"{path}\"/>", Html::text(group));
            }
            let _ = writeln!(
                out,
                "<path id=\"o{}\" d=\"{}\"/>",
                Html::text(&department.code),
                path(&department.outlines)
            );
        }
        out
    }

    /// Its departments, each in the look that the caller gives to a group; `shapes` says whether they were shared before.
    pub(super) fn districts(
        &self,
        shapes: Shapes,
        look: impl Fn(&str) -> &'static str,
        open: impl Fn(&str) -> (String, &'static str),
    ) -> String {
        let mut out = String::new();
        for department in &self.departments {
            let (before, after) = open(&department.code);
            let _ = write!(out, "{before}<g class=\"d\">");
            for (group, path) in &department.groups {
                let look = look(group);
                let _ = match shapes {
                    Shapes::Shared => write!(out, "<use class=\"{look}\" href=\"#d{}\"/>", Html::text(group)),
                    Shapes::Own => write!(out, "<path class=\"{look}\" d=\"{path}\"/>"),
                };
            }
            let _ = match shapes {
                Shapes::Shared => {
                    write!(out, "</g><use class=\"o\" href=\"#o{}\"/>", Html::text(&department.code))
                }
                Shapes::Own => write!(out, "</g><path class=\"o\" d=\"{}\"/>", path(&department.outlines)),
            };
            let _ = writeln!(out, "{after}");
        }
        out
    }

    /// Plain land, for points on it.
    fn plain(&self) -> String {
        let uses = self.departments.iter().map(|it| format!("<use href=\"#o{}\"/>", Html::text(&it.code)));
        format!("<g class=\"land\">{}</g>\n", uses.collect::<String>())
    }

    /// Departments by number, where there is room for it.
    pub(super) fn labels(&self) -> String {
        let mut out = String::new();
        for department in &self.departments {
            let room = bounds(&department.outlines).filter(|[left, _, right, _]| right - left >= LABEL_UNITS);
            if let (Some(_), Some([x, y])) = (room, centre(&department.outlines)) {
                let _ = writeln!(
                    out,
                    "<text class=\"label\" x=\"{x}\" y=\"{}\">{}</text>",
                    y + 9,
                    Html::text(&department.code)
                );
            }
        }
        out
    }

    /// Sites as points, each place once.
    pub(super) fn points<'s>(&self, sites: impl Iterator<Item = &'s Placed>, sign: Sign) -> String {
        let places: BTreeSet<[i64; 2]> =
            sites.filter_map(|placed| Some(self.canvas.at_point(placed.site.value().point?))).collect();
        let (class, shape) = match sign {
            Sign::Dot(class) => (class, "h0"),
            Sign::Cross => ("cross", "m-7 0h14m-7-7v14"),
            Sign::Square => ("square", "m-5-5h10v10h-10z"),
        };
        let mut path = String::new();
        for [x, y] in places {
            let _ = write!(path, "M{x} {y}{shape}");
        }
        let class = if shape == "h0" { format!("dot {class}") } else { class.to_owned() };
        format!("<path class=\"{class}\" d=\"{path}\"/>\n")
    }

    /// A map of points.
    pub(super) fn point_map(
        &self,
        page: &mut Page<'_>,
        id: &str,
        title: Text,
        describes: &Html,
        points: &str,
    ) {
        let Canvas { width, height, .. } = self.canvas;
        page.add_markup(&format!(
            "<figure class=\"map\"><svg viewBox=\"-4 -4 {} {}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{}</title>\n\
             <desc id=\"{id}-d\">{describes}</desc>\n{}{points}</svg>\n<figcaption>{}. {describes}</figcaption></figure>",
            width + 8,
            height + 8,
            Html::text(page.say(title)),
            self.plain(),
            Html::text(page.say(title)),
        ));
    }
}

/// Whether shapes stand in the page already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shapes {
    Shared,
    Own,
}

/// How a site is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Of this class of the style sheet.
    Dot(&'static str),
    Cross,
    Square,
}

/// A sample of a look.
pub(super) fn key(look: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 34 20\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"{look}\" x=\"1\" y=\"1\" width=\"32\" height=\"18\" \
         stroke=\"#1c1a18\"/></svg>"
    )
}

/// Title of a department's shape, for those who do not see it.
pub(super) fn label(language: Language, name: &str, gap: &Gap, scale: &Scale) -> String {
    let share = (scale.share)(gap).value().per_thousand();
    format!("{name}: {}", share.map_or_else(|| "—".to_owned(), |share| language.percent(share)))
}

/// Least width of a department that gets a number.
const LABEL_UNITS: i64 = 30;
