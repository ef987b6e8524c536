//! The plan as files: CSV for analysts, one self-contained page for people. The same plan always gives the same bytes.

mod html;

pub use html::page;

use crate::plan::{Count, DistrictLine, Figures, Plan};

/// The table, a line for each district, one for sites without district, one for the total. Empty cells are unknown.
#[must_use]
pub fn csv(plan: &Plan) -> String {
    let mut out = format!("{}\n", COLUMNS.join(","));
    for line in &plan.districts {
        let district = &line.district;
        let lead = [
            district.code.clone(),
            district.department_code.clone(),
            quoted(&district.name),
            district.population.to_string(),
            line.density.map(|density| format!("{density:.2}")).unwrap_or_default(),
            thinly(line).to_owned(),
        ];
        push(&mut out, &lead, &line.figures);
    }
    for (name, figures) in [("(no district)", &plan.without_district), ("(total)", &plan.total)] {
        let lead = ["", "", name, "", "", ""].map(str::to_owned);
        push(&mut out, &lead, figures);
    }
    out
}

fn push(out: &mut String, lead: &[String], figures: &Figures) {
    out.push_str(&lead.join(","));
    let counts = [
        figures.all,
        figures.urban,
        figures.rural,
        figures.unknown_zone,
        figures.remote,
        figures.unknown_remoteness,
    ];
    for Count { sites, sites_without_pupils, boys, girls } in counts {
        for figure in [sites, sites_without_pupils, boys, girls] {
            out.push(',');
            out.push_str(&figure.to_string());
        }
    }
    out.push('\n');
}

fn thinly(line: &DistrictLine) -> &'static str {
    match line.is_thinly_peopled() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// RFC 4180.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Columns of the CSV. `_without_pupils`: sites for which MEC has no number of pupils; boys and girls of grades 1 to 9.
const COLUMNS: [&str; 30] = [
    "district_code",
    "department_code",
    "district",
    "population_2022",
    "group_density_per_km2",
    "thinly_peopled",
    "sites",
    "sites_without_pupils",
    "boys",
    "girls",
    "urban_sites",
    "urban_without_pupils",
    "urban_boys",
    "urban_girls",
    "rural_sites",
    "rural_without_pupils",
    "rural_boys",
    "rural_girls",
    "unknown_zone_sites",
    "unknown_zone_without_pupils",
    "unknown_zone_boys",
    "unknown_zone_girls",
    "remote_sites",
    "remote_without_pupils",
    "remote_boys",
    "remote_girls",
    "unknown_remoteness_sites",
    "unknown_remoteness_without_pupils",
    "unknown_remoteness_boys",
    "unknown_remoteness_girls",
];
