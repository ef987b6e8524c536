//! A register as an agency gave it, page by page. A row rests on the page that held it. What is counted in the register rests on
//! every page, also where nothing was found: one more row could have stood on any of them.

use std::collections::BTreeMap;

use crate::figure::{Exchanges, Figure};

/// Rows by code, and all pages that could have held one.
#[derive(Debug, Clone, PartialEq)]
pub struct Register<T> {
    /// In the order of coming.
    rows: Vec<Figure<T>>,
    positions: BTreeMap<String, usize>,
    pages: Exchanges,
}

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), positions: BTreeMap::new(), pages: Exchanges::default() }
    }
}

impl<T> Register<T> {
    /// A page came in this exchange, with rows or without.
    pub(crate) fn came(&mut self, exchange: usize) {
        self.pages.merge(&Exchanges::page(exchange));
    }

    /// A row that holds. A second one with its code changes nothing.
    pub(crate) fn insert(&mut self, code: String, row: T, exchange: usize) {
        self.came(exchange);
        let next = self.rows.len();
        if *self.positions.entry(code).or_insert(next) == next {
            self.rows.push(Figure::new(row, Exchanges::row(exchange)));
        }
    }

    /// What every count and every list begins with: nothing yet, resting on all pages.
    #[must_use]
    pub fn nothing<U: Default>(&self) -> Figure<U> {
        Figure::new(U::default(), self.pages.clone())
    }

    /// All pages.
    #[must_use]
    pub fn pages(&self) -> &Exchanges {
        &self.pages
    }

    /// The row of a code.
    #[must_use]
    pub fn get(&self, code: &str) -> Option<&Figure<T>> {
        self.rows.get(*self.positions.get(code)?)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Codes and rows, by code.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Figure<T>)> {
        self.positions.iter().filter_map(|(code, at)| Some((code.as_str(), self.rows.get(*at)?)))
    }

    /// Rows by code.
    pub fn values(&self) -> impl Iterator<Item = &Figure<T>> {
        self.iter().map(|(_, row)| row)
    }

    /// Rows in the order of coming.
    pub fn in_order(&self) -> impl Iterator<Item = &Figure<T>> {
        self.rows.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_rests_on_all_pages_and_a_row_on_its_own() {
        let mut register = Register::default();
        register.insert("b".to_owned(), 2_u64, 0);
        register.insert("a".to_owned(), 1, 3);
        register.insert("b".to_owned(), 9, 3);
        register.came(4);
        let all = |figure: &Figure<u64>| figure.exchanges().all().iter().collect::<Vec<_>>();
        assert_eq!(register.values().map(|row| *row.value()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(register.in_order().map(|row| *row.value()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(register.get("a").map(all), Some(vec![3]));
        let some = register.nothing() + register.get("a").unwrap().clone();
        assert_eq!((*some.value(), all(&some)), (1, vec![0, 3, 4]));
        assert_eq!(some.exchanges().rows().iter().collect::<Vec<_>>(), [3]);
        assert_eq!(all(&register.nothing()), [0, 3, 4]);
    }
}
