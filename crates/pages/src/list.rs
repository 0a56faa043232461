//! Tables, which become cards on a narrow screen.

use maud::{Markup, html};

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// True for figures, which are aligned at their end.
    pub is_number: bool,
}

impl Column {
    /// A column of text.
    pub const fn text(name: &'static str) -> Self {
        Column { name, is_number: false }
    }

    /// A column of figures.
    pub const fn number(name: &'static str) -> Self {
        Column { name, is_number: true }
    }
}

/// A table.
#[derive(Debug)]
pub struct Table<'t> {
    /// Accessible name.
    pub name: &'t str,
    /// The columns.
    pub columns: &'t [Column],
    /// The cells of each row, as many as there are columns.
    pub rows: &'t [Vec<Markup>],
    /// Content in place of the table if it has no row: what to do next.
    pub empty: Markup,
}

impl Table<'_> {
    /// The table as markup.
    pub fn markup(&self) -> Markup {
        self.with_rows(html! { @for row in self.rows { (self.row(row)) } })
    }

    /// The table as markup, each row with its id, by which live rows replace it.
    pub fn markup_with_ids(&self, ids: &[String]) -> Markup {
        let rows = ids.iter().zip(self.rows);
        self.with_rows(html! { @for (id, row) in rows { (self.row_with_id(id, row)) } })
    }

    fn with_rows(&self, rows: Markup) -> Markup {
        html! {
            @if self.rows.is_empty() {
                div.empty { (self.empty) }
            } @else {
                div.scroll role="region" aria-label=(self.name) tabindex="0" {
                    table {
                        thead { tr { @for column in self.columns { th scope="col" class=[class(*column)] { (column.name) } } } }
                        tbody { (rows) }
                    }
                }
            }
        }
    }

    /// One row as markup, with its id.
    pub fn row_with_id(&self, id: &str, cells: &[Markup]) -> Markup {
        html! { tr id=(id) { (self.cells(cells)) } }
    }

    /// One row as markup. Each cell names its column, which a narrow screen shows beside it.
    pub fn row(&self, cells: &[Markup]) -> Markup {
        html! { tr { (self.cells(cells)) } }
    }

    fn cells(&self, cells: &[Markup]) -> Markup {
        html! {
            @for (column, cell) in self.columns.iter().zip(cells) {
                td class=[class(*column)] data-label=(column.name) { div { (cell) } }
            }
        }
    }
}

fn class(column: Column) -> Option<&'static str> {
    column.is_number.then_some("num")
}
