//! MEC: school sites.

use serde::Deserialize;

use super::{DataError, Published, e5};
use crate::wire::mec::{Electricity, Point, School, Sector, Zone};

/// By code.
///
/// # Errors
/// The first row that does not parse.
pub fn schools(published: &Published) -> Result<Vec<School>, DataError> {
    let rows: Vec<SchoolRow> = published.rows("schools.csv", SCHOOLS)?;
    let mut schools: Vec<_> = rows.into_iter().map(SchoolRow::into_school).collect();
    schools.sort_by(|a, b| a.establishment_code.cmp(&b.establishment_code));
    Ok(schools)
}

#[derive(Deserialize)]
struct SchoolRow {
    establishment_code: String,
    name: String,
    district_code: String,
    zone: ZoneText,
    sector: SectorText,
    latitude: Option<f64>,
    longitude: Option<f64>,
    eeb_2023_boys: Option<i32>,
    eeb_2023_girls: Option<i32>,
    electricity_2014: ElectricityText,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ZoneText {
    #[serde(rename = "")]
    Unknown,
    Urban,
    Rural,
}

#[derive(Deserialize)]
enum SectorText {
    #[serde(rename = "")]
    Unknown,
    #[serde(rename = "public")]
    Public,
    #[serde(rename = "private")]
    Private,
    #[serde(rename = "private_subsidised")]
    Subsidised,
    #[serde(rename = "private+private_subsidised")]
    PrivateAndSubsidised,
    #[serde(rename = "private_subsidised+public")]
    SubsidisedAndPublic,
    #[serde(rename = "private+public")]
    PrivateAndPublic,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ElectricityText {
    #[serde(rename = "")]
    NotAsked,
    Unknown,
    None,
    Solar,
    Grid,
    YesUnspecified,
}

impl SchoolRow {
    fn into_school(self) -> School {
        let zone = match self.zone {
            ZoneText::Unknown => Zone::Unspecified,
            ZoneText::Urban => Zone::Urban,
            ZoneText::Rural => Zone::Rural,
        };
        let electricity = match self.electricity_2014 {
            ElectricityText::NotAsked | ElectricityText::Unknown => Electricity::Unspecified,
            ElectricityText::None => Electricity::None,
            ElectricityText::Solar => Electricity::Solar,
            ElectricityText::Grid => Electricity::Grid,
            ElectricityText::YesUnspecified => Electricity::Present,
        };
        let point = self.latitude.zip(self.longitude);
        School {
            establishment_code: self.establishment_code,
            name: self.name,
            district_code: self.district_code,
            zone: zone.into(),
            boys: self.eeb_2023_boys,
            girls: self.eeb_2023_girls,
            sectors: self.sector.sectors().iter().map(|sector| (*sector).into()).collect(),
            location: point.map(|(latitude, longitude)| Point {
                latitude_e5: e5(latitude),
                longitude_e5: e5(longitude),
            }),
            electricity_2014: electricity.into(),
        }
    }
}

impl SectorText {
    fn sectors(&self) -> &'static [Sector] {
        match self {
            Self::Unknown => &[],
            Self::Public => &[Sector::Public],
            Self::Private => &[Sector::Private],
            Self::Subsidised => &[Sector::PrivateSubsidised],
            Self::PrivateAndSubsidised => &[Sector::Private, Sector::PrivateSubsidised],
            Self::SubsidisedAndPublic => &[Sector::Public, Sector::PrivateSubsidised],
            Self::PrivateAndPublic => &[Sector::Public, Sector::Private],
        }
    }
}

const SCHOOLS: &str = include_str!("../../data/schools.csv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_leaves_empty_is_unknown() {
        let schools = schools(&Published::shipped()).unwrap();
        let count = |of: fn(&School) -> bool| schools.iter().filter(|school| of(school)).count();
        assert_eq!(schools.len(), 9_223);
        assert_eq!(count(|school| school.boys.is_none()), 1_903);
        assert_eq!(count(|school| school.zone() == Zone::Unspecified), 38);
        assert_eq!(count(|school| school.sectors.is_empty()), 1_607);
        assert_eq!(count(|school| school.location.is_some()), 7_893);
        assert_eq!(count(|school| school.electricity_2014() == Electricity::Unspecified), 3_801 + 202);
    }
}
