//! The sampler as a whole: its definition, the same bits however it is run, mutants, and models whose true
//! radius is known.

use std::ops::ControlFlow;
use std::sync::Mutex;

use certiseg_cert::smoothing::{Correction, Promise, RadiusTable, Stage};
use certiseg_cert::smoothing::{Family, Law, Look, Looks, Procedure};

use super::sampler::Source;
use super::*;
use crate::architecture::{Architecture, Size};
use crate::data::Sample;
use crate::error::{Error, Result};
use crate::parameters::Parameters;

const LAW: Law = Law::Gaussian { sigma: 0.25 };
const GO: fn(&State) -> ControlFlow<()> = |_| ControlFlow::Continue(());

fn picture(id: &str, side: usize) -> Sample {
    Sample {
        id: id.into(),
        height: side,
        width: side,
        image: (0..3 * side * side).map(|i| (i * 37 % 256) as u8).collect(),
        mask: None,
    }
}

fn noise() -> Noise {
    Noise::new(LAW, Arithmetic::Grid).unwrap()
}

/// An untrained network with scales and flips: most of its pixels are unsure.
fn network(views: &Views) -> NetworkModel {
    let settings = Architecture {
        size: Size::Xs,
        classes: 5,
        rates: vec![1, 2],
        ..Architecture::default()
    };
    let nodes = settings.resolve(16).unwrap().nodes();
    let network = Parameters::start(&nodes, 3).bake(&nodes).unwrap();
    NetworkModel::new(&network, [16, 16], views).unwrap()
}

/// Class 1 of a pixel where 3·red + 4·green is at most its bound.
struct HalfSpaces {
    side: usize,
    bounds: Vec<f64>,
}

impl HalfSpaces {
    /// With these distances from the border, positive inside class 1.
    fn at(picture: &Sample, distances: &[f64]) -> Self {
        let pixels = distances.len();
        let sum = |i: usize| {
            let [red, green] = [i, pixels + i].map(|at| f64::from(picture.image[at]) / 255.0);
            3.0 * red + 4.0 * green + 5.0 * distances[i]
        };
        HalfSpaces {
            side: picture.height,
            bounds: (0..pixels).map(sum).collect(),
        }
    }
}

impl Model for HalfSpaces {
    fn size(&self) -> [usize; 2] {
        [self.side; 2]
    }

    fn classes(&self) -> usize {
        2
    }

    fn identity(&self) -> String {
        "half-spaces".into()
    }

    fn labels(&self, picture: &[f32], enter: &mut Enter) -> Result<Vec<u8>> {
        enter(picture);
        let pixels = self.bounds.len();
        let label = |(i, bound): (usize, &f64)| {
            let [red, green] = [picture[i], picture[pixels + i]].map(f64::from);
            u8::from(3.0 * red + 4.0 * green <= *bound)
        };
        Ok(self.bounds.iter().enumerate().map(label).collect())
    }
}

/// Classes, hits, counts and hashes.
fn parts(state: &State) -> (Vec<u8>, Vec<u8>, Vec<usize>) {
    let votes = state.votes().unwrap();
    let counts = (0..votes.len()).map(|i| votes.count(i)).collect();
    (
        votes.classes().to_vec(),
        state.hits().unwrap().to_vec(),
        counts,
    )
}

fn run(sampler: &Sampler, stage: Stage, samples: usize) -> State {
    let picture = picture("a", 16);
    let mut state = sampler.start(&picture, 4, stage).unwrap();
    let end = sampler.run(&picture, &mut state, samples, &mut GO.clone());
    assert_eq!(end.unwrap(), End::Done);
    state
}

#[test]
fn votes_are_those_of_the_definition() {
    let model = network(&Views::default());
    let picture = picture("a", 16);
    let maps: Vec<Vec<u8>> = (0..12)
        .map(|sample| {
            let bits = Philox::new(7, Stream::Certification, image_number("a"), sample);
            let mut noisy = vec![0.0; 768];
            noise().add(&bits, &picture.image, &mut noisy);
            model.labels(&noisy, &mut |_| {}).unwrap()
        })
        .collect();
    let agree =
        |maps: &[Vec<u8>], i: usize, class: u8| maps.iter().filter(|m| m[i] == class).count();
    let classes: Vec<u8> = (0..256)
        .map(|i| {
            (0..5)
                .rev()
                .max_by_key(|class| agree(&maps[..4], i, *class))
                .unwrap()
        })
        .collect();
    let hits: Vec<u8> = (0..256)
        .map(|i| agree(&maps[..4], i, classes[i]) as u8)
        .collect();
    assert!(hits.iter().any(|hits| *hits < 4), "all pixels are sure");
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    for (stage, samples, counted) in [(Stage::Two, 8, &maps[4..]), (Stage::SINGLE, 12, &maps[..])] {
        let state = run(&sampler, stage, samples);
        let counts = (0..256).map(|i| agree(counted, i, classes[i])).collect();
        assert_eq!(parts(&state), (classes.clone(), hits.clone(), counts));
        assert_eq!((state.drawn(), state.samples()), (12, samples));
        let sampling = sampler.sampling(&state, Family::All);
        assert_eq!(
            (sampling.forwards, sampling.samples, sampling.choose),
            (12, samples, 4)
        );
    }
}

#[test]
fn the_same_bits_for_any_batch_and_number_of_threads() {
    let views = Views {
        scales: vec![1.0, 2.0],
        flip: true,
    };
    let model = network(&views);
    let mut all = Vec::new();
    for threads in [1, 2, 8] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        for batch in [1, 4, 7] {
            let sampler = Sampler::new(&model, noise(), 7).unwrap().batch(batch);
            let state = pool.install(|| run(&sampler, Stage::Two, 9));
            assert_eq!(sampler.forwards(&state), 13 * 4);
            all.push(parts(&state));
        }
    }
    assert!(all.iter().all(|votes| *votes == all[0]));
    let other = Sampler::new(&model, noise(), 8).unwrap();
    assert_ne!(parts(&run(&other, Stage::Two, 9)), all[0], "another seed");
}

#[test]
fn a_run_broken_inside_an_image_equals_an_unbroken_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let model = network(&Views::default());
    let picture = picture("a", 16);
    let sampler = Sampler::new(&model, noise(), 7).unwrap().batch(3);
    for stage in [Stage::Two, Stage::SINGLE] {
        let unbroken = run(&sampler, stage, 10);
        for first in [1, 2, 4, 5, 9] {
            let mut state = sampler.start(&picture, 4, stage).unwrap();
            let end = sampler.run(&picture, &mut state, 10, &mut |state| {
                if state.drawn() < first {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            assert_eq!((end.unwrap(), state.drawn()), (End::Stopped, first));
            state.save(&path).unwrap();
            let mut state = State::load(&path).unwrap();
            assert_eq!(state.drawn(), first);
            let end = sampler.run(&picture, &mut state, 10, &mut GO.clone());
            assert_eq!(end.unwrap(), End::Done);
            assert_eq!(parts(&state), parts(&unbroken), "{stage:?} {first}");
            // the canary remembers what was drawn before
            state.save(&path).unwrap();
            let other = dir.path().join("b.safetensors");
            unbroken.save(&other).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(other).unwrap());
        }
    }
}

#[test]
fn other_sampling() {
    let model = network(&Views::default());
    let a = picture("a", 16);
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    let state = run(&sampler, Stage::Two, 1);
    let field = |sampler: &Sampler, picture: &Sample| match sampler.run(
        picture,
        &mut state.clone(),
        2,
        &mut GO.clone(),
    ) {
        Err(Error::OtherSampling { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(&sampler, &picture("b", 16)), "image");
    let mut changed = a.clone();
    changed.image[5] ^= 1;
    assert_eq!(field(&sampler, &changed), "picture");
    let flipped = Views {
        flip: true,
        ..Views::default()
    };
    let other = network(&flipped);
    assert_eq!(
        field(&Sampler::new(&other, noise(), 7).unwrap(), &a),
        "model"
    );
    let wide = Noise::new(Law::Gaussian { sigma: 0.5 }, Arithmetic::Grid).unwrap();
    assert_eq!(field(&Sampler::new(&model, wide, 7).unwrap(), &a), "noise");
    let float = Noise::new(LAW, Arithmetic::Float).unwrap();
    assert_eq!(
        field(&Sampler::new(&model, float, 7).unwrap(), &a),
        "arithmetic"
    );
    assert_eq!(
        field(&Sampler::new(&model, noise(), 8).unwrap(), &a),
        "seed"
    );
}

#[test]
fn torn_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let model = network(&Views::default());
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    run(&sampler, Stage::Two, 3).save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(
            matches!(State::load(&path), Err(Error::File { .. })),
            "{length}"
        );
    }
    // a wrong bit of what is stored
    let mut wrong = whole.clone();
    *wrong.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &wrong).unwrap();
    let error = State::load(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no whole sampling: its checksum differs")
    );
    assert!(error.hint().unwrap().contains("begins anew"));
    // another number of samples
    let mut wrong = whole.clone();
    let at = whole.windows(9).position(|w| w == br#"drawn\":7"#).unwrap();
    wrong[at + 8] = b'4';
    std::fs::write(&path, &wrong).unwrap();
    let error = State::load(&path).unwrap_err();
    assert!(error.to_string().contains("checksum"));
    assert!(matches!(
        State::load(&dir.path().join("none")),
        Err(Error::Unreadable { .. })
    ));
}

#[test]
fn pictures_and_numbers_that_do_not_fit() {
    let model = network(&Views::default());
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    let small = sampler.start(&picture("a", 8), 4, Stage::Two);
    assert!(matches!(small, Err(Error::SampleSize { .. })));
    for choose in [0, 256] {
        let start = sampler.start(&picture("a", 16), choose, Stage::Two);
        assert!(matches!(start, Err(Error::Setting { .. })));
    }
    struct Many;
    impl Model for Many {
        fn size(&self) -> [usize; 2] {
            [1, 1]
        }
        fn classes(&self) -> usize {
            254
        }
        fn identity(&self) -> String {
            "many".into()
        }
        fn labels(&self, _: &[f32], _: &mut Enter) -> Result<Vec<u8>> {
            Ok(vec![0])
        }
    }
    assert!(matches!(
        Sampler::new(&Many, noise(), 0),
        Err(Error::Setting { .. })
    ));
    let scores = Many.logits(&[], &mut |_| {});
    assert!(matches!(scores, Err(Error::Unsupported { .. })));
}

#[test]
fn same_number() {
    assert_eq!(image_number("a"), image_numbers(["b", "a"]).unwrap()[1]);
    // among 2^19 names some 32 pairs share a number
    let names: Vec<String> = (0..1 << 19).map(|i: u32| i.to_string()).collect();
    let error = image_numbers(names.iter().map(String::as_str)).unwrap_err();
    let Error::SameNumber { first, second } = error else {
        panic!("{error}");
    };
    assert!(first != second && image_number(&first) == image_number(&second));
}

/// What a broken sampler does with the number of the sample and with its noise.
struct Mutant {
    sample: fn(u32) -> u32,
    factor: f32,
}

impl Source for Mutant {
    fn law(&self) -> (Law, Arithmetic) {
        (LAW, Arithmetic::Grid)
    }

    fn moments(&self) -> Moments {
        noise().moments()
    }

    fn distance(&self, draws: u64) -> f64 {
        noise().distance(draws)
    }

    fn draw(&self, _: &Philox, sample: u32, picture: &[u8], noisy: &mut [f32]) {
        let bits = Philox::new(7, Stream::Certification, 1, (self.sample)(sample));
        noise().add(&bits, picture, noisy);
        for (noisy, clean) in noisy.iter_mut().zip(picture) {
            let clean = f32::from(*clean) / 255.0;
            *noisy = clean + self.factor * (*noisy - clean);
        }
    }
}

/// What becomes of 20 samples of a mutant.
fn mutated(sample: fn(u32) -> u32, factor: f32) -> Result<End> {
    let picture = picture("a", 40);
    let model = HalfSpaces::at(&picture, &[0.1; 1600]);
    let mutant = Mutant { sample, factor };
    let sampler = Sampler::of(&model, Box::new(mutant), 7)?;
    let mut state = sampler.start(&picture, 4, Stage::Two)?;
    sampler.run(&picture, &mut state, 16, &mut GO.clone())
}

#[test]
fn broken_samplers_are_caught() {
    assert_eq!(mutated(|sample| sample, 1.0).unwrap(), End::Done);
    // the last picture of each batch of four again and again
    let error = mutated(|sample| sample | 3, 1.0).unwrap_err();
    assert!(error.to_string().starts_with("samples 0 and 1 "), "{error}");
    // the seed of the samples that choose for those that test
    let error = mutated(|sample| sample % 16, 1.0).unwrap_err();
    assert!(
        error.to_string().starts_with("samples 0 and 16 "),
        "{error}"
    );
    // sigma in the unit of normalised values
    for factor in [0.229, 1.0 / 0.229, 0.93, 1.07] {
        let error = mutated(|sample| sample, factor).unwrap_err();
        assert!(matches!(
            error,
            Error::NoiseMoment {
                what: "variance",
                ..
            }
        ));
    }
}

/// The right noise is drawn, and a picture from before is shown to the network.
struct Stale {
    model: HalfSpaces,
    kept: Mutex<Vec<f32>>,
}

impl Model for Stale {
    fn size(&self) -> [usize; 2] {
        self.model.size()
    }

    fn classes(&self) -> usize {
        2
    }

    fn identity(&self) -> String {
        "stale".into()
    }

    fn labels(&self, picture: &[f32], enter: &mut Enter) -> Result<Vec<u8>> {
        let mut kept = self.kept.lock().unwrap();
        if kept.is_empty() {
            *kept = picture.to_vec();
        }
        self.model.labels(&kept, enter)
    }
}

#[test]
fn the_wrong_picture_on_the_way_to_the_network_is_caught() {
    let picture = picture("a", 40);
    let model = Stale {
        model: HalfSpaces::at(&picture, &[0.1; 1600]),
        kept: Mutex::default(),
    };
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    let mut state = sampler.start(&picture, 4, Stage::Two).unwrap();
    let error = sampler
        .run(&picture, &mut state, 16, &mut GO.clone())
        .unwrap_err();
    assert!(matches!(error, Error::SameInput { .. }), "{error}");
}

/// By how much f'(z) = f(round(255·z)/255) may move a border: (3 + 4)/2 levels over a norm of 5.
const ROUNDED: f64 = 3.5 / 255.0 / 5.0;

#[test]
fn radii_of_half_spaces_are_close_and_never_above_the_true_ones() {
    let picture = picture("half", 20);
    let distances: Vec<f64> = (0..400).map(|i| f64::from(i - 200) / 400.0).collect();
    let model = HalfSpaces::at(&picture, &distances);
    for (arithmetic, room) in [(Arithmetic::Float, 0.0), (Arithmetic::Grid, ROUNDED)] {
        let noise = Noise::new(LAW, arithmetic).unwrap();
        let sampler = Sampler::new(&model, noise, 11).unwrap();
        for stage in [Stage::Two, Stage::SINGLE] {
            let mut state = sampler.start(&picture, 50, stage).unwrap();
            sampler
                .run(&picture, &mut state, 3000, &mut GO.clone())
                .unwrap();
            let votes = state.votes().unwrap();
            let promise = Promise::ClassOrAbstain;
            let table = RadiusTable::new((3000, stage), (400, 0), 0.001, (LAW, promise)).unwrap();
            let radii = table.map(votes).unwrap();
            let mut certified = 0;
            for (i, (radius, distance)) in radii.iter().zip(&distances).enumerate() {
                let (radius, truth) = (f64::from(*radius), distance.abs());
                if radius > 0.0 {
                    certified += 1;
                    assert_eq!(votes.classes()[i], u8::from(*distance > 0.0), "pixel {i}");
                    assert!(radius <= truth + room, "pixel {i}: {radius} {truth}");
                    // some eight deviations of p, which 3000 samples leave
                    assert!(radius > truth - 0.13, "pixel {i}: {radius} {truth}");
                }
            }
            assert!(certified > 300, "{certified}");
        }
    }
}

#[test]
fn looks_go_on_with_the_same_samples() {
    let picture = picture("half", 20);
    let distances: Vec<f64> = (0..400).map(|i| f64::from(i) / 400.0).collect();
    let model = HalfSpaces::at(&picture, &distances);
    let sampler = Sampler::new(&model, noise(), 5).unwrap();
    let procedure = Procedure {
        tau: 0.75,
        alpha: 0.001,
        correction: Correction::Holm,
        stage: Stage::Two,
    };
    let looks: Vec<Look> = Looks::equal(&[70, 140]);
    let mut looks = Looks::new(procedure, &looks, 400).unwrap();
    let mut state = sampler.start(&picture, 10, Stage::Two).unwrap();
    let mut found = Vec::new();
    while let Some(samples) = looks.next_samples() {
        sampler
            .run(&picture, &mut state, samples, &mut GO.clone())
            .unwrap();
        found.push(looks.look(state.votes().unwrap()).unwrap().certified);
    }
    assert!(found[0] > 100 && found[1] > found[0], "{found:?}");
    let mut whole = sampler.start(&picture, 10, Stage::Two).unwrap();
    sampler
        .run(&picture, &mut whole, 140, &mut GO.clone())
        .unwrap();
    assert_eq!(parts(&whole), parts(&state));
}

#[test]
fn means_come_from_the_passes_of_the_votes() {
    let model = network(&Views::default());
    let picture = picture("a", 16);
    let whole = |batch, samples: &[usize]| {
        let sampler = Sampler::new(&model, noise(), 7).unwrap().batch(batch);
        let mut state = sampler.start(&picture, 4, Stage::Two).unwrap();
        let mut means = Means::new(5);
        for &samples in samples {
            let both = (&mut state, &mut means);
            let end = sampler.run_with_means(&picture, both, samples, &mut GO.clone());
            assert_eq!(end.unwrap(), End::Done);
        }
        (state, means)
    };
    let (state, means) = whole(3, &[5]);
    assert_eq!(means.samples(), 5);
    assert_eq!(means, whole(5, &[2, 5]).1);
    let sampler = Sampler::new(&model, noise(), 7).unwrap();
    assert_eq!(parts(&state), parts(&run(&sampler, Stage::Two, 5)));
    // the definition, of one gap
    let classes = state.votes().unwrap().classes();
    let gaps = means.gaps(classes).unwrap();
    let mut sums = [0.0; 5];
    for sample in 4..9 {
        let bits = Philox::new(7, Stream::Certification, image_number("a"), sample);
        let mut noisy = vec![0.0; 768];
        noise().add(&bits, &picture.image, &mut noisy);
        let logits = model.logits(&noisy, &mut |_| {}).unwrap();
        (0..5).for_each(|class| sums[class] += f64::from(logits[class * 256 + 9]));
    }
    let own = usize::from(classes[9]);
    let rivals = (0..5)
        .filter(|class| *class != own)
        .map(|class| sums[class]);
    let want = (sums[own] - rivals.fold(f64::NEG_INFINITY, f64::max)) / 5.0;
    assert!(
        gaps[9] < want && want - gaps[9] < 1e-12,
        "{} {want}",
        gaps[9]
    );
    // sums that lack samples
    let (mut state, _) = whole(3, &[5]);
    let both = (&mut state, &mut Means::new(5));
    let error = sampler.run_with_means(&picture, both, 9, &mut GO.clone());
    assert!(matches!(error, Err(Error::OtherSampling { .. })));
}
