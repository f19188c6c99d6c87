//! One run for several goals gives what runs for each of them give.

use certiseg_cert::Norm;
use certiseg_net::attack::minimal::asma::Asma;
use certiseg_net::attack::minimal::dag::Dag;
use certiseg_net::attack::minimal::pdgd::Pdgd;
use certiseg_net::attack::minimal::pdpgd::Pdpgd;
use certiseg_net::attack::minimal::{Goal, Masking, Method};
use certiseg_net::attack::{Attacked, Ball, Criterion, Duel, Passes, Scene, Wish};
use certiseg_net::rng::Rng;

use super::{Linear, methods};

const STEPS: usize = 12;
const PIXELS: usize = 36;

/// Those whose steps know nothing of the goal, with settings by which they win some pixels at almost every
/// step and never all.
fn shared() -> Vec<Method> {
    let descent = Pdgd {
        ratio: 1e-3,
        ..Pdgd::rony_2023()
    };
    let proximal = |norm| {
        Method::Pdpgd(Pdpgd {
            descent: descent.clone(),
            ..Pdpgd::rony_2023(norm)
        })
    };
    let all = [
        Method::Dag(Dag::l2(0.05)),
        Method::Dag(Dag::rony_2023(0.003)),
        Method::Asma(Asma {
            least: 0.01,
            slope: 0.01,
            ..Asma::default()
        }),
        proximal(Norm::L1),
        proximal(Norm::L2),
        proximal(Norm::LINF),
        Method::Pdgd(descent),
    ];
    all.map(|method| method.steps(STEPS)).to_vec()
}

/// (3, 6, 6): at each pixel another class is ahead, by less than 0.01 at the first and 0.3 at the last.
fn image() -> Vec<f32> {
    let value = |at: usize| {
        let (class, pixel) = (at / PIXELS, at % PIXELS);
        match (pixel + class) % 3 {
            0 => 0.504 + 0.008 * pixel as f32,
            1 => 0.5,
            _ => 0.45,
        }
    };
    (0..3 * PIXELS).map(value).collect()
}

/// Every pixel shall join the class that comes second: wishes that the adaptive mask attack fulfils too.
fn criterion() -> Criterion {
    let wish = |pixel: usize| {
        let mut classes = 0..3u8;
        let second = classes.find(|&class| (pixel + usize::from(class)) % 3 == 1);
        Wish {
            pixel,
            class: second.unwrap(),
            join: true,
        }
    };
    Criterion::Custom((0..PIXELS).map(wish).collect())
}

fn duel(image: &[f32]) -> Duel<'_> {
    let scene = Scene::new(image, &[0; PIXELS], [6, 6]).unwrap();
    Duel::new(&Linear::IDENTITY, scene, &criterion()).unwrap()
}

fn goals(duel: &Duel, counts: impl IntoIterator<Item = usize>) -> Vec<Goal> {
    let goal = |count| Goal::count(&duel.aim, count).unwrap();
    counts.into_iter().map(goal).collect()
}

/// All of a result but its passes, numbers as their bits.
fn bits(found: &Attacked) -> (Vec<u32>, [u64; 2], [usize; 2], bool) {
    (
        found.image.iter().map(|x| x.to_bits()).collect(),
        [found.distance, found.score].map(f64::to_bits),
        [found.adversarial, found.step],
        found.success,
    )
}

fn sum(all: &[Attacked]) -> Passes {
    all.iter().fold(Passes::default(), |sum, found| Passes {
        forward: sum.forward + found.passes.forward,
        backward: sum.backward + found.passes.backward,
    })
}

#[test]
fn one_run_for_every_goal_gives_what_each_gives_by_itself() {
    let image = image();
    for method in shared() {
        let duel = duel(&image);
        let goals = goals(&duel, 1..=PIXELS);
        let alone = |&goal: &Goal| method.run(&duel, goal, &mut Rng::new(0)).unwrap();
        let alone: Vec<Attacked> = goals.iter().map(alone).collect();
        let before = duel.passes();
        let found = method.run_ahead(&duel, &goals, &mut Rng::new(0)).unwrap();
        assert_eq!(
            found.iter().map(bits).collect::<Vec<_>>(),
            alone.iter().map(bits).collect::<Vec<_>>(),
            "{method:?}"
        );

        // goals are met early, late and never
        let met = |found: &&Attacked| found.success;
        let met: Vec<&Attacked> = found.iter().filter(met).collect();
        let steps = || met.iter().map(|found| found.step);
        assert!(met.len() < PIXELS, "{method:?}");
        assert!(steps().min() < steps().max(), "{method:?}");
        // so the comparison sees a difference
        assert_ne!(bits(met[0]), bits(met[met.len() - 1]), "{method:?}");

        // the run ends with the last goal, and is counted once
        let most = alone.iter().map(|alone| alone.passes.forward).max();
        assert_eq!(Some(found[0].passes.forward), most, "{method:?}");
        assert_eq!(sum(&found[1..]), Passes::default(), "{method:?}");
        let after = duel.passes();
        let made = Passes {
            forward: after.forward - before.forward,
            backward: after.backward - before.backward,
        };
        assert_eq!(found[0].passes, made, "{method:?}");
    }
}

#[test]
fn dense_adversary_generation_ends_when_the_last_goal_is_met() {
    let image = image();
    let duel = duel(&image);
    let method = Method::Dag(Dag::l2(0.05)).steps(STEPS);
    let found = |counts: &[usize]| {
        let goals = goals(&duel, counts.iter().copied());
        method.run_ahead(&duel, &goals, &mut Rng::new(0)).unwrap()
    };
    let [few, more] = &found(&[1, 5])[..] else {
        panic!("two goals, two results")
    };
    assert!(few.success && more.success);
    assert!(few.step < more.step && more.step < STEPS);
    // the step that met it was looked at, and none after it
    assert_eq!(few.passes.forward, more.step + 1);
    assert_eq!(found(&[5, 1])[0].passes, few.passes, "in any order");
}

#[test]
fn steps_that_follow_the_goal_serve_one() {
    let image = image();
    let duel = duel(&image);
    let goals = goals(&duel, [1, 3, PIXELS]);
    let masked = [Masking::Whole, Masking::Decay].map(|masking| {
        let pdgd = Pdgd {
            masking,
            ..Pdgd::rony_2023()
        };
        let dag = Dag {
            masking,
            ..Dag::l2(0.05)
        };
        let pdpgd = Pdpgd::rony_2023(Norm::L2).masked(masking);
        [Method::Pdgd(pdgd), Method::Dag(dag), Method::Pdpgd(pdpgd)]
    });
    let masked = masked.into_iter().flatten();
    let masked: Vec<Method> = masked.map(|method| method.steps(STEPS)).collect();
    for method in methods(STEPS).iter().chain(&masked) {
        let found = method.run_ahead(&duel, &goals, &mut Rng::new(0)).unwrap();
        let alone = method.run(&duel, goals[0], &mut Rng::new(0)).unwrap();
        assert_eq!(bits(&found[0]), bits(&alone), "{method:?}");
        let blind = matches!(
            method,
            Method::Dag(_) | Method::Asma(_) | Method::Pdgd(_) | Method::Pdpgd(_)
        );
        let served = if blind && !masked.contains(method) {
            goals.len()
        } else {
            assert_eq!(found[0].passes, alone.passes, "{method:?}");
            1
        };
        assert_eq!(found.len(), served, "{method:?}");
        let none = method.run_ahead(&duel, &[], &mut Rng::new(0)).unwrap();
        assert!(none.is_empty(), "{method:?}");
    }
}

#[test]
fn within_several_budgets_every_attack_finds_what_it_finds_within_each() {
    let image = image();
    let mut all = methods(STEPS);
    all.extend(shared());
    for method in all {
        let duel = duel(&image);
        let norm = match method.norm() {
            Norm::LINF => Norm::LINF,
            _ => Norm::L2,
        };
        let budgets = [(0.01, 1, 7), (0.02, 4, 8), (0.3, PIXELS, 9)];
        let asked = budgets.map(|(eps, count, seed)| {
            let goal = Goal::count(&duel.aim, count).unwrap();
            (Ball::new(norm, eps).unwrap(), goal, Rng::new(seed))
        });
        let alone = asked.clone().map(|(ball, goal, mut rng)| {
            let found = method.within(&duel, &ball, goal, &mut rng);
            found.unwrap()
        });
        let before = duel.passes();
        let found = method.within_each(&duel, asked.to_vec());
        let found: Vec<Attacked> = found.map(Result::unwrap).collect();
        assert_eq!(
            found.iter().map(bits).collect::<Vec<_>>(),
            alone.iter().map(bits).collect::<Vec<_>>(),
            "{method:?}"
        );
        let (made, passes) = (sum(&found), duel.passes());
        assert_eq!(passes.forward - before.forward, made.forward);
        assert_eq!(passes.backward - before.backward, made.backward);
        assert!(made.forward <= sum(&alone).forward, "{method:?}");
        let first = found[0].passes.backward;
        let shared = method.run_ahead(&duel, &[asked[0].1; 2], &mut Rng::new(0));
        if shared.unwrap().len() > 1 {
            assert_eq!(made.backward, first, "{method:?}");
        }
    }
}
