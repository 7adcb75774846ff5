//! Pages of resources by name.

use ::store::page_token::Scope;
use kernel::{TenantId, Violations, page};

use crate::Error;
use crate::app::App;

/// Which page of which list.
pub(super) struct Page<'a> {
    app: &'a App,
    scope: Scope<'a>,
    /// How many items the page has.
    pub(super) size: usize,
    position: Option<Vec<u8>>,
}

impl<'a> Page<'a> {
    /// Reads size and token; `filter` is what the token is bound to besides the method.
    pub(super) fn read(
        app: &'a App,
        tenant: TenantId,
        method: &'a str,
        filter: &'a [u8],
        (size, token): (i32, &str),
    ) -> Result<Self, Error> {
        let scope = Scope { tenant, method, filter };
        let mut violations = Violations::new();
        let size = page::size(size).map_err(|wrong| violations.add_below("", wrong));
        let position =
            app.sealer.page(&scope, token).map_err(|wrong| violations.add_below("", wrong));
        match (size, position) {
            (Ok(size), Ok(position)) => Ok(Self { app, scope, size, position }),
            _ => Err(violations.into()),
        }
    }

    /// After which place it begins.
    pub(super) fn position(&self) -> Option<&[u8]> {
        self.position.as_deref()
    }

    /// After which name it begins; empty for the first page.
    pub(super) fn after(&self) -> String {
        let name = self.position().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// Cuts what was read with one more than a page, and names the next page if there is one.
    pub(super) fn cut<T>(
        &self,
        mut items: Vec<T>,
        place: impl Fn(&T) -> Vec<u8>,
    ) -> Result<(Vec<T>, String), Error> {
        if items.len() <= self.size {
            return Ok((items, String::new()));
        }
        items.truncate(self.size);
        let token = match items.last() {
            Some(last) => self.app.sealer.seal(&self.scope, &place(last))?,
            None => String::new(),
        };
        Ok((items, token))
    }
}
