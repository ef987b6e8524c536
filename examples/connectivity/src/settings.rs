//! What the planner decides by: `plan.toml`. Choices, no data; the report prints them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything in `plan.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct Settings {
    pub candidates: Candidates,
    pub remote: RemoteRule,
    /// District that holds a department's capital, by department.
    pub capitals: BTreeMap<String, String>,
    pub weights: Weights,
    pub scale: Scale,
    pub years: Years,
    pub cost: CostRule,
    pub exchange_rate: ExchangeRate,
    #[serde(rename = "scenario")]
    pub scenarios: Vec<ScenarioRule>,
    pub equity: EquityRule,
    #[serde(rename = "indicator")]
    pub indicators: Vec<IndicatorRule>,
}

/// Which sites may be planned.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct Candidates {
    pub sectors: Vec<SectorName>,
    pub institutions: Vec<InstitutionName>,
}

/// Who runs a school.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MEC's contract says what each is")]
pub enum SectorName {
    Public,
    Private,
    PrivateSubsidised,
}

/// Whose a health facility is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "MSPBS's contract says what each is")]
pub enum InstitutionName {
    Mspbs,
    Ips,
}

/// When a site is remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct RemoteRule {
    pub km_from_capital: u32,
    pub inhabitants_per_km2_below: u32,
    pub without_grid_in_2014: bool,
}

/// What counts how much in the priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct Weights {
    pub rural: u32,
    pub remote: u32,
    pub pupils: u32,
    pub girls_women: u32,
    pub health: u32,
    pub unknown_data: u32,
}

/// What gives all points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct Scale {
    pub full_pupils: u32,
    pub full_women_per_facility: u32,
}

/// From when to when, both planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct Years {
    pub first: u16,
    pub last: u16,
}

/// What one connection costs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct CostRule {
    pub low: String,
    pub high: String,
    pub planned_at: CostBasis,
    pub health_is_assumed_as_schools: bool,
}

/// Where in the range of the unit cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum CostBasis {
    Low,
    Middle,
    High,
}

/// Guaraníes for a US dollar.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct ExchangeRate {
    pub pyg_per_usd: u32,
    pub note: String,
}

/// A yearly budget.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct ScenarioRule {
    pub name: String,
    pub nombre: String,
    pub note: String,
    pub nota: String,
    pub parts: Vec<BudgetPart>,
}

/// So many of so many parts of a programme's amount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct BudgetPart {
    pub programme: String,
    pub take: u32,
    pub of: std::num::NonZeroU32,
}

/// When a group is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct EquityRule {
    pub tolerance_per_thousand: u32,
}

/// An indicator and where its figures are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "plan.toml says what each is")]
pub struct IndicatorRule {
    pub name: String,
    pub nombre: String,
    pub baseline: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub note: String,
    pub nota: String,
}

/// What is wrong in a file of settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no TOML of these keys.
    #[error("the planner's settings: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// The years are not in order, or too many.
    #[error(
        "the planner's settings: [years] first must not be after last, nor more than {YEARS_MAX} years before it"
    )]
    Years,
    /// A weight is too large.
    #[error("the planner's settings: [weights] and [scale] lie between 0 (1 for a scale) and {NUMBER_MAX}")]
    Weights,
}

impl Settings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text)?;
        let Years { first, last } = settings.years;
        if last.checked_sub(first).is_none_or(|years| years >= YEARS_MAX) {
            return Err(SettingsError::Years);
        }
        let Scale { full_pupils, full_women_per_facility } = settings.scale;
        let scales = [full_pupils, full_women_per_facility];
        let too_large = |number: &u32| *number > NUMBER_MAX;
        if scales.iter().any(|scale| *scale == 0 || too_large(scale))
            || settings.weights.all().iter().any(|(_, weight)| too_large(weight))
        {
            return Err(SettingsError::Weights);
        }
        Ok(settings)
    }

    /// What the project ships: `plan.toml`.
    #[must_use]
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).expect("a test reads it")
    }
}

impl Years {
    /// Each, in order.
    pub fn each(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }
}

impl Weights {
    /// Name and weight of each criterion, in the order of the file.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u32); CRITERIA] {
        [
            ("rural", self.rural),
            ("remote", self.remote),
            ("pupils", self.pupils),
            ("girls_women", self.girls_women),
            ("health", self.health),
            ("unknown_data", self.unknown_data),
        ]
    }
}

/// How many criteria there are.
pub const CRITERIA: usize = 6;
const SHIPPED: &str = include_str!("../plan.toml");
/// Most years of a plan.
const YEARS_MAX: u16 = 30;
/// Largest weight or scale: sums of scores stay far below 2^64.
const NUMBER_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_read_and_mistakes_are_named() {
        let settings = Settings::shipped();
        assert_eq!((settings.years.first, settings.years.last), (2024, 2030));
        assert_eq!(settings.capitals.len(), 18);
        assert_eq!(settings.scenarios.len(), 3);
        let typo = SHIPPED.replace("km_from_capital", "km_from_capitol");
        assert!(Settings::parse(&typo).unwrap_err().to_string().contains("km_from_capitol"));
        let backwards = SHIPPED.replace("last = 2030", "last = 2020");
        assert!(matches!(Settings::parse(&backwards), Err(SettingsError::Years)));
    }
}
