//! A table before it has a form: columns, lines of text, a caption, notes.

use serde::Serialize;

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column and its heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Heading over this and its neighbours of the same group; empty where there is none.
    pub group: String,
    /// Its own heading.
    pub title: String,
    /// Where its text stands.
    pub align: Align,
}

impl Column {
    /// Of words.
    pub fn words(title: &str) -> Self {
        Column {
            group: String::new(),
            title: title.into(),
            align: Align::Left,
        }
    }

    /// Of numbers.
    pub fn numbers(title: &str) -> Self {
        Column {
            align: Align::Right,
            ..Self::words(title)
        }
    }

    /// Under a common heading.
    pub fn under(self, group: &str) -> Self {
        Column {
            group: group.into(),
            ..self
        }
    }

    /// Both headings in one, for forms whose header is one line.
    pub fn name(&self) -> String {
        match self.group.as_str() {
            "" => self.title.clone(),
            group => format!("{group} {}", self.title).trim_end().into(),
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Whether it is the first of several that belong together.
    pub begins: bool,
    /// A text for each column; [`crate::number::NONE`] where there is nothing.
    pub cells: Vec<String>,
}

/// A heading over several columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Empty over columns without one.
    pub title: String,
    /// Number of columns.
    pub span: usize,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grid {
    /// By which name it is asked for.
    pub name: String,
    /// What it shows.
    pub caption: String,
    /// From the left.
    pub columns: Vec<Column>,
    /// From above.
    pub lines: Vec<Line>,
    /// What a reader must know, a sentence each.
    pub notes: Vec<String>,
}

impl Grid {
    /// Without lines yet.
    pub fn new(name: &str, caption: &str, columns: Vec<Column>) -> Self {
        Grid {
            name: name.into(),
            caption: caption.into(),
            columns,
            lines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds lines that belong together.
    pub fn add(&mut self, lines: impl IntoIterator<Item = Vec<String>>) {
        let lines = lines.into_iter().enumerate();
        self.lines.extend(lines.map(|(index, cells)| Line {
            begins: index == 0,
            cells,
        }));
    }

    /// Adds a note, once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Headings over neighbours; none where no column has one.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for column in &self.columns {
            match groups.last_mut().filter(|last| last.title == column.group) {
                Some(last) => last.span += 1,
                None => groups.push(Group {
                    title: column.group.clone(),
                    span: 1,
                }),
            }
        }
        match groups.iter().any(|group| !group.title.is_empty()) {
            true => groups,
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_heading() {
        let number = |title, group| Column::numbers(title).under(group);
        let columns = vec![
            Column::words("run"),
            Column::words("metric"),
            number("0.1", "eps"),
            number("0.2", "eps"),
            number("0.1", "tau"),
        ];
        let grid = Grid::new("t", "", columns);
        let groups = grid.groups();
        let spans: Vec<_> = groups.iter().map(|g| (g.title.as_str(), g.span)).collect();
        assert_eq!(spans, [("", 2), ("eps", 2), ("tau", 1)]);
        assert_eq!(grid.columns[2].name(), "eps 0.1");
        assert_eq!(grid.columns[0].name(), "run");
        let plain = Grid::new("t", "", vec![Column::words("run"), Column::numbers("n")]);
        assert_eq!(plain.groups(), []);
    }

    #[test]
    fn lines_of_a_call_belong_together_and_notes_come_once() {
        let mut grid = Grid::new("t", "", vec![Column::words("run")]);
        grid.add([vec!["a".into()], vec!["b".into()]]);
        grid.add([vec!["c".into()]]);
        let begins: Vec<_> = grid.lines.iter().map(|line| line.begins).collect();
        assert_eq!(begins, [true, false, true]);
        grid.note("n");
        grid.note("n");
        assert_eq!(grid.notes, ["n"]);
    }
}
