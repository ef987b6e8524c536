//! What a map of districts shows, in numbers: districts of 2012 in the classes of a scale, for its looks and for its legend.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::Plan;
use super::land::key;
use super::page::{Html, Page};
use super::scale::{REMOTE, Scale, UNKNOWN};
use crate::figure::{Exchanges, Figure};
use crate::gap::Gap;
use crate::wire::ine::District;

/// What each boundary group holds: a district of 2012 with those that were made of it later.
#[derive(Debug)]
pub(super) struct Groups {
    /// By the key of that district.
    holds: BTreeMap<String, Gap>,
    /// Its department.
    departments: BTreeMap<String, String>,
    /// INE's pages: there could be one more group on each.
    pages: Exchanges,
}

impl Groups {
    pub(super) fn of(plan: &Plan<'_>) -> Self {
        let rows = &plan.findings.accepted;
        let (mut holds, mut departments) = (BTreeMap::new(), BTreeMap::new());
        for (code, line) in &plan.analysis.districts {
            let District { boundary_group, department_code, .. } = line.district.value();
            let nothing = || Gap::nothing(rows, rows.districts.pages());
            *holds.entry(boundary_group.clone()).or_insert_with(nothing) += line.gap.clone();
            if code == boundary_group {
                departments.insert(code.clone(), department_code.clone());
            }
        }
        Self { holds, departments, pages: rows.districts.pages().clone() }
    }

    /// The look of each by a scale.
    pub(super) fn looks(&self, scale: &Scale) -> BTreeMap<&str, &'static str> {
        let look = |gap| scale.classes[*(scale.of)(gap).value()].look;
        self.holds.iter().map(|(group, gap)| (group.as_str(), look(gap))).collect()
    }

    /// How many are in each class of a scale, in a department or in the country.
    fn classes(&self, scale: &Scale, department: Option<&str>) -> Vec<Figure<u64>> {
        let is_inside = |group: &str| {
            department.is_none_or(|code| self.departments.get(group).is_some_and(|own| own == code))
        };
        let inside = self.holds.iter().filter(|(group, _)| is_inside(group));
        let nothing = Figure::new(Vec::new(), self.pages.clone());
        let classes: Figure<Vec<usize>> = nothing.gather(inside.map(|(_, gap)| (scale.of)(gap)));
        let count = |at| classes.map(|all| all.iter().filter(|it| **it == at).count() as u64);
        (0..scale.classes.len()).map(count).collect()
    }
}

/// How many districts of 2012 are in each class of a map.
#[derive(Debug)]
pub(in crate::report) struct Legend {
    pub(in crate::report) map: &'static str,
    /// None: the map of the country.
    pub(in crate::report) department: Option<String>,
    pub(in crate::report) classes: Vec<(&'static str, Figure<u64>)>,
}

/// Of all maps.
pub(in crate::report) fn legends(plan: &Plan<'_>) -> Vec<Legend> {
    let groups = Groups::of(plan);
    let legend = |scale: &'static Scale, department: Option<&str>| {
        let names = scale.classes.iter().map(|class| class.name);
        let classes = names.zip(groups.classes(scale, department)).collect();
        Legend { map: scale.id, department: department.map(str::to_owned), classes }
    };
    let country = [&REMOTE, &UNKNOWN].map(|scale| legend(scale, None));
    let departments = plan.analysis.departments.keys().map(|code| legend(&REMOTE, Some(code)));
    country.into_iter().chain(departments).collect()
}

/// What the looks mean, and how many districts of 2012 have each.
pub(super) fn legend(page: &mut Page<'_>, groups: &Groups, scale: &Scale, department: Option<&str>) {
    let mut out = String::from("<ul class=\"legend\">");
    for (class, count) in scale.classes.iter().zip(groups.classes(scale, department)) {
        if *count.value() == 0 {
            continue;
        }
        let _ = write!(
            out,
            "<li>{}<span>{} ({})</span></li>",
            key(class.look),
            Html::text(page.say(class.words)),
            page.number(&count)
        );
    }
    out.push_str("</ul>");
    page.add_markup(&out);
}
