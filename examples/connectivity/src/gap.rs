//! Gap analysis: for each district and department what is there, who learns and lives there, how far it is, and how much of
//! it is not known. Pure: the same rows always give the same analysis.
//!
//! A count in a place rests on every page of the registers that it counts in, and on what makes the place: there could be one
//! more on each of them.
//!
//! Which site has broadband is not published. These are places of need, not measurements of coverage; national figures are
//! not spread over districts.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::figure::{Exchanges, Figure, Share};
use crate::place::Point;
use crate::receive::{Accepted, point_of_school};
use crate::settings::Settings;
use crate::site::{Kind, Known, Placed, Pupils, Site, Sites, Zone};
use crate::wire::ine::{Department, District};
use crate::wire::mitic::{PublicSpace, Status};

/// Everything that the rows say about need.
#[derive(Debug, Clone, PartialEq)]
pub struct GapAnalysis {
    /// By INE's key.
    pub districts: BTreeMap<String, DistrictGap>,
    /// By INE's key.
    pub departments: BTreeMap<String, DepartmentGap>,
    /// Sites in no district of today.
    pub without_district: Gap,
    /// The country.
    pub total: Gap,
    /// By kind and code.
    pub sites: Sites,
}

/// A district.
#[derive(Debug, Clone, PartialEq)]
pub struct DistrictGap {
    /// As INE says.
    pub district: Figure<District>,
    /// Inhabitants of its boundary group for each 10 km²; none if the area is not known.
    pub density_tenths: Figure<Option<u64>>,
    /// What is there.
    pub gap: Gap,
}

/// A department.
#[derive(Debug, Clone, PartialEq)]
pub struct DepartmentGap {
    /// As INE says.
    pub department: Figure<Department>,
    /// The sum of its districts.
    pub gap: Gap,
}

/// What is there. Gaps of districts add up to those of departments and of the country.
#[derive(Debug, Clone, PartialEq)]
pub struct Gap {
    /// Inhabitants of 2022.
    pub people: Figure<People>,
    /// School sites.
    pub schools: Schools,
    /// Of the ministry of health.
    pub hospitals: Figure<u64>,
    /// Of the social security.
    pub social_security: Figure<u64>,
    /// Health facilities whose remoteness is not known.
    pub health_remoteness_unknown: Figure<u64>,
    /// Named public spaces with free internet.
    pub spaces: Figure<Spaces>,
    /// Sites by distance to the schools of the department's capital.
    pub distance: Figure<Distances>,
    /// Of the data that is asked for, how much is not said: see [`Site::unknown`].
    pub unknown: Figure<Share>,
    /// Which registers there are rows of.
    pub heard: Heard,
}

/// Registers of which rows came. Of the others it is not known that there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Heard {
    pub districts: bool,
    pub schools: bool,
    pub facilities: bool,
    pub spaces: bool,
}

impl Heard {
    fn of(rows: &Accepted) -> Self {
        Self {
            districts: !rows.districts.is_empty(),
            schools: !rows.schools.is_empty(),
            facilities: !rows.facilities.is_empty(),
            spaces: !rows.spaces.is_empty(),
        }
    }

    /// All that has a place of its own.
    #[must_use]
    pub fn sites(self) -> bool {
        self.schools && self.facilities
    }
}

/// Inhabitants by sex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct People {
    pub men: u64,
    pub women: u64,
}

/// School sites by zone and by remoteness: each stands once in either.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Schools {
    pub all: Figure<Count>,
    pub urban: Figure<Count>,
    pub rural: Figure<Count>,
    pub unknown_zone: Figure<Count>,
    pub remote: Figure<Count>,
    pub not_remote: Figure<Count>,
    pub unknown_remoteness: Figure<Count>,
}

/// Sites, and the pupils that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Sites.
    pub sites: u64,
    /// Sites for which MEC has no number of pupils.
    pub sites_without_pupils: u64,
    /// Boys of grades 1 to 9.
    pub boys: u64,
    /// Girls of grades 1 to 9.
    pub girls: u64,
}

/// Public spaces as they were reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Spaces {
    pub in_service: u64,
    pub planned: u64,
}

/// Sites by distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distances {
    /// Below 10, 25, 50 km, and above: see [`BAND_METRES`].
    pub bands: [u64; BANDS],
    /// Without coordinates, or without district.
    pub unknown: u64,
}

impl GapAnalysis {
    /// Joins everything by INE's keys.
    #[must_use]
    pub fn of(rows: &Accepted, settings: &Settings) -> Self {
        let densities = densities(rows);
        let capitals = capitals(rows, settings);
        // What lies in no district, in a department or in the country, all of INE's districts say.
        let nowhere = Gap::nothing(rows, rows.districts.pages());
        let (sites, total) = (Sites::of(rows), nowhere.clone());
        let mut analysis = Self {
            districts: BTreeMap::new(),
            departments: BTreeMap::new(),
            without_district: nowhere,
            total,
            sites,
        };
        for (code, district) in rows.districts.iter() {
            let density = density(&densities, &district.value().boundary_group, rows);
            let density_tenths = density.map(|density| density.as_ref().and_then(Density::tenths));
            let mut gap = Gap::nothing(rows, district.exchanges());
            gap.people = district.map(|it| People { men: it.men.into(), women: it.women.into() });
            let line = DistrictGap { district: district.clone(), density_tenths, gap };
            analysis.districts.insert(code.to_owned(), line);
        }
        let schools =
            rows.schools.values().map(|row| row.map(|it| Site::of_school(it, &settings.candidates)));
        let health =
            rows.facilities.values().map(|row| row.map(|it| Site::of_facility(it, &settings.candidates)));
        for site in schools.chain(health) {
            let placed = place(site, rows, settings, &densities, &capitals);
            analysis.of_district(placed.site.value().district.as_deref()).count(&placed);
            analysis.sites.push(placed);
        }
        for space in rows.spaces.values() {
            analysis.of_district(Some(&space.value().district_code)).spaces += space.map(Spaces::of);
        }
        analysis.add_up(rows);
        analysis
    }

    /// Keys of a department's districts.
    #[must_use]
    pub fn districts_of(&self, department: &str) -> Vec<&str> {
        let inside =
            self.districts.iter().filter(|(_, it)| it.district.value().department_code == department);
        inside.map(|(code, _)| code.as_str()).collect()
    }

    fn of_district(&mut self, code: Option<&str>) -> &mut Gap {
        match code.and_then(|code| self.districts.get_mut(code)) {
            Some(line) => &mut line.gap,
            None => &mut self.without_district,
        }
    }

    fn add_up(&mut self, rows: &Accepted) {
        for (code, department) in rows.departments.iter() {
            let mut gap = Gap::nothing(rows, rows.districts.pages());
            let inside = self.districts.values().filter(|it| it.district.value().department_code == code);
            inside.for_each(|line| gap += line.gap.clone());
            self.departments.insert(code.to_owned(), DepartmentGap { department: department.clone(), gap });
        }
        self.total = self.without_district.clone();
        self.districts.values().for_each(|line| self.total += line.gap.clone());
    }
}

/// Fewer people than the rule says, in a whole boundary group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Density {
    people: u64,
    hectares: u64,
}

impl Density {
    fn tenths(&self) -> Option<u64> {
        (self.people * 1_000 + self.hectares / 2).checked_div(self.hectares)
    }

    fn is_below(self, per_km2: u32) -> bool {
        self.people * 100 < u64::from(per_km2) * self.hectares
    }
}

/// A district that lost territory after 2012 has no area of its own: the density of its whole group is right.
fn densities(rows: &Accepted) -> BTreeMap<&str, Figure<Option<Density>>> {
    let mut people: BTreeMap<&str, Figure<u64>> = BTreeMap::new();
    for district in rows.districts.values() {
        let group = district.value().boundary_group.as_str();
        *people.entry(group).or_insert_with(|| rows.districts.nothing()) +=
            district.map(|it| u64::from(it.population));
    }
    let density = |(group, people): (_, Figure<u64>)| {
        let area = rows.districts.get(group).map(|it| it.map(|it| hectares(it.area_km2)));
        let area = area.unwrap_or_else(|| rows.districts.nothing());
        let of =
            |people: &u64, area: &Option<u64>| area.map(|hectares| Density { people: *people, hectares });
        (group, people.with(&area, of))
    };
    people.into_iter().map(density).collect()
}

fn density(
    densities: &BTreeMap<&str, Figure<Option<Density>>>,
    group: &str,
    rows: &Accepted,
) -> Figure<Option<Density>> {
    densities.get(group).cloned().unwrap_or_else(|| rows.districts.nothing())
}

/// None for less than a hectare.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rows with other areas are kept out"
)]
fn hectares(km2: Option<f64>) -> Option<u64> {
    km2.map(|km2| (km2 * 100.0).round() as u64).filter(|hectares| *hectares > 0)
}

/// Median of the schools in each department's capital.
fn capitals<'a>(rows: &Accepted, settings: &'a Settings) -> BTreeMap<&'a str, Figure<Option<Point>>> {
    let of = |(department, capital): (&'a String, &'a String)| {
        let inside = rows.schools.values().filter(|school| school.value().district_code == *capital);
        let points =
            rows.schools.nothing::<Vec<_>>().gather(inside.map(|school| school.map(point_of_school)));
        let median = |points: &Vec<Option<Point>>| {
            Point::median(&points.iter().copied().flatten().collect::<Vec<_>>())
        };
        (department.as_str(), points.map(median))
    };
    settings.capitals.iter().map(of).collect()
}

fn place(
    site: Figure<Site>,
    rows: &Accepted,
    settings: &Settings,
    densities: &BTreeMap<&str, Figure<Option<Density>>>,
    capitals: &BTreeMap<&str, Figure<Option<Point>>>,
) -> Placed {
    let district = site.value().district.as_deref().and_then(|code| rows.districts.get(code));
    let capital = district.and_then(|it| {
        let capital = capitals.get(it.value().department_code.as_str())?;
        Some(capital.clone().resting_on(it.exchanges()))
    });
    let capital = capital.unwrap_or_else(|| rows.districts.nothing());
    let metres = site.with(&capital, |site, capital| Some(site.point?.metres_to((*capital)?)));
    let around = district.map(|it| density(densities, &it.value().boundary_group, rows));
    let around = around.unwrap_or_else(|| rows.districts.nothing());
    let below = settings.remote.inhabitants_per_km2_below;
    let thin = around.map(|it| it.map_or(Known::Unknown, |density| density.is_below(below).into()));
    let around = metres.with(&thin, |metres, thin| (*metres, *thin));
    let remote = site.with(&around, |site, (metres, thin)| site.is_remote(&settings.remote, *metres, *thin));
    Placed { site, metres, remote }
}

impl Gap {
    /// A place in which nothing was counted yet. `place` says that it is there.
    pub(crate) fn nothing(rows: &Accepted, place: &Exchanges) -> Self {
        let sites = || Sites::of(rows).nothing::<Share>().resting_on(place);
        // Distances and densities are those of all districts.
        let around = rows.districts.pages();
        let facilities = || rows.facilities.nothing::<u64>().resting_on(place);
        Self {
            people: Figure::new(People::default(), place.clone()),
            schools: Schools::nothing(rows, place),
            hospitals: facilities(),
            social_security: facilities(),
            health_remoteness_unknown: facilities().resting_on(around),
            spaces: rows.spaces.nothing().resting_on(place),
            distance: sites().resting_on(around).map(|_| Distances::default()),
            unknown: sites(),
            heard: Heard::of(rows),
        }
    }

    fn count(&mut self, placed: &Placed) {
        let site = placed.site.value();
        let one = placed.site.map(|_| 1);
        match site.kind {
            Kind::School => self.schools.count(placed),
            Kind::Hospital => self.hospitals += one,
            Kind::SocialSecurity => self.social_security += one,
        }
        if site.kind != Kind::School {
            let unknown = |remote: &Known| u64::from(*remote == Known::Unknown);
            self.health_remoteness_unknown += placed.remote.map(unknown);
        }
        self.distance += placed.metres.map(|metres| Distances::of(*metres));
        self.unknown += placed.site.map(|site| site.unknown);
    }
}

impl Schools {
    fn nothing(rows: &Accepted, place: &Exchanges) -> Self {
        let by_zone = || rows.schools.nothing::<Count>().resting_on(place);
        let by_remoteness = || by_zone().resting_on(rows.districts.pages());
        Self {
            all: by_zone(),
            urban: by_zone(),
            rural: by_zone(),
            unknown_zone: by_zone(),
            remote: by_remoteness(),
            not_remote: by_remoteness(),
            unknown_remoteness: by_remoteness(),
        }
    }

    fn count(&mut self, placed: &Placed) {
        let count = placed.site.map(|site| Count::of(site.pupils));
        match placed.site.value().zone {
            Some(Zone::Urban) => self.urban += count.clone(),
            Some(Zone::Rural) => self.rural += count.clone(),
            None => self.unknown_zone += count.clone(),
        }
        let by_remoteness = placed.remote.with(&count, |_, count| *count);
        match placed.remote.value() {
            Known::Yes => self.remote += by_remoteness,
            Known::No => self.not_remote += by_remoteness,
            Known::Unknown => self.unknown_remoteness += by_remoteness,
        }
        self.all += count;
    }
}

impl Count {
    fn of(pupils: Option<Pupils>) -> Self {
        let Pupils { boys, girls } = pupils.unwrap_or_default();
        let sites_without_pupils = u64::from(pupils.is_none());
        Self { sites: 1, sites_without_pupils, boys: boys.into(), girls: girls.into() }
    }
}

impl Spaces {
    fn of(space: &PublicSpace) -> Self {
        let is = |status| u64::from(space.status() == status);
        Self { in_service: is(Status::InService), planned: is(Status::Planned) }
    }
}

impl Distances {
    fn of(metres: Option<u32>) -> Self {
        let mut distances = Self::default();
        match metres {
            None => distances.unknown = 1,
            Some(metres) => {
                let band = BAND_METRES.iter().position(|limit| metres < *limit).unwrap_or(BANDS - 1);
                distances.bands[band] = 1;
            }
        }
        distances
    }
}

impl AddAssign for People {
    fn add_assign(&mut self, other: Self) {
        self.men += other.men;
        self.women += other.women;
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.sites += other.sites;
        self.sites_without_pupils += other.sites_without_pupils;
        self.boys += other.boys;
        self.girls += other.girls;
    }
}

impl AddAssign for Spaces {
    fn add_assign(&mut self, other: Self) {
        self.in_service += other.in_service;
        self.planned += other.planned;
    }
}

impl AddAssign for Distances {
    fn add_assign(&mut self, other: Self) {
        self.bands.iter_mut().zip(other.bands).for_each(|(own, others)| *own += others);
        self.unknown += other.unknown;
    }
}

impl AddAssign for Schools {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.urban += other.urban;
        self.rural += other.rural;
        self.unknown_zone += other.unknown_zone;
        self.remote += other.remote;
        self.not_remote += other.not_remote;
        self.unknown_remoteness += other.unknown_remoteness;
    }
}

impl AddAssign for Gap {
    fn add_assign(&mut self, other: Self) {
        self.people += other.people;
        self.schools += other.schools;
        self.hospitals += other.hospitals;
        self.social_security += other.social_security;
        self.health_remoteness_unknown += other.health_remoteness_unknown;
        self.spaces += other.spaces;
        self.distance += other.distance;
        self.unknown += other.unknown;
    }
}

/// Upper ends of the bands but the last, in metres.
pub const BAND_METRES: [u32; BANDS - 1] = [10_000, 25_000, 50_000];
/// How many bands there are.
pub const BANDS: usize = 4;
