//! How little is enough: the least budget within which an attack makes so many pixels adversarial,
//! by bisection, or by an attack that looks for it itself. An upper bound of the true least budget, as
//! the certificate's is a lower one.

use certiseg_cert::Norm;

use super::gate::Ball;
use super::minimal::{Goal, farthest, radial};
use super::named::{Attack, Known};
use super::suite::unharmed;
use super::{Attacked, Duel};
use crate::error::Result;
use crate::rng::Rng;

/// Probes of a budget in all, and halvings of the way from the clean picture to each success.
const PROBES: usize = 10;
const HALVINGS: usize = 12;
/// The search begins here at least, in lengths of the longest change there is: doubled nine times it is
/// half of that, however little is certified.
const SMALL: f64 = 1e-3;

/// The nearest picture found on which at least `goal` wishes are fulfilled, within the box; `None` if
/// none was found. `certified` is a budget below which there should be none: the search begins at twice
/// that, and looks below it too.
///
/// # Errors
/// Those of the attack.
pub fn least(
    duel: &Duel,
    attack: &Attack,
    lipschitz: f64,
    goal: usize,
    certified: f64,
    rng: &mut Rng,
) -> Result<Option<Attacked>> {
    if duel.clean.count >= goal {
        return Ok(Some(unharmed(duel)));
    }
    if let Attack::Minimal(method) = attack
        && method.norm() == Norm::L2
    {
        let found = method.run(duel, Goal::count(&duel.aim, goal)?, rng)?;
        return Ok(found.success.then_some(found));
    }
    let farthest = farthest(Norm::L2, duel.scene.image);
    let mut low = 0.0f64;
    let mut eps = (2.0 * certified).max(SMALL * farthest);
    let mut found: Option<Attacked> = None;
    for _ in 0..PROBES {
        let ball = Ball::l2(eps.min(farthest))?;
        let known = Known {
            lipschitz,
            from: None,
        };
        let (attacked, _) = attack.strike(duel, &ball, known, rng)?;
        if attacked.adversarial >= goal {
            let goal = Goal::count(&duel.aim, goal)?;
            let nearest = radial(duel, goal, Norm::L2, attacked, HALVINGS)?;
            if found.as_ref().is_none_or(|f| nearest.distance < f.distance) {
                // an attack that failed within more than this was weak, no bound
                if nearest.distance <= low {
                    low = 0.0;
                }
                found = Some(nearest);
            }
        } else {
            low = low.max(ball.eps());
        }
        eps = match &found {
            Some(found) => (low + found.distance) / 2.0,
            None if eps >= farthest => return Ok(None),
            None => 2.0 * eps,
        };
    }
    Ok(found)
}
