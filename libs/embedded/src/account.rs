//! Who the servers run as. Postgres refuses root, so root drops to an unprivileged account.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, at};

/// The account of the servers: our own, or the one that root drops to.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// The account of this process.
    Own,
    /// An unprivileged account.
    Dropped { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// The account for the servers of `data`: whoever owns existing data, else `postgres`.
    pub(crate) fn choose(data: &Path) -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        if let Ok(owner) = fs::metadata(data)
            && owner.uid() != 0
        {
            let name = format!("uid {}", owner.uid());
            return Ok(Self::Dropped { name, uid: owner.uid(), gid: owner.gid() });
        }
        let passwd = Path::new("/etc/passwd");
        let accounts = fs::read_to_string(passwd).map_err(at(passwd))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::parse(&accounts, name))
            .ok_or(Error::NoAccount)
    }

    fn parse(accounts: &str, name: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self::Dropped { name: name.to_owned(), uid, gid })
    }

    /// Runs the command as this account. The standard library clears the supplementary
    /// groups itself when root changes the user id.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Dropped { uid, gid, .. } = self {
            command.uid(*uid).gid(*gid);
        }
    }

    /// Gives the path to this account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        let Self::Dropped { uid, gid, .. } = self else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).map_err(at(path))
    }

    /// The user id that files of this account carry.
    pub(crate) fn uid(&self) -> u32 {
        match self {
            Self::Own => rustix::process::geteuid().as_raw(),
            Self::Dropped { uid, .. } => *uid,
        }
    }

    /// Says early and clearly what `initdb` would say late and darkly: a directory above
    /// the data is closed to this account (`/root` is the usual one).
    pub(crate) fn check_reach(&self, dir: &Path) -> Result<(), Error> {
        let Self::Dropped { name, uid, gid } = self else { return Ok(()) };
        for above in dir.ancestors().skip(1) {
            let facts = fs::metadata(above).map_err(at(above))?;
            let execute = if facts.uid() == *uid {
                0o100
            } else if facts.gid() == *gid {
                0o010
            } else {
                0o001
            };
            if facts.mode() & execute == 0 {
                let blocked = above.to_path_buf();
                return Err(Error::Unreachable { account: name.clone(), blocked });
            }
        }
        Ok(())
    }
}
