//! `certiseg figure`: figures of the papers from rows and maps.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use certiseg_cert::Metric;
use certiseg_net::checkpoint::write_whole;
use certiseg_view::Figure as Drawing;
use certiseg_view::figure::{Ask, KINDS, Kind, Labelled as Shown, Material};
use clap::Args;

use crate::fail::Usage;
use crate::output::{make_dir, print_line};
use crate::runs::{Labelled, verdict};
use crate::{pictures, saved};

/// Flags of the verb.
#[derive(Args)]
pub struct Figure {
    /// eps, samples, front, masks, stable, radius, toy
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Files of rows or their folders, as LABEL=RUN to be shown under a label
    runs: Vec<String>,
    /// FILE.svg, FILE.pdf or FILE.png
    #[arg(long, required_unless_present = "list", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Lists the figures: where the papers have them, what they show, the commands that make their rows
    #[arg(long, conflicts_with_all = ["name", "out"])]
    list: bool,
    /// Metric of the rows; accuracy where none is given
    #[arg(long)]
    metric: Option<Metric>,
    /// Budgets, comma-separated
    #[arg(long, value_delimiter = ',')]
    eps: Vec<f64>,
    /// Class of masks; 1 where none is given
    #[arg(long)]
    class: Option<u8>,
    /// Folder of maps, which certify --maps wrote
    #[arg(long, value_name = "DIR")]
    maps: Option<PathBuf>,
    /// Folder of attacked pictures, which attack --save wrote
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Picture to show, again for several; the first four where none is given
    #[arg(long = "image", value_name = "ID")]
    images: Vec<String>,
    /// Panels of toy, comma-separated: 2a, 2b, 2c, 5, 6a, 6b, or 2c-code and so on
    #[arg(long = "panel", value_delimiter = ',')]
    panels: Vec<String>,
}

/// How a drawing is written.
type Write = fn(&Drawing) -> Result<Vec<u8>>;

impl Figure {
    /// Draws it.
    pub fn run(self) -> Result<ExitCode> {
        let (Some(name), Some(out)) = (&self.name, &self.out) else {
            list()?;
            return Ok(ExitCode::SUCCESS);
        };
        let Some(kind) = Kind::named(name) else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(Usage::error(
                format!("{name} is no figure, expected one of {}", names.join(", ")),
                "certiseg figure --list says what each shows",
            ));
        };
        // before the work, not behind it
        let write = writer(out)?;
        self.check(&kind)?;
        let material = self.material()?;
        let drawing = kind.draw(&material, &self.ask());
        let drawing = drawing.map_err(|error| {
            let hint = format!("{name} is made from: {}", kind.made);
            Usage::error(error.to_string(), hint)
        })?;
        let file = write(&drawing)?;
        if let Some(dir) = out.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            make_dir(dir)?;
        }
        write_whole(out, &file)?;
        say!("figure  {}", out.display());
        Ok(verdict(material.runs.iter().map(|shown| &shown.run)))
    }

    /// An error where a flag is given that the figure does not heed.
    fn check(&self, kind: &Kind) -> Result<()> {
        let given = [
            ("metric", self.metric.is_some()),
            ("eps", !self.eps.is_empty()),
            ("class", self.class.is_some()),
            ("maps", self.maps.is_some()),
            ("save", self.save.is_some()),
            ("image", !self.images.is_empty()),
            ("panel", !self.panels.is_empty()),
        ];
        let idle = |(flag, given): &&(&str, bool)| *given && !kind.flags.contains(flag);
        if let Some((flag, _)) = given.iter().find(idle) {
            let flags: Vec<String> = kind.flags.iter().map(|flag| format!("--{flag}")).collect();
            let hint = match flags.is_empty() {
                true => "it has no flags but --out".to_owned(),
                false => format!("its flags are {} and --out", flags.join(", ")),
            };
            let message = format!("--{flag} says nothing to the figure {}", kind.name);
            return Err(Usage::error(message, hint));
        }
        if let Some(eps) = self
            .eps
            .iter()
            .find(|eps| !(0.0..f64::INFINITY).contains(*eps))
        {
            let message = format!("--eps {eps}, expected a number from 0 on");
            return Err(Usage::error(
                message,
                "give budgets in the unit of the rows",
            ));
        }
        Ok(())
    }

    fn ask(&self) -> Ask {
        let usual = Ask::default();
        Ask {
            metric: self.metric.unwrap_or(usual.metric),
            eps: self.eps.clone(),
            class: self.class.unwrap_or(usual.class),
            images: self.images.clone(),
            panels: self.panels.clone(),
        }
    }

    fn material(&self) -> Result<Material> {
        let mut runs = Vec::new();
        for argument in &self.runs {
            let labelled = Labelled::of(argument);
            runs.push(Shown {
                run: labelled.read()?,
                label: labelled.label,
            });
        }
        let images = || {
            let rows = runs.iter().flat_map(|shown| &shown.run.rows);
            let struck = runs.iter().flat_map(|shown| &shown.run.attacks);
            let struck = struck.map(|row| row.image.as_str());
            rows.map(|row| row.image.as_str()).chain(struck)
        };
        let mut maps = Vec::new();
        if let Some(dir) = &self.maps {
            maps = pictures::read(dir)?;
            pictures::rename(&mut maps, images());
        }
        let attacked = self.save.as_ref().map(|dir| saved::read(dir, images()));
        let attacked = attacked.transpose()?.unwrap_or_default();
        Ok(Material {
            runs,
            pictures: maps,
            saved: attacked,
        })
    }
}

/// By the ending of the file.
fn writer(out: &Path) -> Result<Write> {
    let ending = out.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("svg") => Ok(|drawing| Ok(drawing.svg().as_bytes().to_vec())),
        Some("pdf") => Ok(|drawing| Ok(drawing.pdf()?)),
        Some("png") => Ok(|drawing| Ok(drawing.png()?)),
        _ => Err(Usage::error(
            format!("--out {} has no ending that says its kind", out.display()),
            "name it FILE.svg, FILE.pdf or FILE.png",
        )),
    }
}

fn list() -> Result<()> {
    for kind in KINDS {
        print_line(&format!("{}  ({})", kind.name, kind.paper))?;
        print_line(&format!("    {}", kind.shows))?;
        print_line(&format!("    from {}", kind.made))?;
        if !kind.flags.is_empty() {
            print_line(&format!("    flags --{}", kind.flags.join(", --")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_kind_of_file() {
        for good in ["a.svg", "a.PDF", "b/c.png"] {
            assert!(writer(Path::new(good)).is_ok(), "{good}");
        }
        for bad in ["a", "a.jpg", ".svg"] {
            let error = writer(Path::new(bad)).err().map(|error| error.to_string());
            assert!(
                error.is_some_and(|error| error.contains("no ending")),
                "{bad}"
            );
        }
    }
}
