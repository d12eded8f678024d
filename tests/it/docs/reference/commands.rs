//! A page for each command with all that is below it.

use std::fmt::Write;

use bugfender_hooks::cli::Cli;
use clap::{Arg, Command, CommandFactory};

use super::markdown::{cell, code_cell, prose, table};

/// The whole command line, as it is parsed.
fn root() -> Command {
    let mut root = Cli::command().disable_help_subcommand(true).term_width(100);
    root = root.mut_subcommands(|command| command.disable_help_subcommand(true));
    root.build();
    root
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The pages by the name of their command.
pub fn pages() -> Vec<(String, String)> {
    shown(&root()).map(|command| (command.get_name().to_owned(), page(command))).collect()
}

fn page(command: &Command) -> String {
    let mut text = format!("# {}\n", command.get_name());
    describe(command, &mut text);
    text.push_str("\nThe [global options](../commands.md#global-options) work too.\n");
    text
}

/// What a command does, its usage, examples and options, then its own commands.
fn describe(command: &Command, text: &mut String) {
    let about = command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    writeln!(text, "\n{}", paragraphs(&about)).unwrap();
    let usage = command.clone().render_usage().to_string();
    writeln!(text, "\n```text\n{}\n```", usage.trim_start_matches("Usage: ").trim_end()).unwrap();
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        writeln!(text, "\nShort: {}.", aliases.join(", ")).unwrap();
    }
    if let Some(after) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        writeln!(text, "\n{}", paragraphs(&after.to_string())).unwrap();
    }
    text.push_str(&options(command));
    for below in shown(command) {
        let name = below.get_bin_name().unwrap_or(below.get_name()).trim_start_matches("bugfender-hooks ");
        writeln!(text, "\n## {name}").unwrap();
        describe(below, text);
    }
}

/// Paragraphs for a terminal. What is indented there is shown as it is.
fn paragraphs(text: &str) -> String {
    let (mut shown, mut in_code) = (String::new(), false);
    for line in text.trim().lines() {
        let code = line.starts_with("  ");
        if code && !in_code {
            shown.push_str("\n```text\n");
        }
        if in_code && !code {
            shown.push_str("```\n");
        }
        in_code = code;
        shown.push_str(&if code { line[2..].to_owned() } else { prose(line) });
        shown.push('\n');
    }
    if in_code {
        shown.push_str("```\n");
    }
    shown.trim_end().to_owned()
}

/// Tables of arguments and options, by their headings.
fn options(command: &Command) -> String {
    let own =
        |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let args: Vec<&Arg> = command.get_arguments().filter(own).collect();
    let mut headings: Vec<&str> = Vec::new();
    for arg in &args {
        let heading = heading(arg);
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let section = |wanted: &&str| {
        let rows = args.iter().filter(|arg| heading(arg) == *wanted).map(|arg| row(arg));
        format!("\n**{wanted}**\n\n{}", table(&["", "meaning"], rows))
    };
    headings.iter().map(section).collect()
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or(if arg.is_positional() { "Arguments" } else { "Options" })
}

/// An argument: how it is written, and what it means.
fn row(arg: &Arg) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    names.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("--{alias}")));
    let takes_value = arg.is_positional() || arg.get_num_args().is_some_and(|range| range.takes_values());
    let values: Vec<String> =
        arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect();
    if takes_value {
        match names.last_mut() {
            Some(last) => *last = format!("{last} {}", values.join(" ")),
            None => names.push(values.join(" ")),
        }
    }
    let names: Vec<String> = names.iter().map(|name| code_cell(name)).collect();
    vec![names.join(", "), meaning(arg)]
}

fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut parts = vec![cell(&help)];
    let values: Vec<_> = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    let is_flag = arg.get_num_args().is_some_and(|range| !range.takes_values());
    if !is_flag && !values.is_empty() && !arg.is_hide_possible_values_set() {
        let value = |value: &clap::builder::PossibleValue| {
            let help = value.get_help().map_or(String::new(), |help| format!(" ({})", cell(&help.to_string())));
            format!("{}{help}", code_cell(value.get_name()))
        };
        parts.push(format!("One of {}", values.iter().map(value).collect::<Vec<_>>().join(", ")));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !is_flag && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        parts.push(format!("Default: {}", code_cell(&defaults.join(" "))));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("<br>")
}

/// All commands in a line each.
pub fn index() -> String {
    let root = root();
    let row = |command: &Command| {
        let name = command.get_name();
        vec![
            format!("[`{name}`](commands/{name}.md)"),
            cell(&command.get_about().map(ToString::to_string).unwrap_or_default()),
        ]
    };
    table(&["command", ""], shown(&root).map(row))
}

/// The options of every command.
pub fn global_options() -> String {
    let root = root();
    let rows = root.get_arguments().filter(|arg| arg.is_global_set() && !arg.is_hide_set()).map(row);
    table(&["option", "meaning"], rows)
}
