//! `certiseg data shapes`: a data set that anyone can make.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::checkpoint::write_whole;
use certiseg_net::data::{Sample, shapes};
use clap::Args;
use image::{GrayImage, ImageFormat, RgbImage};

use crate::fail::Usage;
use crate::output::make_dir;

/// Flags of `data shapes`.
#[derive(Args)]
pub struct Shapes {
    /// Folder to make: images/, masks/, train.txt, val.txt, classes.json
    dir: PathBuf,
    /// Number of pictures
    #[arg(long, default_value_t = 512)]
    count: usize,
    /// Side of a picture
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Shapes {
    /// Makes it.
    pub fn run(self) -> Result<ExitCode> {
        if self.dir.exists() {
            let message = format!("{} is there already", self.dir.display());
            return Err(Usage::error(
                message,
                "name a folder that does not exist yet",
            ));
        }
        if !(2..=100_000).contains(&self.count) || !(8..=1024).contains(&self.size) {
            let message = format!("{} pictures of side {}", self.count, self.size);
            return Err(Usage::error(
                message,
                "give 2 to 100000 pictures, sides from 8 to 1024",
            ));
        }
        let samples = shapes(self.seed, self.count, self.size);
        for folder in ["images", "masks"] {
            make_dir(&self.dir.join(folder))?;
        }
        for sample in &samples {
            write_sample(&self.dir, sample)?;
        }
        // the last tenth, at least one picture, is for validation
        let (fit, held) = samples.split_at(self.count - (self.count / 10).max(1));
        for (name, part) in [("train.txt", fit), ("val.txt", held)] {
            let list: String = part.iter().map(|s| format!("{}\n", s.id)).collect();
            write_whole(&self.dir.join(name), list.as_bytes())?;
        }
        let classes = concat!(
            r#"{"num_classes": 4, "classes": [{"id": 0, "name": "background"}, "#,
            r#"{"id": 1, "name": "disk"}, {"id": 2, "name": "square"}, {"id": 3, "name": "triangle"}]}"#,
            "\n"
        );
        write_whole(&self.dir.join("classes.json"), classes.as_bytes())?;
        say!("{} pictures in {}", self.count, self.dir.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn write_sample(dir: &Path, sample: &Sample) -> Result<()> {
    let (width, height) = (sample.width as u32, sample.height as u32);
    let pixels = sample.height * sample.width;
    let image = RgbImage::from_fn(width, height, |x, y| {
        let at = (y * width + x) as usize;
        image::Rgb([0, 1, 2].map(|c| sample.image[c * pixels + at]))
    });
    let mask = sample.mask.as_deref().unwrap_or_default();
    let mask = GrayImage::from_fn(width, height, |x, y| {
        image::Luma([mask[(y * width + x) as usize]])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    write_whole(
        &dir.join(format!("images/{}.png", sample.id)),
        bytes.get_ref(),
    )?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    mask.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(write_whole(
        &dir.join(format!("masks/{}.png", sample.id)),
        bytes.get_ref(),
    )?)
}
