//! `certiseg data preview`: some pictures with their masks on one sheet.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use certiseg_net::data::{Catalogue, Entry, Filter, Sample, open, resize};
use certiseg_net::rng::Rng;
use clap::Args;
use image::{RgbImage, imageops};

use super::place::Place;
use crate::fail::Usage;
use crate::output::print_line;
use crate::picture::{self, paint};
use certiseg_view::palette::{Rgb, class_colour, class_colour_name, mix};

/// Void is hatched in these.
const HATCH: [Rgb; 2] = [[255; 3], [170; 3]];
/// A picture that cannot be read is crossed out in these.
const CROSS: [Rgb; 2] = [[225; 3], [200, 0, 40]];

/// Flags of `data preview`.
#[derive(Args)]
pub struct Preview {
    #[command(flatten)]
    place: Place,
    /// PNG to write: of each picture the image, its mask in colors, and both
    #[arg(long)]
    out: PathBuf,
    /// Number of pictures, evenly from the list
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=400))]
    count: u16,
    /// Draw the pictures by chance, with this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Longer side of a picture on the sheet, in pixels
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u16).range(16..=2048))]
    side: u16,
}

impl Preview {
    /// Draws it.
    pub fn run(self) -> Result<ExitCode> {
        let catalogue = self.place.open()?.catalogue;
        let entries = &catalogue.entries;
        if entries.is_empty() {
            let message = format!("no picture in {} is whole", self.place.dir.display());
            let hint = "certiseg data info says what is wrong";
            return Err(Usage::error(message, hint));
        }
        let chosen = chosen(entries.len(), self.count.into(), self.seed);
        let colours = Colours::new(&catalogue);
        let limit = catalogue.classes.as_ref().map_or(255, |c| c.count);
        let mut strips = Vec::new();
        let mut classes = 0;
        for &at in &chosen {
            let (strip, class) = strip(&entries[at], limit, &colours, self.side.into());
            classes = classes.max(class);
            strips.push(strip);
        }
        let sheet = sheet(&strips);
        picture::save(&self.out, &sheet)?;
        let (shown, all) = (chosen.len(), entries.len());
        print_line(&format!(
            "{}: {shown} of {all} pictures, row by row; each as image, mask, both",
            self.out.display()
        ))?;
        for row in chosen.chunks(columns(shown)) {
            let ids: Vec<&str> = row.iter().map(|&at| entries[at].id.as_str()).collect();
            print_line(&format!("    {}", ids.join("   ")))?;
        }
        let classes = catalogue.classes.as_ref().map_or(classes, |c| c.count);
        (0..classes).try_for_each(|class| print_line(&colours.legend(class as u8)))?;
        print_line("    void    hatched")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Which of `all` pictures: evenly spread, or by chance in their order.
fn chosen(all: usize, count: usize, seed: Option<u64>) -> Vec<usize> {
    let count = count.min(all);
    let Some(seed) = seed else {
        // the middles of equal parts
        return (0..count)
            .map(|i| (2 * i + 1) * all / (2 * count))
            .collect();
    };
    let mut rng = Rng::new(seed);
    let mut rest: Vec<usize> = (0..all).collect();
    let mut chosen: Vec<usize> = (0..count)
        .map(|_| rest.swap_remove(rng.below(rest.len() as u64) as usize))
        .collect();
    chosen.sort_unstable();
    chosen
}

/// Colours of the classes: those of `classes.json` where it has different ones, else ours.
struct Colours {
    own: Vec<Rgb>,
    names: Vec<String>,
}

impl Colours {
    fn new(catalogue: &Catalogue) -> Self {
        let classes = catalogue.classes.clone();
        let (mut own, names) = classes.map(|c| (c.colours, c.names)).unwrap_or_default();
        let different: std::collections::BTreeSet<&Rgb> = own.iter().collect();
        if different.len() < own.len() {
            own.clear();
        }
        Self { own, names }
    }

    fn of(&self, class: u8) -> Rgb {
        let own = self.own.get(usize::from(class)).copied();
        own.unwrap_or_else(|| class_colour(class))
    }

    /// A line of the legend; on a terminal with the colour itself.
    fn legend(&self, class: u8) -> String {
        let [r, g, b] = self.of(class);
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let swatch = match std::io::stdout().is_terminal() && !plain {
            true => format!("\x1b[48;2;{r};{g};{b}m  \x1b[0m "),
            false => String::new(),
        };
        let name = self
            .names
            .get(usize::from(class))
            .map_or("", String::as_str);
        let colour = match self.own.is_empty() {
            true => class_colour_name(class),
            false => String::new(),
        };
        let line = format!("    {swatch}#{r:02x}{g:02x}{b:02x} {class:>3} {name}  {colour}");
        line.trim_end().to_owned()
    }
}

/// Image, mask and both, and how many classes the mask has at least; a cross for a picture that cannot be read.
fn strip(entry: &Entry, limit: usize, colours: &Colours, side: usize) -> (Vec<RgbImage>, usize) {
    let sample = match open(entry, limit) {
        Ok(sample) => sample,
        Err(error) => {
            say!("{}: {error}", entry.id);
            return (vec![crossed(side)], 0);
        }
    };
    let Sample {
        height,
        width,
        image,
        mask,
        ..
    } = sample;
    let old = [height, width];
    let longer = height.max(width);
    let new = old.map(|length| (length * side / longer).max(1));
    // enlarged pixels stay pixels
    let filter = if side > longer {
        Filter::Nearest
    } else {
        Filter::Bilinear
    };
    let planes: Vec<Vec<u8>> = image
        .chunks_exact(height * width)
        .map(|plane| resize(plane, old, new, filter))
        .collect();
    let photo = |at: usize| [planes[0][at], planes[1][at], planes[2][at]];
    let mut strip = vec![paint(new, photo)];
    let Some(mask) = mask else {
        return (strip, 0);
    };
    let labels = resize(&mask, old, new, Filter::Nearest);
    let colour = |at: usize| match labels[at] {
        255 => HATCH[(at / new[1] + at % new[1]) / 4 % 2],
        class => colours.of(class),
    };
    strip.push(paint(new, colour));
    strip.push(paint(new, |at| mix(photo(at), colour(at))));
    let top = mask.iter().filter(|&&class| class != 255).max();
    (strip, top.map_or(0, |&class| usize::from(class) + 1))
}

fn crossed(side: usize) -> RgbImage {
    paint([side, side], |at| {
        let (y, x) = (at / side, at % side);
        CROSS[usize::from(x.abs_diff(y) < 3 || (x + y).abs_diff(side) < 3)]
    })
}

/// Pictures side by side on the sheet.
fn columns(count: usize) -> usize {
    match count {
        0..=3 => 1,
        4..=30 => 2,
        _ => 4,
    }
}

/// All strips below and beside each other, in cells of one width and of one height in a row.
fn sheet(strips: &[Vec<RgbImage>]) -> RgbImage {
    let width = strips
        .iter()
        .flatten()
        .map(RgbImage::width)
        .max()
        .unwrap_or(1);
    let longest = strips.iter().map(Vec::len).max().unwrap_or(1);
    let columns = columns(strips.len());
    let rows: Vec<RgbImage> = strips
        .chunks(columns)
        .map(|row| {
            let height = row
                .iter()
                .flatten()
                .map(RgbImage::height)
                .max()
                .unwrap_or(1);
            let strip = |strip: Option<&Vec<RgbImage>>| {
                let cells =
                    (0..longest).map(|i| cell(strip.and_then(|s| s.get(i)), [height, width]));
                picture::sheet(&[cells.collect()], 1)
            };
            let strips = (0..columns).map(|i| strip(row.get(i))).collect();
            picture::sheet(&[strips], 1)
        })
        .collect();
    let height = rows.iter().map(RgbImage::height).sum();
    let width = rows.first().map_or(1, RgbImage::width);
    let mut sheet = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    let mut top = 0;
    for row in rows {
        imageops::replace(&mut sheet, &row, 0, top);
        top += i64::from(row.height());
    }
    sheet
}

/// A picture in the middle of a white cell, or the white alone.
fn cell(picture: Option<&RgbImage>, [height, width]: [u32; 2]) -> RgbImage {
    let mut cell = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    if let Some(picture) = picture {
        let left = i64::from((width - picture.width()) / 2);
        let top = i64::from((height - picture.height()) / 2);
        imageops::replace(&mut cell, picture, left, top);
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_chosen_evenly_or_by_their_seed() {
        assert_eq!(chosen(10, 5, None), [1, 3, 5, 7, 9]);
        assert_eq!(chosen(3, 12, None), [0, 1, 2]);
        assert_eq!(chosen(1000, 2, None), [250, 750]);
        let drawn = chosen(1000, 20, Some(1));
        assert_eq!(drawn, chosen(1000, 20, Some(1)));
        assert_ne!(drawn, chosen(1000, 20, Some(2)));
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]) && drawn.len() == 20);
    }

    #[test]
    fn strips_of_any_size_fit_their_cells() {
        let picture = |w, h| RgbImage::from_pixel(w, h, image::Rgb([1, 2, 3]));
        let strips = vec![vec![picture(10, 4); 3], vec![picture(6, 8)]];
        let sheet = sheet(&strips);
        // one column of strips of three cells, 10 wide and 4 or 8 high, with gaps of 6, and again around the strips
        assert_eq!(sheet.dimensions(), (3 * 16 + 6 + 12, 4 + 8 + 2 * 24));
        assert_eq!(sheet.get_pixel(12, 15).0, [1, 2, 3]);
        assert_eq!(sheet.get_pixel(12, 16).0, [255; 3]);
        // the second row begins at 28, its cell at 40, its narrower picture in the middle
        assert_eq!(sheet.get_pixel(14, 40).0, [1, 2, 3]);
        assert_eq!(sheet.get_pixel(13, 40).0, [255; 3]);
    }
}
