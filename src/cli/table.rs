//! Text for terminals: columns that align, whatever the script, and never more
//! than the width.
//!
//! Rules kept here: nothing that came from outside reaches the terminal
//! unescaped; a word or symbol stands wherever a colour does; what is meant to be
//! copied is neither cut nor wrapped.

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::finding::{Severity, words};

/// What is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns; [`Screen::UNLIMITED`] cuts nothing.
    pub(crate) width: usize,
    /// Whether to write colours.
    pub(crate) color: bool,
    /// Whether the locale is UTF-8; ASCII stands in for everything else.
    pub(crate) unicode: bool,
}

impl Screen {
    /// For pipes and files.
    pub(crate) const UNLIMITED: usize = usize::MAX;
    /// Narrower than this is written as if it were this wide.
    const NARROWEST: usize = 40;

    /// The width to lay out for.
    pub(crate) fn columns(self) -> usize {
        self.width.max(Self::NARROWEST)
    }

    /// `text` in `style`, when there are colours. `text` has to be clean already.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.color && !text.is_empty() && style != Style::new() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// `text` as one printable line, in ASCII where the locale asks for it.
    pub(crate) fn clean(self, text: &str) -> String {
        let line = words::printable(text);
        if self.unicode || line.is_ascii() {
            return line;
        }
        let mut ascii = String::with_capacity(line.len());
        for c in line.chars() {
            match c {
                '…' => ascii.push_str("..."),
                '·' | '–' => ascii.push('-'),
                c if c.is_ascii() => ascii.push(c),
                c => ascii.extend(c.escape_unicode()),
            }
        }
        ascii
    }

    /// `text`, clean and cut to `width` columns with an ellipsis.
    pub(crate) fn fit(self, text: &str, width: usize) -> String {
        let text = self.clean(text);
        if text.width() <= width {
            return text;
        }
        let ellipsis = if self.unicode { "…" } else { "..." };
        let room = width.saturating_sub(ellipsis.width());
        let mut cut = String::new();
        let mut used = 0;
        for c in text.chars() {
            let wide = c.width().unwrap_or_default();
            if used + wide > room {
                break;
            }
            used += wide;
            cut.push(c);
        }
        cut.push_str(ellipsis);
        cut
    }

    /// `✓`, `!` or `✗`.
    pub(crate) fn symbol(self, severity: Option<Severity>) -> &'static str {
        match (severity, self.unicode) {
            (None | Some(Severity::Info), true) => "✓",
            (None | Some(Severity::Info), false) => "+",
            (Some(Severity::Warn), _) => "!",
            (Some(Severity::Critical), true) => "✗",
            (Some(Severity::Critical), false) => "x",
        }
    }

    /// A bar of `cells` for the share of life used, and the percentage.
    ///
    /// Rounds down, so that 100 % means that it is over.
    pub(crate) fn bar(self, used: f64, cells: usize) -> String {
        let percent = (used * 100.0).floor().clamp(0.0, 100.0);
        let percent = format!("{percent:>3}%");
        if cells == 0 {
            return percent;
        }
        let nearest = (used.clamp(0.0, 1.0) * cells as f64).round() as usize;
        let full = if used < 1.0 {
            nearest.min(cells - 1)
        } else {
            nearest
        };
        let (dark, light) = if self.unicode {
            ("▓", "░")
        } else {
            ("#", "-")
        };
        format!(
            "{}{} {percent}",
            dark.repeat(full),
            light.repeat(cells - full)
        )
    }

    /// `text` broken at spaces into lines of at most `width` columns; a word that
    /// is longer keeps its own line, whole.
    pub(crate) fn wrap(self, text: &str, width: usize) -> Vec<String> {
        let text = self.clean(text);
        let mut lines: Vec<String> = Vec::new();
        for word in text.split(' ') {
            match lines.last_mut() {
                Some(line) if line.width() + 1 + word.width() <= width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }
}

/// The colour that goes with a severity; the word stands beside it.
pub(crate) fn style_of(severity: Option<Severity>) -> Style {
    let color = match severity {
        None | Some(Severity::Info) => AnsiColor::Green,
        Some(Severity::Warn) => AnsiColor::Yellow,
        Some(Severity::Critical) => AnsiColor::Red,
    };
    color.on_default()
}

/// For labels and headings.
pub(crate) fn dim() -> Style {
    Style::new().dimmed()
}

/// For names.
pub(crate) fn bold() -> Style {
    Style::new().bold()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 certificate`, `2 certificates`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number as u64))
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A plain cell.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    /// A coloured cell.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        Self { text, style }
    }
}

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) title: &'static str,
    /// May be cut to make the table fit.
    pub(crate) flexible: bool,
    /// Numbers stand at the right.
    pub(crate) right: bool,
}

impl Column {
    /// A column that is never cut.
    pub(crate) const fn fixed(title: &'static str) -> Self {
        Self {
            title,
            flexible: false,
            right: false,
        }
    }

    /// A column that is cut when there is no room.
    pub(crate) const fn flexible(title: &'static str) -> Self {
        Self {
            title,
            flexible: true,
            right: false,
        }
    }

    /// A column of numbers.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self {
            title,
            flexible: false,
            right: true,
        }
    }
}

/// Rows under headings. Each row is followed by lines of its own, written as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<(Vec<Cell>, Vec<String>)>,
}

impl Table {
    const GAP: usize = 2;

    /// A table without rows.
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row, and the finished lines below it.
    pub(crate) fn push(&mut self, cells: Vec<Cell>, below: Vec<String>) {
        self.rows.push((cells, below));
    }

    /// How much narrower than their contents the flexible columns have to be.
    pub(crate) fn shortage(&self, screen: Screen) -> usize {
        let natural = self.natural(screen);
        let total: usize =
            natural.iter().sum::<usize>() + Self::GAP * natural.len().saturating_sub(1);
        total.saturating_sub(screen.columns())
    }

    /// The table, with its headings.
    pub(crate) fn render(&self, screen: Screen) -> String {
        let widths = self.widths(screen);
        let mut text = String::new();
        let headings: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::styled(column.title, dim()))
            .collect();
        self.line(screen, &widths, &headings, &mut text);
        for (cells, below) in &self.rows {
            self.line(screen, &widths, cells, &mut text);
            for line in below {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    fn natural(&self, screen: Screen) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.title.width()).collect();
        for (cells, _) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(screen.clean(&cell.text).width());
            }
        }
        widths
    }

    /// Takes what is missing from the widest flexible column, step by step.
    fn widths(&self, screen: Screen) -> Vec<usize> {
        const LEAST: usize = 8;
        let mut widths = self.natural(screen);
        for _ in 0..self.shortage(screen) {
            let widest = self
                .columns
                .iter()
                .zip(widths.iter_mut())
                .filter(|(column, width)| column.flexible && **width > LEAST)
                .map(|(_, width)| width)
                .max();
            match widest {
                Some(width) => *width -= 1,
                None => break,
            }
        }
        widths
    }

    fn line(&self, screen: Screen, widths: &[usize], cells: &[Cell], text: &mut String) {
        let mut line = String::new();
        let mut pending = 0;
        for ((column, width), cell) in self.columns.iter().zip(widths).zip(cells) {
            let shown = screen.fit(&cell.text, *width);
            let blank = width.saturating_sub(shown.width());
            if column.right {
                pending += blank;
            }
            line.push_str(&" ".repeat(if shown.is_empty() { 0 } else { pending }));
            if !shown.is_empty() {
                pending = 0;
            }
            line.push_str(&screen.paint(cell.style, &shown));
            pending += Self::GAP + if column.right { 0 } else { blank };
        }
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Screen = Screen {
        width: 40,
        color: false,
        unicode: true,
    };
    const ASCII: Screen = Screen {
        unicode: false,
        ..PLAIN
    };

    #[test]
    fn columns_align_by_what_is_seen() {
        let mut table = Table::new(vec![
            Column::flexible("NAME"),
            Column::fixed("STATUS"),
            Column::right("LEFT"),
        ]);
        for (name, left) in [
            ("web", "6d"),
            ("日本語.example", "12d"),
            ("cafe\u{301}", ""),
            ("", "1d"),
        ] {
            table.push(
                vec![Cell::new(name), Cell::new("ok"), Cell::new(left)],
                Vec::new(),
            );
        }
        assert_eq!(
            table.render(PLAIN),
            "NAME            STATUS  LEFT\n\
             web             ok        6d\n\
             日本語.example  ok       12d\n\
             cafe\u{301}            ok\n\
             \u{20}               ok        1d\n"
        );
    }

    #[test]
    fn only_flexible_columns_are_cut_and_the_widest_first() {
        let mut table = Table::new(vec![
            Column::flexible("A"),
            Column::fixed("B"),
            Column::flexible("C"),
        ]);
        table.push(
            vec![
                Cell::new("a".repeat(30)),
                Cell::new("b".repeat(12)),
                Cell::new("c".repeat(10)),
            ],
            Vec::new(),
        );
        let text = table.render(PLAIN);
        assert!(
            text.contains(&format!(
                "{}…  {}  {}",
                "a".repeat(13),
                "b".repeat(12),
                "c".repeat(10)
            )),
            "{text}"
        );
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
    }

    #[test]
    fn a_cut_never_splits_a_wide_character() {
        assert_eq!(PLAIN.fit("日本語", 6), "日本語");
        assert_eq!(PLAIN.fit("日本語", 5), "日本…");
        assert_eq!(PLAIN.fit("日本語", 4), "日…");
        assert_eq!(ASCII.fit("abcdefgh", 6), "abc...");
    }

    #[test]
    fn nothing_moves_the_cursor_and_ascii_stays_ascii() {
        let evil = "a\u{1b}[2J\r\n\u{202e}b\u{9b}c";
        for screen in [PLAIN, ASCII] {
            let shown = screen.fit(evil, 100);
            assert!(
                !shown.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{shown:?}"
            );
        }
        assert!(ASCII.clean("bücher… 日本").is_ascii());
        assert!(ASCII.bar(0.5, 6).is_ascii());
    }

    #[test]
    fn a_bar_is_full_only_when_life_is_over() {
        for (used, expected) in [
            (-0.5, "░░░░░░   0%"),
            (0.0, "░░░░░░   0%"),
            (0.01, "░░░░░░   1%"),
            (0.79, "▓▓▓▓▓░  79%"),
            (0.94, "▓▓▓▓▓░  94%"),
            (0.999, "▓▓▓▓▓░  99%"),
            (1.7, "▓▓▓▓▓▓ 100%"),
            (f64::NAN, "░░░░░░ NaN%"),
        ] {
            assert_eq!(PLAIN.bar(used, 6), expected, "{used}");
        }
        assert_eq!(ASCII.bar(0.79, 6), "#####-  79%");
    }

    #[test]
    fn text_wraps_at_spaces_and_long_words_stay_whole() {
        assert_eq!(PLAIN.wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            PLAIN.wrap("a verylongword b", 4),
            ["a", "verylongword", "b"]
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(9_980), "9,980");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(grouped(12), "12");
        assert_eq!(counted(1, "certificate"), "1 certificate");
    }

    #[test]
    fn colour_is_written_only_when_asked_for() {
        let red = style_of(Some(Severity::Critical));
        assert_eq!(PLAIN.paint(red, "x"), "x");
        let color = Screen {
            color: true,
            ..PLAIN
        };
        assert_eq!(color.paint(red, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
