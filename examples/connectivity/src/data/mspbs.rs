//! MSPBS: hospitals, and the facilities of the social security.

use serde::Deserialize;

use super::{DataError, Published, e5};
use crate::wire::mspbs::{Facility, Institution, Point, Provider};

/// By id.
///
/// # Errors
/// The first row that does not parse.
pub fn facilities(published: &Published) -> Result<Vec<Facility>, DataError> {
    let rows: Vec<FacilityRow> = published.rows("health_facilities.csv", FACILITIES)?;
    let mut facilities: Vec<_> = rows.into_iter().map(FacilityRow::into_facility).collect();
    facilities.sort_by(|a, b| a.facility_id.cmp(&b.facility_id));
    Ok(facilities)
}

#[derive(Deserialize)]
struct FacilityRow {
    facility_id: String,
    institution: InstitutionText,
    provider: ProviderText,
    name: String,
    town: String,
    district_code: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum InstitutionText {
    Mspbs,
    Ips,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ProviderText {
    Mspbs,
    Ips,
    Convenio,
    Tercerizado,
}

impl FacilityRow {
    fn into_facility(self) -> Facility {
        let institution = match self.institution {
            InstitutionText::Mspbs => Institution::Mspbs,
            InstitutionText::Ips => Institution::Ips,
        };
        let provider = match self.provider {
            ProviderText::Mspbs => Provider::Mspbs,
            ProviderText::Ips => Provider::Ips,
            ProviderText::Convenio => Provider::Agreement,
            ProviderText::Tercerizado => Provider::Contracted,
        };
        let point = self.latitude.zip(self.longitude);
        Facility {
            facility_id: self.facility_id,
            name: self.name,
            town: self.town,
            district_code: self.district_code,
            institution: institution.into(),
            provider: provider.into(),
            location: point.map(|(latitude, longitude)| Point {
                latitude_e5: e5(latitude),
                longitude_e5: e5(longitude),
            }),
        }
    }
}

const FACILITIES: &str = include_str!("../../data/health_facilities.csv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let facilities = facilities(&Published::shipped()).unwrap();
        let of = |institution| facilities.iter().filter(|it| it.institution() == institution).count();
        assert_eq!((of(Institution::Mspbs), of(Institution::Ips)), (74, 138));
        assert_eq!(facilities.iter().filter(|it| it.location.is_none()).count(), 5);
    }
}
