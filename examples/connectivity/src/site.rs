//! A site that may need a connection: a school or a health facility, with what is known and what follows from it.

use crate::figure::{Exchanges, Figure, Share};
use crate::place::Point;
use crate::receive::{Accepted, point_of_facility, point_of_school};
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
    /// Whether it had no electricity from the grid in 2014.
    pub without_grid: Known,
    /// Of what the planner asks, how much is not said. Of a school: zone, pupils, coordinates, and whether it was on the grid in
    /// 2014; an answer that cannot be read, or does not say whether it is the grid, says it as little as none. Of a health
    /// facility: zone and coordinates; the survey of electricity was of schools.
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

/// Whose register lists a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lister {
    /// Schools.
    Mec,
    /// Health facilities.
    Mspbs,
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
    /// Not, and why: the first reason of [`Reason::ALL`] that holds.
    LeftOut(Reason),
}

/// Why a site is left out of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// MEC has no pupils of grades 1 to 9 there: it says none, or no number.
    NoPupils,
    /// MEC does not say who runs the school.
    UnknownSector,
    /// Nobody who runs the school is of the settings' sectors.
    OtherSector,
    /// The facility is of none of the settings' institutions.
    OtherInstitution,
}

impl Kind {
    /// Who lists it.
    #[must_use]
    pub fn lister(self) -> Lister {
        match self {
            Self::School => Lister::Mec,
            Self::Hospital | Self::SocialSecurity => Lister::Mspbs,
        }
    }

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
        let unsaid = [zone.is_none(), pupils.is_none(), point.is_none(), without_grid == Known::Unknown];
        let planned = |sector| rule.sectors.iter().any(|name| is_sector(*name, sector));
        let standing = if pupils.is_none_or(|pupils| pupils.all() == 0) {
            Standing::LeftOut(Reason::NoPupils)
        } else if row.sectors.is_empty() {
            Standing::LeftOut(Reason::UnknownSector)
        } else if row.sectors().any(planned) {
            Standing::Candidate
        } else {
            Standing::LeftOut(Reason::OtherSector)
        };
        Self {
            kind: Kind::School,
            code: row.establishment_code.clone(),
            name: row.name.clone(),
            district: Some(row.district_code.clone()).filter(|code| !code.is_empty()),
            zone,
            pupils,
            point,
            without_grid,
            unknown: share(&unsaid),
            standing,
        }
    }

    /// Of MSPBS's row. Its zone is not published; the survey of electricity was of schools: neither is known.
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
        let standing = if rule.institutions.contains(&own) {
            Standing::Candidate
        } else {
            Standing::LeftOut(Reason::OtherInstitution)
        };
        Self {
            kind,
            code: row.facility_id.clone(),
            name: row.name.clone(),
            district: Some(row.district_code.clone()).filter(|code| !code.is_empty()),
            zone: None,
            pupils: None,
            point,
            without_grid: Known::Unknown,
            unknown: share(&[true, point.is_none()]),
            standing,
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
    /// In files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::LeftOut(reason) => reason.name(),
        }
    }
}

impl Reason {
    /// In the order in which they are asked.
    pub const ALL: [Self; 4] =
        [Self::NoPupils, Self::UnknownSector, Self::OtherSector, Self::OtherInstitution];

    /// Whose sites it is asked of.
    #[must_use]
    pub fn lister(self) -> Lister {
        match self {
            Self::NoPupils | Self::UnknownSector | Self::OtherSector => Lister::Mec,
            Self::OtherInstitution => Lister::Mspbs,
        }
    }

    /// In files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoPupils => "no_pupils",
            Self::UnknownSector => "unknown_sector",
            Self::OtherSector => "other_sector",
            Self::OtherInstitution => "other_institution",
        }
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
        self.site.exchanges().clone().and(self.metres.exchanges()).and(self.remote.exchanges())
    }
}

/// All sites. Who counts among them rests on every page of the register that lists them.
#[derive(Debug, Clone, PartialEq)]
pub struct Sites {
    placed: Vec<Placed>,
    schools: Exchanges,
    facilities: Exchanges,
}

impl Sites {
    /// Of these registers; none yet.
    pub(crate) fn of(rows: &Accepted) -> Self {
        let (schools, facilities) = (rows.schools.pages().clone(), rows.facilities.pages().clone());
        Self { placed: Vec::new(), schools, facilities }
    }

    pub(crate) fn push(&mut self, placed: Placed) {
        self.placed.push(placed);
    }

    /// What every count and list of sites of all kinds begins with.
    #[must_use]
    pub fn nothing<U: Default>(&self) -> Figure<U> {
        Figure::new(U::default(), self.schools.clone().and(&self.facilities))
    }

    /// By kind and code.
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.placed.iter()
    }

    /// How many of one register are such.
    pub fn count(&self, lister: Lister, is: impl Fn(&Site) -> bool) -> Figure<u64> {
        let pages = match lister {
            Lister::Mec => &self.schools,
            Lister::Mspbs => &self.facilities,
        };
        let listed = self.placed.iter().filter(|placed| placed.site.value().kind.lister() == lister);
        let such = listed.filter(|placed| is(placed.site.value()));
        such.fold(Figure::new(0, pages.clone()), |count, placed| count + placed.site.map(|_| 1))
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
        let hospital = Site::of_facility(&Facility::default(), &Settings::shipped().candidates);
        assert_eq!(
            hospital.is_remote(&rule, Some(1), Known::No),
            Known::Unknown,
            "nobody asked it for its grid"
        );
        let unasked_rule = RemoteRule { without_grid_in_2014: false, ..rule };
        assert_eq!(hospital.is_remote(&unasked_rule, Some(1), Known::No), Known::No, "whatever its zone");
        let nowhere = Site { zone: None, ..grid };
        assert_eq!(nowhere.is_remote(&rule, Some(60_000), Known::No), Known::Unknown);
        assert_eq!(nowhere.is_remote(&rule, Some(1), Known::No), Known::No, "whatever its zone");
    }

    #[test]
    fn an_answer_that_does_not_say_whether_it_is_the_grid_is_as_missing_as_none() {
        let missing = |electricity| rural(electricity).unknown.part;
        assert_eq!(missing(Electricity::Grid), 2, "pupils and coordinates");
        for unsaid in [Electricity::Unspecified, Electricity::Present] {
            assert_eq!(missing(unsaid), 3, "{unsaid:?}");
        }
        let hospital = Site::of_facility(&Facility::default(), &Settings::shipped().candidates);
        assert_eq!(hospital.unknown, Share { part: 2, whole: 2 }, "zone and coordinates");
    }

    #[test]
    fn a_site_is_left_out_for_the_first_reason_that_holds() {
        let rule = Settings::shipped().candidates;
        let standing = |pupils: Option<i32>, sectors: &[Sector]| {
            let sectors = sectors.iter().map(|sector| (*sector).into()).collect();
            let row = School { boys: pupils, girls: pupils, sectors, ..School::default() };
            Site::of_school(&row, &rule).standing.name()
        };
        assert_eq!(standing(None, &[]), "no_pupils");
        assert_eq!(standing(Some(0), &[Sector::Public]), "no_pupils");
        assert_eq!(standing(Some(5), &[]), "unknown_sector");
        assert_eq!(standing(Some(5), &[Sector::Private]), "other_sector");
        assert_eq!(standing(Some(5), &[Sector::Private, Sector::Public]), "candidate");
        let no_hospitals = Candidates { institutions: vec![InstitutionName::Ips], ..rule.clone() };
        let hospital = |rule| Site::of_facility(&Facility::default(), rule).standing.name();
        assert_eq!((hospital(&rule), hospital(&no_hospitals)), ("candidate", "other_institution"));
    }
}
