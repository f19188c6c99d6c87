//! Attacks through noise.

use certiseg_net::Error;
use certiseg_net::attack::pgd::{Pgd, pgd};
use certiseg_net::attack::{Ball, Duel, Model, Noisy, Scene, Target};
use certiseg_net::rng::Rng;

use super::toys::{linear_picture, scene};
use super::vectors::{SIDE, network, pictures};
use super::{ACCURACY, Linear};

#[test]
fn without_noise_it_is_the_model() {
    let picture = linear_picture(3, 3);
    let scene = scene(&picture);
    let noisy = Noisy::new(&Linear::IDENTITY, 0.0, 2, Rng::new(1)).unwrap();
    let attack = |model: &dyn Model| {
        let duel = Duel::new(model, scene, &ACCURACY).unwrap();
        let ball = Ball::l2(0.3).unwrap();
        pgd(&duel, &ball, &Pgd::default(), &mut Rng::new(0)).unwrap()
    };
    assert_eq!(attack(&noisy), attack(&Linear::IDENTITY));
}

#[test]
fn the_gradient_is_the_mean_over_fresh_draws() {
    let image = [0.5; 12];
    let model = Linear::IDENTITY;
    // weights are the logits: the gradient of half their squares, which noise makes the noise itself
    let mut squares = |logits: &[f32]| logits.iter().map(|&z| f64::from(z)).collect();
    let noisy = |draws| Noisy::new(&model, 0.2, draws, Rng::new(1)).unwrap();
    let few = noisy(1);
    let (first, slopes) = few.pull(&image, &mut squares).unwrap();
    let same: Vec<f64> = first.iter().map(|&z| f64::from(z)).collect();
    assert_eq!(slopes, same);
    assert_ne!(
        few.pull(&image, &mut squares).unwrap().0,
        first,
        "fresh each time"
    );
    assert_eq!(noisy(1).logits(&image).unwrap(), first, "of the seed");
    let many = noisy(4000).pull(&image, &mut squares).unwrap();
    // five standard deviations of the mean
    let most = 5.0 * 0.2 / 4000f64.sqrt();
    assert!(many.1.iter().all(|g| g.abs() < most), "{many:?}");
}

/// Wrong pixels of the mean logits over fresh noise.
fn wrong(target: &Target, scene: Scene, image: &[f32], sigma: f64) -> usize {
    let judge = Noisy::new(target, sigma, 64, Rng::new(99)).unwrap();
    let duel = Duel::new(&judge, scene, &ACCURACY).unwrap();
    duel.look(image).unwrap().count
}

#[test]
fn a_smoothed_model_is_better_attacked_through_its_noise() {
    let target = Target::new(&network("plain"), [SIDE, SIDE]);
    let (sigma, settings) = (0.25, Pgd::default());
    let ball = Ball::l2(1.0).unwrap();
    let (mut plain, mut through, mut clean) = (0, 0, 0);
    for (image, labels) in &pictures()[..2] {
        let scene = Scene::new(image, labels, [SIDE, SIDE]).unwrap();
        let attack = |model: &dyn Model| {
            let duel = Duel::new(model, scene, &ACCURACY).unwrap();
            pgd(&duel, &ball, &settings, &mut Rng::new(0)).unwrap()
        };
        let noisy = Noisy::new(&target, sigma, 8, Rng::new(5)).unwrap();
        clean += wrong(&target, scene, image, sigma);
        plain += wrong(&target, scene, &attack(&target).image, sigma);
        through += wrong(&target, scene, &attack(&noisy).image, sigma);
    }
    println!("wrong under noise: clean {clean}, plain attack {plain}, through noise {through}");
    assert!(through > plain && plain >= clean);
}

#[test]
fn noise_is_checked() {
    for (sigma, draws) in [(-0.1, 1), (f64::NAN, 1), (0.1, 0)] {
        let noisy = Noisy::new(&Linear::IDENTITY, sigma, draws, Rng::new(0));
        assert!(matches!(noisy, Err(Error::Setting { .. })));
    }
}
