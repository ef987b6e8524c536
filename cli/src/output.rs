//! What a command says: a table for people, JSON for programs. A reader that has gone is no error.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::ValueEnum;
use peabiru_proto::language::Language;
use serde_json::{Value, json};

use crate::CliError;
use crate::args::Connect;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    open.and_then(|mut file| file.write_all(content)).map_err(CliError::file(path))
}

/// The name of a column: for programs and in English, and in Spanish.
type Column = (&'static str, &'static str);

/// A list: one row for each thing.
pub(crate) struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it. As JSON: a list of objects, keyed by column.
    pub(crate) fn print(&self, connect: &Connect) {
        match connect.output {
            Format::Table => line(self.text(connect.language()).trim_end()),
            Format::Json => document(&self.json()),
        }
    }

    fn text(&self, language: Language) -> String {
        if self.rows.is_empty() {
            return language.of_both("nada", "none").to_owned();
        }
        let heading =
            |(english, spanish): &Column| language.of_both(spanish, english).to_uppercase().replace('_', " ");
        let header: Vec<String> = self.columns.iter().map(heading).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in [&header].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        let object = |row: &Vec<String>| {
            let pairs =
                self.columns.iter().zip(row).map(|((column, _), cell)| ((*column).to_owned(), json!(cell)));
            Value::Object(pairs.collect())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// Prints one thing: its fields. Each has its name, for programs and in English; the name in Spanish; the value.
pub(crate) fn fields(connect: &Connect, fields: &[(&str, &str, String)]) {
    match connect.output {
        Format::Table => {
            let language = connect.language();
            let fields =
                fields.iter().map(|(english, spanish, value)| (language.of_both(*spanish, *english), value));
            let width = fields.clone().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            for (name, value) in fields {
                let mut lines = value.lines();
                line(&format!("{name:<width$}  {}", lines.next().unwrap_or_default()));
                lines.for_each(|rest| line(&format!("{:<width$}  {rest}", "")));
            }
        }
        Format::Json => {
            let pairs = fields.iter().map(|(name, _, value)| (name.replace(' ', "_"), json!(value)));
            document(&Value::Object(pairs.collect()));
        }
    }
}

/// Says what was done.
pub(crate) fn done(connect: &Connect, sentence: &str) {
    match connect.output {
        Format::Table => line(sentence),
        Format::Json => document(&json!({ "done": sentence })),
    }
}

/// Says what went wrong, on stderr: to people in their language.
pub(crate) fn error(connect: &Connect, error: &CliError) {
    let text = match connect.output {
        Format::Table => format!("peabiru: {}: {}", error.code(), error.said(connect.language())),
        Format::Json => {
            json!({ "error": { "code": error.code(), "message": error.to_string() } }).to_string()
        }
    };
    let _ = writeln!(io::stderr(), "{text}");
}

/// Progress of something that takes longer, on stderr: it is not the answer.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A JSON document on stdout.
pub(crate) fn document(value: &Value) {
    line(&format!("{value:#}"));
}

/// A line on stdout.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_in_characters() {
        let mut table = Table::new(&[("member", "miembro"), ("made_at", "hecho_el")]);
        table.row(["PY/GOV/MEC".to_owned(), "Educación".to_owned()]);
        table.row(["PY/GOV/Ñ".to_owned(), "Ñe'ẽ".to_owned()]);
        let rows = "PY/GOV/MEC  Educación\nPY/GOV/Ñ    Ñe'ẽ\n";
        assert_eq!(table.text(Language::English), format!("MEMBER      MADE AT\n{rows}"));
        assert_eq!(table.text(Language::Spanish), format!("MIEMBRO     HECHO EL\n{rows}"));
        assert_eq!(table.json()[1], json!({ "member": "PY/GOV/Ñ", "made_at": "Ñe'ẽ" }));
        assert_eq!(Table::new(&[("a", "b")]).text(Language::Spanish), "nada");
    }
}
