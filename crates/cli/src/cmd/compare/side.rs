//! A network and what is certified of one picture by it.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result};
use certiseg_cert::smoothing::{
    Correction, Guess, Law, Procedure, Promise, Stage, Votes, crpa, not_ignored,
};
use certiseg_cert::{Budget, Image, Metric};
use certiseg_net::data::{Sample, VOID};
use certiseg_net::network::Certifier;
use certiseg_net::smooth::{
    Arithmetic, Means, Model, NetworkModel, Noise, Philox, Sampler, Stream, Views,
};

use super::Asked;
use super::row::{Case, ImageRow, Method};
use crate::hybrid::{Grounds, shares};
use crate::source::Pictures;

/// A network for pictures of one size.
pub struct Side {
    /// `model` or `twin`.
    pub name: String,
    /// Its bound, where it is asked for.
    pub certifier: Option<Certifier>,
    model: NetworkModel,
}

/// Votes of a single stage, and what they have cost until then.
struct Counted {
    seconds: f64,
    votes: Votes,
}

impl Side {
    /// Of the model of these pictures; `bounded` with the Lipschitz bound.
    pub fn new(name: &str, pictures: &Pictures, bounded: bool) -> Result<Self> {
        let network = &pictures.model.network;
        let [height, width] = pictures.size;
        let certifier = match bounded {
            true => Some(network.certifier(height, width)?),
            false => None,
        };
        Ok(Side {
            name: name.into(),
            certifier,
            model: NetworkModel::new(network, pictures.size, &Views::default())?,
        })
    }

    /// Seconds of a pass and of the noise of a sample, each by itself: the least of five.
    pub fn alone(&self, sample: &Sample, noise: &Noise) -> Result<[f64; 2]> {
        let mut noisy = vec![0.0; sample.image.len()];
        let mut least = [f64::INFINITY; 2];
        for number in 0..5 {
            let bits = Philox::new(0, Stream::Certification, 0, number);
            let start = Instant::now();
            noise.add(&bits, &sample.image, &mut noisy);
            least[1] = least[1].min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            self.model.labels(&noisy, &mut |_| {})?;
            least[0] = least[0].min(start.elapsed().as_secs_f64());
        }
        Ok(least)
    }

    /// The Lipschitz bound, a row for each eps.
    pub fn bound(&self, sample: &Sample, eps: &[f64]) -> Result<Vec<ImageRow>> {
        let Some(certifier) = &self.certifier else {
            return Ok(Vec::new());
        };
        let labels = labels(sample)?;
        let start = Instant::now();
        let logits = certifier.logits(&sample.image_f32())?;
        let sampling = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let premises = certifier.premises(logits.eta)?;
        let image = Image::new(logits.grid, &logits.values, Some(labels), Some(VOID))?;
        let margins = certifier.margins(&image, &premises)?;
        let certificate = Metric::Accuracy.certify(&margins)?;
        let budgets = eps.iter().map(|eps| Ok(Budget::new(*eps)?));
        let budgets = budgets.collect::<Result<Vec<_>>>()?;
        let worst = |budget: &Budget| Some(certificate.as_ref()?.worst(*budget).lower());
        let values: Vec<_> = budgets.iter().map(worst).collect();
        let statistics = start.elapsed().as_secs_f64();
        let rows = eps.iter().zip(values).map(|(eps, crpa)| {
            let case = Case {
                method: Method::Lipschitz,
                eps: *eps,
                n: None,
                sigma: None,
            };
            self.row(sample, case, crpa, [sampling, statistics])
        });
        Ok(rows.collect())
    }

    /// All methods of votes and means, for each eps and n, under noise of one sigma. Samples are drawn once.
    pub fn sampled(&self, sample: &Sample, sigma: f64, asked: &Asked) -> Result<Vec<ImageRow>> {
        let labels = labels(sample)?;
        let law = Law::Gaussian { sigma };
        let noise = Noise::new(law, asked.arithmetic)?;
        let sampler = Sampler::new(&self.model, noise, asked.seed)?;
        let mut state = sampler.start(sample, asked.n0, Stage::Two)?;
        let hybrid = self.certifier.as_ref();
        let hybrid = hybrid.filter(|_| asked.arithmetic == Arithmetic::Float);
        let mut means = hybrid.map(|_| Means::new(self.model.classes()));
        let eta = match hybrid {
            Some(certifier) => certifier.logits(&sample.image_f32())?.eta,
            None => 0.0,
        };
        let start = Instant::now();
        let mut single = Single::new(labels.len(), asked.n0);
        let mut snapshots = Vec::new();
        let mut rows = Vec::new();
        // what statistics take on the way is no sampling
        let mut aside = 0.0;
        for &n in &asked.n {
            let mut see = |number: u32, labels: &[u8]| {
                single.add(labels)?;
                if asked.n.contains(&(number as usize + 1))
                    && let Some(votes) = &single.votes
                {
                    snapshots.push(Counted {
                        seconds: start.elapsed().as_secs_f64() - aside,
                        votes: votes.clone(),
                    });
                }
                Ok(())
            };
            let mut watch = |_: &_| match crate::interrupt::asked() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            let both = (&mut state, means.as_mut());
            sampler.run_seeing(sample, both, n, &mut see, &mut watch)?;
            if crate::interrupt::asked() {
                return Ok(Vec::new());
            }
            let seconds = start.elapsed().as_secs_f64() - aside;
            let pause = Instant::now();
            let votes = state.votes().context("no class was chosen")?;
            for &eps in &asked.eps {
                for method in [Method::Holm, Method::Count] {
                    let judged = self.judged((method, votes), (sigma, eps), asked, sample, seconds);
                    rows.push(judged?);
                }
            }
            if let (Some(certifier), Some(means)) = (hybrid, &means) {
                let premises = (certifier.lipschitz(), eta);
                rows.extend(self.hybrid(means, premises, sigma, asked, sample, seconds)?);
            }
            aside += pause.elapsed().as_secs_f64();
        }
        for Counted { seconds, votes } in &snapshots {
            for &eps in &asked.eps {
                let what = (Method::SingleStage, votes);
                rows.push(self.judged(what, (sigma, eps), asked, sample, *seconds)?);
            }
        }
        Ok(rows)
    }

    fn judged(
        &self,
        (method, votes): (Method, &Votes),
        (sigma, eps): (f64, f64),
        asked: &Asked,
        sample: &Sample,
        seconds: f64,
    ) -> Result<ImageRow> {
        let tau = Law::Gaussian { sigma }.threshold(eps, Promise::ClassOrAbstain)?;
        let (correction, stage, allowed) = match method {
            Method::Count => (Correction::Count(asked.count), Stage::Two, asked.count),
            // one level for all: nothing is to be guarded
            Method::SingleStage => (Correction::Bonferroni, Stage::SINGLE, 0),
            _ => (Correction::Holm, Stage::Two, 0),
        };
        let procedure = Procedure {
            tau,
            alpha: asked.alpha,
            correction,
            stage,
        };
        let start = Instant::now();
        // pixels that count, as those of the bound
        let labels = labels(sample)?;
        let family = not_ignored(labels);
        let histogram = votes.histogram(Some(&family))?;
        let decision = procedure.decide(votes.samples(), &histogram)?;
        let certified = votes.certified(decision.threshold, Some(&family))?;
        let statistics = start.elapsed().as_secs_f64();
        let value = crpa(&certified, labels, allowed)?;
        let case = Case {
            method,
            eps,
            n: Some(votes.samples()),
            sigma: Some(sigma),
        };
        Ok(self.row(sample, case, value, [seconds, statistics]))
    }

    /// The class of each pixel is its label, which no sample has chosen: n0 = 0.
    fn hybrid(
        &self,
        means: &Means,
        (lipschitz, eta): (f64, f64),
        sigma: f64,
        asked: &Asked,
        sample: &Sample,
        seconds: f64,
    ) -> Result<Vec<ImageRow>> {
        let labels = labels(sample)?;
        let start = Instant::now();
        let grounds = Grounds {
            lipschitz,
            eta,
            sigma,
            alpha: asked.alpha,
            same_samples: false,
        };
        let classes = (labels, self.model.classes());
        let values = shares(means, classes, &grounds, &asked.eps)?;
        let statistics = start.elapsed().as_secs_f64();
        let rows = asked.eps.iter().zip(values).map(|(eps, crpa)| {
            let case = Case {
                method: Method::Hybrid,
                eps: *eps,
                n: Some(means.samples()),
                sigma: Some(sigma),
            };
            self.row(sample, case, crpa, [seconds, statistics])
        });
        Ok(rows.collect())
    }

    fn row(&self, sample: &Sample, case: Case, crpa: Option<f64>, seconds: [f64; 2]) -> ImageRow {
        ImageRow {
            kind: "compare-image",
            image: sample.id.clone(),
            network: self.name.clone(),
            case,
            crpa,
            sampling_seconds: seconds[0],
            statistics_seconds: seconds[1],
        }
    }
}

/// All samples choose and test.
struct Single {
    choose: usize,
    guess: Option<Guess>,
    seen: usize,
    votes: Option<Votes>,
}

impl Single {
    fn new(pixels: usize, choose: usize) -> Self {
        Single {
            choose,
            guess: Some(Guess::new(pixels)),
            seen: 0,
            votes: None,
        }
    }

    fn add(&mut self, labels: &[u8]) -> certiseg_net::Result<()> {
        self.seen += 1;
        if let Some(votes) = &mut self.votes {
            return Ok(votes.add(labels)?);
        }
        if let Some(guess) = &mut self.guess {
            guess.add(labels)?;
        }
        if self.seen == self.choose
            && let Some(guess) = self.guess.take()
        {
            self.votes = Some(guess.finish()?.single_stage());
        }
        Ok(())
    }
}

fn labels(sample: &Sample) -> Result<&[u8]> {
    let labels = sample.mask.as_deref();
    labels.with_context(|| format!("image {} has no mask to compare with", sample.id))
}
