//! Several nodes by name: `$XDG_CONFIG_HOME/chronos/contexts.toml`, or `~/.config/chronos/contexts.toml`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(default)]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Node>,
}

/// Where a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its Kafka address.
    #[serde(default)]
    pub bootstrap: Option<String>,
    /// Its admin API.
    #[serde(default)]
    pub admin: Option<String>,
}

/// Where the file is.
pub fn path() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let folder = config.filter(|path| path.is_absolute()).or_else(home);
    let folder = folder.context("neither XDG_CONFIG_HOME nor HOME is set")?;
    Ok(folder.join("chronos/contexts.toml"))
}

impl Contexts {
    /// The file; none where there is none.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                toml::from_str(&text).with_context(|| format!("reading {}", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Replaces the file.
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of the user's, that can be written again"
    )]
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = toml::to_string(self)?;
        let written = || -> io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let new = path.with_extension("toml.new");
            fs::write(&new, text)?;
            fs::rename(&new, path)
        };
        written().with_context(|| format!("writing {}", path.display()))
    }

    /// The one of that name, or the current one; nothing where neither is.
    pub fn find(&self, name: Option<&str>) -> anyhow::Result<Node> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Ok(Node::default());
        };
        match self.contexts.get(name) {
            Some(node) => Ok(node.clone()),
            None => bail!("there is no context '{name}': chronosctl context list names them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/contexts.toml");
        assert_eq!(Contexts::read(&path).unwrap(), Contexts::default());
        let node = Node {
            bootstrap: Some("b:1".into()),
            admin: None,
        };
        let contexts = Contexts {
            current: Some("prod".into()),
            contexts: BTreeMap::from([("prod".into(), node.clone())]),
        };
        contexts.write(&path).unwrap();
        let read = Contexts::read(&path).unwrap();
        assert_eq!(read, contexts);
        assert_eq!(read.find(None).unwrap(), node);
        assert!(read.find(Some("test")).is_err());
        fs::write(&path, "current = 7").unwrap();
        assert!(Contexts::read(&path).is_err());
    }
}
