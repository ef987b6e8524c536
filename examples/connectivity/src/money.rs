//! Money in whole guaraníes: unit costs and budgets from published programmes.

use crate::figure::{Exchanges, Figure};
use crate::receive::Accepted;
use crate::settings::{BudgetPart, CostBasis, ScenarioRule, Settings};
use crate::wire::conatel::Programme;

/// What one connection costs, in guaraníes: between two published programmes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCost {
    /// Of the cheaper programme.
    pub low: Figure<u64>,
    /// Of the dearer one.
    pub high: Figure<u64>,
}

/// Why there is no plan in money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMoney {
    /// CONATEL did not give the programme, or its row did not hold.
    #[error("programme {0} was not received: no cost, no budget")]
    NoProgramme(String),
    /// What was published does not say enough.
    #[error("programme {0} has no amount in PYG or USD, or no number of places")]
    NoAmount(String),
    /// Two programmes that are the wrong way round, or cost nothing.
    #[error("the low unit cost is nothing, or above the high one")]
    Range,
    /// More for one place than is believed.
    #[error("programme {0} costs more than {COST_MAX} guaraníes for each place")]
    TooDear(String),
}

impl UnitCost {
    /// From the programmes that the settings name.
    ///
    /// # Errors
    /// Which programme is missing, or says too little.
    pub fn of(rows: &Accepted, settings: &Settings) -> Result<Self, NoMoney> {
        let each = |id: &str| {
            let programme = programme(rows, id)?;
            let places = u64::from(programme.value().beneficiaries.unwrap_or_default());
            let amount = amount(programme, settings)?;
            // Rounded up: no place costs less than its part.
            let cost =
                amount.value().checked_add(places.saturating_sub(1)).and_then(|it| it.checked_div(places));
            let cost = cost.ok_or_else(|| NoMoney::NoAmount(id.to_owned()))?;
            if cost > COST_MAX {
                return Err(NoMoney::TooDear(id.to_owned()));
            }
            Ok(amount.map(|_| cost))
        };
        let (low, high) = (each(&settings.cost.low)?, each(&settings.cost.high)?);
        if *low.value() == 0 || low.value() > high.value() {
            return Err(NoMoney::Range);
        }
        Ok(Self { low, high })
    }

    /// With which the years are filled. The middle is the midpoint of the two: a choice, which nobody published.
    #[must_use]
    pub fn at(&self, basis: CostBasis) -> Figure<u64> {
        match basis {
            CostBasis::Low => self.low.clone(),
            CostBasis::High => self.high.clone(),
            CostBasis::Middle => self.low.with(&self.high, |low, high| low + (high - low) / 2),
        }
    }
}

/// A scenario's budget of one year, in guaraníes: parts rounded down, so that it is not above what was published.
///
/// # Errors
/// Which programme is missing, or says too little.
pub fn yearly_budget(
    rule: &ScenarioRule,
    rows: &Accepted,
    settings: &Settings,
) -> Result<Figure<u64>, NoMoney> {
    let part = |part: &BudgetPart| {
        let amount = amount(programme(rows, &part.programme)?, settings)?;
        let taken = |amount: &u64| u128::from(*amount) * u128::from(part.take) / u128::from(part.of.get());
        let taken = amount.map(|amount| u64::try_from(taken(amount)).unwrap_or(AMOUNT_MAX));
        Ok(taken.map(|amount| (*amount).min(AMOUNT_MAX)))
    };
    // A budget without parts is a choice of the settings: nothing, from nobody.
    let nothing = Figure::new(0, Exchanges::default());
    rule.parts.iter().map(part).try_fold(nothing, |sum, part| Ok(sum + part?))
}

/// A programme's amount in guaraníes; of dollars at the rate of the settings, which nobody published.
///
/// # Errors
/// The programme says too little.
pub(crate) fn amount(programme: &Figure<Programme>, settings: &Settings) -> Result<Figure<u64>, NoMoney> {
    let nothing = || NoMoney::NoAmount(programme.value().programme_id.clone());
    let money = programme.value().amount.as_ref().ok_or_else(nothing)?;
    let rate = match money.currency_code.as_str() {
        "PYG" => 1,
        "USD" => settings.exchange_rate.pyg_per_usd,
        _ => return Err(nothing()),
    };
    let units = u64::try_from(money.units).ok().and_then(|units| units.checked_mul(rate.into()));
    let units = units.filter(|units| *units <= AMOUNT_MAX).ok_or_else(nothing)?;
    Ok(programme.map(|_| units))
}

fn programme<'a>(rows: &'a Accepted, id: &str) -> Result<&'a Figure<Programme>, NoMoney> {
    rows.programmes.get(id).ok_or_else(|| NoMoney::NoProgramme(id.to_owned()))
}

/// Largest amount that is believed: a thousand times the country's yearly product. Sums over 30 years fit 64 bits.
const AMOUNT_MAX: u64 = 400_000_000_000_000_000;
/// Largest unit cost that is believed. Ten million places at this price fit 64 bits.
const COST_MAX: u64 = 1_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::conatel::Money;

    fn rows(low: i64, currency: &str) -> Accepted {
        let mut rows = Accepted::default();
        for (id, units, currency) in [("P02", low, currency), ("P01", 10, "USD"), ("P06", 700, "PYG")] {
            let amount = Some(Money { currency_code: currency.to_owned(), units });
            let row = Programme {
                programme_id: id.to_owned(),
                amount,
                beneficiaries: Some(3),
                ..Programme::default()
            };
            rows.page(vec![row], usize::from(id == "P01"));
        }
        rows
    }

    #[test]
    fn unit_costs_and_budgets_are_whole_guaranies_with_their_exchanges() {
        let (rows, settings) = (rows(1_000, "PYG"), Settings::shipped());
        let cost = UnitCost::of(&rows, &settings).unwrap();
        assert_eq!(
            (*cost.low.value(), *cost.high.value()),
            (334, 24_334),
            "rounded up; 7,300 guaraníes a dollar"
        );
        assert_eq!(cost.at(CostBasis::Middle).exchanges().all().iter().collect::<Vec<_>>(), [0, 1]);
        let budgets =
            settings.scenarios.iter().map(|rule| *yearly_budget(rule, &rows, &settings).unwrap().value());
        assert_eq!(budgets.collect::<Vec<_>>(), [500, 700, 700 + 73_000 / 7]);
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_made_up() {
        let settings = Settings::shipped();
        let none = UnitCost::of(&Accepted::default(), &settings);
        assert_eq!(none, Err(NoMoney::NoProgramme("P02".to_owned())));
        assert_eq!(UnitCost::of(&rows(5, "EUR"), &settings), Err(NoMoney::NoAmount("P02".to_owned())));
        assert_eq!(UnitCost::of(&rows(0, "PYG"), &settings), Err(NoMoney::Range));
        let dear = i64::try_from(AMOUNT_MAX).unwrap();
        assert_eq!(UnitCost::of(&rows(dear, "PYG"), &settings), Err(NoMoney::TooDear("P02".to_owned())));
    }
}
