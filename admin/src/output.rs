//! How results are printed: a table for people, or JSON, one object a line, or YAML, one list, whose field names are kept stable.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;
use serde_json::Value;

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// Columns for people, as wide as they are.
    Wide,
    /// One JSON object a line.
    Json,
    /// A YAML list.
    Yaml,
}

impl Format {
    /// Whether people read it.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// Prints rows; the columns of a table are the fields of the first row.
pub fn rows<T: Serialize>(format: Format, rows: &[T]) -> anyhow::Result<()> {
    let objects = rows
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<_>, _>>()?;
    match format {
        Format::Json => objects.iter().for_each(|object| line(&object.to_string())),
        Format::Yaml => line(yaml(&objects)?.trim_end()),
        Format::Table | Format::Wide if objects.is_empty() => line("(none)"),
        Format::Table => line(&table(&objects, ContentArrangement::Dynamic)),
        Format::Wide => line(&table(&objects, ContentArrangement::Disabled)),
    }
    Ok(())
}

/// Prints one row as it comes, without waiting for the next: JSON as an object, YAML as a list's next entry, a table's row as `text`.
pub fn row<T: Serialize>(format: Format, row: &T, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string(row)?),
        Format::Yaml => line(yaml(&[row])?.trim_end()),
        Format::Table | Format::Wide => line(text),
    }
    Ok(())
}

/// Prints a text as it is, whatever the format.
pub fn text(text: &str) {
    line(text.trim_end());
}

/// Prints a line that only people read.
pub fn note(format: Format, text: &str) {
    if format.is_for_people() {
        line(text);
    }
}

fn yaml<T: Serialize>(list: &[T]) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&list)?)
}

fn table(objects: &[Value], arrangement: ContentArrangement) -> String {
    let columns: Vec<&String> = objects
        .first()
        .and_then(Value::as_object)
        .map(|first| first.keys().collect())
        .unwrap_or_default();
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(arrangement)
        .set_header(columns.iter().map(|c| c.replace('_', " ")));
    for object in objects {
        table.add_row(
            columns
                .iter()
                .map(|column| cell(object.get(column.as_str()))),
        );
    }
    table.to_string()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| cell(Some(item))).collect();
            items.join(", ")
        }
        Some(Value::Object(fields)) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", cell(Some(value))))
                .collect();
            fields.join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// Who reads no more, as `head`, has what it wants: nothing went wrong. What cannot be written for another reason did.
#[expect(clippy::print_stderr, reason = "errors of a command line go there")]
fn line(text: &str) {
    let Err(error) = writeln!(io::stdout().lock(), "{text}") else {
        return;
    };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("writing the output: {error}");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_has_a_column_for_each_field() {
        let shown = table(
            &[
                json!({"topic": "a", "partitions": 3, "replicas": [1, 2], "error": null}),
                json!({"topic": "b", "partitions": 1, "replicas": [], "error": "x"}),
            ],
            ContentArrangement::Dynamic,
        );
        for text in ["topic", "partitions", "1, 2", "-"] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }

    /// What must not be read as a number, a truth or a comment is quoted; rows that come one by one are one list.
    #[test]
    fn yaml_is_a_list_that_reads_back() {
        let rows = [
            json!({"topic": "1", "value": "yes", "note": "a # b: c\n", "partitions": [0, 1], "none": null}),
            json!({"topic": "b", "value": "- x", "note": "", "partitions": [], "none": 1.5}),
        ];
        let whole = yaml(&rows).unwrap();
        let one_by_one: String = rows.iter().map(|row| yaml(&[row]).unwrap()).collect();
        assert_eq!(whole, one_by_one);
        for text in ["- topic: \"1\"", "  value: \"yes\"", "none: null"] {
            assert!(whole.contains(text), "{text}: {whole}");
        }
    }
}
