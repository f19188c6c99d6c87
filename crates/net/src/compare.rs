//! One picture, certified and attacked: the project's law is certified ≤ attacked ≤ clean.

use certiseg_cert::{
    self as cert, Budget, Certificate, Goal, Margins, Metric, Norm, Premises, Value,
};
use serde::Serialize;

use crate::attack::least::least;
use crate::attack::suite::{Blow, Round};
use crate::attack::{Attack, Attacked, Ball, Criterion, Duel, Scene, Suite, Target};
use crate::data::{Sample, VOID};
use crate::error::{Error, Result};
use crate::network::{Certifier, Logits, Network};
use crate::parts::{Part, parts};
use crate::rng::Rng;

/// A network prepared for certificates and for attacks, on pictures of one size.
pub struct Arena {
    certifier: Certifier,
    target: Target,
    size: [usize; 2],
    /// (H, W), where attacks may change pictures; everywhere, if not given.
    region: Option<Vec<bool>>,
    /// The audited constant that certificates rest on: of the features, where the head is known.
    pub lipschitz: f64,
}

/// How pictures are attacked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assault {
    /// The norm of the budgets: l2 or l∞.
    pub norm: Norm,
    /// Budgets, rising.
    pub eps: Vec<f64>,
    /// The attacks.
    pub suite: Suite,
    /// Of everything random.
    pub seed: u64,
    /// Whether wall time is taken: it differs from run to run.
    pub timed: bool,
}

/// Certificates and attacks of one picture.
pub struct Comparison {
    /// The clean picture (3, H, W).
    pub picture: Vec<f32>,
    /// Logits of the clean picture.
    pub logits: Logits,
    /// IoU of each class on it; `None` where the class is neither labelled nor predicted.
    pub ious: Vec<Option<Value>>,
    /// What was vouched for.
    pub premises: Premises,
    /// One per metric; `None` where the metric is undefined on this picture.
    pub bounds: Vec<Option<Bounds>>,
    /// One per budget, in the order asked for.
    pub strikes: Vec<Strike>,
}

/// What is certified of one metric.
pub struct Bounds {
    /// Its value on the clean picture.
    pub clean: Value,
    /// Its worst value within each budget.
    pub worst: Vec<Value>,
}

/// The strongest attacks found within a budget.
pub struct Strike {
    /// The budget.
    pub eps: f64,
    /// One per criterion: what was attacked, and by whom.
    pub rounds: Vec<(Criterion, Round)>,
    /// IoU of each class on the picture of each of them.
    pub ious: Vec<Vec<Option<Value>>>,
    /// One per metric, of the attacked picture that is worst for it.
    pub hits: Vec<Hit>,
    /// Metrics of which one of these pictures is worse than is certified within its own distance, which
    /// may be well below the budget.
    pub beaten: Vec<Metric>,
    /// Where the accuracy was attacked, if it was certified too.
    pub bites: Option<Bites>,
}

/// Pixels (H, W) of an attack on the accuracy.
pub struct Bites {
    /// Wrong on the clean picture.
    pub wrong: Vec<bool>,
    /// Wrong on the attacked picture.
    pub attacked: Vec<bool>,
    /// Those that the worst attack of the certificate takes, wrong ones included.
    pub taken: Vec<bool>,
    /// All of it, by class and size of region.
    pub parts: Vec<Part>,
}

/// How little is enough for a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quest {
    /// The budget below which the goal is out of reach, certified; `None` where it always is.
    pub certified: Option<f64>,
    /// Distance of the nearest picture found that reaches it.
    pub found: Option<f64>,
    /// Forward passes of the search.
    pub forward: usize,
}

/// The attacked picture that is worst for a metric.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Value of the metric there; `None` where undefined.
    pub value: Option<Value>,
    /// Its distance in the norm of the attack; 0 where it is the clean picture.
    pub distance: f64,
    /// Name of the attack that found it; empty where it is the clean picture.
    pub attack: String,
}

impl Arena {
    /// Audits the network and puts it in place.
    ///
    /// # Errors
    /// Those of the audit.
    pub fn new(network: &Network, size: [usize; 2]) -> Result<Self> {
        let certifier = network.certifier(size[0], size[1])?;
        Ok(Self {
            lipschitz: certifier.premises(0.0)?.lipschitz,
            certifier,
            target: Target::new(network, size),
            size,
            region: None,
        })
    }

    /// The same with attacks that change pictures in a region (H, W) only, which makes them no stronger:
    /// certificates are those of every change.
    ///
    /// # Errors
    /// [`Error::ImageLength`]; [`Error::Setting`] for a region without a pixel.
    pub fn within(self, region: &[bool]) -> Result<Self> {
        let [got, expected] = [region.len(), self.size[0] * self.size[1]];
        if got != expected {
            return Err(Error::ImageLength { got, expected });
        }
        if !region.contains(&true) {
            return Err(Error::setting("region", "empty", "a pixel at least"));
        }
        let region = Some(region.to_vec());
        Ok(Self { region, ..self })
    }

    fn scene<'a>(&'a self, picture: &'a [f32], labels: &'a [u8]) -> Result<Scene<'a>> {
        let scene = Scene::new(picture, labels, self.size)?;
        match &self.region {
            Some(region) => scene.within(region),
            None => Ok(scene),
        }
    }

    /// Where [`Arena::lipschitz`] comes from, for head rows.
    pub fn lipschitz_source(&self) -> String {
        self.certifier.lipschitz_source()
    }

    /// Margins under the premises of a comparison, as it takes them: by the rows of the head, if known.
    ///
    /// # Errors
    /// Those of the judge.
    pub fn margins<'a>(&self, image: &cert::Image<'a>, premises: &Premises) -> Result<Margins<'a>> {
        self.certifier.margins(image, premises)
    }

    /// Certifies and attacks one labelled picture, each of the criteria apart; every metric is taken
    /// on every picture that was found. Budgets must rise: what an attack reached within a smaller
    /// budget counts for every larger one.
    ///
    /// # Errors
    /// [`Error::NoMask`], falling budgets, and those of the parts.
    pub fn compare(
        &self,
        sample: &Sample,
        metrics: &[Metric],
        criteria: &[Criterion],
        assault: &Assault,
    ) -> Result<Comparison> {
        let (norm, eps) = (assault.norm, &assault.eps[..]);
        self.clash(sample, metrics, criteria, (norm, eps), &|scene, index| {
            let duel = match Duel::new(&self.target, scene, &criteria[index]) {
                // a picture on which no pixel counts gives an attack nothing to do
                Err(Error::AllVoid) => return Ok(None),
                duel => duel?,
            };
            let known = (norm, self.certifier.lipschitz());
            let chance = [assault.seed, Rng::hash(sample.id.as_bytes())];
            let rounds = assault
                .suite
                .run(&duel, known, eps, chance, assault.timed)?;
            Ok(Some(rounds))
        })
    }

    /// The same for pictures from anywhere: of each criterion one per budget, (3, H, W) each.
    ///
    /// # Errors
    /// As [`Arena::compare`]; [`Error::Setting`] for a picture that leaves the box, its budget or the
    /// region, [`Error::ImageLength`].
    pub fn compare_saved(
        &self,
        sample: &Sample,
        metrics: &[Metric],
        criteria: &[Criterion],
        (norm, eps): (Norm, &[f64]),
        saved: &[Vec<Vec<f32>>],
    ) -> Result<Comparison> {
        self.clash(sample, metrics, criteria, (norm, eps), &|scene, index| {
            let duel = match Duel::new(&self.target, scene, &criteria[index]) {
                // whatever its attack was after, a picture that is given is judged
                Err(Error::AllVoid) => {
                    let every = Criterion::Metric(Metric::Stability);
                    Duel::new(&self.target, scene, &every)?
                }
                duel => duel?,
            };
            let pictures = saved.get(index).map_or(&[][..], |pictures| pictures);
            let pairs = eps.iter().zip(pictures);
            let rounds = pairs.map(|(&eps, image)| given(&duel, &Ball::new(norm, eps)?, image));
            Ok(Some(rounds.collect::<Result<_>>()?))
        })
    }

    fn clash(
        &self,
        sample: &Sample,
        metrics: &[Metric],
        criteria: &[Criterion],
        budgets: (Norm, &[f64]),
        find: &Find,
    ) -> Result<Comparison> {
        // on a thread of the pool, where a layer begins at once
        let mut result = None;
        rayon::scope(|_| result = Some(self.fight(sample, metrics, criteria, budgets, find)));
        result.unwrap_or(Err(Error::AllVoid))
    }

    fn fight(
        &self,
        sample: &Sample,
        metrics: &[Metric],
        criteria: &[Criterion],
        (norm, eps): (Norm, &[f64]),
        find: &Find,
    ) -> Result<Comparison> {
        if !eps.is_sorted() {
            return Err(Error::setting("eps", format!("{eps:?}"), "rising budgets"));
        }
        let Some(labels) = sample.mask.as_deref() else {
            return Err(Error::NoMask {
                id: sample.id.clone(),
            });
        };
        let picture = sample.image_f32();
        let logits = self.certifier.logits(&picture)?;
        let mut premises = self.certifier.premises(logits.eta)?;
        premises.lipschitz = self.lipschitz;
        let premises = premises.in_norm(norm, picture.len())?;
        let budgets = eps.iter().map(|&eps| Budget::new(eps));
        let budgets = budgets.collect::<cert::Result<Vec<_>>>()?;
        let image = cert::Image::new(logits.grid, &logits.values, Some(labels), Some(VOID))?;
        let margins = self.certifier.margins(&image, &premises)?;
        let certificates = metrics.iter().map(|&metric| metric.certify(&margins));
        let certificates = certificates.collect::<cert::Result<Vec<_>>>()?;
        let bound = |certificate: &Certificate| Bounds {
            clean: certificate.clean(),
            worst: budgets.iter().map(|&eps| certificate.worst(eps)).collect(),
        };
        let bounds = certificates.iter().map(|known| known.as_ref().map(bound));
        let bounds = bounds.collect();
        let unharmed = |&metric: &Metric| {
            Ok(Hit {
                value: margins.value(metric, margins.predictions())?,
                distance: 0.0,
                attack: String::new(),
            })
        };
        let mut hits = metrics.iter().map(unharmed).collect::<Result<Vec<_>>>()?;

        let scene = self.scene(&picture, labels)?;
        let mut attacked = Vec::new();
        for (index, criterion) in criteria.iter().enumerate() {
            if let Some(rounds) = find(scene, index)? {
                attacked.push((criterion, rounds.into_iter()));
            }
        }
        let mut strikes = Vec::new();
        for &eps in eps {
            let (mut strike, mut after, mut beaten) = (Vec::new(), Vec::new(), Vec::new());
            for (criterion, rounds) in &mut attacked {
                let Some(round) = rounds.next() else { continue };
                let classes = self.certifier.classes(&round.best.image)?;
                let known = (metrics, &certificates[..]);
                beaten.extend(judge(&margins, known, &round, &classes, &mut hits)?);
                after.push(ious(&margins, &classes)?);
                strike.push(((*criterion).clone(), round));
            }
            strikes.push(Strike {
                eps,
                hits: hits.clone(),
                beaten,
                bites: self.bites(&margins, eps, attacked_for(&strike))?,
                rounds: strike,
                ious: after,
            });
        }
        drop(attacked);
        drop(certificates);
        let ious = ious(&margins, margins.predictions())?;
        Ok(Comparison {
            picture,
            ious,
            logits,
            premises,
            bounds,
            strikes,
        })
    }

    fn bites(&self, margins: &Margins, eps: f64, image: Option<&[f32]>) -> Result<Option<Bites>> {
        let certificate = Metric::Accuracy.certify(margins)?;
        let taken = match certificate {
            Some(certificate) => certificate.taken(Budget::new(eps)?)?,
            None => None,
        };
        let known = image.zip(taken).zip(margins.image().labels());
        let Some(((image, taken), labels)) = known else {
            return Ok(None);
        };
        let wrong = |classes: &[u8]| -> Vec<bool> {
            let pairs = labels.iter().zip(classes);
            pairs.map(|(l, c)| *l != VOID && l != c).collect()
        };
        let attacked = wrong(&self.certifier.classes(image)?);
        let wrong = wrong(margins.predictions());
        Ok(Some(Bites {
            parts: parts(labels, self.size[1], &wrong, &attacked, &taken),
            wrong,
            attacked,
            taken,
        }))
    }

    /// Q2 of one picture, from both sides: the certified budget of a goal, and the nearest picture
    /// that an attack finds beyond it. For metrics of one list of pixels, in l2.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other metrics, [`Error::NoMask`], and those of the parts.
    pub fn least(
        &self,
        sample: &Sample,
        goal: &Goal,
        attack: &Attack,
        seed: u64,
    ) -> Result<Option<Quest>> {
        if !matches!(
            goal.metric,
            Metric::Accuracy | Metric::Stability | Metric::Recall(_) | Metric::Fnr(_)
        ) {
            let what = format!("the search for the least budget of {}", goal.metric);
            let hint = "goals of accuracy, stability, recall:K and fnr:K have one list of pixels";
            return Err(Error::unsupported(what, hint));
        }
        let Some(labels) = sample.mask.as_deref() else {
            return Err(Error::NoMask {
                id: sample.id.clone(),
            });
        };
        let picture = sample.image_f32();
        let logits = self.certifier.logits(&picture)?;
        let mut premises = self.certifier.premises(logits.eta)?;
        premises.lipschitz = self.lipschitz;
        let image = cert::Image::new(logits.grid, &logits.values, Some(labels), Some(VOID))?;
        let margins = self.certifier.margins(&image, &premises)?;
        let Some(certificate) = goal.metric.certify(&margins)? else {
            return Ok(None);
        };
        let certified = certificate.budget(goal)?;
        let scene = self.scene(&picture, labels)?;
        let search = || {
            let duel = Duel::new(&self.target, scene, &Criterion::Metric(goal.metric))?;
            let flips = goal.flips(duel.aim.wishes.len());
            let mut rng = Rng::keyed(seed, &[Rng::hash(sample.id.as_bytes())]);
            let (lipschitz, from) = (self.certifier.lipschitz(), certified.unwrap_or(0.0));
            // also where no budget is said to reach it: whoever finds one has shown that wrong
            let found = match flips <= duel.aim.wishes.len() {
                true => least(&duel, attack, lipschitz, flips, from, &mut rng)?,
                false => None,
            };
            // by the f64 pass, of which the certificate speaks
            let classes = found.as_ref().map(|f| self.certifier.classes(&f.image));
            let met = classes
                .transpose()?
                .is_some_and(|c| duel.aim.fulfilled(&c) >= flips);
            Ok(Quest {
                certified,
                found: found.filter(|_| met).map(|found| found.distance),
                forward: duel.passes().forward,
            })
        };
        let mut result = None;
        rayon::scope(|_| result = Some(search()));
        result.transpose()
    }
}

/// Takes every metric on an attacked picture, of these classes by the f64 pass; gives those that are
/// worse than is certified within its distance.
fn judge(
    margins: &Margins,
    (metrics, certificates): (&[Metric], &[Option<Certificate>]),
    round: &Round,
    classes: &[u8],
    hits: &mut [Hit],
) -> Result<Vec<Metric>> {
    let mut beaten = Vec::new();
    for ((hit, &metric), certificate) in hits.iter_mut().zip(metrics).zip(certificates) {
        let now = margins.value(metric, classes)?;
        if let Some((now, certificate)) = now.zip(certificate.as_ref())
            && metric.is_worse(now, within(certificate, &round.best)?)
        {
            beaten.push(metric);
        }
        let pair = now.zip(hit.value);
        if pair.is_some_and(|(now, before)| metric.is_worse(now, before)) {
            *hit = Hit {
                value: now,
                distance: round.best.distance,
                attack: round.winner.clone(),
            };
        }
    }
    Ok(beaten)
}

/// What is certified within the distance of a picture, not taken too short.
fn within(certificate: &Certificate, attacked: &Attacked) -> Result<Value> {
    // as in the gate: an f64 sum of n squares is off by at most n·2⁻⁵³ relative
    let margin = 1.0 + attacked.image.len() as f64 * f64::EPSILON;
    Ok(certificate.worst(Budget::new(attacked.distance * margin)?))
}

/// IoU of each class for these predictions (H, W).
fn ious(margins: &Margins, predictions: &[u8]) -> Result<Vec<Option<Value>>> {
    let classes = (0..=u8::MAX).take(margins.image().grid().classes);
    let each = classes.map(|class| Ok(margins.value(Metric::Iou(class), predictions)?));
    each.collect()
}

/// The picture on which the accuracy was attacked.
fn attacked_for(rounds: &[(Criterion, Round)]) -> Option<&[f32]> {
    let accuracy = Criterion::Metric(Metric::Accuracy);
    let found = rounds.iter().find(|(criterion, _)| *criterion == accuracy);
    found.map(|(_, round)| &round.best.image[..])
}

/// The best pictures of a criterion, of which this is the index; `None` where there is nothing to do.
type Find<'a> = dyn Fn(Scene, usize) -> Result<Option<Vec<Round>>> + Sync + 'a;

/// A picture from anywhere, checked.
fn given(duel: &Duel, ball: &Ball, image: &[f32]) -> Result<Round> {
    let clean = duel.scene.image;
    if image.len() != clean.len() {
        let [got, expected] = [image.len(), clean.len()];
        return Err(Error::ImageLength { got, expected });
    }
    if let Some(bad) = image.iter().find(|x| !(0.0..=1.0).contains(*x)) {
        let expected = "a number in [0, 1]";
        return Err(Error::setting("saved picture", bad.to_string(), expected));
    }
    let distance = ball.distance(image, clean);
    if distance > ball.eps() {
        let field = "distance of a saved picture";
        let expected = format!("at most {}", ball.eps());
        return Err(Error::setting(field, distance.to_string(), expected));
    }
    if let Some(region) = duel.scene.region {
        let pairs = image.iter().zip(clean).enumerate();
        let outside = pairs.filter(|&(at, (a, b))| a != b && !region[at % region.len()]);
        let outside = outside.count();
        if outside > 0 {
            let got = format!("changed in {outside} numbers outside the region");
            return Err(Error::setting("saved picture", got, "unchanged there"));
        }
    }
    let view = duel.look(image)?;
    let best = Attacked {
        image: image.to_vec(),
        distance,
        adversarial: view.count,
        score: view.score,
        success: view.score > duel.clean.score,
        step: 0,
        passes: duel.passes(),
    };
    Ok(Round {
        eps: ball.eps(),
        best,
        winner: "saved".into(),
        blows: Vec::new(),
        gap: None,
    })
}

/// A fall per picture below this is rounding: certified values are rounded to the safe side.
const ROUNDING: f64 = 1e-12;

/// Share of a certified fall that attacks found, of values over the same pictures; `None` where no
/// fall is certified possible.
pub fn tightness(clean: &[f64], attacked: &[f64], certified: &[f64]) -> Option<f64> {
    let fall = |to: &[f64]| -> f64 {
        clean
            .iter()
            .zip(to)
            .map(|(from, to)| (from - to).abs())
            .sum()
    };
    let allowed = fall(certified);
    (allowed > ROUNDING * clean.len() as f64).then(|| fall(attacked) / allowed)
}

/// The conventional median of distances found, of which a search that failed has none: as if infinite.
/// `None` of nothing, and where it is that of failures.
pub fn median(found: &[Option<f64>]) -> Option<f64> {
    let mut all: Vec<f64> = found.iter().map(|f| f.unwrap_or(f64::INFINITY)).collect();
    all.sort_unstable_by(f64::total_cmp);
    let lower = all.len().checked_sub(1)? / 2;
    let median = (all[lower] + all[all.len() / 2]) / 2.0;
    median.is_finite().then_some(median)
}

impl Strike {
    /// What each attack came to, over all criteria.
    pub fn blows(&self) -> impl Iterator<Item = &Blow> {
        self.rounds.iter().flat_map(|(_, round)| &round.blows)
    }
}

impl Quest {
    /// Whether an attack reached the goal within less than was certified: must never be.
    pub fn is_violated(&self) -> bool {
        self.found
            .is_some_and(|found| self.certified.is_none_or(|certified| found < certified))
    }

    /// Found over certified, at least 1; `None` where either is nothing.
    pub fn ratio(&self) -> Option<f64> {
        let certified = self.certified.filter(|&certified| certified > 0.0)?;
        self.found.map(|found| found / certified)
    }
}

impl Comparison {
    /// Every (metric, budget) at which an attack reached a worse value than was certified possible, in
    /// the budget or in the picture's own distance: a wrong constant or a wrong certificate. Must be empty.
    pub fn violations(&self, metrics: &[Metric]) -> Vec<(Metric, f64)> {
        let mut violations = Vec::new();
        for (at, strike) in self.strikes.iter().enumerate() {
            for (index, &metric) in metrics.iter().enumerate() {
                let pair = self.bounds[index].as_ref().zip(strike.hits[index].value);
                let worse = pair.is_some_and(|(b, hit)| metric.is_worse(hit, b.worst[at]));
                if worse || strike.beaten.contains(&metric) {
                    violations.push((metric, strike.eps));
                }
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_search_counts_as_the_farthest() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[Some(3.0), Some(1.0)]), Some(2.0));
        assert_eq!(median(&[None, Some(3.0), Some(1.0)]), Some(3.0));
        assert_eq!(median(&[None, Some(1.0)]), None);
    }
}
