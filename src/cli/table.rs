//! Columns of text.

/// A cell: what it shows, and how wide that is on the screen (colours take no room).
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    width: usize,
}

impl Cell {
    /// A cell without colours.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        let width = text.chars().count();
        Self { text, width }
    }

    /// A cell whose `painted` form is shown for `plain`.
    pub(super) fn painted(plain: &str, painted: String) -> Self {
        Self { text: painted, width: plain.chars().count() }
    }
}

/// Lines in which every column is as wide as its widest cell; two spaces apart, nothing behind the last.
pub(super) fn render(rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&cell.text);
            line.extend(std::iter::repeat_n(' ', width - cell.width + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let painted = Cell::painted("ab", "\x1b[1mab\x1b[0m".to_owned());
        let rows = [
            vec![Cell::plain("long"), Cell::plain("x"), Cell::plain("")],
            vec![painted, Cell::plain("ÿÿ"), Cell::plain("end")],
        ];
        assert_eq!(render(&rows), "long  x\n\x1b[1mab\x1b[0m    ÿÿ  end\n");
        assert_eq!(render(&[]), "");
    }
}
