//! `chronosctl docs FOLDER`: the reference pages of this program and of the admin API, made from what they describe.

use std::{collections::HashMap, fmt::Write, fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::{Arg, ArgAction, Command, CommandFactory};
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::rpc;
use crate::cli::Cli;

/// What stands at the top of a page that nobody writes.
const MADE: &str = "<!-- Made by `make docs`: change what it describes, not this page. -->\n\n";

pub(super) fn write(folder: &Path) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(folder)?;
    for (name, text) in [("chronosctl.md", commands()), ("grpc.md", api()?)] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn commands() -> String {
    let mut page = format!("{MADE}# chronosctl\n\n");
    let mut root = Cli::command();
    root.build();
    let about = root
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let _ = writeln!(
        page,
        "{about}.\n\nExit codes: 0 done, 1 failed, 2 wrong usage. Errors go to standard error.\n\n## Everywhere\n"
    );
    options(
        &mut page,
        root.get_arguments().filter(|arg| arg.is_global_set()),
    );
    for command in root.get_subcommands() {
        describe(&mut page, command, "chronosctl", 2);
    }
    page
}

fn describe(page: &mut String, command: &Command, above: &str, depth: usize) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or_else(|| command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(
        page,
        "\n{} `{name}`\n\n{}.\n",
        "#".repeat(depth),
        about.trim_end_matches('.')
    );
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(page, "{after}\n");
    }
    let own = command.get_arguments().filter(|arg| !arg.is_global_set());
    options(page, own);
    for below in command.get_subcommands() {
        describe(page, below, &name, (depth + 1).min(4));
    }
}

fn options<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for arg in arguments.filter(|arg| !arg.is_hide_set()) {
        if ["help", "version"].contains(&arg.get_id().as_str()) {
            continue;
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "- `{}`: {help}{}", shown(arg), facts(arg));
    }
}

fn shown(arg: &Arg) -> String {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = if takes {
        let names = arg.get_value_names().unwrap_or_default();
        format!("<{}>", names.join("> <"))
    } else {
        String::new()
    };
    match (arg.get_short(), arg.get_long()) {
        (None, None) => value,
        (short, long) => {
            let short = short.map(|c| format!("-{c}"));
            let long = long.map(|name| format!("--{name}"));
            let names: Vec<String> = short.into_iter().chain(long).collect();
            format!("{} {value}", names.join(", "))
                .trim_end()
                .to_owned()
        }
    }
}

fn facts(arg: &Arg) -> String {
    let mut facts = Vec::new();
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| v.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue) {
        facts.push(format!("default `{}`", defaults.join(" ")));
    }
    let choices = arg.get_possible_values();
    if !choices.is_empty() && !matches!(arg.get_action(), ArgAction::SetTrue) {
        let choices: Vec<_> = choices
            .iter()
            .map(|c| format!("`{}`", c.get_name()))
            .collect();
        facts.push(format!("one of {}", choices.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        facts.push(format!("or `{}`", variable.to_string_lossy()));
    }
    if facts.is_empty() {
        String::new()
    } else {
        format!(" ({})", facts.join("; "))
    }
}

/// The comments of one file, by the path of what they stand before.
type Comments = HashMap<Vec<i32>, String>;

/// Numbers of fields in descriptor.proto, of which paths are made.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const OF_A_MESSAGE: i32 = 2;
const OF_AN_ENUM: i32 = 2;
const OF_A_SERVICE: i32 = 2;
/// Comments before `syntax`.
const SYNTAX: i32 = 12;

fn api() -> anyhow::Result<String> {
    let pool = rpc::pool()?;
    let mut page = format!(
        "{MADE}# The gRPC API\n\nPackage `chronos.admin.v1`, on `grpc.listen`. How to call it, errors, limits, health and reflection: \
         [gRPC](../grpc.md).\n"
    );
    for file in pool
        .files()
        .filter(|file| file.package_name() == "chronos.admin.v1")
    {
        let proto = file.file_descriptor_proto();
        let locations = proto
            .source_code_info
            .iter()
            .flat_map(|info| &info.location);
        let comments: Comments = locations
            .map(|place| {
                let detached = place.leading_detached_comments.join("\n");
                let before = place.leading_comments().trim_end().to_owned();
                let text = if before.is_empty() { detached } else { before };
                (place.path.clone(), text)
            })
            .collect();
        let name = file.name().rsplit('/').next().unwrap_or_default();
        let _ = writeln!(page, "\n## {name}\n\n{}", said(&comments, &[SYNTAX]));
        for (i, service) in (0i32..).zip(file.services()) {
            let at = [SERVICE, i];
            let _ = writeln!(
                page,
                "\n### {}\n\n{}\n",
                service.name(),
                said(&comments, &at)
            );
            for (m, method) in (0i32..).zip(service.methods()) {
                let at = [SERVICE, i, OF_A_SERVICE, m];
                let stream = if method.is_server_streaming() {
                    "stream of "
                } else {
                    ""
                };
                let (input, output) = (method.input(), method.output());
                let _ = writeln!(
                    page,
                    "- **{}** ({}) → {stream}{}: {}",
                    method.name(),
                    link(input.name()),
                    link(output.name()),
                    said(&comments, &at)
                );
            }
        }
        for (i, message) in (0i32..).zip(file.messages()) {
            tell_message(&mut page, &comments, &message, i);
        }
        for (i, kind) in (0i32..).zip(file.enums()) {
            tell_enum(&mut page, &comments, &kind, i);
        }
    }
    Ok(page)
}

fn tell_message(page: &mut String, comments: &Comments, message: &MessageDescriptor, index: i32) {
    let at = [MESSAGE, index];
    let _ = writeln!(
        page,
        "\n#### {}\n\n{}\n",
        message.name(),
        said(comments, &at)
    );
    // In the order of the file, which is that of the comments' paths.
    let fields = &message.descriptor_proto().field;
    if fields.is_empty() {
        return;
    }
    let _ = writeln!(page, "| field | type | |\n|---|---|---|");
    for (i, field) in (0i32..).zip(fields) {
        let at = [MESSAGE, index, OF_A_MESSAGE, i];
        let kind = message.get_field_by_name(field.name()).map(|f| kind_of(&f));
        let text = said(comments, &at).replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {text} |",
            field.name(),
            kind.unwrap_or_default()
        );
    }
}

fn tell_enum(page: &mut String, comments: &Comments, kind: &EnumDescriptor, index: i32) {
    let at = [ENUM, index];
    let _ = writeln!(
        page,
        "\n#### {}\n\n{}\n\n| value | |\n|---|---|",
        kind.name(),
        said(comments, &at)
    );
    for (i, value) in (0i32..).zip(&kind.enum_descriptor_proto().value) {
        let at = [ENUM, index, OF_AN_ENUM, i];
        let text = said(comments, &at).replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {text} |", value.name());
    }
}

fn kind_of(field: &FieldDescriptor) -> String {
    let one = |kind: Kind| match kind {
        Kind::Message(message) if message.package_name() == "chronos.admin.v1" => {
            link(message.name())
        }
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(kind) => link(kind.name()),
        other => format!("{other:?}").to_lowercase(),
    };
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map of {} to {}", one(key.kind()), one(value.kind()));
    }
    let of = one(field.kind());
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {of}"),
        _ if field
            .containing_oneof()
            .is_some_and(|o| o.fields().len() > 1) =>
        {
            format!("{of}, or another")
        }
        _ if field.supports_presence() && !matches!(field.kind(), Kind::Message(_)) => {
            format!("optional {of}")
        }
        _ => of,
    }
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

/// As one paragraph, unless it has several.
fn said(comments: &Comments, at: &[i32]) -> String {
    let text = comments.get(at).map_or("", String::as_str);
    let mut paragraphs = vec![String::new()];
    for line in text.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(_) if line.is_empty() => paragraphs.push(String::new()),
            Some(last) => {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
            None => {}
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs.join("\n\n")
}
