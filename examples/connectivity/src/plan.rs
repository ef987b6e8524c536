//! Joins schools to districts. Pure: the same findings always give the same plan.
//!
//! Remote means: rural by MEC, and under 5 inhabitants per km² in the district's boundary group of 2012. Unknown stays
//! unknown: a site without district or zone is neither remote nor not remote.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use crate::wire::ine::District;
use crate::wire::mec::{School, Zone};

/// One line for each district, one for sites without district, and the total.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// By code.
    pub districts: Vec<DistrictLine>,
    /// Sites whose district is not known, or is none that INE lists.
    pub without_district: Figures,
    /// Of all sites.
    pub total: Figures,
}

/// A district with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct DistrictLine {
    /// As INE says.
    pub district: District,
    /// Inhabitants per km² of the boundary group; none if its area is not known.
    pub density: Option<f64>,
    /// Its sites.
    pub figures: Figures,
}

/// Sites and pupils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// All sites.
    pub all: Count,
    /// In towns.
    pub urban: Count,
    /// In the country.
    pub rural: Count,
    /// Where MEC does not say.
    pub unknown_zone: Count,
    /// Rural, in a thinly peopled boundary group.
    pub remote: Count,
    /// Where district, density or zone is not known.
    pub unknown_remoteness: Count,
}

/// Sites, and the pupils that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Sites.
    pub sites: u32,
    /// Sites for which MEC has no number of pupils.
    pub sites_without_pupils: u32,
    /// Boys of grades 1 to 9.
    pub boys: u32,
    /// Girls of grades 1 to 9.
    pub girls: u32,
}

/// Whether a place is thinly peopled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peopled {
    Thinly,
    Densely,
    Unknown,
}

impl Plan {
    /// Joins by district code.
    #[must_use]
    pub fn of(districts: &[District], schools: &[School]) -> Self {
        let densities = densities(districts);
        let mut lines: BTreeMap<&str, DistrictLine> = districts
            .iter()
            .map(|district| {
                let density = densities.get(district.boundary_group.as_str()).copied().flatten();
                let line = DistrictLine { district: district.clone(), density, figures: Figures::default() };
                (district.code.as_str(), line)
            })
            .collect();
        let (mut without_district, mut total) = (Figures::default(), Figures::default());
        for school in schools {
            let figures = match lines.get_mut(school.district_code.as_str()) {
                Some(line) => {
                    let figures = Figures::of(school, peopled(line.density));
                    line.figures += figures;
                    figures
                }
                None => {
                    let figures = Figures::of(school, Peopled::Unknown);
                    without_district += figures;
                    figures
                }
            };
            total += figures;
        }
        Self { districts: lines.into_values().collect(), without_district, total }
    }
}

impl DistrictLine {
    /// Whether its boundary group is thinly peopled; none if that is not known.
    #[must_use]
    pub fn is_thinly_peopled(&self) -> Option<bool> {
        match peopled(self.density) {
            Peopled::Thinly => Some(true),
            Peopled::Densely => Some(false),
            Peopled::Unknown => None,
        }
    }
}

impl Figures {
    fn of(school: &School, peopled: Peopled) -> Self {
        let count = Count::of(school);
        let mut figures = Self { all: count, ..Self::default() };
        match school.zone() {
            Zone::Urban => figures.urban = count,
            Zone::Rural => figures.rural = count,
            Zone::Unspecified => figures.unknown_zone = count,
        }
        match (school.zone(), peopled) {
            (Zone::Rural, Peopled::Thinly) => figures.remote = count,
            // A town is not remote wherever it lies, nor is a site among many people, whatever its zone.
            (Zone::Urban, _) | (_, Peopled::Densely) => {}
            (Zone::Rural | Zone::Unspecified, _) => figures.unknown_remoteness = count,
        }
        figures
    }
}

impl Count {
    fn of(school: &School) -> Self {
        let known = school.boys.is_some() && school.girls.is_some();
        Self {
            sites: 1,
            sites_without_pupils: u32::from(!known),
            boys: pupils(school.boys),
            girls: pupils(school.girls),
        }
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.urban += other.urban;
        self.rural += other.rural;
        self.unknown_zone += other.unknown_zone;
        self.remote += other.remote;
        self.unknown_remoteness += other.unknown_remoteness;
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

fn pupils(of: Option<i32>) -> u32 {
    of.and_then(|pupils| pupils.try_into().ok()).unwrap_or_default()
}

/// A district that lost territory after 2012 has no area of its own: the density of its whole group is right.
fn densities(districts: &[District]) -> BTreeMap<&str, Option<f64>> {
    let mut groups: BTreeMap<&str, (u64, Option<f64>)> = BTreeMap::new();
    for district in districts {
        let (population, area) = groups.entry(&district.boundary_group).or_default();
        *population += u64::from(district.population);
        if district.code == district.boundary_group {
            *area = district.area_km2.filter(|area| *area > 0.0);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "populations are far below 2^53")]
    let density = |(population, area): (u64, Option<f64>)| area.map(|area| population as f64 / area);
    groups.into_iter().map(|(code, group)| (code, density(group))).collect()
}

fn peopled(density: Option<f64>) -> Peopled {
    match density {
        Some(density) if density < THINLY_PER_KM2 => Peopled::Thinly,
        Some(_) => Peopled::Densely,
        None => Peopled::Unknown,
    }
}

/// Fewer inhabitants per km² than this are few.
pub const THINLY_PER_KM2: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn district(code: &str, group: &str, population: u32, area_km2: Option<f64>) -> District {
        District {
            code: code.to_owned(),
            boundary_group: group.to_owned(),
            population,
            area_km2,
            ..District::default()
        }
    }

    fn school(district: &str, zone: Zone, boys: Option<i32>) -> School {
        School {
            district_code: district.to_owned(),
            zone: zone.into(),
            boys,
            girls: boys.map(|boys| boys + 1),
            ..School::default()
        }
    }

    #[test]
    fn remote_is_rural_and_thinly_peopled_in_the_whole_boundary_group() {
        // Alone the parent would have 40 inhabitants on 10 km²; with the new district, 60 on 10.
        let districts = [
            district("0101", "0101", 40, Some(10.0)),
            district("0110", "0101", 20, None),
            district("0102", "0102", 49, Some(10.0)),
        ];
        let schools = [
            school("0101", Zone::Rural, Some(3)),
            school("0110", Zone::Rural, Some(5)),
            school("0102", Zone::Rural, Some(7)),
            school("0102", Zone::Urban, Some(11)),
        ];
        let plan = Plan::of(&districts, &schools);
        let remote: Vec<_> = plan.districts.iter().map(|line| line.figures.remote.boys).collect();
        assert_eq!(remote, [0, 7, 0], "0101, 0102, 0110");
        assert_eq!(plan.total.remote, Count { sites: 1, sites_without_pupils: 0, boys: 7, girls: 8 });
        assert_eq!(plan.total.unknown_remoteness, Count::default());
    }

    #[test]
    fn unknown_stays_unknown() {
        let districts = [district("0101", "0101", 1, Some(10.0)), district("0102", "0102", 1, None)];
        let schools = [
            school("", Zone::Rural, Some(2)),
            school("9999", Zone::Urban, None),
            school("0101", Zone::Unspecified, Some(4)),
            school("0102", Zone::Rural, None),
        ];
        let plan = Plan::of(&districts, &schools);
        assert_eq!(plan.without_district.all.sites, 2, "no district, or one that INE does not list");
        assert_eq!(plan.total.remote, Count::default());
        assert_eq!(plan.total.unknown_remoteness.sites, 3);
        assert_eq!((plan.total.all.sites_without_pupils, plan.total.all.boys), (2, 6));
        assert_eq!(plan.districts[1].is_thinly_peopled(), None);
    }
}
