//! The columns of a place's line, once for CSV, GeoJSON and the data dictionary.

use crate::figure::Figure;
use crate::gap::{Count, Gap, People};

/// A column.
pub(super) struct Column {
    /// In files.
    pub(super) name: &'static str,
    /// For the dictionary, with its unit.
    pub(super) means: &'static str,
    /// From a place's figures; none if it is not known.
    pub(super) of: fn(&Gap) -> Figure<Option<u64>>,
}

/// Whole numbers; none where there is nothing to count from.
pub(super) const COLUMNS: [Column; 37] = [
    column("men_2022", "persons, census 2022", |gap| people(gap, |it| it.men)),
    column("women_2022", "persons, census 2022", |gap| people(gap, |it| it.women)),
    column("schools", "school sites listed by MEC", |gap| sites(gap, &gap.schools.all)),
    column("schools_without_pupils_known", "school sites for which MEC has no number of pupils", |gap| {
        counted(gap, &gap.schools.all, |it| it.sites_without_pupils)
    }),
    column("boys", "boys of grades 1 to 9, 2023", |gap| boys(gap, &gap.schools.all)),
    column("girls", "girls of grades 1 to 9, 2023", |gap| girls(gap, &gap.schools.all)),
    column("urban_schools", "school sites that MEC classes as urban", |gap| sites(gap, &gap.schools.urban)),
    column("urban_boys", "boys there", |gap| boys(gap, &gap.schools.urban)),
    column("urban_girls", "girls there", |gap| girls(gap, &gap.schools.urban)),
    column("rural_schools", "school sites that MEC classes as rural", |gap| sites(gap, &gap.schools.rural)),
    column("rural_boys", "boys there", |gap| boys(gap, &gap.schools.rural)),
    column("rural_girls", "girls there", |gap| girls(gap, &gap.schools.rural)),
    column("unknown_zone_schools", "school sites that MEC does not class", |gap| {
        sites(gap, &gap.schools.unknown_zone)
    }),
    column("unknown_zone_boys", "boys there", |gap| boys(gap, &gap.schools.unknown_zone)),
    column("unknown_zone_girls", "girls there", |gap| girls(gap, &gap.schools.unknown_zone)),
    column("remote_schools", "school sites that are remote by the rule", |gap| {
        sites(gap, &gap.schools.remote)
    }),
    column("remote_boys", "boys there", |gap| boys(gap, &gap.schools.remote)),
    column("remote_girls", "girls there", |gap| girls(gap, &gap.schools.remote)),
    column("not_remote_schools", "school sites that are not remote by the rule", |gap| {
        sites(gap, &gap.schools.not_remote)
    }),
    column("not_remote_boys", "boys there", |gap| boys(gap, &gap.schools.not_remote)),
    column("not_remote_girls", "girls there", |gap| girls(gap, &gap.schools.not_remote)),
    column("unknown_remoteness_schools", "school sites for which the rule cannot be decided", |gap| {
        sites(gap, &gap.schools.unknown_remoteness)
    }),
    column("unknown_remoteness_boys", "boys there", |gap| boys(gap, &gap.schools.unknown_remoteness)),
    column("unknown_remoteness_girls", "girls there", |gap| girls(gap, &gap.schools.unknown_remoteness)),
    column("hospitals", "hospitals of MSPBS", |gap| facilities(gap, &gap.hospitals)),
    column("social_security", "facilities of IPS", |gap| facilities(gap, &gap.social_security)),
    column("health_facilities", "hospitals of MSPBS and facilities of IPS together", |gap| {
        facilities(gap, &health(gap))
    }),
    column(
        "health_remoteness_unknown",
        "of hospitals and IPS: remoteness not known, as no zone is published and the survey of electricity was of schools",
        |gap| facilities(gap, &gap.health_remoteness_unknown),
    ),
    column("spaces_in_service", "named public spaces with free internet, when they were reported", |gap| {
        gap.spaces.map(|it| gap.heard.spaces.then_some(it.in_service))
    }),
    column("spaces_planned", "such spaces that were planned", |gap| {
        gap.spaces.map(|it| gap.heard.spaces.then_some(it.planned))
    }),
    column("sites_below_10_km", "sites, straight line to the schools of the department's capital", |gap| {
        band(gap, 0)
    }),
    column("sites_10_to_25_km", "sites", |gap| band(gap, 1)),
    column("sites_25_to_50_km", "sites", |gap| band(gap, 2)),
    column("sites_from_50_km", "sites", |gap| band(gap, 3)),
    column("sites_unknown_distance", "sites without coordinates or district", |gap| {
        gap.distance.map(|it| gap.heard.sites().then_some(it.unknown))
    }),
    column("connection_unknown_sites", "sites whose connection is not published: all of them", |gap| {
        (gap.schools.all.map(|it| it.sites) + health(gap)).map(|it| gap.heard.sites().then_some(*it))
    }),
    column(
        "unknown_per_thousand",
        "of what the rule and the plan ask, how much nobody says, per thousand to the nearest, a half up. Asked of a school: zone, \
         pupils, coordinates, and whether it was on the grid in 2014, which is not said either by an answer that cannot be read \
         or that names electricity without saying from where. Asked of a health facility: zone and coordinates. The connection \
         of a site is not counted here: it is never published",
        |gap| gap.unknown.map(|it| it.per_thousand().filter(|_| gap.heard.sites())),
    ),
];

const fn column(name: &'static str, means: &'static str, of: fn(&Gap) -> Figure<Option<u64>>) -> Column {
    Column { name, means, of }
}

/// Hospitals and facilities of the social security.
pub(super) fn health(gap: &Gap) -> Figure<u64> {
    gap.hospitals.clone() + gap.social_security.clone()
}

pub(super) fn sites(gap: &Gap, count: &Figure<Count>) -> Figure<Option<u64>> {
    counted(gap, count, |it| it.sites)
}

pub(super) fn boys(gap: &Gap, count: &Figure<Count>) -> Figure<Option<u64>> {
    counted(gap, count, |it| it.boys)
}

pub(super) fn girls(gap: &Gap, count: &Figure<Count>) -> Figure<Option<u64>> {
    counted(gap, count, |it| it.girls)
}

/// Of a register that gave no row, nothing is known: not that there is nothing.
fn counted(gap: &Gap, count: &Figure<Count>, of: fn(&Count) -> u64) -> Figure<Option<u64>> {
    count.map(|it| gap.heard.schools.then_some(of(it)))
}

pub(super) fn people(gap: &Gap, of: fn(&People) -> u64) -> Figure<Option<u64>> {
    gap.people.map(|it| gap.heard.districts.then_some(of(it)))
}

pub(super) fn facilities(gap: &Gap, count: &Figure<u64>) -> Figure<Option<u64>> {
    count.map(|it| gap.heard.facilities.then_some(*it))
}

fn band(gap: &Gap, at: usize) -> Figure<Option<u64>> {
    gap.distance.map(|it| it.bands.get(at).copied().filter(|_| gap.heard.sites()))
}
