//! The losses by name, with their settings.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A loss and its settings; each setting has a default.
///
/// A `temperature` τ multiplies the logits, one called T divides them. An `eps` is a radius of one
/// pixel in the unit of the network's input: that of the picture over √(pixels expected to flip).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// CE(τ·f, y)/τ.
    CrossEntropy {
        /// τ: higher is more accurate, lower more robust.
        #[serde(default = "value::sharpness")]
        temperature: f64,
    },
    /// T·CE((f - o·1_y)/T, y).
    MarginOffset {
        /// o: the lead of the label that is asked for.
        #[serde(default = "value::offset")]
        offset: f64,
        /// T.
        #[serde(default = "value::smoothness")]
        temperature: f64,
    },
    /// T·(1 - e^{-c})^γ·c with c = CE((f - o·1_y)/T, y).
    LogitAnnealing {
        /// o.
        #[serde(default = "value::annealing_offset")]
        offset: f64,
        /// T.
        #[serde(default = "value::annealing_smoothness")]
        temperature: f64,
        /// γ, at least 1.
        #[serde(default = "value::power")]
        power: f64,
        /// ε of [`Loss::Emma`], whose logits take the place of f; 0: f itself.
        #[serde(default)]
        eps: f64,
    },
    /// CE(τ·f′, y)/τ with f′_j = f_j - f_y + clip((f_y - f_j)/(ε·D_j), 0.01, 1)·ε·D_j.
    Emma {
        /// ε.
        #[serde(default = "value::eps")]
        eps: f64,
        /// τ.
        #[serde(default = "value::emma_sharpness")]
        temperature: f64,
    },
    /// CE(τ·f′, y)/τ with f′_j = f_j + ε·D_j for j ≠ y.
    Gloro {
        /// ε.
        #[serde(default = "value::eps")]
        eps: f64,
        /// τ.
        #[serde(default = "value::sharpness")]
        temperature: f64,
    },
    /// -(1 - γ)·f_y/‖f‖ + γ·Σ_j s_j·softmax(s)_j, s_j = relu(ε - (f_y - f_j)/D_j).
    Cosine {
        /// γ; 0: the cosine alone.
        #[serde(default = "value::lack_share")]
        share: f64,
        /// ε.
        #[serde(default = "value::lack_eps")]
        eps: f64,
    },
    /// α·hinge - (1 - α)·KR, one against the rest.
    Hkr {
        /// α; above 1 it stands for α/(1 + α).
        #[serde(default = "value::alpha")]
        alpha: f64,
        /// m of the hinge.
        #[serde(default = "value::one")]
        margin: f64,
    },
    /// The same with the other classes weighted by how close they are.
    SoftHkr {
        /// α, likewise.
        #[serde(default = "value::alpha")]
        alpha: f64,
        /// m.
        #[serde(default = "value::one")]
        margin: f64,
        /// T: higher weighs the closest class more.
        #[serde(default = "value::one")]
        temperature: f64,
    },
    /// The same on y against the soft maximum of the other classes.
    LseHkr {
        /// α, likewise.
        #[serde(default = "value::alpha")]
        alpha: f64,
        /// m.
        #[serde(default = "value::one")]
        margin: f64,
        /// How far the soft maximum may lie above the maximum, in m/2.
        #[serde(default = "value::one")]
        penalty: f64,
    },
    /// mean_k c_k·relu(m/2 ∓ f_k), c_y = K - 1, else 1.
    Hinge {
        /// m.
        #[serde(default = "value::one")]
        margin: f64,
    },
    /// relu(m - (f_y - max_{j≠y} f_j)).
    CategoricalHinge {
        /// m.
        #[serde(default = "value::one")]
        margin: f64,
    },
    /// CE(τ·f, y)/τ + weight·relu(1 - r/ε), r = min_j (f_y - f_j)/D_j.
    Radius {
        /// ε: larger radii are left alone.
        #[serde(default = "value::eps")]
        eps: f64,
        /// Weight of the second term.
        #[serde(default = "value::one")]
        weight: f64,
        /// τ.
        #[serde(default = "value::sharpness")]
        temperature: f64,
    },
    /// CE(τ·f, y)/τ - weight·(mean over the images of E(n)/√n): E(n)² is the sum of the n smallest
    /// r₊², so E(n) is the certified budget that n flips cost. Class weights act on the first term.
    Certificate {
        /// n as a share of the image's counted pixels, rounded up.
        #[serde(default = "value::flipped_share")]
        share: f64,
        /// Weight of the second term.
        #[serde(default = "value::one")]
        weight: f64,
        /// τ.
        #[serde(default = "value::sharpness")]
        temperature: f64,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Loss::Emma {
            eps: value::eps(),
            temperature: value::emma_sharpness(),
        }
    }
}

impl Loss {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the field (`loss.temperature`), what it is and what it may be.
    pub fn check(&self) -> Result<()> {
        for (name, value) in self.fields() {
            let finite = value.is_finite();
            let positive = (finite && value > 0.0, "a positive number");
            let (holds, expected) = match name {
                "share" => ((0.0..=1.0).contains(&value), "0 to 1"),
                // below 1 the slope at a perfect pixel is infinite
                "power" => (finite && value >= 1.0, "a finite number of at least 1"),
                "eps" if matches!(self, Loss::Radius { .. }) => positive,
                "alpha" | "eps" | "offset" | "weight" => {
                    (finite && value >= 0.0, "a finite number of at least 0")
                }
                _ => positive,
            };
            if !holds {
                let field = format!("loss.{name}");
                return Err(Error::setting(field, value.to_string(), expected));
            }
        }
        Ok(())
    }

    /// Every field by its name.
    fn fields(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Loss::CrossEntropy { temperature } => vec![("temperature", temperature)],
            Loss::MarginOffset {
                offset,
                temperature,
            } => {
                vec![("offset", offset), ("temperature", temperature)]
            }
            Loss::LogitAnnealing {
                offset,
                temperature,
                power,
                eps,
            } => vec![
                ("offset", offset),
                ("temperature", temperature),
                ("power", power),
                ("eps", eps),
            ],
            Loss::Emma { eps, temperature } | Loss::Gloro { eps, temperature } => {
                vec![("eps", eps), ("temperature", temperature)]
            }
            Loss::Cosine { share, eps } => vec![("share", share), ("eps", eps)],
            Loss::Hkr { alpha, margin } => vec![("alpha", alpha), ("margin", margin)],
            Loss::SoftHkr {
                alpha,
                margin,
                temperature,
            } => {
                vec![
                    ("alpha", alpha),
                    ("margin", margin),
                    ("temperature", temperature),
                ]
            }
            Loss::LseHkr {
                alpha,
                margin,
                penalty,
            } => {
                vec![("alpha", alpha), ("margin", margin), ("penalty", penalty)]
            }
            Loss::Hinge { margin } | Loss::CategoricalHinge { margin } => vec![("margin", margin)],
            Loss::Radius {
                eps,
                weight,
                temperature,
            } => {
                vec![
                    ("eps", eps),
                    ("weight", weight),
                    ("temperature", temperature),
                ]
            }
            Loss::Certificate {
                share,
                weight,
                temperature,
            } => {
                vec![
                    ("share", share),
                    ("weight", weight),
                    ("temperature", temperature),
                ]
            }
        }
    }

    /// What multiplies the logits inside a cross-entropy, τ or 1/T; `None` where there is none.
    /// Whether it reads the distances of the head's rows.
    pub fn needs_pairs(&self) -> bool {
        match self {
            Loss::Emma { .. } | Loss::Gloro { .. } => true,
            Loss::Radius { .. } | Loss::Certificate { .. } => true,
            Loss::LogitAnnealing { eps, .. } => *eps > 0.0,
            Loss::Cosine { share, .. } => *share > 0.0,
            _ => false,
        }
    }

    /// Times the network's constant it says how sharp the loss is.
    pub fn temperature(&self) -> Option<f64> {
        let mut fields = self.fields().into_iter();
        let (_, value) = fields.find(|(name, _)| *name == "temperature")?;
        match self {
            Loss::MarginOffset { .. } | Loss::LogitAnnealing { .. } => Some(1.0 / value),
            // that of its weights, in no cross-entropy
            Loss::SoftHkr { .. } => None,
            _ => Some(value),
        }
    }
}

/// Defaults, those of the papers where they have one.
mod value {
    pub fn sharpness() -> f64 {
        20.0
    }
    pub fn smoothness() -> f64 {
        0.25
    }
    pub fn offset() -> f64 {
        1.5 * std::f64::consts::SQRT_2
    }
    pub fn annealing_offset() -> f64 {
        2.0
    }
    pub fn annealing_smoothness() -> f64 {
        0.75
    }
    pub fn power() -> f64 {
        5.0
    }
    /// With [`emma_sharpness`] the best of the trainings of BENCHMARKS, at 64x64.
    pub fn eps() -> f64 {
        0.01
    }
    pub fn emma_sharpness() -> f64 {
        40.0
    }
    pub fn lack_share() -> f64 {
        0.1
    }
    pub fn lack_eps() -> f64 {
        36.0 / 255.0
    }
    pub fn alpha() -> f64 {
        0.9
    }
    pub fn flipped_share() -> f64 {
        0.1
    }
    pub fn one() -> f64 {
        1.0
    }
}
