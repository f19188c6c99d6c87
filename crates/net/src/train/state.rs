//! What a training has reached: all that going on needs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::evaluate::Evaluation;
use crate::network::Network;
use crate::optimizer::Moments;
use crate::parameters::{Parameters, Values};

use super::Train;

/// A training under way: what a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Resolved settings.
    pub settings: Train,
    /// Parameters and running means.
    pub parameters: Parameters,
    /// Their running average, where the settings ask for one and a step was done.
    pub average: Option<Parameters>,
    /// Optimiser state.
    pub moments: Moments,
    /// Epochs finished.
    pub epoch: u64,
    /// Steps done in the epoch under way.
    pub step: u64,
    /// Losses of the epoch under way.
    pub losses: Losses,
    /// The best network so far.
    pub best: Option<Best>,
    /// Hash of the names of the training samples in order, once known.
    pub samples: Option<u64>,
}

/// Losses of the steps of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Their sum.
    pub sum: f64,
    /// How many; steps of void pixels only have none.
    pub count: u64,
}

impl Losses {
    pub(super) fn add(&mut self, loss: f64) {
        self.sum += loss;
        self.count += 1;
    }

    /// `None` of none.
    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// The epoch whose network was the best on the validation set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Epoch, counted from 1.
    pub epoch: u64,
    /// What it reached.
    pub value: f64,
}

impl State {
    /// A training that has not begun.
    ///
    /// # Errors
    /// As [`Train::resolve`].
    pub fn start(settings: Train) -> Result<Self> {
        let settings = settings.resolve()?;
        let parameters = Parameters::start(&settings.network.nodes(), settings.seed);
        Ok(Self {
            settings,
            parameters,
            average: None,
            moments: Moments::default(),
            epoch: 0,
            step: 0,
            losses: Losses::default(),
            best: None,
            samples: None,
        })
    }

    /// A training that begins with the parameters another one reached, for fine-tuning: with its
    /// average where it has one.
    ///
    /// # Errors
    /// As [`Train::resolve`]; [`Error::Tensor`] naming the first parameter that one of the networks
    /// lacks or has in another size.
    pub fn start_from(settings: Train, other: &State) -> Result<Self> {
        let mut state = Self::start(settings)?;
        let reached = other.reached();
        let groups = [
            (&mut state.parameters.raw, &reached.raw),
            (&mut state.parameters.running, &reached.running),
        ];
        for (own, others) in groups {
            take_over(own, others)?;
        }
        Ok(state)
    }

    /// The parameters that are validated and stored: the average where there is one.
    pub fn reached(&self) -> &Parameters {
        self.average.as_ref().unwrap_or(&self.parameters)
    }

    /// The network of this moment, plain and rounded to f32.
    ///
    /// # Errors
    /// As [`Parameters::bake`].
    pub fn bake(&self) -> Result<Network> {
        self.reached().bake(&self.settings.network.nodes())
    }

    /// What it reached without the state of the optimiser and of the epoch: half the size of the
    /// plain network, which is baked from it on reading. For others: of the folder of the data it has the name.
    pub fn packed(&self) -> Self {
        let mut packed = Self {
            parameters: self.reached().clone(),
            average: None,
            moments: Moments::default(),
            losses: Losses::default(),
            ..self.clone()
        };
        let dir = &mut packed.settings.data.dir;
        *dir = dir.file_name().map_or_else(PathBuf::new, PathBuf::from);
        packed
    }

    /// Moves the running average to the parameters of this moment.
    pub(super) fn observe(&mut self) {
        if self.settings.average == 0.0 {
            return;
        }
        let Some(average) = &mut self.average else {
            self.average = Some(self.parameters.clone());
            return;
        };
        // a young average must not cling to where the training began
        let steps = self.moments.steps as f64;
        let kept = self.settings.average.min((1.0 + steps) / (10.0 + steps));
        let share = (1.0 - kept) as f32;
        let groups = [
            (&mut average.raw, &self.parameters.raw),
            (&mut average.running, &self.parameters.running),
        ];
        for (average, now) in groups {
            for (name, average) in average {
                let now = now.get(name).into_iter().flatten();
                for (average, now) in average.iter_mut().zip(now) {
                    *average += share * (now - *average);
                }
            }
        }
    }

    /// Remembers this epoch where it is the best so far; whether it is.
    pub(super) fn judge(&mut self, found: &Evaluation) -> bool {
        let measure = self.settings.validation.best;
        let Some(value) = found.of(measure) else {
            return false;
        };
        let better = |best: Best| measure.is_better(value, best.value);
        let best = self.best.is_none_or(better);
        if best {
            let epoch = self.epoch;
            self.best = Some(Best { epoch, value });
        }
        best
    }

    /// Whether the best network is as many epochs old as the settings have patience for; known
    /// after a validation only.
    pub fn is_stale(&self) -> bool {
        let validation = &self.settings.validation;
        let age = self.best.map_or(0, |best| self.epoch - best.epoch);
        let known = self.step == 0 && self.epoch.is_multiple_of(validation.every);
        validation.patience > 0 && age >= validation.patience && known
    }

    pub(super) fn diverged(&self, loss: f64) -> Error {
        let (epoch, step) = (self.epoch + 1, self.step + 1);
        Error::Diverged { epoch, step, loss }
    }
}

fn take_over(own: &mut Values, others: &Values) -> Result<()> {
    for (name, values) in own.iter_mut() {
        match others.get(name) {
            Some(other) if other.len() == values.len() => values.clone_from(other),
            other => {
                let got = other.map_or("no".to_owned(), |other| other.len().to_string());
                let what = format!("{got} values to begin with, expected {}", values.len());
                return Err(Error::tensor(name.clone(), what));
            }
        }
    }
    match others.keys().find(|name| !own.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::tensor(
            name.clone(),
            "a parameter of the network to begin with, which this one lacks".into(),
        )),
    }
}
