//! Trainings with every block: they learn, never meet a number that is none, and bake to a network
//! with a finite constant.

use std::ops::ControlFlow;
use std::sync::Arc;

use certiseg_net::architecture::{Architecture, Block, Kernels, Size};
use certiseg_net::data::{Pictures, shapes};
use certiseg_net::device::Compute;
use certiseg_net::loss::Loss;
use certiseg_net::train::{End, Event, State, Train, train};

/// First and last mean loss, and the audited constant, of a training on generated shapes.
fn trained(network: Architecture, loss: Loss, steps: u64) -> (f64, f64, f64) {
    let settings = Train {
        epochs: steps / 4,
        batch: 2,
        height: 32,
        width: 32,
        rate: 2e-3,
        loss,
        network: Architecture {
            classes: 4,
            ..network
        },
        ..Train::default()
    };
    let mut losses = Vec::new();
    let mut state = State::start(settings).unwrap();
    let mut watch = |_: &State, event: Event| {
        if let Event::Step {
            learned: Some(learned),
            ..
        } = event
        {
            losses.push(learned.loss);
        }
        ControlFlow::Continue(())
    };
    let ended = train(
        &mut state,
        &Arc::new(Pictures::of(shapes(5, 8, 32)).unwrap()),
        &Pictures::of(Vec::new()).unwrap(),
        &Compute::Cpu,
        &mut watch,
    )
    .unwrap();
    assert_eq!(ended, End::Done);
    assert_eq!(losses.len() as u64, steps);
    let lipschitz = state.bake().unwrap().audit(32, 32).unwrap().lipschitz;
    assert!(lipschitz.is_finite());
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    (
        mean(&losses[..8]),
        mean(&losses[losses.len() - 8..]),
        lipschitz,
    )
}

/// The constant of the normalisation is 2; what rounding to f32 and the audit add to twenty layers.
const CONSTANT: std::ops::Range<f64> = 1.0..2.01;

fn every_block(size: Size, steps: u64) {
    for block in Block::ALL {
        let network = Architecture {
            size,
            block: Some(block),
            ..Architecture::default()
        };
        let (first, last, lipschitz) =
            trained(network, Loss::CrossEntropy { temperature: 10.0 }, steps);
        assert!(last < first, "{block:?}: loss {first} to {last}");
        assert!(CONSTANT.contains(&lipschitz), "{block:?}: {lipschitz}");
    }
    let spectral = Architecture {
        size,
        kernels: Kernels::Spectral,
        ..Architecture::default()
    };
    let (first, last, lipschitz) = trained(spectral, Loss::default(), steps);
    assert!(
        last < first && CONSTANT.contains(&lipschitz),
        "{first} {last} {lipschitz}"
    );
    let twin = Architecture {
        size,
        kernels: Kernels::Unconstrained,
        ..Architecture::default()
    };
    let (first, last, _) = trained(twin, Loss::CrossEntropy { temperature: 1.0 }, steps);
    assert!(last < first, "{first} {last}");
}

#[test]
fn small_networks_learn_with_every_block() {
    every_block(Size::Xs, 16);
}

#[test]
#[ignore = "minutes: make slow"]
fn networks_of_size_s_train_200_steps_with_every_block() {
    every_block(Size::S, 200);
}

#[test]
fn every_loss_is_made_smaller() {
    let losses = [
        Loss::MarginOffset {
            offset: 0.1,
            temperature: 0.1,
        },
        Loss::LogitAnnealing {
            offset: 0.1,
            temperature: 0.1,
            power: 5.0,
            eps: 0.0,
        },
        Loss::Emma {
            eps: 0.01,
            temperature: 10.0,
        },
        Loss::Gloro {
            eps: 0.01,
            temperature: 10.0,
        },
        Loss::Cosine {
            share: 0.1,
            eps: 0.05,
        },
        Loss::Hinge { margin: 0.1 },
        Loss::CategoricalHinge { margin: 0.1 },
        Loss::Hkr {
            alpha: 0.9,
            margin: 0.1,
        },
        Loss::SoftHkr {
            alpha: 0.9,
            margin: 0.1,
            temperature: 10.0,
        },
        Loss::LseHkr {
            alpha: 0.9,
            margin: 0.1,
            penalty: 0.5,
        },
        Loss::Radius {
            eps: 0.01,
            weight: 1.0,
            temperature: 10.0,
        },
        Loss::Certificate {
            share: 0.1,
            weight: 0.1,
            temperature: 10.0,
        },
    ];
    for loss in losses {
        let network = Architecture {
            size: Size::Xs,
            ..Architecture::default()
        };
        let (first, last, _) = trained(network, loss.clone(), 24);
        assert!(last < first, "{loss:?}: {first} to {last}");
    }
}
