//! The planner runs again, as an agency would let it: newer data, wrong rows, a node that is down, a grant that was taken back.
//! Real processes, real sockets, real evidence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by failing what went wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SCHOOLS: &str = include_str!("../../examples/connectivity/data/schools.csv");
const GIRLS: &str = "/gap/country/girls";
const PUBLICATIONS: &str = "py.conatel.v1.PublicationService";

#[test]
fn the_next_run_says_what_changed_and_why_and_misses_only_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let country = Country(folder.path());
    let refused = country.peabiru(&["sandbox", "connectivity", "--update"]);
    assert_eq!(refused.status.code(), Some(2), "there is no run to compare with");
    country.run(&[]);
    let first = country.roadmap();

    let (changed, data) = newer_data(folder.path());
    let said = country.run(&["--update", "--data", &data]);
    let second = country.roadmap();
    assert_eq!(value(&second, GIRLS), value(&first, GIRLS) + 1, "the wrong rows are in no sum");
    assert_eq!(value(&second, "/gap/country/schools"), value(&first, "/gap/country/schools"));
    let wrong: Vec<_> = rows(&second, "rejected").iter().map(|it| it["wrong"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["row.duplicate", "row.negative_pupils", "row.unknown_district"]);
    for row in rows(&second, "rejected") {
        assert!(country.has_evidence(row["exchange"].as_str().unwrap()), "{row}");
    }
    let girls = &country.changes()[GIRLS];
    assert!(girls.contains(&format!("school {changed} changed")) && girls.contains("changed"), "{girls}");
    assert!(said.contains(&format!("school {changed} changed: exchange ")), "{said}");
    country.verify();

    let said = country.run(&["--update", "--stopped", "CONATEL", "--revoked", "MSPBS"]);
    let third = country.roadmap();
    assert_eq!(value(&third, GIRLS), value(&first, GIRLS), "MEC answers as before");
    let missing = rows(&third, "missing");
    let of: Vec<_> =
        missing.iter().map(|it| (it["method"].as_str().unwrap(), it["older_rows"].as_u64())).collect();
    assert_eq!(
        of,
        [("list_facilities", Some(0)), ("list_indicators", Some(92)), ("list_programmes", Some(11))]
    );
    assert_eq!(missing[0]["code"], "PermissionDenied");
    assert!(
        missing.iter().all(|it| it["since"].as_str().is_some_and(|since| since.starts_with("20"))),
        "{missing:?}"
    );
    assert_eq!(third.pointer("/gap/country/hospitals").unwrap()["value"], Value::Null, "unknown, not none");
    let older = rows(&third, "exchanges").iter().filter(|it| it["service"] == PUBLICATIONS);
    assert!(older.into_iter().all(|it| it["of_earlier_run"].is_string()), "{said}");
    let changes = country.changes();
    let cost = &changes["/roadmap/unit_cost_pyg/low"];
    assert!(cost.contains("older") && cost.contains("not now"), "{cost}");
    let hospitals = &changes["/gap/country/hospitals"];
    assert!(hospitals.contains("list_facilities: PermissionDenied, last answered 20"), "{hospitals}");
    country.verify();

    country.run(&["--update"]);
    assert_eq!(rows(&country.roadmap(), "missing"), &[] as &[Value], "everybody is back");
    assert_eq!(value(&country.roadmap(), "/gap/country/hospitals"), value(&first, "/gap/country/hospitals"));
    country.verify();
}

/// One more girl at one school, and three wrong rows. Gives the school's code and the folder.
fn newer_data(folder: &Path) -> (String, String) {
    let girls = SCHOOLS.lines().next().unwrap().split(',').position(|name| name == "eeb_2023_girls").unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let plain = |line: &&str| !line.contains('"') && cells(line)[girls].parse::<i32>().is_ok();
    let school = SCHOOLS.lines().find(plain).unwrap();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut cells = cells(school);
        change(&mut cells);
        cells.join(",")
    };
    let one_more = with(&|cells| cells[girls] = (cells[girls].parse::<i32>().unwrap() + 1).to_string());
    let mut text = SCHOOLS.replace(school, &one_more);
    text.push_str(&with(&|_| ()));
    text.push('\n');
    for (code, at, wrong) in [("9999990", girls, "-1"), ("9999991", 3, "9999")] {
        text.push_str(&with(&|cells| (cells[0], cells[at]) = (code.to_owned(), wrong.to_owned())));
        text.push('\n');
    }
    let data = folder.join("newer");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("schools.csv"), text).unwrap();
    (cells(school)[0].clone(), data.display().to_string())
}

/// A country in a folder that is thrown away.
struct Country<'a>(&'a Path);

impl Country<'_> {
    fn peabiru(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peabiru"));
        command.args(args).current_dir(self.0).env("LC_ALL", "C").output().unwrap()
    }

    fn run(&self, args: &[&str]) -> String {
        let run = self.peabiru(&[&["sandbox", "connectivity"], args].concat());
        let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{args:?}: {said}");
        said.into_owned()
    }

    /// All figures stand, also those of an earlier run.
    fn verify(&self) {
        let (evidence, trust) = ("peabiru-sandbox/report/evidence", "peabiru-sandbox/PY/anchor.toml");
        let figures = "peabiru-sandbox/report/roadmap.json";
        let run = self.peabiru(&["evidence", "verify", evidence, "--trust", trust, "--figures", figures]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    }

    fn roadmap(&self) -> Value {
        serde_json::from_str(&self.report("roadmap.json")).unwrap()
    }

    /// The line of each figure with which something is different.
    fn changes(&self) -> BTreeMap<String, String> {
        let csv = self.report("changes.csv");
        let place = |line: &str| line.split('"').nth(1).unwrap().to_owned();
        csv.lines().skip(1).map(|line| (place(line), line.to_owned())).collect()
    }

    fn report(&self, file: &str) -> String {
        fs::read_to_string(self.0.join("peabiru-sandbox/report").join(file)).unwrap()
    }

    fn has_evidence(&self, exchange: &str) -> bool {
        self.0.join(format!("peabiru-sandbox/report/evidence/{exchange}.tar")).exists()
    }
}

fn value(roadmap: &Value, figure: &str) -> u64 {
    roadmap.pointer(figure).unwrap()["value"].as_u64().unwrap()
}

fn rows<'a>(roadmap: &'a Value, list: &str) -> &'a [Value] {
    roadmap[list].as_array().unwrap()
}
