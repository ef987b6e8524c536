//! Equity: what rural and remote places, girls and women get of each year's money and beneficiaries, against their share of
//! the need. A finding in words where they fall behind.

use crate::figure::{Figure, Share};
use crate::roadmap::{Reach, Year};
use crate::settings::EquityRule;

/// A group in a year.
#[derive(Debug, Clone, PartialEq)]
pub struct Equity {
    /// Who.
    pub group: Group,
    /// Of the year's money for such places.
    pub money: Figure<Share>,
    /// Of the money that all of the need would take.
    pub money_need: Figure<Share>,
    /// Of the year's beneficiaries.
    pub beneficiaries: Figure<Share>,
    /// Of all who are in need.
    pub beneficiaries_need: Figure<Share>,
}

/// Whose share is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Places in the country; pupils there.
    Rural,
    /// Remote places; pupils there.
    Remote,
    /// Among the pupils of the schools.
    Girls,
    /// Among the residents around the health facilities.
    Women,
}

/// Whether a group keeps up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its share is not below its share of the need, but for the tolerance.
    KeepsUp,
    /// Below it in money, beneficiaries or both.
    Behind {
        /// How much less of the money, per thousand.
        money: u64,
        /// How much less of the beneficiaries, per thousand.
        beneficiaries: u64,
    },
    /// Nothing is connected that it could have a share of.
    NothingToShare,
}

impl Equity {
    /// All groups in a year.
    #[must_use]
    pub fn of(year: &Year, need: &Figure<Reach>) -> [Self; 4] {
        Group::ALL.map(|group| Self {
            group,
            money: year.reach.map(|reach| group.money(reach)),
            money_need: need.map(|reach| group.money(reach)),
            beneficiaries: year.reach.map(|reach| group.beneficiaries(reach)),
            beneficiaries_need: need.map(|reach| group.beneficiaries(reach)),
        })
    }

    /// By the rule.
    #[must_use]
    pub fn standing(&self, rule: &EquityRule) -> Figure<Standing> {
        let behind =
            |share: &Share, need: &Share| Some(need.per_thousand()?.saturating_sub(share.per_thousand()?));
        let money = self.money.with(&self.money_need, behind);
        let beneficiaries = self.beneficiaries.with(&self.beneficiaries_need, behind);
        let tolerance = u64::from(rule.tolerance_per_thousand);
        money.with(&beneficiaries, |money, beneficiaries| {
            let (money, beneficiaries) = match (money, beneficiaries) {
                (None, None) => return Standing::NothingToShare,
                (money, beneficiaries) => (money.unwrap_or_default(), beneficiaries.unwrap_or_default()),
            };
            if money <= tolerance && beneficiaries <= tolerance {
                Standing::KeepsUp
            } else {
                Standing::Behind { money, beneficiaries }
            }
        })
    }
}

impl Group {
    /// In the order of the report.
    pub const ALL: [Self; 4] = [Self::Rural, Self::Remote, Self::Girls, Self::Women];

    /// In files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rural => "rural",
            Self::Remote => "remote",
            Self::Girls => "girls",
            Self::Women => "women",
        }
    }

    fn money(self, reach: &Reach) -> Share {
        let (part, whole) = match self {
            Self::Rural => (reach.money_rural, reach.money_schools),
            Self::Remote => (reach.money_remote, reach.money),
            Self::Girls => (reach.money_girls, reach.money_schools),
            Self::Women => (reach.money_women, reach.money_health),
        };
        Share { part, whole }
    }

    fn beneficiaries(self, reach: &Reach) -> Share {
        let pupils = reach.boys + reach.girls;
        let (part, whole) = match self {
            Self::Rural => (reach.rural_pupils, pupils),
            Self::Remote => (reach.remote_pupils, pupils),
            Self::Girls => (reach.girls, pupils),
            Self::Women => (reach.women, reach.men + reach.women),
        };
        Share { part, whole }
    }
}

impl Standing {
    /// In Spanish; none if there is nothing to say.
    #[must_use]
    pub fn en_palabras(&self, group: Group, year: u16) -> Option<String> {
        let Self::Behind { money, beneficiaries } = self else { return None };
        let who = match group {
            Group::Rural => "las zonas rurales reciben",
            Group::Remote => "los lugares remotos reciben",
            Group::Girls => "las niñas reciben",
            Group::Women => "las mujeres reciben",
        };
        Some(format!(
            "En {year}, {who} menos que su parte de la necesidad: {money} por mil menos del dinero, {beneficiaries} por mil \
             menos de los beneficiarios."
        ))
    }

    /// In English; none if there is nothing to say.
    #[must_use]
    pub fn in_words(&self, group: Group, year: u16) -> Option<String> {
        let Self::Behind { money, beneficiaries } = self else { return None };
        let who = match group {
            Group::Rural => "rural places get",
            Group::Remote => "remote places get",
            Group::Girls => "girls get",
            Group::Women => "women get",
        };
        Some(format!(
            "In {year}, {who} less than their share of the need: {money} per thousand less of the money, {beneficiaries} per \
             thousand less of the beneficiaries."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn year(reach: Reach) -> Year {
        let none = || Figure::default();
        use crate::settings::CostBasis::{High, Low};
        Year {
            year: 2025,
            reach: Figure::new(reach, Default::default()),
            money_if: [(Low, none()), (High, none())],
        }
    }

    #[test]
    fn a_group_below_its_share_of_the_need_is_named_in_words() {
        let need = Reach { boys: 50, girls: 50, money_schools: 100, money_girls: 50, ..Reach::default() };
        let got = Reach { boys: 60, girls: 40, money_schools: 10, money_girls: 5, ..Reach::default() };
        let all = Equity::of(&year(got), &Figure::new(need, Default::default()));
        let rule = EquityRule { tolerance_per_thousand: 20 };
        let girls = &all[2];
        assert_eq!(*girls.standing(&rule).value(), Standing::Behind { money: 0, beneficiaries: 100 });
        assert!(
            girls.standing(&rule).value().in_words(girls.group, 2025).unwrap().contains("girls get less")
        );
        assert_eq!(*girls.standing(&EquityRule { tolerance_per_thousand: 100 }).value(), Standing::KeepsUp);
        assert_eq!(*all[3].standing(&rule).value(), Standing::NothingToShare);
    }
}
