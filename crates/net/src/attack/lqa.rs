//! The linearised quadratic programme, ours, in l2: with the gradient g of every margin m, the least
//! change that flips a set S of pixels of the linearised network solves min ‖δ‖² with g·δ ≤ −m on S.
//! S grows greedily by the cost of each pixel alone, in blocks, as long as its solution is within the
//! budget. One backward pass per candidate: strong within small budgets, a polish of what another
//! attack found, and a diagnosis of where the gap to the certificate comes from ([`Gap`]).

use serde::{Deserialize, Serialize};

use super::gate::{Ball, length};
use super::{Aim, Attacked, Best, Duel, Sparse, View, at_least};
use crate::error::{Error, Result};

/// Settings of the attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lqa {
    /// Times the network is linearised.
    pub rounds: usize,
    /// Pixels with gradients of their own, those of the least margin; fewer where a gigabyte does not
    /// hold their gradients: 12·H·W bytes each, so 341 of 512x512 and 42 of 1024x2048.
    pub candidates: usize,
    /// Margin below 0 that is asked for, in absolute logits.
    pub kappa: f64,
    /// Pixels by which S grows.
    pub block: usize,
}

impl Default for Lqa {
    fn default() -> Self {
        Self {
            rounds: 3,
            candidates: 120,
            kappa: 1e-4,
            block: 16,
        }
    }
}

/// Where the gap to the certificate comes from, for the set S planned in the first round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// √(Σ m²/2)/L with L of all logits: what S costs at least. Certificates by the rows of a head, with L
    /// of the features, may say more.
    pub certified: f64,
    /// √(Σ m²/‖g‖²): the same with the true size of each gradient.
    pub gradients: f64,
    /// √(λᵀGλ): the least change that flips S of the linearised network; pixels share directions.
    pub shared: f64,
    /// Pixels planned.
    pub planned: usize,
    /// Pixels of them that the network flips at that change.
    pub realised: usize,
}

impl Gap {
    /// Gradients over certified, shared over gradients, realised over planned: gradient slack, shared
    /// directions, non-linearity. `None` where nothing is to be flipped.
    pub fn factors(&self) -> Option<[f64; 3]> {
        let factors = [
            self.gradients / self.certified,
            self.shared / self.gradients,
            self.realised as f64 / self.planned as f64,
        ];
        factors.iter().all(|f| f.is_finite()).then_some(factors)
    }
}

/// Numbers of gradients that are kept at once, of 4 bytes.
const KEPT: usize = 1 << 28;
/// Sweeps of coordinate descent, and the relative change of the norm at which it ends.
const SWEEPS: usize = 2000;
const SETTLED: f64 = 1e-9;
/// Share of a violated demand that is left at the end.
const MET: f64 = 1e-7;

/// Attacks one picture within an l2 budget, from a change `from` or the clean picture; `lipschitz` is
/// for the diagnosis only.
///
/// # Errors
/// [`Error::Unsupported`] for another norm; [`Error::Setting`]; those of the network.
pub fn lqa(
    duel: &Duel,
    ball: &Ball,
    lipschitz: f64,
    settings: &Lqa,
    from: Option<&[f64]>,
) -> Result<(Attacked, Option<Gap>)> {
    if ball.norm() != certiseg_cert::Norm::L2 {
        let what = format!("the linearised programme in the norm {}", ball.norm());
        return Err(Error::unsupported(what, "it is an l2 attack: --norm 2"));
    }
    settings.check()?;
    let clean = duel.scene.image;
    let mut best = Best::new(duel);
    let mut delta = from.map_or_else(|| vec![0.0; clean.len()], <[f64]>::to_vec);
    ball.project(&mut delta, clean);
    let mut gap = None;
    for round in 0..settings.rounds {
        let image = ball.show(&delta, clean);
        let view = match delta.iter().all(|&d| d == 0.0) {
            true => duel.clean.clone(),
            false => duel.look(&image)?,
        };
        best.offer(&image, &view, round);
        let plan = plan(duel, ball, &image, &delta, &view, settings)?;
        delta = plan.delta.clone();
        ball.project(&mut delta, clean);
        if round == 0 && from.is_none() && !plan.set.is_empty() {
            let seen = duel.look(&ball.show(&delta, clean))?;
            let flipped = plan.set.iter().filter(|&&at| seen.adversarial[at]);
            let squares = plan.set.iter().map(|&at| view.margins[at].max(0.0).powi(2));
            gap = Some(Gap {
                certified: (squares.sum::<f64>() / 2.0).sqrt() / lipschitz,
                gradients: plan.gradients,
                shared: length(&plan.delta),
                planned: plan.set.len(),
                realised: flipped.count(),
            });
        }
    }
    let image = ball.show(&delta, clean);
    best.offer(&image, &duel.look(&image)?, settings.rounds);
    Ok((best.attacked(duel, ball), gap))
}

impl Lqa {
    fn check(&self) -> Result<()> {
        at_least("rounds", self.rounds as f64, 1.0)?;
        at_least("candidates", self.candidates as f64, 1.0)?;
        at_least("block", self.block as f64, 1.0)?;
        at_least("kappa", self.kappa, 0.0)
    }
}

struct Plan {
    /// Wishes that the linearised network fulfils.
    set: Vec<usize>,
    delta: Vec<f64>,
    gradients: f64,
}

/// How many of so many gradients of this length are kept, one at least.
fn affordable(candidates: usize, length: usize) -> usize {
    candidates.min((KEPT / length.max(1)).max(1))
}

/// The wishes to try: those not fulfilled on the clean picture, of the least margin now.
fn candidates(duel: &Duel, view: &View, most: usize) -> Vec<usize> {
    let all = 0..view.margins.len();
    let mut open: Vec<usize> = all.filter(|&at| !duel.clean.adversarial[at]).collect();
    if most < open.len() {
        open.select_nth_unstable_by(most, |&a, &b| {
            f64::total_cmp(&view.margins[a], &view.margins[b])
        });
        open.truncate(most);
    }
    open
}

fn plan(
    duel: &Duel,
    ball: &Ball,
    image: &[f32],
    delta: &[f64],
    view: &View,
    settings: &Lqa,
) -> Result<Plan> {
    let open = candidates(duel, view, affordable(settings.candidates, image.len()));
    let sums: Vec<Sparse> = open.iter().map(|&at| margin(&duel.aim, view, at)).collect();
    let rows = duel.rows(image, &sums)?;
    // wanted: g·δ ≤ −b
    let demand =
        |(&at, row): (&usize, &Vec<f32>)| view.margins[at] - dot(row, delta) + settings.kappa;
    let demands: Vec<f64> = open.iter().zip(&rows).map(demand).collect();
    let sizes: Vec<f64> = rows.iter().map(|row| dot(row, row).sqrt()).collect();
    let cost = |at: usize| demands[at].max(0.0) / sizes[at].max(f64::MIN_POSITIVE);
    let costs: Vec<f64> = (0..open.len()).map(cost).collect();
    let mut order: Vec<usize> = (0..open.len()).collect();
    order.sort_by(|&a, &b| f64::total_cmp(&costs[a], &costs[b]));
    let mut programme = Programme::default();
    let (mut next, mut block) = (0, settings.block);
    while next < order.len() && costs[order[next]] <= ball.eps() {
        let until = (next + block).min(order.len());
        let mut wider = programme.clone();
        for &at in &order[next..until] {
            wider.add(at, &rows, &demands);
        }
        // the budget is a bound of the solution's norm: less rounding than a picture has
        if wider.solve(ball.eps()) {
            programme = wider;
            next = until;
        } else if block > 1 {
            block = block.div_ceil(2).min(block - 1);
        } else {
            next += 1;
        }
    }
    let mut delta = vec![0.0; image.len()];
    for (&at, &multiplier) in programme.set.iter().zip(&programme.multipliers) {
        for (d, &g) in delta.iter_mut().zip(&rows[at]) {
            *d -= multiplier * f64::from(g);
        }
    }
    let alone = |&at: &usize| (view.margins[open[at]].max(0.0) / sizes[at]).powi(2);
    Ok(Plan {
        gradients: programme.set.iter().map(alone).sum::<f64>().sqrt(),
        set: programme.set.iter().map(|&at| open[at]).collect(),
        delta,
    })
}

/// The margin against a wish as a sum of logits.
fn margin(aim: &Aim, view: &View, at: usize) -> Sparse {
    let wish = aim.wishes[at];
    let sign = if wish.join { -1.0 } else { 1.0 };
    let own = aim.place(wish.class, wish.pixel);
    vec![(own, sign), (aim.place(view.rivals[at], wish.pixel), -sign)]
}

/// min ½λᵀGλ − bᵀλ over λ ≥ 0, grown by one demand at a time.
#[derive(Clone, Default)]
struct Programme {
    set: Vec<usize>,
    demands: Vec<f64>,
    /// Products of the gradients: row i has those with 0..=i.
    gram: Vec<Vec<f64>>,
    multipliers: Vec<f64>,
}

impl Programme {
    fn add(&mut self, at: usize, rows: &[Vec<f32>], demands: &[f64]) {
        let row = self.set.iter().chain([&at]);
        let row = row.map(|&other| dot(&rows[at], &rows[other])).collect();
        self.gram.push(row);
        self.set.push(at);
        self.demands.push(demands[at]);
        self.multipliers.push(0.0);
    }

    fn entry(&self, a: usize, b: usize) -> f64 {
        if a < b {
            self.gram[b][a]
        } else {
            self.gram[a][b]
        }
    }

    /// Coordinate descent from the multipliers so far; whether all demands are met within a norm.
    fn solve(&mut self, budget: f64) -> bool {
        let size = self.set.len();
        // G·λ, kept as λ changes
        let mut reached: Vec<f64> = (0..size)
            .map(|a| {
                (0..size)
                    .map(|b| self.entry(a, b) * self.multipliers[b])
                    .sum()
            })
            .collect();
        let mut last = f64::INFINITY;
        for _ in 0..SWEEPS {
            for at in 0..size {
                let own = self.gram[at][at];
                if own <= 0.0 {
                    // nothing moves this margin
                    if self.demands[at] > 0.0 {
                        return false;
                    }
                    continue;
                }
                let free = self.multipliers[at] + (self.demands[at] - reached[at]) / own;
                let change = free.max(0.0) - self.multipliers[at];
                if change != 0.0 {
                    self.multipliers[at] += change;
                    for (other, reached) in reached.iter_mut().enumerate() {
                        *reached += change * self.entry(at, other);
                    }
                }
            }
            let dual = self.multipliers.iter().zip(&reached);
            let square: f64 = dual.map(|(l, r)| l * r).sum();
            let gain = self.multipliers.iter().zip(&self.demands);
            let value = gain.map(|(l, b)| l * b).sum::<f64>() - square / 2.0;
            // the dual value is a lower bound of half the square of the least norm
            if 2.0 * value > budget * budget * (1.0 + 1e-12) {
                return false;
            }
            let met = self.demands.iter().zip(&reached);
            let scale = self
                .demands
                .iter()
                .fold(0.0, |most: f64, b| most.max(b.abs()));
            let short = met.map(|(b, r)| b - r).fold(0.0, f64::max);
            if short <= MET * scale && (square - last).abs() <= SETTLED * square {
                return square <= budget * budget;
            }
            last = square;
        }
        false
    }
}

/// In f64.
fn dot<B: Copy + Into<f64>>(a: &[f32], b: &[B]) -> f64 {
    let pairs = a.iter().zip(b);
    let product = |(&a, &b): (&f32, &B)| {
        let b: f64 = b.into();
        f64::from(a) * b
    };
    pairs.map(product).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programme(rows: &[Vec<f32>], demands: &[f64]) -> Programme {
        let mut programme = Programme::default();
        (0..rows.len()).for_each(|at| programme.add(at, rows, demands));
        programme
    }

    #[test]
    fn the_programme_finds_the_least_change() {
        // at right angles: each its own; 3² + 4² = 5²
        let rows = [vec![1.0, 0.0], vec![0.0, 2.0]];
        let mut apart = programme(&rows, &[3.0, 8.0]);
        assert!(apart.solve(5.0 + 1e-6) && !apart.solve(5.0 - 1e-6));
        assert!((apart.multipliers[0] - 3.0).abs() < 1e-6);
        assert!((apart.multipliers[1] - 2.0).abs() < 1e-6);
        // one direction: the larger demand is enough, the other costs nothing
        let rows = [vec![1.0, 0.0], vec![1.0, 0.0]];
        let mut shared = programme(&rows, &[1.0, 2.0]);
        assert!(shared.solve(2.0 + 1e-6) && !shared.solve(2.0 - 1e-6));
        assert!(shared.multipliers[0] < 1e-6);
    }

    #[test]
    fn a_large_picture_has_fewer_candidates() {
        assert_eq!(affordable(240, 3 * 512 * 512), 240);
        assert_eq!(affordable(240, 3 * 1024 * 2048), 42);
        assert_eq!(affordable(5, KEPT + 1), 1);
    }

    #[test]
    fn opposite_demands_and_dead_gradients_are_out_of_reach() {
        let rows = [vec![1.0], vec![-1.0]];
        assert!(!programme(&rows, &[1.0, 1.0]).solve(1e3));
        assert!(!programme(&[vec![0.0]], &[1.0]).solve(1e3));
        assert!(programme(&[vec![0.0]], &[-1.0]).solve(0.0));
    }
}
