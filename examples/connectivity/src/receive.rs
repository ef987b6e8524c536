//! Rows as they come in, judged before they count. A wrong row is kept out of every sum and reported with its exchange.

use std::collections::{BTreeMap, BTreeSet};

use crate::figure::{Exchanges, Figure};
use crate::place::Point;
use crate::wire::conatel::{Indicator, Programme};
use crate::wire::ine::{Boundary, Department, District};
use crate::wire::mec::School;
use crate::wire::mitic::PublicSpace;
use crate::wire::mspbs::Facility;

/// Rows that hold, each with the exchange that it came in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    /// INE's, by code.
    pub departments: BTreeMap<String, Figure<Department>>,
    /// INE's, by code.
    pub districts: BTreeMap<String, Figure<District>>,
    /// INE's, by boundary group.
    pub boundaries: BTreeMap<String, Figure<Boundary>>,
    /// MEC's, by code.
    pub schools: BTreeMap<String, Figure<School>>,
    /// MSPBS's, by id.
    pub facilities: BTreeMap<String, Figure<Facility>>,
    /// CONATEL's, in its order.
    pub indicators: Vec<Figure<Indicator>>,
    /// CONATEL's, by id.
    pub programmes: BTreeMap<String, Figure<Programme>>,
    /// MITIC's, by id.
    pub spaces: BTreeMap<String, Figure<PublicSpace>>,
    /// Rows that do not hold, in the order of coming.
    pub rejected: Vec<Rejected>,
    indicators_seen: BTreeSet<String>,
}

/// A row that was kept out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Position of its exchange in the order of asking.
    pub exchange: usize,
    /// What it is a row of, as in `school`.
    pub kind: &'static str,
    /// Its code, as it came.
    pub code: String,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Wrong {
    #[error("its code is empty")]
    NoCode,
    #[error("a row with this code came before")]
    Duplicate,
    #[error("INE lists no such district")]
    UnknownDistrict,
    #[error("INE lists no such department")]
    UnknownDepartment,
    #[error("fewer pupils than none")]
    NegativePupils,
    #[error("more pupils than {PUPILS_MAX}")]
    TooManyPupils,
    #[error("boys without girls, or girls without boys")]
    OneSexOnly,
    #[error("men and women are not the population")]
    SexesDoNotAddUp,
    #[error("its area is no positive number of km²")]
    Area,
    #[error("its place is far from Paraguay")]
    FarAway,
    #[error("an amount below nothing")]
    NegativeAmount,
    #[error("a figure below nothing")]
    NegativeFigure,
}

impl Wrong {
    /// Stable, for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoCode => "row.no_code",
            Self::Duplicate => "row.duplicate",
            Self::UnknownDistrict => "row.unknown_district",
            Self::UnknownDepartment => "row.unknown_department",
            Self::NegativePupils => "row.negative_pupils",
            Self::TooManyPupils => "row.too_many_pupils",
            Self::OneSexOnly => "row.one_sex_only",
            Self::SexesDoNotAddUp => "row.sexes_do_not_add_up",
            Self::Area => "row.area",
            Self::FarAway => "row.far_away",
            Self::NegativeAmount => "row.negative_amount",
            Self::NegativeFigure => "row.negative_figure",
        }
    }
}

impl Accepted {
    /// A department.
    pub fn department(&mut self, row: Department, exchange: usize) {
        let wrong = unique(&row.code, &self.departments);
        let code = row.code.clone();
        if self.holds(wrong, "department", &code, exchange) {
            self.departments.insert(code, read(row, exchange));
        }
    }

    /// A district. Departments come before.
    pub fn district(&mut self, row: District, exchange: usize) {
        let wrong = unique(&row.code, &self.districts).and_then(|()| {
            check(self.is_department(&row.department_code), Wrong::UnknownDepartment)?;
            let both = row.men.checked_add(row.women);
            check(both == Some(row.population), Wrong::SexesDoNotAddUp)?;
            let area = |km2: f64| km2.is_finite() && km2 > 0.0 && km2 < AREA_KM2_MAX;
            check(row.area_km2.is_none_or(area), Wrong::Area)
        });
        let code = row.code.clone();
        if self.holds(wrong, "district", &code, exchange) {
            self.districts.insert(code, read(row, exchange));
        }
    }

    /// The polygons of a boundary group. Districts come before.
    pub fn boundary(&mut self, row: Boundary, exchange: usize) {
        let group = row.boundary_group.clone();
        let wrong = unique(&group, &self.boundaries).and_then(|()| self.lies_in(&group));
        if self.holds(wrong, "boundary", &group, exchange) {
            self.boundaries.insert(group, read(row, exchange));
        }
    }

    /// A school site. Districts come before.
    pub fn school(&mut self, row: School, exchange: usize) {
        let wrong = unique(&row.establishment_code, &self.schools).and_then(|()| {
            // An empty code says that the site lies in no district of today: unknown, not wrong.
            if !row.district_code.is_empty() {
                self.lies_in(&row.district_code)?;
            }
            check(row.boys.is_some() == row.girls.is_some(), Wrong::OneSexOnly)?;
            let pupils = [row.boys, row.girls].map(Option::unwrap_or_default);
            check(pupils.iter().all(|pupils| *pupils >= 0), Wrong::NegativePupils)?;
            check(pupils.iter().all(|pupils| *pupils <= PUPILS_MAX), Wrong::TooManyPupils)?;
            check(point_of_school(&row).is_none_or(Point::is_near_paraguay), Wrong::FarAway)
        });
        let code = row.establishment_code.clone();
        if self.holds(wrong, "school", &code, exchange) {
            self.schools.insert(code, read(row, exchange));
        }
    }

    /// A health facility. Districts come before.
    pub fn facility(&mut self, row: Facility, exchange: usize) {
        let wrong = unique(&row.facility_id, &self.facilities).and_then(|()| {
            self.lies_in(&row.district_code)?;
            check(point_of_facility(&row).is_none_or(Point::is_near_paraguay), Wrong::FarAway)
        });
        let code = row.facility_id.clone();
        if self.holds(wrong, "facility", &code, exchange) {
            self.facilities.insert(code, read(row, exchange));
        }
    }

    /// A public space. Districts come before.
    pub fn space(&mut self, row: PublicSpace, exchange: usize) {
        let code = row.space_id.clone();
        let wrong = unique(&code, &self.spaces).and_then(|()| self.lies_in(&row.district_code));
        if self.holds(wrong, "space", &code, exchange) {
            self.spaces.insert(code, read(row, exchange));
        }
    }

    /// A published figure. Departments come before.
    pub fn indicator(&mut self, row: Indicator, exchange: usize) {
        let key = key_of_indicator(&row);
        let place = row.geography_code == COUNTRY || self.is_department(&row.geography_code);
        let wrong = check(!row.indicator.is_empty(), Wrong::NoCode)
            .and_then(|()| check(!self.indicators_seen.contains(&key), Wrong::Duplicate))
            .and_then(|()| check(place, Wrong::UnknownDepartment))
            .and_then(|()| check(row.value_thousandths >= 0, Wrong::NegativeFigure));
        if self.holds(wrong, "indicator", &key, exchange) {
            self.indicators_seen.insert(key);
            self.indicators.push(read(row, exchange));
        }
    }

    /// A programme.
    pub fn programme(&mut self, row: Programme, exchange: usize) {
        let code = row.programme_id.clone();
        let amount = row.amount.as_ref().is_none_or(|amount| amount.units >= 0);
        let wrong = unique(&code, &self.programmes).and_then(|()| check(amount, Wrong::NegativeAmount));
        if self.holds(wrong, "programme", &code, exchange) {
            self.programmes.insert(code, read(row, exchange));
        }
    }

    /// If INE's rows did not come at all, no other agency's row is wrong for that.
    fn lies_in(&self, district: &str) -> Result<(), Wrong> {
        check(self.districts.is_empty() || self.districts.contains_key(district), Wrong::UnknownDistrict)
    }

    fn is_department(&self, code: &str) -> bool {
        self.departments.is_empty() || self.departments.contains_key(code)
    }

    /// Whether the row counts; if not, it is noted.
    fn holds(&mut self, judged: Result<(), Wrong>, kind: &'static str, code: &str, exchange: usize) -> bool {
        if let Err(wrong) = judged {
            let code = code.chars().take(CODE_CHARS_MAX).collect();
            self.rejected.push(Rejected { exchange, kind, code, wrong });
        }
        judged.is_ok()
    }
}

/// By what a published figure is known. One that was revised is published twice, with another note.
#[must_use]
pub fn key_of_indicator(row: &Indicator) -> String {
    let Indicator { indicator, year, geography_code, area, sex, source, note, .. } = row;
    format!("{indicator}/{year}/{geography_code}/{area}/{sex}/{source}/{note}")
}

/// Where MEC says that a site is.
#[must_use]
pub fn point_of_school(row: &School) -> Option<Point> {
    let point = row.location.as_ref()?;
    Some(Point { latitude_e5: point.latitude_e5, longitude_e5: point.longitude_e5 })
}

/// Where MSPBS says that a facility is.
#[must_use]
pub fn point_of_facility(row: &Facility) -> Option<Point> {
    let point = row.location.as_ref()?;
    Some(Point { latitude_e5: point.latitude_e5, longitude_e5: point.longitude_e5 })
}

fn read<T>(row: T, exchange: usize) -> Figure<T> {
    Figure::new(row, Exchanges::one(exchange))
}

fn unique<T>(code: &str, among: &BTreeMap<String, T>) -> Result<(), Wrong> {
    check(!code.is_empty(), Wrong::NoCode)?;
    check(!among.contains_key(code), Wrong::Duplicate)
}

#[allow(clippy::fn_params_excessive_bools, reason = "a condition, written where it is asked")]
fn check(holds: bool, wrong: Wrong) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong) }
}

/// CONATEL's code of the whole country.
pub const COUNTRY: &str = "PY";
/// Most boys, or girls, of one site that are believed: the largest in 2023 has 1,791 pupils.
const PUPILS_MAX: i32 = 20_000;
/// More than the country has.
const AREA_KM2_MAX: f64 = 500_000.0;
/// Of a wrong row's code in the report.
const CODE_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn with_a_district() -> Accepted {
        let mut accepted = Accepted::default();
        accepted.department(Department { code: "01".to_owned(), ..Department::default() }, 0);
        let district =
            District { code: "0101".to_owned(), department_code: "01".to_owned(), ..District::default() };
        accepted.district(district, 0);
        assert!(accepted.rejected.is_empty());
        accepted
    }

    fn school(code: &str, district: &str, boys: Option<i32>, girls: Option<i32>) -> School {
        School {
            establishment_code: code.to_owned(),
            district_code: district.to_owned(),
            boys,
            girls,
            ..School::default()
        }
    }

    #[test]
    fn a_wrong_school_is_reported_with_its_exchange_and_does_not_count() {
        let mut accepted = with_a_district();
        let rows = [
            (school("1", "0101", Some(3), Some(4)), None),
            (school("1", "0101", Some(3), Some(4)), Some(Wrong::Duplicate)),
            (school("2", "0199", None, None), Some(Wrong::UnknownDistrict)),
            (school("3", "0101", Some(-3), Some(4)), Some(Wrong::NegativePupils)),
            (school("4", "0101", Some(3), None), Some(Wrong::OneSexOnly)),
            (school("5", "0101", Some(3), Some(30_000)), Some(Wrong::TooManyPupils)),
            (school("", "0101", None, None), Some(Wrong::NoCode)),
            (school("6", "", None, None), None),
        ];
        let expected: Vec<_> = rows
            .iter()
            .filter_map(|(row, wrong)| Some((row.establishment_code.clone(), (*wrong)?)))
            .collect();
        for (row, _) in rows {
            accepted.school(row, 7);
        }
        assert_eq!(accepted.schools.keys().collect::<Vec<_>>(), ["1", "6"]);
        let rejected = accepted.rejected.iter().map(|it| (it.code.clone(), it.wrong)).collect::<Vec<_>>();
        assert_eq!(rejected, expected);
        assert!(accepted.rejected.iter().all(|it| it.exchange == 7 && it.kind == "school"));
    }

    #[test]
    fn other_wrong_rows_are_named_too() {
        let mut accepted = with_a_district();
        let lost =
            District { code: "9901".to_owned(), department_code: "99".to_owned(), ..District::default() };
        accepted.district(lost, 1);
        let men = District {
            code: "0102".to_owned(),
            department_code: "01".to_owned(),
            men: 3,
            ..District::default()
        };
        accepted.district(men, 1);
        accepted.facility(Facility { facility_id: "H1".to_owned(), ..Facility::default() }, 2);
        let amount = Some(crate::wire::conatel::Money { currency_code: "PYG".to_owned(), units: -1 });
        accepted.programme(Programme { programme_id: "P1".to_owned(), amount, ..Programme::default() }, 3);
        let found: Vec<_> = accepted.rejected.iter().map(|it| (it.exchange, it.wrong.code())).collect();
        let expected = [
            (1, "row.unknown_department"),
            (1, "row.sexes_do_not_add_up"),
            (2, "row.unknown_district"),
            (3, "row.negative_amount"),
        ];
        assert_eq!(found, expected);
    }
}
