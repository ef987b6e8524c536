//! Bars by year, side by side on one scale. The table beside them says the same in numbers.

use std::fmt::Write as _;

use super::page::{Html, Page};

/// A chart for each scenario.
#[derive(Debug)]
pub(super) struct Panel {
    /// In ids.
    pub(super) id: String,
    pub(super) title: Html,
    /// What it shows in words: for those who do not see it.
    pub(super) describes: Html,
    pub(super) bars: Vec<Bar>,
    /// A dashed line across.
    pub(super) limit: Option<u64>,
}

/// A year.
#[derive(Debug)]
pub(super) struct Bar {
    pub(super) year: u16,
    /// From the ground up.
    pub(super) parts: Vec<u64>,
    /// Above it.
    pub(super) label: String,
}

/// All panels, the same height for the same number.
pub(super) fn panels(page: &mut Page<'_>, looks: &[&str], panels: &[Panel]) {
    let whole = |bar: &Bar| bar.parts.iter().sum::<u64>();
    let tops = panels.iter().flat_map(|panel| panel.bars.iter().map(whole).chain(panel.limit));
    let most = tops.max().unwrap_or_default().max(1);
    page.add_markup("<div class=\"pair charts\">");
    for panel in panels {
        page.add_markup(&svg(panel, looks, most));
    }
    page.add_markup("</div>");
}

fn svg(panel: &Panel, looks: &[&str], most: u64) -> String {
    let Panel { id, title, describes, bars, limit } = panel;
    let scaled = |number: u64| scaled(number, most);
    let width = bars.len() * BAR_STEP + MARGIN;
    // No empty space above low bars; all panels stand on one ground, where there is room for that.
    let tallest = bars.iter().map(|bar| bar.parts.iter().sum::<u64>()).chain(*limit).max();
    let top = GROUND - scaled(tallest.unwrap_or_default()) - LABEL_HEIGHT;
    let height = HEIGHT - top;
    let mut out = format!(
        "<figure><svg class=\"chart\" viewBox=\"0 {top} {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">\
         {title}</title>\n<desc id=\"{id}-d\">{describes}</desc>\n"
    );
    for (at, bar) in bars.iter().enumerate() {
        let left = at * BAR_STEP + MARGIN;
        let middle = left + BAR_WIDTH / 2;
        let (mut below, mut top) = (0, GROUND);
        for (part, look) in bar.parts.iter().zip(looks) {
            below += part;
            let here = GROUND - scaled(below);
            if here < top {
                let _ = write!(
                    out,
                    "<rect class=\"{look}\" x=\"{left}\" y=\"{here}\" width=\"{BAR_WIDTH}\" height=\"{}\"/>",
                    top - here
                );
            }
            top = here;
        }
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{}\">{}</text><text x=\"{middle}\" y=\"{}\">{}</text>",
            top - 5,
            Html::text(&bar.label),
            GROUND + 16,
            bar.year
        );
    }
    if let Some(limit) = limit {
        let at = GROUND - scaled(*limit);
        let _ = writeln!(out, "<path class=\"limit\" d=\"M0 {at}H{width}\"/>");
    }
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M0 {GROUND}H{width}\"/></svg>\n<figcaption>{title}</figcaption></figure>"
    );
    out
}

/// In units of the drawing.
fn scaled(number: u64, most: u64) -> u64 {
    let units = u128::from(number) * u128::from(TALLEST) / u128::from(most);
    u64::try_from(units).unwrap_or(TALLEST)
}

const BAR_STEP: usize = 46;
const BAR_WIDTH: usize = 34;
const MARGIN: usize = 6;
/// Where bars stand.
const GROUND: u64 = 176;
const TALLEST: u64 = 150;
const HEIGHT: u64 = 198;
/// Of what stands above a bar.
const LABEL_HEIGHT: u64 = 20;
const _: () = assert!(TALLEST + LABEL_HEIGHT < GROUND, "the label of the tallest bar is in the picture");
/// Fill of the second part of a bar. Once on a page with charts.
pub(super) const PATTERNS: &str = "<pattern id=\"h1\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
    <rect width=\"6\" height=\"6\" fill=\"#e9c9a4\"/><rect width=\"2\" height=\"6\" fill=\"#8a5a1f\"/></pattern>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_in_proportion_and_never_above_the_tallest() {
        assert_eq!([0, 1, 5, 10].map(|number| scaled(number, 10)), [0, 15, 75, 150]);
        assert_eq!(scaled(u64::MAX, u64::MAX), TALLEST);
    }
}
