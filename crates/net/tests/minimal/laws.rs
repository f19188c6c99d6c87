//! What holds for every minimal-norm attack.

use certiseg_cert::Norm;
use certiseg_net::Error;
use certiseg_net::attack::minimal::dag::Dag;
use certiseg_net::attack::minimal::pdpgd::Pdpgd;
use certiseg_net::attack::minimal::{Goal, Method};
use certiseg_net::attack::{Attacked, Ball, Duel, Model, Scene, Target};
use certiseg_net::rng::Rng;

use super::vectors::{SIDE, network, pictures};
use super::{ACCURACY, Linear, methods};

const STEPS: usize = 12;

fn all() -> Vec<Method> {
    let mut all = methods(STEPS);
    for norm in [Norm::L1, Norm::LINF] {
        all.push(Method::Pdpgd(Pdpgd::rony_2023(norm)).steps(STEPS));
    }
    all.push(Method::Dag(Dag::rony_2023(0.1)).steps(STEPS));
    all
}

/// A picture of 6x6 with numbers at the walls of the box.
fn picture(classes: u8) -> (Vec<f32>, Vec<u8>) {
    let mut rng = Rng::new(8);
    let numbers = (0..108).map(|_| (1.4 * rng.uniform() - 0.2).clamp(0.0, 1.0) as f32);
    let image = numbers.collect();
    let label = |at: u8| {
        if at.is_multiple_of(7) {
            255
        } else {
            at % classes
        }
    };
    (image, (0..36).map(label).collect())
}

fn run(model: &dyn Model, scene: Scene, method: &Method, share: f64) -> Attacked {
    let duel = Duel::new(model, scene, &ACCURACY).unwrap();
    let goal = Goal::share(&duel.aim, share).unwrap();
    let attacked = method.run(&duel, goal, &mut Rng::new(1)).unwrap();
    let view = duel.look(&attacked.image).unwrap();
    assert_eq!(attacked.adversarial, view.count, "{method:?}");
    assert_eq!(attacked.success, goal.is_met(&view), "{method:?}");
    assert!(
        attacked.image.iter().all(|x| (0.0..=1.0).contains(x)),
        "{method:?}"
    );
    let pairs = attacked.image.iter().zip(scene.image);
    let change = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
    let distance = match method.norm() {
        Norm::L1 => change.sum(),
        Norm::LINF => change.fold(0.0, f64::max),
        _ => change.map(|d| d * d).sum::<f64>().sqrt(),
    };
    assert_eq!(attacked.distance, distance, "{method:?}");
    attacked
}

#[test]
fn two_classes_the_box_and_the_same_picture_again() {
    const TWO: Linear<2> = Linear([[1.0, -0.5, 0.2], [-0.3, 0.8, 0.1]]);
    let (image, labels) = picture(2);
    let scene = Scene::new(&image, &labels, [6, 6]).unwrap();
    for method in all() {
        let attacked = run(&TWO, scene, &method, 0.7);
        assert_eq!(attacked, run(&TWO, scene, &method, 0.7), "{method:?}");
    }
}

#[test]
fn void_pixels_count_nowhere() {
    let (image, labels) = picture(3);
    let scene = Scene::new(&image, &labels, [6, 6]).unwrap();
    /// The identity, but for the logits of the first pixel, which is void.
    struct Other;
    impl Model for Other {
        fn classes(&self) -> usize {
            3
        }
        fn logits(&self, image: &[f32]) -> certiseg_net::Result<Vec<f32>> {
            let mut logits = Linear::IDENTITY.logits(image)?;
            logits[0] += 7.0;
            Ok(logits)
        }
        fn pull(
            &self,
            image: &[f32],
            weights: &mut dyn FnMut(&[f32]) -> Vec<f64>,
        ) -> certiseg_net::Result<(Vec<f32>, Vec<f64>)> {
            let logits = self.logits(image)?;
            let mut weights = |_: &[f32]| weights(&logits);
            let (_, gradient) = Linear::IDENTITY.pull(image, &mut weights)?;
            Ok((logits, gradient))
        }
    }
    for method in all() {
        let found = run(&Linear::IDENTITY, scene, &method, 0.7);
        assert_eq!(found, run(&Other, scene, &method, 0.7), "{method:?}");
    }
    let void = [255; 36];
    let scene = Scene::new(&image, &void, [6, 6]).unwrap();
    let duel = Duel::new(&Linear::IDENTITY, scene, &ACCURACY);
    assert!(matches!(duel, Err(Error::AllVoid)));
}

#[test]
fn only_the_region_changes() {
    let (image, labels) = picture(3);
    let region: Vec<bool> = (0..36).map(|at| at % 6 < 3).collect();
    let scene = Scene::new(&image, &labels, [6, 6]).unwrap();
    let scene = scene.within(&region).unwrap();
    for method in all() {
        let attacked = run(&Linear::IDENTITY, scene, &method, 0.7);
        for (at, (a, b)) in attacked.image.iter().zip(&image).enumerate() {
            assert!(region[at % 36] || a == b, "{method:?}");
        }
    }
}

#[test]
fn a_goal_that_the_clean_picture_meets_costs_nothing() {
    let (image, labels) = picture(3);
    let scene = Scene::new(&image, &labels, [6, 6]).unwrap();
    for method in all() {
        let attacked = run(&Linear::IDENTITY, scene, &method, 0.0);
        assert!(attacked.success, "{method:?}");
        assert_eq!(attacked.distance, 0.0, "{method:?}");
    }
}

#[test]
fn settings_are_checked() {
    let (image, labels) = picture(3);
    let scene = Scene::new(&image, &labels, [6, 6]).unwrap();
    let duel = Duel::new(&Linear::IDENTITY, scene, &ACCURACY).unwrap();
    let goal = Goal::count(&duel.aim, 5).unwrap();
    for text in [
        r#"{"dag": {"norm": "1"}}"#,
        r#"{"dag": {"step": -1}}"#,
        r#"{"asma": {"slope": -1}}"#,
        r#"{"pdgd": {"rate_falls": 0}}"#,
        r#"{"pdgd": {"ratio": 0}}"#,
        r#"{"pdpgd": {"norm": "3"}}"#,
        r#"{"alma": {"check_every": 0}}"#,
        r#"{"alma": {"memory": 1.5}}"#,
        r#"{"alma": {"memory": -0.5}}"#,
        r#"{"alma": {"falls_to": 1.5}}"#,
        r#"{"alma": {"tolerance": -1}}"#,
        r#"{"alma-prox": {"memory": 1}}"#,
        r#"{"alma-prox": {"grain": 1}}"#,
        r#"{"alma-prox": {"falls_to": 0}}"#,
        r#"{"alma-prox": {"tolerance": -1}}"#,
        r#"{"alma-prox": {"grows": 0.5}}"#,
        r#"{"alma-prox": {"multiplier": -1}}"#,
        r#"{"alma-prox": {"penalty": -1}}"#,
        r#"{"pdgd": {"memory": 1}}"#,
        r#"{"pdpgd": {"enough": -1}}"#,
        r#"{"ddn": {"levels": 1}}"#,
        r#"{"nearest": {"then": {"held": -1}}}"#,
        r#"{"ddn": {"grain": 2}}"#,
        r#"{"fmn": {"norm": "1"}}"#,
        r#"{"minimal-pgd": {"first": -1}}"#,
    ] {
        let method: Method = serde_json::from_str(text).unwrap();
        let refused = method.run(&duel, goal, &mut Rng::new(0));
        assert!(matches!(refused, Err(Error::Setting { .. })), "{text}");
    }
    assert!(serde_json::from_str::<Method>(r#"{"ddn": {"gamma": 1}}"#).is_err());
}

/// L of `lip` is 1, so its certificate is that of the linear segmenter: the root of half of the squares
/// of the smallest margins.
#[test]
fn no_attack_beats_the_certificate() {
    let target = Target::new(&network("lip"), [SIDE, SIDE]);
    let (image, labels) = &pictures()[3];
    let scene = Scene::new(image, labels, [SIDE, SIDE]).unwrap();
    let duel = Duel::new(&target, scene, &ACCURACY).unwrap();
    for share in [0.05, 0.2] {
        let goal = Goal::share(&duel.aim, share).unwrap();
        let certified = super::linear::optimum(&duel, goal, Norm::L2);
        let mut successes = 0;
        for method in methods(40) {
            let attacked = method.run(&duel, goal, &mut Rng::new(0)).unwrap();
            if attacked.success && method.norm() == Norm::L2 {
                successes += 1;
                assert!(attacked.distance >= certified, "{method:?}");
            }
            let ball = Ball::l2(0.9 * certified).unwrap();
            let within = method.within(&duel, &ball, goal, &mut Rng::new(0)).unwrap();
            assert!(within.distance <= ball.eps());
            assert!(within.adversarial < goal.asked(), "{method:?}");
        }
        assert!(successes > 2, "{successes}");
    }
}
