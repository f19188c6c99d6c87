//! Settings of a training: from a TOML file and the line.

use std::path::Path;

use anyhow::{Context, Result};
use certiseg_net::train::Train as Settings;
use serde::de::DeserializeOwned;

use crate::fail::Usage;

/// The text of a settings file, read once as settings, so that a mistake is shown at its own line.
pub fn read_file(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str::<Settings>(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(text)
}

/// Settings from TOML, if there is one, and `key=value` settings over it.
pub fn read(text: Option<&str>, sets: &[String]) -> Result<Settings> {
    let mut table: toml::Table = text.unwrap_or_default().parse()?;
    for set in sets {
        // a loss of another kind has other settings
        if set.starts_with("loss.kind=") {
            table.remove("loss");
        }
        apply(&mut table, set)?;
    }
    // cross-entropy unless another loss is named
    if let Some(loss) = table.get_mut("loss").and_then(toml::Value::as_table_mut) {
        loss.entry("kind").or_insert_with(|| "cross_entropy".into());
    }
    if table.contains_key("temperature") {
        let hint = "set loss.temperature";
        return Err(Usage::error("temperature is a setting of the loss", hint));
    }
    let text = toml::to_string(&table)?;
    toml::from_str(&text).context("in the settings")
}

/// Any settings from TOML, if there is one, and `key=value` settings over it.
pub fn read_as<T: DeserializeOwned>(text: Option<&str>, sets: &[String]) -> Result<T> {
    let mut table: toml::Table = text.unwrap_or_default().parse()?;
    for set in sets {
        apply(&mut table, set)?;
    }
    let text = toml::to_string(&table)?;
    toml::from_str(&text).context("in the settings")
}

/// Sets `a.b=value` in a table; the value is TOML, or a plain word.
fn apply(table: &mut toml::Table, set: &str) -> Result<()> {
    let Some((key, value)) = set.split_once('=') else {
        let message = format!("--set {set} sets nothing");
        return Err(Usage::error(message, "write --set key=value"));
    };
    let parsed = format!("value = {value}").parse::<toml::Table>().ok();
    let parsed = parsed.and_then(|mut table| table.remove("value"));
    let value = parsed.unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().unwrap_or_default();
    let mut inner = table;
    for part in path {
        let entry = inner
            .entry(part)
            .or_insert_with(|| toml::Table::new().into());
        let Some(next) = entry.as_table_mut() else {
            let message = format!("--set {set}: {part} is no group of settings");
            return Err(Usage::error(
                message,
                "see config.toml of any run for the names",
            ));
        };
        inner = next;
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_is_overridden_at_its_place() {
        let mut table = "epochs = 5\n[network]\nsize = 's'\n".parse().unwrap();
        apply(&mut table, "epochs=9").unwrap();
        apply(&mut table, "network.size=m1").unwrap();
        apply(&mut table, "augment.scale=[0.5, 2.0]").unwrap();
        assert_eq!(table["epochs"].as_integer(), Some(9));
        assert_eq!(table["network"]["size"].as_str(), Some("m1"));
        assert_eq!(table["augment"]["scale"][1].as_float(), Some(2.0));
        assert!(apply(&mut table, "epochs").is_err());
        assert!(apply(&mut table, "epochs.deep=1").is_err());
    }
}
