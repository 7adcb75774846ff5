//! One value of a mapping: where it comes from and what is done with it, in this order:
//! take (column, constant, join) → trim → empty → part → case → values → default → convert
//! → prefix.

use super::{Column, Defaults};
use crate::apply::yaml::Place;
use crate::import::convert::{self, Converted, DecimalMark, Kind};
use crate::import::row::{Cell, Fault};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum From {
    /// A column.
    Column(Column),
    /// The mapping.
    Constant(String),
    /// Several columns and what stands between them.
    Join(Vec<Column>, String),
}

/// What happens to a text that a table of values does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    Reject,
    Keep,
    Empty,
}

/// A value of each row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) place: Place,
    pub(crate) from: From,
    /// Texts that mean nothing, in lower case.
    pub(crate) empty: Vec<String>,
    pub(crate) part: Option<(String, i64)>,
    pub(crate) upper: Option<bool>,
    pub(crate) values: Vec<(String, String)>,
    pub(crate) otherwise: Otherwise,
    pub(crate) default: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) mark: DecimalMark,
    pub(crate) prefix: String,
    pub(crate) is_required: bool,
}

impl Value {
    /// Text as it stands there.
    pub(crate) fn plain(from: From, place: Place, defaults: &Defaults) -> Self {
        Self {
            place,
            from,
            empty: defaults.empty.clone(),
            part: None,
            upper: None,
            values: Vec::new(),
            otherwise: Otherwise::Reject,
            default: None,
            kind: Kind::Text,
            mark: defaults.mark,
            prefix: String::new(),
            is_required: false,
        }
    }

    /// The columns it reads.
    pub(crate) fn columns(&self) -> &[Column] {
        match &self.from {
            From::Column(column) => std::slice::from_ref(column),
            From::Join(columns, _) => columns,
            From::Constant(_) => &[],
        }
    }

    /// The columns it reads, to be bound.
    pub(super) fn columns_mut(&mut self) -> &mut [Column] {
        match &mut self.from {
            From::Column(column) => std::slice::from_mut(column),
            From::Join(columns, _) => columns,
            From::Constant(_) => &mut [],
        }
    }

    /// Its columns for messages.
    pub(crate) fn shown(&self) -> String {
        let names: Vec<&str> = self.columns().iter().map(|column| column.name.as_str()).collect();
        names.join(" + ")
    }

    /// The value of a row; `None` if it is empty. `currency` stands above the mapping's.
    ///
    /// # Errors
    /// When it does not convert, is not listed, or is required and empty.
    pub(crate) fn of(
        &self,
        cells: &[Cell],
        currency: Option<&str>,
    ) -> Result<Option<Converted>, Fault> {
        let fault = |value: &str, reason: String| Fault {
            column: self.shown(),
            value: value.to_owned(),
            reason,
        };
        if let From::Column(column) = &self.from
            && self.is_typed_only()
        {
            let cell = &cells[column.at];
            if matches!(cell, Cell::Number(_) | Cell::Bool(_) | Cell::Time(_)) {
                let kind = self.kind_with(currency);
                return convert::convert(cell, &kind, self.mark)
                    .map(Some)
                    .map_err(|reason| fault(&cell.text(), reason));
            }
        }
        let Some(text) = self.text(cells)? else {
            return if self.is_required {
                Err(fault("", "is empty, but required".to_owned()))
            } else {
                Ok(None)
            };
        };
        let kind = self.kind_with(currency);
        let converted = convert::convert_text(&text, &kind, self.mark)
            .map_err(|reason| fault(&text, reason))?;
        Ok(Some(match converted {
            Converted::Text(text) if !self.prefix.is_empty() => {
                Converted::Text(format!("{}{text}", self.prefix))
            }
            other => other,
        }))
    }

    /// Nothing is done before converting, so that a typed cell may stay what it is.
    fn is_typed_only(&self) -> bool {
        self.kind != Kind::Text && self.part.is_none() && self.values.is_empty()
    }

    fn kind_with(&self, currency: Option<&str>) -> std::borrow::Cow<'_, Kind> {
        match (&self.kind, currency) {
            (Kind::Money { .. }, Some(code)) => {
                std::borrow::Cow::Owned(Kind::Money { currency: Some(code.to_owned()) })
            }
            (kind, _) => std::borrow::Cow::Borrowed(kind),
        }
    }

    /// The text of a row before it is converted.
    ///
    /// # Errors
    /// When a cell cannot be read or the text is not listed.
    pub(crate) fn text(&self, cells: &[Cell]) -> Result<Option<String>, Fault> {
        let taken = match &self.from {
            From::Column(column) => self.readable(cells, column)?,
            From::Constant(text) => Some(text.clone()),
            From::Join(columns, with) => {
                let mut pieces = Vec::with_capacity(columns.len());
                for column in columns {
                    pieces.extend(self.readable(cells, column)?);
                }
                (!pieces.is_empty()).then(|| pieces.join(with))
            }
        };
        let piece = taken.and_then(|text| match &self.part {
            Some((by, index)) => part(&text, by, *index).filter(|piece| !self.is_empty(piece)),
            None => Some(text),
        });
        let cased = piece.map(|text| match self.upper {
            Some(true) => text.to_uppercase(),
            Some(false) => text.to_lowercase(),
            None => text,
        });
        let meant = match cased {
            Some(text) if !self.values.is_empty() => self.listed(text)?,
            other => other,
        };
        Ok(meant.or_else(|| self.default.clone()))
    }

    fn readable(&self, cells: &[Cell], column: &Column) -> Result<Option<String>, Fault> {
        let cell = &cells[column.at];
        if let Cell::Unreadable { shown, reason } = cell {
            return Err(Fault {
                column: column.name.clone(),
                value: shown.clone(),
                reason: reason.clone(),
            });
        }
        let text = cell.text();
        let trimmed = text.trim();
        Ok((!self.is_empty(trimmed)).then(|| trimmed.to_owned()))
    }

    fn is_empty(&self, text: &str) -> bool {
        // Longer texts are no words for nothing: spares lower-casing them.
        text.is_empty() || text.len() <= 24 && self.empty.contains(&text.to_lowercase())
    }

    fn listed(&self, text: String) -> Result<Option<String>, Fault> {
        if let Some((_, meant)) = self.values.iter().find(|(listed, _)| *listed == text) {
            return Ok((!meant.is_empty()).then(|| meant.clone()));
        }
        match self.otherwise {
            Otherwise::Keep => Ok(Some(text)),
            Otherwise::Empty => Ok(None),
            Otherwise::Reject => {
                let listed: Vec<&str> =
                    self.values.iter().take(10).map(|(listed, _)| listed.as_str()).collect();
                let reason = format!("is not listed in `values`: {}", listed.join(", "));
                Err(Fault { column: self.shown(), value: text, reason })
            }
        }
    }
}

fn part(text: &str, by: &str, index: i64) -> Option<String> {
    let mut pieces = text.split(by);
    let piece = match usize::try_from(index) {
        Ok(index) => pieces.nth(index.checked_sub(1)?)?,
        Err(_) => {
            let back = usize::try_from(index.unsigned_abs()).ok()?;
            let pieces: Vec<&str> = pieces.collect();
            pieces[pieces.len().checked_sub(back)?]
        }
    };
    Some(piece.trim().to_owned())
}
