//! One picture, certified and attacked: the project's law is certified ≤ attacked ≤ clean.

use certiseg_cert::{self as cert, Budget, Metric, Premises, Value};

use crate::attack::pgd::{Pgd, pgd};
use crate::attack::{Ball, Criterion, Duel, Scene, Target};
use crate::data::{Sample, VOID};
use crate::error::{Error, Result};
use crate::network::{Certifier, Logits, Network};
use crate::rng::Rng;

/// A network prepared for certificates and for attacks, on pictures of one size.
pub struct Arena {
    certifier: Certifier,
    target: Target,
    size: [usize; 2],
    /// The audited constant that certificates rest on: of the features, where the head is known.
    pub lipschitz: f64,
}

/// Certificates and attacks of one picture.
pub struct Comparison {
    /// Logits of the clean picture.
    pub logits: Logits,
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

/// The strongest attack found within a budget.
pub struct Strike {
    /// The budget.
    pub eps: f64,
    /// The attacked picture (3, H, W), of the metric asked for first.
    pub image: Vec<f32>,
    /// Its l2 distance.
    pub distance: f64,
    /// Value of each metric on the worst attacked picture for it; `None` where undefined.
    pub values: Vec<Option<Value>>,
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
        })
    }

    /// Where [`Arena::lipschitz`] comes from, for head rows.
    pub fn lipschitz_source(&self) -> String {
        self.certifier.lipschitz_source()
    }

    /// Certifies and attacks one labelled picture. Budgets must rise: what an attack reached within
    /// a smaller budget counts for every larger one.
    ///
    /// # Errors
    /// [`Error::NoMask`], falling budgets, and those of the parts.
    pub fn compare(
        &self,
        sample: &Sample,
        metrics: &[Metric],
        eps: &[f64],
        settings: &Pgd,
        seed: u64,
    ) -> Result<Comparison> {
        if !eps.is_sorted() {
            return Err(Error::setting("eps", format!("{eps:?}"), "rising budgets"));
        }
        let Some(labels) = sample.mask.as_deref() else {
            return Err(Error::NoMask {
                id: sample.id.clone(),
            });
        };
        let [height, width] = self.size;
        let picture = sample.image_f32();
        let logits = self.certifier.logits(&picture)?;
        let mut premises = self.certifier.premises(logits.eta)?;
        premises.lipschitz = self.lipschitz;
        let budgets = eps.iter().map(|&eps| Budget::new(eps));
        let budgets = budgets.collect::<cert::Result<Vec<_>>>()?;
        let image = cert::Image::new(logits.grid, &logits.values, Some(labels), Some(VOID))?;
        let margins = self.certifier.margins(&image, &premises)?;
        let bound = |metric: &Metric| {
            let certificate = metric.certify(&margins)?;
            Ok(certificate.map(|certificate| Bounds {
                clean: certificate.clean(),
                worst: budgets.iter().map(|&eps| certificate.worst(eps)).collect(),
            }))
        };
        let bounds = metrics.iter().map(bound).collect::<Result<Vec<_>>>()?;

        let scene = Scene::new(&picture, labels, [height, width])?;
        // a picture on which no pixel counts gives an accuracy attack nothing to do
        let accuracy = Criterion::Metric(Metric::Accuracy);
        let duel = match Duel::new(&self.target, scene, &accuracy) {
            Err(Error::AllVoid) => None,
            duel => Some(duel?),
        };
        let clean = metrics
            .iter()
            .map(|&metric| margins.value(metric, margins.predictions()));
        let mut strongest = clean.collect::<cert::Result<Vec<_>>>()?;
        let mut strikes = Vec::new();
        let id = Rng::hash(sample.id.as_bytes());
        for (index, &eps) in eps.iter().enumerate() {
            let mut rng = Rng::keyed(seed, &[id, index as u64]);
            let ball = Ball::l2(eps)?;
            let attacked = duel
                .as_ref()
                .map(|duel| pgd(duel, &ball, settings, &mut rng));
            let (image, distance) = match attacked.transpose()? {
                Some(attacked) => (attacked.image, attacked.distance),
                None => (picture.clone(), 0.0),
            };
            let classes = self.certifier.classes(&image)?;
            for (best, &metric) in strongest.iter_mut().zip(metrics) {
                let now = margins.value(metric, &classes)?;
                if now
                    .zip(*best)
                    .is_some_and(|(now, best)| metric.is_worse(now, best))
                {
                    *best = now;
                }
            }
            strikes.push(Strike {
                eps,
                image,
                distance,
                values: strongest.clone(),
            });
        }
        Ok(Comparison {
            logits,
            premises,
            bounds,
            strikes,
        })
    }
}

impl Comparison {
    /// Every (metric, budget) at which an attack reached a worse value than was certified possible:
    /// a wrong constant or a wrong certificate. Must be empty.
    pub fn violations(&self, metrics: &[Metric]) -> Vec<(Metric, f64)> {
        let mut violations = Vec::new();
        for (at, strike) in self.strikes.iter().enumerate() {
            for (index, &metric) in metrics.iter().enumerate() {
                let pair = self.bounds[index].as_ref().zip(strike.values[index]);
                if pair.is_some_and(|(bounds, hit)| metric.is_worse(hit, bounds.worst[at])) {
                    violations.push((metric, strike.eps));
                }
            }
        }
        violations
    }
}
