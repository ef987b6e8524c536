//! Where figures come from, in `roadmap.json`: each is `{"value": …, "from": n, "rows": m}`. `provenance[n]` lists all exchanges
//! that it rests on, `provenance[m]` those of them that held its rows; a count of nothing has none of these.
//! Who finds that an exchange does not hold, asks which figures fall with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::figure::{Figure, Positions};
use crate::planner::Source;

/// Sets of exchanges as they are used, each once.
#[derive(Debug, Default)]
pub(super) struct Provenance {
    numbers: BTreeMap<Positions, usize>,
    sets: Vec<Positions>,
}

impl Provenance {
    /// A figure as it stands in the file.
    pub(super) fn write<T>(&mut self, figure: &Figure<T>, value: impl FnOnce(&T) -> Value) -> Value {
        let exchanges = figure.exchanges();
        let (from, rows) = (self.number(exchanges.all()), self.number(exchanges.rows()));
        json!({ "value": value(figure.value()), "from": from, "rows": rows })
    }

    /// The number of a set: the same in the file and on the pages.
    pub(super) fn number(&mut self, set: &Positions) -> usize {
        let next = self.sets.len();
        let number = *self.numbers.entry(set.clone()).or_insert(next);
        if number == next {
            self.sets.push(set.clone());
        }
        number
    }

    /// All sets so far, by number.
    pub(super) fn sets(&self) -> &[Positions] {
        &self.sets
    }

    /// The index: exchange ids of each set.
    pub(super) fn index(&self, exchanges: &[Source]) -> Value {
        let id = |position| exchanges.get(position).map(|source: &Source| source.exchange.as_str());
        let ids = |set: &Positions| set.iter().filter_map(id).collect::<Vec<_>>();
        self.sets.iter().map(ids).collect::<Vec<_>>().into()
    }
}

/// A figure that rests on an exchange that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallen {
    /// Where it stands in the file. (JSON pointer, RFC 6901)
    pub figure: String,
    /// Exchanges that do not hold.
    pub exchanges: Vec<String>,
}

/// The file is none that the planner wrote.
#[derive(Debug, thiserror::Error)]
pub enum NotARoadmap {
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It has no index of exchanges, or a figure names a set that the index does not have.
    #[error("{0}: its exchanges are not in the file's index")]
    Index(String),
    /// It has no figure there.
    #[error("{0}: no figure stands there")]
    NoFigure(String),
}

/// A figure of the file, and the exchanges that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cited {
    /// What it says.
    pub value: Value,
    /// Ids of all exchanges that it rests on.
    pub exchanges: Vec<String>,
    /// Ids of those that held its rows.
    pub rows: Vec<String>,
}

/// All figures of a `roadmap.json`, by place. (JSON pointers, RFC 6901)
///
/// # Errors
/// The file is no roadmap.
pub fn figures(roadmap: &str) -> Result<BTreeMap<String, Cited>, NotARoadmap> {
    let file: Value = serde_json::from_str(roadmap)?;
    let sets = sets(&file)?;
    let mut figures = BTreeMap::new();
    walk(&file, &mut String::new(), &mut |place, value, numbers| {
        let set = |number: Option<usize>| number.and_then(|it| sets.get(it)).cloned();
        let [exchanges, rows] =
            numbers.map(|number| set(number).ok_or_else(|| NotARoadmap::Index(place.to_owned())));
        figures.insert(place.to_owned(), Cited { value: value.clone(), exchanges: exchanges?, rows: rows? });
        Ok(())
    })?;
    Ok(figures)
}

/// The figures of a `roadmap.json` that do not stand, given which exchanges hold: all that cite another one.
///
/// # Errors
/// The file is no roadmap.
pub fn fallen(roadmap: &str, holding: &BTreeSet<String>) -> Result<Vec<Fallen>, NotARoadmap> {
    let all = figures(roadmap)?.into_iter().filter_map(|(figure, cited)| {
        let exchanges: Vec<_> = cited.exchanges.into_iter().filter(|id| !holding.contains(id)).collect();
        (!exchanges.is_empty()).then_some(Fallen { figure, exchanges })
    });
    Ok(all.collect())
}

/// The figure of a `roadmap.json` at this place. (JSON pointer, RFC 6901)
///
/// # Errors
/// The file is no roadmap, or has no figure there.
pub fn cited(roadmap: &str, place: &str) -> Result<Cited, NotARoadmap> {
    figures(roadmap)?.remove(place).ok_or_else(|| NotARoadmap::NoFigure(place.to_owned()))
}

fn sets(file: &Value) -> Result<Vec<Vec<String>>, NotARoadmap> {
    let set = |set: &Value| set.as_array()?.iter().map(|id| id.as_str().map(str::to_owned)).collect();
    let sets = file.get("provenance").and_then(Value::as_array);
    let sets = sets.and_then(|sets| sets.iter().map(set).collect());
    sets.ok_or_else(|| NotARoadmap::Index("/provenance".to_owned()))
}

/// Shows each figure: its place, its value, and the numbers of its sets: all exchanges, and those that held rows. serde_json
/// bounds how deep a file can nest.
fn walk(
    value: &Value,
    place: &mut String,
    show: &mut impl FnMut(&str, &Value, [Option<usize>; 2]) -> Result<(), NotARoadmap>,
) -> Result<(), NotARoadmap> {
    let length = place.len();
    let mut each = |key: &str, inner: &Value| {
        place.push('/');
        place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        let walked = walk(inner, place, show);
        place.truncate(length);
        walked
    };
    match value {
        Value::Object(fields) => match (fields.get("from"), fields.get("value")) {
            (Some(from), Some(value)) => {
                let number = |it: Option<&Value>| it?.as_u64().and_then(|it| usize::try_from(it).ok());
                show(place, value, [number(Some(from)), number(fields.get("rows"))])
            }
            _ => fields.iter().try_for_each(|(key, inner)| each(key, inner)),
        },
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(at, inner)| each(&at.to_string(), inner))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Exchanges;

    #[test]
    fn the_figures_of_an_exchange_that_does_not_hold_fall_and_no_others() {
        let source =
            |id: &str| Source { exchange: id.to_owned(), service: "s", method: "m", rows: 1, earlier: None };
        let mut provenance = Provenance::default();
        let one = Figure::new(5, Exchanges::row(0));
        let both = one.with(&Figure::new(7, Exchanges::page(1)), |one, other| one + other);
        let figures = json!({
            "a": provenance.write(&one, |it| json!(it)),
            "b/c": [provenance.write(&both, |it| json!(it)), provenance.write(&one, |it| json!(it))],
        });
        let index = provenance.index(&[source("aa"), source("bb")]);
        assert_eq!(index, json!([["aa"], ["aa", "bb"]]));
        let file = json!({ "figures": figures, "provenance": index }).to_string();
        let holding = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(fallen(&file, &holding(&["aa", "bb"])).unwrap(), []);
        let found = fallen(&file, &holding(&["aa"])).unwrap();
        assert_eq!(
            found,
            [Fallen { figure: "/figures/b~1c/0".to_owned(), exchanges: vec!["bb".to_owned()] }]
        );
        assert_eq!(fallen(&file, &holding(&["bb"])).unwrap().len(), 3);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let expected = Cited { value: json!(12), exchanges: ids(&["aa", "bb"]), rows: ids(&["aa"]) };
        assert_eq!(cited(&file, "/figures/b~1c/0").unwrap(), expected);
        assert!(matches!(cited(&file, "/figures/b"), Err(NotARoadmap::NoFigure(_))));
    }

    #[test]
    fn a_figure_without_a_set_is_refused() {
        let file = json!({ "a": { "value": 1, "from": 3, "rows": 0 }, "provenance": [[]] }).to_string();
        assert!(matches!(fallen(&file, &BTreeSet::new()), Err(NotARoadmap::Index(at)) if at == "/a"));
        assert!(fallen("{}", &BTreeSet::new()).is_err());
    }
}
