//! A site that may need a connection: a school or a health facility, with what is known and what follows from it.

use crate::figure::{Exchanges, Figure, Share};
use crate::place::Point;
use crate::receive::{point_of_facility, point_of_school};
use crate::settings::{Candidates, InstitutionName, RemoteRule, SectorName};
use crate::wire::mec::{self, Electricity, School, Sector};
use crate::wire::mspbs::{Facility, Institution};

/// A site. What is not known is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What it is.
    pub kind: Kind,
    /// Its agency's code.
    pub code: String,
    /// As its agency writes it; empty if it has none.
    pub name: String,
    /// INE's key.
    pub district: Option<String>,
    /// Town or country.
    pub zone: Option<Zone>,
    /// Pupils of grades 1 to 9 in 2023.
    pub pupils: Option<Pupils>,
    /// Where it is.
    pub point: Option<Point>,
    /// Whether it has no electricity from the grid.
    pub without_grid: Known,
    /// Of the columns that its agency could fill, how many are empty.
    pub unknown: Share,
    /// Whether the settings let it be planned.
    pub standing: Standing,
}

/// What a site is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// MEC's.
    School,
    /// The ministry of health's.
    Hospital,
    /// The social security's.
    SocialSecurity,
}

/// How MEC classes a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// In a town.
    Urban,
    /// In the country.
    Rural,
}

/// Yes, no, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Known {
    Yes,
    No,
    Unknown,
}

/// Pupils by sex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pupils {
    /// Boys.
    pub boys: u32,
    /// Girls.
    pub girls: u32,
}

/// Whether a site may be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// By the settings.
    Candidate,
    /// Another sector or institution, or no pupils.
    Other,
}

impl Kind {
    /// In files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::School => "school",
            Self::Hospital => "hospital",
            Self::SocialSecurity => "social_security",
        }
    }
}

impl Known {
    /// In files; none if it is not known.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Yes => Some(true),
            Self::No => Some(false),
            Self::Unknown => None,
        }
    }

    /// Not known unless one says no, or both say yes. (Kleene)
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    /// Not known unless one says yes, or both say no.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }
}

impl From<bool> for Known {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

impl Pupils {
    /// Both.
    #[must_use]
    pub fn all(self) -> u32 {
        self.boys.saturating_add(self.girls)
    }
}

impl Site {
    /// Of MEC's row.
    #[must_use]
    pub fn of_school(row: &School, rule: &Candidates) -> Self {
        let count = |pupils: Option<i32>| pupils.and_then(|pupils| u32::try_from(pupils).ok());
        let pupils = count(row.boys).zip(count(row.girls)).map(|(boys, girls)| Pupils { boys, girls });
        let zone = match row.zone() {
            mec::Zone::Unspecified => None,
            mec::Zone::Urban => Some(Zone::Urban),
            mec::Zone::Rural => Some(Zone::Rural),
        };
        let without_grid = match row.electricity_2014() {
            Electricity::None | Electricity::Solar => Known::Yes,
            Electricity::Grid => Known::No,
            Electricity::Unspecified | Electricity::Present => Known::Unknown,
        };
        let point = point_of_school(row);
        let empty = [zone.is_none(), pupils.is_none(), point.is_none(), without_grid == Known::Unknown];
        let planned = row.sectors().any(|sector| rule.sectors.iter().any(|name| is_sector(*name, sector)));
        let standing = planned && pupils.is_some_and(|pupils| pupils.all() > 0);
        Self {
            kind: Kind::School,
            code: row.establishment_code.clone(),
            name: row.name.clone(),
            district: Some(row.district_code.clone()).filter(|code| !code.is_empty()),
            zone,
            pupils,
            point,
            without_grid,
            unknown: share(&empty),
            standing: Standing::of(standing),
        }
    }

    /// Of MSPBS's row. Its zone is not published; the survey of electricity was of schools.
    #[must_use]
    pub fn of_facility(row: &Facility, rule: &Candidates) -> Self {
        let kind = match row.institution() {
            Institution::Ips => Kind::SocialSecurity,
            Institution::Mspbs | Institution::Unspecified => Kind::Hospital,
        };
        let own = match kind {
            Kind::SocialSecurity => InstitutionName::Ips,
            Kind::School | Kind::Hospital => InstitutionName::Mspbs,
        };
        let point = point_of_facility(row);
        Self {
            kind,
            code: row.facility_id.clone(),
            name: row.name.clone(),
            district: Some(row.district_code.clone()).filter(|code| !code.is_empty()),
            zone: None,
            pupils: None,
            point,
            without_grid: Known::No,
            unknown: share(&[true, point.is_none()]),
            standing: Standing::of(rule.institutions.contains(&own)),
        }
    }

    /// Whether it lies in the country.
    #[must_use]
    pub fn is_rural(&self) -> Known {
        self.zone.map_or(Known::Unknown, |zone| (zone == Zone::Rural).into())
    }

    /// By the rule. `metres` to the capital; `thin`: whether few people live around.
    #[must_use]
    pub fn is_remote(&self, rule: &RemoteRule, metres: Option<u32>, thin: Known) -> Known {
        let limit_metres = rule.km_from_capital.saturating_mul(1_000);
        let far = metres.map_or(Known::Unknown, |metres| (metres >= limit_metres).into());
        let dark = if rule.without_grid_in_2014 { self.without_grid } else { Known::No };
        self.is_rural().and(far.or(thin).or(dark))
    }
}

impl Standing {
    #[allow(clippy::fn_params_excessive_bools, reason = "a condition, named here")]
    fn of(is_candidate: bool) -> Self {
        if is_candidate { Self::Candidate } else { Self::Other }
    }
}

/// A site with what follows from other rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The site itself.
    pub site: Figure<Site>,
    /// To the schools of its department's capital.
    pub metres: Figure<Option<u32>>,
    /// By the rule.
    pub remote: Figure<Known>,
}

impl Placed {
    /// Everything that it rests on.
    #[must_use]
    pub fn exchanges(&self) -> Exchanges {
        self.site.exchanges().clone().and(self.remote.exchanges())
    }
}

fn is_sector(name: SectorName, sector: Sector) -> bool {
    match name {
        SectorName::Public => sector == Sector::Public,
        SectorName::Private => sector == Sector::Private,
        SectorName::PrivateSubsidised => sector == Sector::PrivateSubsidised,
    }
}

fn share(empty: &[bool]) -> Share {
    let part = empty.iter().map(|is| u64::from(*is)).sum();
    Share { part, whole: empty.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn rural(electricity: Electricity) -> Site {
        let row = School {
            zone: mec::Zone::Rural.into(),
            electricity_2014: electricity.into(),
            ..School::default()
        };
        Site::of_school(&row, &Settings::shipped().candidates)
    }

    #[test]
    fn remote_is_rural_and_far_or_thinly_peopled_or_without_grid() {
        let rule = Settings::shipped().remote;
        let remote = |site: &Site, metres, thin| site.is_remote(&rule, metres, thin);
        let grid = rural(Electricity::Grid);
        assert_eq!(remote(&grid, Some(50_000), Known::No), Known::Yes);
        assert_eq!(remote(&grid, Some(49_999), Known::No), Known::No);
        assert_eq!(remote(&grid, Some(1), Known::Yes), Known::Yes);
        assert_eq!(remote(&rural(Electricity::Solar), Some(1), Known::No), Known::Yes);
        let urban = Site { zone: Some(Zone::Urban), ..rural(Electricity::None) };
        assert_eq!(remote(&urban, Some(400_000), Known::Yes), Known::No);
    }

    #[test]
    fn what_is_unknown_and_decides_makes_the_answer_unknown() {
        let rule = Settings::shipped().remote;
        let (grid, unasked) = (rural(Electricity::Grid), rural(Electricity::Unspecified));
        assert_eq!(grid.is_remote(&rule, None, Known::No), Known::Unknown);
        assert_eq!(grid.is_remote(&rule, None, Known::Yes), Known::Yes, "one that holds is enough");
        assert_eq!(unasked.is_remote(&rule, Some(1), Known::No), Known::Unknown);
        let nowhere = Site { zone: None, ..grid };
        assert_eq!(nowhere.is_remote(&rule, Some(60_000), Known::No), Known::Unknown);
        assert_eq!(nowhere.is_remote(&rule, Some(1), Known::No), Known::No, "whatever its zone");
    }
}
