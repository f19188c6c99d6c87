//! Point networks on one thread and all: milliseconds of a pass over 2048 points, clean and under noise, and
//! of a step of the small PointNet's training: `cargo run --release -p certiseg-net --example clouds`.

use std::ops::ControlFlow;
use std::time::Instant;

use certiseg_net::cloud::network::{Kind, PointNetwork, Settings, Weights};
use certiseg_net::cloud::small::{SmallModel, SmallPointNet};
use certiseg_net::cloud::train::{CloudTrain, train};
use certiseg_net::cloud::{Cloud, CloudModel, shapes};
use certiseg_net::rng::Rng;

const POINTS: usize = 2048;
const REPEATS: usize = 9;
/// Shapes that are passed, one of each category.
const SHAPES: u32 = 5;

fn main() -> certiseg_net::Result<()> {
    let clean: Vec<Cloud> = (shapes::shapes(1, SHAPES, POINTS, true)?.into_iter())
        .map(|shape| shape.cloud)
        .collect();
    let mut rng = Rng::new(2);
    let mut noisy = clean.clone();
    let points = noisy.iter_mut().flat_map(|cloud| &mut cloud.points);
    for value in points.flatten() {
        *value += 0.25 * rng.normal() as f32;
    }
    println!(
        "a pass over {POINTS} points, milliseconds, median of {REPEATS} and least, weights at random"
    );
    for kind in Kind::ALL {
        let settings = Settings {
            kind,
            channels: 3,
            categories: shapes::NAMES.len(),
            parts: shapes::catalogue().classes(),
        };
        let network = PointNetwork::new(&Weights::random(settings, 1)?);
        report(&kind.to_string(), &network, &clean, &noisy)?;
    }
    for lipschitz in [false, true] {
        let settings = CloudTrain {
            network: SmallPointNet {
                parts: shapes::catalogue().classes(),
                lipschitz,
                ..SmallPointNet::default()
            },
            epochs: 4,
            batch: SHAPES as usize,
            ..CloudTrain::default()
        };
        let mut clock = Instant::now();
        let mut steps = Vec::new();
        let network = train(&settings, &clean, &shapes::catalogue(), &mut |_, _| {
            steps.push(clock.elapsed().as_secs_f64());
            clock = Instant::now();
            ControlFlow::Continue(())
        })?;
        let name = ["small PointNet", "small PointNet, Lipschitz"][usize::from(lipschitz)];
        report(name, &SmallModel::new(network)?, &clean, &noisy)?;
        // the first step makes what later ones keep
        let mean = steps[1..].iter().sum::<f64>() / (steps.len() - 1) as f64;
        println!(
            "  a training step takes {:.1} a cloud",
            mean * 1e3 / f64::from(SHAPES)
        );
    }
    Ok(())
}

fn report(
    name: &str,
    model: &dyn CloudModel,
    clean: &[Cloud],
    noisy: &[Cloud],
) -> certiseg_net::Result<()> {
    for (threads, place) in [(1, "one thread"), (0, "all threads")] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.expect("threads");
        for (what, clouds) in [("clean", clean), ("noise 0.25", noisy)] {
            let mut times = Vec::new();
            for repeat in 0..REPEATS {
                let cloud = &clouds[repeat % clouds.len()];
                let clock = Instant::now();
                pool.install(|| model.scores(&cloud.points, &[], cloud.category, repeat))?;
                times.push(clock.elapsed().as_secs_f64() * 1e3);
            }
            times.sort_by(f64::total_cmp);
            println!(
                "{name}, {place}, {what}: {:.1} {:.1}",
                times[REPEATS / 2],
                times[0]
            );
        }
    }
    Ok(())
}
