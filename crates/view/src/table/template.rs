//! A table in a form of the user's own: a template of minijinja, whose language is that of Jinja2.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, context};

use super::format::{csv, latex, markdown};
use super::grid::Grid;
use crate::{Error, Result};

/// The table by the template `source`, read from `file`. It may name `name`, `caption`, `columns` (`group`, `title`,
/// `align`: left or right), `groups` (`title`, `span`; empty where no column has one), `lines` (`begins`, `cells`) and
/// `notes`; the filters `latex`, `markdown` and `csv` escape a text. What is not there is an error.
///
/// # Errors
/// [`Error::Template`] with the line.
pub fn fill(grid: &Grid, file: &str, source: &str) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("latex", |text: String| latex(&text));
    environment.add_filter("markdown", |text: String| markdown(&text));
    environment.add_filter("csv", |text: String| csv(&text));
    let fields = context! {
        name => Serde(&grid.name),
        caption => Serde(&grid.caption),
        columns => Serde(&grid.columns),
        groups => Serde(grid.groups()),
        lines => Serde(&grid.lines),
        notes => Serde(&grid.notes),
    };
    let filled = environment.render_named_str(file, source, fields);
    filled.map_err(|error| Error::Template {
        file: file.into(),
        line: error.line().unwrap_or(1),
        what: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::grid::Column;
    use super::*;

    fn grid() -> Grid {
        let number = |title| Column::numbers(title).under("eps");
        let columns = vec![Column::words("run"), number("0.1"), number("0.2")];
        let mut grid = Grid::new("t", "A & b", columns);
        grid.add([["a_1", "0.5", "0.25"].map(str::to_owned).to_vec()]);
        grid.note("a note");
        grid
    }

    #[test]
    fn every_field_is_there() {
        let source = "\
{{ name }}: {{ caption|latex }}
{% for group in groups %}[{{ group.title }} {{ group.span }}]{% endfor %}
{% for column in columns %}{{ column.group }}/{{ column.title }}/{{ column.align }} {% endfor %}
{% for line in lines %}{{ 'first' if line.begins }} {{ line.cells|map('latex')|join(' & ') }}{% endfor %}
{% for note in notes %}{{ note }}{% endfor %}";
        let expected = "\
t: A \\& b
[ 1][eps 2]
/run/left eps/0.1/right eps/0.2/right\x20
first a\\_1 & 0.5 & 0.25
a note";
        assert_eq!(fill(&grid(), "f.tex", source).unwrap(), expected);
    }

    #[test]
    fn pages_are_escaped() {
        let text = fill(&grid(), "f.html", "{{ caption }}").unwrap();
        assert_eq!(text, "A &amp; b");
    }

    #[test]
    fn mistakes_have_a_file_and_a_line() {
        for (source, line, words) in [
            ("a\n{{ nmae }}", 2, "undefined"),
            ("a\nb\n{% for %}", 3, "syntax"),
            ("{{ name|upper_case }}", 1, "upper_case"),
            ("\n\n\n{% include 'other' %}", 4, ""),
        ] {
            let error = fill(&grid(), "dir/f.tex", source).unwrap_err().to_string();
            let place = format!("dir/f.tex, line {line}: ");
            assert!(
                error.starts_with(&place) && error.contains(words),
                "{error}"
            );
        }
    }
}
