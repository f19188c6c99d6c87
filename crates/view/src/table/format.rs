//! The four forms of a table: for a terminal, Markdown, comma-separated values, LaTeX.

use unicode_width::UnicodeWidthStr;

use super::grid::{Align, Grid};
use crate::number::NONE;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Aligned text.
    Terminal,
    /// A pipe table, the notes as a list below.
    Markdown,
    /// A header and the lines, quoted as in RFC 4180, lines ending with a line feed; neither caption nor notes.
    Csv,
    /// A floating table for the package booktabs.
    Latex,
}

/// The table in a form; ends with a line feed.
pub fn show(grid: &Grid, form: Form) -> String {
    match form {
        Form::Terminal => terminal(grid),
        Form::Markdown => markdown_table(grid),
        Form::Csv => csv_table(grid),
        Form::Latex => latex_table(grid),
    }
}

fn terminal(grid: &Grid) -> String {
    let columns = grid.columns.iter().enumerate();
    let mut widths: Vec<usize> = columns
        .map(|(at, column)| {
            let cells = grid.lines.iter().flat_map(|line| wrapped(&line.cells[at]));
            let widths = cells.map(|cell| cell.width());
            widths.fold(column.title.width(), usize::max)
        })
        .collect();
    let groups = grid.groups();
    let mut from = 0;
    for group in &groups {
        let span = from..from + group.span;
        let room = spanned(&widths[span.clone()]);
        widths[span.end - 1] += group.title.width().saturating_sub(room);
        from = span.end;
    }
    let mut text = format!("{}\n\n", plain(&grid.caption));
    if !groups.is_empty() {
        let mut from = 0;
        let headings = groups.iter().map(|group| {
            let room = spanned(&widths[from..from + group.span]);
            from += group.span;
            heading(&group.title, room)
        });
        push_line(&mut text, &headings.collect::<Vec<_>>());
    }
    let padded = |cells: Vec<String>| -> Vec<String> {
        let cells = cells.into_iter().zip(&widths).zip(&grid.columns);
        let pad = |((cell, width), column): ((String, &usize), &super::Column)| {
            let room = " ".repeat(width.saturating_sub(cell.width()));
            match column.align {
                Align::Left => format!("{cell}{room}"),
                Align::Right => format!("{room}{cell}"),
            }
        };
        cells.map(pad).collect()
    };
    let titles = grid.columns.iter().map(|column| column.title.clone());
    push_line(&mut text, &padded(titles.collect()));
    let rule = |width: &usize| "─".repeat(*width);
    let rules: Vec<_> = widths.iter().map(rule).collect();
    push_line(&mut text, &rules);
    for line in &grid.lines {
        let cells: Vec<_> = line.cells.iter().map(|cell| wrapped(cell)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let part = |parts: &Vec<String>| parts.get(at).cloned().unwrap_or_default();
            push_line(&mut text, &padded(cells.iter().map(part).collect()));
        }
    }
    let notes = grid.notes.iter().map(|note| format!("- {}\n", plain(note)));
    let notes: String = notes.collect();
    match notes.as_str() {
        "" => text,
        notes => format!("{text}\n{notes}"),
    }
}

/// A heading in the middle of a rule over its columns; where there is no room for one, at their right.
fn heading(title: &str, room: usize) -> String {
    let rest = room.saturating_sub(title.width());
    let words = format!(" {title} ");
    match rest.checked_sub(4) {
        Some(rest) if !title.is_empty() => {
            let left = 1 + rest / 2;
            let right = rest + 2 - left;
            [&"─".repeat(left), words.as_str(), &"─".repeat(right)].concat()
        }
        _ => " ".repeat(rest) + title,
    }
}

/// Columns and the gaps between them.
fn spanned(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP.len() * (widths.len() - 1)
}

/// A cell in lines of at most [`WIDEST`], as far as there are spaces to break it at; one line at least.
fn wrapped(cell: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in plain(cell).split(' ') {
        match lines.last_mut() {
            Some(last) if last.is_empty() => last.push_str(word),
            Some(last) if last.width() + 1 + word.width() <= WIDEST => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Columns of a terminal that a cell may take.
const WIDEST: usize = 36;

/// Between two columns.
const GAP: &str = "  ";

fn push_line(text: &mut String, cells: &[String]) {
    text.push_str(cells.join(GAP).trim_end());
    text.push('\n');
}

fn markdown_table(grid: &Grid) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = grid.columns.iter().map(|column| markdown(&column.name()));
    let rules = grid.columns.iter().map(|column| match column.align {
        Align::Left => "---".to_owned(),
        Align::Right => "---:".to_owned(),
    });
    let lines = grid.lines.iter();
    let lines = lines.map(|row| line(row.cells.iter().map(|cell| markdown(cell)).collect()));
    let body = format!(
        "**{}**\n\n{}{}{}",
        markdown(&grid.caption),
        line(names.collect()),
        line(rules.collect()),
        lines.collect::<String>()
    );
    let notes = grid.notes.iter();
    let notes: String = notes
        .map(|note| format!("- {}\n", markdown(note)))
        .collect();
    match notes.as_str() {
        "" => body,
        notes => format!("{body}\n{notes}"),
    }
}

fn csv_table(grid: &Grid) -> String {
    let line = |cells: Vec<String>| format!("{}\n", cells.join(","));
    let names = grid.columns.iter().map(|column| csv(&column.name()));
    let value = |cell: &String| match cell.as_str() {
        NONE => String::new(),
        cell => csv(cell),
    };
    let lines = grid.lines.iter();
    let lines = lines.map(|row| line(row.cells.iter().map(value).collect()));
    [line(names.collect())].into_iter().chain(lines).collect()
}

fn latex_table(grid: &Grid) -> String {
    let aligns: String = grid
        .columns
        .iter()
        .map(|column| match column.align {
            Align::Left => 'l',
            Align::Right => 'r',
        })
        .collect();
    let mut text = format!(
        "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n  \\centering\n  \\caption{{{}}}\n  \\label{{tab:{}}}\n  \\begin{{tabular}}{{{aligns}}}\n    \\toprule\n",
        latex(&grid.caption),
        grid.name
    );
    let line = |cells: Vec<String>| format!("    {} \\\\\n", cells.join(" & "));
    let groups = grid.groups();
    if !groups.is_empty() {
        let heading = |group: &super::Group| match group.title.as_str() {
            "" => "& ".repeat(group.span - 1).trim_end().to_owned(),
            title => format!("\\multicolumn{{{}}}{{c}}{{{}}}", group.span, latex(title)),
        };
        text.push_str(&line(groups.iter().map(heading).collect()));
        let mut to = 0;
        let rules = groups.iter().filter_map(|group| {
            to += group.span;
            let from = to + 1 - group.span;
            (!group.title.is_empty()).then(|| format!("\\cmidrule(lr){{{from}-{to}}}"))
        });
        text.push_str(&format!("    {}\n", rules.collect::<Vec<_>>().join(" ")));
    }
    let titles = grid.columns.iter().map(|column| latex(&column.title));
    text.push_str(&line(titles.collect()));
    text.push_str("    \\midrule\n");
    for (index, row) in grid.lines.iter().enumerate() {
        if row.begins && index > 0 {
            text.push_str("    \\addlinespace\n");
        }
        text.push_str(&line(row.cells.iter().map(|cell| latex(cell)).collect()));
    }
    text.push_str("    \\bottomrule\n  \\end{tabular}\n");
    for note in &grid.notes {
        text.push_str(&format!(
            "  \\par\\smallskip{{\\footnotesize {}}}\n",
            latex(note)
        ));
    }
    text.push_str("\\end{table}\n");
    text
}

/// On one line.
fn plain(text: &str) -> String {
    let one = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(one).collect()
}

/// Text that stands for itself in Markdown, within a cell too.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        if matches!(c, '\\' | '|' | '<' | '*' | '_' | '`' | '[' | ']' | '~') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A value among others between commas (RFC 4180).
pub fn csv(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Text that stands for itself in LaTeX; numbers have a minus sign, [`NONE`] is a dash.
pub fn latex(text: &str) -> String {
    let text = plain(text);
    if text == NONE {
        return "--".into();
    }
    if let Some(size) = text.strip_prefix('-')
        && size.parse::<f64>().is_ok()
    {
        return format!("$-${size}");
    }
    let mut escaped = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let relation = matches!(c, '<' | '>') && chars.next_if_eq(&'=').is_some();
        match c {
            '<' if relation => escaped.push_str("$\\leq$"),
            '>' if relation => escaped.push_str("$\\geq$"),
            '<' => escaped.push_str("$<$"),
            '>' => escaped.push_str("$>$"),
            '|' => escaped.push_str("$|$"),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '"' => escaped.push_str("{''}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::grid::Column;
    use super::*;

    fn grid() -> Grid {
        let number = |title| Column::numbers(title).under("within eps");
        let columns = vec![Column::words("run"), number("0.1"), number("0.25")];
        let mut grid = Grid::new("t", "Worst & best", columns);
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        grid.add([line(["a_b|c", "0.9", "-"])]);
        grid.add([line(["x,\"y\"", "-0.25", "1"])]);
        grid.note("100 % of it");
        grid
    }

    #[test]
    fn a_terminal_gets_columns() {
        let expected = "\
Worst & best

        within eps
run      0.1  0.25
─────  ─────  ────
a_b|c    0.9     -
x,\"y\"  -0.25     1

- 100 % of it
";
        assert_eq!(show(&grid(), Form::Terminal), expected);
    }

    #[test]
    fn markdown_gets_pipes() {
        let expected = "\
**Worst & best**

| run | within eps 0.1 | within eps 0.25 |
| --- | ---: | ---: |
| a\\_b\\|c | 0.9 | - |
| x,\"y\" | -0.25 | 1 |

- 100 % of it
";
        assert_eq!(show(&grid(), Form::Markdown), expected);
    }

    #[test]
    fn values_are_between_commas() {
        let expected = "\
run,within eps 0.1,within eps 0.25
a_b|c,0.9,
\"x,\"\"y\"\"\",-0.25,1
";
        assert_eq!(show(&grid(), Form::Csv), expected);
    }

    #[test]
    fn latex_gets_rules() {
        let expected = r"% needs \usepackage{booktabs}
\begin{table}
  \centering
  \caption{Worst \& best}
  \label{tab:t}
  \begin{tabular}{lrr}
    \toprule
     & \multicolumn{2}{c}{within eps} \\
    \cmidrule(lr){2-3}
    run & 0.1 & 0.25 \\
    \midrule
    a\_b$|$c & 0.9 & -- \\
    \addlinespace
    x,{''}y{''} & $-$0.25 & 1 \\
    \bottomrule
  \end{tabular}
  \par\smallskip{\footnotesize 100 \% of it}
\end{table}
";
        assert_eq!(show(&grid(), Form::Latex), expected);
    }

    #[test]
    fn every_special_character_is_escaped() {
        assert_eq!(
            latex("\\&%$#_{}~^<=>=<>\n"),
            "\\textbackslash{}\\&\\%\\$\\#\\_\\{\\}\\textasciitilde{}\\textasciicircum{}$\\leq$$\\geq$$<$$>$ "
        );
        assert_eq!(latex("-1e-3"), "$-$1e-3");
        assert_eq!(latex("-a"), "-a");
        assert_eq!(
            markdown("a|b\n<i>*_`[]\\"),
            "a\\|b \\<i>\\*\\_\\`\\[\\]\\\\"
        );
        assert_eq!(csv("a\nb"), "\"a\nb\"");
        assert_eq!(csv("a b"), "a b");
    }

    #[test]
    fn long_cells_are_broken_at_spaces() {
        let long = "x".repeat(WIDEST + 1);
        assert_eq!(wrapped(&long), [long.as_str()]);
        let words = format!("{} b", "a".repeat(WIDEST - 1));
        assert_eq!(wrapped(&words), ["a".repeat(WIDEST - 1), "b".into()]);
        assert_eq!(wrapped("a b"), ["a b"]);
        assert_eq!(wrapped(""), [""]);
    }

    #[test]
    fn headings_fill_their_room() {
        assert_eq!(heading("eps", 8), "─ eps ──");
        assert_eq!(heading("eps", 7), "─ eps ─");
        assert_eq!(heading("eps", 6), "   eps");
        assert_eq!(heading("eps", 3), "eps");
        assert_eq!(heading("", 6), "      ");
    }

    #[test]
    fn wide_letters_and_wide_headings_have_their_room() {
        let columns = vec![
            Column::words("run"),
            Column::numbers("n").under("a long heading"),
        ];
        let mut grid = Grid::new("t", "c", columns);
        grid.add([vec!["息肉".to_owned(), "1".into()]]);
        let text = show(&grid, Form::Terminal);
        let lines: Vec<_> = text.lines().skip(2).map(UnicodeWidthStr::width).collect();
        assert_eq!(lines, [20, 20, 20, 20], "{text}");
    }
}
