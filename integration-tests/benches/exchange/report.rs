//! The figures of all rounds, as a table, and the floors that they are held to.

use std::collections::BTreeMap;
use std::path::Path;

use crate::CALLERS;
use crate::measure::{self, Figure};
use crate::system::{Handshakes, Measured};

/// Rows by system and callers.
#[derive(Default)]
pub struct Report {
    rows: BTreeMap<(usize, usize), Row>,
    bare: Figure,
    /// Memory of provider's and consumer's node, in MiB: before the first call, and after the last.
    at_rest: [f64; 2],
    pub loaded: [f64; 2],
    pub handshakes: Handshakes,
}

#[derive(Default)]
struct Row {
    rate: Figure,
    p50: Figure,
    p99: Figure,
    cpu_between: Figure,
    cpu_ends: Figure,
    waits: Figure,
    entries: Figure,
    syncs: Figure,
    signatures: Figure,
    /// Of each entry.
    syncs_each: Figure,
    signatures_each: Figure,
    errors: u64,
    first_error: Option<String>,
}

impl Report {
    pub fn new(at_rest: [f64; 2]) -> Self {
        Self { at_rest, ..Self::default() }
    }

    /// The disk, bare, at this moment.
    pub fn bare(&mut self, folder: &Path) {
        self.bare.push(measure::bare_sync(folder).unwrap().percentile(50));
    }

    pub fn add(&mut self, system: usize, callers: usize, measured: Measured) {
        let Measured { per_second, mut latencies, errors, first_error, cpu_between, cpu_ends, ledger } =
            measured;
        let row = self.rows.entry((system, callers)).or_default();
        row.rate.push(per_second);
        row.p50.push(latencies.percentile(50));
        row.p99.push(latencies.percentile(99));
        row.cpu_between.push(cpu_between);
        row.cpu_ends.push(cpu_ends);
        row.errors += errors;
        row.first_error = row.first_error.take().or(first_error);
        if let Some(each) = ledger {
            row.waits.push(each.waits);
            row.entries.push(each.entries);
            row.syncs.push(each.syncs);
            row.signatures.push(each.signatures);
            row.syncs_each.push(each.syncs / each.entries);
            row.signatures_each.push(each.signatures / each.entries);
        }
    }

    pub fn print(&self, names: &[&str]) {
        println!(
            "\nF, p50 of a bare 4 KiB append and fdatasync, before and after each round: {} µs",
            self.bare
        );
        println!(
            "\n{}",
            table_line([
                "",
                "callers",
                "exchanges/s",
                "p50 µs",
                "p99 µs",
                "CPU µs between",
                "CPU µs ends",
                "errors"
            ])
        );
        for (number, name) in names.iter().enumerate() {
            for callers in CALLERS {
                let row = self.row(number, callers);
                let cells =
                    [&row.rate, &row.p50, &row.p99, &row.cpu_between, &row.cpu_ends].map(ToString::to_string);
                let [rate, p50, p99, between, ends] = cells.each_ref().map(String::as_str);
                println!(
                    "{}",
                    table_line([
                        name,
                        &callers.to_string(),
                        rate,
                        p50,
                        p99,
                        between,
                        ends,
                        &row.errors.to_string()
                    ])
                );
                if let Some(error) = &row.first_error {
                    println!("    first error: {error}");
                }
            }
        }
        println!("\nboth ledgers, for each exchange:");
        for (number, name) in names.iter().enumerate().skip(2) {
            for callers in CALLERS {
                let Row { waits, entries, syncs, signatures, .. } = self.row(number, callers);
                println!(
                    "{name:>8} {callers:>3} callers: waits {waits}, entries {entries}, syncs {syncs}, signatures {signatures}"
                );
            }
        }
        let [provider, consumer] = self.at_rest;
        println!(
            "\nresident memory of the nodes: at rest {provider:.1} and {consumer:.1} MiB (provider, consumer)"
        );
        let [provider, consumer] = self.loaded;
        println!("after the load: {provider:.1} and {consumer:.1} MiB");
        self.print_floors();
    }

    fn row(&self, system: usize, callers: usize) -> &Row {
        &self.rows[&(system, callers)]
    }

    fn print_floors(&self) {
        let [few, _, many, most] = CALLERS;
        let (direct, relay, read) = (0, 1, 2);
        let share = self.row(read, many).rate.median() / self.row(direct, many).rate.median();
        let limit = 2.0 * self.row(relay, few).p50.median() + 3.0 * self.bare.median();
        let p50 = self.row(read, few).p50.median();
        let Row { syncs_each, signatures_each, .. } = self.row(read, many);
        let rest = self.at_rest[0].max(self.at_rest[1]);
        println!("\nfloors:");
        Bound::AtLeast(0.1).say(share, &format!("of direct tonic's rate, at {many} callers"));
        Bound::AtMost(limit).say(p50, &format!("µs p50 at {few} caller (2 x relay + 3 F)"));
        Bound::AtMost(0.2).say(syncs_each.median(), &format!("syncs for each entry, at {many} callers"));
        let signatures = signatures_each.median();
        Bound::AtMost(0.2).say(signatures, &format!("signatures for each entry, at {many} callers"));
        let collapse = self.row(read, most).rate.median() / self.row(read, many).rate.median();
        Bound::AtLeast(1.0).say(collapse, &format!("of that rate at {most} callers"));
        let Handshakes { handshakes, streams } = self.handshakes;
        let of = format!("handshakes for 10,000 exchanges ({handshakes} for {streams})");
        Bound::AtMost(10.0).say(handshakes * 1e4 / streams, &of);
        Bound::AtMost(40.0).say(rest, "MiB resident, a node at rest");
    }
}

/// What a figure is held to.
#[derive(Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub fn say(self, value: f64, of: &str) {
        let (holds, bound) = match self {
            Self::AtLeast(bound) => (value >= bound, format!("at least {bound}")),
            Self::AtMost(bound) => (value <= bound, format!("at most {bound:.1}")),
        };
        println!("  {} {value:.3} {of}: {bound}", if holds { "PASS" } else { "FAIL" });
    }
}

fn table_line(cells: [&str; 8]) -> String {
    let widths = [8, 8, 26, 24, 24, 22, 18, 7];
    cells.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect::<Vec<_>>().join(" ")
}
