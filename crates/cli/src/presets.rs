//! Settings of trainings that travel with the program: ours, and those of both papers. Text and
//! released code of paper 001 differ: both are here.

use std::process::ExitCode;

use anyhow::Result;

use crate::fail::Usage;
use crate::output::print_line;

/// Name and settings (TOML, whose first line says what it is).
const PRESETS: &[(&str, &str)] = &[
    ("shapes", include_str!("../presets/shapes.toml")),
    ("kvasir", include_str!("../presets/kvasir.toml")),
    ("kvasir-long", include_str!("../presets/kvasir-long.toml")),
    ("kvasir-twin", include_str!("../presets/kvasir-twin.toml")),
    ("pets", include_str!("../presets/pets.toml")),
    (
        "001-text-kvasir",
        include_str!("../presets/001-text-kvasir.toml"),
    ),
    (
        "001-text-kvasir-s",
        include_str!("../presets/001-text-kvasir-s.toml"),
    ),
    (
        "001-text-pets",
        include_str!("../presets/001-text-pets.toml"),
    ),
    (
        "001-text-cityscapes",
        include_str!("../presets/001-text-cityscapes.toml"),
    ),
    (
        "001-text-cityscapes-lipnet",
        include_str!("../presets/001-text-cityscapes-lipnet.toml"),
    ),
    (
        "001-text-cityscapes-allnet",
        include_str!("../presets/001-text-cityscapes-allnet.toml"),
    ),
    (
        "001-code-kvasir",
        include_str!("../presets/001-code-kvasir.toml"),
    ),
    (
        "001-code-pets",
        include_str!("../presets/001-code-pets.toml"),
    ),
    (
        "001-code-cityscapes",
        include_str!("../presets/001-code-cityscapes.toml"),
    ),
    (
        "001-code-cityscapes-allnet",
        include_str!("../presets/001-code-cityscapes-allnet.toml"),
    ),
    (
        "002-cityscapes",
        include_str!("../presets/002-cityscapes.toml"),
    ),
    (
        "002-consistency",
        include_str!("../presets/002-consistency.toml"),
    ),
    ("002-context", include_str!("../presets/002-context.toml")),
];

/// The settings called `name`.
pub fn find(name: &str) -> Result<String> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| {
        let message = format!("no preset is called {name:?}");
        let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
        Usage::error(message, format!("give one of {}", names.join(", ")))
    })
}

/// Prints their names and what they are.
pub fn print() -> Result<ExitCode> {
    let widest = PRESETS.iter().map(|(name, _)| name.len()).max();
    let width = widest.unwrap_or_default();
    for (name, text) in PRESETS {
        let first = text.lines().next().unwrap_or_default();
        print_line(&format!(
            "{name:width$}  {}",
            first.trim_start_matches("# ")
        ))?;
    }
    print_line(
        "certiseg train --preset NAME --data DIR --out RUN; every setting can be overridden with --set",
    )?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_whole_training_and_says_what_it_is() {
        for (name, text) in PRESETS {
            assert!(text.starts_with("# "), "{name}");
            let settings = crate::settings::read(Some(text), &[]).unwrap();
            let resolved = settings.clone().resolve();
            let resolved = resolved.unwrap_or_else(|error| panic!("{name}: {error}"));
            let data = &resolved.data;
            let classes = data.layout.classes("nowhere".as_ref()).unwrap();
            if let Some(classes) = classes {
                assert_eq!(resolved.network.classes, classes.count, "{name}");
            }
            assert!(data.validation.is_some(), "{name}");
        }
    }

    #[test]
    fn the_code_of_paper_001_has_four_trainings_and_turns_no_hues() {
        let code: Vec<_> = PRESETS
            .iter()
            .filter(|(name, _)| name.starts_with("001-code"))
            .collect();
        // experiments/train.sh of the release
        assert_eq!(code.len(), 4);
        for (name, text) in code {
            let settings = crate::settings::read(Some(text), &[]).unwrap();
            let augment = settings.augment;
            // ExtColorJitter(brightness=0.5, contrast=0.5, saturation=0.5)
            let jitter = if name.contains("kvasir") { 0.0 } else { 0.5 };
            let colours = [augment.brightness, augment.contrast, augment.saturation];
            assert_eq!((colours, augment.hue), ([jitter; 3], 0.0), "{name}");
            // --sigma_train
            let noise = if name.contains("allnet") { 0.2 } else { 0.0 };
            assert_eq!(augment.noise, noise, "{name}");
        }
    }

    #[test]
    fn an_unknown_name_lists_those_there_are() {
        let error = find("cityscape").unwrap_err().to_string();
        assert!(error.contains("cityscape"), "{error}");
    }
}
