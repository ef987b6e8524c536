//! The agencies' registers: the published files, embedded, read once. Nothing is filled in: what is empty stays unknown.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::wire::ine::District;
use crate::wire::mec::{School, Zone};

/// A row that is not what its file promises.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {source}")]
pub struct DataError {
    /// Which file.
    pub file: &'static str,
    /// Which row, and what is wrong.
    pub source: csv::Error,
}

/// INE's districts, by code.
///
/// # Errors
/// The first row that does not parse.
pub fn districts() -> Result<Vec<District>, DataError> {
    let rows: Vec<DistrictRow> = read("districts.csv", DISTRICTS)?;
    let mut districts: Vec<_> = rows.into_iter().map(DistrictRow::into_district).collect();
    districts.sort_by(|a, b| a.code.cmp(&b.code));
    Ok(districts)
}

/// MEC's school sites, by code.
///
/// # Errors
/// The first row that does not parse.
pub fn schools() -> Result<Vec<School>, DataError> {
    let rows: Vec<SchoolRow> = read("schools.csv", SCHOOLS)?;
    let mut schools: Vec<_> = rows.into_iter().map(SchoolRow::into_school).collect();
    schools.sort_by(|a, b| a.establishment_code.cmp(&b.establishment_code));
    Ok(schools)
}

fn read<T: DeserializeOwned>(file: &'static str, text: &'static str) -> Result<Vec<T>, DataError> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().map_err(|source| DataError { file, source })
}

#[derive(Deserialize)]
struct DistrictRow {
    district_code: String,
    department_code: String,
    name: String,
    population_2022: u32,
    men_2022: u32,
    women_2022: u32,
    boundary_code_2012: String,
    area_km2_2012: Option<f64>,
}

impl DistrictRow {
    fn into_district(self) -> District {
        District {
            code: self.district_code,
            department_code: self.department_code,
            name: self.name,
            population: self.population_2022,
            men: self.men_2022,
            women: self.women_2022,
            boundary_group: self.boundary_code_2012,
            area_km2: self.area_km2_2012,
        }
    }
}

#[derive(Deserialize)]
struct SchoolRow {
    establishment_code: String,
    name: String,
    district_code: String,
    zone: ZoneText,
    eeb_2023_boys: Option<u32>,
    eeb_2023_girls: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ZoneText {
    #[serde(rename = "")]
    Unknown,
    Urban,
    Rural,
}

impl SchoolRow {
    fn into_school(self) -> School {
        let zone = match self.zone {
            ZoneText::Unknown => Zone::Unspecified,
            ZoneText::Urban => Zone::Urban,
            ZoneText::Rural => Zone::Rural,
        };
        School {
            establishment_code: self.establishment_code,
            name: self.name,
            district_code: self.district_code,
            zone: zone.into(),
            boys: self.eeb_2023_boys,
            girls: self.eeb_2023_girls,
        }
    }
}

const DISTRICTS: &str = include_str!("../data/districts.csv");
const SCHOOLS: &str = include_str!("../data/schools.csv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let (districts, schools) = (districts().unwrap(), schools().unwrap());
        assert_eq!((districts.len(), schools.len()), (263, 9_223));
        let population: u32 = districts.iter().map(|district| district.population).sum();
        assert_eq!(population, 6_109_903, "the official figure of the 2022 census");
        assert!(districts.iter().all(|district| district.men + district.women == district.population));
    }

    #[test]
    fn what_a_file_leaves_empty_is_unknown() {
        let schools = schools().unwrap();
        assert_eq!(schools.iter().filter(|school| school.boys.is_none()).count(), 1_903);
        assert_eq!(schools.iter().filter(|school| school.zone() == Zone::Unspecified).count(), 38);
        assert_eq!(districts().unwrap().iter().filter(|district| district.area_km2.is_none()).count(), 18);
    }

    #[test]
    fn a_bad_row_is_named_by_file_and_line() {
        let text = "district_code,department_code,name,population_2022,men_2022,women_2022,boundary_code_2012,area_km2_2012\n\
                    0101,01,Concepción,many,1,1,0101,1.5\n";
        let error = read::<DistrictRow>("districts.csv", text).err().unwrap().to_string();
        assert!(error.contains("districts.csv") && error.contains("line: 2"), "{error}");
    }
}
