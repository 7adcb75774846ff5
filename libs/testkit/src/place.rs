//! Where test servers live: `target/testkit`, kept between runs.

use std::env;
use std::path::{Path, PathBuf};

/// Raised when the layout or the settings below it change.
const GENERATION: u32 = 2;

fn root() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("testkit")
}

/// The directory of the servers that all tests share.
pub(crate) fn shared() -> PathBuf {
    root().join(format!("shared-{GENERATION}"))
}

/// A fresh directory for the servers of one test.
pub(crate) fn private() -> PathBuf {
    let name = uuid::Uuid::new_v4().simple().to_string();
    root().join(format!("private-{}", &name[..12]))
}

/// The value of `PG_BIN`.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    env::var_os("PG_BIN").map(PathBuf::from)
}
