//! What a change would do, as a unified diff of the canonical YAML.

use std::fmt::Write as _;

use similar::TextDiff;

use super::canonical::yaml;
use super::kind::ResourceKind;
use super::plan::Step;

/// How many lines around a change are shown.
const CONTEXT: usize = 3;

/// Whether to mark lines by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// As a terminal shows it.
    On,
    /// Plain text.
    Off,
}

/// The difference that a step makes; empty if none.
#[must_use]
pub fn of_step(step: &Step<'_>, colour: Colour) -> String {
    if !step.is_change() {
        return String::new();
    }
    let target = &step.target;
    let text = |message: Option<&prost_reflect::DynamicMessage>| {
        message.map(|message| yaml(target.kind, message)).unwrap_or_default()
    };
    let name = resource(target.kind, target.name);
    let old = match step.now.is_there() {
        true => format!("{name} version {}", step.now.version),
        false => "/dev/null".to_owned(),
    };
    let new = match (&step.then, target.sourced) {
        (None, _) => "/dev/null".to_owned(),
        (Some(_), Some(sourced)) => {
            format!("{name} {}:{}", sourced.file.display(), sourced.resource.node.place.line)
        }
        (Some(_), None) => format!("{name} version {}", step.version),
    };
    unified((&old, &text(step.now.message.as_ref())), (&new, &text(step.then.as_ref())), colour)
}

/// `Kind/name`.
pub(super) fn resource(kind: &ResourceKind, name: &str) -> String {
    format!("{}/{name}", kind.kind)
}

/// A unified diff of two named texts.
pub(super) fn unified(old: (&str, &str), new: (&str, &str), colour: Colour) -> String {
    let diff = TextDiff::from_lines(old.1, new.1);
    let plain = diff.unified_diff().context_radius(CONTEXT).header(old.0, new.0).to_string();
    match colour {
        Colour::Off => plain,
        Colour::On => coloured(&plain),
    }
}

fn coloured(plain: &str) -> String {
    let mut text = String::new();
    for line in plain.lines() {
        let code = match line.as_bytes() {
            [b'+', b'+', ..] | [b'-', b'-', ..] => "1",
            [b'@', ..] => "36",
            [b'+', ..] => "32",
            [b'-', ..] => "31",
            _ => "",
        };
        // Writing to a string cannot fail.
        let _ = match code {
            "" => writeln!(text, "{line}"),
            code => writeln!(text, "\u{1b}[{code}m{line}\u{1b}[0m"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_and_come_are_marked() {
        let old = ("Team/a version 1", "kind: Team\nname: a\ndisplay_name: A\n");
        let new = ("Team/a a.yaml:1", "kind: Team\nname: a\ndisplay_name: B\n");
        let expected = "--- Team/a version 1\n+++ Team/a a.yaml:1\n@@ -1,3 +1,3 @@\n kind: Team\n \
            name: a\n-display_name: A\n+display_name: B\n";
        assert_eq!(unified(old, new, Colour::Off), expected);
        let shown = unified(old, new, Colour::On);
        assert!(shown.contains("\u{1b}[31m-display_name: A\u{1b}[0m\n"), "{shown:?}");
    }
}
