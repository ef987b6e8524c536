//! MITIC: public spaces with free internet.

use serde::Deserialize;

use super::{DataError, Published};
use crate::wire::mitic::{PublicSpace, Status};

/// By id.
///
/// # Errors
/// The first row that does not parse.
pub fn public_spaces(published: &Published) -> Result<Vec<PublicSpace>, DataError> {
    let rows: Vec<SpaceRow> = published.rows("public_wifi_spaces.csv", SPACES)?;
    let mut spaces: Vec<_> = rows.into_iter().map(SpaceRow::into_space).collect();
    spaces.sort_by(|a, b| a.space_id.cmp(&b.space_id));
    Ok(spaces)
}

#[derive(Deserialize)]
struct SpaceRow {
    space_id: String,
    site: String,
    site_type: String,
    municipality: String,
    district_code: String,
    year_reported: Option<u32>,
    programme: String,
    status: StatusText,
    source: String,
    source_url: String,
    note: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StatusText {
    InService,
    Planned,
}

impl SpaceRow {
    fn into_space(self) -> PublicSpace {
        let status = match self.status {
            StatusText::InService => Status::InService,
            StatusText::Planned => Status::Planned,
        };
        PublicSpace {
            space_id: self.space_id,
            site: self.site,
            site_type: self.site_type,
            municipality: self.municipality,
            district_code: self.district_code,
            year_reported: self.year_reported,
            programme: self.programme,
            status: status.into(),
            source: self.source,
            source_url: self.source_url,
            note: self.note,
        }
    }
}

const SPACES: &str = include_str!("../../data/public_wifi_spaces.csv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let spaces = public_spaces(&Published::shipped()).unwrap();
        assert_eq!(
            (spaces.len(), spaces.iter().filter(|it| it.status() == Status::Planned).count()),
            (45, 2)
        );
    }
}
