//! Tables of plain text: columns as wide as they must be, and on a terminal no wider than it is.

use std::io::IsTerminal;

use holdfast_core::terminal::{columns, cut, wrapped};

/// Spaces between two columns.
const GAP: usize = 2;
/// A column whose words go on in the next line keeps so many columns of the terminal.
const WRAPPED_MIN: usize = 16;
/// Any other one keeps so many.
const CUT_MIN: usize = 4;

/// Width and height of the terminal that standard output is; none where it is none, or has no size.
pub fn screen() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&out).ok().filter(|_| out.is_terminal())?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// The width of that terminal alone.
pub fn screen_width() -> Option<usize> {
    screen().map(|(width, _)| width)
}

/// A table without colours of at most `width` columns; nothing without rows.
///
/// `heads` are separated by commas. Where there is too little room, columns marked with a `?` are left out, the last one first,
/// those with a `~` go on in the next line, and then any is cut. Columns in which nothing but `-` stands are left out always.
pub fn table(heads: &str, rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut page = String::new();
    for line in lines(heads, rows, width, |_, cell| cell.to_owned()) {
        page.push_str(&line);
        page.push('\n');
    }
    page
}

/// The lines of such a table. `paint` may colour a cell of this column, whose width it leaves as it is.
pub fn lines(
    heads: &str,
    rows: &[Vec<String>],
    width: Option<usize>,
    paint: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let shown = Column::fitting(heads, rows, width.unwrap_or(usize::MAX));
    let mut lines = vec![joined(shown.iter().map(|column| (column.head.to_owned(), column, column.head)))];
    for row in rows {
        let cells: Vec<Vec<String>> = shown.iter().map(|column| column.cell(&row[column.index])).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for number in 0..height {
            let line = shown.iter().zip(&cells).map(|(column, cell)| {
                let text = cell.get(number).map_or("", String::as_str);
                let painted = if text.is_empty() { String::new() } else { paint(column.head, text) };
                (painted, column, text)
            });
            lines.push(joined(line));
        }
    }
    lines
}

/// A line of cells, each as it is shown, its column, and what of it takes room.
fn joined<'a>(cells: impl Iterator<Item = (String, &'a Column<'a>, &'a str)>) -> String {
    let mut line = String::new();
    for (shown, column, text) in cells {
        line.push_str(&shown);
        line.extend(std::iter::repeat_n(' ', (column.width + GAP).saturating_sub(columns(text))));
    }
    line.trim_end().to_owned()
}

struct Column<'a> {
    head: &'a str,
    index: usize,
    narrow: Narrow,
    width: usize,
}

/// Fate of a column when there is no room for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Narrow {
    Cut,
    LeaveOut,
    Wrap,
}

impl<'a> Column<'a> {
    fn fitting(heads: &'a str, rows: &[Vec<String>], width: usize) -> Vec<Column<'a>> {
        let is_used = |column: &Column| rows.iter().any(|row| row[column.index] != "-");
        let all = heads.split(',').enumerate().map(|(index, head)| Column::new(index, head, rows));
        let mut shown: Vec<Column> = all.filter(is_used).collect();
        while excess(&shown, width) > 0 {
            let Some(last) = shown.iter().rposition(|column| column.narrow == Narrow::LeaveOut) else {
                break;
            };
            shown.remove(last);
        }
        shrink(&mut shown, width, Some(Narrow::Wrap), WRAPPED_MIN);
        shrink(&mut shown, width, None, CUT_MIN);
        shown
    }

    fn new(index: usize, head: &'a str, rows: &[Vec<String>]) -> Column<'a> {
        let (head, narrow) = match head.split_at(head.len() - 1) {
            (head, "?") => (head, Narrow::LeaveOut),
            (head, "~") => (head, Narrow::Wrap),
            _ => (head, Narrow::Cut),
        };
        let widest = rows.iter().map(|row| columns(&row[index])).max().unwrap_or_default();
        Column { head, index, narrow, width: widest.max(columns(head)) }
    }

    fn cell(&self, text: &str) -> Vec<String> {
        match self.narrow {
            Narrow::Wrap => wrapped(text, self.width, 0),
            Narrow::Cut | Narrow::LeaveOut => vec![cut(text, self.width).into_owned()],
        }
    }
}

/// Columns of the terminal that are missing.
fn excess(shown: &[Column], width: usize) -> usize {
    let gaps = GAP * shown.len().saturating_sub(1);
    (shown.iter().map(|column| column.width).sum::<usize>() + gaps).saturating_sub(width)
}

/// Takes what is missing from the widest columns of a kind, or of all.
fn shrink(shown: &mut [Column], width: usize, kind: Option<Narrow>, least: usize) {
    while excess(shown, width) > 0 {
        let meant = shown.iter_mut().filter(|column| kind.is_none_or(|kind| column.narrow == kind));
        let Some(widest) = meant.filter(|column| column.width > least).max_by_key(|column| column.width)
        else {
            return;
        };
        widest.width -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        vec![
            row(["cloud", "up", "-", "3 ms", "ws://hub.example/ingest"]),
            row(["温度", "down", "-", "-", "ws://other.example/"]),
        ]
    }

    fn shown(width: Option<usize>) -> String {
        lines("ID,STATE,NOTHING,RTT?,URL~", &rows(), width, |_, cell| cell.to_owned()).join("\n")
    }

    #[test]
    fn columns_are_as_wide_as_their_cells_and_empty_ones_are_left_out() {
        let expected = "\
ID     STATE  RTT   URL
cloud  up     3 ms  ws://hub.example/ingest
温度   down   -     ws://other.example/";
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(43)), expected);
        assert_eq!(table("A", &[], None), "");
    }

    #[test]
    fn a_narrow_terminal_leaves_columns_out_and_goes_on_in_the_next_line() {
        let expected = "\
ID     STATE  URL
cloud  up     ws://hub.example/ing
              est
温度   down   ws://other.example/";
        assert_eq!(shown(Some(34)), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_however_narrow_it_is() {
        for width in 20..60 {
            let page = shown(Some(width));
            assert!(page.lines().all(|line| columns(line) <= width), "{width}:\n{page}");
            assert!(page.contains("cloud") || page.contains('…'), "{page}");
        }
    }

    #[test]
    fn colours_do_not_move_the_columns() {
        let paint =
            |head: &str, cell: &str| if head == "STATE" { format!("<{cell}>") } else { cell.to_owned() };
        let page = lines("ID,STATE,NOTHING,RTT?,URL~", &rows(), None, paint);
        assert!(page[1].starts_with("cloud  <up>     3 ms"), "{page:?}");
    }
}
