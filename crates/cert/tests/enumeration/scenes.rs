//! Random tiny images, and the odd ones.

use certiseg_cert::{
    Claim, Connectivity, Conventions, EmptyPrecision, Forced, MiouClasses, Norm, Objects, Premises,
};
use proptest::prelude::*;

use crate::relaxation::Scene;

pub const EXPONENTS: [f64; 5] = [1.0, 1.5, 2.0, 3.0, f64::INFINITY];
pub const VOID: u8 = 255;

/// What is odd about an image.
#[derive(Clone, Copy, Debug)]
enum Odd {
    Nothing,
    /// Most pixels are void or right.
    MostlyRight,
    /// Two levels of logits: ties and margins of 0.
    Ties,
    AllWrong,
    /// One class in the label.
    OneClass,
    AllVoid,
    EmptyRegion,
}

fn odd() -> impl Strategy<Value = Odd> {
    prop_oneof![
        5 => Just(Odd::Nothing),
        10 => Just(Odd::MostlyRight),
        3 => Just(Odd::Ties),
        2 => Just(Odd::AllWrong),
        2 => Just(Odd::OneClass),
        1 => Just(Odd::AllVoid),
        1 => Just(Odd::EmptyRegion),
    ]
}

/// Premises and conventions: common to the images of a data set.
pub fn terms() -> impl Strategy<Value = (Premises, Conventions)> {
    let premises = (
        prop::sample::select(EXPONENTS.to_vec()),
        prop::sample::select(vec![0.5, 1.0, 3.0]),
        prop::sample::select(vec![0.0, 0.0, 1.0 / 32.0]),
        any::<bool>(),
    );
    let premises = premises.prop_map(|(p, lipschitz, eta, program)| {
        let norm = Norm::new(p).unwrap();
        let mut premises = Premises::new(norm, lipschitz, eta).unwrap();
        premises.claim = if program {
            Claim::Program
        } else {
            Claim::Function
        };
        premises
    });
    let objects = (
        any::<bool>(),
        1..=2u32,
        prop::sample::select(vec![0u8, 0, 34, 50, 90]),
    );
    let objects = objects.prop_map(|(four, pixels, coverage)| Objects {
        connectivity: if four {
            Connectivity::Four
        } else {
            Connectivity::Eight
        },
        pixels,
        coverage,
    });
    let empty = prop::sample::select(vec![
        EmptyPrecision::One,
        EmptyPrecision::Zero,
        EmptyPrecision::Skip,
    ]);
    (premises, any::<bool>(), empty, any::<bool>(), objects).prop_map(
        |(premises, exact, empty_precision, union, objects)| {
            let known = [1.0, 2.0, f64::INFINITY].contains(&premises.norm.p());
            let conventions = Conventions {
                forced: if exact && known {
                    Forced::Exact
                } else {
                    Forced::Pairwise
                },
                empty_precision,
                miou: if union {
                    MiouClasses::Union
                } else {
                    MiouClasses::Present
                },
                objects,
            };
            (premises, conventions)
        },
    )
}

/// An image of up to so many pixels, in a row or in two.
pub fn scene(
    classes: usize,
    most: usize,
    terms: (Premises, Conventions),
) -> impl Strategy<Value = Scene> {
    (1..=most, any::<bool>(), odd(), 0..4u8).prop_flat_map(move |(pixels, square, odd, part)| {
        let logits = prop::collection::vec(prop::collection::vec(-32..=32i8, classes), pixels);
        let label =
            (0..=classes as u8).prop_map(move |n| if usize::from(n) == classes { VOID } else { n });
        let labels = prop::collection::vec(label, pixels);
        let region = prop::collection::vec(any::<bool>(), pixels);
        (logits, labels, region).prop_map(move |(logits, labels, region)| {
            let width = if square && pixels % 2 == 0 {
                pixels / 2
            } else {
                pixels
            };
            let region = (part == 0).then_some(region);
            let (premises, conventions) = terms;
            let scene = Scene {
                classes,
                width,
                logits,
                labels,
                void: VOID,
                region,
                premises,
                conventions,
            };
            made_odd(scene, odd)
        })
    })
}

fn made_odd(mut scene: Scene, odd: Odd) -> Scene {
    match odd {
        Odd::Nothing => {}
        Odd::MostlyRight => {
            for pixel in 0..scene.labels.len() {
                if pixel != 3 && scene.labels[pixel] != VOID {
                    scene.labels[pixel] = scene.prediction(pixel);
                }
            }
        }
        Odd::Ties => scene
            .logits
            .iter_mut()
            .flatten()
            .for_each(|logit| *logit = 16 * i8::from(*logit > 0)),
        Odd::AllWrong => {
            let wrong = |pixel| (scene.prediction(pixel) + 1) % scene.classes as u8;
            scene.labels = (0..scene.labels.len()).map(wrong).collect();
        }
        Odd::OneClass => {
            let first = scene.labels[0] % scene.classes as u8;
            scene.labels.fill(first);
        }
        Odd::AllVoid => scene.labels.fill(VOID),
        Odd::EmptyRegion => scene.region = Some(vec![false; scene.labels.len()]),
    }
    scene
}
