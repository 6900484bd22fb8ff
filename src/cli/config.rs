//! The file behind `serve --config`: from its text to the settings written in it, each
//! with its line.
//!
//! Rules kept here: everything that is wrong is told at once, each with its line; a key
//! that is not known is wrong; paths are taken from where the file stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::args::{
    AcmeListenerArgs, CaListenerArgs, CustomListenerArgs, Entry, Fault, FileArgs, Given,
    InsecureListenerArgs, keys, read as read_table,
};
use crate::finding::words::causes;
use crate::identifier::quoted;
use crate::store::disk;

/// What a file says.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) file: FileArgs,
    /// The line of each key above the listeners.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) listeners: Vec<Written>,
    /// The lines of the tables `[dns.NAME]`.
    pub(super) dns: BTreeMap<String, usize>,
}

/// A table `[[listener]]`.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) line: usize,
    /// The line of each key.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) args: ListenerArgs,
}

/// The flags that a table stands for, by its mode.
#[derive(Debug)]
pub(super) enum ListenerArgs {
    Ca(Box<CaListenerArgs>),
    Acme(Box<AcmeListenerArgs>),
    Custom(Box<CustomListenerArgs>),
    Insecure(Box<InsecureListenerArgs>),
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Problems {
    path: PathBuf,
    found: Vec<(usize, String)>,
}

impl Problems {
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            found: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, line: usize, text: impl Into<String>) {
        self.found.push((line, text.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `file:line: what is wrong`, from the top of the file to its end.
    pub(super) fn told(mut self) -> Vec<String> {
        self.found.sort_by_key(|(line, _)| *line);
        let place = |line| place(&self.path, line);
        let told = self.found.iter();
        told.map(|(line, text)| format!("{}: {text}", place(*line)))
            .collect()
    }
}

/// `file:line`.
pub(super) fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", quoted(&path.to_string_lossy()))
}

/// The modes, as they are written.
const MODES: [&str; 4] = ["ca", "acme", "custom", "insecure"];

impl ListenerArgs {
    fn keys(mode: &str) -> Vec<String> {
        match mode {
            "ca" => keys::<CaListenerArgs>(),
            "acme" => keys::<AcmeListenerArgs>(),
            "custom" => keys::<CustomListenerArgs>(),
            _ => keys::<InsecureListenerArgs>(),
        }
    }

    fn read(mode: &str, entries: &[Entry], base: &Path) -> Result<Self, Vec<Fault>> {
        let unknown = |key: &str| not_of_mode(mode, key);
        Ok(match mode {
            "ca" => Self::Ca(Box::new(read_table(entries, base, unknown)?)),
            "acme" => Self::Acme(Box::new(read_table(entries, base, unknown)?)),
            "custom" => Self::Custom(Box::new(read_table(entries, base, unknown)?)),
            _ => Self::Insecure(Box::new(read_table(entries, base, unknown)?)),
        })
    }
}

/// Reads `path`; what is wrong is added to `problems`, and what is not is returned.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Option<Config> {
    let bytes = match disk::read(path) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(error) => {
            let hint = "name a file that exists with `--config`";
            problems.push(1, format!("{}; {hint}", causes(&error)));
            return None;
        }
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        problems.push(1, "it is not UTF-8: save it as text");
        return None;
    };
    let document = Document {
        text,
        base: path.parent().unwrap_or_else(|| Path::new(".")),
    };
    document.read(problems)
}

/// The text of a file.
struct Document<'a> {
    text: &'a str,
    base: &'a Path,
}

impl<'a> Document<'a> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.bytes().take(at);
        1 + before.filter(|byte| *byte == b'\n').count()
    }

    fn read(&self, problems: &mut Problems) -> Option<Config> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            // The library shows the line itself, which may hold a secret.
            let line = self.line(error.span().map_or(0, |span| span.start));
            let what = error.message().lines().next().unwrap_or_default();
            problems.push(line, format!("this is no TOML: {}", quoted(what)));
        }
        if !errors.is_empty() {
            // What the rest would mean is a guess.
            return None;
        }
        let mut entries = Vec::new();
        let (mut listeners, mut dns) = (Vec::new(), BTreeMap::new());
        let mut some = false;
        for (key, value) in table.get_ref() {
            let line = self.line(key.span().start);
            match (&**key.get_ref(), value.get_ref()) {
                ("listener", DeValue::Array(tables)) => {
                    some = true;
                    let tables = tables.iter();
                    listeners.extend(tables.filter_map(|table| self.listener(table, problems)));
                }
                ("listener", _) => {
                    some = true;
                    problems.push(line, "write `[[listener]]` for each listener");
                }
                ("dns", DeValue::Table(tables)) => {
                    let line = |name: &Spanned<_>| self.line(name.span().start);
                    dns.extend(
                        tables
                            .iter()
                            .map(|(n, _)| (n.get_ref().to_string(), line(n))),
                    );
                }
                ("dns", _) => problems.push(line, "write `[dns.NAME]` for each credential"),
                (name, _) => entries.push(self.entry(name, line, value)),
            }
        }
        if !some {
            problems.push(
                1,
                "there is no listener: write a table `[[listener]]` with a `mode`",
            );
        }
        let lines = lines(&entries);
        let file = read_table(&entries, self.base, not_above);
        let file = file.map_err(|faults| add(faults, 1, problems)).ok()?;
        Some(Config {
            file,
            lines,
            listeners,
            dns,
        })
    }

    fn entry(&self, key: &str, line: usize, value: &Spanned<DeValue<'a>>) -> Entry {
        Entry {
            key: key.to_owned(),
            line,
            given: given(value.get_ref()),
        }
    }

    fn listener(&self, table: &Spanned<DeValue<'a>>, problems: &mut Problems) -> Option<Written> {
        let line = self.line(table.span().start);
        let DeValue::Table(table) = table.get_ref() else {
            problems.push(line, "write `[[listener]]` for each listener");
            return None;
        };
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| self.entry(key.get_ref(), self.line(key.span().start), value))
            .collect();
        entries.sort_by_key(|entry| entry.line);
        let mode = entries.iter().position(|entry| entry.key == "mode");
        let Some(mode) = mode.map(|n| entries.remove(n)) else {
            let modes = MODES.join(", ");
            problems.push(
                line,
                format!("this listener has no `mode`: write one of {modes}"),
            );
            return None;
        };
        let name = self.mode(&mode, problems)?;
        let lines = lines(&entries);
        let args = ListenerArgs::read(name, &entries, self.base);
        let args = args.map_err(|faults| add(faults, line, problems)).ok()?;
        Some(Written { line, lines, args })
    }

    fn mode(&self, mode: &Entry, problems: &mut Problems) -> Option<&'static str> {
        let known = match &mode.given {
            Given::Text(text) => MODES.into_iter().find(|known| known == text),
            _ => None,
        };
        if known.is_none() {
            let text = format!("`mode` is one of {}", MODES.join(", "));
            problems.push(mode.line, text);
        }
        known
    }
}

fn lines(entries: &[Entry]) -> BTreeMap<String, usize> {
    let line = |entry: &Entry| (entry.key.clone(), entry.line);
    entries.iter().map(line).collect()
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.to_string()),
        DeValue::Integer(number) => Given::Number(number.as_str().to_owned()),
        DeValue::Boolean(on) => Given::Switch(*on),
        DeValue::Array(items) => {
            Given::List(items.iter().map(|item| given(item.get_ref())).collect())
        }
        DeValue::Float(_) => Given::Other("fraction"),
        DeValue::Datetime(_) => Given::Other("date"),
        DeValue::Table(_) => Given::Other("table"),
    }
}

fn add(faults: Vec<Fault>, line: usize, problems: &mut Problems) {
    for fault in faults {
        problems.push(fault.line.unwrap_or(line), fault.text);
    }
}

fn not_of_mode(mode: &str, key: &str) -> String {
    let shown = quoted(key);
    let others = MODES
        .into_iter()
        .filter(|other| ListenerArgs::keys(other).iter().any(|known| known == key));
    let others: Vec<&str> = others.collect();
    if !others.is_empty() {
        let others = others.join(", ");
        return format!("`{shown}` is for mode {others}, not for {mode}: leave it out");
    }
    if keys::<FileArgs>().iter().any(|known| known == key) {
        return format!("`{shown}` is for the whole server: write it above the listeners");
    }
    not_known(key, &ListenerArgs::keys(mode))
}

fn not_above(key: &str) -> String {
    let of_listeners = MODES
        .into_iter()
        .any(|mode| ListenerArgs::keys(mode).iter().any(|known| known == key));
    if of_listeners || key == "mode" {
        let key = quoted(key);
        return format!("`{key}` is for a listener: write it below a `[[listener]]`");
    }
    not_known(key, &keys::<FileArgs>())
}

fn not_known(key: &str, known: &[String]) -> String {
    /// More is another word.
    const TYPING_ERRORS: usize = 3;
    let shown = quoted(key);
    let nearest = known.iter().min_by_key(|known| distance(key, known));
    match nearest.filter(|nearest| distance(key, nearest) <= TYPING_ERRORS.min(key.len() / 2)) {
        Some(nearest) => format!("`{shown}` is not known: is `{nearest}` meant?"),
        None => format!("`{shown}` is not known: known are {}", known.join(", ")),
    }
}

/// How many letters are to be changed, added or left out.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[m + 1];
            row[m + 1] = changed.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_near_and_another_word_is_not() {
        for (one, other, far) in [
            ("", "", 0),
            ("a", "", 1),
            ("upstrem", "upstream", 1),
            ("root", "hsts", 4),
        ] {
            assert_eq!(distance(one, other), far);
            assert_eq!(distance(other, one), far);
        }
        let known = ["upstream".to_owned(), "root".to_owned()];
        assert!(not_known("upsteram", &known).contains("is `upstream` meant?"));
        assert!(not_known("colour", &known).contains("known are upstream, root"));
    }
}
