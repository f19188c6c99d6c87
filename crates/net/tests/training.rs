//! Trainings: resumed ones equal unbroken ones to the bit, large steps can be cut into batches,
//! averages, validation by any figure, early ends.

use std::ops::ControlFlow;
use std::sync::Arc;

use certiseg_net::architecture::{Architecture, Centering, Kernels, Size};
use certiseg_net::checkpoint::{load_training, save_training};
use certiseg_net::data::{Augment, Pictures, Sample, shapes};
use certiseg_net::device::Compute;
use certiseg_net::evaluate::Measure;
use certiseg_net::loss::{Consistency, Loss};
use certiseg_net::train::{End, Event, Mixed, State, Train, Validation, train};

const CPU: &Compute = &Compute::Cpu;

fn kept(samples: &[Sample]) -> Arc<Pictures> {
    Arc::new(some(samples, samples.len()))
}

fn some(samples: &[Sample], count: usize) -> Pictures {
    Pictures::of(samples[..count].to_vec()).unwrap()
}

fn tiny(epochs: u64) -> (Train, Vec<Sample>) {
    let settings = Train {
        epochs,
        batch: 4,
        height: 32,
        width: 32,
        rate: 5e-3,
        loss: Loss::CrossEntropy { temperature: 10.0 },
        network: Architecture {
            size: Size::Xs,
            classes: 4,
            ..Architecture::default()
        },
        ..Train::default()
    };
    (settings, shapes(3, 10, 32))
}

/// Everything at once: what a resumed training could get wrong.
fn rich(epochs: u64) -> (Train, Vec<Sample>) {
    let (settings, samples) = tiny(epochs);
    let settings = Train {
        batch: 2,
        accumulate: 2,
        warm_up: 2,
        // not a short decimal: it must come back from the file to the last bit
        clip: 0.1 + 0.2,
        average: 0.7,
        mix: vec![Mixed {
            weight: 0.1,
            loss: Loss::Hinge { margin: 1.0 },
        }],
        validation: Validation {
            measures: vec!["miou@0.05".parse().unwrap(), "iou:1".parse().unwrap()],
            ..Validation::default()
        },
        augment: Augment {
            flip_horizontal: 0.5,
            rotation_degrees: 20.0,
            ..Augment::default()
        },
        ..settings
    };
    (settings, samples)
}

/// Trains to the end; every event but the networks, in words.
fn finish(state: &mut State, samples: &[Sample]) -> Vec<String> {
    let mut events = Vec::new();
    let ended = train(
        state,
        &kept(samples),
        &some(samples, 3),
        CPU,
        &mut |_, event| {
            events.push(words(event));
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Done);
    events
}

fn words(event: Event) -> String {
    match event {
        Event::Epoch {
            loss,
            evaluation,
            best,
            ..
        } => format!("{loss:?} {evaluation:?} {best}"),
        step => format!("{step:?}"),
    }
}

#[test]
fn a_resumed_training_equals_an_unbroken_one_wherever_it_was_broken() {
    let (settings, samples) = rich(2);
    let mut unbroken = State::start(settings.clone()).unwrap();
    let events = finish(&mut unbroken, &samples);
    // 3 steps of 4, 4 and 2 pictures, and the epoch
    assert_eq!(events.len(), 2 * 4);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    for broken_after in 1..events.len() {
        let mut first = State::start(settings.clone()).unwrap();
        let mut seen = Vec::new();
        let ended = train(
            &mut first,
            &kept(&samples),
            &some(&samples, 3),
            CPU,
            &mut |_, event| {
                seen.push(words(event));
                match seen.len() == broken_after {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            },
        );
        assert_eq!(ended.unwrap(), End::Stopped);
        save_training(&path, &first).unwrap();
        let mut second = load_training(&path).unwrap();
        // states are too long to be printed
        assert!(first == second);
        seen.extend(finish(&mut second, &samples));
        assert_eq!(seen, events, "broken after event {broken_after}");
        assert!(second == unbroken);
    }
    // the comparison sees a difference of one step
    let mut other = State::start(Train {
        warm_up: 1,
        ..settings
    })
    .unwrap();
    assert_ne!(finish(&mut other, &samples), events);
}

#[test]
fn a_training_gives_the_same_bits_on_any_number_of_threads() {
    let (settings, samples) = rich(1);
    let trained = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let mut state = State::start(settings.clone()).unwrap();
            finish(&mut state, &samples);
            state
        })
    };
    assert!(trained(1) == trained(4));
}

/// f32 sums in another order, and AdamW's division by small roots of them.
const SAME_STEP: f32 = 2e-4;

#[test]
fn accumulated_batches_are_one_large_step() {
    // without centering over a batch, and with void pixels so that batches weigh differently
    let (settings, mut samples) = tiny(1);
    for mask in samples[..3].iter_mut().filter_map(|s| s.mask.as_mut()) {
        mask[..700].fill(255);
    }
    let trained = |batch, accumulate| {
        let settings = Train {
            batch,
            accumulate,
            network: Architecture {
                centering: Some(Centering::Layer),
                ..settings.network.clone()
            },
            ..settings.clone()
        };
        let mut state = State::start(settings).unwrap();
        let mut losses = Vec::new();
        let ended = train(
            &mut state,
            &kept(&samples),
            &some(&samples, 0),
            CPU,
            &mut |_, event| {
                if let Event::Step { learned, .. } = event {
                    losses.push(learned.unwrap().loss);
                }
                ControlFlow::Continue(())
            },
        );
        assert_eq!(ended.unwrap(), End::Done);
        (losses, state.parameters.raw)
    };
    let (whole, parts, small) = (trained(10, 1), trained(3, 4), trained(3, 1));
    let apart = |a: &[f64], b: &[f64]| (a[0] - b[0]).abs() / a[0].abs();
    assert_eq!((whole.0.len(), parts.0.len(), small.0.len()), (1, 1, 4));
    assert!(
        apart(&whole.0, &parts.0) < 1e-6,
        "{:?} {:?}",
        whole.0,
        parts.0
    );
    assert!(apart(&whole.0, &small.0) > 1e-4);
    let moved = |other: &std::collections::BTreeMap<String, Vec<f32>>| {
        let pairs = whole.1.iter().flat_map(|(name, values)| {
            let others = &other[name];
            values.iter().zip(others).map(|(a, b)| (a - b).abs())
        });
        pairs.fold(0.0, f32::max)
    };
    // a step moves a parameter by up to the rate, 5e-3
    assert!(moved(&parts.1) < SAME_STEP, "{}", moved(&parts.1));
    assert!(moved(&small.1) > 1e-3, "{}", moved(&small.1));
}

#[test]
fn the_average_lags_behind_and_is_what_is_baked() {
    let (settings, samples) = tiny(1);
    let settings = Train {
        average: 0.999,
        ..settings
    };
    let mut state = State::start(settings).unwrap();
    let mut seen = Vec::new();
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 0),
        CPU,
        &mut |state, _| {
            let of = |p: &certiseg_net::parameters::Parameters| {
                f64::from(p.raw.values().next().unwrap()[0])
            };
            let average = state.average.as_ref().unwrap();
            seen.push((of(&state.parameters), of(average)));
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Done);
    // the first average is the parameter; then (1 + t)/(10 + t) is kept
    let (mut average, mut steps) = (seen[0].0, 1.0);
    for &(now, got) in &seen[..3] {
        if steps > 1.0 {
            average += (1.0 - (1.0 + steps) / (10.0 + steps)) * (now - average);
        }
        // one rounding of f32 per step
        assert!((average - got).abs() <= 1e-6, "{average} {got}");
        steps += 1.0;
    }
    let nodes = state.settings.network.nodes();
    let averaged = state.average.as_ref().unwrap().bake(&nodes).unwrap();
    assert_eq!(state.bake().unwrap(), averaged);
    assert_ne!(state.parameters.bake(&nodes).unwrap(), averaged);
}

#[test]
fn the_best_network_is_known_by_any_figure_and_patience_ends() {
    let (settings, samples) = tiny(12);
    let settings = Train {
        // far too fast: it gets worse before the end
        rate: 0.5,
        validation: Validation {
            best: "fnr:1@0.05".parse().unwrap(),
            patience: 2,
            ..Validation::default()
        },
        ..settings
    };
    let best = settings.validation.best;
    let mut state = State::start(settings).unwrap();
    let (mut values, mut marked) = (Vec::new(), Vec::new());
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 3),
        CPU,
        &mut |_, event| {
            if let Event::Epoch {
                evaluation,
                best: is_best,
                epoch,
                ..
            } = event
            {
                values.push(evaluation.unwrap().of(best).unwrap());
                marked.extend(is_best.then_some(epoch));
            }
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Early);
    let reached = state.best.unwrap();
    // an error rate: the least is the best, the first of equals
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(reached.value, least);
    assert_eq!(values[reached.epoch as usize - 1], least);
    assert_eq!(marked.last(), Some(&reached.epoch));
    assert_eq!(state.epoch, reached.epoch + 2);
    // gone on with, it ends at once
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 3),
        CPU,
        &mut |_, _| panic!("a step"),
    );
    assert_eq!(ended.unwrap(), End::Early);
}

#[test]
fn validation_may_be_rare_but_comes_last() {
    let (settings, samples) = tiny(5);
    let settings = Train {
        validation: Validation {
            every: 2,
            ..Validation::default()
        },
        ..settings
    };
    let mut state = State::start(settings).unwrap();
    let mut validated = Vec::new();
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 2),
        CPU,
        &mut |_, event| {
            if let Event::Epoch {
                evaluation, epoch, ..
            } = event
            {
                validated.extend(evaluation.map(|found| (epoch, found)));
            }
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Done);
    let epochs: Vec<u64> = validated.iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, [2, 4, 5]);
    for (_, found) in &validated {
        let (certified, clean) = (found.of(Measure::CRPA), found.clean_of(Measure::CRPA));
        assert!(certified.unwrap() <= clean.unwrap());
        // pictures of one size without void pixels: the mean is the pooled value, but for its rounding
        assert!((clean.unwrap() - found.accuracy.unwrap()).abs() < 1e-12);
    }
}

/// Largest difference of two running statistics, relative to the largest of the second.
fn apart(a: &State, b: &State) -> f32 {
    let of = |state: &State| -> Vec<f32> {
        let values = state.parameters.running.values();
        values.flatten().copied().collect()
    };
    let (a, b) = (of(a), of(b));
    let most = b.iter().fold(0.0f32, |most, b| most.max(b.abs()));
    let pairs = a.iter().zip(&b);
    pairs.fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / most
}

#[test]
fn only_the_first_batch_of_a_first_step_sets_the_running_statistics() {
    let after_one_step = |accumulate| {
        let (settings, samples) = tiny(1);
        let mut state = State::start(Train {
            batch: 2,
            accumulate,
            mean_decay: 0.999,
            ..settings
        })
        .unwrap();
        let (training, validation) = (kept(&samples), some(&samples, 2));
        train(&mut state, &training, &validation, CPU, &mut |_, _| {
            ControlFlow::Break(())
        })
        .unwrap();
        state
    };
    let (one, four) = (after_one_step(1), after_one_step(4));
    assert!(apart(&four, &one) < 0.01, "{}", apart(&four, &one));
}

#[test]
fn patience_ends_after_a_validation() {
    let (settings, samples) = tiny(20);
    let settings = Train {
        // nothing changes
        rate: 1e-30,
        last_rate: 1e-30,
        mean_decay: 0.0,
        validation: Validation {
            every: 4,
            patience: 3,
            best: "accuracy".parse().unwrap(),
            ..Validation::default()
        },
        ..settings
    };
    let mut state = State::start(settings).unwrap();
    let mut last = None;
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 2),
        CPU,
        &mut |_, event| {
            if let Event::Epoch {
                epoch, evaluation, ..
            } = event
            {
                last = Some((epoch, evaluation.is_some()));
            }
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Early);
    let (epoch, validated) = last.unwrap();
    assert!(validated && epoch % 4 == 0, "ended in epoch {epoch}");
}

#[test]
fn fine_tuning_begins_with_the_parameters_of_another_training() {
    let (settings, samples) = tiny(1);
    let mut first = State::start(Train {
        average: 0.5,
        ..settings.clone()
    })
    .unwrap();
    finish(&mut first, &samples);
    let second = State::start_from(settings.clone(), &first).unwrap();
    assert_eq!(&second.parameters, first.average.as_ref().unwrap());
    assert_eq!((second.epoch, second.moments.steps), (0, 0));
    // what it has seen is moved by the first batches, not forgotten
    let mut third = State::start_from(
        Train {
            mean_decay: 0.999,
            ..settings.clone()
        },
        &first,
    )
    .unwrap();
    finish(&mut third, &samples);
    assert!(apart(&third, &second) < 0.05, "{}", apart(&third, &second));
    let wider = Train {
        network: Architecture {
            size: Size::S,
            ..settings.network.clone()
        },
        ..settings
    };
    let error = State::start_from(wider, &first).unwrap_err().to_string();
    assert!(error.contains("expected"), "{error}");
}

#[test]
fn a_warm_up_longer_than_the_training_is_refused() {
    let (settings, samples) = tiny(1);
    let mut state = State::start(Train {
        warm_up: 3,
        ..settings
    })
    .unwrap();
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 0),
        CPU,
        &mut |_, _| ControlFlow::Continue(()),
    );
    let error = ended.unwrap_err().to_string();
    assert!(
        error.contains("warm_up is 3 steps, expected less than the 3"),
        "{error}"
    );
}

#[test]
fn patience_without_a_validation_set_is_refused() {
    let (settings, samples) = tiny(1);
    let mut state = State::start(Train {
        validation: Validation {
            patience: 3,
            ..Validation::default()
        },
        ..settings
    })
    .unwrap();
    let error = state.begin(&some(&samples, 2), &some(&samples, 0));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("validation.patience is 3"), "{error}");
    state.begin(&some(&samples, 2), &some(&samples, 1)).unwrap();
}

#[test]
fn training_lowers_the_loss() {
    let (settings, samples) = tiny(4);
    let mut state = State::start(settings).unwrap();
    let mut losses = Vec::new();
    let ended = train(
        &mut state,
        &kept(&samples),
        &some(&samples, 0),
        CPU,
        &mut |_, event| {
            if let Event::Epoch { loss, .. } = event {
                losses.push(loss.unwrap());
            }
            ControlFlow::Continue(())
        },
    );
    assert_eq!(ended.unwrap(), End::Done);
    assert!(losses[3] < losses[0], "{losses:?}");
}

/// The twin that smoothing is compared with: no constraint, noise, copies that shall agree.
#[test]
fn an_unconstrained_network_learns_from_noisy_copies_and_resumes() {
    let (settings, samples) = tiny(4);
    let settings = Train {
        batch: 2,
        accumulate: 2,
        loss: Loss::CrossEntropy { temperature: 1.0 },
        consistency: Some(Consistency::default()),
        network: Architecture {
            kernels: Kernels::Unconstrained,
            ..settings.network
        },
        ..settings
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoint.safetensors");
    let mut unbroken = State::start(settings.clone()).unwrap();
    let mut losses = Vec::new();
    let mut steps = 0;
    train(
        &mut unbroken,
        &kept(&samples),
        &some(&samples, 0),
        CPU,
        &mut |state, event| {
            match event {
                Event::Epoch { loss, .. } => losses.push(loss.unwrap()),
                Event::Step { .. } => {
                    steps += 1;
                    // in the middle of an epoch
                    if steps == 4 {
                        save_training(&path, state).unwrap();
                    }
                }
            }
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert!(losses[3] < losses[0], "{losses:?}");
    let mut resumed = load_training(&path).unwrap();
    assert_eq!(resumed.settings.consistency, settings.consistency);
    let go = &mut |_: &State, _| ControlFlow::Continue(());
    train(&mut resumed, &kept(&samples), &some(&samples, 0), CPU, go).unwrap();
    assert_eq!(resumed.parameters, unbroken.parameters);

    // another number of copies is another training
    let three = Consistency {
        copies: 3,
        ..Consistency::default()
    };
    let mut other = State::start(Train {
        consistency: Some(three),
        epochs: 1,
        ..settings
    })
    .unwrap();
    train(&mut other, &kept(&samples), &some(&samples, 0), CPU, go).unwrap();
}
