//! What a command says: a table for people, JSON for programs. A reader that has gone is no error.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::ValueEnum;
use peabiru_proto::language::Language;
use serde_json::{Value, json};

use crate::CliError;

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

/// A list: one row for each thing.
pub(crate) struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it. As JSON: a list of objects, keyed by column.
    pub(crate) fn print(&self, format: Format) {
        match format {
            Format::Table => line(self.text().trim_end()),
            Format::Json => document(&self.json()),
        }
    }

    fn text(&self) -> String {
        if self.rows.is_empty() {
            return "none".to_owned();
        }
        let header: Vec<String> =
            self.columns.iter().map(|column| column.to_uppercase().replace('_', " ")).collect();
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
                self.columns.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), json!(cell)));
            Value::Object(pairs.collect())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }
}

/// Prints one thing: its fields.
pub(crate) fn fields(format: Format, fields: &[(&str, String)]) {
    match format {
        Format::Table => {
            let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            for (name, value) in fields {
                let mut lines = value.lines();
                line(&format!("{name:<width$}  {}", lines.next().unwrap_or_default()));
                lines.for_each(|rest| line(&format!("{:<width$}  {rest}", "")));
            }
        }
        Format::Json => {
            let pairs = fields.iter().map(|(name, value)| (name.replace(' ', "_"), json!(value)));
            document(&Value::Object(pairs.collect()));
        }
    }
}

/// Says what was done.
pub(crate) fn done(format: Format, sentence: &str) {
    match format {
        Format::Table => line(sentence),
        Format::Json => document(&json!({ "done": sentence })),
    }
}

/// Says what went wrong, on stderr: to people in their language.
pub(crate) fn error(format: Format, error: &CliError) {
    let text = match format {
        Format::Table => {
            let language = Language::of_environment(|name| std::env::var(name).ok());
            format!("peabiru: {}: {}", error.code(), error.said(language))
        }
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
        let mut table = Table::new(&["member", "name"]);
        table.row(["PY/GOV/MEC".to_owned(), "Educación".to_owned()]);
        table.row(["PY/GOV/Ñ".to_owned(), "Ñe'ẽ".to_owned()]);
        assert_eq!(table.text(), "MEMBER      NAME\nPY/GOV/MEC  Educación\nPY/GOV/Ñ    Ñe'ẽ\n");
        assert_eq!(table.json()[1], json!({ "member": "PY/GOV/Ñ", "name": "Ñe'ẽ" }));
        assert_eq!(Table::new(&["a"]).text(), "none");
    }
}
