//! INE: departments, districts, and the polygons of 2012.

use serde::Deserialize;

use super::{DataError, Published, e5};
use crate::wire::ine::{Boundary, Department, District, Polygon, Ring};

/// By code.
///
/// # Errors
/// The first row that does not parse.
pub fn departments(published: &Published) -> Result<Vec<Department>, DataError> {
    let rows: Vec<DepartmentRow> = published.rows("departments.csv", DEPARTMENTS)?;
    let mut departments: Vec<_> = rows
        .into_iter()
        .map(|row| Department { code: row.department_code, name: row.name, iso_3166_2: row.iso_3166_2 })
        .collect();
    departments.sort_by(|a, b| a.code.cmp(&b.code));
    Ok(departments)
}

/// By code.
///
/// # Errors
/// The first row that does not parse.
pub fn districts(published: &Published) -> Result<Vec<District>, DataError> {
    let rows: Vec<DistrictRow> = published.rows("districts.csv", DISTRICTS)?;
    let mut districts: Vec<_> = rows.into_iter().map(DistrictRow::into_district).collect();
    districts.sort_by(|a, b| a.code.cmp(&b.code));
    Ok(districts)
}

/// By code.
///
/// # Errors
/// What is not GeoJSON of polygons.
pub fn boundaries(published: &Published) -> Result<Vec<Boundary>, DataError> {
    let file = "districts_2012.geojson";
    let shapes: Shapes = serde_json::from_str(&published.text(file, BOUNDARIES)?)
        .map_err(|source| DataError::Shape { file, source })?;
    let mut boundaries: Vec<_> = shapes
        .features
        .into_iter()
        .map(|feature| Boundary {
            boundary_group: feature.properties.boundary_code_2012,
            polygons: match feature.geometry {
                Geometry::Polygon(rings) => vec![polygon(&rings)],
                Geometry::MultiPolygon(polygons) => polygons.iter().map(|rings| polygon(rings)).collect(),
            },
        })
        .collect();
    boundaries.sort_by(|a, b| a.boundary_group.cmp(&b.boundary_group));
    Ok(boundaries)
}

fn polygon(rings: &[Vec<[f64; 2]>]) -> Polygon {
    Polygon { rings: rings.iter().map(|points| ring(points)).collect() }
}

fn ring(points: &[[f64; 2]]) -> Ring {
    let mut before = [0, 0];
    let mut deltas_e5 = Vec::with_capacity(points.len() * 2);
    for point in points {
        let here = point.map(e5);
        deltas_e5.extend([here[0] - before[0], here[1] - before[1]]);
        before = here;
    }
    Ring { deltas_e5 }
}

#[derive(Deserialize)]
struct DepartmentRow {
    department_code: String,
    name: String,
    iso_3166_2: String,
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
struct Shapes {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    properties: Properties,
    geometry: Geometry,
}

#[derive(Deserialize)]
struct Properties {
    boundary_code_2012: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Polygon(Vec<Vec<[f64; 2]>>),
    MultiPolygon(Vec<Vec<Vec<[f64; 2]>>>),
}

const DEPARTMENTS: &str = include_str!("../../data/departments.csv");
const DISTRICTS: &str = include_str!("../../data/districts.csv");
const BOUNDARIES: &str = include_str!("../../data/districts_2012.geojson");

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_row_is_read() {
        let districts = districts(&Published::shipped()).unwrap();
        assert_eq!((departments(&Published::shipped()).unwrap().len(), districts.len()), (18, 263));
        let population: u32 = districts.iter().map(|district| district.population).sum();
        assert_eq!(population, 6_109_903, "the official figure of the 2022 census");
        assert!(districts.iter().all(|district| district.men + district.women == district.population));
        assert_eq!(districts.iter().filter(|district| district.area_km2.is_none()).count(), 18);
    }

    #[test]
    fn every_boundary_group_has_its_polygons_and_rings_are_closed() {
        let boundaries = boundaries(&Published::shipped()).unwrap();
        assert_eq!(boundaries.len(), 245);
        for district in districts(&Published::shipped()).unwrap() {
            assert!(
                boundaries.iter().any(|it| it.boundary_group == district.boundary_group),
                "{}",
                district.code
            );
        }
        for ring in boundaries.iter().flat_map(|it| &it.polygons).flat_map(|it| &it.rings) {
            let walked = |axis: usize| ring.deltas_e5.iter().skip(2).skip(axis).step_by(2).sum::<i32>();
            assert_eq!((walked(0), walked(1)), (0, 0));
        }
        let longest = boundaries.iter().map(prost::Message::encoded_len).max().unwrap();
        assert!(longest < 64 * 1024, "{longest}: a page of one row fits a message of the road");
        assert!(boundaries[0].encoded_len() > 100);
    }
}
