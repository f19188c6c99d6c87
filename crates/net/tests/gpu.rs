//! A graphics card gives what the processor gives, up to the order of sums. Runs in a build with the feature
//! `gpu` or `cuda`, where there is a card (Mesa's software Vulkan is one); elsewhere it says that it skips.
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
fn trained(compute: &Compute, block: Block) -> (Vec<(f64, f64)>, State) {
    let settings = Train {
        epochs: 1,
        batch: 4,
        height: 32,
        width: 32,
        rate: 1e-3,
        loss: Loss::CrossEntropy { temperature: 10.0 },
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
/// AdamW divides by the root of a gradient's square: rounding of small gradients is enlarged. In units of the rate.
const AFTER_ADAMW: f32 = 0.5;

#[test]
fn a_training_on_the_card_is_that_on_the_processor() {
    let Some(card) = card() else { return };
    for block in [Block::Plain, Block::Sll] {
        let (here, state) = trained(&Compute::Cpu, block);
        let (there, other) = trained(&card, block);
        assert_eq!(here.len(), 3);
        let apart = |a: f64, b: f64| (a - b).abs() / a.abs();
        // the first step begins with the same bits
        let (first, other_first) = (here[0], there[0]);
        println!("{block:?}: loss and gradient {first:?} here, {other_first:?} there");
        assert!(apart(first.0, other_first.0) < ORDER_OF_SUMS);
        assert!(apart(first.1, other_first.1) < ORDER_OF_SUMS);
        let mut most = 0f32;
        for (name, values) in &state.parameters.raw {
            let pairs = values.iter().zip(&other.parameters.raw[name]);
            most = pairs.map(|(a, b)| (a - b).abs()).fold(most, f32::max);
        }
        println!("{block:?}: parameters differ by at most {most:e} after 3 steps of 1e-3");
        assert!(most < 3.0 * 1e-3 * AFTER_ADAMW);
        // what is certified is baked and evaluated here in both cases
        other.bake().unwrap().audit(32, 32).unwrap();
    }
}
