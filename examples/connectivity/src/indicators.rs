//! Indicators with baseline, target, year and source: only from figures that were received.

use crate::figure::Figure;
use crate::receive::{Accepted, COUNTRY};
use crate::settings::{IndicatorRule, Settings};
use crate::wire::conatel::{Area, Indicator, Precision, Sex};

/// An indicator of the settings with what is published about it.
#[derive(Debug, Clone, PartialEq)]
pub struct IndicatorLine {
    /// Its name in both languages, and what to mind.
    pub rule: IndicatorRule,
    /// The newest national figure; none if none was received.
    pub baseline: Option<Figure<Indicator>>,
    /// The published target; none if none was received.
    pub target: Option<Figure<Indicator>>,
}

/// In the order of the settings.
#[must_use]
pub fn indicators(rows: &Accepted, settings: &Settings) -> Vec<IndicatorLine> {
    let line = |rule: &IndicatorRule| IndicatorLine {
        rule: rule.clone(),
        baseline: newest(rows, &rule.baseline),
        target: rule.target.as_deref().and_then(|target| newest(rows, target)),
    };
    settings.indicators.iter().map(line).collect()
}

/// Of the whole country, both sexes and both areas. Of several of a year the surest, then the one that was published last.
fn newest(rows: &Accepted, key: &str) -> Option<Figure<Indicator>> {
    let national = |it: &&Figure<Indicator>| {
        let it = it.value();
        it.indicator == key
            && it.geography_code == COUNTRY
            && it.area() == Area::Total
            && it.sex() == Sex::Total
    };
    let is_exact = |it: &Indicator| it.precision() == Precision::Exact;
    let surest = |it: &&Figure<Indicator>| (it.value().year, is_exact(it.value()));
    let newest = rows.indicators.in_order().filter(national).max_by_key(surest);
    // That there is no newer one, no page says.
    newest.map(|it| it.clone().resting_on(rows.indicators.pages()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_national_figure_is_the_baseline_and_what_is_not_held_is_none() {
        let mut rows = Accepted::default();
        for (year, geography, value) in [(2021, "PY", 1), (2023, "PY", 3), (2024, "02", 9), (2022, "PY", 2)] {
            let row = Indicator {
                indicator: "population_covered_4g_pct".to_owned(),
                year,
                geography_code: geography.to_owned(),
                area: Area::Total.into(),
                sex: Sex::Total.into(),
                value_thousandths: value,
                ..Indicator::default()
            };
            rows.page(vec![row], 4);
        }
        let lines = indicators(&rows, &Settings::shipped());
        let line = lines.iter().find(|line| line.rule.baseline == "population_covered_4g_pct").unwrap();
        assert_eq!(line.baseline.as_ref().map(|it| it.value().value_thousandths), Some(3));
        assert_eq!(line.target, None);
    }
}
