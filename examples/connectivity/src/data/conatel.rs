//! CONATEL: published figures and programmes.

use serde::Deserialize;

use super::{DataError, Published};
use crate::wire::conatel::{Area, Indicator, Money, Precision, Programme, Sex};

/// In the order of the file.
///
/// # Errors
/// The first row that does not parse.
pub fn indicators(published: &Published) -> Result<Vec<Indicator>, DataError> {
    let rows: Vec<IndicatorRow> = published.rows("published_indicators.csv", INDICATORS)?;
    Ok(rows.into_iter().map(IndicatorRow::into_indicator).collect())
}

/// By id.
///
/// # Errors
/// The first row that does not parse.
pub fn programmes(published: &Published) -> Result<Vec<Programme>, DataError> {
    let rows: Vec<ProgrammeRow> = published.rows("programmes_published.csv", PROGRAMMES)?;
    let mut programmes: Vec<_> = rows.into_iter().map(ProgrammeRow::into_programme).collect();
    programmes.sort_by(|a, b| a.programme_id.cmp(&b.programme_id));
    Ok(programmes)
}

#[derive(Deserialize)]
struct IndicatorRow {
    indicator: String,
    year: u32,
    geography_code: String,
    area: AreaText,
    sex: SexText,
    value: f64,
    unit: String,
    precision: PrecisionText,
    publisher: String,
    source: String,
    source_url: String,
    note: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AreaText {
    Total,
    Urban,
    Rural,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SexText {
    Total,
    Men,
    Women,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum PrecisionText {
    Exact,
    Rounded,
    Approximate,
    #[serde(rename = "lower bound")]
    LowerBound,
    Target,
    Model,
}

impl IndicatorRow {
    fn into_indicator(self) -> Indicator {
        let area = match self.area {
            AreaText::Total => Area::Total,
            AreaText::Urban => Area::Urban,
            AreaText::Rural => Area::Rural,
        };
        let sex = match self.sex {
            SexText::Total => Sex::Total,
            SexText::Men => Sex::Men,
            SexText::Women => Sex::Women,
        };
        let precision = match self.precision {
            PrecisionText::Exact => Precision::Exact,
            PrecisionText::Rounded => Precision::Rounded,
            PrecisionText::Approximate => Precision::Approximate,
            PrecisionText::LowerBound => Precision::LowerBound,
            PrecisionText::Target => Precision::Target,
            PrecisionText::Model => Precision::Model,
        };
        Indicator {
            indicator: self.indicator,
            year: self.year,
            geography_code: self.geography_code,
            area: area.into(),
            sex: sex.into(),
            value_thousandths: thousandths(self.value),
            unit: self.unit,
            precision: precision.into(),
            publisher: self.publisher,
            source: self.source,
            source_url: self.source_url,
            note: self.note,
        }
    }
}

/// The file's figures have at most one decimal and are far below 2^43.
#[allow(clippy::cast_possible_truncation, reason = "a figure that large would be clamped, not wrapped")]
fn thousandths(value: f64) -> i64 {
    (value * 1e3).round() as i64
}

#[derive(Deserialize)]
struct ProgrammeRow {
    programme_id: String,
    programme: String,
    lead: String,
    year: Option<u32>,
    beneficiary_type: String,
    beneficiaries: Option<u32>,
    amount: Option<i64>,
    currency: String,
    speed_mbps: Option<u32>,
    status: String,
    source: String,
    source_url: String,
}

impl ProgrammeRow {
    fn into_programme(self) -> Programme {
        let currency_code = self.currency;
        Programme {
            programme_id: self.programme_id,
            name: self.programme,
            lead: self.lead,
            year: self.year,
            beneficiary_type: self.beneficiary_type,
            beneficiaries: self.beneficiaries,
            amount: self.amount.map(|units| Money { currency_code, units }),
            speed_mbps: self.speed_mbps,
            status: self.status,
            source: self.source,
            source_url: self.source_url,
        }
    }
}

const INDICATORS: &str = include_str!("../../data/published_indicators.csv");
const PROGRAMMES: &str = include_str!("../../data/programmes_published.csv");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let (indicators, programmes) =
            (indicators(&Published::shipped()).unwrap(), programmes(&Published::shipped()).unwrap());
        assert_eq!((indicators.len(), programmes.len()), (92, 11));
        assert_eq!(indicators[0].value_thousandths, 68_500, "68.5 percent");
        let amounts = programmes.iter().filter_map(|programme| programme.amount.as_ref());
        assert_eq!(
            amounts.map(|amount| amount.units).collect::<Vec<_>>(),
            [62_145_436, 25_683_690_316, 35_000_000_000]
        );
    }
}
