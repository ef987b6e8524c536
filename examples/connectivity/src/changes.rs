//! What changed from one run to the next: which rows, which figures, and which exchange is the reason.
//!
//! A figure is compared by its place in `roadmap.json`. The reason for its change are the changed rows of the exchanges that
//! held its rows, then or now; only if none of these changed, those of all exchanges that it rests on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::figure::Figure;
use crate::planner::{Findings, Source};
use crate::receive::Row;
use crate::register::Register;
use crate::report::{Cited, NotARoadmap, figures};

/// A run: what was found, and what its report says.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What was found.
    pub findings: &'a Findings,
    /// Its `roadmap.json`.
    pub roadmap: &'a str,
}

/// What is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Rows, by kind and code.
    pub rows: Vec<RowChange>,
    /// Figures, by place.
    pub figures: Vec<FigureChange>,
}

/// A row that counts now and did not, the other way round, or says something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// What it is a row of, as in `school`.
    pub kind: &'static str,
    /// Its code.
    pub code: String,
    /// The exchange that brought it before; none if it did not count.
    pub before: Option<String>,
    /// The exchange that brings it now; none if it does not count.
    pub after: Option<String>,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It has another value.
    Changed,
    /// It was not there before.
    New,
    /// It is not known any more.
    Missing,
    /// It rests on what was answered in an earlier run.
    Older,
}

/// A figure with which something is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureChange {
    /// Where it stands. (JSON pointer, RFC 6901)
    pub figure: String,
    /// What became of it.
    pub state: State,
    /// Its value before.
    pub before: Option<Value>,
    /// Its value now.
    pub after: Option<Value>,
    /// Exchanges that are the reason.
    pub exchanges: Vec<String>,
    /// In words.
    pub why: String,
}

impl RowChange {
    /// In words: `school 0000001 changed`.
    fn said(&self) -> String {
        let what = match (&self.before, &self.after) {
            (None, _) => "is new",
            (_, None) => "counts no more",
            _ => "changed",
        };
        format!("{} {} {what}", self.kind, self.code)
    }

    /// The newest exchange that brought it.
    fn exchange(&self) -> Option<&String> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

impl fmt::Display for RowChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said())?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, ": exchange {after}, before {before}"),
            (Some(exchange), None) | (None, Some(exchange)) => write!(f, ": exchange {exchange}"),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Missing => "missing",
            Self::Older => "older",
        })
    }
}

impl Changes {
    /// Compares two runs.
    ///
    /// # Errors
    /// A report that is no roadmap.
    pub fn between(before: Run<'_>, after: Run<'_>) -> Result<Self, NotARoadmap> {
        let silent = silent(before, after);
        let mut rows = rows(before.findings, after.findings);
        // What nobody was told is not known to be gone.
        let told = |row: &RowChange| {
            row.after.is_some() || row.before.as_deref().is_none_or(|before| !silent.contains_key(before))
        };
        rows.retain(told);
        let reasons = Reasons::new(&rows, silent, before, after)?;
        let (old, new) = (figures(before.roadmap)?, figures(after.roadmap)?);
        let places: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let changed = places.into_iter().filter_map(|place| {
            let (before, after) = (old.get(place), new.get(place));
            let known = |figure: Option<&Cited>| figure.is_some_and(|it| !it.value.is_null());
            let state = match (before, after) {
                (_, None) => State::Missing,
                (None, _) => State::New,
                _ if known(before) && !known(after) => State::Missing,
                (Some(before), Some(after)) if before.value != after.value => State::Changed,
                (_, Some(after)) if reasons.are_older(&after.exchanges) => State::Older,
                _ => return None,
            };
            let (exchanges, why) =
                reasons.of(state, &[before, after].into_iter().flatten().collect::<Vec<_>>());
            let (before, after) = (before.map(|it| it.value.clone()), after.map(|it| it.value.clone()));
            Some(FigureChange { figure: place.clone(), state, before, after, exchanges, why })
        });
        let figures = changed.collect();
        Ok(Self { rows, figures })
    }

    /// How many figures are in this state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.figures.iter().filter(|it| it.state == state).count()
    }

    /// One line for each figure.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::from("figure,state,before,after,exchanges,why\n");
        for it in &self.figures {
            let value = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
            let state = it.state.to_string();
            let cells = [
                it.figure.clone(),
                state,
                value(&it.before),
                value(&it.after),
                it.exchanges.join(" "),
                it.why.clone(),
            ];
            text.push_str(&cells.map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).join(","));
            text.push('\n');
        }
        text
    }
}

/// Why a figure is as it is, by the exchanges that it cites.
struct Reasons<'a> {
    /// Changed rows, by the exchanges that brought them.
    rows: BTreeMap<&'a str, Vec<&'a RowChange>>,
    /// Exchanges of an earlier run, and their time.
    older: BTreeMap<&'a str, String>,
    silent: BTreeMap<&'a str, String>,
    settings_changed: bool,
}

impl<'a> Reasons<'a> {
    fn new(
        changed: &'a [RowChange],
        silent: BTreeMap<&'a str, String>,
        before: Run<'a>,
        after: Run<'a>,
    ) -> Result<Self, NotARoadmap> {
        let mut rows: BTreeMap<&str, Vec<&RowChange>> = BTreeMap::new();
        for row in changed {
            for exchange in [&row.before, &row.after].into_iter().flatten() {
                rows.entry(exchange).or_default().push(row);
            }
        }
        let older = |source: &'a Source| Some((source.exchange.as_str(), source.earlier?.to_string()));
        let older = after.findings.exchanges.iter().filter_map(older).collect();
        let settings = |run: Run<'_>| -> Result<Value, serde_json::Error> {
            Ok(serde_json::from_str::<Value>(run.roadmap)?["settings"].clone())
        };
        let settings_changed = settings(before)? != settings(after)?;
        Ok(Self { rows, older, silent, settings_changed })
    }

    fn are_older(&self, exchanges: &[String]) -> bool {
        exchanges.iter().any(|exchange| self.older.contains_key(exchange.as_str()))
    }

    /// Exchanges that are the reason, and the reason in words, for a figure as it was and as it is.
    fn of(&self, state: State, cited: &[&Cited]) -> (Vec<String>, String) {
        let all: BTreeSet<&String> = cited.iter().flat_map(|figure| &figure.exchanges).collect();
        if state == State::Older {
            let older = all.iter().filter_map(|it| Some(((*it).clone(), self.older.get(it.as_str())?)));
            let (exchanges, times): (Vec<_>, BTreeSet<_>) = older.unzip();
            let since = times.first().map_or("", |time| time.as_str());
            return (exchanges, format!("answered {since}, not now"));
        }
        let held: BTreeSet<&String> = cited.iter().flat_map(|figure| &figure.rows).collect();
        let of_rows = |exchanges: &BTreeSet<&String>| -> Vec<&RowChange> {
            let changed = exchanges.iter().filter_map(|it| self.rows.get(it.as_str()));
            changed.flatten().copied().collect()
        };
        let mut changed = of_rows(&held);
        if changed.is_empty() {
            changed = of_rows(&all);
        }
        let mut exchanges: BTreeSet<String> =
            changed.iter().filter_map(|row| row.exchange().cloned()).collect();
        let mut said: BTreeSet<String> = changed.iter().map(|row| row.said()).collect();
        for (exchange, reason) in all.iter().filter_map(|it| Some((*it, self.silent.get(it.as_str())?))) {
            said.insert(reason.clone());
            exchanges.insert(exchange.clone());
        }
        if self.settings_changed {
            said.insert("the settings changed".to_owned());
        }
        let more = said.len().saturating_sub(REASONS_SAID);
        let mut why = said.into_iter().take(REASONS_SAID).collect::<Vec<_>>().join("; ");
        if more > 0 {
            why.push_str(&format!("; and {more} more"));
        }
        (exchanges.into_iter().collect(), why)
    }
}

/// Exchanges of before whose method gave nothing now, and nothing stands in: what to say of each.
fn silent<'a>(before: Run<'a>, after: Run<'_>) -> BTreeMap<&'a str, String> {
    let mut silent = BTreeMap::new();
    for missing in after.findings.missing.iter().filter(|it| it.older_rows == 0 && it.rows == 0) {
        let since = missing.since.map(|at| format!(", last answered {at}")).unwrap_or_default();
        let said = format!("{} {}: {:?}{since}", missing.service, missing.method, missing.status.code());
        let its = |source: &&Source| source.service == missing.service && source.method == missing.method;
        for source in before.findings.exchanges.iter().filter(its) {
            silent.insert(source.exchange.as_str(), said.clone());
        }
    }
    silent
}

fn rows(before: &Findings, after: &Findings) -> Vec<RowChange> {
    let mut rows = Rows { before: &before.exchanges, after: &after.exchanges, changes: Vec::new() };
    let (old, new) = (&before.accepted, &after.accepted);
    rows.compare(&old.departments, &new.departments);
    rows.compare(&old.districts, &new.districts);
    rows.compare(&old.boundaries, &new.boundaries);
    rows.compare(&old.schools, &new.schools);
    rows.compare(&old.facilities, &new.facilities);
    rows.compare(&old.indicators, &new.indicators);
    rows.compare(&old.programmes, &new.programmes);
    rows.compare(&old.spaces, &new.spaces);
    rows.changes
}

struct Rows<'a> {
    before: &'a [Source],
    after: &'a [Source],
    changes: Vec<RowChange>,
}

impl Rows<'_> {
    fn compare<R: Row + PartialEq>(&mut self, before: &Register<R>, after: &Register<R>) {
        let codes: BTreeSet<_> = before.iter().chain(after.iter()).map(|(code, _)| code).collect();
        for code in codes {
            let (old, new) = (before.get(code), after.get(code));
            if old.map(Figure::value) != new.map(Figure::value) {
                let (before, after) = (exchange(old, self.before), exchange(new, self.after));
                self.changes.push(RowChange { kind: R::KIND, code: code.to_owned(), before, after });
            }
        }
    }
}

/// The one that brought a row.
fn exchange<T>(row: Option<&Figure<T>>, sources: &[Source]) -> Option<String> {
    let at = row?.exchanges().rows().iter().next()?;
    sources.get(at).map(|source| source.exchange.clone())
}

/// Of one figure; the others are counted.
const REASONS_SAID: usize = 3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::wire::mec::School;
    use peabiru_proto::time::Timestamp;
    use serde_json::json;

    fn found(exchange: &str, earlier: Option<Timestamp>, pupils: &[(&str, i32)]) -> Findings {
        let mut findings = Findings::default();
        let (service, method, rows) = ("s", "m", pupils.len());
        let exchange = exchange.to_owned();
        findings.exchanges.push(Source { exchange, service, method, rows, earlier });
        let rows = pupils.iter().map(|(code, girls)| {
            let establishment_code = (*code).to_owned();
            let pupils = Some(*girls);
            School { establishment_code, boys: pupils, girls: pupils, ..School::default() }
        });
        findings.accepted.page(rows.collect(), 0);
        findings
    }

    fn report(exchange: &str, figures: &[(&str, u64)]) -> String {
        let figures: BTreeMap<_, _> = figures
            .iter()
            .map(|(name, value)| (*name, json!({ "value": value, "from": 0, "rows": 0 })))
            .collect();
        json!({ "figures": figures, "settings": {}, "provenance": [[exchange]] }).to_string()
    }

    #[test]
    fn a_figure_that_changed_names_the_row_and_its_exchange() {
        let (then, now) =
            (found("aa", None, &[("1", 5), ("2", 6)]), found("bb", None, &[("1", 7), ("3", 1)]));
        let (old, new) =
            (report("aa", &[("girls", 11), ("same", 1)]), report("bb", &[("girls", 8), ("same", 1)]));
        let changes =
            Changes::between(Run { findings: &then, roadmap: &old }, Run { findings: &now, roadmap: &new })
                .unwrap();
        let said: Vec<_> = changes.rows.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "school 1 changed: exchange bb, before aa",
                "school 2 counts no more: exchange aa",
                "school 3 is new: exchange bb"
            ]
        );
        let [girls] = changes.figures.as_slice() else { panic!("{:?}", changes.figures) };
        assert_eq!((girls.figure.as_str(), girls.state), ("/figures/girls", State::Changed));
        assert_eq!(girls.exchanges, ["aa", "bb"]);
        assert_eq!(girls.why, "school 1 changed; school 2 counts no more; school 3 is new");
        assert!(changes.csv().contains("\"/figures/girls\",\"changed\",\"11\",\"8\",\"aa bb\""));
    }

    /// Two pages of one register, each with a changed row: both figures rest on both, one row is in each.
    #[test]
    fn a_figure_names_the_rows_of_its_own_pages_and_a_new_absence_those_of_all() {
        let found = |ids: [&str; 2], girls: i32| {
            let mut findings = found(ids[0], None, &[("1", girls)]);
            let second = found(ids[1], None, &[("2", girls)]);
            findings.exchanges.extend(second.exchanges);
            let rows = second.accepted.schools.values().map(|row| row.value().clone()).collect();
            findings.accepted.page(rows, 1);
            findings
        };
        let report = |ids: [&str; 2], value: u64| {
            let figure = |value: u64, rows: u64| json!({ "value": value, "from": 0, "rows": rows });
            json!({
                "a": figure(value, 1), "b": figure(value, 2), "left": figure(value, 3), "settings": {},
                "provenance": [ids, [ids[0]], [ids[1]], []],
            })
            .to_string()
        };
        let (then, now) = (found(["aa", "bb"], 5), found(["cc", "dd"], 6));
        let (old, new) = (report(["aa", "bb"], 1), report(["cc", "dd"], 2));
        let changes =
            Changes::between(Run { findings: &then, roadmap: &old }, Run { findings: &now, roadmap: &new })
                .unwrap();
        let whys: Vec<_> =
            changes.figures.iter().map(|it| (it.exchanges.join(" "), it.why.as_str())).collect();
        let expected = [
            ("cc".to_owned(), "school 1 changed"),
            ("dd".to_owned(), "school 2 changed"),
            ("cc dd".to_owned(), "school 1 changed; school 2 changed"),
        ];
        assert_eq!(whys, expected);
    }

    #[test]
    fn a_figure_of_an_earlier_answer_is_older_and_says_since_when() {
        let then = found("aa", None, &[("1", 5)]);
        let now = found("aa", Some(Timestamp::from_ms(0)), &[("1", 5)]);
        let text = report("aa", &[("girls", 5)]);
        let changes =
            Changes::between(Run { findings: &then, roadmap: &text }, Run { findings: &now, roadmap: &text })
                .unwrap();
        assert_eq!((changes.rows.len(), changes.count(State::Older)), (0, 1));
        assert_eq!(changes.figures[0].why, "answered 1970-01-01T00:00:00.000Z, not now");
    }
}
