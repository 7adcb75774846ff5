//! How far an import came: beside the file, written whole or not at all. It says what was
//! acknowledged, so that `--resume` goes on there, and for which file, mapping and tenant,
//! so that it goes on with nothing else.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Written beside the file while an import runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Of this layout.
    pub(crate) version: u32,
    /// SHA-256 of the file.
    pub(crate) file: String,
    /// SHA-256 of the mapping and what the command line says about the file.
    pub(crate) mapping: String,
    /// Where it goes: address and tenant.
    pub(crate) target: String,
    /// Rows whose events are acknowledged, or that are refused and written down.
    pub(crate) rows: u64,
    /// Bytes of the rejects file that belong to them.
    pub(crate) rejects_bytes: u64,
    /// What came of them.
    pub(crate) counts: Counts,
}

/// What came of rows and events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read.
    pub rows: u64,
    /// Events that were new.
    pub accepted: u64,
    /// Events that the service had already.
    pub duplicates: u64,
    /// Events that stood in the file before.
    pub repeated: u64,
    /// Rows that became no event, by the conditions of the mapping.
    pub skipped_rows: u64,
    /// Rows of which something was refused.
    pub rejected_rows: u64,
}

pub(crate) const VERSION: u32 = 1;

impl State {
    /// Reads what an earlier run left; `None` if it left nothing.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{}: run without --resume", path.display()))?;
        if state.version != VERSION {
            bail!("{} is of another version: run without --resume", path.display());
        }
        Ok(Some(state))
    }

    /// Whether it belongs to the same import as `other`.
    pub(crate) fn check(&self, other: &Self) -> anyhow::Result<()> {
        let differs = [
            ("the file", self.file != other.file),
            ("the mapping", self.mapping != other.mapping),
            ("the address or the tenant", self.target != other.target),
        ];
        for (what, differs) in differs {
            if differs {
                bail!(
                    "{what} is not what it was when the import began: run without --resume, \
                     which starts over and doubles nothing"
                );
            }
        }
        Ok(())
    }

    /// Writes it beside and puts it in place at once: a reader sees the old or the new one.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let text = serde_json::to_string(self)?;
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        });
        written.and_then(|()| std::fs::rename(&beside, path)).with_context(|| {
            format!("{}: the progress cannot be kept (another place: --state FILE)", path.display())
        })
    }
}
