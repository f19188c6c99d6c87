//! Stable regions (paper 001, Figures 1 and 8): the stability radius of each pixel by levels, what no attack within a
//! budget changes, white elsewhere, and beside it an attack that was found, its change enlarged.

use super::masks::{GROUND, chosen, classes};
use super::plate::{Cell, Plate, Row, plate};
use super::raster::Raster;
use super::source::about;
use super::{Ask, Figure, Material, Saved, missing};
use crate::palette::{Rgb, class_colour};
use crate::{Error, Picture, Result, Run};

const MADE: &str = "certify --maps DIR";
/// Levels where no budget is asked for.
const LEVELS: [f64; 4] = [0.05, 0.1, 0.2, 0.3];
/// Least and most stable.
const SHADES: [Rgb; 2] = [[198, 219, 239], [8, 48, 107]];

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let mut levels = match ask.eps.is_empty() {
        true => LEVELS.to_vec(),
        false => ask.eps.clone(),
    };
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    if material.pictures.is_empty() {
        let needed = "--maps DIR, the maps of certify --maps DIR, and --save DIR for an attack";
        return Err(missing("stable", needed));
    }
    // those with an attack first, where nobody says which
    let mut names = ask.images.clone();
    if names.is_empty() && !material.saved.is_empty() {
        let both = material.saved.iter().map(|saved| &saved.id);
        let known = |id: &&String| material.pictures.iter().any(|picture| picture.id == **id);
        names = both.filter(known).take(4).cloned().collect();
    }
    let pictures = chosen(&material.pictures, &names, MADE, |_| true)?;
    let shown = shown(&levels);
    let rows = pictures.iter().map(|picture| {
        let saved = material.saved.iter().find(|saved| saved.id == picture.id);
        if saved.is_none() && !material.saved.is_empty() {
            return Err(Error::Missing {
                what: format!("picture {} of figure stable", picture.id),
                needed: "its npz in the folder of attack --save DIR".into(),
            });
        }
        Ok(row(picture, &levels, &shown, saved))
    });
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    let mut heads = vec![
        "picture".to_owned(),
        "prediction".into(),
        "stability radius".into(),
    ];
    heads.extend(shown.iter().map(|eps| format!("stable at eps {eps}")));
    heads.extend(["attacked", "change, enlarged"].map(str::to_owned));
    let drawing = Plate {
        heads,
        rows,
        key: key(&levels),
    };
    let runs: Vec<&Run> = material.runs.iter().map(|labelled| &labelled.run).collect();
    Ok(plate(
        "stable regions",
        &drawing,
        &about(runs, pictures.len()),
    ))
}

/// At most three of the levels: the first, the middle, the last.
fn shown(levels: &[f64]) -> Vec<f64> {
    match levels {
        [] | [_] | [_, _] | [_, _, _] => levels.to_vec(),
        [first, .., last] => vec![*first, levels[levels.len() / 2], *last],
    }
}

fn row(picture: &Picture, levels: &[f64], shown: &[f64], saved: Option<&Saved>) -> Row {
    let size = picture.size;
    let image = picture.image.as_ref();
    let image = image.map(|image| Raster::of_bytes(size, image));
    let image = image.or_else(|| saved.map(|saved| raster(saved, |pixel| saved.clean[pixel])));
    let radius = |pixel: usize| f64::from(picture.radius[pixel]);
    let mut cells = vec![
        image.map(|image| Cell::new(image, "")),
        Some(Cell::new(classes(size, &picture.prediction), "")),
        Some(Cell::new(
            Raster::of(size, |pixel| shade(levels, radius(pixel))),
            "",
        )),
    ];
    for eps in shown {
        // at its radius a pixel may be tied, which counts as changed
        let stable = Raster::of(size, |pixel| match radius(pixel) > *eps {
            true => class_colour(picture.prediction[pixel]),
            false => GROUND,
        });
        cells.push(Some(Cell::new(stable, "")));
    }
    let attacked = saved.map(|saved| {
        let seen = raster(saved, |pixel| saved.attacked[pixel]);
        Cell::new(seen, format!("eps {}", saved.eps))
    });
    cells.push(attacked);
    cells.push(saved.map(change));
    (picture.id.clone(), cells)
}

/// Of channels in [0, 1], by their place in (3, H, W).
fn raster(saved: &Saved, channel: impl Fn(usize) -> f32) -> Raster {
    let plane = saved.size[0] * saved.size[1];
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    Raster::of(saved.size, |pixel| {
        [0, 1, 2].map(|plain| byte(channel(plain * plane + pixel)))
    })
}

/// The difference about grey, so many times as large that the largest fills the range.
fn change(saved: &Saved) -> Cell {
    let difference = |place: usize| saved.attacked[place] - saved.clean[place];
    let largest = (0..saved.clean.len()).map(|place| difference(place).abs());
    let largest = largest.fold(0.0, f32::max);
    let times = match largest > 0.0 {
        true => (0.5 / largest).floor().max(1.0),
        false => 1.0,
    };
    let seen = raster(saved, |place| 0.5 + times * difference(place));
    Cell::new(seen, format!("× {times}"))
}

/// How many levels a radius reaches, and of how many.
fn shade(levels: &[f64], radius: f64) -> Rgb {
    let reached = levels.iter().filter(|level| radius >= **level).count();
    let steps = levels.len().saturating_sub(1).max(1) as f64;
    match reached.checked_sub(1) {
        None => GROUND,
        Some(step) => [0, 1, 2].map(|channel| {
            let [from, to] = SHADES.map(|shade| f64::from(shade[channel]));
            (from + (to - from) * step as f64 / steps).round() as u8
        }),
    }
}

fn key(levels: &[f64]) -> Vec<(Rgb, String)> {
    let mut key = Vec::new();
    if let Some(first) = levels.first() {
        key.push((GROUND, format!("radius below {first}")));
    }
    for (index, level) in levels.iter().enumerate() {
        let text = match levels.get(index + 1) {
            Some(next) => format!("{level} to {next}"),
            None => format!("{level} or more"),
        };
        key.push((shade(levels, *level), text));
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{is_steady, texts};
    use super::*;

    fn picture() -> Picture {
        Picture {
            id: "a".into(),
            size: [1, 3],
            image: None,
            label: None,
            prediction: vec![1, 2, 1],
            radius: vec![0.05, 0.5, f32::INFINITY],
            budgets: BTreeMap::new(),
        }
    }

    fn saved() -> Saved {
        Saved {
            id: "a".into(),
            size: [1, 3],
            clean: vec![0.5; 9],
            attacked: [vec![0.5; 8], vec![0.6]].concat(),
            eps: 0.1,
        }
    }

    #[test]
    fn pixels_below_the_budget_are_white() {
        let (_, cells) = row(&picture(), &[0.1, 0.5], &[0.25, 0.5], Some(&saved()));
        let pixels = |index: usize| cells[index].as_ref().unwrap().raster.pixels.clone();
        assert_eq!(pixels(2), [GROUND, SHADES[1], SHADES[1]]);
        assert_eq!(pixels(3), [GROUND, class_colour(2), class_colour(1)]);
        // not within the radius itself
        assert_eq!(pixels(4), [GROUND, GROUND, class_colour(1)]);
        // 0.1 of 0.5: four times, one channel of the last pixel
        assert_eq!(cells[6].as_ref().unwrap().note, "× 4");
        let changed = pixels(6);
        assert_eq!(changed[0], [128; 3]);
        assert_eq!(changed[2][..2], [128; 2]);
        assert!(changed[2][2] > 220);
    }

    #[test]
    fn levels_have_their_shades() {
        let levels = [0.1, 0.2, 0.3];
        assert_eq!(shade(&levels, 0.0999), GROUND);
        assert_eq!(shade(&levels, 0.1), SHADES[0]);
        assert_eq!(shade(&levels, 9.0), SHADES[1]);
        assert_eq!(key(&levels).len(), 4);
        assert_eq!(shown(&[1.0, 2.0, 3.0, 4.0]), [1.0, 3.0, 4.0]);
    }

    #[test]
    fn a_figure_without_attack_has_no_column_for_it() {
        let material = Material {
            pictures: vec![picture()],
            ..Material::default()
        };
        let plain = texts(&draw(&material, &Ask::default()).unwrap());
        assert!(!plain.iter().any(|text| text == "attacked"), "{plain:?}");
        let attacked = Material {
            pictures: vec![picture()],
            saved: vec![saved()],
            ..Material::default()
        };
        let texts = texts(&draw(&attacked, &Ask::default()).unwrap());
        assert!(texts.iter().any(|text| text == "attacked"), "{texts:?}");
        is_steady(|| draw(&attacked, &Ask::default()).unwrap());
        let error = draw(&Material::default(), &Ask::default()).unwrap_err();
        assert!(error.to_string().contains("certify --maps DIR"), "{error}");
    }
}
