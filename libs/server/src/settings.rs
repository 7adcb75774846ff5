//! Layered settings: compiled-in defaults ← files ← environment ← secret files.
//!
//! The default file is the documentation, so it is also the schema: a key that does not stand
//! in it is an error that names the key and where it came from. A table that is empty in the
//! defaults is a free map. Nothing here reads the environment: it comes in as a value, from
//! the one crate that may (`services/rapport`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// The documented defaults of [`Server`], as TOML with one table `[server]`.
pub const DEFAULTS: &str = include_str!("../server.default.toml");

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there or not readable.
    #[error("cannot read {path}")]
    Read {
        /// The file or directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML. The text is not repeated: it may hold a secret.
    #[error("{origin} is not valid TOML: {message}")]
    Syntax {
        /// Where the text came from.
        origin: String,
        /// What the parser says.
        message: String,
    },
    /// A key that nobody reads, most likely misspelt.
    #[error("unknown setting {key} in {origin}")]
    Unknown {
        /// Dotted path.
        key: String,
        /// Where it came from.
        origin: String,
    },
    /// A value of another type than the default's.
    #[error("setting {key} in {origin} must be {expected}")]
    Type {
        /// Dotted path.
        key: String,
        /// Where it came from.
        origin: String,
        /// The type of the default.
        expected: &'static str,
    },
    /// The whole does not make sense.
    #[error("settings are not valid: {0}")]
    Invalid(String),
}

/// One source of settings. Later layers win.
#[derive(Debug, Clone)]
pub struct Layer {
    origin: String,
    content: Content,
}

#[derive(Clone)]
enum Content {
    Toml(String),
    /// Dotted path → text, to be read as the type of the default.
    Texts(BTreeMap<String, String>),
}

impl std::fmt::Debug for Content {
    // Never the text: it may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Toml(_) => "Toml(..)",
            Self::Texts(_) => "Texts(..)",
        })
    }
}

impl Layer {
    /// TOML text; `origin` is named in errors.
    #[must_use]
    pub fn toml(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: origin.into(), content: Content::Toml(text.into()) }
    }

    /// A TOML file.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn file(path: &Path) -> Result<Self, Error> {
        Ok(Self::toml(path.display().to_string(), read(path)?))
    }

    /// Those variables whose name begins with `prefix` (`RAPPORT__`): the rest, in lower case
    /// and with `__` for the dot, is the key.
    #[must_use]
    pub fn env(prefix: &str, variables: &BTreeMap<String, String>) -> Self {
        let mut texts = BTreeMap::new();
        for (name, text) in variables {
            if let Some(key) = name.strip_prefix(prefix) {
                texts.insert(key.to_lowercase().replace("__", "."), text.clone());
            }
        }
        Self { origin: format!("the environment ({prefix}*)"), content: Content::Texts(texts) }
    }

    /// A directory of secret files, each named by its key (`database.password`), as Kubernetes
    /// mounts them. A line end at the end of a file does not belong to the secret.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn secrets(directory: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Read { path: directory.display().to_string(), source };
        let mut texts = BTreeMap::new();
        for entry in std::fs::read_dir(directory).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some(key) = name.filter(|name| !name.starts_with('.') && path.is_file()) else {
                continue; // Kubernetes keeps `..data` and the like beside the files.
            };
            texts.insert(key, read(&path)?.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(Self { origin: directory.display().to_string(), content: Content::Texts(texts) })
    }

    /// What this layer says about one table: a process with several services gives each its
    /// own. Text that is not TOML is kept as it is, for [`load`] to refuse.
    #[must_use]
    pub fn only(&self, table: &str) -> Self {
        let content = match &self.content {
            Content::Toml(text) => {
                let part = toml::from_str::<Table>(text).map(|mut whole| {
                    let mine = whole.remove(table).map(|part| (table.to_owned(), part));
                    Table::from_iter(mine).to_string()
                });
                Content::Toml(part.unwrap_or_else(|_| text.clone()))
            }
            Content::Texts(texts) => {
                let prefix = format!("{table}.");
                let mine = texts.iter().filter(|(key, _)| key.starts_with(&prefix));
                Content::Texts(mine.map(|(key, text)| (key.clone(), text.clone())).collect())
            }
        };
        Self { origin: self.origin.clone(), content }
    }

    /// Where it comes from: a file, a directory, the environment.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tables that this layer speaks of, so that a misspelt one can be refused.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        match &self.content {
            Content::Toml(text) => toml::from_str::<Table>(text)
                .map(|whole| whole.keys().cloned().collect())
                .unwrap_or_default(),
            Content::Texts(texts) => {
                let table = |key: &String| key.split('.').next().unwrap_or_default().to_owned();
                texts.keys().map(table).collect()
            }
        }
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.display().to_string(), source })
}

/// Puts the layers over the defaults and reads the result.
///
/// # Errors
/// The first thing that is wrong, with its key and source.
pub fn load<T: DeserializeOwned>(defaults: &str, layers: &[Layer]) -> Result<T, Error> {
    let mut whole = parse("the defaults", defaults)?;
    let schema = whole.clone();
    for layer in layers {
        match &layer.content {
            Content::Toml(text) => {
                let table = parse(&layer.origin, text)?;
                merge(&mut whole, table, Some(&schema), "", &layer.origin)?;
            }
            Content::Texts(texts) => {
                for (key, text) in texts {
                    let table = nested(&schema, key, text, &layer.origin)?;
                    merge(&mut whole, table, Some(&schema), "", &layer.origin)?;
                }
            }
        }
    }
    T::deserialize(Value::Table(whole)).map_err(|error| Error::Invalid(error.message().to_owned()))
}

fn parse(origin: &str, text: &str) -> Result<Table, Error> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let origin = format!("{origin} line {line}");
        Error::Syntax { origin, message: error.message().to_owned() }
    })
}

/// `schema` is absent inside free maps.
fn merge(
    into: &mut Table,
    from: Table,
    schema: Option<&Table>,
    path: &str,
    origin: &str,
) -> Result<(), Error> {
    for (name, value) in from {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default =
            match schema {
                None => None,
                Some(schema) => Some(schema.get(&name).ok_or_else(|| Error::Unknown {
                    key: key.clone(),
                    origin: origin.to_owned(),
                })?),
            };
        let value = match default {
            Some(default) => typed(default, value, &key, origin)?,
            None => value,
        };
        match (into.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(table)) => {
                let schema_below = default.and_then(Value::as_table).filter(|t| !t.is_empty());
                merge(below, table, schema_below, &key, origin)?;
            }
            (_, value) => {
                into.insert(name, value);
            }
        }
    }
    Ok(())
}

/// The value, if it is of the default's type; a whole number will do for a fraction.
fn typed(default: &Value, value: Value, key: &str, origin: &str) -> Result<Value, Error> {
    match (default, &value) {
        (Value::Float(_), Value::Integer(whole)) => Ok(Value::Float(*whole as f64)),
        _ if default.same_type(&value) => Ok(value),
        _ => Err(Error::Type {
            key: key.to_owned(),
            origin: origin.to_owned(),
            expected: default.type_str(),
        }),
    }
}

/// `a.b.c` = text as nested tables, the text read as the default's type.
fn nested(schema: &Table, key: &str, text: &str, origin: &str) -> Result<Table, Error> {
    let parts: Vec<&str> = key.split('.').collect();
    let mut level = Some(schema);
    let mut default = None;
    for part in &parts {
        default = level.and_then(|table| table.get(*part));
        level = default.and_then(Value::as_table);
    }
    let mut value = match default {
        None | Some(Value::String(_)) => Value::String(text.to_owned()),
        Some(default) => {
            let wrong_type = || Error::Type {
                key: key.to_owned(),
                origin: origin.to_owned(),
                expected: default.type_str(),
            };
            let mut table: Table =
                toml::from_str(&format!("value = {text}")).map_err(|_| wrong_type())?;
            table.remove("value").ok_or_else(wrong_type)?
        }
    };
    for part in parts.iter().skip(1).rev() {
        value = Value::Table(Table::from_iter([((*part).to_owned(), value)]));
    }
    Ok(Table::from_iter([(parts[0].to_owned(), value)]))
}

/// Table `[server]`: see `server.default.toml` for what each means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "documented in server.default.toml, which is the reference")]
pub struct Server {
    pub max_in_flight: usize,
    pub max_streams: usize,
    pub default_deadline_ms: u64,
    pub max_deadline_ms: u64,
    pub work_cap_ms: u64,
    pub rate_per_second: u32,
    pub rate_burst: u32,
    pub max_connections: usize,
    pub max_connections_per_peer: usize,
    pub preface_timeout_ms: u64,
    pub max_concurrent_streams: u32,
    pub max_header_bytes: u32,
    pub keepalive_interval_ms: u64,
    pub keepalive_timeout_ms: u64,
    pub connection_age_ms: u64,
    pub connection_age_grace_ms: u64,
    pub reflection: bool,
    pub drain_lag_ms: u64,
    pub drain_grace_ms: u64,
}

impl Server {
    /// The defaults under `layers`, which may only hold `[server]`.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(layers: &[Layer]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Whole {
            server: Server,
        }
        Ok(load::<Whole>(DEFAULTS, layers)?.server)
    }
}

pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Layer {
        let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Layer::env("RAPPORT__", &pairs.collect())
    }

    #[test]
    fn later_layers_win_and_texts_take_the_type_of_the_default() {
        let file = Layer::toml("a.toml", "[server]\nmax_in_flight = 7\nrate_burst = 9");
        let variables = env(&[("RAPPORT__SERVER__MAX_IN_FLIGHT", "8"), ("HOME", "/root")]);
        let settings = Server::load(&[file, variables]).unwrap();
        assert_eq!((settings.max_in_flight, settings.rate_burst), (8, 9));
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_source() {
        let error = Server::load(&[Layer::toml("a.toml", "[server]\nmax_inflight = 7")]);
        assert_eq!(error.unwrap_err().to_string(), "unknown setting server.max_inflight in a.toml");
        let error = Server::load(&[env(&[("RAPPORT__SERVERS__X", "1")])]).unwrap_err();
        assert!(error.to_string().contains("unknown setting servers in the environment"));
    }

    #[test]
    fn a_wrong_type_is_named_and_its_text_is_not_repeated() {
        let error = Server::load(&[env(&[("RAPPORT__SERVER__RATE_BURST", "s3cret")])]);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("server.rate_burst") && text.contains("integer"), "{text}");
        assert!(!text.contains("s3cret"));
    }

    #[test]
    fn a_layer_can_be_narrowed_to_one_table() {
        let file = Layer::toml("a.toml", "[server]\nrate_burst = 9\n[profile]\nx = 1");
        assert_eq!(file.tables(), ["profile", "server"]);
        assert_eq!(Server::load(&[file.only("server")]).unwrap().rate_burst, 9);
        assert!(Server::load(std::slice::from_ref(&file)).is_err());
        let variables = env(&[("RAPPORT__SERVER__RATE_BURST", "8"), ("RAPPORT__PROFILE__X", "1")]);
        assert_eq!(Server::load(&[variables.only("server")]).unwrap().rate_burst, 8);
        assert!(Server::load(&[Layer::toml("b.toml", "[server\n").only("server")]).is_err());
    }

    #[test]
    fn an_empty_default_table_is_a_free_map_and_secret_files_override() {
        let directory = std::env::temp_dir().join(format!("settings-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("db.password"), "hunter2\n").unwrap();
        let layers =
            [Layer::toml("a.toml", "[labels]\nanything = 1"), Layer::secrets(&directory).unwrap()];
        let whole: Table = load("[labels]\n[db]\npassword = \"\"", &layers).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(whole["labels"]["anything"].as_integer(), Some(1));
        assert_eq!(whole["db"]["password"].as_str(), Some("hunter2"));
        assert!(!format!("{layers:?}").contains("hunter2"));
    }
}
