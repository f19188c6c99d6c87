//! A graphics card gives what the processor gives, up to the order of sums. Runs in a build with the feature
//! `gpu` or `cuda`, where there is a card (SwiftShader, which a processor plays, is one); elsewhere it says that it skips.
#![cfg(any(feature = "gpu", feature = "cuda"))]

use std::ops::ControlFlow;
use std::sync::Arc;

use certiseg_net::Error;
use certiseg_net::architecture::{Architecture, Block, Size};
use certiseg_net::data::{Augment, Pictures, shapes};
use certiseg_net::device::Compute;
use certiseg_net::loss::Loss;
use certiseg_net::train::{End, Event, State, Train, train};

fn card() -> Option<Compute> {
    match Compute::open("gpu") {
        Ok(card) => Some(card),
        Err(error) => {
            assert!(matches!(error, Error::NoDevice { .. }), "{error}");
            println!("skipped: {error}");
            None
        }
    }
}

/// Losses, gradients and the last parameters of a short training.
fn trained(compute: &Compute, block: Block, loss: Loss) -> (Vec<(f64, f64)>, State) {
    let settings = Train {
        epochs: 1,
        batch: 4,
        height: 32,
        width: 32,
        rate: 1e-3,
        loss,
        augment: Augment {
            flip_horizontal: 0.5,
            ..Augment::default()
        },
        network: Architecture {
            size: Size::Xs,
            classes: 4,
            block: Some(block),
            ..Architecture::default()
        },
        ..Train::default()
    };
    let mut state = State::start(settings).unwrap();
    let pictures = Arc::new(Pictures::of(shapes(3, 12, 32)).unwrap());
    let none = Pictures::of(Vec::new()).unwrap();
    let mut steps = Vec::new();
    let ended = train(&mut state, &pictures, &none, compute, &mut |_, event| {
        if let Event::Step { learned, .. } = event {
            let learned = learned.unwrap();
            steps.push((learned.loss, learned.gradient));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(ended.unwrap(), End::Done);
    (steps, state)
}

/// Sums of up to 32·32·4·64 products in f32, in another order.
const ORDER_OF_SUMS: f64 = 1e-4;
/// AdamW divides by the root of a gradient's square: where rounding decides the sign of a tiny gradient, a step differs by
/// twice the rate. So few do that the root mean square stays below this part of the rate.
const AFTER_ADAMW: f64 = 0.1;

#[test]
fn a_training_on_the_card_is_that_on_the_processor() {
    let Some(card) = card() else { return };
    for block in [Block::Plain, Block::Sll] {
        let loss = Loss::CrossEntropy { temperature: 10.0 };
        let (here, state) = trained(&Compute::Cpu, block, loss.clone());
        let (there, other) = trained(&card, block, loss);
        assert_eq!(here.len(), 3);
        let apart = |a: f64, b: f64| (a - b).abs() / a.abs();
        // the first step begins with the same bits
        let (first, other_first) = (here[0], there[0]);
        println!("{block:?}: loss and gradient {first:?} here, {other_first:?} there");
        assert!(apart(first.0, other_first.0) < ORDER_OF_SUMS);
        assert!(apart(first.1, other_first.1) < ORDER_OF_SUMS);
        let (mut squares, mut count, mut most) = (0.0, 0, 0f32);
        for (name, values) in &state.parameters.raw {
            for (a, b) in values.iter().zip(&other.parameters.raw[name]) {
                squares += f64::from(a - b).powi(2);
                most = most.max((a - b).abs());
            }
            count += values.len();
        }
        let apart = (squares / count as f64).sqrt();
        println!(
            "{block:?}: {count} parameters differ by {apart:e} (root mean square) and {most:e} at most after 3 steps of 1e-3"
        );
        assert!(apart < 3.0 * 1e-3 * AFTER_ADAMW);
        // what is certified is baked and evaluated here in both cases
        other.bake().unwrap().audit(32, 32).unwrap();
    }
}

/// By their names in settings, so that the defaults of each hold. The second term of `certificate` is 0 here, as it is
/// until nearly all pixels are right.
const LOSSES: [&str; 13] = [
    "cross_entropy",
    "margin_offset",
    "logit_annealing",
    "emma",
    "gloro",
    "cosine",
    "hkr",
    "soft_hkr",
    "lse_hkr",
    "hinge",
    "categorical_hinge",
    "radius",
    "certificate",
];

#[test]
fn every_loss_on_the_card_is_that_on_the_processor() {
    let Some(card) = card() else { return };
    for name in LOSSES {
        let loss: Loss = serde_json::from_value(serde_json::json!({ "kind": name })).unwrap();
        let ((here, _), (there, _)) = (
            trained(&Compute::Cpu, Block::Sll, loss.clone()),
            trained(&card, Block::Sll, loss),
        );
        println!(
            "{name}: loss and gradient {:?} here, {:?} there",
            here[0], there[0]
        );
        for (a, b) in [(here[0].0, there[0].0), (here[0].1, there[0].1)] {
            assert!(
                (a - b).abs() <= ORDER_OF_SUMS * a.abs(),
                "{name}: {a} here, {b} there"
            );
        }
    }
}
