//! Maps: districts as polygons. (RFC 7946)

use serde_json::{Map, Value, json};

use super::Plan;
use super::table::COLUMNS;
use crate::wire::ine::{Polygon, Ring};

/// A feature for each district. One that was created after 2012 has no polygon of its own: its geometry is null, and
/// `boundary_group` names the district that holds it.
pub(super) fn districts(plan: &Plan<'_>) -> String {
    let rows = &plan.findings.accepted;
    let feature = |(code, line): (&String, &crate::gap::DistrictGap)| {
        let district = line.district.value();
        let mut properties = Map::new();
        properties.insert("district_code".to_owned(), json!(code));
        properties.insert("department_code".to_owned(), json!(district.department_code));
        properties.insert("district".to_owned(), json!(district.name));
        properties.insert("boundary_group".to_owned(), json!(district.boundary_group));
        properties.insert("density_per_10_km2".to_owned(), json!(line.density_tenths.value()));
        for column in &COLUMNS {
            properties.insert(column.name.to_owned(), json!((column.of)(&line.gap).value()));
        }
        let geometry = rows.boundaries.get(code).map_or(Value::Null, |it| geometry(&it.value().polygons));
        json!({ "type": "Feature", "id": code, "properties": properties, "geometry": geometry })
    };
    collection(plan.analysis.districts.iter().map(feature).collect())
}

pub(super) fn collection(features: Vec<Value>) -> String {
    let lines: Vec<_> = features.into_iter().map(|feature| feature.to_string()).collect();
    format!("{{\"type\":\"FeatureCollection\",\"features\":[\n{}\n]}}\n", lines.join(",\n"))
}

fn geometry(polygons: &[Polygon]) -> Value {
    let polygons: Vec<Vec<Vec<[f64; 2]>>> =
        polygons.iter().map(|polygon| polygon.rings.iter().map(ring).collect()).collect();
    json!({ "type": "MultiPolygon", "coordinates": polygons })
}

fn ring(ring: &Ring) -> Vec<[f64; 2]> {
    walked(ring).map(|here| here.map(degrees)).collect()
}

/// Its points in 1/100,000 of a degree. An agency's deltas may be anything: sums do not wrap.
pub(super) fn walked(ring: &Ring) -> impl Iterator<Item = [i32; 2]> + '_ {
    ring.deltas_e5.chunks_exact(2).scan([0_i32; 2], |here, pair| {
        *here = [here[0].saturating_add(pair[0]), here[1].saturating_add(pair[1])];
        Some(*here)
    })
}

pub(super) fn degrees(e5: i32) -> f64 {
    f64::from(e5) / 1e5
}
