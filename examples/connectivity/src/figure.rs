//! A figure is a value that carries the exchanges it came from. Whoever combines figures combines these too: the fields are
//! private, and there is no way to a figure that was computed from another and forgot it.
//!
//! What an absence rests on (no more sites in a district) is every page of that agency; a figure names the pages that
//! held its rows.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// A set of exchanges, by their position in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Exchanges {
    /// A bit for each; the last word is never 0, so that equal sets are equal.
    words: Vec<u64>,
}

/// A value and the exchanges that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figure<T> {
    value: T,
    exchanges: Exchanges,
}

impl Exchanges {
    /// Of one exchange.
    #[must_use]
    pub fn one(position: usize) -> Self {
        let mut words = vec![0; position / WORD_BITS + 1];
        words[position / WORD_BITS] = 1 << (position % WORD_BITS);
        Self { words }
    }

    /// Takes in what the other holds.
    pub fn merge(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (own, others) in self.words.iter_mut().zip(&other.words) {
            *own |= others;
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.merge(other);
        self
    }

    /// Positions, ascending.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        let bits = |at: usize| (0..WORD_BITS).map(move |bit| (at, bit));
        let all = (0..self.words.len()).flat_map(bits);
        all.filter(|(at, bit)| self.words[*at] >> bit & 1 == 1).map(|(at, bit)| at * WORD_BITS + bit)
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

    /// The same value, which rests on these exchanges too: they decided that it was to be computed.
    #[must_use]
    pub fn resting_on(mut self, exchanges: &Exchanges) -> Self {
        self.exchanges.merge(exchanges);
        self
    }
}

impl<T> Figure<Vec<T>> {
    /// All values of figures in one, resting on the exchanges of all.
    pub fn collect(figures: impl IntoIterator<Item = Figure<T>>) -> Self {
        let mut all = Self { value: Vec::new(), exchanges: Exchanges::default() };
        for figure in figures {
            all.value.push(figure.value);
            all.exchanges.merge(&figure.exchanges);
        }
        all
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

impl<T: AddAssign + Default> Sum for Figure<T> {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), Add::add)
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
    /// Per thousand, rounded to the nearest; none of nothing.
    #[must_use]
    pub fn per_thousand(&self) -> Option<u64> {
        let scaled = u128::from(self.part) * 1_000 + u128::from(self.whole) / 2;
        scaled.checked_div(self.whole.into())?.try_into().ok()
    }
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
        Figure::new(value, Exchanges::one(position))
    }

    #[test]
    fn what_is_computed_from_figures_names_the_exchanges_of_all_of_them() {
        let sum: Figure<u64> = [figure(1, 3), figure(2, 64), figure(4, 3), figure(8, 200)].into_iter().sum();
        assert_eq!(*sum.value(), 15);
        assert_eq!(sum.exchanges().positions().collect::<Vec<_>>(), [3, 64, 200]);
        let share = figure(1, 0).with(&figure(3, 130), |part, whole| Share { part: *part, whole: *whole });
        assert_eq!(share.value().per_thousand(), Some(333));
        assert_eq!(share.exchanges().positions().collect::<Vec<_>>(), [0, 130]);
    }

    #[test]
    fn the_order_of_adding_changes_nothing() {
        let figures = [figure(1, 9), figure(2, 70), figure(3, 1)];
        let forwards: Figure<u64> = figures.iter().cloned().sum();
        assert_eq!(forwards, figures.into_iter().rev().sum());
        assert_eq!(Share::default().per_thousand(), None);
    }
}
