//! Clouds and catalogues, and the sampler as a whole: its definition, the same bits however it is run, mutants, and
//! models whose true radius is known.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{LazyLock, Mutex};

use certiseg_cert::smoothing::{Correction, Family, Law, Procedure, Stage, normal_cdf};

use super::chance::part;
use super::noise::{Drawn, Key, Source, from_grid, to_grid};
use super::*;
use crate::smooth::{End, Philox, State, Stream, image_number};

const LAW: Law = Law::Gaussian { sigma: 0.25 };
const GO: fn(&State) -> ControlFlow<()> = |_| ControlFlow::Continue(());

/// The highest score has the part whose first point of the cloud is nearest.
struct Nearest {
    places: Vec<[f32; 3]>,
}

impl Nearest {
    /// Of the mean points of the parts of a few shapes.
    fn of(shapes: &[shapes::Shape]) -> Self {
        let place = |part: u8| {
            let mut sum = [0.0; 3];
            let mut count = 0.0;
            for shape in shapes {
                let pairs = shape.cloud.points.iter().zip(&shape.cloud.labels);
                for (point, _) in pairs.filter(|(_, label)| **label == part) {
                    (0..3).for_each(|axis| sum[axis] += point[axis]);
                    count += 1.0;
                }
            }
            sum.map(|sum| sum / count)
        };
        Nearest {
            places: (0..13).map(place).collect(),
        }
    }
}

impl CloudModel for Nearest {
    fn classes(&self) -> usize {
        self.places.len()
    }

    fn identity(&self) -> String {
        "nearest".into()
    }

    fn scores(&self, points: &[[f32; 3]], _: &[[f32; 3]], _: u8, _: usize) -> Result<Vec<f32>> {
        let score = |point: &[f32; 3], place: &[f32; 3]| {
            let square = |axis: usize| (point[axis] - place[axis]).powi(2);
            -(square(0) + square(1) + square(2))
        };
        let row = |point| self.places.iter().map(move |place| score(point, place));
        Ok(points.iter().flat_map(row).collect())
    }
}

/// Any model by a rule.
struct Rule<F>(usize, F);

impl<F: Fn(&[[f32; 3]], u8, usize) -> Vec<f32> + Sync> CloudModel for Rule<F> {
    fn classes(&self) -> usize {
        self.0
    }

    fn identity(&self) -> String {
        "rule".into()
    }

    fn scores(
        &self,
        points: &[[f32; 3]],
        _: &[[f32; 3]],
        category: u8,
        start: usize,
    ) -> Result<Vec<f32>> {
        Ok(self.1(points, category, start))
    }
}

/// Made once: thresholds to 128 bits take a while.
static NOISE: LazyLock<CloudNoise> = LazyLock::new(|| CloudNoise::points(LAW).unwrap());
static WIDE: LazyLock<CloudNoise> =
    LazyLock::new(|| CloudNoise::points(Law::Gaussian { sigma: 0.29 }).unwrap());

fn noise() -> CloudNoise {
    NOISE.clone()
}

fn cloud(index: u32, points: usize) -> Cloud {
    shapes::shape(9, index, points, false).unwrap().cloud
}

fn nearest() -> Nearest {
    Nearest::of(&shapes::shapes(1, 10, 200, false).unwrap())
}

/// Two parts, one category.
fn pair() -> Catalogue {
    Catalogue {
        names: vec!["all".into()],
        parts: Vec::from([Range { start: 0, end: 2 }]),
    }
}

fn plain(id: &str, points: Vec<[f32; 3]>) -> Cloud {
    Cloud {
        id: id.into(),
        category: 0,
        labels: vec![0; points.len()],
        normals: Vec::new(),
        points,
    }
}

/// Classes, hits and counts.
fn parts(state: &State) -> (Vec<u8>, Vec<u8>, Vec<usize>) {
    let votes = state.votes().unwrap();
    let counts = (0..votes.len()).map(|i| votes.count(i)).collect();
    (
        votes.classes().to_vec(),
        state.hits().unwrap().to_vec(),
        counts,
    )
}

fn run(sampler: &CloudSampler, cloud: &Cloud, stage: Stage, samples: usize) -> State {
    let mut state = sampler.start(cloud, 4, stage).unwrap();
    let end = sampler.run(cloud, &mut state, samples, &mut GO.clone());
    assert_eq!(end.unwrap(), End::Done);
    state
}

#[test]
fn votes_are_those_of_the_definition() {
    let (model, catalogue) = (nearest(), shapes::catalogue());
    for index in 0..5 {
        let cloud = cloud(index, 60);
        let own = catalogue.parts(cloud.category).unwrap();
        let grid: Vec<_> = cloud.points.iter().map(|p| p.map(to_grid)).collect();
        let maps: Vec<Vec<u8>> = (0..12)
            .map(|sample| {
                let key = Key {
                    seed: 7,
                    image: image_number(&cloud.id),
                    sample,
                };
                let Drawn { points, .. } = noise().draw(key, &grid, &[]);
                let scores = model.scores(&points, &[], cloud.category, 0).unwrap();
                let best = |row: &[f32]| {
                    own.clone()
                        .rev()
                        .max_by(|a, b| row[usize::from(*a)].total_cmp(&row[usize::from(*b)]))
                        .unwrap()
                };
                scores.chunks(13).map(best).collect()
            })
            .collect();
        let agree =
            |maps: &[Vec<u8>], i: usize, part: u8| maps.iter().filter(|m| m[i] == part).count();
        let classes: Vec<u8> = (0..60)
            .map(|i| {
                let parts = own.clone().rev();
                parts
                    .max_by_key(|part| agree(&maps[..4], i, *part))
                    .unwrap()
            })
            .collect();
        let hits = (0..60).map(|i| agree(&maps[..4], i, classes[i]) as u8);
        let hits: Vec<u8> = hits.collect();
        assert!(hits.iter().any(|hits| *hits < 4), "all points are sure");
        let sampler = CloudSampler::new(&model, &catalogue, noise(), (7, 1)).unwrap();
        for (stage, samples, counted) in
            [(Stage::Two, 8, &maps[4..]), (Stage::SINGLE, 12, &maps[..])]
        {
            let state = run(&sampler, &cloud, stage, samples);
            let counts = (0..60).map(|i| agree(counted, i, classes[i])).collect();
            assert_eq!(parts(&state), (classes.clone(), hits.clone(), counts));
            assert_eq!(sampler.forwards(&state), 12);
            let sampling = sampler.sampling(&state, Family::All);
            assert_eq!((sampling.samples, sampling.law), (samples, LAW));
            assert!(sampling.distance > 0.0 && sampling.distance < 1e-10);
        }
    }
}

#[test]
fn threads_stops_and_stores_change_nothing() {
    let (model, catalogue, cloud) = (nearest(), shapes::catalogue(), cloud(3, 80));
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (7, 2)).unwrap();
    let whole = run(&sampler, &cloud, Stage::Two, 20);
    for threads in [1, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let got = pool
            .unwrap()
            .install(|| run(&sampler, &cloud, Stage::Two, 20));
        assert_eq!(parts(&got), parts(&whole));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.state");
    for stop in [2, 4, 11] {
        let mut state = sampler.start(&cloud, 4, Stage::Two).unwrap();
        let mut watch = |state: &State| match state.drawn() == stop {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let end = sampler.run(&cloud, &mut state, 20, &mut watch).unwrap();
        assert_eq!((end, state.drawn()), (End::Stopped, stop));
        state.save(&path).unwrap();
        let mut state = State::load(&path).unwrap();
        sampler
            .run(&cloud, &mut state, 20, &mut GO.clone())
            .unwrap();
        assert_eq!(parts(&state), parts(&whole));
        assert_eq!(sampler.forwards(&state), 48);
    }
    // what it does not belong to
    let mut moved = cloud.clone();
    moved.points[3][1] += 1.0 / 4096.0;
    let turned = CloudNoise::turn(0.25).unwrap();
    for (other, cloud) in [
        (
            CloudSampler::new(&model, &catalogue, noise(), (7, 2)),
            &moved,
        ),
        (
            CloudSampler::new(&model, &catalogue, noise(), (8, 2)),
            &cloud,
        ),
        (
            CloudSampler::new(&model, &catalogue, noise(), (7, 3)),
            &cloud,
        ),
        (
            CloudSampler::new(&model, &catalogue, turned, (7, 2)),
            &cloud,
        ),
    ] {
        let mut state = State::load(&path).unwrap();
        let error = other.unwrap().run(cloud, &mut state, 20, &mut GO.clone());
        assert!(matches!(error, Err(Error::OtherSampling { .. })));
    }
}

#[test]
fn only_parts_of_the_category_are_voted_for() {
    // part 12 is always best, then the number of the part
    let rule = |points: &[[f32; 3]], _: u8, _: usize| {
        let row = |_| (0..13).map(|part| part as f32);
        points.iter().flat_map(row).collect()
    };
    let (model, catalogue) = (Rule(13, rule), shapes::catalogue());
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (0, 1)).unwrap();
    for index in 0..5 {
        let cloud = cloud(index, 20);
        let last = catalogue.parts(cloud.category).unwrap().end - 1;
        assert_eq!(sampler.plain(&cloud).unwrap(), [last; 20]);
        let state = run(&sampler, &cloud, Stage::Two, 5);
        assert_eq!(state.votes().unwrap().classes(), [last; 20]);
    }
}

/// Part 0 of a point where x is at most 0.1: p is known, and the true radius is the distance to 0.1.
#[test]
fn radii_are_below_the_true_ones_and_near_them() {
    let rule = |points: &[[f32; 3]], _: u8, _: usize| {
        let row = |p: &[f32; 3]| [0.1 - p[0], p[0] - 0.1];
        points.iter().flat_map(row).collect()
    };
    let (model, catalogue) = (Rule(2, rule), pair());
    let points: Vec<[f32; 3]> = (0..200)
        .map(|i| [from_grid(i * 40 - 4000), 0.0, from_grid(i)])
        .collect();
    let cloud = plain("a", points);
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (3, 1)).unwrap();
    // enough samples that choose: none of these points gets the wrong part
    let mut state = sampler.start(&cloud, 101, Stage::Two).unwrap();
    sampler
        .run(&cloud, &mut state, 1000, &mut GO.clone())
        .unwrap();
    let procedure = Procedure {
        tau: 0.75,
        alpha: 0.001,
        correction: Correction::Holm,
        stage: Stage::Two,
    };
    let votes = state.votes().unwrap();
    let decision = procedure
        .decide(1000, &votes.histogram(None).unwrap())
        .unwrap();
    let certified = votes.certified(decision.threshold, None).unwrap();
    let radius = LAW.radius(0.75).unwrap();
    let mut missed = 0;
    for (point, part) in cloud.points.iter().zip(&certified) {
        let away = 0.1 - f64::from(point[0]);
        let p = normal_cdf(away.abs() / 0.25);
        match *part {
            0 => assert!(away > radius, "{away}"),
            1 => assert!(-away > radius, "{away}"),
            _ if p > 0.83 => missed += 1,
            _ => {}
        }
    }
    assert!(
        missed == 0 && decision.certified > 100,
        "{missed} of {}",
        decision.certified
    );
}

#[test]
fn starts_are_those_of_stream_2_and_fresh_for_every_vote() {
    let seen = Mutex::new(Vec::new());
    let rule = |points: &[[f32; 3]], _: u8, start: usize| {
        seen.lock().unwrap().push(start);
        vec![0.0; points.len() * 2]
    };
    let (model, catalogue) = (Rule(2, rule), pair());
    let points = (0..1000).map(|i| [from_grid(i), 0.0, 0.0]).collect();
    let cloud = plain("a", points);
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (3, 5)).unwrap();
    let state = run(&sampler, &cloud, Stage::Two, 36);
    assert_eq!(sampler.forwards(&state), 200);
    let start = |(sample, vote): (u32, usize)| {
        let mut pair = [0; 2];
        Philox::new(3, Stream::Points, image_number("a"), sample).fill(vote, &mut pair);
        part(pair[0], 1000)
    };
    let all = (0..40).flat_map(|sample| (0..5).map(move |vote| (sample, vote)));
    let mut want: Vec<usize> = all.map(start).collect();
    let mut got = seen.lock().unwrap().clone();
    want.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, want);
    // of 200 draws of 1000 some 19 meet
    let different: BTreeSet<_> = got.iter().collect();
    assert!((160..200).contains(&different.len()), "{}", different.len());
    assert!(got[0] < 50 && got[199] >= 950);
}

/// Of three votes log-softmax is averaged: a start below the middle is sure of part 1, others lean to part 0.
#[test]
fn votes_are_averaged_as_logarithms_of_probabilities() {
    let rule = |points: &[[f32; 3]], _: u8, start: usize| {
        let row = match start < 50 {
            true => [100.0, 108.0],
            false => [5.0, 3.0],
        };
        points.iter().flat_map(|_| row).collect()
    };
    let (model, catalogue) = (Rule(2, rule), pair());
    let cloud = plain("a", (0..100).map(|i| [from_grid(i), 0.0, 0.0]).collect());
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (3, 3)).unwrap();
    let state = run(&sampler, &cloud, Stage::SINGLE, 4000);
    // only without a start below the middle is it part 0: -16 + 4 outweighs, 3 of 3 starts: 1/8
    let votes = state.votes().unwrap();
    let share = votes.count(0) as f64 / 4000.0;
    let of_0 = match votes.classes()[0] {
        0 => share,
        _ => 1.0 - share,
    };
    assert!(
        (of_0 - 0.125).abs() < 6.0 * (0.125 * 0.875 / 4000f64).sqrt(),
        "{of_0}"
    );
}

/// A source in which something is wrong.
struct Mutant(CloudNoise, fn(&CloudNoise, Key, &[[i32; 3]]) -> Drawn);

impl Source for Mutant {
    fn noise(&self) -> &CloudNoise {
        &self.0
    }

    fn draw(&self, key: Key, points: &[[i32; 3]], _: &[[f32; 3]]) -> Drawn {
        self.1(&self.0, key, points)
    }
}

#[test]
fn the_canary_sees_mutants() {
    let (model, catalogue, cloud) = (nearest(), shapes::catalogue(), cloud(1, 2048));
    let error = |draw| {
        let mutant = Box::new(Mutant(noise(), draw));
        let sampler = CloudSampler::of(&model, &catalogue, mutant, (7, 1)).unwrap();
        let mut state = sampler.start(&cloud, 4, Stage::Two).unwrap();
        sampler.run(&cloud, &mut state, 8, &mut GO.clone()).err()
    };
    assert!(error(|noise, key, points| noise.draw(key, points, &[])).is_none());
    // the second of a pair uses the noise of the first
    let repeated = error(|noise, mut key, points| {
        key.sample -= key.sample % 2;
        noise.draw(key, points, &[])
    });
    assert!(matches!(repeated, Some(Error::SameInput { .. })));
    let wide = error(|noise, key, points| {
        assert!(noise.on_points());
        WIDE.draw(key, points, &[])
    });
    assert!(matches!(
        wide,
        Some(Error::NoiseMoment {
            what: "variance",
            ..
        })
    ));
    let shifted = error(|noise, key, points| {
        let mut drawn = noise.draw(key, points, &[]);
        drawn.points.iter_mut().for_each(|p| p[2] += 0.1);
        drawn
    });
    assert!(matches!(
        shifted,
        Some(Error::NoiseMoment { what: "mean", .. })
    ));
}

/// Part 1 of all points where the first one has x above 0.7: its probability under turns is that of an angle.
#[test]
fn turns_of_any_angle_make_a_model_invariant_and_gaussian_ones_do_not() {
    let rule = |points: &[[f32; 3]], _: u8, _: usize| {
        let sure = [0.7 - points[0][0], points[0][0] - 0.7];
        points.iter().flat_map(|_| sure).collect()
    };
    let (model, catalogue) = (Rule(2, rule), pair());
    let at = |angle: f64| {
        let near = |value: f64| from_grid(to_grid(value as f32));
        plain("a", vec![[near(angle.cos()), near(angle.sin()), 0.0]])
    };
    let samples = 4000;
    let share = |noise: &CloudNoise, angle: f64, seed: u64| {
        let sampler = CloudSampler::new(&model, &catalogue, noise.clone(), (seed, 1)).unwrap();
        let state = run(&sampler, &at(angle), Stage::SINGLE, samples);
        let votes = state.votes().unwrap();
        let share = votes.count(0) as f64 / samples as f64;
        if votes.classes()[0] == 1 {
            share
        } else {
            1.0 - share
        }
    };
    // six standard errors
    let slack = 6.0 * (0.25 / samples as f64).sqrt();
    let half = 0.7f64.acos();
    let any = CloudNoise::any_turn();
    for angle in [0.0, 1.0, 3.0] {
        let got = share(&any, angle, 1);
        assert!((got - half / std::f64::consts::PI).abs() < slack, "{got}");
    }
    let turn = CloudNoise::turn(0.5).unwrap();
    for angle in [0.0, 0.5, 1.5] {
        let want = normal_cdf((half - angle) / 0.5) - normal_cdf((-half - angle) / 0.5);
        let got = share(&turn, angle, 1);
        assert!((got - want).abs() < slack, "{got} {want}");
    }
    // of a uniform rotation the height of a point of the sphere is uniform
    for angle in [0.0, 2.0] {
        let got = share(&CloudNoise::any_rotation(), angle, 2);
        assert!((got - 0.15).abs() < slack, "{got}");
    }
}

#[test]
fn what_a_sampler_refuses() {
    let (model, catalogue, cloud) = (nearest(), shapes::catalogue(), cloud(0, 20));
    let of = |catalogue, votes| CloudSampler::new(&model, catalogue, noise(), (0, votes)).err();
    for error in [of(&catalogue, 0), of(&catalogue, 1001), of(&pair(), 1)] {
        assert!(matches!(error, Some(Error::Setting { .. })));
    }
    let sampler = CloudSampler::new(&model, &catalogue, noise(), (0, 1)).unwrap();
    for choose in [0, 256] {
        assert!(sampler.start(&cloud, choose, Stage::Two).is_err());
    }
    let short = Rule(13, |_: &[[f32; 3]], _: u8, _: usize| vec![0.0]);
    let sampler = CloudSampler::new(&short, &catalogue, noise(), (0, 1)).unwrap();
    let error = sampler.plain(&cloud).unwrap_err();
    assert!(error.to_string().contains("expected 260"), "{error}");
}

#[test]
fn bad_cloud() {
    let catalogue = shapes::catalogue();
    let good = cloud(1, 20);
    good.check(&catalogue).unwrap();
    let mut unlabelled = good.clone();
    (unlabelled.labels, unlabelled.normals) = (Vec::new(), Vec::new());
    unlabelled.check(&catalogue).unwrap();
    let bad = |change: fn(&mut Cloud)| {
        let mut cloud = good.clone();
        change(&mut cloud);
        cloud.check(&catalogue).unwrap_err().to_string()
    };
    for (message, why) in [
        (bad(|c| c.points.clear()), "no points"),
        (bad(|c| c.labels.truncate(19)), "19 labels for 20 points"),
        (bad(|c| c.normals.truncate(19)), "19 normals"),
        (bad(|c| c.points[3][1] = f32::NAN), "NaN"),
        (bad(|c| c.points[3][1] = 2.5), "2.5"),
        (bad(|c| c.normals[3][1] = f32::INFINITY), "inf"),
        (bad(|c| c.category = 5), "one below 5"),
        (bad(|c| c.labels[0] = 4), "2 to 3"),
    ] {
        assert!(
            message.starts_with("cloud table_00001 has") && message.contains(why),
            "{message}"
        );
    }
}

#[test]
fn clouds_are_centred_and_scaled_once() {
    let points = [[1.0, 2.0, 3.0], [3.0, 2.0, 3.0], [2.0, 5.0, 3.0]];
    let got = normalised("a", &points).unwrap();
    // the mean is (2, 3, 3), the third point farthest
    let side = 0.5f32;
    assert_eq!(
        got,
        [[-side, -0.5, 0.0], [side, -0.5, 0.0], [0.0, 1.0, 0.0]]
    );
    for bad in [
        &points[..1],
        &[points[0]; 4][..],
        &[[f64::NAN; 3], [0.0; 3]],
        &[],
    ] {
        assert!(
            matches!(normalised("a", bad), Err(Error::BadCloud { .. })),
            "{bad:?}"
        );
    }
    assert!(normalised("a", &[[f64::INFINITY, 0.0, 0.0], [0.0; 3]]).is_err());
}

#[test]
fn catalogues_out_of_order() {
    let catalogue = |names: usize, parts: &[Range<u8>]| Catalogue {
        names: vec!["a".into(); names],
        parts: parts.to_vec(),
    };
    assert!(catalogue(2, &[0..2, 2..3]).check().is_ok());
    let some = |from, to| Range {
        start: from,
        end: to,
    };
    for bad in [
        catalogue(0, &[]),
        catalogue(1, &[0..2, 2..3]),
        catalogue(2, &[0..2, 3..4]),
        catalogue(2, &[0..2, 2..2]),
        catalogue(1, &[some(1, 2)]),
        catalogue(1, &[some(0, 254)]),
    ] {
        assert!(matches!(bad.check(), Err(Error::Setting { .. })));
    }
}
