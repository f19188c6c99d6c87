//! What an attack wants: which pixels count, when one is adversarial, how much is won.
//!
//! Every criterion comes to one list, [`Aim`]: pixels that are to leave a class or to join one, each
//! with a signed margin, negative once it has. So one loss table and one guide serve all of them.

use std::{fmt, str::FromStr};

use certiseg_cert::Metric;

use super::scene::Scene;
use crate::error::{Error, Result};

/// What is to become worse.
#[derive(Clone, Debug, PartialEq)]
pub enum Criterion {
    /// A metric of the judge. Means over classes and objects are attacked as the accuracy is, over the
    /// same pixels.
    Metric(Metric),
    /// The class vanishes: all pixels predicted as it shall be predicted otherwise (paper 001,
    /// appendix H). Needs no labels.
    Vanish(u8),
    /// Every pixel that is not void shall be predicted as in this map (H, W), 255 = any.
    Targeted(Vec<u8>),
    /// Any wish for any pixel.
    Custom(Vec<Wish>),
}

impl FromStr for Criterion {
    type Err = Error;

    /// A metric, or `vanish:K`.
    fn from_str(text: &str) -> Result<Self> {
        if let Some(class) = text.strip_prefix("vanish:") {
            // the judge knows how a class is written
            let metric: Metric = format!("fnr:{class}").parse()?;
            return Ok(Criterion::Vanish(metric.class().unwrap_or_default()));
        }
        Ok(Criterion::Metric(text.parse()?))
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Criterion::Metric(metric) => metric.fmt(f),
            Criterion::Vanish(class) => f.pad(&format!("vanish:{class}")),
            Criterion::Targeted(_) => f.pad("targeted"),
            Criterion::Custom(_) => f.pad("custom"),
        }
    }
}

/// What a pixel is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The pixel, row by row.
    pub pixel: usize,
    /// The class.
    pub class: u8,
    /// Whether it shall be predicted as this class, or as any other.
    pub join: bool,
}

/// A criterion on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// The pixels that count, row by row.
    pub wishes: Vec<Wish>,
    /// Median of max(margin, 0) over them on the clean picture, the scale of margins; where that is 0, of
    /// those above 0. At least 1e-12.
    pub median: f64,
    /// Pixels and classes.
    grid: [usize; 2],
    score: Score,
}

/// What a network makes of a picture, as far as an aim goes.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// (K, H, W).
    pub logits: Vec<f32>,
    /// Per wish the margin that stands against it: of the class to leave over the best other, of the
    /// best other over the class to join.
    pub margins: Vec<f64>,
    /// Per wish the best class besides the one wished about.
    pub rivals: Vec<u8>,
    /// Per wish whether it is fulfilled; ties go to the lowest class.
    pub adversarial: Vec<bool>,
    /// Wishes fulfilled.
    pub count: usize,
    /// How much is won; more is worse for the network. The count, or 1 - the ratio that is attacked.
    pub score: f64,
}

/// How the score follows from pixels lost and gained.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Score {
    Count,
    Iou,
    Dice,
    Precision,
}

impl Criterion {
    /// The wishes of this criterion for a picture with these clean logits (K, H, W).
    ///
    /// # Errors
    /// [`Error::AllVoid`] where no pixel counts; those of the judge for a class that is none; a
    /// target or a wish of another size or class.
    pub fn aim(&self, scene: &Scene, classes: usize, clean: &[f32]) -> Result<Aim> {
        let pixels = scene.pixels();
        let grid = certiseg_cert::Grid::new(classes, scene.height, scene.width)?;
        let predictions = certiseg_cert::predictions(grid, clean)?;
        let labelled = || (0..pixels).filter_map(|at| Some((at, scene.label(at)?)));
        let wish = |pixel, class, join| Wish { pixel, class, join };
        let right = || labelled().map(|(at, label)| wish(at, label, false));
        let mut score = Score::Count;
        let wishes: Vec<Wish> = match self {
            Criterion::Metric(metric) => {
                metric.check(classes)?;
                score = match metric {
                    Metric::Iou(_) => Score::Iou,
                    Metric::Dice(_) => Score::Dice,
                    Metric::Precision(_) => Score::Precision,
                    _ => Score::Count,
                };
                match *metric {
                    Metric::Stability => (0..pixels)
                        .map(|at| wish(at, predictions[at], false))
                        .collect(),
                    Metric::StableObjects(class) => vanish(&predictions, class),
                    Metric::Recall(class) | Metric::Fnr(class) | Metric::Objects(class) => {
                        right().filter(|wish| wish.class == class).collect()
                    }
                    Metric::Fpr(class) | Metric::Specificity(class) => labelled()
                        .filter(|&(_, label)| label != class)
                        .map(|(at, _)| wish(at, class, true))
                        .collect(),
                    Metric::Iou(class) | Metric::Dice(class) | Metric::Precision(class) => {
                        labelled()
                            .map(|(at, label)| wish(at, class, label != class))
                            .collect()
                    }
                    _ => right().collect(),
                }
            }
            Criterion::Vanish(class) => {
                Metric::Iou(*class).check(classes)?;
                vanish(&predictions, *class)
            }
            Criterion::Targeted(target) => {
                if target.len() != pixels {
                    let [got, expected] = [target.len(), pixels];
                    return Err(Error::ImageLength { got, expected });
                }
                let wanted = labelled().filter(|&(at, _)| target[at] != crate::data::VOID);
                wanted.map(|(at, _)| wish(at, target[at], true)).collect()
            }
            Criterion::Custom(wishes) => wishes.clone(),
        };
        if let Some(bad) = wishes.iter().find(|w| w.pixel >= pixels) {
            let expected = format!("a pixel below {pixels}");
            return Err(Error::setting("wish", bad.pixel.to_string(), expected));
        }
        if let Some(bad) = wishes.iter().find(|w| usize::from(w.class) >= classes) {
            Metric::Iou(bad.class).check(classes)?;
        }
        if wishes.is_empty() {
            return Err(Error::AllVoid);
        }
        let mut aim = Aim {
            wishes,
            median: 0.0,
            grid: [pixels, classes],
            score,
        };
        let margins = aim.view(clean.to_vec()).margins;
        let median = match middle(margins.iter().map(|m| m.max(0.0)).collect()) {
            median if median > 0.0 => median,
            // most are fulfilled: a scale of 0 would leave losses of the others without a slope
            _ => middle(margins.into_iter().filter(|&m| m > 0.0).collect()),
        };
        aim.median = median.max(1e-12);
        Ok(aim)
    }
}

/// The lower median; 0 of nothing.
fn middle(mut numbers: Vec<f64>) -> f64 {
    let Some(last) = numbers.len().checked_sub(1) else {
        return 0.0;
    };
    let (_, middle, _) = numbers.select_nth_unstable_by(last / 2, f64::total_cmp);
    *middle
}

fn vanish(predictions: &[u8], class: u8) -> Vec<Wish> {
    let all = predictions.iter().enumerate();
    let here = all.filter(|&(_, &predicted)| predicted == class);
    here.map(|(pixel, _)| Wish {
        pixel,
        class,
        join: false,
    })
    .collect()
}

impl Aim {
    /// The place of a class of a pixel in (K, H, W).
    pub fn place(&self, class: u8, pixel: usize) -> usize {
        usize::from(class) * self.grid[0] + pixel
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.grid[1]
    }

    /// What logits (K, H, W) come to.
    pub fn view(&self, logits: Vec<f32>) -> View {
        let all = self.wishes.len();
        let (mut margins, mut rivals) = (Vec::with_capacity(all), Vec::with_capacity(all));
        let mut adversarial = Vec::with_capacity(all);
        let mut done = [0usize; 2];
        let [pixels, classes] = self.grid;
        for &Wish { pixel, class, join } in &self.wishes {
            let own = f64::from(logits[self.place(class, pixel)]);
            let (mut best, mut rival) = (f64::NEG_INFINITY, 0);
            for other in (0..classes).filter(|&other| other != usize::from(class)) {
                let value = f64::from(logits[other * pixels + pixel]);
                if value > best {
                    (best, rival) = (value, other as u8);
                }
            }
            let left = best > own || best == own && rival < class;
            margins.push(if join { best - own } else { own - best });
            rivals.push(rival);
            adversarial.push(left != join);
            done[usize::from(join)] += usize::from(left != join);
        }
        View {
            count: done[0] + done[1],
            score: self.score(done),
            logits,
            margins,
            rivals,
            adversarial,
        }
    }

    /// Wishes that a map of classes (H, W) fulfils.
    pub fn fulfilled(&self, classes: &[u8]) -> usize {
        let met = |wish: &&Wish| (classes[wish.pixel] == wish.class) == wish.join;
        self.wishes.iter().filter(met).count()
    }

    /// What one more wish to leave is worth, and one more to join, relative to each other: the slopes of
    /// the score.
    pub fn worth(&self, view: &View) -> [f64; 2] {
        let left = 1.0 - view.score;
        match self.score {
            Score::Count => [1.0, 1.0],
            Score::Iou => [1.0, left],
            Score::Dice => [2.0 - left, left],
            Score::Precision => [1.0 - left, left],
        }
    }

    /// The score where so many wishes to leave and to join are fulfilled.
    pub fn score(&self, [lost, gained]: [usize; 2]) -> f64 {
        if self.score == Score::Count {
            return (lost + gained) as f64;
        }
        let size = self.wishes.iter().filter(|wish| !wish.join).count();
        let kept = (size - lost) as f64;
        let all = match self.score {
            Score::Count | Score::Iou => (size + gained) as f64,
            Score::Dice => (2 * size - lost + gained) as f64 / 2.0,
            Score::Precision => (size - lost + gained) as f64,
        };
        // nothing predicted and nothing there: no loss
        if all > 0.0 { 1.0 - kept / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes, four pixels: predictions 0 0 1 tie.
    const LOGITS: [f32; 8] = [2.0, 1.0, 0.0, 1.0, 0.0, 0.0, 3.0, 1.0];
    const LABELS: [u8; 4] = [0, 1, 1, 255];

    fn aim(criterion: Criterion) -> Aim {
        let image = [0.5; 12];
        let scene = Scene::new(&image, &LABELS, [2, 2]).unwrap();
        criterion.aim(&scene, 2, &LOGITS).unwrap()
    }

    #[test]
    fn every_criterion_is_a_list_of_wishes() {
        let wish = |(pixel, class, join)| Wish { pixel, class, join };
        let cases = [
            (
                Criterion::Metric(Metric::Accuracy),
                vec![(0, 0, false), (1, 1, false), (2, 1, false)],
                1,
            ),
            (
                Criterion::Metric(Metric::Fnr(1)),
                vec![(1, 1, false), (2, 1, false)],
                1,
            ),
            (
                Criterion::Metric(Metric::Stability),
                vec![(0, 0, false), (1, 0, false), (2, 1, false), (3, 0, false)],
                0,
            ),
            (
                Criterion::Metric(Metric::Iou(1)),
                vec![(0, 1, true), (1, 1, false), (2, 1, false)],
                1,
            ),
            (
                Criterion::Metric(Metric::Fpr(0)),
                vec![(1, 0, true), (2, 0, true)],
                1,
            ),
            (Criterion::Vanish(1), vec![(2, 1, false)], 0),
            (
                Criterion::Targeted(vec![1, 0, 255, 0]),
                vec![(0, 1, true), (1, 0, true)],
                1,
            ),
        ];
        for (criterion, expected, count) in cases {
            let aim = aim(criterion.clone());
            let expected: Vec<Wish> = expected.into_iter().map(wish).collect();
            assert_eq!(aim.wishes, expected, "{criterion:?}");
            assert_eq!(
                aim.view(LOGITS.to_vec()).count,
                count,
                "{criterion:?}: ties go to class 0"
            );
            assert_eq!(aim.fulfilled(&[0, 0, 1, 0]), count);
        }
    }

    #[test]
    fn margins_stand_against_the_wish_and_the_median_is_the_lower_one() {
        // half of them wrong: the scale is that of the other half
        assert_eq!(aim(Criterion::Metric(Metric::Fnr(1))).median, 3.0);
        let aim = aim(Criterion::Metric(Metric::Accuracy));
        let view = aim.view(LOGITS.to_vec());
        assert_eq!(view.margins, [2.0, -1.0, 3.0]);
        assert_eq!(view.rivals, [1, 0, 0]);
        assert_eq!(aim.median, 2.0);
    }

    #[test]
    fn the_score_of_a_ratio_is_what_is_missing_of_it() {
        let iou = aim(Criterion::Metric(Metric::Iou(1)));
        // one of two lost already, none gained
        assert_eq!(iou.view(LOGITS.to_vec()).score, 0.5);
        assert_eq!(iou.score([0, 1]), 1.0 - 2.0 / 3.0);
        let dice = aim(Criterion::Metric(Metric::Dice(1)));
        assert_eq!(dice.score([1, 1]), 0.5);
        assert_eq!(
            aim(Criterion::Metric(Metric::Precision(1))).score([2, 0]),
            0.0
        );
    }

    #[test]
    fn a_criterion_is_written_as_it_is_read() {
        for text in ["accuracy", "iou:1", "vanish:2"] {
            let criterion: Criterion = text.parse().unwrap();
            assert_eq!(criterion.to_string(), text);
        }
        for bad in ["vanish", "vanish:", "vanish:+1", "vanish:256", "targeted"] {
            assert!(bad.parse::<Criterion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_to_attack_is_an_error() {
        let image = [0.5; 12];
        let scene = Scene::new(&image, &[255; 4], [2, 2]).unwrap();
        for criterion in [
            Criterion::Metric(Metric::Accuracy),
            Criterion::Custom(Vec::new()),
        ] {
            let aim = criterion.aim(&scene, 2, &LOGITS);
            assert!(matches!(aim, Err(Error::AllVoid)));
        }
        let stability = Criterion::Metric(Metric::Stability).aim(&scene, 2, &LOGITS);
        assert_eq!(stability.unwrap().wishes.len(), 4);
        let far = vec![Wish {
            pixel: 4,
            class: 0,
            join: true,
        }];
        assert!(Criterion::Custom(far).aim(&scene, 2, &LOGITS).is_err());
        assert!(Criterion::Vanish(2).aim(&scene, 2, &LOGITS).is_err());
    }
}
