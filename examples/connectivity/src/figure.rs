//! A figure is a value that carries the exchanges it came from. Whoever combines figures combines these too: the fields are
//! private, and there is no way to a figure that was computed from another and forgot it.
//!
//! A figure has no default and no empty sum: what is counted starts from the register it is counted in
//! ([`crate::register::Register::nothing`]), and so rests on all of its pages, also where nothing was found.

use std::ops::{Add, AddAssign};

/// A set of exchanges, by their position in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Positions {
    /// A bit for each; the last word is never 0, so that equal sets are equal.
    words: Vec<u64>,
}

/// What a figure came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchanges {
    /// All that it rests on: if one does not hold, neither does the figure.
    all: Positions,
    /// Those of them that held the rows it was computed from: where to look first if it changed.
    rows: Positions,
}

/// A value and the exchanges that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure<T> {
    value: T,
    exchanges: Exchanges,
}

impl Positions {
    fn one(position: usize) -> Self {
        let mut words = vec![0; position / WORD_BITS + 1];
        words[position / WORD_BITS] = 1 << (position % WORD_BITS);
        Self { words }
    }

    fn merge(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (own, others) in self.words.iter_mut().zip(&other.words) {
            *own |= others;
        }
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |at: usize| (0..WORD_BITS).map(move |bit| (at, bit));
        let all = (0..self.words.len()).flat_map(bits);
        all.filter(|(at, bit)| self.words[*at] >> bit & 1 == 1).map(|(at, bit)| at * WORD_BITS + bit)
    }
}

impl Exchanges {
    /// Of one exchange that held a row.
    #[must_use]
    pub fn row(position: usize) -> Self {
        Self { all: Positions::one(position), rows: Positions::one(position) }
    }

    /// Of one exchange that might have held a row, and is rested on for that.
    #[must_use]
    pub fn page(position: usize) -> Self {
        Self { all: Positions::one(position), rows: Positions::default() }
    }

    /// Takes in what the other holds.
    pub fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.rows.merge(&other.rows);
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    /// All that is rested on.
    #[must_use]
    pub fn all(&self) -> &Positions {
        &self.all
    }

    /// Those that held rows.
    #[must_use]
    pub fn rows(&self) -> &Positions {
        &self.rows
    }
}

impl<T> Figure<T> {
    /// A value that was read in these exchanges.
    #[must_use]
    pub fn new(value: T, exchanges: Exchanges) -> Self {
        Self { value, exchanges }
    }

    /// What it says.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where it comes from.
    #[must_use]
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// Computed from this one alone.
    #[must_use]
    pub fn map<U>(&self, compute: impl FnOnce(&T) -> U) -> Figure<U> {
        Figure { value: compute(&self.value), exchanges: self.exchanges.clone() }
    }

    /// Computed from two.
    #[must_use]
    pub fn with<U, V>(&self, other: &Figure<U>, compute: impl FnOnce(&T, &U) -> V) -> Figure<V> {
        let exchanges = self.exchanges.clone().and(&other.exchanges);
        Figure { value: compute(&self.value, &other.value), exchanges }
    }

    /// The same value, which rests on these exchanges too: they decided that it was to be computed. Their rows are not its own.
    #[must_use]
    pub fn resting_on(mut self, exchanges: &Exchanges) -> Self {
        self.exchanges.all.merge(&exchanges.all);
        self
    }
}

impl<T> Figure<Vec<T>> {
    /// With the values of these figures after its own, resting on the exchanges of all.
    #[must_use]
    pub fn gather(mut self, figures: impl IntoIterator<Item = Figure<T>>) -> Self {
        for figure in figures {
            self.value.push(figure.value);
            self.exchanges.merge(&figure.exchanges);
        }
        self
    }
}

impl<T: AddAssign> AddAssign for Figure<T> {
    fn add_assign(&mut self, other: Self) {
        self.value += other.value;
        self.exchanges.merge(&other.exchanges);
    }
}

impl<T: AddAssign> Add for Figure<T> {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// A part of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// The part.
    pub part: u64,
    /// The whole; 0 if there is nothing to have a part of.
    pub whole: u64,
}

impl Share {
    /// Per thousand, to the nearest, a half up; none of nothing. For people: rules compare the shares themselves.
    #[must_use]
    pub fn per_thousand(&self) -> Option<u64> {
        let scaled = u128::from(self.part) * 1_000 + u128::from(self.whole) / 2;
        scaled.checked_div(self.whole.into())?.try_into().ok()
    }

    /// Whether it is less than the other by more than so many thousandths, exactly; a share of nothing is never less.
    #[must_use]
    pub fn is_below(&self, other: &Self, thousandths: u32) -> bool {
        let [part, whole, of, all] = [self.part, self.whole, other.part, other.whole].map(u128::from);
        let Some(less) = (of * whole).checked_sub(part * all).filter(|_| self.whole > 0 && other.whole > 0)
        else {
            return false;
        };
        // Below a whole number by any fraction is below it: rounded down, nothing is lost, and nothing is too large.
        let (scale, tolerated) = (whole * all, u128::from(thousandths));
        less > (scale / 1_000).saturating_mul(tolerated).saturating_add(scale % 1_000 * tolerated / 1_000)
    }
}

/// To the nearest whole part, a half up.
#[must_use]
pub fn rounded(number: u64, part: u64) -> u64 {
    let rest = number % part.max(1);
    number / part.max(1) + u64::from(rest >= part.max(1) - rest)
}

impl AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.part += other.part;
        self.whole += other.whole;
    }
}

const WORD_BITS: usize = u64::BITS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: u64, position: usize) -> Figure<u64> {
        Figure::new(value, Exchanges::row(position))
    }

    fn all<T>(figure: &Figure<T>) -> Vec<usize> {
        figure.exchanges().all().iter().collect()
    }

    #[test]
    fn what_is_computed_from_figures_names_the_exchanges_of_all_of_them() {
        let sum = figure(1, 3) + figure(2, 64) + figure(4, 3) + figure(8, 200);
        assert_eq!((*sum.value(), all(&sum)), (15, vec![3, 64, 200]));
        let share = figure(1, 0).with(&figure(3, 130), |part, whole| Share { part: *part, whole: *whole });
        assert_eq!(share.value().per_thousand(), Some(333));
        assert_eq!(all(&share), [0, 130]);
    }

    #[test]
    fn what_is_rested_on_for_its_silence_held_no_row() {
        let sum = Figure::new(0, Exchanges::page(7)) + figure(2, 9);
        let decided = sum.resting_on(&Exchanges::row(1));
        assert_eq!(all(&decided), [1, 7, 9]);
        assert_eq!(decided.exchanges().rows().iter().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn the_order_of_adding_changes_nothing() {
        let forwards = figure(1, 9) + figure(2, 70) + figure(3, 1);
        assert_eq!(forwards, figure(3, 1) + figure(2, 70) + figure(1, 9));
        assert_eq!(Share::default().per_thousand(), None);
    }

    #[test]
    fn a_rule_compares_shares_and_not_what_was_rounded_of_them() {
        let share = |part, whole| Share { part, whole };
        // 520.4 and 499.6 per thousand, shown as 520 and 500: 20.8 thousandths less.
        assert!(share(4_996, 10_000).is_below(&share(5_204, 10_000), 20));
        // 499.5 and 479.5, shown as 500 and 480; then 520.5 and 500.4, shown as 521 and 500.
        assert!(!share(4_795, 10_000).is_below(&share(4_995, 10_000), 20));
        assert!(share(5_004, 10_000).is_below(&share(5_205, 10_000), 20));
        assert!(!share(5_005, 10_000).is_below(&share(5_205, 10_000), 20), "20.0 is tolerated");
        assert!(!share(0, 0).is_below(&share(1, 1), 0) && !share(0, 1).is_below(&share(0, 0), 0));
        assert!(share(0, u64::MAX).is_below(&share(u64::MAX, u64::MAX), 999));
        assert!(!share(0, u64::MAX).is_below(&share(u64::MAX, u64::MAX), 1_000));
    }

    #[test]
    fn half_a_part_and_more_is_a_part() {
        assert_eq!([0, 499, 500, 999, 1_500].map(|number| rounded(number, 1_000)), [0, 0, 1, 1, 2]);
        assert_eq!((rounded(99_808_811_828, 1_000_000), rounded(u64::MAX, 1)), (99_809, u64::MAX));
    }
}
