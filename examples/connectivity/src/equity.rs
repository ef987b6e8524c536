//! Equity: what rural and remote places, girls and women get of each year's money and beneficiaries, against their share of
//! what was not yet connected when the year began. A finding in words where they fall behind.
//!
//! Where it is not known whether a site is rural, or remote, it counts on neither side of that comparison: not in the share,
//! not in the need.

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
    /// Of the money that all that was left to connect would take.
    pub money_need: Figure<Share>,
    /// Of the year's beneficiaries.
    pub beneficiaries: Figure<Share>,
    /// Of all who were still in need.
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
        /// How much less of the money, per thousand, as the shares are shown.
        money: u64,
        /// How much less of the beneficiaries, per thousand, as the shares are shown.
        beneficiaries: u64,
    },
    /// All of the group was connected in the years before.
    NothingLeft,
    /// Nothing is connected that it could have a share of.
    NothingToShare,
}

impl Equity {
    /// All groups in a year.
    #[must_use]
    pub fn of(year: &Year) -> [Self; 4] {
        Group::ALL.map(|group| Self {
            group,
            money: year.reach.map(|reach| group.money(reach)),
            money_need: year.remaining.map(|left| group.money(left)),
            beneficiaries: year.reach.map(|reach| group.beneficiaries(reach)),
            beneficiaries_need: year.remaining.map(|left| group.beneficiaries(left)),
        })
    }

    /// By the rule.
    #[must_use]
    pub fn standing(&self, rule: &EquityRule) -> Figure<Standing> {
        let money = self.money.with(&self.money_need, |share, need| (*share, *need));
        let beneficiaries = self.beneficiaries.with(&self.beneficiaries_need, |share, need| (*share, *need));
        let tolerance = rule.tolerance_per_thousand;
        money.with(&beneficiaries, |money, beneficiaries| {
            let both = [money, beneficiaries];
            if both.iter().all(|(_, need)| need.part == 0) {
                Standing::NothingLeft
            } else if both.iter().all(|(share, _)| share.whole == 0) {
                Standing::NothingToShare
            } else if both.iter().any(|(share, need)| share.is_below(need, tolerance)) {
                let [money, beneficiaries] = both.map(|(share, need)| shown_less(share, need));
                Standing::Behind { money, beneficiaries }
            } else {
                Standing::KeepsUp
            }
        })
    }
}

/// Of the shares as they are shown: whoever subtracts them gets the same.
fn shown_less(share: &Share, need: &Share) -> u64 {
    let both = need.per_thousand().zip(share.per_thousand());
    both.map_or(0, |(need, share)| need.saturating_sub(share))
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
            Self::Rural => (reach.money_rural, reach.money_zone_known),
            Self::Remote => (reach.money_remote, reach.money_remoteness_known),
            Self::Girls => (reach.money_girls, reach.money_schools),
            Self::Women => (reach.money_women, reach.money_health),
        };
        Share { part, whole }
    }

    fn beneficiaries(self, reach: &Reach) -> Share {
        let (part, whole) = match self {
            Self::Rural => (reach.rural_pupils, reach.zone_known_pupils),
            Self::Remote => (reach.remote_pupils, reach.remoteness_known_pupils),
            Self::Girls => (reach.girls, reach.boys + reach.girls),
            Self::Women => (reach.women, reach.men + reach.women),
        };
        Share { part, whole }
    }
}

impl Standing {
    /// In Spanish; none if there is nothing to say.
    #[must_use]
    pub fn en_palabras(&self, group: Group, year: u16) -> Option<String> {
        let (money, beneficiaries) = match self {
            Self::Behind { money, beneficiaries } => (money, beneficiaries),
            Self::NothingLeft => {
                let whom = match group {
                    Group::Rural => "ningún lugar rural",
                    Group::Remote => "ningún lugar remoto",
                    Group::Girls => "ninguna escuela con niñas",
                    Group::Women => "ningún establecimiento de salud con mujeres alrededor",
                };
                return Some(format!("En {year} ya no quedaba {whom} por conectar."));
            }
            Self::KeepsUp | Self::NothingToShare => return None,
        };
        let who = match group {
            Group::Rural => "las zonas rurales reciben",
            Group::Remote => "los lugares remotos reciben",
            Group::Girls => "las niñas reciben",
            Group::Women => "las mujeres reciben",
        };
        Some(format!(
            "En {year}, {who} menos que su parte de lo que faltaba conectar: {money} por mil menos del dinero, {beneficiaries} por \
             mil menos de los beneficiarios."
        ))
    }

    /// In English; none if there is nothing to say.
    #[must_use]
    pub fn in_words(&self, group: Group, year: u16) -> Option<String> {
        let (money, beneficiaries) = match self {
            Self::Behind { money, beneficiaries } => (money, beneficiaries),
            Self::NothingLeft => {
                let whom = match group {
                    Group::Rural => "no rural place",
                    Group::Remote => "no remote place",
                    Group::Girls => "no school with girls",
                    Group::Women => "no health facility with women around",
                };
                return Some(format!("In {year} {whom} was left to connect."));
            }
            Self::KeepsUp | Self::NothingToShare => return None,
        };
        let who = match group {
            Group::Rural => "rural places get",
            Group::Remote => "remote places get",
            Group::Girls => "girls get",
            Group::Women => "women get",
        };
        Some(format!(
            "In {year}, {who} less than their share of what was left to connect: {money} per thousand less of the money, \
             {beneficiaries} per thousand less of the beneficiaries."
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: EquityRule = EquityRule { tolerance_per_thousand: 20 };

    fn year(reach: Reach, remaining: Reach) -> Year {
        let money_if = {
            use crate::settings::CostBasis::{High, Low};
            [Low, High].map(|basis| (basis, Figure::new(0, Default::default())))
        };
        let [reach, remaining] = [reach, remaining].map(|it| Figure::new(it, Default::default()));
        Year { year: 2025, remaining, reach, money_if }
    }

    fn standing(group: Group, got: Reach, left: Reach) -> Standing {
        let all = Equity::of(&year(got, left));
        *all.iter().find(|it| it.group == group).unwrap().standing(&RULE).value()
    }

    #[test]
    fn a_group_below_its_share_of_the_need_is_named_in_words() {
        let left = Reach { boys: 50, girls: 50, money_schools: 100, money_girls: 50, ..Reach::default() };
        let got = Reach { boys: 60, girls: 40, money_schools: 10, money_girls: 5, ..Reach::default() };
        let behind = standing(Group::Girls, got, left);
        assert_eq!(behind, Standing::Behind { money: 0, beneficiaries: 100 });
        assert!(behind.in_words(Group::Girls, 2025).unwrap().contains("girls get less"));
        let fewer = Reach { boys: 51, girls: 49, ..got };
        assert_eq!(standing(Group::Girls, fewer, left), Standing::KeepsUp, "10 per thousand are tolerated");
        let women = Reach { men: 1, women: 1, money_health: 2, money_women: 1, ..left };
        assert_eq!(standing(Group::Women, got, women), Standing::NothingToShare);
    }

    #[test]
    fn who_was_connected_in_the_years_before_is_not_behind() {
        let left = Reach { money_remoteness_known: 70, remoteness_known_pupils: 9, ..Reach::default() };
        let got = Reach { money_remoteness_known: 30, remoteness_known_pupils: 4, ..Reach::default() };
        let connected = standing(Group::Remote, got, left);
        assert_eq!(connected, Standing::NothingLeft);
        assert_eq!(
            connected.in_words(Group::Remote, 2030).unwrap(),
            "In 2030 no remote place was left to connect."
        );
        let one = Reach { money_remote: 10, remote_pupils: 1, ..left };
        assert_eq!(
            standing(Group::Remote, got, one),
            Standing::Behind { money: 143, beneficiaries: 111 },
            "one was left"
        );
    }

    #[test]
    fn what_is_not_known_counts_on_neither_side_for_rural_and_remote_alike() {
        let site = |known: u64, of_group: u64| Reach {
            money: 100,
            boys: 100,
            money_zone_known: known,
            zone_known_pupils: known,
            money_rural: of_group,
            rural_pupils: of_group,
            money_remoteness_known: known,
            remoteness_known_pupils: known,
            money_remote: of_group,
            remote_pupils: of_group,
            ..Reach::default()
        };
        for group in [Group::Rural, Group::Remote] {
            assert_eq!(standing(group, site(10, 5), site(100, 50)), Standing::KeepsUp, "{group:?}");
            assert_eq!(standing(group, site(0, 0), site(100, 50)), Standing::NothingToShare, "{group:?}");
        }
    }
}
