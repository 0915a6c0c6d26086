//! Edits a configuration line by line. Whether the result is right is for the caller to check.
use std::ops::Range;

use serde_json::Value;

use super::{KEY, LIST};

/// Words that are no strings in some version of YAML.
const WORDS: [&str; 13] = [
    "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "t", "f",
];

/// A text as lines, each with its own end.
struct Text<'t> {
    lines: Vec<&'t str>,
    /// How lines end here.
    end: &'static str,
}

impl<'t> Text<'t> {
    fn of(text: &'t str) -> Self {
        Self {
            lines: text.split_inclusive('\n').collect(),
            end: if text.contains("\r\n") { "\r\n" } else { "\n" },
        }
    }

    /// The line without its end.
    fn line(&self, index: usize) -> &'t str {
        self.lines
            .get(index)
            .map_or("", |line| line.trim_end_matches(['\n', '\r']))
    }

    /// The text with some lines replaced.
    fn spliced(&self, range: Range<usize>, new: &[String]) -> String {
        let mut text = String::new();
        let parts = [self.lines.get(..range.start), self.lines.get(range.end..)];
        text.push_str(&parts[0].unwrap_or_default().concat());
        // The last line of a file may lack its end.
        if !new.is_empty() && !text.is_empty() && !text.ends_with('\n') {
            text.push_str(self.end);
        }
        for line in new {
            text.push_str(line);
            text.push_str(self.end);
        }
        text.push_str(&parts[1].unwrap_or_default().concat());
        self.ended(text)
    }

    /// A file whose last line had no end keeps it so, and one whose last line had one too.
    fn ended(&self, mut text: String) -> String {
        let had = self.lines.last().is_none_or(|last| last.ends_with('\n'));
        if !had && text.ends_with(self.end) {
            text.truncate(text.len() - self.end.len());
        } else if had && !text.is_empty() && !text.ends_with('\n') {
            text.push_str(self.end);
        }
        text
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Blank, or nothing but a comment.
fn is_idle(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start_matches(' ');
    line == "-" || line.starts_with("- ")
}

/// Where the list stands: its first line, and the lines of its entries.
struct List {
    at: usize,
    /// Lines after the first one that belong to it, trailing comments left out.
    body: Range<usize>,
    /// The entries, trailing comments left out.
    items: Vec<Range<usize>>,
}

fn list(text: &Text<'_>) -> Option<List> {
    let is_key = |line: &str| {
        line.strip_prefix(LIST)
            .and_then(|rest| rest.trim_start().strip_prefix(':'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    };
    let at = (0..text.lines.len()).find(|index| is_key(text.line(*index)))?;
    let belongs = |line: &str| is_idle(line) || indent(line) > 0 || is_item(line);
    let next = (at + 1..text.lines.len()).find(|index| !belongs(text.line(*index)));
    let body = trimmed(text, at + 1..next.unwrap_or(text.lines.len()));
    let first = body.clone().find(|index| !is_idle(text.line(*index)));
    let mut items = Vec::new();
    if let Some(first) = first.filter(|first| is_item(text.line(*first))) {
        let depth = indent(text.line(first));
        let starts: Vec<_> = (first..body.end)
            .filter(|index| is_item(text.line(*index)) && indent(text.line(*index)) == depth)
            .collect();
        let ends = starts.iter().skip(1).copied().chain([body.end]);
        items = starts
            .iter()
            .zip(ends)
            .map(|(start, end)| trimmed(text, *start..end))
            .collect();
    }
    Some(List { at, body, items })
}

/// Without idle lines at the end.
fn trimmed(text: &Text<'_>, mut range: Range<usize>) -> Range<usize> {
    while range.end > range.start && is_idle(text.line(range.end - 1)) {
        range.end -= 1;
    }
    range
}

/// A field of an entry: its lines, and the column in which its key begins.
struct Field<'t> {
    key: &'t str,
    lines: Range<usize>,
    column: usize,
}

/// The fields of an entry that is written as a block; `None` if it is written in another way.
fn fields_of<'t>(text: &Text<'t>, item: &Range<usize>) -> Option<Vec<Field<'t>>> {
    let first = text.line(item.start);
    let after = first.trim_start_matches(' ').strip_prefix('-')?;
    let (start, column) = if is_idle(after) {
        let start = (item.start + 1..item.end).find(|index| !is_idle(text.line(*index)))?;
        (start, indent(text.line(start)))
    } else {
        (item.start, indent(first) + 1 + indent(after))
    };
    let key_at = |index: usize| {
        let line = text.line(index);
        if index != item.start && (is_idle(line) || indent(line) != column) {
            return None;
        }
        let (key, rest) = line.get(column..)?.split_once(':')?;
        let plain = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric());
        (plain && (rest.is_empty() || rest.starts_with(' '))).then_some(key)
    };
    let keys: Vec<_> = (start..item.end)
        .filter_map(|index| Some((index, key_at(index)?)))
        .collect();
    if keys.first()?.0 != start {
        return None;
    }
    let ends = keys.iter().skip(1).map(|(index, _)| *index).chain([item.end]);
    let fields = keys.iter().zip(ends).map(|((index, key), end)| Field {
        key,
        lines: trimmed(text, *index..end),
        column,
    });
    Some(fields.collect())
}

/// The value of a field as it is written, if it stands in one line.
fn scalar(value: &str) -> Option<String> {
    match serde_saphyr::from_str::<Value>(value).ok()? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn find(text: &Text<'_>, list: &List, name: &str) -> Option<Range<usize>> {
    let named = |item: &&Range<usize>| {
        let fields = fields_of(text, item).unwrap_or_default();
        let mut keys = fields.iter().filter(|field| field.key == KEY);
        keys.any(|field| {
            let line = text.line(field.lines.start);
            let value = line
                .get(field.column + KEY.len()..)
                .and_then(|rest| rest.split_once(':'));
            value.and_then(|(_, value)| scalar(value)).as_deref() == Some(name)
        })
    };
    list.items.iter().find(named).cloned()
}

/// A string as YAML.
fn quoted(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._/-:".contains(letter);
    let safe = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // What JSON writes is YAML as well.
    if safe {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// The lines of a field without indentation.
fn rendered(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![format!("{key}: {}", quoted(text))],
        Value::Object(map) => {
            let inner = map.iter().flat_map(|(key, value)| rendered(key, value));
            std::iter::once(format!("{key}:"))
                .chain(inner.map(|line| format!("  {line}")))
                .collect()
        }
        other => vec![format!("{key}: {other}")],
    }
}

/// The comment at the end of a line with a simple value.
fn comment(line: &str) -> &str {
    let simple = !line.contains(['"', '\'']);
    let at = line.find(" #").filter(|_| simple);
    at.map_or("", |at| {
        let start = line[..at].trim_end().len();
        &line[start..]
    })
}

/// What a field says now.
fn says(text: &Text<'_>, field: &Field<'_>) -> Option<Value> {
    let first = text.line(field.lines.start).get(field.column..)?;
    let rest = field.lines.clone().skip(1).map(|index| {
        let line = text.line(index);
        line.get(field.column..).unwrap_or_else(|| line.trim_start())
    });
    let block: Vec<_> = std::iter::once(first).chain(rest).collect();
    let map: Value = serde_saphyr::from_str(&block.join("\n")).ok()?;
    map.get(field.key).cloned()
}

/// The line of the list while it has no entries; empty where there is no list.
pub(super) fn list_line(text: &str) -> String {
    let text = Text::of(text);
    list(&text).map_or_else(String::new, |list| text.line(list.at).to_owned())
}

/// Adds an entry, or changes fields of one and takes one out of it.
pub(super) fn upsert(text: &str, name: &str, fields: &[(&str, Value)], dropped: Option<&str>) -> Option<String> {
    let lines = Text::of(text);
    let Some(found) = list(&lines) else {
        let entry = entry(fields, 0);
        let new: Vec<_> = std::iter::once(format!("{LIST}:")).chain(entry).collect();
        return Some(lines.spliced(lines.lines.len()..lines.lines.len(), &new));
    };
    let Some(item) = find(&lines, &found, name) else {
        if let Some(last) = found.items.last() {
            let depth = indent(lines.line(last.start));
            return Some(lines.spliced(last.end..last.end, &entry(fields, depth)));
        }
        // `s3StoreProfiles:` or `s3StoreProfiles: []`, with whatever comment.
        let line = lines.line(found.at);
        let new: Vec<_> = std::iter::once(format!("{LIST}:{}", comment(line)))
            .chain(entry(fields, 0))
            .collect();
        return found
            .body
            .is_empty()
            .then(|| lines.spliced(found.at..found.at + 1, &new));
    };
    let mut text = text.to_owned();
    for (key, value) in fields {
        text = set(&text, &item, key, Some(value))?;
    }
    // Fields that were added make the entry longer, which changes where it ends but not where it begins.
    match dropped {
        None => Some(text),
        Some(key) => set(&text, &item, key, None),
    }
}

/// The lines of a new entry.
fn entry(fields: &[(&str, Value)], depth: usize) -> Vec<String> {
    let lines = fields.iter().flat_map(|(key, value)| rendered(key, value));
    lines
        .enumerate()
        .map(|(index, line)| {
            let mark = if index == 0 { "- " } else { "  " };
            format!("{}{mark}{line}", " ".repeat(depth))
        })
        .collect()
}

/// Sets a field of the entry that begins where `item` does, or takes it out.
fn set(text: &str, item: &Range<usize>, key: &str, value: Option<&Value>) -> Option<String> {
    let lines = Text::of(text);
    let item = list(&lines)?
        .items
        .into_iter()
        .find(|found| found.start == item.start)?;
    let fields = fields_of(&lines, &item)?;
    let known = fields.iter().find(|field| field.key == key);
    let (Some(value), Some(field)) = (value, known) else {
        return match (value, known) {
            (Some(value), None) => {
                let last = fields.last()?;
                let new: Vec<_> = rendered(key, value)
                    .iter()
                    .map(|line| format!("{}{line}", " ".repeat(last.column)))
                    .collect();
                Some(lines.spliced(last.lines.end..last.lines.end, &new))
            }
            // The first line of an entry holds its dash.
            (None, Some(field)) if field.lines.start != item.start => Some(lines.spliced(field.lines.clone(), &[])),
            (None, None) => Some(text.to_owned()),
            _ => None,
        };
    };
    if says(&lines, field).as_ref() == Some(value) {
        return Some(text.to_owned());
    }
    let first = lines.line(field.lines.start);
    let head = first.get(..field.column)?;
    let trailing = if field.lines.len() == 1 { comment(first) } else { "" };
    let mut new: Vec<_> = rendered(key, value)
        .iter()
        .map(|line| format!("{}{line}", " ".repeat(field.column)))
        .collect();
    let rendered = new.first_mut()?;
    *rendered = format!("{head}{}{trailing}", rendered.get(field.column..)?);
    Some(lines.spliced(field.lines.clone(), &new))
}

/// Takes an entry out. The last one leaves what stood there before it.
pub(super) fn remove(text: &str, name: &str, last: bool, original: Option<&str>) -> Option<String> {
    let lines = Text::of(text);
    let found = list(&lines)?;
    let item = find(&lines, &found, name)?;
    if !last {
        return Some(lines.spliced(item, &[]));
    }
    let without = lines.spliced(item, &[]);
    let lines = Text::of(&without);
    let line = lines.line(found.at);
    match original {
        Some("") => Some(lines.spliced(found.at..found.at + 1, &[])),
        Some(original) => Some(lines.spliced(found.at..found.at + 1, &[original.to_owned()])),
        None => Some(lines.spliced(found.at..found.at + 1, &[format!("{LIST}: []{}", comment(line))])),
    }
}

/// Writes the whole list anew, one entry per line: where entries are written in a way that cannot be edited by lines.
pub(super) fn rewrite(text: &str, expected: &Value) -> Option<String> {
    let lines = Text::of(text);
    let found = list(&lines)?;
    let entries = expected.get(LIST)?.as_array()?;
    let mut new = vec![format!("{LIST}:{}", if entries.is_empty() { " []" } else { "" })];
    new.extend(entries.iter().map(|entry| format!("- {entry}")));
    Some(lines.spliced(found.at..found.body.end, &new))
}
