//! Who comes first: points for each criterion, and their sum by the settings' weights. Whole numbers only.

use crate::figure::Figure;
use crate::gap::{Gap, GapAnalysis};
use crate::settings::{CRITERIA, Settings, Weights};
use crate::site::{Kind, Known, Lister, Placed, Pupils, Reason, Standing, Zone};

/// A site that may be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it is.
    pub kind: Kind,
    /// Its agency's code.
    pub code: String,
    /// INE's key; none if it lies in no district of today.
    pub district: Option<String>,
    /// As MEC says.
    pub zone: Option<Zone>,
    /// By the rule.
    pub remote: Known,
    /// None at a health facility.
    pub pupils: Pupils,
    /// 0 to 1,000 for each criterion, in the order of [`Weights::all`].
    pub points: [u32; CRITERIA],
}

impl Candidate {
    /// Its priority: the higher, the earlier.
    #[must_use]
    pub fn score(&self, weights: &Weights) -> u64 {
        self.points
            .iter()
            .zip(weights.all())
            .map(|(points, (_, weight))| u64::from(*points) * u64::from(weight))
            .sum()
    }
}

/// All that may be planned, by kind and code.
#[must_use]
pub fn candidates(analysis: &GapAnalysis, settings: &Settings) -> Figure<Vec<Candidate>> {
    let planned = |placed: &&Placed| placed.site.value().standing == Standing::Candidate;
    let chosen = analysis.sites.iter().filter(planned);
    analysis.sites.nothing::<Vec<_>>().gather(chosen.map(|placed| candidate(placed, analysis, settings)))
}

fn candidate(placed: &Placed, analysis: &GapAnalysis, settings: &Settings) -> Figure<Candidate> {
    let district = placed.site.value().district.as_deref().and_then(|code| analysis.districts.get(code));
    let around = district.map_or(&analysis.without_district, |line| &line.gap);
    let place = Around::of(around, placed.site.value().kind);
    let own = placed.site.with(&placed.remote, |site, remote| (site.clone(), *remote));
    own.with(&place, |(site, remote), place| {
        let pupils = site.pupils.unwrap_or_default();
        let scale = &settings.scale;
        let is_health = site.kind != Kind::School;
        let rural = match (site.zone, is_health) {
            (Some(Zone::Rural), _) => FULL,
            (None, true) => place.rural_share,
            (Some(Zone::Urban), _) | (None, false) => 0,
        };
        let girls_women = if is_health {
            points(place.women_per_facility, scale.full_women_per_facility)
        } else {
            points(pupils.girls, (scale.full_pupils / 2).max(1))
        };
        Candidate {
            kind: site.kind,
            code: site.code.clone(),
            district: site.district.clone(),
            zone: site.zone,
            remote: *remote,
            pupils,
            points: [
                rural,
                if *remote == Known::Yes { FULL } else { 0 },
                points(pupils.all(), scale.full_pupils),
                girls_women,
                if is_health { FULL } else { 0 },
                place.unknown_share,
            ],
        }
    })
}

/// How a register was sifted: who may be planned, and who is left out for which reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Sifted {
    /// Sites that the agency lists; none if it did not answer, as in all that follow.
    pub listed: Figure<Option<u64>>,
    /// By the first reason that holds, in the order of asking; reasons of other registers are not here.
    pub left_out: Vec<(Reason, Figure<Option<u64>>)>,
    /// What is left.
    pub candidates: Figure<Option<u64>>,
}

/// Both registers, sifted.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// MEC's.
    pub schools: Sifted,
    /// MSPBS's.
    pub health: Sifted,
}

impl Selection {
    /// Of all sites.
    #[must_use]
    pub fn of(analysis: &GapAnalysis) -> Self {
        Self { schools: Sifted::of(analysis, Lister::Mec), health: Sifted::of(analysis, Lister::Mspbs) }
    }
}

impl Sifted {
    fn of(analysis: &GapAnalysis, lister: Lister) -> Self {
        let heard = match lister {
            Lister::Mec => analysis.total.heard.schools,
            Lister::Mspbs => analysis.total.heard.facilities,
        };
        let count = |is: &dyn Fn(Standing) -> bool| {
            let count = analysis.sites.count(lister, |site| is(site.standing));
            count.map(|count| heard.then_some(*count))
        };
        let own = Reason::ALL.into_iter().filter(|reason| reason.lister() == lister);
        Self {
            listed: count(&|_| true),
            left_out: own.map(|reason| (reason, count(&|it| it == Standing::LeftOut(reason)))).collect(),
            candidates: count(&|it| it == Standing::Candidate),
        }
    }
}

/// What a site's district adds.
#[derive(Debug, Clone, Copy, Default)]
struct Around {
    unknown_share: u32,
    /// Of the district's pupils: a proxy for the zone of a health facility.
    rural_share: u32,
    women_per_facility: u32,
}

impl Around {
    fn of(gap: &Gap, kind: Kind) -> Figure<Self> {
        let unknown = gap.unknown.map(|share| small(share.per_thousand().unwrap_or_default()));
        if kind == Kind::School {
            return unknown.map(|share| Self { unknown_share: *share, ..Self::default() });
        }
        let pupils = |count: &crate::gap::Count| count.boys + count.girls;
        let rural = gap.schools.rural.with(&gap.schools.all, |rural, all| {
            small((pupils(rural) * u64::from(FULL)).checked_div(pupils(all)).unwrap_or_default())
        });
        let facilities = gap.hospitals.clone() + gap.social_security.clone();
        let women = gap
            .people
            .with(&facilities, |people, here| small(people.women.checked_div(*here).unwrap_or_default()));
        let both = rural.with(&women, |rural, women| (*rural, *women));
        unknown.with(&both, |unknown, (rural, women)| Self {
            unknown_share: *unknown,
            rural_share: *rural,
            women_per_facility: *women,
        })
    }
}

fn points(of: u32, full: u32) -> u32 {
    let points = u64::from(of.min(full)) * u64::from(FULL) / u64::from(full);
    small(points)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// All points of a criterion.
const FULL: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_grow_with_the_number_up_to_the_scale() {
        assert_eq!([0, 1, 250, 500, 9_999].map(|pupils| points(pupils, 500)), [0, 2, 500, 1_000, 1_000]);
    }

    #[test]
    fn the_score_is_the_weighted_sum() {
        let weights =
            Weights { rural: 1, remote: 2, pupils: 4, girls_women: 8, health: 16, unknown_data: 32 };
        let candidate = Candidate {
            kind: Kind::School,
            code: String::new(),
            district: None,
            zone: None,
            remote: Known::No,
            pupils: Pupils::default(),
            points: [1, 10, 100, 1_000, 5, 7],
        };
        assert_eq!(candidate.score(&weights), 1 + 20 + 400 + 8_000 + 80 + 224);
    }
}
