//! Rows as they come in, judged before they count. A wrong row is kept out of every sum and reported with its exchange.

use crate::place::Point;
use crate::register::Register;
use crate::wire::conatel::{Indicator, Programme};
use crate::wire::ine::{Boundary, Department, District};
use crate::wire::mec::School;
use crate::wire::mitic::PublicSpace;
use crate::wire::mspbs::Facility;

/// Rows that hold, each with the exchange that it came in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    /// INE's, by code.
    pub departments: Register<Department>,
    /// INE's, by code.
    pub districts: Register<District>,
    /// INE's, by boundary group.
    pub boundaries: Register<Boundary>,
    /// MEC's, by code.
    pub schools: Register<School>,
    /// MSPBS's, by id.
    pub facilities: Register<Facility>,
    /// CONATEL's, by what they are about.
    pub indicators: Register<Indicator>,
    /// CONATEL's, by id.
    pub programmes: Register<Programme>,
    /// MITIC's, by id.
    pub spaces: Register<PublicSpace>,
    /// Rows that do not hold, in the order of coming.
    pub rejected: Vec<Rejected>,
}

/// A row of a register.
pub trait Row: Sized {
    /// As in `school`.
    const KIND: &'static str;
    /// Where it is kept if it holds.
    fn register(accepted: &mut Accepted) -> &mut Register<Self>;
    /// By what it is known.
    fn code(&self) -> String;
    /// Whether it holds, beside what has come: departments before districts, districts before what lies in them.
    ///
    /// # Errors
    /// What is wrong with it.
    fn judged(&self, accepted: &Accepted) -> Result<(), Wrong>;
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
    /// Takes a page of a register as it came in an exchange: rows that hold count, the others are noted.
    pub fn page<R: Row>(&mut self, rows: Vec<R>, exchange: usize) {
        R::register(self).came(exchange);
        for row in rows {
            let code = row.code();
            let is_new = R::register(self).get(&code).is_none();
            let judged = check(!code.is_empty(), Wrong::NoCode)
                .and_then(|()| check(is_new, Wrong::Duplicate))
                .and_then(|()| row.judged(self));
            match judged {
                Ok(()) => R::register(self).insert(code, row, exchange),
                Err(wrong) => {
                    let code = code.chars().take(CODE_CHARS_MAX).collect();
                    self.rejected.push(Rejected { exchange, kind: R::KIND, code, wrong });
                }
            }
        }
    }

    /// If INE's rows did not come at all, no other agency's row is wrong for that.
    fn lies_in(&self, district: &str) -> Result<(), Wrong> {
        check(self.districts.is_empty() || self.districts.get(district).is_some(), Wrong::UnknownDistrict)
    }

    fn is_of(&self, department: &str) -> Result<(), Wrong> {
        let known = self.departments.is_empty() || self.departments.get(department).is_some();
        check(known, Wrong::UnknownDepartment)
    }
}

/// A kind of rows, the register they are kept in, and the field or function that gives their code.
macro_rules! row {
    ($row:ty, $kind:literal, $register:ident, |$it:ident| $code:expr, |$judged:ident, $accepted:ident| $judge:expr) => {
        impl Row for $row {
            const KIND: &'static str = $kind;

            fn register(accepted: &mut Accepted) -> &mut Register<Self> {
                &mut accepted.$register
            }

            fn code(&self) -> String {
                let $it = self;
                $code
            }

            fn judged(&self, accepted: &Accepted) -> Result<(), Wrong> {
                let ($judged, $accepted) = (self, accepted);
                $judge
            }
        }
    };
}

row!(Department, "department", departments, |it| it.code.clone(), |_it, _rows| Ok(()));
row!(District, "district", districts, |it| it.code.clone(), |it, rows| {
    rows.is_of(&it.department_code)?;
    check(it.men.checked_add(it.women) == Some(it.population), Wrong::SexesDoNotAddUp)?;
    let area = |km2: f64| km2.is_finite() && km2 > 0.0 && km2 < AREA_KM2_MAX;
    check(it.area_km2.is_none_or(area), Wrong::Area)
});
row!(Boundary, "boundary", boundaries, |it| it.boundary_group.clone(), |it, rows| rows
    .lies_in(&it.boundary_group));
row!(School, "school", schools, |it| it.establishment_code.clone(), |it, rows| {
    // An empty code says that the site lies in no district of today: unknown, not wrong.
    if !it.district_code.is_empty() {
        rows.lies_in(&it.district_code)?;
    }
    check(it.boys.is_some() == it.girls.is_some(), Wrong::OneSexOnly)?;
    let pupils = [it.boys, it.girls].map(Option::unwrap_or_default);
    check(pupils.iter().all(|pupils| *pupils >= 0), Wrong::NegativePupils)?;
    check(pupils.iter().all(|pupils| *pupils <= PUPILS_MAX), Wrong::TooManyPupils)?;
    check(point_of_school(it).is_none_or(Point::is_near_paraguay), Wrong::FarAway)
});
row!(Facility, "facility", facilities, |it| it.facility_id.clone(), |it, rows| {
    rows.lies_in(&it.district_code)?;
    check(point_of_facility(it).is_none_or(Point::is_near_paraguay), Wrong::FarAway)
});
row!(PublicSpace, "space", spaces, |it| it.space_id.clone(), |it, rows| rows.lies_in(&it.district_code));
row!(Indicator, "indicator", indicators, |it| key_of_indicator(it), |it, rows| {
    check(!it.indicator.is_empty(), Wrong::NoCode)?;
    if it.geography_code != COUNTRY {
        rows.is_of(&it.geography_code)?;
    }
    check(it.value_thousandths >= 0, Wrong::NegativeFigure)
});
row!(Programme, "programme", programmes, |it| it.programme_id.clone(), |it, _rows| {
    check(it.amount.as_ref().is_none_or(|amount| amount.units >= 0), Wrong::NegativeAmount)
});

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
        accepted.page(vec![Department { code: "01".to_owned(), ..Department::default() }], 0);
        let district =
            District { code: "0101".to_owned(), department_code: "01".to_owned(), ..District::default() };
        accepted.page(vec![district], 0);
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
        accepted.page(rows.into_iter().map(|(row, _)| row).collect(), 7);
        assert_eq!(accepted.schools.iter().map(|(code, _)| code).collect::<Vec<_>>(), ["1", "6"]);
        let rejected = accepted.rejected.iter().map(|it| (it.code.clone(), it.wrong)).collect::<Vec<_>>();
        assert_eq!(rejected, expected);
        assert!(accepted.rejected.iter().all(|it| it.exchange == 7 && it.kind == "school"));
    }

    #[test]
    fn other_wrong_rows_are_named_too() {
        let mut accepted = with_a_district();
        let lost =
            District { code: "9901".to_owned(), department_code: "99".to_owned(), ..District::default() };
        accepted.page(vec![lost], 1);
        let men = District {
            code: "0102".to_owned(),
            department_code: "01".to_owned(),
            men: 3,
            ..District::default()
        };
        accepted.page(vec![men], 1);
        accepted.page(vec![Facility { facility_id: "H1".to_owned(), ..Facility::default() }], 2);
        let amount = Some(crate::wire::conatel::Money { currency_code: "PYG".to_owned(), units: -1 });
        accepted.page(vec![Programme { programme_id: "P1".to_owned(), amount, ..Programme::default() }], 3);
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
