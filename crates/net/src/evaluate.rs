//! Figures of a network on labelled samples, by the judge's own metrics.

use certiseg_cert::{self as cert, Budget, Metric};
use serde::{Deserialize, Serialize};

use crate::data::{Sample, VOID};
use crate::error::Result;
use crate::network::Network;

/// Budget of the certified figure: l2 in [0, 1] units.
pub const EPS: f64 = 0.1;

/// Figures over a set of samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of correct pixels, all pixels together; `None` where no pixel counts.
    pub accuracy: Option<f64>,
    /// IoU per class, all pixels together; `None` where label and prediction lack the class.
    pub iou: Vec<Option<f64>>,
    /// Mean of the present ones.
    pub miou: Option<f64>,
    /// Pixel accuracy certified at [`EPS`], mean over images, rounded down.
    pub certified: Option<f64>,
    /// The audited Lipschitz constant it rests on.
    pub lipschitz: f64,
}

/// Evaluates on samples of one size with masks.
///
/// # Errors
/// Those of the forward pass, the audit and the judge.
pub fn evaluate(network: &Network, samples: &[Sample]) -> Result<Evaluation> {
    let Some(first) = samples.first() else {
        return Err(crate::Error::setting(
            "validation set",
            "0 samples",
            "at least one",
        ));
    };
    let certifier = network.certifier(first.height, first.width)?;
    let classes = network.classes();
    let budget = Budget::new(EPS)?;
    let mut correct = [0, 0];
    let mut unions = vec![[0u64, 0]; classes];
    let mut certified = Vec::new();
    for sample in samples {
        let logits = certifier.logits(&sample.image_f32())?;
        let mask = sample.mask.as_deref();
        let image = cert::Image::new(logits.grid, &logits.values, mask, Some(VOID))?;
        let margins = certifier.margins(&image, &certifier.premises(logits.eta)?)?;
        if let Some(certificate) = Metric::Accuracy.certify(&margins)? {
            let clean = certificate.clean().share();
            correct[0] += clean.map_or(0, |share| share.numerator);
            correct[1] += clean.map_or(0, |share| share.denominator);
            certified.push(certificate.worst(budget).lower());
        }
        let pairs = margins.predictions().iter().zip(mask.unwrap_or_default());
        for (&predicted, &label) in pairs.filter(|&(_, &label)| label != VOID) {
            for class in [predicted, label] {
                unions[usize::from(class)][1] += 1;
            }
            if predicted == label {
                // counted twice just above
                unions[usize::from(label)][0] += 1;
                unions[usize::from(label)][1] -= 1;
            }
        }
    }
    let iou: Vec<_> = unions
        .iter()
        .map(|&[both, union]| (union > 0).then(|| both as f64 / union as f64))
        .collect();
    let present: Vec<f64> = iou.iter().flatten().copied().collect();
    Ok(Evaluation {
        accuracy: (correct[1] > 0).then(|| correct[0] as f64 / correct[1] as f64),
        miou: (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64),
        iou,
        certified: cert::mean_lower(&certified),
        lipschitz: certifier.lipschitz(),
    })
}
