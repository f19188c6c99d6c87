//! Masks of a class (paper 001, Figure 7): picture, label, prediction as true and false positives and false negatives,
//! and the optimal attack on the false negative rate within a budget, which takes the weakest true positives first.

use certiseg_cert::Metric;

use super::plate::{Cell, Plate, Row, plate};
use super::raster::Raster;
use super::source::about;
use super::{Ask, Figure, Material, missing};
use crate::number::{certified, nearest};
use crate::palette::{Rgb, class_colour};
use crate::{Error, Picture, Result, Run, VOID};

pub(super) const HIT: Rgb = [0, 158, 115];
pub(super) const FALSE: Rgb = [0, 114, 178];
pub(super) const MISSED: Rgb = [213, 94, 0];
/// What an attack within the budget may take.
pub(super) const TAKEN: Rgb = [230, 159, 0];
pub(super) const GROUND: Rgb = [255, 255, 255];
pub(super) const IGNORED: Rgb = [214, 214, 214];

/// Draws it.
pub(super) fn draw(material: &Material, ask: &Ask) -> Result<Figure> {
    let made = format!("certify --metric fnr:{} --maps DIR", ask.class);
    if ask.eps.is_empty() {
        return Err(missing(
            "masks",
            "--eps E,...: the budgets of the worst cases",
        ));
    }
    let name = budgets(ask.class);
    // where the class is not labelled there is no rate
    let fits = |picture: &Picture| picture.budgets.contains_key(&name);
    let pictures = chosen(&material.pictures, &ask.images, &made, fits)?;
    let runs: Vec<&Run> = material.runs.iter().map(|labelled| &labelled.run).collect();
    let rows = pictures.iter().map(|picture| row(picture, &runs, ask));
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    let mut heads = vec![
        "picture".to_owned(),
        "label".into(),
        format!("prediction of class {}", ask.class),
    ];
    heads.extend(ask.eps.iter().map(|eps| format!("worst case, eps {eps}")));
    let key = [
        (HIT, "true positive"),
        (FALSE, "false positive"),
        (MISSED, "false negative"),
        (TAKEN, "taken by the worst attack"),
        (IGNORED, "ignored"),
    ];
    let drawing = Plate {
        heads,
        rows,
        key: key.map(|(colour, text)| (colour, text.to_owned())).into(),
    };
    let title = format!("masks of class {} and their worst case", ask.class);
    Ok(plate(&title, &drawing, &about(runs, pictures.len())))
}

/// Name of the map of budgets of the false negative rate of a class.
fn budgets(class: u8) -> String {
    format!("budget_fnr_{class}")
}

/// Those of the names; where none is named the first four that fit, or the first to tell what it lacks.
pub(super) fn chosen<'a>(
    pictures: &'a [Picture],
    names: &[String],
    made: &str,
    fits: impl Fn(&Picture) -> bool,
) -> Result<Vec<&'a Picture>> {
    if pictures.is_empty() {
        return Err(missing("masks", format!("--maps DIR, the maps of {made}")));
    }
    if names.is_empty() {
        let fitting: Vec<_> = pictures
            .iter()
            .filter(|picture| fits(picture))
            .take(4)
            .collect();
        return Ok(match fitting.is_empty() {
            true => pictures.iter().take(1).collect(),
            false => fitting,
        });
    }
    let find = |name: &String| {
        let found = pictures.iter().find(|picture| picture.id == *name);
        found.ok_or_else(|| {
            let known: Vec<&str> = pictures
                .iter()
                .take(4)
                .map(|picture| picture.id.as_str())
                .collect();
            Error::Missing {
                what: format!("picture {name}"),
                needed: format!("its maps of {made}; there are {}, ...", known.join(", ")),
            }
        })
    };
    names.iter().map(find).collect()
}

fn row(picture: &Picture, runs: &[&Run], ask: &Ask) -> Result<Row> {
    let (id, class) = (&picture.id, ask.class);
    let name = budgets(class);
    let needs = |what: &str| Error::Missing {
        what: format!("picture {id} of figure masks"),
        needed: format!("{what} in its maps: certify --data DIR --metric fnr:{class} --maps DIR"),
    };
    let label = picture.label.as_ref().ok_or_else(|| needs("a label"))?;
    let budgets = picture.budgets.get(&name).ok_or_else(|| needs(&name))?;
    let metric = Metric::Fnr(class);
    let said = |eps: f64| {
        let mut rows = runs.iter().flat_map(|run| &run.rows);
        rows.find(|row| {
            let asked = row.eps.is_some_and(|asked| asked.get() == eps);
            row.image == *id && row.metric == metric && asked
        })
    };
    let clean = ask.eps.iter().find_map(|eps| said(*eps));
    let clean = clean.map_or(String::new(), |row| {
        format!("FNR {}", nearest(row.clean, 3))
    });
    let mut cells = vec![
        picture
            .image
            .as_ref()
            .map(|image| Cell::new(Raster::of_bytes(picture.size, image), "")),
        Some(Cell::new(classes(picture.size, label), "")),
        Some(Cell::new(
            Raster::of(picture.size, |pixel| {
                colour(class, label[pixel], picture.prediction[pixel])
            }),
            clean,
        )),
    ];
    for eps in &ask.eps {
        let worst = Raster::of(picture.size, |pixel| {
            let colour = colour(class, label[pixel], picture.prediction[pixel]);
            match colour == HIT && f64::from(budgets[pixel]) <= *eps {
                true => TAKEN,
                false => colour,
            }
        });
        let note = said(*eps).map_or(String::new(), |row| {
            format!("FNR at most {}", certified(metric, row.value, 3))
        });
        cells.push(Some(Cell::new(worst, note)));
    }
    Ok((id.clone(), cells))
}

/// Classes in their colours.
pub(super) fn classes(size: [usize; 2], classes: &[u8]) -> Raster {
    Raster::of(size, |pixel| match classes[pixel] {
        VOID => GROUND,
        class => class_colour(class),
    })
}

fn colour(class: u8, label: u8, predicted: u8) -> Rgb {
    match (label, label == class, predicted == class) {
        (VOID, ..) => IGNORED,
        (_, true, true) => HIT,
        (_, false, true) => FALSE,
        (_, true, false) => MISSED,
        (_, false, false) => GROUND,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::testing::{is_steady, labelled, texts};
    use super::*;

    fn picture() -> Picture {
        Picture {
            id: "a".into(),
            size: [1, 5],
            image: Some(vec![9; 15]),
            label: Some(vec![1, 1, 0, 0, VOID]),
            prediction: vec![1, 0, 1, 0, 1],
            radius: vec![0.1; 5],
            budgets: BTreeMap::from([(
                "budget_fnr_1".to_owned(),
                vec![0.2, 0.0, f32::INFINITY, f32::INFINITY, f32::INFINITY],
            )]),
        }
    }

    fn ask() -> Ask {
        Ask {
            eps: vec![0.1, 0.3],
            ..Ask::default()
        }
    }

    #[test]
    fn pixels_are_what_they_are() {
        let pixels = [(1, 1), (1, 0), (0, 1), (0, 0), (VOID, 1)];
        let colours = pixels.map(|(label, predicted)| colour(1, label, predicted));
        assert_eq!(colours, [HIT, MISSED, FALSE, GROUND, IGNORED]);
        let (_, cells) = row(&picture(), &[], &ask()).unwrap();
        let first = |cell: &Option<Cell>| cell.as_ref().unwrap().raster.pixels.clone();
        // the true positive falls at 0.2
        assert_eq!(first(&cells[3]), colours);
        assert_eq!(first(&cells[4]), [TAKEN, MISSED, FALSE, GROUND, IGNORED]);
    }

    #[test]
    fn numbers_are_those_of_the_rows_and_err_upwards() {
        let rows = [r#"{"kind":"row","image":"a","metric":"fnr:1","norm":"2","clean":0.5,"value":0.70001,"eps":0.3,"lipschitz":1.0,"eta":0.0,"counted":2}"#.to_owned()];
        let material = Material {
            runs: vec![labelled("net", &rows)],
            pictures: vec![picture()],
            ..Material::default()
        };
        let texts = texts(&draw(&material, &ask()).unwrap());
        assert!(texts.contains(&"FNR at most 0.701".to_owned()), "{texts:?}");
        assert!(texts.contains(&"FNR 0.500".to_owned()), "{texts:?}");
        is_steady(|| draw(&material, &ask()).unwrap());
        // the masks are in the PNG, too
        let png = draw(&material, &ask()).unwrap().png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut bytes).unwrap();
        let of = |colour: Rgb| bytes.chunks(4).filter(|pixel| pixel[..3] == colour).count();
        // far more than the little square of the key
        assert!(
            of(HIT) > 1000 && of(TAKEN) > 1000,
            "{} {}",
            of(HIT),
            of(TAKEN)
        );
    }

    #[test]
    fn pictures_without_the_class_are_passed_over_unless_named() {
        let mut absent = picture();
        (absent.id, absent.budgets) = ("without".into(), BTreeMap::new());
        let pictures = [absent, picture()];
        let fits = |picture: &Picture| !picture.budgets.is_empty();
        let ids = |names: &[String]| -> Vec<String> {
            let chosen = chosen(&pictures, names, "it", fits).unwrap();
            chosen.iter().map(|picture| picture.id.clone()).collect()
        };
        assert_eq!(ids(&[]), ["a"]);
        assert_eq!(ids(&["without".into()]), ["without"]);
        assert_eq!(chosen(&pictures[..1], &[], "it", fits).unwrap().len(), 1);
    }

    #[test]
    fn what_maps_lack_is_named() {
        let material = |picture: Picture| Material {
            pictures: vec![picture],
            ..Material::default()
        };
        let refused = |picture, ask: &Ask| {
            let error = draw(&material(picture), ask).unwrap_err();
            error.to_string()
        };
        let mut bare = picture();
        bare.label = None;
        assert!(refused(bare, &ask()).contains("needs a label"));
        let of = |class| Ask { class, ..ask() };
        let error = refused(picture(), &of(2));
        assert!(
            error.contains("budget_fnr_2") && error.contains("--metric fnr:2"),
            "{error}"
        );
        let named = Ask {
            images: vec!["b".into()],
            ..ask()
        };
        assert!(refused(picture(), &named).contains("there are a"));
        let error = draw(&Material::default(), &ask()).unwrap_err().to_string();
        assert!(error.contains("--maps DIR"), "{error}");
        let error = refused(picture(), &Ask::default());
        assert!(error.contains("--eps"), "{error}");
    }
}
