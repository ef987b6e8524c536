//! Which site in which year: greedy by priority for each guaraní, with a bound on what any plan could reach.
//!
//! The aim is the sum of priorities of the connected sites, over all years' ends: who is connected early counts longer. What a
//! year leaves unspent goes to the next. Sites are taken in the order of priority for each guaraní, ties by kind and code; one
//! that no longer fits is passed over for this year.
//!
//! **The bound.** By the end of year *t* any plan has spent at most the budgets of the years up to *t*. The best that so much
//! can buy is at most what it buys if the last site may be cut in pieces (the linear relaxation of the knapsack; Dantzig 1957):
//! sites in that same order, the last in part. The sum of these over the years is above every plan's aim, since a plan is one
//! choice for each year, and each is bounded for itself. If all sites cost the same, the greedy order reaches in every year the
//! whole part of that sum: it is then the best plan there is, but for the rest that buys no whole site.

use std::cmp::Ordering;

/// What can be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The higher, the earlier.
    pub score: u64,
    /// In guaraníes, at least 1.
    pub cost: u64,
}

/// A plan and its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Of each item the year, from 0; none if the money does not reach.
    pub years: Vec<Option<usize>>,
    /// Sum over the years' ends of the scores of what is connected.
    pub reached: u128,
    /// No plan reaches more.
    pub bound: u128,
}

impl Assignment {
    /// Assigns items, in this order where all else is equal, to so many years of so much.
    #[must_use]
    pub fn greedy(items: &[Item], yearly: u64, years: usize) -> Self {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|a, b| by_worth(&items[*a], &items[*b]).then(a.cmp(b)));
        let mut assigned = vec![None; items.len()];
        let (mut left, mut connected, mut reached, mut bound) = (0_u64, 0_u128, 0, 0);
        for year in 0..years {
            left = left.saturating_add(yearly);
            for at in &order {
                let item = items[*at];
                if assigned[*at].is_none() && item.cost <= left {
                    left -= item.cost;
                    connected += u128::from(item.score);
                    assigned[*at] = Some(year);
                }
            }
            reached += connected;
            bound += relaxed(items, &order, u128::from(yearly) * (year as u128 + 1));
        }
        Self { years: assigned, reached, bound }
    }

    /// How far at most the best plan is above this one, per million of the bound, rounded up.
    #[must_use]
    pub fn gap_per_million(&self) -> u128 {
        let gap = self.bound.saturating_sub(self.reached) * 1_000_000;
        gap.checked_add(self.bound.saturating_sub(1))
            .and_then(|it| it.checked_div(self.bound))
            .unwrap_or_default()
    }
}

/// More score for each guaraní first. Free items would be first of all.
fn by_worth(a: &Item, b: &Item) -> Ordering {
    let (ours, theirs) = (u128::from(a.score) * u128::from(b.cost), u128::from(b.score) * u128::from(a.cost));
    theirs.cmp(&ours)
}

/// What so much money buys if the last item may be cut, rounded up.
fn relaxed(items: &[Item], order: &[usize], money: u128) -> u128 {
    let (mut left, mut bought) = (money, 0);
    for at in order {
        let Item { score, cost } = items[*at];
        let (score, cost) = (u128::from(score), u128::from(cost));
        if cost > left {
            return bought + (score * left).div_ceil(cost.max(1));
        }
        left -= cost;
        bought += score;
    }
    bought
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(of: &[(u64, u64)]) -> Vec<Item> {
        of.iter().map(|(score, cost)| Item { score: *score, cost: *cost }).collect()
    }

    #[test]
    fn higher_priority_comes_earlier_and_unspent_money_is_kept() {
        let plan = Assignment::greedy(&items(&[(5, 10), (9, 10), (7, 10), (1, 10)]), 15, 2);
        assert_eq!(plan.years, [Some(1), Some(0), Some(1), None], "15, then 5 + 15");
        assert_eq!(plan.reached, 9 + (9 + 7 + 5));
        assert_eq!(plan.bound, (9 + 4) + (9 + 7 + 5), "7 / 2 rounded up");
    }

    #[test]
    fn equal_items_keep_their_order_and_nothing_is_bought_for_nothing() {
        let plan = Assignment::greedy(&items(&[(3, 4), (3, 4), (3, 4)]), 4, 2);
        assert_eq!(plan.years, [Some(0), Some(1), None]);
        assert_eq!(plan.gap_per_million(), 0);
        assert_eq!(Assignment::greedy(&items(&[(3, 4)]), 0, 7).years, [None]);
        assert_eq!(Assignment::greedy(&[], 4, 2).gap_per_million(), 0);
    }

    /// Against every plan that there is, for all mixes of a few scores and costs.
    #[test]
    fn no_plan_beats_the_bound_and_with_equal_costs_none_beats_the_greedy_one() {
        let choices = [(1, 1), (2, 1), (3, 2), (5, 3), (4, 4)];
        for seed in 0..choices.len().pow(4) {
            let pick = |at: u32| choices[seed / choices.len().pow(at) % choices.len()];
            let mixed = items(&[pick(0), pick(1), pick(2), pick(3)]);
            let plan = Assignment::greedy(&mixed, 3, 2);
            let best = best(&mixed, 3, 2);
            assert!(plan.reached <= best && best <= plan.bound, "{mixed:?}: {plan:?}, best {best}");
            let equal: Vec<_> = mixed.iter().map(|item| Item { cost: 2, ..*item }).collect();
            assert_eq!(Assignment::greedy(&equal, 3, 2).reached, self::best(&equal, 3, 2), "{equal:?}");
        }
    }

    fn best(items: &[Item], yearly: u64, years: usize) -> u128 {
        let mut best = 0;
        for plan in 0..(years + 1).pow(items.len().try_into().unwrap()) {
            let year = |at: usize| plan / (years + 1).pow(at.try_into().unwrap()) % (years + 1);
            let until = |end: usize, of: fn(&Item) -> u64| {
                (0..items.len()).filter(|at| year(*at) <= end).map(|at| of(&items[at])).sum::<u64>()
            };
            let affordable = (0..years).all(|end| until(end, |it| it.cost) <= yearly * (end as u64 + 1));
            if affordable {
                best = best.max((0..years).map(|end| u128::from(until(end, |it| it.score))).sum());
            }
        }
        best
    }
}
